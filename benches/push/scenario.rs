//! The scenarios: how many connections in which rooms, how many events, and what happens meanwhile.
//! Hands over a table. It must never make one server's task easier than another's.

use crate::crowd::Dropping;
use crate::peers::Server;
use std::time::Duration;

/// One scenario for one server.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub connections: usize,
    /// How many rooms events go to, one after the other.
    pub rooms: u64,
    /// Rooms that hold nobody but those who are too many for those: nothing happens in them.
    pub silent_rooms: u64,
    /// Events a second; 0: as fast as they can be written.
    pub rate: u64,
    /// Rows of one statement.
    pub rows: u64,
    /// Connections that write.
    pub writers: usize,
    pub kind: Kind,
    /// Whether the server leaves the crowd's core to it, for it is CPU time that is compared.
    pub apart: bool,
    /// Whether system calls are counted as well.
    pub traced: bool,
    /// Whose measurement holds for it, too, where that is in the same run.
    pub same_as: &'static str,
    /// Whom it is for by default, so that a run ends before one stops waiting for it.
    pub servers: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Events at a rate, for as long as asked.
    Steady,
    /// So many events at once.
    Burst(u64),
    /// Nothing but connections.
    Idle,
    /// Connections drop and come back.
    Drops,
    /// The server restarts.
    Avalanche,
    /// So many percent of the readers stop reading.
    Stalled(usize),
}

/// How often a dropping connection drops, and for how long.
pub const DROPPING: Dropping = Dropping {
    every: Duration::from_secs(15),
    away: Duration::from_secs(2),
};

/// A room of the scenarios that differ only in how many others there are.
const HUNDRED: usize = 100;

/// All there are, between the floors.
const ALL: &[&str] = &[
    "floor",
    "rowcast-ws",
    "rowcast-sse",
    "rowcast-socketio",
    "socketio",
    "socketio-redis",
    "ws",
    "nchan",
    "nchan-sse",
    "floor-listen",
];

/// All that are compared by their cost.
const EVERYBODY: &[&str] = ALL.split_at(ALL.len() - 1).0;

/// Where it matters how soon an event is there: the floor hears of it as the others do.
const HEARD: &[&str] = ALL.split_at(1).1;

/// One of each kind.
const CHIEF: &[&str] = &[
    "floor",
    "rowcast-ws",
    "rowcast-sse",
    "rowcast-socketio",
    "socketio",
    "ws",
    "nchan",
];

/// The same, where there is nothing to compare with the floor: it has no database and no patience.
const SERVED: &[&str] = CHIEF.split_at(1).1;

/// Where connections are lost and come back.
const RETURNING: &[&str] = &[
    "rowcast-ws",
    "rowcast-sse",
    "rowcast-socketio",
    "socketio",
    "ws",
];

/// Where it is the number of connections that matters.
const SCALING: &[&str] = &["floor", "rowcast-ws", "ws"];

/// All scenarios, in the order in which they run.
pub fn all() -> Vec<Scenario> {
    let mut all = steady();
    all.extend(eventful());
    all.extend(scaling());
    all
}

const fn scenario(name: &'static str, connections: usize, rooms: u64, rate: u64) -> Scenario {
    Scenario {
        name,
        connections,
        rooms,
        silent_rooms: 0,
        rate,
        rows: 1,
        writers: 1,
        kind: Kind::Steady,
        apart: false,
        traced: false,
        same_as: "",
        servers: CHIEF,
    }
}

fn steady() -> Vec<Scenario> {
    vec![
        // So few that none waits for another: nothing can be written together, even under strace.
        Scenario {
            apart: true,
            traced: true,
            servers: EVERYBODY,
            ..scenario("room-1000-calm", 1000, 1, 50)
        },
        Scenario {
            traced: true,
            servers: EVERYBODY,
            ..scenario("room-1000", 1000, 1, 200)
        },
        scenario("room-10000", 10_000, 1, 20),
        Scenario {
            rows: 10,
            writers: 2,
            servers: EVERYBODY,
            ..scenario("rooms-10000", 10_000, 10_000, 5000)
        },
        Scenario {
            traced: true,
            servers: HEARD,
            ..scenario("latency-100", 100, 1, 200)
        },
        Scenario {
            traced: true,
            same_as: "room-1000",
            servers: HEARD,
            ..scenario("latency-1000", 1000, 1, 200)
        },
        Scenario {
            // Enough of them in a statement that it is not the writers who are measured.
            rows: 50,
            writers: 4,
            servers: SERVED,
            ..scenario("sustained", 1000, 1000, 15_000)
        },
    ]
}

fn eventful() -> Vec<Scenario> {
    vec![
        Scenario {
            rows: 1000,
            kind: Kind::Burst(10_000),
            servers: SERVED,
            ..scenario("burst", 100, 1, 0)
        },
        Scenario {
            kind: Kind::Idle,
            servers: EVERYBODY,
            ..scenario("idle", 10_000, 10_000, 0)
        },
        Scenario {
            kind: Kind::Drops,
            servers: RETURNING,
            ..scenario("drops", 10_000, 100, 100)
        },
        Scenario {
            kind: Kind::Avalanche,
            servers: RETURNING,
            ..scenario("avalanche", 5000, 50, 50)
        },
        Scenario {
            kind: Kind::Stalled(1),
            servers: SERVED,
            ..scenario("stalled", 1000, 1, 100)
        },
    ]
}

fn scaling() -> Vec<Scenario> {
    // As many deliveries each, so that only the number of connections differs.
    let connections = |name, connections: usize| Scenario {
        servers: SCALING,
        ..scenario(name, connections, connections.div_ceil(HUNDRED) as u64, 200)
    };
    // A hundred listeners, beside thousands in rooms where nothing happens.
    let rooms = |name, silent_rooms| Scenario {
        silent_rooms,
        servers: &["rowcast-ws"],
        ..scenario(name, 10_000, 1, 200)
    };
    vec![
        connections("scale-100", 100),
        connections("scale-1000", 1000),
        connections("scale-10000", 10_000),
        connections("scale-18000", 18_000),
        rooms("scale-rooms-1", 1),
        rooms("scale-rooms-100", 100),
        rooms("scale-rooms-10000", 10_000),
    ]
}

impl Scenario {
    /// The room of each connection.
    pub fn seats(&self) -> Vec<u64> {
        let seat = |number: usize| match self.silent_rooms {
            0 => number as u64 % self.rooms,
            _ if number < HUNDRED => number as u64 % self.rooms,
            silent => self.rooms + number as u64 % silent,
        };
        (0..self.connections).map(seat).collect()
    }

    /// Whether it tells something about this server, if nobody has asked for it by name.
    pub fn is_for(&self, server: &Server) -> bool {
        self.servers.contains(&server.name)
    }

    pub fn stalled(&self) -> usize {
        match self.kind {
            Kind::Stalled(percent) => self.connections * percent / 100,
            _ => 0,
        }
    }
}
