//! Histories: whatever makes an old bookmark lie (failover, crash, restore, a copy) is answered with
//! a gap, ids that are handed out again are received, and nothing else is lost. And what is none:
//! a bookmark of a standby, a transaction prepared and committed later.

use crate::support::{
    self, Database, EVERY_TRANSPORT, Postgres, REFUSE_MD5, Server, Subscriber, TRANSPORTS,
    Transport, VERSIONS, Version, connect, eventually, get, marker, on, serve, serve_unready,
    token,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rowcast::command::postgres::{Mode, SUPERUSER};
use rowcast::migrate;
use serde_json::Value;
use std::collections::{BTreeSet, HashSet};
use std::process::Command;
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// An event to everybody, named so that readers can say what they have.
async fn emit(client: &Client, name: &str) {
    let sql = "select rowcast.emit('c', $1, array['*'], '{}')";
    client.execute(sql, &[&name]).await.unwrap();
}

/// A browser: it dedupes by id, as our own does, and forgets the ids on a gap, or not.
struct Browser {
    wire: Subscriber,
    forgets: bool,
    ids: HashSet<String>,
    ever: HashSet<String>,
    /// Names of the events that it showed its user.
    shown: Vec<String>,
    swallowed: usize,
    /// Events with an id that had been another event's.
    reused: usize,
    gaps: Vec<Value>,
}

impl Browser {
    async fn open(transport: Transport, server: &Server, forgets: bool) -> Self {
        let mut wire = connect(transport, server, &token("1", "", ""), "").await;
        wire.expect("welcome").await;
        Self {
            wire,
            forgets,
            ids: HashSet::new(),
            ever: HashSet::new(),
            shown: Vec::new(),
            swallowed: 0,
            reused: 0,
            gaps: Vec::new(),
        }
    }

    /// Reads until this event has come, shown or swallowed.
    async fn read_until(&mut self, name: &str) {
        while self.take().await != name {}
    }

    async fn take(&mut self) -> String {
        let frame = self.wire.next().await;
        if frame["type"] == "gap" {
            self.gaps.push(frame["reason"].clone());
            if self.forgets {
                self.ids.clear();
            }
        }
        if frame["type"] != "event" {
            return String::new();
        }
        let text = |field: &str| frame[field].as_str().unwrap().to_owned();
        if !self.ever.insert(text("id")) {
            self.reused += 1;
        }
        if self.ids.insert(text("id")) {
            self.shown.push(text("name"));
        } else {
            self.swallowed += 1;
        }
        text("name")
    }

    fn count(&self, name: &str) -> usize {
        self.shown.iter().filter(|shown| *shown == name).count()
    }
}

/// One browser on each transport that forgets ids on a gap, and one that does not.
async fn browsers(server: &Server) -> [Browser; 3] {
    [
        Browser::open(Transport::WebSocket, server, true).await,
        Browser::open(Transport::Sse, server, true).await,
        Browser::open(Transport::WebSocket, server, false).await,
    ]
}

/// All of these came, although some wear ids of before; who does not forget loses those.
fn assert_nothing_is_swallowed(browsers: &[Browser], name: &str, count: usize) {
    for browser in browsers {
        assert_eq!(browser.gaps, ["history"]);
        assert!(
            browser.reused > 0,
            "no id was handed out again: this proves nothing"
        );
        if browser.forgets {
            assert_eq!((browser.count(name), browser.swallowed), (count, 0));
        } else {
            assert_eq!(browser.swallowed, browser.reused, "ids do collide");
        }
    }
}

async fn is_red(server: &Server) -> String {
    eventually("it says that it is not ready", async || {
        let answer = get(server, "/readyz", &[]).await;
        (answer.status == 503).then_some(answer.body)
    })
    .await
}

async fn is_green(server: &Server) {
    eventually("it is ready", async || {
        (get(server, "/readyz", &[]).await.status == 200).then_some(())
    })
    .await;
}

/// Until it knows that a history has begun, it may say that it is ready, and welcomes to the last.
async fn knows_the_history(server: &Server, db: &Database) {
    eventually("it knows the history", async || {
        let now = db.bookmark().await;
        let here = server.gate.hub.here()?;
        (now.split('.').next() == Some(&*here.history)).then_some(())
    })
    .await;
}

async fn resumed(server: &Server, transport: Transport, since: &str) -> (Subscriber, Value) {
    let query = format!("since={since}");
    let mut back = connect(transport, server, &token("1", "", ""), &query).await;
    back.expect("welcome").await;
    let subscribed = back.expect("subscribed").await;
    (back, subscribed)
}

/// Whoever comes back with one of these is told that something may be missing.
async fn assert_gap(server: &Server, bookmarks: &[&str]) {
    for transport in EVERY_TRANSPORT {
        for bookmark in bookmarks {
            let (_, subscribed) = resumed(server, transport, bookmark).await;
            assert_eq!(subscribed["outcome"], "gap", "{bookmark}: {subscribed}");
            assert_eq!(subscribed["reason"], "history", "{bookmark}: {subscribed}");
        }
    }
}

/// A bookmark of a database that nobody has been served from yet.
async fn first_place(db: &Database) -> String {
    db.run("select rowcast.ensure_history()").await;
    let place = db.bookmark().await;
    assert!(!place.starts_with("none"), "{place}");
    place
}

/// Names of what a bookmark lacks, up to a marker that is there already.
async fn lacked(db: &Database, server: &Server, transport: Transport, since: &str) -> Vec<String> {
    server.has_read(db).await;
    let (mut back, subscribed) = resumed(server, transport, since).await;
    assert_eq!(subscribed["outcome"], "recovered", "{since}: {subscribed}");
    let events = back.events_until("marker").await;
    assert_eq!(subscribed["count"], events.len() + 1, "{subscribed}");
    let name = |event: &Value| event["name"].as_str().unwrap().to_owned();
    events.iter().map(name).collect()
}

// Failover.

/// A primary with a standby, and the same database on both.
struct Pair {
    primary: Postgres,
    db: Database,
    standby: Postgres,
    copy: Database,
}

impl Pair {
    async fn start() -> Self {
        // What it has under way would stand in bookmarks of the standby.
        let primary = Postgres::start(Version::Installed, &[("autovacuum", "off")]).await;
        let db = primary.database().await;
        let standby = primary.standby(&[]).await;
        let mut copy = standby.named(&db.name);
        copy.superuser_url += "?target_session_attrs=any";
        Self {
            primary,
            db,
            standby,
            copy,
        }
    }

    /// Both, as libpq's URLs name several servers.
    fn both(&self) -> String {
        let place = |db: &Database| {
            let (_, place) = db.service_url.split_once('@').unwrap();
            place.rsplit_once('/').unwrap().0.to_owned()
        };
        let (one, other) = (place(&self.db), place(&self.copy));
        let name = &self.db.name;
        format!("postgresql://rowcast_service@{one},{other}/{name}?target_session_attrs=read-write")
    }

    /// Waits until the standby has replayed all that is committed now.
    async fn caught_up(&self) {
        let here: String = self
            .db
            .ask("select pg_current_wal_insert_lsn()::text")
            .await;
        let there = format!("select pg_last_wal_replay_lsn() >= '{here}'::pg_lsn");
        eventually("the standby has caught up", async || {
            self.copy.ask::<bool>(&there).await.then_some(())
        })
        .await;
    }

    /// The standby hears nothing more of the primary.
    async fn part(&self) {
        self.copy
            .run("alter system set primary_conninfo = ''")
            .await;
        self.copy.run("select pg_reload_conf()").await;
        eventually("nothing streams", async || {
            let sql = "select count(*) from pg_stat_wal_receiver";
            (self.copy.ask::<i64>(sql).await == 0).then_some(())
        })
        .await;
    }

    async fn promote(&self) {
        assert!(self.copy.ask::<bool>("select pg_promote(true, 60)").await);
    }
}

/// The primary dies with a hundred commits that its standby has never heard of, all of them
/// delivered. The standby hands out their ids and transactions again.
#[tokio::test]
async fn a_failover_is_a_gap_and_the_service_finds_the_new_primary() {
    let mut pair = Pair::start().await;
    let both = pair.both();
    let server = serve(&pair.db, |settings| settings.database.url = Some(both)).await;
    let mut browsers = browsers(&server).await;
    let writer = pair.db.client(SUPERUSER).await;
    emit(&writer, "before").await;
    pair.caught_up().await;
    pair.part().await;
    let page = pair.db.bookmark().await;
    for _ in 0..99 {
        emit(&writer, "lost").await;
    }
    emit(&writer, "the last").await;
    for browser in &mut browsers {
        browser.read_until("the last").await;
        assert_eq!((browser.count("lost"), browser.reused), (99, 0));
    }
    let last = browsers[0].wire.bookmark.clone().unwrap();
    let last_of_sse = browsers[1].wire.bookmark.clone().unwrap();

    pair.primary.cluster.kill9().await.unwrap();
    let why = is_red(&server).await;
    eventually("it names both servers and what they say", async || {
        let why = get(&server, "/readyz", &[]).await.body;
        (why.contains("hot standby") && why.contains(":5432: ")).then_some(())
    })
    .await;
    assert!(why.starts_with("not ready: "), "{why}");
    pair.promote().await;
    is_green(&server).await;

    let writer = pair.copy.client(SUPERUSER).await;
    for _ in 0..99 {
        emit(&writer, "new").await;
    }
    emit(&writer, "the end").await;
    for browser in &mut browsers {
        browser.read_until("the end").await;
    }
    assert_nothing_is_swallowed(&browsers, "new", 99);
    assert_gap(&server, &[&page, &last, &last_of_sse]).await;
    // The pool too has come to the new primary: this one is read from its log.
    let here = pair.copy.bookmark().await;
    marker(&pair.copy, &["*"]).await;
    for transport in EVERY_TRANSPORT {
        let found = lacked(&pair.copy, &server, transport, &here).await;
        assert!(found.is_empty(), "{found:?}");
    }
    server.stop().await;
}

/// A server that accepts and is frozen must not keep the service from the next.
#[tokio::test]
async fn a_server_that_says_nothing_does_not_keep_us_from_the_next() {
    let db = support::database().await;
    let frozen = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let frozen = frozen.local_addr().unwrap().to_string();
    let url = db.service_url.replace('@', &format!("@{frozen},"));
    let server = serve(&db, |settings| {
        settings.database.connect_timeout = Duration::from_secs(2);
        settings.database.url = Some(url);
    })
    .await;
    is_green(&server).await;
    let mut somebody = support::ws(&server, &token("1", "", ""), "").await;
    somebody.expect("welcome").await;
    marker(&db, &["*"]).await;
    somebody.expect_event("marker").await;
    server.stop().await;
}

/// Nor does one after the other wait for it, because of a cookie that may hold a session.
#[tokio::test]
async fn a_server_that_says_nothing_is_waited_for_by_all_together() {
    let db = support::database().await;
    let frozen = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let frozen = frozen.local_addr().unwrap().to_string();
    let server = serve_unready(&db, |settings| {
        settings.database.connect_timeout = Duration::from_secs(3);
        settings.database.url = Some(format!("postgres://rowcast_service@{frozen}/app"));
    })
    .await;
    let address = server.address.clone();
    let mut visits = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let server = address.clone();
        visits.spawn(async move { get(&server, "/poll", &[("cookie", "theme=dark")]).await });
    }
    let answers = support::within("all answers", visits.join_all()).await;
    for answer in answers {
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    server.stop().await;
}

/// LISTEN is impossible there, and so is being ready; the reason is said, and a promotion is enough.
#[tokio::test]
async fn a_standby_is_refused_with_the_reason_until_it_is_promoted() {
    let pair = Pair::start().await;
    for attributes in ["?target_session_attrs=any", ""] {
        let url = format!("{}{attributes}", pair.copy.service_url);
        let server = serve_unready(&pair.copy, |settings| settings.database.url = Some(url)).await;
        eventually("it says what is wrong", async || {
            let answer = get(&server, "/readyz", &[]).await;
            assert_eq!(answer.status, 503, "{attributes}");
            let said = answer.body.contains("hot standby") && answer.body.contains("primary");
            said.then_some(())
        })
        .await;
        let (code, _) = support::ws(&server, &token("1", "", ""), "")
            .await
            .closed()
            .await;
        assert_eq!(code, 1013, "come back later");
        if attributes.is_empty() {
            pair.promote().await;
            is_green(&server).await;
            server.stop().await;
            return;
        }
        server.stop().await;
    }
}

/// Where serializable is the default, a standby refuses every statement, in words that named no remedy of ours.
#[tokio::test]
async fn a_standby_is_told_as_one_where_serializable_is_the_default() {
    let pair = Pair::start().await;
    let default = "alter role rowcast_service set default_transaction_isolation = 'serializable'";
    pair.db.run(default).await;
    let url = format!("{}?target_session_attrs=any", pair.copy.service_url);
    let server = serve_unready(&pair.copy, |settings| settings.database.url = Some(url)).await;
    eventually("it says what is wrong", async || {
        let answer = get(&server, "/readyz", &[]).await;
        let said = answer.body.contains("serializable") && answer.body.contains("primary");
        said.then_some(())
    })
    .await;
    server.stop().await;
}

/// An address behind which another server appears (a proxy, DNS): the standby would answer a replay
/// from what it has replayed so far, and call that recovered.
#[tokio::test]
async fn a_replay_from_another_server_is_not_believed() {
    let pair = Pair::start().await;
    let place = tempfile::tempdir().unwrap();
    let current = place.path().join("current");
    std::os::unix::fs::symlink(pair.primary.cluster.socket_dir(), &current).unwrap();
    let path = current.to_str().unwrap().replace('/', "%2F");
    let name = &pair.db.name;
    let direct = pair.db.service_url.clone();
    let server = serve(&pair.db, |settings| {
        let pool = format!(
            "postgresql://rowcast_service@{path}/{name}?target_session_attrs=any&application_name=pool"
        );
        settings.database.url = Some(pool);
        settings.database.listen_url = Some(direct);
        // Everything is read from the log.
        settings.hub.ring_bytes = 0;
    })
    .await;
    pair.caught_up().await;
    pair.copy.run("select pg_wal_replay_pause()").await;
    let since = pair.db.bookmark().await;
    let writer = pair.db.client(SUPERUSER).await;
    emit(&writer, "written").await;
    marker(&pair.db, &["*"]).await;
    let found = lacked(&pair.db, &server, Transport::WebSocket, &since).await;
    assert_eq!(found, ["written"]);

    let switch = async |to: &Postgres, from: &Database| {
        std::fs::remove_file(&current).unwrap();
        std::os::unix::fs::symlink(to.cluster.socket_dir(), &current).unwrap();
        // What is in use just then goes back into the pool.
        eventually("the pool has left", async || {
            server.gate.database.forget();
            let there = "select count(*) from pg_stat_activity where application_name = 'pool'";
            (from.ask::<i64>(there).await == 0).then_some(())
        })
        .await;
    };
    switch(&pair.standby, &pair.db).await;
    for transport in TRANSPORTS {
        let query = format!("since={since}");
        let mut back = connect(transport, &server, &token("1", "", ""), &query).await;
        let (code, reason) = back.closed().await;
        assert!(
            (code, reason.as_str()) == (200, "overloaded") || code == 1013,
            "{code} {reason}: {:?}",
            back.received
        );
    }
    switch(&pair.primary, &pair.copy).await;
    let found = lacked(&pair.db, &server, Transport::WebSocket, &since).await;
    assert_eq!(found, ["written"]);
    server.stop().await;
}

/// A page rendered on a hot standby prints its data and the bookmark from one statement, while
/// transactions are open that wrote before and commit after.
#[tokio::test]
async fn a_bookmark_of_a_standby_repeats_and_loses_nothing() {
    let pair = Pair::start().await;
    pair.db
        .run(
            "create schema app; create table app.note (name text); \
             create function app.write(name text) returns void language sql as $$ \
               insert into app.note values (name); \
               select rowcast.emit('c', name, array['*'], '{}') $$",
        )
        .await;
    let server = serve(&pair.db, |_| {}).await;
    let write = async |client: &Client, name: &str| {
        let sql = "select app.write($1)";
        client.execute(sql, &[&name]).await.unwrap();
    };
    let (a, b, c) = (
        pair.db.client(SUPERUSER).await,
        pair.db.client(SUPERUSER).await,
        pair.db.client(SUPERUSER).await,
    );
    write(&c, "long before").await;
    // Nor may anything of the service's: what is younger than that is repeated.
    eventually("it lies behind all that is open", async || {
        let behind = "select max(xid) < pg_snapshot_xmin(pg_current_snapshot()) from rowcast.event";
        pair.db.ask::<bool>(behind).await.then_some(())
    })
    .await;
    for open in [&a, &b] {
        open.batch_execute("begin").await.unwrap();
    }
    write(&a, "a").await;
    write(&c, "c").await;
    write(&b, "b").await;
    write(&c, "d").await;
    pair.caught_up().await;
    let page = "select rowcast.bookmark(), array_agg(name) from app.note";
    let legacy = pair.copy.client(SUPERUSER).await;
    let mut pages = Vec::new();
    let mut print = async || {
        let row = legacy.query_one(page, &[]).await.unwrap();
        let (bookmark, seen): (String, Vec<String>) = (row.get(0), row.get(1));
        pages.push((bookmark, seen.into_iter().collect::<BTreeSet<_>>()));
    };
    print().await;
    b.batch_execute("commit").await.unwrap();
    write(&c, "e").await;
    pair.caught_up().await;
    print().await;
    a.batch_execute("commit").await.unwrap();
    write(&c, "f").await;
    marker(&pair.db, &["*"]).await;

    let all: BTreeSet<String> = pair
        .db
        .ask::<Vec<String>>("select array_agg(name) from app.note")
        .await
        .into_iter()
        .collect();
    assert_eq!(all.len(), 7);
    for (bookmark, seen) in pages {
        assert!(!seen.contains("a") && seen.contains("c"), "{seen:?}");
        for transport in EVERY_TRANSPORT {
            let found = lacked(&pair.db, &server, transport, &bookmark).await;
            let come: BTreeSet<String> = found.iter().cloned().collect();
            assert_eq!(come.len(), found.len(), "none twice: {found:?}");
            let both: BTreeSet<String> = seen.union(&come).cloned().collect();
            assert_eq!(both, all, "{bookmark}");
            assert!(!come.contains("long before"), "repeats are few: {found:?}");
        }
    }
    server.stop().await;
}

/// A new history is begun while the standby that every commit would have to wait for is missing:
/// the service must not wait for it.
#[tokio::test]
async fn a_missing_synchronous_standby_does_not_hold_the_service() {
    let mut postgres = Postgres::start(Version::Installed, &[]).await;
    let db = postgres.database().await;
    let server = serve(&db, |_| {}).await;
    let mut somebody = support::ws(&server, &token("1", "", ""), "").await;
    somebody.expect("welcome").await;
    db.run("alter system set synchronous_standby_names = 'missing'")
        .await;
    postgres.cluster.stop(Mode::Immediate).await.unwrap();
    is_red(&server).await;
    postgres.cluster.start_again().await.unwrap();
    is_green(&server).await;
    assert_eq!(somebody.expect("gap").await["reason"], "history");
    let writer = db.client(SUPERUSER).await;
    writer
        .batch_execute("set synchronous_commit = local")
        .await
        .unwrap();
    emit(&writer, "after").await;
    somebody.expect_event("after").await;
    server.stop().await;
}

/// A leaf that is emptied is locked until that is committed: with a standby that is missing, this was
/// for ever, and no look could read past it.
#[tokio::test]
async fn a_missing_synchronous_standby_does_not_hold_a_rotation() {
    let postgres = Postgres::start(Version::Installed, &[]).await;
    let db = postgres.database().await;
    let server = serve(&db, |_| {}).await;
    let mut somebody = support::ws(&server, &token("1", "", ""), "").await;
    somebody.expect("welcome").await;
    db.run("alter system set synchronous_standby_names = 'missing'")
        .await;
    db.run("select pg_reload_conf()").await;
    let writer = db.client(SUPERUSER).await;
    let local = "set synchronous_commit = local";
    writer.batch_execute(local).await.unwrap();
    let ask = async |sql: &str| {
        let row = writer.query_one(sql, &[]).await.unwrap();
        row.get::<_, bool>(0)
    };
    eventually("the standby is waited for", async || {
        let sql = "select current_setting('synchronous_standby_names') = 'missing'";
        ask(sql).await.then_some(())
    })
    .await;
    emit(&writer, "before").await;
    somebody.expect_event("before").await;
    eventually("the leaf is left, then emptied", async || {
        let age = "update rowcast.leaf set entered_at = entered_at - interval '2 days', \
                     left_at = left_at - interval '2 days'";
        writer.batch_execute(age).await.unwrap();
        let sql = "select not exists (select from rowcast.event where name = 'before')";
        ask(sql).await.then_some(())
    })
    .await;
    emit(&writer, "after").await;
    somebody.expect_event("after").await;
    server.stop().await;
}

// Crashes.

/// Crash recovery takes back transactions that were never flushed, and hands out their numbers and
/// their events' again: every bookmark of before is a gap, for those who stayed and those who come
/// back.
async fn check_crash(mode: Option<Mode>) {
    let settings = [
        ("synchronous_commit", "off"),
        ("autovacuum", "off"),
        ("bgwriter_lru_maxpages", "0"),
    ];
    let mut postgres = Postgres::start(Version::Installed, &settings).await;
    let db = postgres.database().await;
    db.run("checkpoint").await;
    let server = serve(&db, |_| {}).await;
    let mut browsers = browsers(&server).await;
    let writer = db.client(SUPERUSER).await;
    let page = db.bookmark().await;
    // From here on nobody flushes.
    let flusher = "select pid from pg_stat_activity where backend_type = 'walwriter'";
    let flusher = Pid::from_raw(db.ask(flusher).await);
    kill(flusher, Signal::SIGSTOP).unwrap();
    // Far more than the 32 ids that a sequence takes ahead, far less than there is room for.
    for _ in 0..200 {
        emit(&writer, "before").await;
    }
    emit(&writer, "the last").await;
    for browser in &mut browsers {
        browser.read_until("the last").await;
        assert_eq!((browser.count("before"), browser.reused), (200, 0));
    }
    let (last, of_sse) = (
        browsers[0].wire.bookmark.clone().unwrap(),
        browsers[1].wire.bookmark.clone().unwrap(),
    );
    let xid = "select max(xid)::text::bigint from rowcast.event";
    let delivered: i64 = db.ask(xid).await;
    let crash = async {
        match mode {
            Some(mode) => postgres.cluster.stop(mode).await.unwrap(),
            None => postgres.cluster.kill9().await.unwrap(),
        }
    };
    // Stopped as it is, it would hear of no end.
    tokio::join!(crash, async { kill(flusher, Signal::SIGKILL).unwrap() });
    is_red(&server).await;
    postgres.cluster.start_again().await.unwrap();
    is_green(&server).await;
    let db = postgres.named(&db.name);
    let survived: i64 = db.ask("select count(*) from rowcast.event").await;
    assert!(survived < 100, "most were flushed, and this proves nothing");
    let writer = db.client(SUPERUSER).await;
    for _ in 0..20 {
        emit(&writer, "after").await;
    }
    emit(&writer, "the end").await;
    let first = "select min(xid)::text::bigint from rowcast.event where name = 'after'";
    let first: i64 = db.ask(first).await;
    assert!(first <= delivered, "no transaction was reissued: {first}");
    for browser in &mut browsers {
        browser.read_until("the end").await;
    }
    assert_nothing_is_swallowed(&browsers, "after", 20);
    assert_gap(&server, &[&page, &last, &of_sse]).await;
    server.stop().await;
}

#[tokio::test]
async fn a_crash_is_never_silence() {
    check_crash(Some(Mode::Immediate)).await;
}

#[tokio::test]
async fn a_killed_server_is_never_silence() {
    check_crash(None).await;
}

// Upgrades.

/// Its name was computed at every look; that it is drawn now is no gap for anybody.
#[tokio::test]
async fn a_history_keeps_its_name_from_before_it_was_drawn() {
    for version in VERSIONS {
        let db = on(version).await.database().await;
        let undone = db.undo_migrations(24).await;
        let start = first_place(&db).await;
        let server = serve(&db, |_| {}).await;
        let mut live = Vec::new();
        for transport in TRANSPORTS {
            let mut somebody = connect(transport, &server, &token("1", "", ""), "").await;
            somebody.expect("welcome").await;
            live.push(somebody);
        }
        let writer = db.client(SUPERUSER).await;
        emit(&writer, "before").await;
        server.has_read(&db).await;
        let mut owner = db.client(SUPERUSER).await;
        let done = migrate::run(&mut owner).await.unwrap();
        assert_eq!((done.migrations, done.scripts), (undone, 2), "{version:?}");
        emit(&writer, "after").await;
        marker(&db, &["*"]).await;
        for somebody in &mut live {
            let heard = somebody.frames_until("marker").await;
            let heard: Vec<_> = heard.iter().map(|frame| frame["name"].as_str()).collect();
            assert_eq!(heard, [Some("before"), Some("after")], "{version:?}");
        }
        for transport in EVERY_TRANSPORT {
            let found = lacked(&db, &server, transport, &start).await;
            assert_eq!(found, ["before", "after"], "{version:?}");
        }
        // And the next is another.
        db.run("select rowcast.new_history()").await;
        knows_the_history(&server, &db).await;
        assert_gap(&server, &[&start]).await;
        server.stop().await;
    }
}

/// Files that were copied to a host in FIPS mode: nobody there can say any more how the history was called.
#[tokio::test]
async fn without_md5_a_history_from_before_is_a_gap() {
    let db = support::database().await;
    db.undo_migrations(24).await;
    let start = first_place(&db).await;
    db.run(REFUSE_MD5).await;
    let mut owner = db.client(SUPERUSER).await;
    migrate::run(&mut owner).await.unwrap();
    let server = serve(&db, |_| {}).await;
    assert_gap(&server, &[&start]).await;
    server.stop().await;
}

// Restores and copies.

/// What pg_dump says of a database, as text.
fn dump(db: &Database) -> Vec<u8> {
    dump_of(db, &[])
}

fn dump_of(db: &Database, what: &[&str]) -> Vec<u8> {
    let output = Command::new(db.bin_dir.join("pg_dump"))
        .args(["--dbname", &db.superuser_url])
        .args(what)
        .output()
        .expect("pg_dump lies beside the server's programs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    output.stdout
}

/// Restored without owners by a superuser, our functions ran as the superuser whatever anybody gave them.
#[tokio::test]
async fn a_copy_without_owners_lets_nobody_become_a_superuser() {
    let (source, copy) = (support::database().await, support::empty().await);
    copy.psql(&dump_of(&source, &["--no-owner", "--no-acl"]))
        .await
        .unwrap();
    let mut superuser = copy.client(SUPERUSER).await;
    let error = migrate::run(&mut superuser)
        .await
        .expect_err("a foreign owner");
    assert!(error.to_string().contains("--no-owner"), "{error}");
    copy.run("grant usage on schema rowcast to public").await;
    let stranger = copy.legacy().await;
    let mine = "create function pg_temp.mine(jsonb[]) returns table (key jsonb, data json)
        language sql as 'select $1[1], to_json(current_user)'";
    stranger.batch_execute(mine).await.unwrap();
    let rendered = "select failed from rowcast.render('pg_temp.mine', array['1'::jsonb])";
    let rendered = stranger.query_one(rendered, &[]).await.unwrap();
    assert!(rendered.get::<_, bool>(0));
    for asked in [
        "plan_query('select 1')",
        "home_rooms('{}')",
        "admit('{}', array['a'])",
        "session_claims('{}')",
        "begin_call('a', '{}', 0, null, 1000)",
        "call('{}', 1000)",
    ] {
        let error = stranger
            .batch_execute(&format!("select rowcast.{asked}"))
            .await;
        let error = error.expect_err(asked);
        let code = error.code().map(SqlState::code);
        assert_eq!(code, Some("RC009"), "{asked}: {error:?}");
    }
}

async fn migrated_again(db: &Database) {
    let mut owner = db.client(SUPERUSER).await;
    let done = migrate::run(&mut owner).await;
    let done = done.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(done, migrate::Done::default(), "it came with everything");
}

/// Uses up transactions until the next is beyond this one.
async fn burn(db: &Database, beyond: i64) {
    db.run(&format!(
        "do $$ begin while pg_current_xact_id()::text::bigint <= {beyond} loop commit; end loop; \
         end $$"
    ))
    .await;
}

/// The schema first and its data later, as people do who copy large databases: revocations are loaded
/// before the settings, and were left out by an error that psql only prints. The data of the tables
/// that are attached must not be told once more.
#[tokio::test]
async fn a_restore_in_two_parts_keeps_revocations_and_ids() {
    let postgres = on(Version::Installed).await;
    let (source, db) = (postgres.database().await, postgres.empty().await);
    source
        .run(
            "create table public.note (id int primary key);
             grant select on public.note to rowcast_owner;
             select rowcast.attach('public.note', 'insert',
               'select ''note'' as name, array[''*''] as rooms, to_json(n.id) as data from new_rows n');
             insert into public.note select generate_series(1, 3);
             select rowcast.revoke('456'), rowcast.revoke('457')",
        )
        .await;
    let kept = "select (select count(*) from rowcast.event)
        || ' ' || (select string_agg(concat_ws(' ', sub, version, at), ', ' order by sub)
          from rowcast.revocation)
        || ' ' || (select access_version from rowcast.setting)";
    let before: String = source.ask(kept).await;
    // Ours without the option, as whoever does not know it would.
    let ours = ["--data-only", "--schema=rowcast"];
    let theirs = ["--data-only", "--schema=public", "--disable-triggers"];
    for part in [&["--schema-only"][..], &ours[..], &theirs[..]] {
        db.psql(&dump_of(&source, part)).await.unwrap();
    }
    assert_eq!(db.ask::<String>(kept).await, before);
    migrated_again(&db).await;
    db.run("select rowcast.revoke('458')").await;
    let higher = "select max(version) = (select access_version from rowcast.setting)
        and count(*) = 3 from rowcast.revocation";
    assert!(db.ask::<bool>(higher).await);
}

/// A young cluster: the rows of the dump wear transactions that it will reach later, and one of them
/// that of somebody who is at work there. The service runs against the database all the while.
#[tokio::test]
async fn a_restore_into_another_cluster_is_another_history() {
    let source = on(Version::Installed).await.database().await;
    let young = Postgres::start(Version::Installed, &[]).await;
    let db = young.empty().await;
    let next = "select pg_current_xact_id()::text::bigint";
    let there: i64 = db.ask(next).await;
    burn(&source, there + 2000).await;
    let start = first_place(&source).await;
    let writer = source.client(SUPERUSER).await;
    for _ in 0..5 {
        emit(&writer, "restored").await;
    }
    let highest: i64 = source
        .ask("select max(xid)::text::bigint from rowcast.event")
        .await;
    let dump = String::from_utf8(dump(&source)).unwrap();

    let server = serve_unready(&db, |_| {}).await;
    is_red(&server).await;
    let open = db.client(SUPERUSER).await;
    open.batch_execute("begin").await.unwrap();
    let its: i64 = open.query_one(next, &[]).await.unwrap().get(0);
    // As if the oldest of the rows had been written by a transaction of that number.
    let oldest = format!(
        "update rowcast.event set xid = '{its}' where id = (select min(id) from rowcast.event);\n"
    );
    let mark = "COPY rowcast.history_mark";
    let dump = dump.replace(mark, &format!("{oldest}{mark}"));
    // Half a dump would leave psql restricted.
    let free = |line: &&str| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict");
    let dump: Vec<&str> = dump.lines().filter(free).collect();
    let dump = dump.join("\n") + "\n";
    let (schema, data) = dump.split_at(dump.find("COPY rowcast.").unwrap());
    db.psql(schema.as_bytes()).await.unwrap();
    // The service may come just here: what it begins must not outlive the mark of the dump.
    db.run("select rowcast.ensure_history()").await;
    db.psql(data.as_bytes()).await.unwrap();
    is_green(&server).await;
    migrated_again(&db).await;
    is_green(&server).await;
    knows_the_history(&server, &db).await;
    assert_gap(&server, &[&start]).await;

    let mut live = Vec::new();
    for transport in TRANSPORTS {
        let mut somebody = connect(transport, &server, &token("1", "", ""), "").await;
        somebody.expect("welcome").await;
        live.push(somebody);
    }
    let here = db.bookmark().await;
    open.batch_execute("commit").await.unwrap();
    burn(&db, highest).await;
    marker(&db, &["*"]).await;
    for (somebody, transport) in live.iter_mut().zip(TRANSPORTS) {
        let surfaced = somebody.events_until("marker").await;
        assert!(surfaced.is_empty(), "{transport:?}: {surfaced:?}");
        let surfaced = lacked(&db, &server, transport, &here).await;
        assert!(surfaced.is_empty(), "{transport:?}: {surfaced:?}");
    }
    server.stop().await;
}

/// Two clusters that were set up by one script give out the same oids, and a dump carries both halves
/// of the mark: only the cluster tells them apart.
#[tokio::test]
async fn a_restore_with_the_same_oids_is_another_history() {
    let source = on(Version::Installed).await.database().await;
    let start = first_place(&source).await;
    let twin = Postgres::start(Version::Installed, &[]).await;
    let db = twin.empty().await;
    db.psql(&dump(&source)).await.unwrap();
    db.run(
        "update rowcast.history_mark set log_oid = 'rowcast.event'::regclass, \
           database_oid = (select oid from pg_database where datname = current_database())",
    )
    .await;
    let nonces = "select m.nonce = p.nonce from rowcast.history_mark m, rowcast.history_pulse p";
    assert!(db.ask::<bool>(nonces).await, "the dump carries both halves");
    assert_eq!(db.ask::<String>("select rowcast.history()").await, "none");
    let server = serve(&db, |_| {}).await;
    assert_gap(&server, &[&start]).await;
    server.stop().await;
}

/// Beside the original, by whatever way: the copy is another history, the original goes on.
async fn check_copy(db: Database, copy: impl AsyncFnOnce(&Postgres, &Database, &str)) {
    let postgres = on(Version::Installed).await;
    let start = first_place(&db).await;
    let writer = db.client(SUPERUSER).await;
    for _ in 0..3 {
        emit(&writer, "original").await;
    }
    drop(writer);
    let name = format!("{}_copy", db.name);
    copy(postgres, &db, &name).await;
    let (db, copied) = (postgres.named(&db.name), postgres.named(&name));
    migrated_again(&copied).await;
    let (ours, theirs) = (serve(&db, |_| {}).await, serve(&copied, |_| {}).await);
    assert_gap(&theirs, &[&start]).await;
    let here = copied.bookmark().await;
    for (db, mine) in [(&db, "of the original"), (&copied, "of the copy")] {
        emit(&db.client(SUPERUSER).await, mine).await;
        marker(db, &["*"]).await;
    }
    for transport in EVERY_TRANSPORT {
        let found = lacked(&db, &ours, transport, &start).await;
        assert_eq!(
            found,
            ["original", "original", "original", "of the original"]
        );
        assert_eq!(
            lacked(&copied, &theirs, transport, &here).await,
            ["of the copy"]
        );
    }
    // And neither takes the other's.
    assert_gap(&ours, &[&here]).await;
    ours.stop().await;
    theirs.stop().await;
}

#[tokio::test]
async fn a_restore_beside_the_original_is_another_history() {
    check_copy(support::database().await, async |postgres, db, name| {
        let url = postgres.cluster.url("postgres", SUPERUSER);
        let maintenance = connected(&url).await;
        let create = format!("create database {name} template template0");
        maintenance.batch_execute(&create).await.unwrap();
        postgres.named(name).psql(&dump(db)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_copy_by_template_is_another_history() {
    check_copy(support::database().await, async |postgres, db, name| {
        let url = postgres.cluster.url("postgres", SUPERUSER);
        let maintenance = connected(&url).await;
        let leave = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1";
        maintenance.execute(leave, &[&db.name]).await.unwrap();
        // It would wait a few seconds for those who are leaving, and no longer.
        eventually("all have left", async || {
            let here = "select count(*) from pg_stat_activity where datname = $1";
            let here = maintenance.query_one(here, &[&db.name]).await.unwrap();
            (here.get::<_, i64>(0) == 0).then_some(())
        })
        .await;
        let create = format!("create database {name} template {}", db.name);
        maintenance.batch_execute(&create).await.unwrap();
    })
    .await;
}

async fn connected(url: &str) -> Client {
    let client = rowcast::database::connect_and_drive(url, support::PATIENCE).await;
    client.unwrap_or_else(|error| panic!("{error}"))
}

/// The database is the same and so is all that the dump says, but nobody read this log.
#[tokio::test]
async fn the_schema_restored_alone_in_its_own_database_is_another_history() {
    let db = on(Version::Installed).await.database().await;
    db.run("select rowcast.ensure_history()").await;
    let before = db.bookmark().await;
    let dump = dump_of(&db, &["--schema=rowcast"]);
    db.run("drop schema rowcast cascade").await;
    db.psql(&dump).await.expect("a restore");
    let told = format!("select reason from rowcast.events_since('{before}')");
    assert_eq!(db.ask::<String>(&told).await, "history");
}

/// As docs/operations.md has those do who hide what was in the log: what they write besides is not hidden.
#[tokio::test]
async fn what_is_written_with_a_new_history_is_kept() {
    let db = on(Version::Installed).await.database().await;
    db.run(
        "begin; select rowcast.emit('c', 'kept', array['*'], '{}'); select rowcast.new_history(); commit",
    )
    .await;
    let kept = "select count(*) from rowcast.event where name = 'kept'";
    assert_eq!(db.ask::<i64>(kept).await, 1);
}

/// Dropped and restored by the same name while it is served: red meanwhile, then a gap for those who
/// stayed and those who come back.
#[tokio::test]
async fn a_restore_in_place_of_the_original_is_another_history() {
    let postgres = on(Version::Installed).await;
    let db = postgres.database().await;
    let server = serve(&db, |_| {}).await;
    let mut live = Vec::new();
    for transport in TRANSPORTS {
        let mut somebody = connect(transport, &server, &token("1", "", ""), "").await;
        somebody.expect("welcome").await;
        live.push(somebody);
    }
    emit(&db.client(SUPERUSER).await, "before").await;
    for somebody in &mut live {
        somebody.expect_event("before").await;
    }
    let (last, page) = (live[0].bookmark.clone().unwrap(), db.bookmark().await);
    let dump = dump(&db);
    let maintenance = connected(&postgres.cluster.url("postgres", SUPERUSER)).await;
    let name = &db.name;
    let drop = format!("drop database {name} with (force)");
    maintenance.batch_execute(&drop).await.unwrap();
    is_red(&server).await;
    let create = format!("create database {name} template template0");
    maintenance.batch_execute(&create).await.unwrap();
    let db = postgres.named(name);
    db.psql(&dump).await.unwrap();
    is_green(&server).await;
    migrated_again(&db).await;
    is_green(&server).await;
    knows_the_history(&server, &db).await;
    assert_gap(&server, &[&last, &page]).await;
    emit(&db.client(SUPERUSER).await, "after").await;
    for somebody in &mut live {
        // More than one where the service was quicker than the restore.
        let before = somebody.frames_until("after").await;
        assert!(!before.is_empty(), "no gap");
        for frame in before {
            assert_eq!(
                (&frame["type"], &frame["reason"]),
                (&"gap".into(), &"history".into())
            );
        }
    }
    server.stop().await;
}

// Two phases.

/// PREPARE fails after NOTIFY, so that the doorbell is set aside and the floor finds everything.
async fn two_phased() -> (Postgres, Database) {
    let settings = [("max_prepared_transactions", "5")];
    let postgres = Postgres::start(Version::Installed, &settings).await;
    let db = postgres.database().await;
    db.run("alter table rowcast.event disable trigger _900_rowcast_ring")
        .await;
    (postgres, db)
}

async fn polling(db: &Database, ring_bytes: usize) -> Server {
    serve(db, |settings| {
        settings.listener.floor = Duration::from_millis(20);
        settings.hub.ring_bytes = ring_bytes;
    })
    .await
}

async fn prepare(db: &Database, transaction: &str, names: &[&str]) {
    let client = db.client(SUPERUSER).await;
    client.batch_execute("begin").await.unwrap();
    for name in names {
        emit(&client, name).await;
    }
    let prepare = format!("prepare transaction '{transaction}'");
    client.batch_execute(&prepare).await.unwrap();
}

/// From every place between PREPARE and COMMIT PREPARED, from the ring and from the log.
#[tokio::test]
async fn a_transaction_prepared_and_committed_later_comes_once() {
    let (_postgres, db) = two_phased().await;
    let nodes = [polling(&db, 1 << 20).await, polling(&db, 0).await];
    let writer = db.client(SUPERUSER).await;
    let mut places: Vec<(String, usize)> = Vec::new();
    let mut live = Vec::new();
    for transport in TRANSPORTS {
        let mut somebody = connect(transport, &nodes[0], &token("1", "", ""), "").await;
        somebody.expect("welcome").await;
        live.push(somebody);
    }
    let mut order = vec!["one"];
    emit(&writer, "one").await;
    prepare(&db, "kept", &["kept 1", "kept 2"]).await;
    prepare(&db, "dropped", &["dropped"]).await;
    places.push((db.bookmark().await, 1));
    for (count, name) in [(2, "two"), (3, "three")] {
        emit(&writer, name).await;
        order.push(name);
        for somebody in &mut live {
            while somebody.expect("event").await["name"] != name {}
            places.push((somebody.bookmark.clone().unwrap(), count));
        }
        places.push((db.bookmark().await, count));
    }
    let finish = "rollback prepared 'dropped'";
    db.run(finish).await;
    places.push((db.bookmark().await, 3));
    db.run("commit prepared 'kept'").await;
    emit(&writer, "four").await;
    marker(&db, &["*"]).await;
    order.extend(["kept 1", "kept 2", "four"]);
    for somebody in &mut live {
        let rest = somebody.events_until("marker").await;
        let names: Vec<&Value> = rest.iter().map(|event| &event["name"]).collect();
        assert_eq!(names, order[3..], "live");
    }
    for node in &nodes {
        for (place, had) in &places {
            for transport in EVERY_TRANSPORT {
                let mut found = lacked(&db, node, transport, place).await;
                let mut lacking = order[*had..].to_vec();
                found.sort_unstable();
                lacking.sort_unstable();
                assert_eq!(found, lacking, "{transport:?} after {had}: {place}");
            }
        }
    }
    for node in nodes {
        node.stop().await;
    }
}

/// What was prepared outlives a crash, which ends the history: it comes in the next.
#[tokio::test]
async fn a_prepared_transaction_comes_in_the_history_after_a_crash() {
    let (mut postgres, db) = two_phased().await;
    let server = polling(&db, 1 << 20).await;
    let mut live = support::ws(&server, &token("1", "", ""), "").await;
    live.expect("welcome").await;
    let start = db.bookmark().await;
    prepare(&db, "kept", &["kept"]).await;
    postgres.cluster.kill9().await.unwrap();
    is_red(&server).await;
    postgres.cluster.start_again().await.unwrap();
    is_green(&server).await;
    assert_eq!(live.expect("gap").await["reason"], "history");
    let db = postgres.named(&db.name);
    let here = db.bookmark().await;
    db.run("commit prepared 'kept'").await;
    live.expect_event("kept").await;
    marker(&db, &["*"]).await;
    live.expect_event("marker").await;
    assert_gap(&server, &[&start]).await;
    for transport in EVERY_TRANSPORT {
        assert_eq!(lacked(&db, &server, transport, &here).await, ["kept"]);
    }
    server.stop().await;
}
