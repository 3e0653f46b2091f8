//! What a delivered message and an idle connection cost, counted and not timed, so that any machine
//! finds the same: allocations, bytes and system calls. Whoever makes one of them grow changes
//! [`BOUNDS`], and says why.

use crate::support::{Database, PATIENCE, database, settings};

/// The service alone on a thread, its allocations counted.
mod counted;
/// Those who listen: sockets without a library, which count what they hear.
mod crowd;
/// The program itself under strace.
#[cfg(target_os = "linux")]
mod traced;

use allocation_counter::AllocationInfo;
use counted::Counted;
use crowd::{Crowd, Way};
use rowcast::database::Listening;
use std::sync::Arc;

/// For one more connection, all else being equal.
struct Bound {
    way: Way,
    /// Live heap of a connection with one subscription, in bytes; the kernel's part is not seen.
    idle_bytes: f64,
    /// What a long message leaves of that with a connection, once it is delivered.
    left_bytes: f64,
    /// For a message that is delivered alone.
    allocations: f64,
    /// Bytes allocated for it.
    allocated_bytes: f64,
    /// How often a message itself is copied: bytes allocated for each byte that makes it longer.
    copies: f64,
    /// On Linux. System calls that write, for a message that is delivered alone, and for twenty committed at once.
    writes: f64,
    writes_of_a_batch: f64,
    /// All system calls for a message that is delivered alone.
    calls: f64,
}

/// As measured in a debug build, and room for what varies there: a tenth of an idle connection, a part
/// of one allocation (tasks that are shared by a hundred), now and then a thread that wakes another.
const BOUNDS: [Bound; 3] = [
    Bound {
        way: Way::WebSocket,
        idle_bytes: 5_200.0,
        left_bytes: 100.0,
        allocations: 0.2,
        allocated_bytes: 40.0,
        copies: 0.02,
        writes: 1.1,
        writes_of_a_batch: 1.1,
        calls: 1.2,
    },
    Bound {
        way: Way::Sse,
        idle_bytes: 5_700.0,
        left_bytes: 100.0,
        allocations: 0.2,
        allocated_bytes: 40.0,
        copies: 0.02,
        writes: 1.1,
        writes_of_a_batch: 1.1,
        calls: 1.2,
    },
    Bound {
        way: Way::SocketIo,
        idle_bytes: 8_900.0,
        left_bytes: 100.0,
        allocations: 0.2,
        allocated_bytes: 40.0,
        copies: 0.02,
        writes: 1.1,
        writes_of_a_batch: 1.1,
        calls: 1.2,
    },
];

/// Bytes of a usual message, and of one that nobody would copy unseen.
const SHORT: usize = 300;
const LONG: usize = 30_300;

/// Messages of a measurement, each delivered before the next is written.
const MESSAGES: usize = 20;

/// Transactions of as many messages each.
const BATCHES: usize = 5;

/// Connections that are there first: so many that their messages are left to tasks, for the thread of
/// the listener is not counted.
const FIRST: usize = 200;

/// Connections that a measurement adds.
const MORE: usize = 100;

async fn with_rules() -> Arc<Database> {
    Arc::new(database().await.with_open_rooms().await)
}

/// Messages of that many bytes, one transaction each; each is heard by all before the next.
async fn one_by_one(database: &Database, crowd: &mut Crowd, bytes: usize) {
    for _ in 0..MESSAGES {
        emit(database, 1, bytes).await;
        crowd.hears(1).await;
    }
}

/// That many messages in one transaction.
async fn emit(database: &Database, messages: usize, bytes: usize) {
    let padding = bytes - r#"{"said":"@@"}"#.len();
    let sql = format!(
        "insert into rowcast.event (channel, name, rooms, data)
         select 'c', 'e', array['r:1'], json_build_object('said', '@@' || repeat('x', {padding}))
         from generate_series(1, {messages})"
    );
    database.run(&sql).await;
}

/// What lies above its bound.
#[derive(Default)]
struct Above(Vec<String>);

impl Above {
    fn judge(&mut self, way: Way, what: &str, found: f64, bound: f64) {
        println!("{way:?}: {what}: {found:.2} of {bound}");
        if found > bound {
            self.0
                .push(format!("{way:?}: {what}: {found:.2}, at most {bound}"));
        }
    }

    fn is_nothing(&self) {
        assert!(self.0.is_empty(), "it costs more:\n{}", self.0.join("\n"));
    }
}

/// A service that is counted, and nobody there yet.
async fn scene(way: Way) -> (Arc<Database>, Counted, Crowd) {
    let database = with_rules().await;
    let service = Counted::open(&database).await;
    let crowd = Crowd::new(way, &service.address);
    (database, service, crowd)
}

#[tokio::test]
async fn an_idle_connection_keeps_little_memory() {
    let mut above = Above::default();
    for bound in BOUNDS {
        let (_database, service, mut crowd) = scene(bound.way).await;
        // What the first ones need to be known at all: plans, pools, tables.
        service.during(crowd.grows(FIRST)).await;
        let kept = service.during(crowd.grows(2 * MORE)).await.bytes_current;
        let each = kept as f64 / (2 * MORE) as f64;
        above.judge(
            bound.way,
            "bytes of an idle connection",
            each,
            bound.idle_bytes,
        );
        service.close(crowd).await;
    }
    above.is_nothing();
}

#[tokio::test]
async fn a_delivered_message_allocates_little_and_copies_nothing() {
    let mut above = Above::default();
    for bound in BOUNDS {
        let (database, service, mut crowd) = scene(bound.way).await;
        let mut found = Vec::new();
        for more in [FIRST, MORE] {
            service.during(crowd.grows(more)).await;
            // Buffers that grow once and stay belong to the idle connection.
            service
                .during(one_by_one(&database, &mut crowd, LONG))
                .await;
            for bytes in [SHORT, LONG] {
                let heard = one_by_one(&database, &mut crowd, bytes);
                found.push(service.during(heard).await);
            }
        }
        let more = |of: fn(&allocation_counter::AllocationInfo) -> f64, length: usize| {
            (of(&found[length + 2]) - of(&found[length])) / (MORE * MESSAGES) as f64
        };
        let way = bound.way;
        let count = more(|info| info.count_total as f64, 0);
        above.judge(way, "allocations for a message", count, bound.allocations);
        let short = more(|info| info.bytes_total as f64, 0);
        above.judge(
            way,
            "bytes allocated for a message",
            short,
            bound.allocated_bytes,
        );
        let long = more(|info| info.bytes_total as f64, 1);
        let copies = (long - short) / (LONG - SHORT) as f64;
        above.judge(way, "copies of a message", copies, bound.copies);
        service.close(crowd).await;
    }
    above.is_nothing();
}

#[tokio::test]
async fn a_long_message_leaves_nothing_behind() {
    let mut above = Above::default();
    for bound in BOUNDS {
        let (database, service, mut crowd) = scene(bound.way).await;
        let mut kept = Vec::new();
        // Both times the ring keeps one message, whoever listens.
        for more in [FIRST, FIRST + MORE] {
            service.during(crowd.grows(more)).await;
            let heard = async {
                emit(&database, 1, LONG).await;
                crowd.hears(1).await;
            };
            kept.push(service.during(heard).await.bytes_current as f64);
        }
        let each = (kept[1] - kept[0]) / MORE as f64;
        above.judge(
            bound.way,
            "bytes left by a long message",
            each,
            bound.left_bytes,
        );
        service.close(crowd).await;
    }
    above.is_nothing();
}

/// Events of one transaction; and the most that reading it may take of what they keep. Its rows alone take
/// half as much again.
const LARGE: usize = 20_000;
const LARGE_TAKES: f64 = 2.0;

/// It becomes visible whole, so it is read whole.
#[tokio::test]
async fn a_large_transaction_is_in_memory_once() {
    let database = with_rules().await;
    let read = tokio::task::spawn_blocking(move || read_large(&database));
    let read = read.await.expect("no panic");
    let share = read.bytes_max as f64 / read.bytes_current as f64;
    assert!(share < LARGE_TAKES, "{share:.2} times what it keeps");
}

/// On a thread of its own, so that what is counted is what reads.
fn read_large(database: &Database) -> AllocationInfo {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let connect = settings(database).database;
    let (listening, from) = runtime.block_on(async {
        let listening = Listening::open(&database.service_url, &connect).await;
        let listening = listening.expect("a connection");
        let from = listening.standpoint().await.expect("a place");
        emit(database, LARGE, SHORT).await;
        (listening, from)
    });
    let mut looked = None;
    let read = allocation_counter::measure(|| {
        let look = runtime.block_on(listening.look(&from, None, PATIENCE));
        looked = look.expect("an answer");
    });
    let looked = looked.expect("of the same history");
    assert_eq!(looked.batch.events.len(), LARGE);
    read
}

/// Writes for a message, system calls for a message, and writes for a batch.
#[cfg(target_os = "linux")]
async fn system_calls(way: Way) -> [f64; 3] {
    let database = with_rules().await;
    let mut program = traced::Traced::start(&database).await;
    let mut crowd = Crowd::new(way, program.address());
    let mut found = Vec::new();
    for more in [FIRST, MORE] {
        crowd.grows(more).await;
        found.push(
            program
                .during(one_by_one(&database, &mut crowd, SHORT))
                .await,
        );
        let batch = async {
            for _ in 0..BATCHES {
                emit(&database, MESSAGES, SHORT).await;
                crowd.hears(MESSAGES).await;
            }
        };
        found.push(program.during(batch).await);
    }
    let messages = (MORE * MESSAGES) as f64;
    [
        (found[2].writes - found[0].writes) / messages,
        (found[2].all - found[0].all) / messages,
        (found[3].writes - found[1].writes) / (MORE * BATCHES) as f64,
    ]
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_batch_is_one_system_call() {
    let mut above = Above::default();
    for bound in BOUNDS {
        let judged = [
            ("writes for a message", bound.writes),
            ("system calls for a message", bound.calls),
            ("writes for a batch", bound.writes_of_a_batch),
        ];
        let mut least = [f64::INFINITY; 3];
        // How often threads wake each other depends on what else the machine does; what we do ourselves
        // is there in each of three runs.
        for _ in 0..3 {
            let found = system_calls(bound.way).await;
            least = std::array::from_fn(|one| least[one].min(found[one]));
            if (0..3).all(|one| least[one] <= judged[one].1) {
                break;
            }
        }
        for ((what, most), found) in judged.into_iter().zip(least) {
            above.judge(bound.way, what, found, most);
        }
    }
    above.is_nothing();
}
