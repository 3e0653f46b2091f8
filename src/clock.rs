//! The time of day, and spans of time as numbers.
//! Hands Unix time to whoever compares or shows it, and wakes whoever waits for a moment of it.
//! It must never measure how long something took: this clock may be set.

use jiff::Timestamp;
use std::time::Duration;

/// Unix time in seconds.
#[must_use]
pub fn unix_now() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or(0)
}

/// Unix time in milliseconds.
#[must_use]
pub fn now_ms() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}

/// A span in milliseconds, as the log and JSON have it: a wider number would be text there.
#[must_use]
pub fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Ends when the Unix time (in seconds) is reached, and not a whole second later.
pub async fn until(unix: u64) {
    loop {
        let slice = slice_until(unix);
        if slice.is_zero() {
            return;
        }
        tokio::time::sleep(slice).await;
    }
}

/// How long to sleep before looking again whether the Unix time (in seconds) is reached; nothing once it
/// is. In slices: the machine may sleep, and the clock be set.
#[must_use]
pub fn slice_until(unix: u64) -> Duration {
    let left = Duration::from_secs(unix).saturating_sub(Duration::from_millis(now_ms()));
    left.min(Duration::from_secs(30))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counted in whole seconds, whoever begins late in one would wait for most of one too many.
    #[tokio::test]
    async fn an_end_comes_at_its_second() {
        let mut least = u64::MAX;
        // A busy machine may be late now and then.
        for _ in 0..10 {
            while now_ms() % 1000 < 500 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let end = unix_now() + 1;
            until(end).await;
            let late = now_ms().checked_sub(end * 1000);
            least = least.min(late.expect("never early"));
            if least < 400 {
                return;
            }
        }
        panic!("{least} ms late, each time");
    }
}
