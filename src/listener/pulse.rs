//! What operators ask about the listener: whether events get through, and who rings.
//! Hands itself to `/readyz` and `/metrics`. It must never say yes by itself: only proofs do.

use super::ListenerError;
use crate::config::{self, Doorbell};
use crate::database::{DatabaseError, LogSize};
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// The doorbell as this node sees it.
#[derive(Clone, Copy, Debug)]
pub struct Bell {
    pub doorbell: Doorbell,
    /// Whether writers are told to ring.
    pub rings: bool,
    /// Whether this node leads.
    pub leads: bool,
    /// Of NOTIFY's queue, 0 to 1.
    pub queue_usage: f64,
}

/// What `/readyz` asks: when the listener last proved itself.
#[derive(Debug)]
pub struct Pulse(Mutex<State>);

#[derive(Debug)]
struct State {
    /// When the log was last read to its end; before the first time, when the service began.
    looked: Instant,
    /// When this connection's LISTEN was last proven to hear.
    proven: Option<Instant>,
    /// Why there is no proof yet.
    trouble: String,
    /// Why none could be asked for, the last time.
    pool: Option<String>,
    /// Events read since there was more than one look brings; 0: there is no more.
    caught_up: usize,
    bell: Option<Bell>,
    log: Option<LogSize>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self(Mutex::new(State {
            looked: Instant::now(),
            proven: None,
            trouble: "starting".into(),
            pool: None,
            caught_up: 0,
            bell: None,
            log: None,
        }))
    }
}

impl Pulse {
    /// The log was read to its end.
    pub(super) fn looked(&self, bell: Bell) {
        let mut state = self.0.lock();
        state.caught_up = 0;
        state.looked = Instant::now();
        state.bell = Some(bell);
    }

    /// There is a connection, and the log lies before it.
    pub(super) fn catches_up(&self) {
        let mut state = self.0.lock();
        state.caught_up = 0;
        "catching up with the log".clone_into(&mut state.trouble);
    }

    /// So many events were read of it, and there is more.
    pub(super) fn read(&self, events: usize) {
        self.0.lock().caught_up += events;
    }

    /// A proof could not be asked for: over the pool, which lets everybody in.
    pub(super) fn pool_failed(&self, error: &DatabaseError) {
        let why = format!("the pool's address (database.url): {error}");
        self.0.lock().pool = Some(why);
    }

    /// LISTEN was proven to hear; says whether it was not before.
    pub(super) fn proven(&self) -> bool {
        let mut state = self.0.lock();
        state.pool = None;
        state.proven.replace(Instant::now()).is_none()
    }

    pub(super) fn stop(&self, trouble: &ListenerError) {
        let mut state = self.0.lock();
        state.proven = None;
        state.trouble = trouble.to_string();
        state.pool = None;
        if let Some(bell) = &mut state.bell {
            bell.leads = false;
        }
    }

    /// The doorbell at the last look.
    #[must_use]
    pub fn bell(&self) -> Option<Bell> {
        self.0.lock().bell
    }

    /// The leader has measured the log.
    pub(super) fn measured(&self, size: LogSize) {
        self.0.lock().log = Some(size);
    }

    /// What the log took when this node last looked after it; nothing while another leads.
    #[must_use]
    pub fn log_size(&self) -> Option<LogSize> {
        let state = self.0.lock();
        let leads = state.bell.is_some_and(|bell| bell.leads);
        state.log.filter(|_| leads)
    }

    /// Time since the log was last read to its end.
    #[must_use]
    pub fn lag(&self) -> Duration {
        self.0.lock().looked.elapsed()
    }

    /// Whether events get through, or why not.
    ///
    /// # Errors
    /// The reason, in words for an operator.
    pub fn check(&self, settings: &config::Listener) -> Result<(), String> {
        let state = self.0.lock();
        let caught_up = match state.caught_up {
            0 => String::new(),
            events => format!("; catching up, {events} events so far"),
        };
        let or_pool = |why| Err(state.pool.clone().unwrap_or(why));
        let Some(proven) = state.proven else {
            return or_pool(format!("{}{caught_up}", state.trouble));
        };
        let (silent, lag) = (proven.elapsed(), state.looked.elapsed());
        if silent > settings.proof + settings.proof_timeout + settings.floor {
            let silent = silent.as_millis();
            return or_pool(format!("the doorbell was not heard for {silent} ms"));
        }
        if lag > settings.ready_lag {
            let lag = lag.as_millis();
            return Err(format!(
                "the log was not read to its end for {lag} ms{caught_up}"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RawSettings, Settings};

    #[test]
    fn the_reason_is_of_now() {
        let raw = RawSettings::load(None, std::iter::empty(), &[]).unwrap();
        let settings = Settings::check(raw).unwrap().listener;
        let pulse = Pulse::default();
        let why = || pulse.check(&settings).unwrap_err();
        assert_eq!(why(), "starting");
        let silence = DatabaseError::Timeout(Duration::from_secs(3));
        pulse.pool_failed(&silence);
        let pool = why();
        assert!(pool.starts_with("the pool's address"), "{pool}");
        assert!(pool.contains("3000 ms"), "{pool}");
        pulse.stop(&ListenerError::Closed("it broke".to_owned()));
        assert_eq!(why(), "the connection to the database ended: it broke");
        pulse.catches_up();
        assert_eq!(why(), "catching up with the log");
        pulse.read(7);
        pulse.read(5);
        let far = why();
        assert!(far.ends_with("catching up, 12 events so far"), "{far}");
        pulse.proven();
        pulse.looked(Bell {
            doorbell: Doorbell::Adaptive,
            rings: true,
            leads: true,
            queue_usage: 0.0,
        });
        assert_eq!(pulse.check(&settings), Ok(()));
    }

    /// That LISTEN hears says nothing of the log, nor the other way round.
    #[test]
    fn neither_silence_nor_an_unread_log_is_ready() {
        let raw = RawSettings::load(None, std::iter::empty(), &[]).unwrap();
        let settings = Settings::check(raw).unwrap().listener;
        let pulse = Pulse::default();
        pulse.proven();
        assert_eq!(pulse.check(&settings), Ok(()));
        let ago = |time: Duration| Instant::now().checked_sub(time).unwrap();
        let second = Duration::from_secs(1);
        pulse.0.lock().looked = ago(settings.ready_lag + second);
        let why = pulse.check(&settings).unwrap_err();
        assert!(why.starts_with("the log was not read to its end"), "{why}");
        let mut state = pulse.0.lock();
        state.looked = Instant::now();
        let allowed = settings.proof + settings.proof_timeout + settings.floor;
        let silent = Some(ago(allowed + second));
        state.proven = silent;
        drop(state);
        let unheard = |pool: bool| {
            let why = pulse.check(&settings).unwrap_err();
            assert_eq!(why.starts_with("the pool's address"), pool, "{why}");
            assert_eq!(
                why.starts_with("the doorbell was not heard"),
                !pool,
                "{why}"
            );
        };
        unheard(false);
        // What keeps the next proof from coming, until one comes.
        pulse.pool_failed(&DatabaseError::Timeout(second));
        unheard(true);
        pulse.proven();
        pulse.0.lock().proven = silent;
        unheard(false);
    }
}
