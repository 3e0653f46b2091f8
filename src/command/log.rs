//! The log of the process: its format, and the thread that alone writes it.
//! Hands lines to standard error. It must never make anybody wait or fail who has something to say:
//! a full disk, or a reader that is gone or stands still, costs lines, and they are counted.

use super::{Failure, one_line};
use crate::config::LogFormat;
use crate::report;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Lines that may wait, a megabyte or so: a second of the greatest crowd that is let in.
const LINES: usize = 4096;

/// How long the end waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The log, as long as somebody has this; then it waits for the last lines.
#[must_use]
pub(super) struct Log {
    waiting: Arc<AtomicUsize>,
}

impl Drop for Log {
    fn drop(&mut self) {
        let end = Instant::now() + LAST_LINES;
        while self.waiting.load(Ordering::Acquire) > 0 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Where lines wait.
#[derive(Clone)]
struct Queue {
    lines: SyncSender<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
}

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        if self.lines.try_send(line.to_vec()).is_err() {
            self.waiting.fetch_sub(1, Ordering::Release);
            report::line_lost();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// JSON for whoever collects it, and for the terminals that it ends up on: the format leaves most of what
/// those obey as it is, and rooms are what strangers call them.
struct Json<W>(W);

impl<W: Write> Write for Json<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let shown = one_line(text.trim_end_matches('\n')) + "\n";
        self.0.write_all(shown.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Starts the thread that writes.
fn queue(mut out: impl Write + Send + 'static) -> io::Result<(Queue, Log)> {
    let (lines, written) = sync_channel::<Vec<u8>>(LINES);
    let waiting = Arc::new(AtomicUsize::new(0));
    let log = Log {
        waiting: Arc::clone(&waiting),
    };
    let queue = Queue { lines, waiting };
    let still = Arc::clone(&queue.waiting);
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || {
            for line in written {
                if out.write_all(&line).is_err() {
                    report::line_lost();
                }
                still.fetch_sub(1, Ordering::Release);
            }
        })?;
    Ok((queue, log))
}

/// Begins to log, by `log.level` and `log.format`.
pub(super) fn start(level: &str, format: LogFormat) -> Result<Log, Failure> {
    let filter = tracing_subscriber::EnvFilter::try_new(level)
        .map_err(|error| format!("log.level {level:?}: {error}"))?;
    let human = match format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let (queue, log) = queue(io::stderr())?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Its complaints would go to standard error directly, and panic where that fails.
        .log_internal_errors(false);
    // Libraries below us print frames, parameters and notices, and with them tokens and payloads:
    // whatever the level, they only warn. And the pool not even that: a connection that the server
    // ended while it was idle is replaced, and whoever finds the server gone is told by us.
    let ours = filter_fn(|metadata| {
        let target = metadata.target();
        let loudest = if target.starts_with("deadpool") {
            tracing::Level::ERROR
        } else {
            tracing::Level::WARN
        };
        *metadata.level() <= loudest || target.starts_with("rowcast")
    });
    // A second log in one process (in tests) keeps the first.
    let _ = if human {
        let lines = lines.with_writer(move || queue.clone());
        lines.with_target(false).finish().with(ours).try_init()
    } else {
        let lines = lines.with_writer(move || Json(queue.clone()));
        lines.json().finish().with(ours).try_init()
    };
    // The default hook writes to standard error itself, and would block where nobody reads it.
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "panicked")));
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};

    /// Takes a line for each permit that is true.
    struct Slow(Receiver<bool>, Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            if !self.0.recv().unwrap_or(false) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.1.lock().unwrap().extend(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lost() -> usize {
        let text = report::prometheus(report::KnownLabels::default()).into_text();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("rowcast_log_lines_lost_total "));
        line.unwrap().parse().unwrap()
    }

    /// A terminal took U+009B of a room's name for the beginning of a command.
    #[test]
    fn json_holds_nothing_that_a_terminal_obeys() {
        let room = "\u{9b}31m\u{7f}\u{85}\u{202e}\u{2066}\u{2028}é\u{1b}";
        let line = serde_json::json!({ "room": room }).to_string();
        let mut out = Json(Vec::new());
        out.write_all(format!("{line}\n").as_bytes()).unwrap();
        let written = String::from_utf8(out.0).unwrap();
        let (shown, rest) = written.split_once('\n').unwrap();
        assert_eq!(rest, "");
        assert_eq!(
            shown,
            r#"{"room":"\u009b31m\u007f\u0085\u202e\u2066\u2028é\u001b"}"#
        );
        let read: serde_json::Value = serde_json::from_str(shown).unwrap();
        assert_eq!(read["room"], room);
    }

    #[test]
    fn lines_are_written_in_order_or_counted_as_lost() {
        let (permit, permits) = channel();
        let written = Arc::default();
        let (mut queue, log) = queue(Slow(permits, Arc::clone(&written))).unwrap();
        let before = lost();
        // One is being written perhaps, and nobody waits for it.
        for line in 0..LINES + 11 {
            queue.write_all(format!("{line}\n").as_bytes()).unwrap();
        }
        let left = lost() - before;
        assert!((10..=11).contains(&left), "{left}");
        for well in [true, false, true] {
            permit.send(well).unwrap();
        }
        // All others fail; dropped, the log has waited for them.
        drop(permit);
        drop(log);
        assert_eq!(*written.lock().unwrap(), b"0\n2\n");
        assert_eq!(lost() - before, LINES + 11 - 2);
    }
}
