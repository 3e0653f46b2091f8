//! A disk that is full under the log and under the note that it is: a lossy write goes through, and nobody believes
//! that it missed nothing; a strict one is refused in clear words.

use super::{PLAIN, SETUP, attach, refused, three};
use crate::support::{Database, Postgres, Version, eventually, on_every_version, serve};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;
use tempfile::TempDir;
use tokio_postgres::Client;

/// What a disk must hold before a small tablespace has room for all leaves, with their indexes.
const SIZE: &str = "size=3m";

/// Without a mount: how long a file may become. More than a segment of WAL, less than the full log.
const FILE_BYTES: u32 = 24 << 20;

/// A file system of a few megabytes for the log alone, where this process may mount one. Otherwise
/// the server's processes may not make files longer than the log already is: the system refuses the
/// same write, with other words.
struct Disk {
    directory: TempDir,
    mounted: bool,
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            let path = self.directory.path();
            let _ = Command::new("umount").arg("--lazy").arg(path).status();
        }
    }
}

/// Whom the server runs as.
fn server_of(postgres: &Postgres) -> std::fs::Metadata {
    std::fs::metadata(postgres.cluster.socket_dir()).expect("the server's socket")
}

impl Disk {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let everybody = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), everybody).expect("it is ours");
        let forbidden = std::env::var_os("ROWCAST_TEST_WITHOUT_MOUNT").is_some();
        let mounted = !forbidden && {
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]);
            let output = mount.arg(directory.path()).output();
            output.is_ok_and(|output| output.status.success())
        };
        Self { directory, mounted }
    }

    /// Moves the log there, and what says that it could not be written.
    async fn take_in(&self, postgres: &Postgres, database: &Database) {
        if !self.mounted {
            return;
        }
        let server = server_of(postgres);
        let path = self.directory.path();
        chown(path, Some(server.uid()), Some(server.gid())).expect("only root mounts");
        let path = path.display();
        database
            .run(&format!("create tablespace tiny location '{path}'"))
            .await;
        database
            .run(
                "do $$
                declare v_leaf record;
                begin
                  for v_leaf in
                    select c.oid::regclass as name, c.relkind from pg_class c
                    where c.relnamespace = 'rowcast'::regnamespace and c.relkind in ('r', 'i')
                      and c.relname ~ '^(event_[0-9]|history_break)'
                  loop
                    execute format('alter %s %s set tablespace tiny',
                      case v_leaf.relkind when 'r' then 'table' else 'index' end, v_leaf.name);
                  end loop;
                end $$",
            )
            .await;
        let moved =
            "select count(*) from pg_class c join pg_tablespace t on t.oid = c.reltablespace
            where t.spcname = 'tiny' and c.relkind = 'r' and c.relname ~ '^event_'";
        assert_eq!(database.ask::<i64>(moved).await, 6, "all leaves are there");
    }

    /// A connection that finds the disk full when it is.
    async fn client(&self, postgres: &Postgres, database: &Database, role: &str) -> Client {
        let client = database.client(role).await;
        if !self.mounted {
            let row = client.query_one("select pg_backend_pid()", &[]).await;
            let pid: i32 = row.expect("a process").get(0);
            // Allowed to the server's own user, and not always to root.
            let server = server_of(postgres);
            let mut limit = Command::new("prlimit");
            if nix::unistd::geteuid().is_root() {
                limit.uid(server.uid()).gid(server.gid());
            }
            let output = limit
                .args([format!("--pid={pid}"), format!("--fsize={FILE_BYTES}")])
                .output()
                .expect("prlimit (of util-linux) where tmpfs can't be mounted");
            assert!(output.status.success(), "{output:?}");
        }
        client
    }

    /// Fills it until not even the smallest event has room.
    async fn fill(&self, postgres: &Postgres, database: &Database) {
        let filler = self.client(postgres, database, "postgres").await;
        // One row at a time, first large, then small. Whatever failed half-way leaves room behind
        // when it is pruned, that is, when it is read: so again until there is none.
        let fill = "do $$
            declare v_failed integer := 0;
            begin
              while v_failed < 20 loop
                begin
                  insert into rowcast.event (channel, name, rooms)
                  values ('f', 'f', array[repeat('f', case when v_failed < 10 then 1000 else 1 end)]);
                exception
                  when others then v_failed := v_failed + 1;
                end;
              end loop;
            end $$";
        let mut rows = 0;
        loop {
            filler.batch_execute(fill).await.expect("it is full");
            let row = filler
                .query_one("select count(*) from rowcast.event", &[])
                .await;
            let now: i64 = row.expect("it can be read").get(0);
            if now == rows {
                return;
            }
            rows = now;
        }
    }

    /// Room again, for connections made afterwards.
    fn grow(&self) {
        if self.mounted {
            let mut mount = Command::new("mount");
            mount.args(["-o", "remount,size=16m"]);
            let status = mount.arg(self.directory.path()).status();
            assert!(status.expect("mount").success());
        }
    }

    /// What PostgreSQL makes of the system's answer.
    fn state(&self) -> &'static str {
        if self.mounted { "53100" } else { "XX000" }
    }
}

async fn a_full_disk_under_the_log(version: Version) {
    // Dropped in the opposite order: the disk goes when the server is gone.
    let disk = Disk::new();
    let postgres = Postgres::start(version, &[("autovacuum", "off")]).await;
    let database = postgres.database().await;
    database.run(SETUP).await;
    disk.take_in(&postgres, &database).await;
    // As autovacuum does: what is empty is not given back.
    database.run("vacuum rowcast.history_break").await;
    attach(&database, PLAIN, "").await;
    database
        .run(
            "select rowcast.attach('public.orders', 'delete', $q$ select 'gone' as name,
               array['open:' || user_id] as rooms, json_build_object('id', id) as data
               from old_rows $q$, 'strict')",
        )
        .await;
    let server = serve(&database, |_| ()).await;
    let before = database.bookmark().await;
    let mut all = three(&server, "").await;
    let legacy = disk.client(&postgres, &database, "lab_app").await;
    let other = disk.client(&postgres, &database, "lab_app").await;
    disk.fill(&postgres, &database).await;

    // Lossy: the write goes through, the failure is noted, and everybody hears of a gap.
    let wrote = legacy
        .batch_execute("insert into public.orders values (1, 1)")
        .await;
    wrote.unwrap_or_else(|error| panic!("sacred: {error:?}"));
    let failure = "select concat_ws(' ', relation, operation, sqlstate) from rowcast.failure";
    assert_eq!(
        database.ask::<String>(failure).await,
        format!("public.orders insert {}", disk.state())
    );
    for (_, transport, somebody) in &mut all {
        let gap = somebody.expect("gap").await;
        assert_eq!(gap["reason"], "history", "{transport:?}");
    }
    for (_, transport, mut somebody) in three(&server, &format!("&since={before}")).await {
        let answer = somebody.expect("subscribed").await;
        assert_eq!(answer["outcome"], "gap", "{transport:?}: {answer}");
    }

    // A loss that is committed later is told to those who came between.
    legacy
        .batch_execute("begin; insert into public.orders values (2, 2)")
        .await
        .expect("sacred");
    other
        .batch_execute("insert into public.orders values (3, 3)")
        .await
        .expect("nobody waits for the open one");
    for (_, _, somebody) in &mut all {
        somebody.expect("gap").await;
    }
    let between = eventually("a new history", async || {
        let bookmark = database.bookmark().await;
        (!bookmark.starts_with("none")).then_some(bookmark)
    })
    .await;
    let outcome = format!(
        "select string_agg(concat_ws(' ', outcome, reason), ', ') from rowcast.events_since('{between}')"
    );
    assert_eq!(database.ask::<String>(&outcome).await, "end");
    legacy.batch_execute("commit").await.expect("it may");
    assert_eq!(database.ask::<String>(&outcome).await, "gap history");
    for (_, _, somebody) in &mut all {
        somebody.expect("gap").await;
    }

    // Strict: the write is refused. Lossy above the first eight: so is it, in the log's own words.
    let error = refused(&legacy, "delete from public.orders where id = 1").await;
    assert_eq!(error.code().code(), disk.state(), "{error:?}");
    assert!(
        error.message().starts_with("could not extend file"),
        "{error:?}"
    );
    let words = "rowcast could not write the events of delete on public.orders";
    assert!(
        error.detail().is_some_and(|detail| detail.contains(words)),
        "{error:?}"
    );
    let mut late = "begin;".to_owned();
    for id in 11..=18 {
        late += &format!("insert into public.orders values ({id}, 1);");
    }
    legacy.batch_execute(&late).await.expect("the first eight");
    let error = refused(&legacy, "insert into public.orders values (19, 1)").await;
    assert_eq!(error.code().code(), disk.state(), "{error:?}");
    let context = error.where_().unwrap_or_default();
    assert!(
        context.contains("rowcast.\"public.orders insert\""),
        "{error:?}"
    );
    legacy.batch_execute("rollback").await.expect("it may");
    let orders = "select string_agg(id::text, ' ' order by id) from public.orders";
    assert_eq!(database.ask::<String>(orders).await, "1 2 3");

    // Room again: everything as before.
    disk.grow();
    database
        .legacy()
        .await
        .batch_execute("insert into public.orders values (4, 1)")
        .await
        .expect("it may");
    for (number, _, somebody) in &mut all {
        if *number == 1 {
            assert_eq!(somebody.expect_event("order").await["data"]["id"], 4);
        }
    }
    assert_eq!(
        database
            .ask::<i64>("select count(*) from rowcast.failure")
            .await,
        3
    );
    server.stop().await;
}

on_every_version! {
    a_full_disk_under_the_log
}
