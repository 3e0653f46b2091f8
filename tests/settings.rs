//! What the sessions that write, and their databases, may be set to: no event changes with it, and
//! the application goes on as it did.

use crate::support::{
    Database, Postgres, VERSIONS, Version, eventually, on, on_every_version, serve,
};
use rowcast::migrate;
use std::time::Duration;
use tokio_postgres::Client;

async fn database(version: Version) -> Database {
    let database = on(version).await.database().await;
    database
        .run("create schema shop; grant usage on schema shop to lab_app")
        .await;
    database
}

/// A table that `lab_app` writes, told of in this way.
async fn attached(
    database: &Database,
    table: &str,
    columns: &str,
    name_and_rooms: &str,
    more: &str,
) {
    database
        .run(&format!(
            "create table shop.{table} (id serial primary key, {columns});
             grant all on shop.{table}, shop.{table}_id_seq to lab_app;
             select rowcast.attach('shop.{table}', 'insert', $q$
               select {name_and_rooms}, json_build_object('id', n.id) as data
               from new_rows n {more} $q$, 'strict')"
        ))
        .await;
}

async fn run(client: &Client, sql: &str) {
    let done = client.batch_execute(sql).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

const OFF: &str = "set standard_conforming_strings = off; set escape_string_warning = off";

/// Names and rooms of what there is.
async fn told(database: &Database) -> String {
    let told = "select coalesce(string_agg(concat(name, ' ', rooms), '; ' order by id), '')
        from rowcast.event";
    database.ask(told).await
}

/// The body of the trigger function did not compile in such a session, outside its safety net, or its
/// query meant something else.
async fn a_backslash_is_one_in_every_session(version: Version) {
    let database = database(version).await;
    let rooms = r"'file' as name, array['dir:' || split_part(n.path, '\', 1)] as rooms";
    let more = r"where n.path ~ '^\w+\\\w+$'";
    attached(&database, "files", "path text", rooms, more).await;
    let unicode = r"'note' as name, array[U&'open:\0031'] as rooms";
    attached(&database, "notes", "body text", unicode, "").await;
    let legacy = database.legacy().await;
    run(&legacy, OFF).await;
    let insert = r"insert into shop.files (path) values (E'a\\b'), ('no path');
        insert into shop.notes (body) values ('x')";
    run(&legacy, insert).await;
    assert_eq!(told(&database).await, "file {dir:a}; note {open:1}");

    // Who attaches in such a session, or in one that quotes every name, attaches the same.
    let source = "select string_agg(concat(prosrc, proconfig), '' order by proname) from pg_proc
        where proname like 'shop.%'";
    let before: String = database.ask(source).await;
    let owner = database.client("postgres").await;
    run(&owner, OFF).await;
    run(&owner, "set quote_all_identifiers = on").await;
    let again = "select rowcast.attach(relation, operation, query, mode) from rowcast.attached";
    run(&owner, again).await;
    let after: String = database.ask(source).await;
    assert!(before == after, "attached again");
}

/// The pattern of rules was migrated without its backslashes, and refused all of them.
#[tokio::test]
async fn a_database_where_a_backslash_is_none_is_migrated_as_any_other() {
    let database = on(Version::Installed).await.empty().await;
    let off = "alter database {} set standard_conforming_strings = off";
    database.run(&off.replace("{}", &database.name)).await;
    let quoted = "alter database {} set quote_all_identifiers = on";
    database.run(&quoted.replace("{}", &database.name)).await;
    let mut owner = database.client("postgres").await;
    migrate::run(&mut owner).await.expect("it migrates");
    let quoted = owner.query_one("show quote_all_identifiers", &[]);
    assert_eq!(quoted.await.expect("a setting").get::<_, String>(0), "off");
    // The files of `rowcast triggers` are said in such a session, too.
    let ours = owner.query_one("show standard_conforming_strings", &[]);
    assert_eq!(ours.await.expect("a setting").get::<_, String>(0), "on");
    let rule = "create function public.yes(jsonb, text) returns boolean language sql
          return true;
        insert into rowcast.room_rule values ('user:*', 'public.yes(jsonb, text)')";
    database.run(rule).await;
    let wrong = "insert into rowcast.room_rule values ('user:**', 'public.yes(jsonb, text)')";
    let error = owner.batch_execute(wrong).await.expect_err(wrong);
    let constraint = error.as_db_error().and_then(|error| error.constraint());
    assert_eq!(constraint, Some("room_rule_pattern"));
    let bookmark = database.bookmark().await;
    let since = format!("select outcome from rowcast.events_since('{bookmark}')");
    let theirs = database.client("postgres").await;
    let end = theirs.query_one(&since, &[]).await.expect("an answer");
    assert_eq!(end.get::<_, String>(0), "end");

    let older = "alter table rowcast.room_rule drop constraint room_rule_pattern,
        add constraint room_rule_pattern check (pattern !~ '**$') not valid";
    database.run(older).await;
    const MENDED: &str = include_str!("../sql/migrations/V18__patterns_in_any_session.sql");
    database.run(MENDED).await;
    let another = "insert into rowcast.room_rule values ('*', 'public.yes(jsonb, text)')";
    database.run(another).await;
}

/// A room is asked for by its name: another way to write it is another room, where nobody is.
async fn a_room_is_called_alike_whoever_writes(version: Version) {
    let database = database(version).await;
    let columns = "d date default '2026-03-01', i interval default '90 minutes',
        f float8 default 0.1 + 0.2::float8, b bytea default '\\x00ff'";
    let rooms = "'day' as name, array['d:' || n.d, concat('i:', n.i), format('f:%s', n.f),
        'b:' || n.b::text] as rooms";
    attached(&database, "days", columns, rooms, "").await;
    // A setting costs each write: where there is no such type, none is made.
    attached(
        &database,
        "texts",
        "t text",
        "n.t as name, array['open:1'] as rooms",
        "",
    )
    .await;
    let pinned = "select proconfig::text from pg_proc where proname = 'shop.texts insert'";
    let only_path = r#"{"search_path=pg_catalog, pg_temp"}"#;
    assert_eq!(database.ask::<String>(pinned).await, only_path);
    // In JSON a date is the same in any session, and nowhere else does this one come to be text.
    let columns = "at timestamptz default '2026-03-01', t text";
    let rooms = "'at' as name, array['open:1', n.t] || array[lower(n.t)] as rooms";
    attached(
        &database,
        "moments",
        columns,
        rooms,
        "where n.at > '2026-01-01'::date - 1",
    )
    .await;
    let moments = pinned.replace("texts", "moments");
    assert_eq!(database.ask::<String>(&moments).await, only_path);
    // Any of these may write it in another way.
    database
        .run(
            "grant usage on schema shop to rowcast_owner;
             create view shop.dated as select at::text as day from shop.moments;
             create function shop.day(timestamptz) returns text language sql return $1::text",
        )
        .await;
    for data in [
        "to_json(n.at::text)",
        "to_json('at ' || n.at)",
        "to_json(concat(n.at, ''))",
        "to_json(array_to_string(array[n.at], ','))",
        "to_json(shop.day(n.at))",
        "json_build_object('at', n.at, 'days', (select json_agg(d.day) from shop.dated d))",
    ] {
        let attach = format!(
            "grant select on shop.dated to rowcast_owner;
             select rowcast.attach('shop.moments', 'insert',
               $$ select 'at' as name, array['open:1'] as rooms, {data} as data from new_rows n $$)"
        );
        database.run(&attach).await;
        let pinned = moments.replace("proconfig::text", "lower(proconfig[2])");
        let pinned: Option<String> = database.ask(&pinned).await;
        assert_eq!(pinned.as_deref(), Some("datestyle=iso"), "{data}");
    }
    let legacy = database.legacy().await;
    run(&legacy, "insert into shop.days default values").await;
    let plain = told(&database).await;
    run(
        &legacy,
        "set datestyle = 'SQL, DMY'; set intervalstyle = 'iso_8601'; set bytea_output = 'escape';
         set extra_float_digits = -3; insert into shop.days default values",
    )
    .await;
    assert_eq!(told(&database).await, format!("{plain}; {plain}"));
    assert!(plain.contains("d:2026-03-01"), "{plain}");
    let session: String = legacy
        .query_one("show datestyle", &[])
        .await
        .expect("a style")
        .get(0);
    assert_eq!(session, "SQL, DMY", "it has its own again");

    // The type of a column changes, its query does not: what is set changes with it.
    database
        .run(
            "alter table shop.texts add d text default 'x';
             select rowcast.attach('shop.texts', 'insert', $q$ select n.t as name,
               array['d:' || n.d] as rooms, to_json(n.id) as data from new_rows n $q$);
             alter table shop.texts alter d drop default, alter d type date using '2026-03-01';
             select rowcast.attach(relation, operation, query) from rowcast.attached
             where relation = 'shop.texts'::regclass",
        )
        .await;
    let pinned = pinned.replace("proconfig::text", "lower(proconfig[2])");
    assert_eq!(database.ask::<String>(&pinned).await, "datestyle=iso");
}

/// What a row, a range or a domain is made of was not looked at: sessions wrote their dates, intervals,
/// bytes and fractions as they liked.
async fn rows_and_ranges_look_alike_whoever_writes(version: Version) {
    let database = database(version).await;
    database
        .run(
            "create type shop.part as (i interval, b bytea, f float8);
             create domain shop.span as interval;
             create domain shop.term as shop.span;
             create table shop.parts (
               part shop.part default row('90 minutes', '\\x00ff', 0.1 + 0.2::float8),
               term shop.term default '90 minutes', days daterange default '[2026-03-01,2026-04-01)',
               times tsmultirange default '{[2026-03-01,2026-04-01)}', plain date default '2026-03-01');
             grant insert on shop.parts to lab_app;
             grant usage on schema shop to rowcast_owner",
        )
        .await;
    let legacy = database.legacy().await;
    let other = database.legacy().await;
    run(
        &other,
        "set datestyle = 'SQL, DMY'; set intervalstyle = 'iso_8601'; set bytea_output = 'escape';
         set extra_float_digits = -3",
    )
    .await;
    for (data, settings) in [
        ("n", 4),
        ("n.part", 3),
        ("array[n.part]", 3),
        ("n.term", 1),
        ("n.days", 1),
        ("n.times", 1),
        ("n.plain", 0),
    ] {
        let attach = format!(
            "delete from rowcast.event;
             select rowcast.attach('shop.parts', 'insert', $q$ select 'part' as name,
               array['open:1'] as rooms, to_json({data}) as data from new_rows n $q$, 'strict')"
        );
        database.run(&attach).await;
        for client in [&legacy, &other] {
            run(client, "insert into shop.parts default values").await;
        }
        let alike = "select count(*) = 2 and count(distinct data::text) = 1 from rowcast.event";
        assert!(database.ask::<bool>(alike).await, "{data}");
        let pinned =
            "select cardinality(proconfig) - 1 from pg_proc where proname = 'shop.parts insert'";
        assert_eq!(database.ask::<i32>(pinned).await, settings, "{data}");
    }
}

/// Of such a collation PostgreSQL asks no regular expression, and the bounds are one.
async fn a_collation_of_ones_own_loses_nothing(version: Version) {
    let database = database(version).await;
    database
        .run(
            "create collation shop.ci
               (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        )
        .await;
    let columns = "email text collate shop.ci, channel text collate shop.ci";
    let all = "n.email as name, array['user:' || n.email] as rooms, n.channel";
    attached(&database, "people", columns, all, "").await;
    let insert = "insert into shop.people (email, channel) values ('a@b', 'a'), ('A@b', 'A')";
    run(&database.legacy().await, insert).await;
    assert_eq!(told(&database).await, "a@b {user:a@b}; A@b {user:A@b}");

    // Rooms that it takes for one are two, each with its reset.
    database
        .run(
            "delete from rowcast.event;
             select rowcast.attach(relation, operation, query, 'strict', 0) from rowcast.attached",
        )
        .await;
    run(&database.legacy().await, insert).await;
    let rooms = "select string_agg(room, ' ' order by room collate \"C\")
        from rowcast.event, unnest(rooms) room where name = 'reset'";
    assert_eq!(database.ask::<String>(rooms).await, "user:A@b user:a@b");
}

/// Casts to text as PostgreSQL 8.2 had them, which old applications were given back: with them, to
/// join a text with a number is not unique.
#[tokio::test]
async fn implicit_casts_to_text_are_in_nobodys_way() {
    for version in VERSIONS {
        let database = on(version).await.empty().await;
        for source in [
            "smallint",
            "integer",
            "bigint",
            "oid",
            "real",
            "float8",
            "numeric",
            "date",
            "time",
            "timestamp",
            "timestamptz",
            "interval",
            "uuid",
            "json",
            "jsonb",
            "regclass",
            "xid8",
        ] {
            let cast = format!("create cast ({source} as text) with inout as implicit");
            database.run(&cast).await;
        }
        let mut owner = database.client("postgres").await;
        migrate::run(&mut owner).await.expect("it migrates");
        database
            .run(
                "create table public.orders (id int primary key);
                 select rowcast.attach('public.orders', o, format($q$ select 'order' as name,
                   array['open:1'] as rooms, json_build_object('id', n.id) as data from %s n $q$, r))
                 from (values ('insert', 'new_rows'), ('update', 'new_rows'), ('delete', 'old_rows'))
                   v (o, r);
                 select rowcast.new_history()",
            )
            .await;
        let bookmark = database.bookmark().await;
        database
            .run("insert into public.orders values (1); update public.orders set id = 2")
            .await;
        let since = format!("select count(*) from rowcast.events_since('{bookmark}')");
        assert_eq!(database.ask::<i64>(&since).await, 3, "{version:?}");
        database.run("select rowcast.detach('public.orders')").await;
    }
}

/// Events have their ids from a sequence, and the session that writes draws them: without the two
/// triggers, an unnamed `lastInsertId` is no longer the application's.
async fn lastval_is_kept_where_it_is_asked_for(version: Version) {
    let database = database(version).await;
    let rooms = "'order' as name, array['open:1'] as rooms";
    attached(&database, "orders", "n int", rooms, "").await;
    database
        .run("create table shop.plain (id serial); grant all on shop.plain, shop.plain_id_seq to lab_app")
        .await;
    let legacy = database.legacy().await;
    let insert = "insert into shop.orders (n) values (1)";
    run(&legacy, insert).await;
    let error = legacy.batch_execute("select lastval()").await;
    let error = error.expect_err("it is of our sequence");
    let message = error.as_db_error().expect("of the database").message();
    assert_eq!(message, "permission denied for sequence event_id_seq");

    // As docs/sql.md has it.
    let documented = include_str!("../docs/sql.md");
    let (_, triggers) = documented
        .split_once("create trigger _899_rowcast_note")
        .expect("it is documented");
    let (triggers, _) = triggers.split_once("```").expect("a block");
    database
        .run(&format!("create trigger _899_rowcast_note{triggers}"))
        .await;

    let lastval = async |client: &Client, sql: &str| -> i64 {
        run(client, sql).await;
        let row = client.query_one("select lastval()", &[]).await;
        row.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
            .get(0)
    };
    let legacy = database.legacy().await;
    // Many at once that keep theirs do not disturb one another.
    let other = database.legacy().await;
    for n in 0..3 {
        assert_eq!(lastval(&legacy, insert).await, 2 + 2 * n);
        assert_eq!(lastval(&other, insert).await, 3 + 2 * n);
    }
    assert_eq!(
        lastval(&legacy, "insert into shop.plain default values").await,
        1
    );
    for sql in [
        "update shop.orders set n = 2",
        "insert into shop.orders (id, n) values (900, 1)",
        "delete from shop.orders where id = 900",
        "begin; update shop.orders set n = 3; rollback",
    ] {
        assert_eq!(lastval(&legacy, sql).await, 1, "{sql}");
    }
    assert_eq!(
        lastval(&legacy, "insert into shop.orders (n) values (1), (2)").await,
        9
    );
    // It knows none, or one that it may not read: then there is none to keep.
    let fresh = database.legacy().await;
    run(&fresh, "insert into shop.orders (id, n) values (901, 1)").await;
    let closed = "create sequence shop.closed;
         create function shop.draw() returns bigint language sql security definer
           as $$ select nextval('shop.closed') $$";
    database.run(closed).await;
    run(&fresh, "select shop.draw()").await;
    run(&fresh, "insert into shop.orders (id, n) values (902, 1)").await;
    database
        .run("select setval('shop.orders_id_seq', 2147483646)")
        .await;
    assert_eq!(lastval(&fresh, insert).await, 2_147_483_647);
}

/// A statement that asks for the page's bookmark besides was planned without workers.
async fn a_bookmark_keeps_no_statement_from_running_in_parallel(version: Version) {
    const PAGE: &str = "select rowcast.bookmark(), (select count(*) from public.many)";
    let database = on(version).await.database().await;
    database
        .run(
            "create table public.many as select id from generate_series(1, 1000) id;
             select rowcast.ensure_history()",
        )
        .await;
    let page = database.client("postgres").await;
    run(
        &page,
        "set parallel_setup_cost = 0; set parallel_tuple_cost = 0;
         set min_parallel_table_scan_size = 0",
    )
    .await;
    let plan = page.query(&format!("explain {PAGE}"), &[]).await;
    let plan: Vec<String> = plan.expect("a plan").iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    assert!(plan.contains("Workers Planned"), "{plan}");

    // In a transaction that writes, too; what it has written does not count as seen.
    run(
        &page,
        "begin; select rowcast.emit('c', 'own', array['*'], '{}')",
    )
    .await;
    let answer = page.query_one(PAGE, &[]).await.expect(PAGE);
    run(&page, "commit").await;
    assert_eq!(answer.get::<_, i64>(1), 1000);
    let since = "select string_agg(name, ' ') from rowcast.events_since($1)";
    let bookmark: String = answer.get(0);
    let since = page.query_one(since, &[&bookmark]).await.expect(since);
    assert_eq!(since.get::<_, String>(0), "own");
}

/// Beside a large catalog the planner took its answer for dear enough to be compiled, for a second.
#[tokio::test]
async fn what_the_console_asks_is_not_compiled() {
    let database = on(Version::Installed).await.database().await;
    let without = "select 'jit=off' = any (proconfig) from pg_proc
        where oid = 'rowcast.overview(integer)'::regprocedure";
    assert!(database.ask::<bool>(without).await);
}

/// Each proof of LISTEN was another statement to pg_stat_statements: it keeps five thousand, and forgot
/// the application's for them.
#[tokio::test]
async fn proofs_of_listen_are_one_statement() {
    let settings = [("shared_preload_libraries", "pg_stat_statements")];
    let postgres = Postgres::start(Version::Installed, &settings).await;
    let database = postgres.database().await;
    database.run("create extension pg_stat_statements").await;
    let server = serve(&database, |settings| {
        settings.listener.proof = Duration::from_millis(50);
    })
    .await;
    let ours = "select coalesce(string_agg(query, '; '), '') from pg_stat_statements
        join pg_database on pg_database.oid = dbid
        where datname = current_database() and query ~* 'echo:|pg_notify[(]'
        having sum(calls) >= 3";
    let said = eventually("three proofs", async || {
        let said = database.superuser().await.query_opt(ours, &[]).await;
        said.expect(ours).map(|row| row.get::<_, String>(0))
    })
    .await;
    assert_eq!(said, "select pg_notify($1, $2)");
    server.stop().await;
}

on_every_version! {
    a_bookmark_keeps_no_statement_from_running_in_parallel
    a_backslash_is_one_in_every_session
    a_room_is_called_alike_whoever_writes
    rows_and_ranges_look_alike_whoever_writes
    a_collation_of_ones_own_loses_nothing
    lastval_is_kept_where_it_is_asked_for
    a_query_that_would_find_no_row_for_want_of_a_policy_is_refused
}

/// It was attached, found no row at each write, and nobody heard why.
async fn a_query_that_would_find_no_row_for_want_of_a_policy_is_refused(version: Version) {
    let database = database(version).await;
    let setup = "create table shop.orders (id int primary key);
        create table shop.names (id int, name text); insert into shop.names values (1, 'one');
        grant usage on schema shop to rowcast_owner; grant select on shop.names to rowcast_owner;
        alter table shop.names enable row level security";
    database.run(setup).await;
    let attach = "select rowcast.attach('shop.orders', 'insert', $$
        select s.name, array['*'] as rooms, '{}'::json as data
        from new_rows n join shop.names s using (id) $$)";
    let superuser = database.superuser().await;
    let mut hint = String::new();
    for others in [
        "",
        "create policy others on shop.names for select to lab_app using (true)",
        "create policy writes on shop.names for insert with check (true)",
        "create policy narrows on shop.names as restrictive for select using (true)",
    ] {
        database.run(others).await;
        let error = superuser.batch_execute(attach).await.expect_err(others);
        let error = error.as_db_error().expect("of the database");
        assert_eq!(error.code().code(), "RC004", "{others}: {error:?}");
        let words = "no policy lets rowcast_owner see shop.names, which the query";
        assert!(error.message().starts_with(words), "{others}: {error:?}");
        hint = error.hint().expect("what helps").to_owned();
    }
    let sees_all = format!("begin; alter role rowcast_owner bypassrls; {attach}; rollback");
    run(superuser, &sees_all).await;
    run(superuser, &hint).await;
    run(superuser, attach).await;
    run(superuser, "insert into shop.orders values (1)").await;
    assert_eq!(told(&database).await, "one {*}");
    // Of a table of its own rowcast_owner sees all, unless it is forced.
    let own = "drop policy rowcast on shop.names; alter table shop.names owner to rowcast_owner";
    run(superuser, own).await;
    run(superuser, attach).await;
    run(superuser, "alter table shop.names force row level security").await;
    let forced = superuser.batch_execute(attach).await;
    assert_eq!(
        forced.expect_err("forced").code().expect("a code").code(),
        "RC004"
    );
}

/// A query over a table with policies failed in it, and its events were lost.
#[tokio::test]
async fn row_security_off_loses_no_events() {
    let database = database(Version::Installed).await;
    database
        .run(
            "create table shop.names (id int, name text); insert into shop.names values (1, 'one');
             grant usage on schema shop to rowcast_owner; grant select on shop.names to rowcast_owner;
             alter table shop.names enable row level security;
             create policy everybody on shop.names using (true);
             grant select on shop.names to lab_app;
             create view shop.seen as select * from shop.names;
             alter view shop.seen owner to lab_app; grant select on shop.seen to rowcast_owner",
        )
        .await;
    let more = "join shop.names s using (id)";
    attached(
        &database,
        "orders",
        "n int",
        "s.name, array['*'] as rooms",
        more,
    )
    .await;
    attached(
        &database,
        "others",
        "n int",
        "'o' as name, array['*'] as rooms",
        "",
    )
    .await;
    let legacy = database.legacy().await;
    run(
        &legacy,
        "set row_security = off; insert into shop.orders (n) values (1)",
    )
    .await;
    assert_eq!(told(&database).await, "one {*}");
    // What a view reads is read as its owner.
    let more = "join shop.seen s using (id)";
    let columns = "s.name, array['*'] as rooms";
    attached(&database, "viewed", "n int", columns, more).await;
    run(&legacy, "insert into shop.viewed (n) values (1)").await;
    assert_eq!(told(&database).await, "one {*}; one {*}");
    let settings =
        "select cardinality(proconfig) from pg_proc where proname = 'shop.others insert'";
    assert_eq!(
        database.ask::<i32>(settings).await,
        1,
        "nobody else pays for it"
    );
}
