//! Clusters and databases: one cluster for each version and test run, one database for each test.
//! Hands URLs and connections over to the stations. It must never give two tests the same database.

use super::{PATIENCE, Server, eventually, within};
use rowcast::command::postgres::{Cluster, ClusterError, Mode, Options, SUPERUSER};
use rowcast::{database, migrate};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::{Mutex, OnceCell};
use tokio_postgres::Client;

/// Which PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The one that `rowcast demo` would find.
    Installed,
    V14,
    V18,
}

impl Version {
    fn variable(self) -> Option<&'static str> {
        match self {
            Self::Installed => None,
            Self::V14 => Some("ROWCAST_TEST_POSTGRES_14"),
            Self::V18 => Some("ROWCAST_TEST_POSTGRES_18"),
        }
    }
}

/// The versions that everything about SQL is tried on: the oldest, the newest, the one at hand.
pub const VERSIONS: [Version; 3] = [Version::Installed, Version::V14, Version::V18];

static CLUSTERS: [OnceCell<Postgres>; 3] = [const { OnceCell::const_new() }; 3];

/// Stopped, with the plain template in them: what the clusters of tests' own are copies of.
static SEEDS: [OnceCell<Postgres>; 3] = [const { OnceCell::const_new() }; 3];

/// The cluster of this test run. It is removed by its guard when the process ends.
pub async fn on(version: Version) -> &'static Postgres {
    CLUSTERS[version as usize]
        .get_or_init(|| Postgres::bare(version))
        .await
}

/// A migrated database on the installed PostgreSQL.
pub async fn database() -> Database {
    on(Version::Installed).await.database().await
}

/// The same, with `triggers/lab` applied.
pub async fn lab() -> Database {
    on(Version::Installed).await.lab().await
}

/// The same, with `triggers/SYSTEM` applied; [`Database::legacy`] is then its application.
pub async fn system(name: &'static str) -> Database {
    on(Version::Installed).await.system(name).await
}

/// A database that was never migrated.
pub async fn empty() -> Database {
    on(Version::Installed).await.empty().await
}

/// The systems below `triggers/`. The application of each is a role `SYSTEM_app`.
pub const SYSTEMS: [&str; 5] = ["lab", "clinic", "tickets", "spa", "boardroom"];

/// How many open transactions are more than a bookmark can name, however close together they began.
const MANY: usize = 500;

/// What undoes migrations, by their number: those that could not be applied again otherwise, or would
/// have nothing to do.
const UNDO: [(i32, &str); 5] = [
    (17, "alter table rowcast.setting drop column schema_number"),
    (19, "drop sequence rowcast.lastval"),
    (
        20,
        "alter table rowcast.event detach partition rowcast.log;
         alter table rowcast.event attach partition rowcast.log for values in (0, 1, 2, 3, 4, 5)",
    ),
    (22, "drop table rowcast.recheck_due"),
    // What look and history said needed md5().
    (
        24,
        "drop function pg_catalog.md5(text);
         alter function pg_catalog.kept_md5(text) rename to md5;
         alter function pg_catalog.kept_md5(bytea) rename to md5;
         do $$
         declare
           v_function record;
         begin
           for v_function in
             select p.oid, f.name, f.since, f.before from (values
               ('history', 'v_mark.name',
                 'concat_ws(''/'', v_mark.nonce, v_mark.database_oid, v_mark.log_oid)'),
               ('look', 'min(m.name)',
                 'concat_ws(''/'', min(m.nonce), min(m.database_oid), min(m.log_oid))')
             ) f (name, since, before)
             join pg_proc p on p.proname = f.name and p.pronamespace = 'rowcast'::regnamespace
           loop
             execute replace(pg_get_functiondef(v_function.oid), v_function.since,
               'left(md5(' || v_function.before || '), 10)');
             update rowcast.script set md5 = 'older' where name = 'rowcast.' || v_function.name;
           end loop;
         end
         $$;
         alter table rowcast.history_mark drop column name",
    ),
];

/// As where OpenSSL is in FIPS mode. Every migrated database is such a one, so that all tests show that
/// nothing needs it.
pub const REFUSE_MD5: &str = "alter function pg_catalog.md5(text) rename to kept_md5;
     alter function pg_catalog.md5(bytea) rename to kept_md5;
     create function pg_catalog.md5(text) returns text language plpgsql immutable as $$ begin
       raise 'could not compute MD5 hash: unsupported' using errcode = 'internal_error';
     end $$";

/// A cluster with its templates.
pub struct Postgres {
    pub cluster: Cluster,
    plain: OnceCell<()>,
    systems: [OnceCell<()>; SYSTEMS.len()],
    databases: AtomicU32,
    // Roles belong to the cluster: two templates that grant to the same one would collide.
    building: Mutex<()>,
}

impl Postgres {
    /// Starts a cluster with these settings above the defaults: a copy of one that was migrated once for
    /// all of them. They are one system to PostgreSQL, and none to the clusters of [`on`].
    pub async fn start(version: Version, settings: &[(&str, &str)]) -> Self {
        let seed = SEEDS[version as usize].get_or_init(|| async {
            let mut seed = Self::bare(version).await;
            seed.plain_template().await;
            let stopped = seed.cluster.stop(Mode::Fast).await;
            stopped.unwrap_or_else(|error| panic!("{error}"));
            seed
        });
        Self {
            plain: OnceCell::new_with(Some(())),
            ..Self::over(seed.await.cluster.copy(settings).await)
        }
    }

    /// Starts a cluster that nobody has migrated: no role of ours is there.
    pub async fn bare(version: Version) -> Self {
        let bin_dir = version.variable().map(|variable| {
            let directory = std::env::var_os(variable);
            PathBuf::from(directory.unwrap_or_else(|| {
                panic!(
                    "{variable} is not set: `.ci/setup test` writes it into target/tools/test.env"
                )
            }))
        });
        let options = Options {
            bin_dir,
            // Tests run side by side, and each server has a pool.
            settings: vec![("max_connections".into(), "400".into())],
            ..Options::default()
        };
        Self::over(Cluster::start(options).await)
    }

    /// A cluster for [`Database::open_many`]: what is open in one database stands in the bookmarks of all.
    pub async fn for_many() -> Self {
        let many = MANY.to_string();
        Self::start(
            Version::Installed,
            &[("max_prepared_transactions", many.as_str())],
        )
        .await
    }

    /// A hot standby that streams from this one, with these settings above its own.
    pub async fn standby(&self, settings: &[(&str, &str)]) -> Self {
        Self::over(self.cluster.standby(settings).await)
    }

    fn over(cluster: Result<Cluster, ClusterError>) -> Self {
        Self {
            cluster: cluster.unwrap_or_else(|error| panic!("{error}")),
            plain: OnceCell::new(),
            systems: [const { OnceCell::const_new() }; SYSTEMS.len()],
            databases: AtomicU32::new(0),
            building: Mutex::new(()),
        }
    }

    /// A database of its own, migrated.
    pub async fn database(&self) -> Database {
        self.plain_template().await;
        self.copy("template_plain").await
    }

    /// A database of its own, migrated, with `triggers/lab` applied.
    pub async fn lab(&self) -> Database {
        self.system("lab").await
    }

    /// A database of its own, migrated, with the triggers of one of [`SYSTEMS`] applied.
    pub async fn system(&self, name: &'static str) -> Database {
        let number = SYSTEMS.iter().position(|one| *one == name);
        let number = number.unwrap_or_else(|| panic!("SYSTEMS lacks {name}"));
        let built = format!("template_{name}");
        self.systems[number]
            .get_or_init(|| async {
                self.plain_template().await;
                let _one_at_a_time = self.building.lock().await;
                let template = self.create(&built, "template_plain").await;
                let owner = template.client(SUPERUSER).await;
                apply_triggers(&owner, name).await;
            })
            .await;
        let mut database = self.copy(&built).await;
        database.legacy_url = self.cluster.url(&database.name, &format!("{name}_app"));
        database
    }

    /// A database of its own with nothing in it.
    pub async fn empty(&self) -> Database {
        // For the login roles, which belong to the cluster.
        self.plain_template().await;
        self.copy("template0").await
    }

    /// A database of its own, migrated, in this encoding.
    pub async fn encoded(&self, encoding: &str) -> Database {
        self.plain_template().await;
        let template = format!("template0 encoding '{encoding}' lc_collate 'C' lc_ctype 'C'");
        let database = self.copy(&template).await;
        let mut owner = database.client(SUPERUSER).await;
        migrate::run(&mut owner)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        database
    }

    async fn plain_template(&self) {
        self.plain
            .get_or_init(|| async {
                let _one_at_a_time = self.building.lock().await;
                let template = self.create("template_plain", "template0").await;
                let mut owner = template.client(SUPERUSER).await;
                owner.batch_execute(REFUSE_MD5).await.expect("no md5()");
                migrate::run(&mut owner)
                    .await
                    .unwrap_or_else(|error| panic!("{error}"));
                let mut logins = "alter role rowcast_service login".to_owned();
                for system in SYSTEMS {
                    logins.push_str(&format!("; create role {system}_app login"));
                }
                owner.batch_execute(&logins).await.expect("login roles");
            })
            .await;
    }

    /// CREATE DATABASE itself waits until those who built its template have left.
    async fn copy(&self, template: &str) -> Database {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        self.create(&format!("test_{number}"), template).await
    }

    async fn create(&self, name: &str, template: &str) -> Database {
        let url = self.cluster.url("postgres", SUPERUSER);
        let maintenance = connect(&url).await;
        let created = format!("create database {name} template {template}");
        maintenance
            .batch_execute(&created)
            .await
            .unwrap_or_else(|error| panic!("{created}: {error:?}"));
        self.named(name)
    }

    /// A database that is there already.
    pub fn named(&self, name: &str) -> Database {
        let url = |role: &str| self.cluster.url(name, role);
        Database {
            name: name.to_owned(),
            superuser_url: url(SUPERUSER),
            service_url: url("rowcast_service"),
            legacy_url: url("lab_app"),
            bin_dir: self.cluster.bin_dir().to_owned(),
            version: self.cluster.version(),
            superuser: OnceCell::new(),
        }
    }
}

/// Applies `triggers/SYSTEM` as its superuser would: schema.sql first, access.sql last.
pub async fn apply_triggers(owner: &Client, system: &str) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("triggers")
        .join(system);
    let mut files: Vec<_> = std::fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("a directory's entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    files.sort_by_key(|path| {
        let name = path.file_name().unwrap_or_default().to_owned();
        (name == "access.sql", name != "schema.sql", name)
    });
    for file in files {
        let text = std::fs::read_to_string(&file).expect("SQL is UTF-8");
        if let Err(error) = owner.batch_execute(&text).await {
            panic!("{}: {error:?}", file.display());
        }
    }
}

async fn connect(url: &str) -> Client {
    within("a connection to the database", async {
        let client = database::connect_and_drive(url, PATIENCE)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        // An application's or a DBA's, who have settings of their own.
        let reset = client.batch_execute("reset all").await;
        reset.unwrap_or_else(|error| panic!("{error}"));
        client
    })
    .await
}

/// The rooms `r:*` are open to everybody.
const OPEN_ROOMS: &str = "create schema app; grant usage on schema app to rowcast_owner;
     create function app.anybody(claims jsonb, room text) returns boolean language sql
       as 'select true';
     insert into rowcast.room_rule values ('r:*', 'app.anybody(jsonb,text)');";

/// A database of one test's own.
pub struct Database {
    pub name: String,
    pub superuser_url: String,
    /// As `rowcast_service`, which serves.
    pub service_url: String,
    /// As `lab_app`, which has no grant on rowcast.
    pub legacy_url: String,
    /// Where pg_dump lies, mostly.
    pub bin_dir: PathBuf,
    /// Major version of its server.
    pub version: u32,
    superuser: OnceCell<Client>,
}

impl Database {
    /// The same, with rooms `r:*` that are open to everybody.
    pub async fn with_open_rooms(self) -> Self {
        self.run(OPEN_ROOMS).await;
        self
    }

    /// A URL for any role; nobody is asked for a password.
    pub fn url(&self, role: &str) -> String {
        let (_, place) = self.superuser_url.split_once('@').expect("user@place");
        format!("postgresql://{role}@{place}")
    }

    /// A new connection as this role.
    pub async fn client(&self, role: &str) -> Client {
        connect(&self.url(role)).await
    }

    /// A new connection as the legacy application.
    pub async fn legacy(&self) -> Client {
        connect(&self.legacy_url).await
    }

    /// The superuser's connection, one for the whole test.
    pub async fn superuser(&self) -> &Client {
        self.superuser
            .get_or_init(|| connect(&self.superuser_url))
            .await
    }

    /// Runs SQL as the superuser, who is nobody's legacy application.
    pub async fn run(&self, sql: &str) {
        let done = self.superuser().await.batch_execute(sql).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Runs it with psql, statement by statement, as people do; what it says of the first that fails.
    pub async fn psql(&self, text: impl AsRef<[u8]>) -> Result<(), String> {
        // Not every version's programs are there without it; it talks to all of them.
        let installed = on(Version::Installed).await.cluster.bin_dir();
        let mut psql = Command::new(installed.join("psql"))
            .args([
                "--no-psqlrc",
                "--quiet",
                "--set=ON_ERROR_STOP=1",
                "--dbname",
            ])
            .arg(&self.superuser_url)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("psql is installed");
        let mut pipe = psql.stdin.take().expect("a pipe");
        let write = async move { pipe.write_all(text.as_ref()).await };
        // Where psql stops at an error, it does not read the rest.
        let (_, output) = tokio::join!(write, psql.wait_with_output());
        let output = output.expect("psql ends");
        let errors = String::from_utf8_lossy(&output.stderr);
        output
            .status
            .success()
            .then_some(())
            .ok_or(errors.into_owned())
    }

    /// The first column of the only row.
    pub async fn ask<T>(&self, sql: &str) -> T
    where
        T: for<'a> tokio_postgres::types::FromSql<'a>,
    {
        let row = self.superuser().await.query_one(sql, &[]).await;
        row.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
            .get(0)
    }

    /// Opens so many transactions that no bookmark can name them all. They are prepared, which takes no
    /// connections.
    pub async fn open_many(&self) {
        for number in 0..MANY {
            self.run(&format!(
                "begin; select pg_current_xact_id(); prepare transaction '{number}'"
            ))
            .await;
        }
    }

    /// Ends those of [`Database::open_many`].
    pub async fn end_many(&self) {
        for number in 0..MANY {
            self.run(&format!("rollback prepared '{number}'")).await;
        }
    }

    /// Makes it as it was before the migration of this number, as far as those behind it can be applied
    /// again; how many these are.
    pub async fn undo_migrations(&self, from: i32) -> usize {
        for (version, undo) in UNDO.iter().rev() {
            if *version >= from {
                self.run(undo).await;
            }
        }
        let forget = format!(
            "with forgotten as (delete from rowcast.migration_history where version >= {from} returning 1)
             select count(*) from forgotten"
        );
        let forgotten: i64 = self.ask(&forget).await;
        forgotten.try_into().expect("a few")
    }

    /// How many wait for a lock of this kind, which is a condition on `pg_locks`. In this database:
    /// that view shows the whole cluster's, and transactions belong to no database there.
    pub async fn waiters(&self, lock: &str) -> i64 {
        let sql = format!(
            "select count(*) from pg_locks join pg_stat_activity using (pid)
             where not granted and datname = current_database() and {lock}"
        );
        self.ask(&sql).await
    }

    /// Waits until somebody waits for such a lock.
    pub async fn awaits(&self, what: &str, lock: &str) {
        eventually(what, async || (self.waiters(lock).await > 0).then_some(())).await;
    }

    /// Who holds this server's looks up until it commits, with a setting `listener.look_timeout` that
    /// outlasts it. The look that waits has taken its snapshot before: what is written now, the next one
    /// finds at once.
    pub async fn hold_a_look(&self, server: &Server) -> Client {
        let holder = self.client(SUPERUSER).await;
        let hold = "begin; lock table rowcast.channel in access exclusive mode";
        holder.batch_execute(hold).await.expect("a lock");
        server.gate.hub.want_look();
        let channels = "relation = 'rowcast.channel'::regclass";
        self.awaits("a look waits", channels).await;
        holder
    }

    /// The place in the history now.
    pub async fn bookmark(&self) -> String {
        self.ask("select rowcast.bookmark()").await
    }
}

/// Fifteen megabytes of events `big` to a room, more than a system takes off our hands: the bookmark before
/// them, and how many they are.
pub async fn long_replay(database: &Database, room: &str) -> (String, usize) {
    // A database of a test's own is a copy, whose history begins with whoever serves it first.
    database.run("select rowcast.ensure_history()").await;
    let since = database.bookmark().await;
    let count = 1500;
    database
        .run(&format!(
            "insert into rowcast.event (channel, name, rooms, data)
             select 'c', 'big', array['{room}'], to_json(repeat('x', 10000))
             from generate_series(1, {count})"
        ))
        .await;
    (since, count)
}

/// Emits an event `marker` to these rooms, and returns its id as the wire has it.
pub async fn marker(database: &Database, rooms: &[&str]) -> String {
    let sql = "select rowcast.emit('marker', 'marker', $1, '{}')";
    let rooms: Vec<&str> = rooms.to_vec();
    let row = database.superuser().await.query_one(sql, &[&rooms]).await;
    let id: i64 = row
        .unwrap_or_else(|error| panic!("a marker: {error:?}"))
        .get(0);
    id.to_string()
}
