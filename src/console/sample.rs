//! One second in numbers, and the minutes that are remembered of them.
//! Hands rows to whoever watches. It must never cost more than a few counters: it is taken each
//! second, whether or not somebody watches.

use crate::clock;
use crate::connection::Gate;
use crate::report::{self, BOUNDS, Counts, PerTransport, Totals, Transport};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

type Column = (&'static str, fn(&Sample) -> Value);

/// What [`Sample::row`] holds behind `at` and the transports.
const COLUMNS: [Column; 11] = [
    ("rooms", |of| of.rooms.into()),
    ("queueBytes", |of| of.queue_bytes.into()),
    ("ringBytes", |of| of.ring_bytes.into()),
    ("events", |of| round(of.events).into()),
    ("deliveries", |of| round(of.deliveries).into()),
    ("lag", |of| clock::millis(of.lag).into()),
    ("notify", |of| of.notify.into()),
    ("gaps", |of| of.gaps.into()),
    ("failures", |of| of.failures.into()),
    ("refusals", |of| of.refusals.into()),
    ("toSocket", |of| of.to_socket.to_vec().into()),
];

/// One second.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Unix milliseconds.
    at: u64,
    open: PerTransport,
    rooms: usize,
    queue_bytes: usize,
    ring_bytes: usize,
    /// Per second.
    events: f64,
    deliveries: f64,
    lag: Duration,
    /// Of NOTIFY's queue, 0 to 1; none while the listener was never there.
    notify: Option<f64>,
    /// Since the last sample.
    gaps: u64,
    failures: u64,
    refusals: u64,
    to_socket: Counts,
}

impl Sample {
    /// As an array: names would be most of it.
    #[must_use]
    pub fn row(&self) -> Value {
        let open = self.open.map(Value::from).into_iter();
        let rest = COLUMNS.iter().map(|(_, value)| value(self));
        [self.at.into()]
            .into_iter()
            .chain(open)
            .chain(rest)
            .collect()
    }
}

fn columns() -> Vec<&'static str> {
    let transports = Transport::ALL.map(Transport::word);
    ["at"]
        .into_iter()
        .chain(transports)
        .chain(COLUMNS.map(|(name, _)| name))
        .collect()
}

fn round(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// Makes samples from counters that only grow.
pub struct Sampler {
    before: Totals,
    at: Instant,
}

impl Sampler {
    pub fn new() -> Self {
        Self {
            before: report::totals(),
            at: Instant::now(),
        }
    }

    pub fn take(&mut self, gate: &Gate) -> Sample {
        let (totals, now) = (report::totals(), Instant::now());
        let sizes = gate.hub.sizes();
        let before = &self.before;
        let seconds = now.duration_since(self.at).as_secs_f64().max(0.001);
        let sum = |words: &[(String, u64)]| words.iter().map(|(_, count)| count).sum::<u64>();
        let sample = Sample {
            at: clock::now_ms(),
            open: totals.open,
            rooms: sizes.rooms,
            queue_bytes: sizes.queue_bytes,
            ring_bytes: sizes.ring_bytes,
            events: per_second(totals.events - before.events, seconds),
            deliveries: per_second(totals.deliveries - before.deliveries, seconds),
            lag: gate.pulse.lag(),
            notify: gate.pulse.bell().map(|bell| bell.queue_usage),
            gaps: totals.gaps - before.gaps,
            failures: totals.failures - before.failures,
            refusals: sum(&totals.refusals) - sum(&before.refusals),
            to_socket: std::array::from_fn(|n| totals.to_socket[n] - before.to_socket[n]),
        };
        (self.before, self.at) = (totals, now);
        sample
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for a graph")]
fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}

/// The samples of the last minutes.
#[derive(Debug)]
pub struct History {
    most: usize,
    samples: VecDeque<Sample>,
}

impl History {
    pub fn new(length: Duration) -> Self {
        let most = usize::try_from(length.as_secs()).unwrap_or(usize::MAX);
        Self {
            most,
            samples: VecDeque::new(),
        }
    }

    pub fn push(&mut self, sample: Sample) {
        self.samples.push_back(sample);
        while self.samples.len() > self.most {
            self.samples.pop_front();
        }
    }

    /// All of it, with the names of its columns and the bounds of its histograms in milliseconds.
    #[must_use]
    pub fn shown(&self) -> Value {
        let rows: Vec<Value> = self.samples.iter().map(Sample::row).collect();
        json!({
            "seconds": self.most,
            "columns": columns(),
            "transports": Transport::ALL.map(Transport::word),
            "bounds": BOUNDS.map(|seconds| seconds * 1000.0),
            "rows": rows,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: u64) -> Sample {
        Sample {
            at,
            open: [1, 2, 3, 4],
            rooms: 4,
            queue_bytes: 5,
            ring_bytes: 6,
            events: 7.04,
            deliveries: 8.06,
            lag: Duration::from_millis(9),
            notify: None,
            gaps: 10,
            failures: 11,
            refusals: 12,
            to_socket: [1; BOUNDS.len() + 1],
        }
    }

    #[test]
    fn a_row_has_a_value_for_each_column() {
        let row = sample(1).row();
        assert_eq!(row.as_array().unwrap().len(), columns().len());
        let column = |name| columns().iter().position(|known| *known == name).unwrap();
        assert_eq!(row[column("poll")], 3);
        assert_eq!(row[column("socketio")], 4);
        assert_eq!(row[column("events")], 7.0);
        assert_eq!(row[column("deliveries")], 8.1);
        assert_eq!(row[column("lag")], 9);
        assert_eq!(row[column("refusals")], 12);
    }

    #[test]
    fn what_is_older_than_the_history_is_let_go() {
        let mut history = History::new(Duration::from_secs(3));
        (0..5).for_each(|at| history.push(sample(at)));
        let rows = history.shown()["rows"].clone();
        let at: Vec<_> = rows
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row[0].clone())
            .collect();
        assert_eq!(at, [2, 3, 4]);
    }
}
