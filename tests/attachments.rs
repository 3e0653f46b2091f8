//! The life of an attachment: its table is renamed, dropped, split up, or shared with strangers, and
//! nothing falls silent, speaks unasked or fails the application's writes.

use crate::support::{Database, Version, on, on_every_version};

const SETUP: &str = "
    create schema shop;
    create table shop.orders (id int primary key);
    create function shop.tell(p_table regclass, p_operation text default 'insert') returns void
    language plpgsql as $f$ begin
      perform rowcast.attach(p_table, p_operation, format($q$
        select '%s' as name, array['open:1'] as rooms, json_build_object('id', id) as data from %s
      $q$, p_operation, case p_operation when 'delete' then 'old_rows' else 'new_rows' end));
    end $f$;
    select shop.tell('shop.orders')";

async fn database(version: Version) -> Database {
    let database = on(version).await.database().await;
    database.run(SETUP).await;
    database
}

/// What the statement told: names and ids.
async fn told(database: &Database, sql: &str) -> String {
    database.run("delete from rowcast.event").await;
    database.run(sql).await;
    let told = "select coalesce(string_agg(name || ' ' || (data ->> 'id'), ', ' order by id), '')
        from rowcast.event";
    database.ask(told).await
}

async fn refused(database: &Database, sql: &str) -> (String, String) {
    let error = database.superuser().await.batch_execute(sql).await;
    let error = error.expect_err(sql);
    let error = error.as_db_error().expect("of the database");
    (error.code().code().to_owned(), error.message().to_owned())
}

/// A constant of an enumeration names its schema only where the query does.
async fn what_rowcast_owner_may_not_name_is_refused(version: Version) {
    let database = database(version).await;
    database
        .run(
            "create type shop.status as enum ('open', 'shut');
             create function shop.label(status shop.status) returns text stable language sql
               as 'select status::text';
             create function shop.same(shop.status, shop.status) returns boolean immutable
               language sql as 'select $1 = $2';
             create operator shop.=== (leftarg = shop.status, rightarg = shop.status,
               function = shop.same);
             alter table shop.orders add status shop.status",
        )
        .await;
    let attach = |value: &str| {
        format!(
            "select rowcast.attach('shop.orders', 'insert', $q$
               select 'insert' as name, array['open:1'] as rooms,
                 json_build_object('id', id, 'is', {value}) as data
               from new_rows n $q$, 'strict')"
        )
    };
    let named = [
        "shop.label(n.status)",
        "n.status = 'open'::shop.status",
        "n.status operator(shop.===) n.status",
    ];
    for value in named {
        let (code, message) = refused(&database, &attach(value)).await;
        assert_eq!(code, "RC004", "{value}: {message}");
        assert!(
            message.contains("permission denied for schema shop"),
            "{message}"
        );
    }
    let insert = "delete from shop.orders; insert into shop.orders values (1, 'open')";
    database.run(&attach("n.status = 'open'")).await;
    assert_eq!(told(&database, insert).await, "insert 1");
    database
        .run("grant usage on schema shop to rowcast_owner")
        .await;
    for value in named {
        database.run(&attach(value)).await;
        assert_eq!(told(&database, insert).await, "insert 1", "{value}");
    }
}

on_every_version! {
    what_rowcast_owner_may_not_name_is_refused
}
