//! The schema: from empty to latest, harmlessly again and by many at once; its golden dump; and who
//! may do what with it.

use crate::support::{self, Database, VERSIONS, Version, on_every_version};
use md5::{Digest, Md5};
use rowcast::migrate;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Barrier;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

async fn run(client: &mut Client) -> migrate::Done {
    migrate::run(client)
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test]
async fn from_empty_to_latest_and_again_harmlessly() {
    for version in VERSIONS {
        let database = support::on(version).await.empty().await;
        let mut owner = database.client("postgres").await;
        let first = run(&mut owner).await;
        assert!(first.migrations >= 3 && first.scripts >= 20, "{first:?}");
        let bookmark = database.bookmark().await;
        let identity = "select string_agg(p.oid::text || p.xmin::text, ',' order by p.oid)
            from pg_proc p where p.pronamespace = 'rowcast'::regnamespace";
        let functions: String = database.ask(identity).await;
        let again = run(&mut owner).await;
        assert_eq!(again, migrate::Done::default(), "{version:?}");
        assert_eq!(database.ask::<String>(identity).await, functions);
        // A second migration is no new history: no client is told of a gap for it.
        let history = |bookmark: &str| bookmark.split('.').next().map(str::to_owned);
        assert_eq!(history(&database.bookmark().await), history(&bookmark));
    }
}

/// `rowcast migrate` ended at the first md5() where OpenSSL is in FIPS mode. What all other tests show by
/// running in such databases.
#[tokio::test]
async fn where_md5_is_refused_it_migrates() {
    for version in VERSIONS {
        let postgres = support::on(version).await;
        for database in [postgres.database().await, postgres.lab().await] {
            let hash = database.superuser().await;
            let error = hash.query("select md5('a')", &[]).await;
            let error = error.expect_err("it is refused here");
            assert!(format!("{error:?}").contains("could not compute MD5 hash"));
        }
    }
}

/// Managed databases give nobody a superuser. From 16 on, whoever creates a role may not act as it
/// unless it is granted.
#[tokio::test]
async fn without_a_superuser() {
    for version in VERSIONS {
        // A cluster of its own: in the others the roles are there already.
        let postgres = support::Postgres::bare(version).await;
        let connect = async |role: &str| {
            let url = postgres.cluster.url("postgres", role);
            let client = rowcast::database::connect_and_drive(&url, support::PATIENCE).await;
            client.unwrap_or_else(|error| panic!("{version:?} {role}: {error}"))
        };
        let superuser = connect("postgres").await;
        let setup = "create role dba login createrole; grant create on database postgres to dba";
        superuser.batch_execute(setup).await.expect("a DBA");
        let mut dba = connect("dba").await;
        let first = run(&mut dba).await;
        assert!(first.migrations >= 3, "{version:?}: {first:?}");
        assert_eq!(run(&mut dba).await, migrate::Done::default(), "{version:?}");
        let attached = "create schema app; create table app.t (id int primary key); \
             grant usage on schema app to rowcast_owner; select rowcast.attach('app.t', 'insert', \
             $$ select 'e' as name, array['*'] as rooms, to_json(n) as data from new_rows n $$); \
             insert into app.t values (1)";
        dba.batch_execute(attached)
            .await
            .unwrap_or_else(|error| panic!("{version:?}: {error:?}"));
        let row = superuser
            .query_one("select count(*) from rowcast.event", &[])
            .await;
        assert_eq!(row.expect("the log").get::<_, i64>(0), 1, "{version:?}");
    }
}

/// An application in use: sessions that write without a pause, ten statements a transaction. The ninth
/// and the tenth come to rowcast.event, after rowcast.log.
struct Writers {
    going: Arc<AtomicBool>,
    sessions: Vec<JoinHandle<Result<(), tokio_postgres::Error>>>,
}

impl Writers {
    const TABLE: &str =
        "create schema busy; create table busy.t (id bigint generated always as identity);
        select rowcast.attach('busy.t', 'insert', $$ select 'e' as name, array['*'] as rooms,
          to_json(n) as data from new_rows n $$, 'strict');";

    /// Returns when each has committed.
    async fn start(database: &Database) -> Self {
        database.run(Self::TABLE).await;
        let one = "insert into busy.t default values; select pg_sleep(0.001);";
        let transaction = format!("begin; {} commit", one.repeat(10));
        let going = Arc::new(AtomicBool::new(true));
        let committed = Arc::new(Barrier::new(5));
        let mut sessions = Vec::new();
        for _ in 0..4 {
            let (client, transaction) = (database.client("postgres").await, transaction.clone());
            let (going, committed) = (Arc::clone(&going), Arc::clone(&committed));
            sessions.push(tokio::spawn(async move {
                client.batch_execute(&transaction).await?;
                committed.wait().await;
                while going.load(Ordering::Relaxed) {
                    client.batch_execute(&transaction).await?;
                }
                Ok(())
            }));
        }
        support::within("writers", committed.wait()).await;
        Self { going, sessions }
    }

    /// No statement of theirs has failed.
    async fn stop(self) {
        self.going.store(false, Ordering::Relaxed);
        for session in self.sessions {
            let ended = support::within("a writer", session)
                .await
                .expect("no panic");
            ended.unwrap_or_else(|error| panic!("a writer was aborted: {error:?}"));
        }
    }
}

/// Does what a page says until it gets through.
async fn do_again(database: &Database, sql: &str) {
    support::within("it gets through", async {
        while let Err(error) = database.psql(sql).await {
            assert!(error.contains("lock timeout"), "{error}");
        }
    })
    .await;
}

/// It locked rowcast.event, then rowcast.log, which writers come to the other way round.
#[tokio::test]
async fn a_migration_gets_through_and_aborts_no_writer() {
    let database = support::database().await;
    let undone = database.undo_migrations(20).await;
    let writers = Writers::start(&database).await;
    let mut owner = database.client("postgres").await;
    assert_eq!(run(&mut owner).await.migrations, undone);
    writers.stop().await;
}

/// Everybody waited behind it for the two tables, again and again: it has to have given way by then.
#[tokio::test]
async fn a_migration_waits_for_less_than_deadlock_timeout() {
    let database = support::database().await;
    database.undo_migrations(17).await;
    database
        .run(
            "create function public.note() returns event_trigger language plpgsql as $$ begin
               perform set_config('test.timeout', current_setting('lock_timeout'), false); end $$;
             create event trigger note on ddl_command_start when tag in ('CREATE SEQUENCE')
               execute function public.note()",
        )
        .await;
    let mut owner = database.client("postgres").await;
    let set = "set deadlock_timeout = '600ms'";
    owner.batch_execute(set).await.expect("a superuser");
    run(&mut owner).await;
    let noted = "select current_setting('test.timeout'), current_setting('lock_timeout')";
    let noted = owner.query_one(noted, &[]).await.expect("what it was");
    assert_eq!((noted.get(0), noted.get(1)), ("150ms", "0"));
}

/// Emptied from rowcast.event on, the log aborted writers.
#[tokio::test]
async fn emptied_as_documented_the_log_aborts_no_writer() {
    let page = support::documented::text("operations.md");
    let (_, block) = page.split_once("To empty the log at once").expect("it");
    let (_, block) = block.split_once("\n\n").expect("a block");
    let (block, _) = block.split_once("\n\n").expect("its end");
    assert!(block.contains("truncate"), "{block}");
    let database = support::database().await;
    let writers = Writers::start(&database).await;
    for _ in 0..5 {
        do_again(&database, block).await;
    }
    writers.stop().await;
}

/// Whoever did not inherit what is rowcast_owner's could migrate once, and never again.
#[tokio::test]
async fn a_member_that_does_not_inherit_migrates() {
    for version in VERSIONS {
        let database = support::on(version).await.database().await;
        let name = &database.name;
        database
            .run(&format!(
                "create role hands_off login noinherit; grant rowcast_owner to hands_off;
                 grant create on database {name} to hands_off;
                 update rowcast.script set md5 = 'x' where name = 'rowcast.emit'"
            ))
            .await;
        let mut member = database.client("hands_off").await;
        assert_eq!(run(&mut member).await.scripts, 1, "{version:?}");
    }
}

/// What was attached went on with the triggers of the version before, and nobody said so.
#[tokio::test]
async fn what_is_attached_is_made_anew_as_documented() {
    let page = support::documented::text("operations.md");
    let (_, section) = page.split_once("\n## Upgrading\n").expect("it");
    let (_, again) = section.split_once("```sql\n").expect("a block");
    let (again, _) = again.split_once("```").expect("its end");
    let database = support::database().await;
    let older = "create table busy.gone (id int); select rowcast.attach('busy.gone', 'insert',
          $$ select 'e' as name, array['*'] as rooms, to_json(n) as data from new_rows n $$);
        drop table busy.gone;
        create or replace function rowcast.\"busy.t insert\"() returns trigger language plpgsql
          security definer as 'begin return null; end';
        update rowcast.script set md5 = 'x' where name = 'rowcast.trigger_source'";
    database.run(Writers::TABLE).await;
    database.run(older).await;
    let mut owner = database.client("postgres").await;
    assert_eq!(run(&mut owner).await.outdated, 1);
    assert_eq!(run(&mut owner).await, migrate::Done::default());
    do_again(&database, again).await;
    database.run("insert into busy.t default values").await;
    let told = "select count(*) from rowcast.event";
    assert_eq!(database.ask::<i64>(told).await, 1);
}

#[tokio::test]
async fn twenty_at_once() {
    let database = support::empty().await;
    let mut running = Vec::new();
    for _ in 0..20 {
        let mut client = database.client("postgres").await;
        running.push(tokio::spawn(async move { run(&mut client).await }));
    }
    let mut worked = Vec::new();
    for one in running {
        let done = support::within("a migration", one).await.expect("no panic");
        if done != migrate::Done::default() {
            worked.push(done);
        }
    }
    assert_eq!(worked.len(), 1, "one does it all: {worked:?}");
    // Nobody has kept the lock.
    let locks = "select count(*) from pg_locks where locktype = 'advisory' and database =
        (select oid from pg_database where datname = current_database())";
    assert_eq!(database.ask::<i64>(locks).await, 0);
}

/// To the last grant; and `rowcast migrate` goes on from it.
#[tokio::test]
async fn the_printed_script_makes_the_same_schema() {
    let database = support::empty().await;
    let script = migrate::script().unwrap_or_else(|error| panic!("{error}"));
    database.run(&script).await;
    let migrated = support::database().await;
    assert_eq!(dump(&database), dump(&migrated));
    let notes = "select (select json_agg((version, name, checksum) order by version)
          from rowcast.migration_history)::text
        || (select json_agg(s order by name) from rowcast.script s)::text
        || (select schema_number from rowcast.setting)";
    let notes = async |database: &Database| database.ask::<String>(notes).await;
    assert_eq!(notes(&database).await, notes(&migrated).await);
    let mut owner = database.client("postgres").await;
    assert_eq!(run(&mut owner).await, migrate::Done::default());
    // What is there already is left as it is: the script is one transaction.
    let again = owner.batch_execute(&script).await;
    assert!(again.is_err(), "it is for an empty database");
    owner.batch_execute("rollback").await.expect("a rollback");
    assert_eq!(run(&mut owner).await, migrate::Done::default());
}

/// The service asked for `rowcast migrate`, which mended nothing.
#[tokio::test]
async fn a_row_of_settings_that_was_deleted_is_put_back() {
    let database = support::database().await;
    let numbered = "select schema_number from rowcast.setting";
    let before: i32 = database.ask(numbered).await;
    database.run("delete from rowcast.setting").await;
    let mut owner = database.client("postgres").await;
    migrate::run(&mut owner).await.expect("it migrates");
    assert_eq!(database.ask::<i32>(numbered).await, before);
}

/// A copy by `pg_dump -s` has no history of migrations, nor the rows that functions count on.
#[tokio::test]
async fn a_schema_without_its_history_is_told_what_to_do() {
    let database = support::database().await;
    database
        .run("truncate rowcast.migration_history, rowcast.script, rowcast.setting")
        .await;
    let mut owner = database.client("postgres").await;
    let error = migrate::run(&mut owner).await.expect_err("no history");
    let words = error.to_string();
    let first = words.find("drop schema lab_push cascade");
    let then = words.find("drop schema rowcast cascade");
    assert!(first.is_some() && first < then, "{words}");
    let free = "select pg_try_advisory_lock(7692278)";
    assert!(database.ask::<bool>(free).await, "the lock was given back");
}

/// The database's owner made the schema first, and what he put there in place of our functions was run
/// by the superuser who migrated.
#[tokio::test]
async fn a_schema_that_is_somebody_elses_is_refused() {
    for version in VERSIONS {
        let database = support::on(version).await.empty().await;
        let owned = format!("alter database {} owner to lab_app", database.name);
        database.run(&owned).await;
        let owner = database.legacy().await;
        owner.batch_execute("create schema rowcast").await.unwrap();
        let mut superuser = database.client("postgres").await;
        let error = migrate::run(&mut superuser).await.expect_err("it is his");
        let words = error.to_string();
        assert!(
            words.contains("RC009") && words.contains("schema rowcast belongs to lab_app"),
            "{words}"
        );
        let inside = "select count(*) from pg_class where relnamespace = 'rowcast'::regnamespace";
        assert_eq!(database.ask::<i64>(inside).await, 0);
        owner.batch_execute("drop schema rowcast").await.unwrap();
        run(&mut superuser).await;
        refused(&owner, "drop schema rowcast cascade").await;
    }
}

/// Restored with --no-acl, every function was everybody's to call as rowcast_owner, and `migrate` gave
/// everybody the schema and said that all was well.
#[tokio::test]
async fn a_schema_that_lost_its_grants_is_refused() {
    let database = support::database().await;
    database
        .run(
            "revoke usage on schema rowcast from public;
             drop function rowcast.is_revoked(jsonb, bigint, bigint) cascade;
             create function rowcast.is_revoked(jsonb, bigint, bigint) returns boolean
               language sql security definer as 'select false';
             alter function rowcast.is_revoked owner to rowcast_owner",
        )
        .await;
    let mut superuser = database.client("postgres").await;
    let error = migrate::run(&mut superuser).await.expect_err("it is open");
    let words = error.to_string();
    assert!(
        words.contains("RC009")
            && words.contains("is_revoked(jsonb,bigint,bigint) may be called by"),
        "{words}"
    );
    let open = "select has_schema_privilege('public', 'rowcast', 'usage')";
    assert!(!database.ask::<bool>(open).await, "it stays closed");
}

/// A plan was asked for by a text that could hold other statements.
#[tokio::test]
async fn a_plan_is_of_one_statement() {
    let database = support::database().await;
    let superuser = database.superuser().await;
    let several = "select rowcast.plan_query('select 1; create table rowcast.planted (); \
        explain (format json) select 1')";
    superuser.batch_execute(several).await.expect_err("several");
    let planted = "select to_regclass('rowcast.planted') is null";
    assert!(database.ask::<bool>(planted).await);
    let kind = "select rowcast.plan_query('select 1') ->> 'Node Type'";
    assert_eq!(database.ask::<String>(kind).await, "Result");
}

/// There was no way to take it out: triggers by hand failed the writes once the schema was gone.
async fn taken_out_as_documented_the_application_goes_on(version: Version) {
    let section = support::documented::text("operations.md");
    let (_, section) = section.split_once("\n## Taking it out\n").expect("it");
    let (section, _) = section.split_once("\n## ").expect("a next one");
    let sql: Vec<_> = section
        .split("```sql\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap_or_default())
        .collect();
    let [triggers, list, schemas, roles] = sql[..] else {
        panic!("what it says: {sql:?}");
    };
    // A cluster of its own: others need the roles.
    let postgres = support::Postgres::bare(version).await;
    let database = postgres.named("postgres");
    let mut owner = database.client("postgres").await;
    run(&mut owner).await;
    support::apply_triggers(&owner, "lab").await;
    database
        .run(
            "create schema shop; create table shop.orders (id int primary key);
             create table shop.sessions (id int primary key);
             create table shop.parts (id int) partition by list (id);
             create table shop.part_1 partition of shop.parts for values in (1);
             create trigger _900_recheck_delete after delete on shop.sessions
               for each statement execute function rowcast.recheck_at_commit();
             select rowcast.attach(t, 'insert', $$ select 'made' as name, array['*'] as rooms,
               to_json(id) as data from new_rows $$, 'strict')
             from unnest('{shop.orders,shop.parts}'::regclass[]) t;
             grant usage on schema shop to lab_app;
             grant select, insert, delete on all tables in schema shop to lab_app;
             alter role lab_app login;
             insert into lab.organizations (name) values ('o');
             insert into lab.labs (org_id, name) values (1, 'l');
             insert into lab.slots (lab_id, starts_at, ends_at, capacity)
             values (1, now(), now() + '1 hour', 2)",
        )
        .await;
    let application = database.legacy().await;
    let writes = "insert into shop.orders values (1); delete from shop.orders;
        insert into shop.parts values (1); insert into shop.part_1 values (1);
        insert into shop.sessions values (1); delete from shop.sessions;
        insert into lab.bookings (user_id, slot_id, lab_id) values ('1', 1, 1);
        insert into lab.waitlist (user_id, slot_id) values ('1', 1);
        update lab.bookings set status = 'cancelled'; delete from lab.waitlist";
    let write = async |client: &Client| {
        let written = client.batch_execute(writes).await;
        written.unwrap_or_else(|error| panic!("{version:?}: {error:?}"));
    };
    write(&application).await;
    assert!(
        database
            .ask::<i64>("select count(*) from rowcast.event")
            .await
            > 0
    );

    let by_hand: i64 = database
        .ask(&format!(
            "select count(*) from ({}) t where calls::text ~ '^lab_push'",
            list.trim_end().trim_end_matches(';')
        ))
        .await;
    assert_eq!(by_hand, 4);
    let writers = Writers::start(&database).await;
    do_again(&database, triggers).await;
    do_again(&database, schemas).await;
    writers.stop().await;
    // A session that knows the triggers from before, and one that does not.
    write(&application).await;
    write(&database.legacy().await).await;
    let left = "select count(*) from pg_trigger where not tgisinternal";
    assert_eq!(database.ask::<i64>(left).await, 0);
    owner.batch_execute(roles).await.expect("no roles");
    write(&application).await;
    let left = "select count(*) from pg_roles where rolname ~ 'rowcast'";
    assert_eq!(database.ask::<i64>(left).await, 0);

    run(&mut owner).await;
    support::apply_triggers(&owner, "lab").await;
    write(&application).await;
    assert!(
        database
            .ask::<i64>("select count(*) from rowcast.event")
            .await
            > 0
    );
}

/// In a rolling deploy an old node that starts again must not take back the new ones' functions.
#[tokio::test]
async fn an_older_program_leaves_a_newer_schema_alone() {
    let database = support::database().await;
    database
        .run("update rowcast.setting set schema_number = 9999; update rowcast.script set md5 = 'x'")
        .await;
    let mut owner = database.client("postgres").await;
    let error = migrate::run(&mut owner).await.expect_err("it is newer");
    let words = error.to_string();
    assert!(words.contains("9999") && words.contains("newer"), "{words}");
    let same = "select bool_and(md5 = 'x') from rowcast.script";
    assert!(database.ask::<bool>(same).await, "nothing was replaced");
}

/// In a new schema it never had it: one that was made by older files must be the same.
#[tokio::test]
async fn what_the_service_needs_no_longer_is_taken_from_it() {
    let database = support::database().await;
    let older = "grant execute on function rowcast.decode_snapshot(text),
          rowcast.encode_snapshot(pg_snapshot), rowcast.parse_bookmark(text) to rowcast_service;
        update rowcast.script set md5 = 'x'";
    database.run(older).await;
    let granted = "select count(*) from pg_proc where pronamespace = 'rowcast'::regnamespace
          and proname in ('decode_snapshot', 'encode_snapshot', 'parse_bookmark')
          and has_function_privilege('rowcast_service', oid, 'execute')";
    assert_eq!(database.ask::<i64>(granted).await, 3);
    run(&mut database.client("postgres").await).await;
    assert_eq!(database.ask::<i64>(granted).await, 0);
}

/// `sql/number` grows with every change of sql/; `UPDATE=1` writes it anew.
#[test]
fn golden_schema_number() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let mut paths = vec![root.join("bootstrap.sql")];
    for folder in ["migrations", "functions"] {
        let entries = std::fs::read_dir(root.join(folder)).expect("a folder");
        paths.extend(entries.map(|entry| entry.expect("an entry").path()));
    }
    paths.sort();
    let mut all = Md5::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("UTF-8");
        let name = path.strip_prefix(&root).expect("below sql");
        all.update(format!("{}\n{text}", name.display()));
    }
    let is = format!("{:032x}", u128::from_be_bytes(all.finalize().into()));
    let golden = root.join("number");
    let known = std::fs::read_to_string(&golden).expect("sql/number");
    let (number, was) = known.trim().split_once(' ').expect("number and checksum");
    let number: i32 = number.parse().expect("a number");
    if is != was && std::env::var_os("UPDATE").is_some() {
        std::fs::write(&golden, format!("{} {is}\n", number + 1)).expect("it can be written");
        return;
    }
    assert_eq!(
        is, was,
        "sql/ has changed, so its number must grow: run `UPDATE=1 cargo test golden_schema`"
    );
}

/// Whoever may not migrate is told who may.
#[tokio::test]
async fn whoever_may_not_migrate_is_told_who_may() {
    let database = support::empty().await;
    let mut nobody = database.client("lab_app").await;
    let error = migrate::run(&mut nobody).await.expect_err("denied");
    let words = error.to_string();
    assert!(
        words.contains("[42501]") && words.contains("CREATEROLE"),
        "{words}"
    );
}

/// A superuser was told to be one: it is rowcast_owner who creates.
#[tokio::test]
async fn a_tablespace_that_rowcast_owner_may_not_use_is_named() {
    let database = support::on(Version::V18).await.empty().await;
    let owner = database.superuser().await;
    for sql in [
        "set allow_in_place_tablespaces = on",
        "create tablespace elsewhere location ''",
        &format!(
            "alter database {} set default_tablespace = elsewhere",
            database.name
        ),
    ] {
        owner.batch_execute(sql).await.expect(sql);
    }
    let mut client = database.client("postgres").await;
    let error = migrate::run(&mut client).await.expect_err("no tablespace");
    let error = error.to_string();
    assert!(
        error.contains("permission denied for tablespace elsewhere"),
        "{error}"
    );
    assert!(
        error.contains("grant create on tablespace … to rowcast_owner"),
        "{error}"
    );
    database
        .run("grant create on tablespace elsewhere to rowcast_owner")
        .await;
    run(&mut client).await;
}

/// `sql/schema.sql` is what pg_dump says of the migrated schema; `UPDATE=1` writes it anew.
#[tokio::test]
async fn golden_schema() {
    let database = support::database().await;
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/schema.sql");
    let head = format!(
        "-- The schema that `rowcast migrate` makes, as pg_dump {} tells it. Generated: change\n\
         -- sql/migrations and sql/functions, then run `UPDATE=1 cargo test golden_schema`.\n\n",
        database.version
    );
    let dump = head.clone() + &dump(&database);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&golden, dump).expect("sql/schema.sql can be written");
        return;
    }
    let known = std::fs::read_to_string(&golden).unwrap_or_default();
    if !known.is_empty() && !known.starts_with(&head) {
        eprintln!("not compared: sql/schema.sql was written by another version's pg_dump");
        return;
    }
    let differs = dump.lines().zip(known.lines()).find(|(is, was)| is != was);
    assert!(
        dump == known,
        "sql/schema.sql is not what migrations make; run `UPDATE=1 cargo test golden_schema` and \
         look at the difference, which begins with (is, was): {differs:#?}"
    );
}

fn dump(database: &Database) -> String {
    let output = Command::new(database.bin_dir.join("pg_dump"))
        .args(["--schema-only", "--schema=rowcast", "--dbname"])
        .arg(&database.superuser_url)
        .env("LC_ALL", "C")
        .output()
        .expect("pg_dump lies beside the server's programs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    // What a minor version or a session changes, and the headings, which repeat what follows them.
    let noise = |line: &str| {
        line == "--"
            || line.starts_with("-- Name: ")
            || line.starts_with("-- Dumped ")
            || line.starts_with("-- PostgreSQL database dump")
            || line.starts_with("SET ")
            || line.starts_with("SELECT pg_catalog.set_config")
            || line.starts_with('\\')
    };
    let mut normal = String::new();
    for line in text.lines().filter(|line| !noise(line)) {
        if !(line.is_empty() && (normal.is_empty() || normal.ends_with("\n\n"))) {
            normal.push_str(line);
            normal.push('\n');
        }
    }
    normal.truncate(normal.trim_end().len());
    normal + "\n"
}

/// All that `serve` does in the schema. More is a question: why does the service need it?
const SERVICE_READS: &[&str] = &[
    "announcing",
    "attachment",
    "bound",
    "channel",
    "committed",
    "doorbell",
    "failure",
    "horizon",
    // Everybody may: a number that means nothing.
    "lastval",
    "revocation",
    "setting",
];
const SERVICE_CALLS: &[&str] = &[
    "access",
    // Moves readers on, which belong to the users whom it has let in.
    "acknowledge",
    "begin_call",
    "bookmark",
    "call",
    "ensure_history",
    "events_since",
    "highest_xid",
    "history",
    "log_size",
    "look",
    "not_callable",
    "notify_queue_is_filling",
    "open_reader",
    "overview",
    "read_log",
    "reader_place",
    // Empties leaves of the log that are past keep_for or keep_bytes, and nothing else.
    "rotate_log",
    "session_cookies",
];

/// Every privilege of a role below a schema: on relations (with columns), sequences and functions.
async fn privileges(
    database: &Database,
    role: &str,
    schema: &str,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let tables = format!(
        "select c.relname || ' ' || p from pg_class c,
           unnest(array['select', 'insert', 'update', 'references']) p
         where c.relnamespace = '{schema}'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
           and has_any_column_privilege('{role}', c.oid, p)
         union all
         select c.relname || ' ' || p from pg_class c, unnest(array['delete', 'truncate', 'trigger']) p
         where c.relnamespace = '{schema}'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
           and has_table_privilege('{role}', c.oid, p)
         union all
         select c.relname || ' ' || p from pg_class c, unnest(array['usage', 'select', 'update']) p
         where c.relnamespace = '{schema}'::regnamespace and c.relkind = 'S'
           and has_sequence_privilege('{role}', c.oid, p)
         union all
         select 'schema ' || p from unnest(array['create']) p
         where has_schema_privilege('{role}', '{schema}', p)"
    );
    let functions = format!(
        "select p.proname::text from pg_proc p where p.pronamespace = '{schema}'::regnamespace
           and has_function_privilege('{role}', p.oid, 'execute')"
    );
    let list = async |sql: &str| -> BTreeSet<String> {
        let rows = database.superuser().await.query(sql, &[]).await;
        let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        rows.iter().map(|row| row.get(0)).collect()
    };
    (list(&tables).await, list(&functions).await)
}

fn set(names: &[&str], suffix: &str) -> BTreeSet<String> {
    names.iter().map(|name| format!("{name}{suffix}")).collect()
}

#[tokio::test]
async fn the_service_may_do_only_what_it_does() {
    for version in VERSIONS {
        let database = support::on(version).await.lab().await;
        let (tables, functions) = privileges(&database, "rowcast_service", "rowcast").await;
        let mut expected = set(SERVICE_READS, " select");
        // The flag is set by the leading node.
        expected.insert("doorbell update".into());
        assert_eq!(tables, expected);
        assert_eq!(functions, set(SERVICE_CALLS, ""));
        for schema in ["lab", "lab_push"] {
            let (tables, functions) = privileges(&database, "rowcast_service", schema).await;
            assert_eq!((tables, functions), <_>::default(), "{schema}");
        }
        // And as it is answered.
        let service = database.client("rowcast_service").await;
        for forbidden in [
            "insert into rowcast.event (channel, name, rooms) values ('a', 'b', array['c'])",
            "select from rowcast.event",
            "select rowcast.emit('a', 'b', array['c'], '{}')",
            "update rowcast.channel set paused = true",
            "insert into rowcast.room_rule values ('x', 'lab_push.may_join_user(jsonb, text)')",
            "select rowcast.revoke('1')",
            "select rowcast.restore('1')",
            "select rowcast.recheck()",
            "delete from rowcast.revocation",
            "select from rowcast.callable",
            "select lab_push.lab_list()",
            "update rowcast.setting set access_version = 0",
            "select from lab.bookings",
            "select rowcast.render('lab_push.slot_state', array['{}'::jsonb])",
            "create table rowcast.mine ()",
            "set role rowcast_owner",
        ] {
            refused(&service, forbidden).await;
        }
        let member = "select pg_has_role('rowcast_service', 'rowcast_owner', 'member')
            or (select rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication
                from pg_roles where rolname = 'rowcast_service')";
        assert!(!database.ask::<bool>(member).await);
    }
}

#[tokio::test]
async fn the_legacy_role_has_nothing_but_the_bookmark() {
    for version in VERSIONS {
        let database = support::on(version).await.lab().await;
        let (tables, functions) = privileges(&database, "lab_app", "rowcast").await;
        // Numbers that the log's triggers ask for as whoever inserts, and what lastval() is kept by.
        let numbers = set(&["announcing", "bound", "doorbell", "lastval"], " select");
        assert_eq!((tables, functions), (numbers, set(&["bookmark"], "")));
        let (tables, functions) = privileges(&database, "lab_app", "lab_push").await;
        assert_eq!((tables, functions), <_>::default());
        let legacy = database.legacy().await;
        for forbidden in [
            "select from rowcast.event",
            "select rowcast.emit('a', 'b', array['c'], '{}')",
            "select rowcast.new_history()",
            "select rowcast.revoke('1')",
            "select rowcast.attach('lab.bookings', 'insert', 'select 1')",
            "create trigger mine after insert on lab.bookings
               for each statement execute function rowcast.ring()",
            "set role rowcast_owner",
        ] {
            refused(&legacy, forbidden).await;
        }
        let bookmark = legacy.query_one("select rowcast.bookmark()", &[]).await;
        assert!(!bookmark.expect("a bookmark").get::<_, String>(0).is_empty());
    }
}

async fn refused(client: &Client, sql: &str) {
    let error = client.batch_execute(sql).await.err();
    let code = error.as_ref().and_then(tokio_postgres::Error::code);
    let denied = SqlState::INSUFFICIENT_PRIVILEGE;
    assert_eq!(code, Some(&denied), "{sql}: {error:?}");
}

/// What the sources say (see `architecture`), asked of the catalog: nothing has slipped through,
/// trigger functions that `attach` wrote included.
#[tokio::test]
async fn every_function_is_owned_pinned_and_closed() {
    let database = support::lab().await;
    let wrong = "select coalesce(string_agg(p.oid::regprocedure::text || ': ' || w, e'\\n'), '')
        from pg_proc p
        cross join lateral (values
          (pg_get_userbyid(p.proowner) <> 'rowcast_owner', 'not owned by rowcast_owner'),
          (not coalesce('search_path=pg_catalog, pg_temp' = any (p.proconfig), false)
            and p.proname <> 'resolve_for_writer', 'no pinned search_path'),
          (p.proname <> 'bookmark' and exists (
            select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
            where a.grantee = 0), 'public may execute it')
        ) c (is_wrong, w)
        where p.pronamespace in ('rowcast'::regnamespace, 'lab_push'::regnamespace) and is_wrong";
    assert_eq!(database.ask::<String>(wrong).await, "");
    let foreign = "select coalesce(string_agg(c.oid::regclass::text, ', '), '') from pg_class c
        where c.relnamespace = 'rowcast'::regnamespace
          and pg_get_userbyid(c.relowner) <> 'rowcast_owner'";
    assert_eq!(database.ask::<String>(foreign).await, "");
}

/// Whatever a statement writes to is asked for its constraint anew by each, a tenth of the trigger's cost.
#[tokio::test]
async fn what_triggers_write_to_has_no_constraint_to_check() {
    let database = support::on(Version::Installed).await.database().await;
    let constraint = "select pg_get_partition_constraintdef('rowcast.log'::regclass)";
    assert_eq!(database.ask::<Option<String>>(constraint).await, None);
}

/// What pg_upgrade asks of every database, in its words: a single such column keeps the whole cluster
/// from its next version.
#[tokio::test]
async fn nothing_keeps_pg_upgrade_away() {
    for version in VERSIONS {
        let database = support::on(version).await.lab().await;
        let columns = "with recursive oids as (
              select oid from pg_type
              where typnamespace = 'pg_catalog'::regnamespace and typname in
                ('regcollation', 'regconfig', 'regdictionary', 'regnamespace', 'regoper',
                 'regoperator', 'regproc', 'regprocedure')
              union all
              select * from (
                with x as (select oid from oids)
                select t.oid from pg_type t, x where typbasetype = x.oid and typtype = 'd'
                union all
                select t.oid from pg_type t, x where typelem = x.oid and typtype = 'b'
                union all
                select t.oid from pg_type t, pg_class c, pg_attribute a, x
                where t.typtype = 'c' and t.oid = c.reltype and c.oid = a.attrelid
                  and not a.attisdropped and a.atttypid = x.oid
                union all
                select t.oid from pg_type t, pg_range r, x
                where t.typtype = 'r' and r.rngtypid = t.oid and r.rngsubtype = x.oid
              ) more
            )
            select coalesce(string_agg(c.oid::regclass || '.' || a.attname, ', '), '')
            from pg_class c join pg_attribute a on a.attrelid = c.oid
            where not a.attisdropped and a.atttypid in (select oid from oids)
              and c.relkind in ('r', 'm', 'i')
              and c.relnamespace in ('rowcast'::regnamespace, 'lab_push'::regnamespace)";
        assert_eq!(database.ask::<String>(columns).await, "", "{version:?}");
    }
}

/// Rules that were written while they held oids.
#[tokio::test]
async fn rules_of_an_older_schema_are_kept() {
    const MIGRATION: &str = include_str!("../sql/migrations/V15__publications_and_upgrades.sql");
    for version in VERSIONS {
        let database = support::on(version).await.database().await;
        let older = "create function public.home(jsonb) returns text[] language sql
              as 'select array[$1 ->> $s$sub$s$]';
            create function public.gone(jsonb) returns text[] language sql as 'select null::text[]';
            create function public.yes(jsonb, text) returns boolean language sql as 'select true';
            create function public.ask() returns void language sql as 'select 1';
            alter table rowcast.home_rule alter rooms_of type regprocedure using null;
            alter table rowcast.room_rule alter may_join type regprocedure using null;
            alter table rowcast.session_rule alter claims_of type regprocedure using null;
            alter table rowcast.callable alter function type regprocedure using null,
              alter may_call type regprocedure using null;
            set session_replication_role = replica;
            insert into rowcast.home_rule values ('home(jsonb)'), ('gone(jsonb)');
            insert into rowcast.room_rule values ('r', 'yes(jsonb, text)');
            insert into rowcast.callable (name, function) values ('ask', 'ask()');
            reset session_replication_role;
            drop function public.gone(jsonb)";
        database.run(older).await;
        database.run(MIGRATION).await;
        let rules = "select string_agg(rule, ', ' order by rule) from (
              select regexp_replace(rooms_of, '\\d+', 'N') from rowcast.home_rule
              union all select may_join from rowcast.room_rule
              union all select function || coalesce(may_call, '') from rowcast.callable) r (rule)";
        assert_eq!(
            database.ask::<String>(rules).await,
            "N(), public.ask(), public.home(jsonb), public.yes(jsonb,text)"
        );
        // One that has lost its name before is told, and can be taken away.
        let failed =
            "select failed from rowcast.access('[{\"claims\": {\"sub\": \"1\"}, \"rooms\": []}]')";
        let error: String = database.ask(failed).await;
        assert!(error.contains("there is no function"), "{error}");
        database
            .run("delete from rowcast.home_rule where rooms_of like '%()'")
            .await;
        let home =
            "select home[1] from rowcast.access('[{\"claims\": {\"sub\": \"1\"}, \"rooms\": []}]')";
        assert_eq!(database.ask::<String>(home).await, "1");
    }
}

on_every_version! {
    taken_out_as_documented_the_application_goes_on
}

/// Whoever meets one looks it up there.
#[test]
fn the_page_on_sql_lists_every_sqlstate_of_our_own() {
    let page = support::documented::text("sql.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| RC0"));
    let listed: BTreeSet<_> = rows.filter_map(|row| row.get(..2)).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let functions = std::fs::read_dir(root.join("functions")).expect("functions");
    let functions = functions.map(|entry| entry.expect("a file").path());
    let texts: Vec<_> = functions
        .chain([root.join("bootstrap.sql")])
        .map(|file| std::fs::read_to_string(file).expect("UTF-8"))
        .collect();
    let raised = texts
        .iter()
        .flat_map(|text| text.split("errcode = 'RC0").skip(1));
    let raised: BTreeSet<_> = raised.filter_map(|rest| rest.get(..2)).collect();
    assert_eq!(raised, listed);
}
