//! Others beside those who are compared: they stop reading, read a byte a second, or vanish.
//! Hands their habits over to their sockets, and waits until the service's own log says that they
//! are gone. It must never count one whose instance was replaced meanwhile.

use super::rig::Rig;
use crate::readers::{Habit, take_up, try_enter};
use crate::support::TRANSPORTS;
use std::io::ErrorKind;
use std::time::Duration;
use tokio::net::TcpStream;

/// Shorter than the defaults, so that their bounds can be waited for.
pub const SHORT_BOUNDS: &[(&str, &str)] = &[
    ("ROWCAST__LIMITS__WRITE_STALL_MS", "1000"),
    ("ROWCAST__WEBSOCKET__PING_S", "2"),
    // Those who are compared are to stay, however busy the machine.
    ("ROWCAST__WEBSOCKET__PONG_TIMEOUT_S", "8"),
];

/// A second without progress, or a ping and its pong; then what a busy machine and other faults add.
const BOUND: Duration = Duration::from_secs(1 + 2 + 8 + 4);

/// More than the kernel holds for one who does not read, after a few of them.
const BIG: &str = "select rowcast.emit('c', 'big', array['open:4'], to_json(repeat('x', 1000000)))";

impl Rig {
    pub async fn stalled(&self, habit: Habit) {
        // Its instance may be replaced before its time, again and again, but not for ever.
        for _ in 0..20 {
            if self.stall(habit).await {
                return;
            }
        }
        panic!("nobody that {habit:?} was cut, but by a fault of another kind");
    }

    /// Whether it was cut by the instance that it came to.
    async fn stall(&self, habit: Habit) -> bool {
        let [ws, sse] = TRANSPORTS;
        let (transport, number) = *self.turn(&[(ws, 0), (sse, 1), (ws, 1), (sse, 0)]);
        let node = &self.nodes[number];
        let address = node.process.lock().await.address.clone();
        let user = format!("stalled-{}", rand::random::<u32>());
        let entered = try_enter(&address, transport, &user, "rooms=open:4");
        let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_secs(2), entered).await else {
            return false;
        };
        let log = async || {
            let process = node.process.lock().await;
            (process.log(), process.address == address)
        };
        let (mut connection, mut same, mut ended) = (None, true, false);
        self.until(
            "somebody more is let in or refused, or its instance is gone",
            async || {
                // A WebSocket is refused after its upgrade.
                ended = ended || has_ended(&stream);
                let now = log().await;
                (connection, same) = (opened(&now.0, &user), now.1);
                connection.is_some() || ended || !same
            },
        )
        .await;
        let Some(connection) = connection.filter(|_| same) else {
            return false;
        };
        let held = take_up(habit, stream);
        // Others are heard of meanwhile, and soon.
        let hear = self.everybody_hears_of(10);
        let fill = async {
            for _ in 0..6 {
                self.done(BIG).await;
            }
        };
        tokio::join!(fill, hear);
        let (mut there, mut cut) = (true, false);
        let gone = format!("{transport:?} that {habit:?} is cut");
        self.while_green(BOUND, &gone, async || {
            let (log, same) = log().await;
            there = same;
            // It closes nothing itself while it is held: SSE that stalls is `closed` by the service.
            let why = closed(&log, &connection);
            cut = matches!(why.as_deref(), Some("lagged" | "no-pong" | "closed"));
            why.is_some() || !same
        })
        .await;
        drop(held);
        cut && there
    }
}

/// Whether the other side has closed it, behind whatever it said.
fn has_ended(stream: &TcpStream) -> bool {
    let mut said = [0; 1024];
    loop {
        match stream.try_read(&mut said) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

fn lines<'a>(log: &'a str, message: &str) -> impl Iterator<Item = serde_json::Value> + use<'a> {
    let with = format!(r#""message":"{message}""#);
    let lines = log.lines().filter(move |line| line.contains(&with));
    lines.filter_map(|line| serde_json::from_str(line).ok())
}

/// The word by which the connection of this user stands in the log.
fn opened(log: &str, user: &str) -> Option<String> {
    let mut opened = lines(log, "opened").map(|line| line["fields"].clone());
    let mine = opened.find(|fields| fields["user"] == user)?;
    mine["connection"].as_str().map(str::to_owned)
}

/// Why it was closed, if it was.
fn closed(log: &str, connection: &str) -> Option<String> {
    let mut closed = lines(log, "closed").map(|line| line["fields"].clone());
    let mine = closed.find(|fields| fields["connection"] == connection)?;
    mine["why"].as_str().map(str::to_owned)
}
