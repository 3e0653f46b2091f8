//! What logical replication brings fires no statement trigger, even an ALWAYS one; what copies a
//! table at first, and a TRUNCATE, fires ALWAYS ones. Row triggers of one's own hear all of it.
//! And a publication of all tables refuses none of what is written to Rowcast's own.

use super::SETUP;
use crate::support::{Postgres, Version, eventually, on_every_version, serve};
use crate::support::{Transport, connect, marker, token};
use rowcast::migrate;

async fn what_logical_replication_applies(version: Version) {
    let postgres = Postgres::start(version, &[("wal_level", "logical")]).await;
    let (source, target) = (postgres.database().await, postgres.database().await);
    // The same three tables on both sides.
    let tables = "create table public.plain (id int primary key);
        create table public.always (id int primary key);
        create table public.by_hand (id int primary key);
        grant select on public.plain, public.always, public.by_hand to rowcast_owner;";
    source
        .run(&format!(
            "{tables} create publication everything for table public.plain, public.always, public.by_hand;
             insert into public.plain values (1); insert into public.always values (1);
             insert into public.by_hand values (1);"
        ))
        .await;
    target.run(&format!("{SETUP}; {tables}")).await;
    target
        .run(
            "select rowcast.attach(t.name::regclass, o.operation, format($q$ select %L as name,
               array['open:1'] as rooms, json_build_object('id', %s) as data %s $q$,
               t.name || ' ' || o.operation, o.id, o.rows))
             from (values ('public.plain'), ('public.always')) t (name),
               (values ('insert', 'id', 'from new_rows'), ('truncate', '0', '')) o (operation, id, rows);
             alter table public.always enable always trigger _900_rowcast_insert;
             alter table public.always enable always trigger _900_rowcast_truncate;
             create function public.tell() returns trigger language plpgsql
               security definer set search_path = pg_catalog, pg_temp as $f$
               begin
                 insert into rowcast.event (channel, name, rooms, data)
                 values ('by_hand', 'by hand', array['open:1'], json_build_object('id', new.id));
                 return null;
               end $f$;
             alter function public.tell() owner to rowcast_owner;
             create trigger tell after insert on public.by_hand
               for each row execute function public.tell();
             alter table public.by_hand enable always trigger tell",
        )
        .await;
    let server = serve(&target, |_| ()).await;
    let mut somebody = connect(
        Transport::WebSocket,
        &server,
        &token("1", "", ""),
        "rooms=open:1",
    )
    .await;
    somebody.expect("welcome").await;
    let mut told = async |sql: &str, applied: &str| {
        source.run(sql).await;
        eventually("it is applied", async || {
            target.ask::<bool>(applied).await.then_some(())
        })
        .await;
        marker(&target, &["open:1"]).await;
        let mut told: Vec<String> = somebody
            .events_until("marker")
            .await
            .iter()
            .map(|event| {
                format!(
                    "{} {}",
                    event["name"].as_str().unwrap_or(""),
                    event["data"]["id"]
                )
            })
            .collect();
        told.sort();
        told.join(", ")
    };
    // On one cluster the slot has to be there before, or both sides wait for each other.
    source
        .run("select pg_create_logical_replication_slot('slot', 'pgoutput')")
        .await;
    target
        .run(&format!(
            "create subscription everything connection '{}' publication everything
             with (create_slot = false, slot_name = 'slot')",
            source.superuser_url
        ))
        .await;
    let counts = |plain: i64, always: i64, by_hand: i64| {
        format!(
            "select (select count(*) from public.plain) = {plain}
               and (select count(*) from public.always) = {always}
               and (select count(*) from public.by_hand) = {by_hand}
               and not exists (select from pg_subscription_rel where srsubstate <> 'r')"
        )
    };
    // The first copy is a COPY.
    assert_eq!(
        told("select", &counts(1, 1, 1)).await,
        "by hand 1, public.always insert 1"
    );
    // What is applied afterwards is row by row.
    let insert = "begin; insert into public.plain values (2), (3); insert into public.always values
        (2), (3); insert into public.by_hand values (2), (3); commit";
    assert_eq!(told(insert, &counts(3, 3, 3)).await, "by hand 2, by hand 3");
    assert_eq!(
        told(
            "truncate public.plain, public.always, public.by_hand",
            &counts(0, 0, 0)
        )
        .await,
        "public.always truncate 0"
    );
    server.stop().await;
    target.run("alter subscription everything disable").await;
    target
        .run("alter subscription everything set (slot_name = none)")
        .await;
    target.run("drop subscription everything").await;
}

/// PostgreSQL refuses to update or delete what is published and has no replica identity.
async fn a_publication_of_all_tables_refuses_no_write(version: Version) {
    const PUBLISH: &str = "create publication everything for all tables";
    const WRITES: &[&str] = &[
        "select rowcast.revoke('1'); select rowcast.restore('1')",
        "select rowcast.recheck()",
        "select rowcast.set_doorbell('always'); select rowcast.set_doorbell(null)",
        "insert into rowcast.room_rule values ('late', 'public.anybody(jsonb, text)');
         update rowcast.room_rule set pattern = 'later' where pattern = 'late';
         delete from rowcast.room_rule where pattern = 'later'",
        "delete from rowcast.event",
        "select rowcast.new_history()",
        "insert into rowcast.history_break default values; select rowcast.ensure_history()",
        "do $$ begin assert not exists (select from rowcast.history_break); end $$",
        "insert into rowcast.recheck_due default values; select rowcast.rotate_log()",
        "do $$ begin assert not exists (select from rowcast.recheck_due); end $$",
        "update rowcast.setting set keep_for = '1 minute'",
        "select rowcast.emit('c', 'e', array['*'], '{}'); select rowcast.rotate_log()",
        "update rowcast.leaf set entered_at = entered_at - interval '1 day'",
        "select rowcast.rotate_log()",
        "update rowcast.leaf set left_at = left_at - interval '1 day'",
    ];
    let postgres = Postgres::start(version, &[("wal_level", "logical")]).await;
    for published_first in [true, false] {
        let database = postgres.empty().await;
        let mut owner = database.client("postgres").await;
        if published_first {
            database.run(PUBLISH).await;
        }
        migrate::run(&mut owner)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        if !published_first {
            database.run(PUBLISH).await;
        }
        database.run(SETUP).await;
        let server = serve(&database, |_| ()).await;
        let mut somebody = connect(
            Transport::WebSocket,
            &server,
            &token("1", "", ""),
            "rooms=open:1",
        )
        .await;
        somebody.expect("welcome").await;
        marker(&database, &["open:1"]).await;
        somebody.expect_event("marker").await;
        server.stop().await;
        for write in WRITES {
            database.run(write).await;
        }
        eventually("the log forgets", async || {
            database.run("select rowcast.rotate_log()").await;
            let empty = "select not exists (select from rowcast.event)";
            database.ask::<bool>(empty).await.then_some(())
        })
        .await;
        let refused = "select coalesce(string_agg(c.oid::regclass::text, ', '), '')
            from pg_class c
            where c.relnamespace = 'rowcast'::regnamespace and c.relkind = 'r'
              and c.relpersistence = 'p'
              and (c.relreplident = 'n' or c.relreplident = 'd' and not exists (
                select from pg_index i where i.indrelid = c.oid and i.indisprimary))";
        assert_eq!(database.ask::<String>(refused).await, "");
    }
}

on_every_version! {
    what_logical_replication_applies
    a_publication_of_all_tables_refuses_no_write
}
