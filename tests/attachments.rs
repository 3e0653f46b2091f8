//! The life of an attachment: its table is renamed, dropped, split up, or shared with strangers, and
//! nothing falls silent, speaks unasked or fails the application's writes.

use crate::support::{Database, Version, eventually, on, on_every_version};
use tokio::task::JoinHandle;
use tokio_postgres::Error;

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

async fn states(database: &Database) -> String {
    let states = "select coalesce(string_agg(format('%s %s %s', relation, operation, state), ', '
        order by relation::text collate \"C\", operation), '') from rowcast.attachment";
    database.ask(states).await
}

async fn refused(database: &Database, sql: &str) -> (String, String) {
    let error = database.superuser().await.batch_execute(sql).await;
    let error = error.expect_err(sql);
    let error = error.as_db_error().expect("of the database");
    (error.code().code().to_owned(), error.message().to_owned())
}

/// Its rows would be told by whichever was attached last.
async fn a_table_and_one_below_it_are_not_both_attached(version: Version) {
    let database = database(version).await;
    let child = "create table shop.child () inherits (shop.orders)";
    database.run(child).await;
    let (above, below) = ("shop.orders", "shop.child");
    // Another operation is told by a trigger of its own.
    database
        .run("select shop.tell('shop.child', 'delete')")
        .await;
    for (operation, there, asked) in [("insert", above, below), ("delete", below, above)] {
        let attach = format!("select shop.tell('{asked}', '{operation}')");
        let words = format!(
            "{there} is attached for {operation} already, and one hangs below the other: {asked}"
        );
        assert_eq!(refused(&database, &attach).await, ("RC003".into(), words));
    }
}

/// An update's old and new rows belong together by a key; any that is unique will do.
async fn an_update_without_a_key_is_shown(version: Version) {
    let database = database(version).await;
    database
        .run(
            "create table shop.bare (id int);
             create table shop.keyed (id int unique);
             select shop.tell('shop.bare'), shop.tell('shop.bare', 'update'),
               shop.tell('shop.keyed', 'update'), shop.tell('shop.orders', 'update')",
        )
        .await;
    assert_eq!(
        states(&database).await,
        "shop.bare insert ok, shop.bare update no primary key, shop.keyed update ok, \
         shop.orders insert ok, shop.orders update ok"
    );
    // Of a trigger that calls another function by now, ours is not there.
    database
        .run(
            "create function shop.other() returns trigger language plpgsql
               as 'begin return null; end';
             create or replace trigger _900_rowcast_insert after insert on shop.orders
               for each statement execute function shop.other()",
        )
        .await;
    let states = states(&database).await;
    assert!(states.contains("shop.orders insert missing"), "{states}");
}

/// Whoever attaches again mends what was done to the function by hand, though its text is the same.
async fn a_function_that_was_changed_by_hand_is_mended(version: Version) {
    let database = database(version).await;
    let sound = "select prosecdef and proowner = 'rowcast_owner'::regrole from pg_proc
        where oid = (select to_regprocedure(function_name || '()') from rowcast.attached)";
    for change in ["security invoker", "owner to current_user"] {
        let changed = format!(
            "do $$ begin execute (select format('alter function %s() {change}', function_name)
               from rowcast.attached); end $$"
        );
        database.run(&changed).await;
        assert!(!database.ask::<bool>(sound).await, "{change}");
        database.run("select shop.tell('shop.orders')").await;
        assert!(database.ask::<bool>(sound).await, "{change}");
    }
}

/// Whoever may call it could put it on a table of their own; one who may pass that on may have done so.
async fn what_was_granted_on_a_function_goes_when_it_is_attached_again(version: Version) {
    let database = database(version).await;
    database
        .run(
            "grant usage on schema rowcast to public;
             grant execute on function rowcast.\"shop.orders insert\"() to lab_app with grant option;
             set role lab_app;
             grant execute on function rowcast.\"shop.orders insert\"() to rowcast_service;
             reset role; select shop.tell('shop.orders')",
        )
        .await;
    let may = "select concat(has_function_privilege('lab_app', f, 'execute'), ' ',
          has_function_privilege('rowcast_service', f, 'execute'))
        from (values ('rowcast.\"shop.orders insert\"()')) v (f)";
    assert_eq!(database.ask::<String>(may).await, "f f");
}

/// A child may be attached itself, for an operation that its parent is not attached for.
async fn a_strict_refusal_names_the_table_that_is_attached_for_its_operation(version: Version) {
    let database = database(version).await;
    let parent = "create table shop.parent (id int primary key);
        create table shop.child () inherits (shop.parent);
        select shop.tell('shop.child', 'delete');
        select rowcast.attach('shop.parent', 'insert', $q$ select 'insert' as name,
          array['open:1'] as rooms, to_json(1 / id) as data from new_rows $q$, 'strict')";
    database.run(parent).await;
    let insert = "insert into shop.child values (0)";
    let error = database.superuser().await.batch_execute(insert).await;
    let error = error.expect_err(insert);
    let hint = error.as_db_error().and_then(|error| error.hint());
    assert!(
        hint.is_some_and(|hint| hint.contains("rowcast.detach('shop.parent', 'insert')")),
        "{error:?}"
    );
}

/// Two tables that had one name after the other shared a function, and lost it together.
async fn a_table_that_took_anothers_name_has_a_function_of_its_own(version: Version) {
    let database = database(version).await;
    database
        .run(
            "alter table shop.orders rename to orders_old;
             create table shop.orders (id int primary key);
             select shop.tell('shop.orders');
             select shop.tell('shop.orders_old')",
        )
        .await;
    let both = "shop.orders insert ok, shop.orders_old insert ok";
    assert_eq!(states(&database).await, both);
    let names = "select string_agg(distinct function_name, ', ' order by function_name)
        from rowcast.attached";
    let before: String = database.ask(names).await;
    assert!(
        before.ends_with("\", rowcast.\"shop.orders insert\""),
        "{before}"
    );
    database
        .run("select shop.tell('shop.orders'), shop.tell('shop.orders_old')")
        .await;
    assert_eq!(database.ask::<String>(names).await, before, "they keep it");

    database
        .run("select rowcast.detach('shop.orders_old')")
        .await;
    assert_eq!(
        told(&database, "insert into shop.orders values (1)").await,
        "insert 1"
    );
}

/// The end of a name that was too long or another's was made by md5().
async fn a_function_that_an_older_version_named_keeps_its_name(version: Version) {
    let database = database(version).await;
    let older = "rowcast.\"shop.orders insert 0cc175b9c0f1\"";
    let rename = format!(
        "alter function rowcast.\"shop.orders insert\"() rename to \"shop.orders insert 0cc175b9c0f1\";
         update rowcast.attached set function_name = '{older}'"
    );
    database.run(&rename).await;
    database.run("select shop.tell('shop.orders')").await;
    let name = "select function_name || ' ' || state from rowcast.attachment";
    assert_eq!(database.ask::<String>(name).await, format!("{older} ok"));
    let insert = "insert into shop.orders values (1)";
    assert_eq!(told(&database, insert).await, "insert 1");
    database.run("select rowcast.detach('shop.orders')").await;
    let left = "select count(*) from pg_proc where proname like 'shop.orders insert%'";
    assert_eq!(database.ask::<i64>(left).await, 0);
}

/// `triggers status` says to forget a dropped table by its oid.
async fn to_forget_a_dropped_table_leaves_its_successor_alone(version: Version) {
    let database = database(version).await;
    let oid: u32 = database.ask("select 'shop.orders'::regclass::oid").await;
    database
        .run(&format!(
            "drop table shop.orders; create table shop.orders (id int primary key);
             select shop.tell('shop.orders'); select rowcast.detach({oid})"
        ))
        .await;
    assert_eq!(states(&database).await, "shop.orders insert ok");
    assert_eq!(
        told(&database, "insert into shop.orders values (1)").await,
        "insert 1"
    );
    database.run("select rowcast.detach('shop.orders')").await;
    let left = "select count(*) from pg_proc where pronamespace = 'rowcast'::regnamespace
        and prorettype = 'trigger'::regtype and proname like 'shop.%'";
    assert_eq!(database.ask::<i64>(left).await, 0);
}

/// A job makes the table anew each night, and forgets the one before, as docs/sql.md has it.
async fn what_a_nightly_job_dropped_is_forgotten(version: Version) {
    let database = database(version).await;
    let documented = include_str!("../docs/sql.md");
    let (_, forget) = documented
        .split_once("```sql\nselect rowcast.detach(root,")
        .expect("it is documented");
    let (forget, _) = forget.split_once("```").expect("a block");
    for night in 1..=2 {
        let job = format!(
            "begin; create table shop.anew (like shop.orders including all);
             alter table shop.orders rename to old; alter table shop.anew rename to orders;
             drop table shop.old; select rowcast.detach(root,{forget};
             select shop.tell('shop.orders'), shop.tell('shop.orders', 'delete'); commit"
        );
        database.run(&job).await;
        let both = "shop.orders delete ok, shop.orders insert ok";
        assert_eq!(states(&database).await, both, "night {night}");
        let functions = "select count(*) from pg_proc where proname like 'shop.orders %'";
        assert_eq!(database.ask::<i64>(functions).await, 2, "night {night}");
        let insert = format!("insert into shop.orders values ({night})");
        assert_eq!(told(&database, &insert).await, format!("insert {night}"));
    }
}

/// Whoever follows the hint had detached the table that took the name, and a failure was told of it.
async fn a_failure_names_the_table_as_it_is_called_now(version: Version) {
    let database = database(version).await;
    let fails = |table: &str, mode: &str| {
        format!(
            "select rowcast.attach('{table}', 'insert', $q$ select 'n' as name, array['r'] as rooms,
               to_json(1 / id) as data from new_rows $q$, '{mode}')"
        )
    };
    database
        .run(&format!(
            "{}; alter table shop.orders rename to old;
             create table shop.orders (id int); insert into shop.old values (0)",
            fails("shop.orders", "lossy")
        ))
        .await;
    let named = "select string_agg(relation, ' ') from rowcast.failure";
    assert_eq!(database.ask::<String>(named).await, "shop.old");
    database
        .run(&format!(
            "create table shop.log (id int) partition by list (id);
             create table shop.log_0 partition of shop.log for values in (0); {};
             alter table shop.log rename to journal",
            fails("shop.log", "strict")
        ))
        .await;
    for (table, written) in [("shop.journal", "journal"), ("shop.log_0", "log_0")] {
        let insert = format!("insert into {table} values (0)");
        let error = database.superuser().await.batch_execute(&insert).await;
        let error = error.expect_err("strict");
        let error = error.as_db_error().expect("of the database");
        let detail = error.detail().unwrap_or_default();
        let said = format!("the events of insert on shop.{written},");
        assert!(detail.contains(&said), "{detail}");
        let hint = error.hint().unwrap_or_default();
        let detach = "rowcast.detach('shop.journal', 'insert')";
        assert!(hint.contains(detach), "{hint}");
    }
}

/// A trigger that was renamed told of each row once more, beside the one that attach made anew.
async fn a_renamed_trigger_tells_nothing_twice(version: Version) {
    let database = database(version).await;
    let rename = "alter trigger _900_rowcast_insert on shop.orders rename to tell_orders";
    database.run(rename).await;
    assert_eq!(states(&database).await, "shop.orders insert missing");
    database.run("select shop.tell('shop.orders')").await;
    assert_eq!(states(&database).await, "shop.orders insert ok");
    let insert = "insert into shop.orders values (1)";
    assert_eq!(told(&database, insert).await, "insert 1");
}

/// A dump keeps whoever would detach waiting for hours; to disable a trigger waits for writers alone.
async fn a_trigger_is_disabled_beside_a_reader(version: Version) {
    let database = database(version).await;
    let reader = database.client("postgres").await;
    let read = "begin; lock table shop.orders in access share mode";
    reader.batch_execute(read).await.expect("a dump's lock");
    let impatient = "set lock_timeout = '100ms'; select rowcast.detach('shop.orders')";
    assert_eq!(refused(&database, impatient).await.0, "55P03");
    let disable = "alter table shop.orders disable trigger _900_rowcast_insert";
    database.run(disable).await;
    assert_eq!(
        told(&database, "insert into shop.orders values (1)").await,
        ""
    );
    assert_eq!(states(&database).await, "shop.orders insert disabled");
    // For replicas alone, it is so to whoever writes.
    let replica = disable.replace("disable", "enable replica");
    database.run(&replica).await;
    assert_eq!(states(&database).await, "shop.orders insert disabled");
    database.run(&disable.replace("disable", "enable")).await;
    assert_eq!(
        told(&database, "insert into shop.orders values (2)").await,
        "insert 2"
    );
    reader.batch_execute("commit").await.expect("it ends");
}

/// "No operator matches", said PostgreSQL of one that there is.
#[tokio::test]
async fn an_operator_outside_the_path_is_said_how_to_write() {
    let database = database(Version::Installed).await;
    let own = "create operator public.=== (function = int4eq, leftarg = int, rightarg = int)";
    database.run(own).await;
    let attach = |operator: &str| {
        format!(
            "select rowcast.attach('shop.orders', 'insert', $$ select 'one' as name,
               array['open:1'] as rooms, json_build_object('id', id) as data
               from new_rows where id {operator} 1 $$)"
        )
    };
    let error = database
        .superuser()
        .await
        .batch_execute(&attach("==="))
        .await;
    let error = error.expect_err("it is in public");
    let hint = error.as_db_error().and_then(|error| error.hint());
    assert!(
        hint.is_some_and(|hint| hint.contains("operator(public.->)")),
        "{error:?}"
    );
    database.run(&attach("operator(public.===)")).await;
    assert_eq!(
        told(&database, "insert into shop.orders values (1), (2)").await,
        "one 1"
    );
}

/// Names that are too long once their characters are bytes, and such as read alike.
async fn names_that_are_cut_off_or_read_alike_are_kept_apart(version: Version) {
    let database = database(version).await;
    let long = "\u{6ce8}".repeat(20);
    database
        .run(&format!(
            "create table public.{long} (id int);
             create schema \"s.a\"; create table \"s.a\".b (id int);
             create schema s; create table s.\"a.b\" (id int);
             select shop.tell('public.{long}'), shop.tell('public.{long}', 'delete');
             select shop.tell('\"s.a\".b'), shop.tell('s.\"a.b\"')"
        ))
        .await;
    let functions = "select count(distinct to_regprocedure(function_name || '()'))
        from rowcast.attached where to_regprocedure(function_name || '()')::text = function_name || '()'";
    assert_eq!(database.ask::<i64>(functions).await, 5);
    for (sql, expected) in [
        (format!("insert into {long} values (1)"), "insert 1"),
        (format!("delete from {long}"), "delete 1"),
        ("insert into \"s.a\".b values (2)".to_owned(), "insert 2"),
        ("insert into s.\"a.b\" values (3)".to_owned(), "insert 3"),
    ] {
        assert_eq!(told(&database, &sql).await, expected, "{sql}");
    }
    database.run("select rowcast.detach('\"s.a\".b')").await;
    assert_eq!(
        told(&database, "insert into s.\"a.b\" values (4)").await,
        "insert 4"
    );
}

/// As earlier versions attached them.
async fn a_function_that_two_attachments_share_outlives_the_first(version: Version) {
    let database = database(version).await;
    let share = "alter table shop.orders rename to orders_old;
        create table shop.orders (id int primary key);
        create trigger _900_rowcast_insert after insert on shop.orders
          referencing new table as new_rows
          for each statement execute function rowcast.\"shop.orders insert\"();
        insert into rowcast.attached (relation, operation, mode, query, function_name, reset_above)
        select 'shop.orders', operation, mode, query, function_name, reset_above
        from rowcast.attached";
    database.run(share).await;
    let both = "shop.orders insert ok, shop.orders_old insert ok";
    assert_eq!(states(&database).await, both, "neither is left behind");
    let insert = "insert into shop.orders values (1)";
    database
        .run("begin; select rowcast.detach('shop.orders_old')")
        .await;
    assert_eq!(told(&database, insert).await, "insert 1");
    assert_eq!(states(&database).await, "shop.orders insert ok");
    database.run("rollback").await;
    // Attached again, each has its own.
    database
        .run("select shop.tell('shop.orders'); select rowcast.detach('shop.orders_old')")
        .await;
    assert_eq!(told(&database, insert).await, "insert 1");
}

/// Attached a moment ago, they are unknown to the planner: `rowcast triggers` compared each with each, 80 s for
/// 4,000 partitions.
async fn partitions_are_not_compared_with_each_other(version: Version) {
    let database = database(version).await;
    let many = "create table shop.parts (id int) partition by list (id);
        do $$ begin
          for i in 1..500 loop
            execute format('create table shop.part_%s partition of shop.parts for values in (%s)', i, i);
          end loop;
        end $$;
        create function shop.handled(p_sql text) returns bigint language plpgsql as $f$
        declare v_plan json;
        begin
          execute 'explain (analyze, format json) ' || p_sql into v_plan;
          return (
            select sum((node ->> 'Actual Loops')::numeric * ((node ->> 'Actual Rows')::numeric
              + coalesce((node ->> 'Rows Removed by Filter')::numeric, 0)
              + coalesce((node ->> 'Rows Removed by Join Filter')::numeric, 0)))
            from jsonb_path_query(v_plan::jsonb, 'strict $.** ? (exists (@.\"Actual Loops\"))') node
          );
        end $f$";
    database.run(many).await;
    for operation in ["insert", "delete"] {
        let attach = format!("select shop.tell('shop.parts', '{operation}')");
        database.run(&attach).await;
    }
    let by_hand = include_str!("../src/command/triggers/by_hand.sql").replace("$1", "'{}'");
    for asked in ["select * from rowcast.attachment", &by_hand] {
        let rows: i64 = database
            .ask(&format!("select shop.handled($q${asked}$q$)"))
            .await;
        // Of 1,001 triggers, with the catalogs' own rows.
        assert!(rows < 100_000, "{rows} rows for {asked}");
    }
}

/// PostgreSQL fails the writes of a parent whose foreign partition would need transition rows.
async fn a_foreign_partition_is_refused_and_shown(version: Version) {
    let database = database(version).await;
    database
        .run(
            "create foreign data wrapper far; create server away foreign data wrapper far;
             create table shop.parts (id int) partition by list (id);
             create table shop.part_1 partition of shop.parts for values in (1);
             select shop.tell('shop.parts');
             create foreign table shop.part_2 partition of shop.parts for values in (2) server away",
        )
        .await;
    assert_eq!(
        states(&database).await,
        "shop.orders insert ok, shop.part_1 insert ok, shop.part_2 insert foreign table, \
         shop.parts insert ok"
    );
    for operation in ["insert", "update", "delete"] {
        let attach = format!("select shop.tell('shop.parts', '{operation}')");
        let (code, message) = refused(&database, &attach).await;
        assert_eq!(code, "RC003", "{message}");
        assert!(message.contains("a foreign one below it"), "{message}");
    }
    database
        .run(
            "select rowcast.detach('shop.parts'), shop.tell('shop.part_1');
             select rowcast.attach('shop.parts', 'truncate', $q$ select 'emptied' as name,
               array['open:1'] as rooms, '{}'::json as data $q$)",
        )
        .await;
    assert_eq!(
        states(&database).await,
        "shop.orders insert ok, shop.part_1 insert ok, shop.part_1 truncate ok, \
         shop.parts truncate ok"
    );
}

/// A purge of the archive told browsers that orders were deleted.
async fn a_detached_partition_falls_silent(version: Version) {
    let database = database(version).await;
    let detach = "alter table shop.parts detach partition shop.part_1";
    database
        .run(
            "create table shop.parts (id int) partition by list (id);
             create table shop.part_1 partition of shop.parts for values in (1);
             select shop.tell('shop.parts', 'delete'), rowcast.detach('shop.orders')",
        )
        .await;
    for silence in [
        "select shop.tell('shop.parts', 'delete')",
        "select rowcast.detach('shop.part_1')",
    ] {
        database.run(detach).await;
        assert_eq!(
            states(&database).await,
            "shop.part_1 delete left behind, shop.parts delete ok"
        );
        database.run(silence).await;
        assert_eq!(states(&database).await, "shop.parts delete ok");
        let purge = "insert into shop.part_1 values (1); delete from shop.part_1";
        assert_eq!(told(&database, purge).await, "", "{silence}");
        database
            .run(
                "alter table shop.parts attach partition shop.part_1 for values in (1);
                 select shop.tell('shop.parts', 'delete')",
            )
            .await;
    }
    database
        .run(&format!("{detach}; select rowcast.detach('shop.parts')"))
        .await;
    assert_eq!(states(&database).await, "");
    let (code, _) = refused(&database, "select rowcast.detach('shop.part_1')").await;
    assert_eq!(code, "RC005");
}

/// Whoever may execute a trigger function can put it on a table of their own, and forge its events.
async fn default_privileges_open_no_trigger_function(version: Version) {
    let database = database(version).await;
    let open =
        "select has_function_privilege('lab_app', 'rowcast.\"shop.orders insert\"()', 'execute')";
    database
        .run(
            "select rowcast.detach('shop.orders');
             alter default privileges grant execute on functions to lab_app with grant option;
             select shop.tell('shop.orders')",
        )
        .await;
    assert!(!database.ask::<bool>(open).await);
    // As an earlier version left it.
    database
        .run(
            "grant execute on function rowcast.\"shop.orders insert\"() to lab_app;
             select shop.tell('shop.orders')",
        )
        .await;
    assert!(!database.ask::<bool>(open).await);
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

/// The tables that stand for a trigger's rows have them: it was attached, and then every write of a strict
/// one failed.
async fn a_query_over_system_columns_is_refused(version: Version) {
    let database = database(version).await;
    let parted = "grant usage on schema shop to rowcast_owner;
        create table shop.parted (id int primary key) partition by list (id);
        create table shop.first partition of shop.parted for values in (1);
        grant select on shop.parted to rowcast_owner";
    database.run(parted).await;
    let attach = |operation: &str, data: &str, from: &str| {
        format!(
            "select rowcast.attach('shop.parted', '{operation}', $q$ select '{operation}' as name,
               array['open:1'] as rooms, json_build_object('id', {data}) as data from {from} $q$, 'strict')"
        )
    };
    for (operation, data, from, read) in [
        ("insert", "n.tableoid::regclass", "new_rows n", "tableoid"),
        ("delete", "id", "old_rows where xmin <> '0'", "xmin"),
        ("update", "t", "(select ctid as t from old_rows) o", "ctid"),
    ] {
        let refused = refused(&database, &attach(operation, data, from)).await;
        let words = format!(
            "the query for {operation} on shop.parted reads {read}: triggers are given no system columns"
        );
        assert_eq!(refused, ("RC003".into(), words));
    }
    // As the hint says.
    let from = "new_rows n join shop.parted p using (id)";
    database
        .run(&attach("insert", "p.tableoid::regclass", from))
        .await;
    let insert = "insert into shop.parted values (1)";
    assert_eq!(told(&database, insert).await, "insert shop.first");
}

/// PostgreSQL gives triggers no value of them: events were lost, or told null, or strict writes failed.
#[tokio::test]
async fn a_query_over_virtual_columns_is_refused() {
    let database = database(Version::V18).await;
    database
        .run(
            "create table shop.people (id int primary key, uid int,
               room text generated always as ('user:' || uid) virtual,
               kept text generated always as ('user:' || uid) stored);
             create table shop.parent (id int primary key);
             create table shop.child (twice int generated always as (id * 2) virtual)
               inherits (shop.parent);
             grant usage on schema shop to rowcast_owner; grant select on shop.people to rowcast_owner",
        )
        .await;
    let attach = |table: &str, operation: &str, columns: &str, from: &str| {
        format!(
            "select rowcast.attach('shop.{table}', '{operation}',
               $q$ select '{operation}' as name, {columns} as data from {from} $q$, 'strict')"
        )
    };
    let pairs = "(new_rows n join old_rows o using (id)) j";
    for (table, operation, columns, from, read) in [
        (
            "people",
            "insert",
            "array[n.room] as rooms, to_json(n.id)",
            "new_rows n",
            "reads room",
        ),
        (
            "people",
            "insert",
            "array['open:1'] as rooms, to_json(n)",
            "new_rows n",
            "reads whole rows",
        ),
        (
            "people",
            "insert",
            "array['open:1'] as rooms, to_json((n).room)",
            "new_rows n",
            "reads room",
        ),
        (
            "people",
            "update",
            "array['open:1'] as rooms, to_json(j)",
            pairs,
            "reads whole rows",
        ),
        (
            "people",
            "delete",
            "array['open:1'] as rooms, to_json(j)",
            "(select * from old_rows) j",
            "reads room",
        ),
        (
            "people",
            "delete",
            "array['open:1'] as rooms, to_json(id)",
            "old_rows where room > ''",
            "reads room",
        ),
        (
            "parent",
            "insert",
            "array['open:1'] as rooms, to_json(n)",
            "new_rows n",
            "reads whole rows",
        ),
    ] {
        let (code, message) = refused(&database, &attach(table, operation, columns, from)).await;
        assert_eq!(code, "RC003", "{columns}: {message}");
        assert!(message.contains(read), "{columns}: {message}");
    }
    // What is read elsewhere than in a trigger's rows is computed.
    let columns = "array[n.kept] as rooms, (select json_build_object('id', p.room)
        from shop.people p where p.id = n.id)";
    for (table, operation, columns, from) in [
        ("people", "insert", columns, "new_rows n"),
        (
            "people",
            "delete",
            "array['open:1'] as rooms, to_json(j)",
            "(select id from old_rows) j",
        ),
        (
            "people",
            "truncate",
            "array['open:1'] as rooms, to_json(1)",
            "(values (1)) v",
        ),
        (
            "parent",
            "insert",
            "array['open:1'] as rooms, json_build_object('id', id)",
            "new_rows",
        ),
    ] {
        database.run(&attach(table, operation, columns, from)).await;
    }
    for (sql, expected) in [
        ("insert into shop.people values (1, 5)", "insert user:5"),
        ("delete from shop.people", "delete 1"),
        ("insert into shop.child values (2)", "insert 2"),
    ] {
        assert_eq!(told(&database, sql).await, expected, "{sql}");
    }
}

/// They were dropped without a word.
#[tokio::test]
async fn the_callers_own_temporary_tables_stay() {
    let database = database(Version::Installed).await;
    let temporary = [
        "create temporary table new_rows as select 1 as mine",
        "create temporary table old_rows as select 1 as mine",
        "create temporary view rowcast_checked as select 1 as mine",
    ];
    for create in temporary {
        let superuser = database.client("postgres").await;
        superuser.batch_execute(create).await.expect(create);
        let attached = superuser
            .batch_execute("select shop.tell('shop.orders', 'delete')")
            .await;
        let error = attached.expect_err(create);
        let error = error.as_db_error().expect("of the database");
        assert_eq!(error.code().code(), "RC003", "{error}");
        assert!(
            error
                .hint()
                .is_some_and(|hint| hint.contains("another session"))
        );
        let name = create.split(' ').nth(3).unwrap();
        let mine = superuser
            .query_one(&format!("select mine from pg_temp.{name}"), &[])
            .await;
        assert_eq!(mine.expect(create).get::<_, i32>(0), 1);
    }
}

/// What reads like a part of the trigger's function was replaced by that part.
async fn a_table_may_be_called_like_a_part_of_the_function(version: Version) {
    let database = database(version).await;
    for name in ["{query}", "{selected}", "{failed}{reset}", "$source$"] {
        database
            .run(&format!(
                "create table shop.\"{name}\" (id int); select shop.tell('shop.\"{name}\"')"
            ))
            .await;
        let insert = format!("insert into shop.\"{name}\" values (1)");
        assert_eq!(told(&database, &insert).await, "insert 1", "{name}");
        let channel: String = database.ask("select channel from rowcast.event").await;
        assert_eq!(channel, name);
    }
    // Nor are columns mistaken for what the function calls so.
    database
        .run(
            "create table shop.counted (id int, v_count int, v_state text);
             select rowcast.attach('shop.counted', 'insert', $$
               select v_state as name, array['*'] as rooms, json_build_object('id', v_count) as data
               from new_rows $$)",
        )
        .await;
    let insert = "insert into shop.counted values (1, 7, 'counted')";
    assert_eq!(told(&database, insert).await, "counted 7");
    for name in ["$body$", "$query$", "a\tb"] {
        let attach =
            format!("create table shop.\"{name}\" (id int); select shop.tell('shop.\"{name}\"')");
        let (code, message) = refused(&database, &attach).await;
        assert_eq!(code, "RC003", "{message}");
        assert!(message.starts_with("the name of shop."), "{message}");
    }
}

/// As a file ends that was written elsewhere: by a carriage return.
async fn a_query_may_end_as_a_statement_does(version: Version) {
    let database = database(version).await;
    database
        .run(
            r"select rowcast.attach('shop.orders', 'insert', e'select ''insert'' as name,
               array[''open:1''] as rooms, json_build_object(''id'', id) as data
               from new_rows;\r\n\t;\f ')",
        )
        .await;
    let insert = "insert into shop.orders values (1)";
    assert_eq!(told(&database, insert).await, "insert 1");
}

/// A UNION of unequal columns is a syntax error to PostgreSQL, too, and was answered with a word on parentheses.
#[tokio::test]
async fn a_query_that_does_not_work_is_told_all_that_one_has_to_be() {
    let database = database(Version::Installed).await;
    for query in [
        "select 1 union select 1, 2",
        "select 1; select 2",
        "table shop.no",
    ] {
        let attach = format!("select rowcast.attach('shop.orders', 'insert', '{query}')");
        let error = database.superuser().await.batch_execute(&attach).await;
        let error = error.expect_err(query);
        let error = error.as_db_error().expect("of the database");
        assert_eq!(error.code().code(), "RC003", "{error}");
        let hint = error.hint().unwrap_or_default();
        for word in ["parentheses", "new_rows", "schema in front"] {
            assert!(hint.contains(word), "{query}: {hint}");
        }
    }
}

/// The second attachment took the trigger of a child of two parents away from the first.
async fn a_child_of_two_parents_tells_for_one_only(version: Version) {
    let database = database(version).await;
    database
        .run(
            "create table shop.other (id int);
             create table shop.child () inherits (shop.orders, shop.other)",
        )
        .await;
    let other = "select shop.tell('shop.other')";
    let (code, message) = refused(&database, other).await;
    let words =
        "shop.child hangs below shop.other and below shop.orders, which is attached for insert";
    assert_eq!(code, "RC003");
    assert!(message.starts_with(words), "{message}");
    // For another operation there is another trigger.
    database
        .run("select shop.tell('shop.other', 'delete')")
        .await;
    database
        .run("alter table shop.child no inherit shop.other; select shop.tell('shop.other')")
        .await;
    assert_eq!(
        told(&database, "insert into shop.child values (1)").await,
        "",
        "made since: a new child is missing until it is attached again"
    );
    database.run("select shop.tell('shop.orders')").await;
    assert_eq!(
        told(&database, "insert into shop.child values (2)").await,
        "insert 2"
    );
}

/// No table at all, and one that was dropped: PostgreSQL's own words were "syntax error at or near".
#[tokio::test]
async fn no_table_is_said_to_be_none() {
    let database = database(Version::Installed).await;
    for (call, code, words) in [
        (
            "attach(null, 'insert', 'table new_rows')",
            "RC003",
            "there is no table null",
        ),
        (
            "attach(4000000000, 'insert', 'table new_rows')",
            "RC003",
            "there is no table 4000000000",
        ),
        ("detach(null)", "RC005", "nothing is attached to null"),
        // The same mistake, the same answer.
        (
            "attach('shop.orders', 'foo', 'table new_rows')",
            "RC003",
            "there is no operation 'foo'",
        ),
        (
            "detach('shop.orders', 'foo')",
            "RC003",
            "there is no operation 'foo'",
        ),
    ] {
        let (its, message) = refused(&database, &format!("select rowcast.{call}")).await;
        assert_eq!((its.as_str(), message.as_str()), (code, words));
    }
}

on_every_version! {
    a_strict_refusal_names_the_table_that_is_attached_for_its_operation
    what_was_granted_on_a_function_goes_when_it_is_attached_again
    a_query_over_system_columns_is_refused
    a_table_and_one_below_it_are_not_both_attached
    a_table_may_be_called_like_a_part_of_the_function
    a_query_may_end_as_a_statement_does
    an_update_without_a_key_is_shown
    a_function_that_was_changed_by_hand_is_mended
    a_table_that_took_anothers_name_has_a_function_of_its_own
    a_function_that_an_older_version_named_keeps_its_name
    to_forget_a_dropped_table_leaves_its_successor_alone
    what_a_nightly_job_dropped_is_forgotten
    a_renamed_trigger_tells_nothing_twice
    a_failure_names_the_table_as_it_is_called_now
    a_trigger_is_disabled_beside_a_reader
    names_that_are_cut_off_or_read_alike_are_kept_apart
    a_function_that_two_attachments_share_outlives_the_first
    partitions_are_not_compared_with_each_other
    a_foreign_partition_is_refused_and_shown
    a_child_of_two_parents_tells_for_one_only
    a_detached_partition_falls_silent
    default_privileges_open_no_trigger_function
    what_rowcast_owner_may_not_name_is_refused
    a_merge_that_moves_rows_tells_by_the_actions_it_names
    two_attach_one_table_at_once
    a_partition_older_than_its_parent_is_attached_below_a_writer
}

/// Another session runs this, and waits for a lock by now.
async fn waits(database: &Database, sql: &'static str) -> JoinHandle<Result<(), Error>> {
    let client = database.client("postgres").await;
    let pid: i32 = client
        .query_one("select pg_backend_pid()", &[])
        .await
        .expect("an answer")
        .get(0);
    let running = tokio::spawn(async move { client.batch_execute(sql).await });
    let waiting = format!("select exists (select from pg_locks where not granted and pid = {pid})");
    eventually("it waits", async || {
        database.ask::<bool>(&waiting).await.then_some(())
    })
    .await;
    running
}

/// To PostgreSQL a row that MERGE moves to another partition is deleted and inserted, and yet only the triggers of
/// the actions that it names fire: docs/sql.md says how to have both told.
async fn a_merge_that_moves_rows_tells_by_the_actions_it_names(version: Version) {
    let database = database(version).await;
    // PostgreSQL 14 has none.
    if database.version < 15 {
        return;
    }
    database
        .run(
            "create table shop.parted (id int, part int, primary key (id, part)) partition by list (part);
             create table shop.one partition of shop.parted for values in (1);
             create table shop.two partition of shop.parted for values in (2);
             insert into shop.parted values (1, 1), (2, 1);
             select shop.tell('shop.parted', o) from unnest('{insert,update,delete}'::text[]) o",
        )
        .await;
    let merge = |id: u32, named: &str| {
        format!(
            "merge into shop.parted p using (values ({id})) v (id) on p.id = v.id
             when matched {named} then update set part = 2"
        )
    };
    assert_eq!(told(&database, &merge(1, "")).await, "");
    let both = "and false then delete
        when not matched and false then insert values (0, 1)
        when matched";
    assert_eq!(told(&database, &merge(2, both)).await, "delete 2, insert 2");
    let update = "update shop.parted set part = 1 where id = 2";
    assert_eq!(told(&database, update).await, "update 2");
}

/// The second failed: `tuple concurrently updated`, or a function that there was already.
async fn two_attach_one_table_at_once(version: Version) {
    let database = database(version).await;
    database.run("create table shop.more (id int)").await;
    let attach = "select shop.tell('shop.more')";
    let first = database.client("postgres").await;
    let begun = first.batch_execute(&format!("begin; {attach}")).await;
    begun.expect("attached");
    let second = waits(&database, attach).await;
    first.batch_execute("commit").await.expect("a commit");
    second.await.expect("it ends").expect("attached, too");
}

/// Locked in the order of their oids, the older partition came first, and a writer that had come from
/// the parent was shot.
async fn a_partition_older_than_its_parent_is_attached_below_a_writer(version: Version) {
    let database = database(version).await;
    database
        .run(
            "create table shop.old (id int); create table shop.new (id int);
             create table shop.parted (id int) partition by range (id);
             alter table shop.parted attach partition shop.old for values from (0) to (10);
             alter table shop.parted attach partition shop.new for values from (10) to (20)",
        )
        .await;
    let attach = "select shop.tell('shop.parted')";
    // Only those that came later lack their triggers, and the table itself does not.
    let later = "create table shop.third partition of shop.parted for values from (20) to (30);
         create table shop.fourth partition of shop.parted for values from (30) to (40)";
    for (before, step, younger, older) in [
        ("", attach, 11, 1),
        (later, attach, 31, 21),
        ("", "select rowcast.detach('shop.parted')", 11, 1),
    ] {
        database.run(before).await;
        let writer = database.client("postgres").await;
        let begun = format!("begin; insert into shop.parted values ({younger})");
        writer.batch_execute(&begun).await.expect("a write");
        let running = waits(&database, step).await;
        let older = writer
            .batch_execute(&format!("insert into shop.parted values ({older}); commit"))
            .await;
        older.unwrap_or_else(|error| panic!("{step}: {error:?}"));
        let done = running.await.expect("it ends");
        done.unwrap_or_else(|error| panic!("{step}: {error:?}"));
    }
}
