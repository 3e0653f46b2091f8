//! The scenarios: how many connections in which rooms, how many events, and what happens meanwhile.
//! Hands over a table. It must never make one server's task easier than another's.

use crate::peers::{Origin, Server};
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
pub const DROP_EVERY: Duration = Duration::from_secs(15);
pub const AWAY: Duration = Duration::from_secs(2);

/// A room of the scenarios that differ only in how many others there are.
const HUNDRED: usize = 100;

/// All scenarios, in the order in which they run.
pub fn all() -> Vec<Scenario> {
    let steady = |name, connections, rooms, rate| Scenario {
        name,
        connections,
        rooms,
        silent_rooms: 0,
        rate,
        rows: 1,
        writers: 1,
        kind: Kind::Steady,
    };
    // As many deliveries each, so that only the number of connections differs.
    let scale = |name, connections: usize| {
        steady(name, connections, connections.div_ceil(HUNDRED) as u64, 200)
    };
    // A hundred listeners, beside thousands in rooms where nothing happens.
    let silent = |name, silent_rooms| Scenario {
        silent_rooms,
        ..steady(name, 10_000, 1, 200)
    };
    vec![
        steady("room-1000", 1000, 1, 200),
        steady("room-10000", 10_000, 1, 20),
        Scenario {
            rows: 10,
            writers: 2,
            ..steady("rooms-10000", 10_000, 10_000, 5000)
        },
        Scenario {
            rows: 1000,
            kind: Kind::Burst(10_000),
            ..steady("burst", 100, 1, 0)
        },
        Scenario {
            kind: Kind::Idle,
            ..steady("idle", 10_000, 10_000, 0)
        },
        Scenario {
            kind: Kind::Drops,
            ..steady("drops", 10_000, 100, 100)
        },
        Scenario {
            kind: Kind::Avalanche,
            ..steady("avalanche", 5000, 50, 50)
        },
        Scenario {
            kind: Kind::Stalled(1),
            ..steady("stalled", 1000, 1, 100)
        },
        steady("latency-100", 100, 1, 200),
        steady("latency-1000", 1000, 1, 200),
        Scenario {
            rows: 10,
            writers: 4,
            ..steady("sustained", 1000, 1000, 15_000)
        },
        scale("scale-100", 100),
        scale("scale-1000", 1000),
        scale("scale-10000", 10_000),
        scale("scale-18000", 18_000),
        silent("scale-rooms-1", 1),
        silent("scale-rooms-100", 100),
        silent("scale-rooms-10000", 10_000),
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

    /// Whether it says anything about this server: the floor has no memory of what somebody missed,
    /// keeps nothing for those who stall, and gets no events from a database.
    pub fn is_for(&self, server: &Server) -> bool {
        let fair = matches!(self.kind, Kind::Steady | Kind::Idle);
        server.origin != Origin::Floor || (fair && self.name != "sustained")
    }

    pub fn stalled(&self) -> usize {
        match self.kind {
            Kind::Stalled(percent) => self.connections * percent / 100,
            _ => 0,
        }
    }
}
