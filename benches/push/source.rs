//! Where events come from: rows inserted at a rate, the same for all servers, or orders to the floor.
//! Hands over nothing; servers hear of it by themselves. It must never wait for a reader.

use crate::Failure;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::{Client, Statement};

/// Bytes of an event's payload.
const PAYLOAD: usize = 300;

/// Those around number and padding: `{"n":,"t":1700000000.123456,"padding":""}`.
const AROUND: usize = 41;

/// `$1` to `$2`, one room of `$3` after the other.
const INSERT: &str = "
insert into bench.event (n, room, padding)
select i, 'r' || (i % $3::bigint), repeat('x', 259 - length(i::text))
from generate_series($1::bigint, $2::bigint) i";

/// Which events, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    pub first: u64,
    pub count: u64,
    pub rooms: u64,
    /// Events a second; 0: as fast as they are taken.
    pub rate: u64,
    /// Rows of one statement, which is a transaction.
    pub rows: u64,
}

/// Connections that write, each its share of the statements.
pub struct Writers {
    clients: Vec<(Client, Statement)>,
}

impl Writers {
    pub async fn prepare(clients: Vec<Client>) -> Result<Self, Failure> {
        let mut prepared = Vec::new();
        for client in clients {
            let insert = client.prepare(INSERT).await?;
            prepared.push((client, insert));
        }
        Ok(Self { clients: prepared })
    }

    /// Writes them all; each statement at its time, or as soon as the one before it is committed.
    pub async fn write(&self, flow: Flow) -> Result<(), Failure> {
        let began = Instant::now();
        let share = |number: usize| self.share(number, flow, began);
        let shares = (0..self.clients.len()).map(share);
        futures_util::future::try_join_all(shares).await?;
        Ok(())
    }

    async fn share(&self, number: usize, flow: Flow, began: Instant) -> Result<(), Failure> {
        let (client, insert) = &self.clients[number];
        let mut statement = number as u64;
        while statement * flow.rows < flow.count {
            let done = statement * flow.rows;
            if flow.rate > 0 {
                let due = Duration::from_secs_f64(done as f64 / flow.rate as f64);
                tokio::time::sleep_until(began + due).await;
            }
            let first = i64::try_from(flow.first + done)?;
            let last = first + i64::try_from(flow.rows.min(flow.count - done))? - 1;
            let rooms = i64::try_from(flow.rooms)?;
            client.execute(insert, &[&first, &last, &rooms]).await?;
            statement += self.clients.len() as u64;
        }
        Ok(())
    }
}

/// What the database makes of a row, for the floor.
pub fn payload(n: u64, now: i64) -> String {
    let digits = n.checked_ilog10().unwrap_or_default() as usize + 1;
    let padding = PAYLOAD - AROUND - digits;
    let (seconds, micros) = (now / 1_000_000, now % 1_000_000);
    format!(
        "{{\"n\":{n},\"t\":{seconds}.{micros:06},\"padding\":\"{:x<padding$}\"}}",
        ""
    )
}
