//! Readers that stop, crawl or vanish: each is cut within its bound, the service's memory stays
//! within its own, and nobody else waits. Who vanishes is a socket whose kernel drops whatever
//! comes (a filter of its own), so that neither bytes nor FIN nor so much as an ACK go out any more.

use crate::support::{
    self, Database, SLACK, Server, Subscriber, TRANSPORTS, Transport, connect, eventually, get,
    let_in, long_replay, marker, metric, reluctant, serve, serve_process, token, within, ws,
};
use rowcast::command::postgres::SUPERUSER;
use rowcast::config::Settings;
use serde_json::Value;
use socket2::{SockFilter, SockRef};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SECOND: Duration = Duration::from_secs(1);

/// How long the others may wait: less than for a stall, in which whoever is held could hold them up, and
/// more than a statement and a look take on a busy machine.
const SOON: Duration = Duration::from_secs(8);

/// Events of this many bytes to a room.
const BIG: &str = "select rowcast.emit('c', 'big', array[$1], to_json(repeat('x', $2)))";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    Stops,
    Crawls,
    Vanishes,
}

/// Somebody who is let in by this transport, has the first byte of an answer, and a small buffer.
async fn enter(address: &str, transport: Transport, user: &str, query: &str) -> TcpStream {
    let entered = try_enter(address, transport, user, query);
    within("an answer", entered).await.expect("an answer")
}

/// The same, where nobody may be there, or nobody may answer.
pub async fn try_enter(
    address: &str,
    transport: Transport,
    user: &str,
    query: &str,
) -> std::io::Result<TcpStream> {
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let (path, more) = match transport {
        Transport::WebSocket => ("/ws", upgrade),
        Transport::Sse => ("/sse", ""),
        Transport::Poll => panic!("a poll does not stay open"),
    };
    let token = token(user, "", "");
    let request = format!("GET {path}?token={token}&{query} HTTP/1.1\r\nhost: x\r\n{more}\r\n");
    let mut stream = reluctant(address, &request).await?;
    let mut first = [0; 1];
    stream.read_exact(&mut first).await?;
    Ok(stream)
}

/// What becomes of it. The socket is open as long as this is held.
pub struct Held {
    crawl: Option<tokio::task::JoinHandle<()>>,
    _stream: Option<TcpStream>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(crawl) = &self.crawl {
            crawl.abort();
        }
    }
}

pub fn take_up(habit: Habit, mut stream: TcpStream) -> Held {
    match habit {
        Habit::Stops => {}
        Habit::Crawls => {
            let crawl = tokio::spawn(async move {
                let mut byte = [0; 1];
                while stream.read_exact(&mut byte).await.is_ok() {
                    tokio::time::sleep(SECOND).await;
                }
            });
            return Held {
                crawl: Some(crawl),
                _stream: None,
            };
        }
        Habit::Vanishes => {
            // BPF: return 0, which means to keep nothing of any packet.
            let nothing = SockFilter::new(0x06, 0, 0, 0);
            SockRef::from(&stream)
                .attach_filter(&[nothing])
                .expect("a filter on one's own socket needs no privilege");
        }
    }
    Held {
        crawl: None,
        _stream: Some(stream),
    }
}

fn shortened(settings: &mut Settings) {
    settings.limits.write_stall = SECOND;
    settings.websocket.ping = SECOND;
    // The others answer only while they are looked at.
    settings.websocket.pong_timeout = 4 * SECOND;
    settings.websocket.heartbeat = SECOND;
    settings.sse.heartbeat = SECOND;
}

async fn seated(server: &Server, count: usize) {
    eventually(&format!("{count} are in"), async || {
        (server.gate.hub.sizes().subscriptions == count).then_some(())
    })
    .await;
}

/// Two who read, by each transport.
async fn others(server: &Server) -> Vec<Subscriber> {
    let mut others = Vec::new();
    for transport in TRANSPORTS {
        let mut other = connect(transport, server, &token("1", "", ""), "rooms=r:healthy").await;
        other.expect("welcome").await;
        others.push(other);
    }
    others
}

/// An event to those who read reaches them soon, and the service stays ready.
async fn assert_no_delay(db: &Database, server: &Server, others: &mut [Subscriber]) {
    let began = Instant::now();
    marker(db, &["r:healthy"]).await;
    for other in others {
        other.frames_until("marker").await;
    }
    let delay = began.elapsed();
    assert!(delay < SOON, "the others waited {delay:?}");
    assert_eq!(get(server, "/readyz", &[]).await.status, 200);
}

async fn database() -> Database {
    support::database().await.with_open_rooms().await
}

/// In a quiet hour nothing waits for it that could grow: pings and heartbeats have to notice.
#[tokio::test]
async fn who_is_gone_is_cut_in_the_time_of_a_ping_or_a_heartbeat() {
    let db = database().await;
    let server = serve(&db, shortened).await;
    let mut others = others(&server).await;
    for (habit, transport, bound) in [
        // A ping and its pong, looked at in whole seconds: what stands between may acknowledge for
        // somebody who is gone.
        (Habit::Stops, Transport::WebSocket, 7 * SECOND),
        (Habit::Vanishes, Transport::WebSocket, 7 * SECOND),
        // A heartbeat, which nobody acknowledges for the time of a stall.
        (Habit::Vanishes, Transport::Sse, 2 * SECOND),
    ] {
        let stream = enter(&server.address, transport, "2", "").await;
        seated(&server, 3).await;
        let began = Instant::now();
        let held = take_up(habit, stream);
        while server.gate.seats.taken() > 2 {
            assert!(
                began.elapsed() < bound + SLACK,
                "{transport:?} that {habit:?} is still in after {:?}",
                began.elapsed()
            );
            assert_no_delay(&db, &server, &mut others).await;
        }
        seated(&server, 2).await;
        drop(held);
    }
    server.stop().await;
}

/// With the defaults, too, a ping comes before the heartbeat is due.
#[tokio::test]
async fn a_ping_does_not_stand_for_the_heartbeat() {
    let db = database().await;
    let server = serve(&db, |settings| {
        settings.websocket.heartbeat = SECOND;
        settings.websocket.ping = SECOND / 4;
    })
    .await;
    let query = "rooms=r:1";
    let mut quiet = connect(Transport::WebSocket, &server, &token("1", "", ""), query).await;
    quiet.expect("welcome").await;
    let heartbeat = quiet.next().await;
    assert_eq!(heartbeat["type"], "heartbeat");
    assert!(heartbeat["bookmark"].is_string(), "{heartbeat}");
    server.stop().await;
}

#[tokio::test]
async fn who_asks_for_pongs_and_takes_none_is_cut() {
    let db = database().await;
    let server = serve(&db, |settings| settings.limits.queue_bytes = 300_000).await;
    // An empty one counts, too.
    for length in [125, 0] {
        let mut stream = enter(&server.address, Transport::WebSocket, "2", "").await;
        seated(&server, 1).await;
        let payload = vec![b'x'; usize::from(length)];
        let ping = [&[0x89, 0x80 | length, 0, 0, 0, 0][..], &payload].concat();
        let pings = ping.repeat(100);
        let asking = async { while stream.write_all(&pings).await.is_ok() {} };
        within("the cut", asking).await;
        seated(&server, 0).await;
    }
    server.stop().await;
}

/// Nothing waits for who was cut, and only the two others are there.
async fn nothing_is_left(server: &Server, of: &str) {
    eventually(&format!("nothing waits for {of}"), async || {
        // The others have their marker a moment before their queue says so.
        (server.gate.hub.sizes().queue_bytes == 0).then_some(())
    })
    .await;
    seated(server, 2).await;
}

/// Under load its queue fills: whatever its habit, it is cut once that is full, and what waited for
/// it is let go. Nobody else waits meanwhile.
#[tokio::test]
async fn who_falls_behind_is_cut_when_its_queue_is_full() {
    let db = database().await;
    let limit = 300_000;
    let server = serve(&db, |settings| settings.limits.queue_bytes = limit).await;
    let mut others = others(&server).await;
    let writer = db.client(SUPERUSER).await;
    for transport in TRANSPORTS {
        for habit in [Habit::Stops, Habit::Crawls, Habit::Vanishes] {
            let stream = enter(&server.address, transport, "2", "rooms=r:slow").await;
            seated(&server, 3).await;
            let held = take_up(habit, stream);
            eventually(
                &format!("{transport:?} that {habit:?} is cut"),
                async || {
                    writer.execute(BIG, &[&"r:slow", &50_000]).await.unwrap();
                    assert_no_delay(&db, &server, &mut others).await;
                    let waiting = server.gate.hub.sizes().queue_bytes;
                    assert!(waiting <= limit + 60_000, "{waiting} bytes wait");
                    (server.gate.seats.taken() == 2).then_some(())
                },
            )
            .await;
            nothing_is_left(&server, &format!("{transport:?} that {habit:?}")).await;
            drop(held);
        }
    }
    server.stop().await;
}

/// With room in its queue, it is the time without progress that cuts it.
#[tokio::test]
async fn who_takes_nothing_is_cut_after_the_time_of_a_stall() {
    let db = database().await;
    let server = serve(&db, |settings| {
        settings.limits.queue_bytes = 64 << 20;
        settings.limits.write_stall = SECOND;
    })
    .await;
    let mut others = others(&server).await;
    let writer = db.client(SUPERUSER).await;
    for transport in TRANSPORTS {
        for habit in [Habit::Stops, Habit::Crawls, Habit::Vanishes] {
            let stream = enter(&server.address, transport, "2", "rooms=r:slow").await;
            seated(&server, 3).await;
            let held = take_up(habit, stream);
            // More than the kernel takes for a reader that reads nothing.
            for _ in 0..8 {
                writer.execute(BIG, &[&"r:slow", &1_000_000]).await.unwrap();
            }
            server.has_read(&db).await;
            let began = Instant::now();
            while server.gate.seats.taken() > 2 {
                assert!(
                    began.elapsed() < 2 * SECOND + SLACK,
                    "{transport:?} that {habit:?} is still in after {:?}",
                    began.elapsed()
                );
                assert_no_delay(&db, &server, &mut others).await;
            }
            nothing_is_left(&server, &format!("{transport:?} that {habit:?}")).await;
            drop(held);
        }
    }
    server.stop().await;
}

/// While many are held, with bytes that wait for each, everybody else receives everything at once.
#[tokio::test]
async fn the_held_ones_hold_nobody_up() {
    let db = database().await;
    let server = serve(&db, |settings| {
        // For as long as all of it may take.
        settings.limits.write_stall = Duration::from_secs(600);
        settings.websocket.ping = Duration::from_secs(600);
    })
    .await;
    let mut others = others(&server).await;
    let writer = db.client(SUPERUSER).await;
    let mut held = Vec::new();
    for number in 0..40 {
        let (transport, user) = (TRANSPORTS[number % 2], (number / 10 + 10).to_string());
        let stream = enter(&server.address, transport, &user, "rooms=r:slow").await;
        held.push(take_up(
            [Habit::Stops, Habit::Crawls][number / 2 % 2],
            stream,
        ));
    }
    seated(&server, 42).await;
    // More than must be left: what lies in the kernel's buffers may still grow a little.
    eventually("bytes wait for them", async || {
        writer.execute(BIG, &[&"r:slow", &100_000]).await.unwrap();
        // Not many at one look: their queues would be full.
        server.has_read(&db).await;
        (server.gate.hub.sizes().queue_bytes > 40 * 200_000).then_some(())
    })
    .await;
    let began = Instant::now();
    for _ in 0..100 {
        assert_no_delay(&db, &server, &mut others).await;
    }
    let took = began.elapsed() / 100;
    assert!(took < SECOND / 2, "{took:?} an event");
    assert_eq!(server.gate.seats.taken(), 42, "all are still held");
    assert!(server.gate.hub.sizes().queue_bytes > 40 * 100_000);
    server.stop().await;
}

/// Resident memory of a process, now and at its highest, in bytes.
fn resident(pid: u32) -> (usize, usize) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| -> usize {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<usize>()
            .unwrap()
            * 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// Two hundred who read nothing, each in a room of its own, so that no two share an event, and four
/// times as much for each as it may have waiting.
#[tokio::test]
async fn memory_stays_within_its_bound_however_many_stall() {
    const READERS: usize = 200;
    const QUEUE: usize = 64 * 1024;
    const EVENT: usize = 8000;
    const EACH: usize = 100;
    let db = database().await;
    let program = serve_process(
        &db,
        &[
            ("ROWCAST__LIMITS__QUEUE_BYTES", &QUEUE.to_string()),
            ("ROWCAST__HUB__RING_BYTES", "1048576"),
            // Who reads nothing gives no pong: it is its queue that is to cut it.
            ("ROWCAST__WEBSOCKET__PING_S", "600"),
        ],
    )
    .await;
    let mut held = Vec::new();
    for number in 0..READERS {
        let (transport, user) = (TRANSPORTS[number % 2], (number / 50 + 10).to_string());
        let query = format!("rooms=r:{number}");
        held.push(enter(&program.address, transport, &user, &query).await);
    }
    let mut other = support::ws(&program, &token("1", "", ""), "rooms=r:healthy").await;
    other.expect("welcome").await;
    eventually("all are in", async || {
        (metric(&program, "rowcast_subscriptions").await >= (READERS + 1) as f64).then_some(())
    })
    .await;
    let (before, _) = resident(program.pid());

    let writer = db.client(SUPERUSER).await;
    let round = "select count(rowcast.emit('c', 'big', array['r:' || room], to_json(repeat('x', $1)))) \
                 from generate_series(0, $2 - 1) room";
    let (size, readers) = (EVENT as i32, READERS as i32);
    let (mut most_waiting, mut latest) = (0.0_f64, Duration::ZERO);
    for _ in 0..EACH {
        writer.execute(round, &[&size, &readers]).await.unwrap();
        let began = Instant::now();
        marker(&db, &["r:healthy"]).await;
        other.expect_event("marker").await;
        latest = latest.max(began.elapsed());
        let waiting = metric(&program, "rowcast_queue_bytes").await;
        most_waiting = most_waiting.max(waiting);
    }
    assert_eq!(get(&program, "/readyz", &[]).await.status, 200);
    let (_, highest) = resident(program.pid());
    let grown = highest.saturating_sub(before);

    // What waits, what was taken to be written, and its text; the ring; what the allocator keeps.
    let bound = READERS * (3 * QUEUE + 16 * 1024) + (20 << 20);
    assert!(
        READERS * EACH * EVENT > 3 * bound / 2,
        "a flood that would show"
    );
    assert!(
        grown < bound,
        "{grown} bytes more than before, {bound} are allowed"
    );
    assert!(
        most_waiting > (READERS * QUEUE / 4) as f64,
        "little ever waited"
    );
    assert!(most_waiting <= (READERS * (QUEUE + EVENT + 500)) as f64);
    assert!(latest < SOON, "the other waited {latest:?}");
    eventually("all are counted as lagged", async || {
        let lagged = metric(
            &program,
            "rowcast_connections_closed_total{reason=\"lagged\"}",
        )
        .await;
        (lagged >= READERS as f64).then_some(())
    })
    .await;
    drop(held);
}

/// A hundred who came back for 16 MB each, and read nothing, held 1.5 GB for one user.
#[tokio::test]
async fn replays_that_are_not_taken_are_bounded_for_each_user() {
    let db = database().await;
    let (since, count) = long_replay(&db, "*").await;
    let server = serve(&db, |settings| {
        settings.limits.connections_per_user = 2;
        settings.limits.write_stall = 60 * SECOND;
    })
    .await;
    let query = format!("since={since}");
    let mut held = enter(&server.address, Transport::Sse, "1", &query).await;
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains("rowcast:welcome") {
        let read = within("the welcome", held.read_buf(&mut answer)).await;
        assert!(read.expect("the welcome") > 0);
    }
    let (code, reason) = ws(&server, &token("1", "", ""), &query)
        .await
        .closed()
        .await;
    assert_eq!(code, 1013, "{reason}");
    let polled = format!("/poll?token={}&{query}", token("1", "", ""));
    let polled = get(&server, &polled, &[]).await;
    assert_eq!(polled.status, 503, "{polled:?}");
    // Of others nothing is held against it, nor of itself once that is gone.
    let mut other = let_in(&server, &token("2", "", ""), &query).await;
    let recovered = other.expect("subscribed").await;
    assert_eq!(recovered["count"], count, "{recovered}");
    drop((held, other));
    seated(&server, 0).await;
    let mut again = let_in(&server, &token("1", "", ""), &query).await;
    again.expect("subscribed").await;
    server.stop().await;
}

/// Who was cut comes back with its last bookmark, and lacks nothing.
#[tokio::test]
async fn who_was_cut_comes_back_and_lacks_nothing() {
    let db = database().await;
    let server = serve(&db, |settings| {
        settings.limits.queue_bytes = 300_000;
        // All that is written until it is seen that it was cut.
        settings.limits.replay_bytes = 1 << 30;
    })
    .await;
    let writer = db.client(SUPERUSER).await;
    let emit =
        "select rowcast.emit('c', 'big', array['r:slow'], to_json($1 || repeat('x', 200000)))";
    for transport in TRANSPORTS {
        let token = token("2", "", "");
        let mut slow = connect(transport, &server, &token, "rooms=r:slow").await;
        slow.expect("welcome").await;
        let mut written = 0;
        eventually("it is cut", async || {
            written += 1;
            writer
                .execute(emit, &[&format!("{written:06}")])
                .await
                .unwrap();
            server.has_read(&db).await;
            (server.gate.seats.taken() == 0).then_some(())
        })
        .await;
        let number = |frame: &Value| frame["data"].as_str().unwrap()[..6].parse::<i32>().unwrap();
        let (code, reason) = slow.closed().await;
        assert!(
            [4000, 1006, 200].contains(&code),
            "{transport:?}: {code} {reason}"
        );
        let events = slow
            .received
            .iter()
            .filter(|frame| frame["type"] == "event");
        let mut had: Vec<i32> = events.map(number).collect();
        assert!(had.len() < written as usize, "it lagged");
        marker(&db, &["r:slow"]).await;
        let query = format!("rooms=r:slow&since={}", slow.bookmark.unwrap());
        let mut back = connect(transport, &server, &token, &query).await;
        back.expect("welcome").await;
        let subscribed = back.expect("subscribed").await;
        assert_eq!(
            subscribed["outcome"],
            "recovered",
            "{transport:?} {written}, had {}: {subscribed}",
            had.len()
        );
        had.extend(back.events_until("marker").await.iter().map(number));
        assert_eq!(had, (1..=written).collect::<Vec<_>>(), "{transport:?}");
        drop(back);
        seated(&server, 0).await;
    }
    server.stop().await;
}
