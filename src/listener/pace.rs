//! When to look next, and whether writers ring: the rules of the adaptive doorbell, with the clock
//! passed in and without I/O.
//! Hands its decisions over to the listener, which looks and sets the flag.
//! It must never rest before everybody who may have found the bell silent has ended.

use crate::bookmark::Snapshot;
use crate::config::{self, Doorbell};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long commits are counted before they are a rate.
const WINDOW: Duration = Duration::from_millis(200);
const WINDOWS_PER_SECOND: usize = 5;

/// Commits within the window below which nobody can be waiting for long.
const FEW_COMMITS: usize = 4;

/// The least time awake: setting the flag costs a transaction id, twice for each nap.
const LEAST_AWAKE: Duration = Duration::from_millis(500);

/// Between two looks while transactions are waited for that may end without ringing: at first, and
/// at most. In between a twentieth of the time waited so far, so that a transaction that is left
/// open for hours costs nobody anything and is late by little.
const DROWSY: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// Between two looks of a node that can't rely on ticks because NOTIFY's queue fills up.
const UNTOLD: Duration = Duration::from_millis(50);

/// What a look has shown, besides events.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub snapshot: &'a Snapshot,
    /// It was only a part.
    pub more: bool,
    /// Transactions with events in the batch.
    pub commits: usize,
    /// How writers are to wake us.
    pub doorbell: Doorbell,
    /// Whether the flag tells writers to ring.
    pub rings: bool,
    /// NOTIFY must be left alone.
    pub queue_is_filling: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Does not lead: others set the flag, and tick.
    Follows,
    /// Writers do not ring; we look again and again.
    Awake,
    /// The flag has been set in a transaction of its own, and the look behind it is yet to come.
    Settling,
    /// Writers ring, but for those that were under way when the flag was set.
    Drowsy { running: Vec<u64> },
    /// All writers ring.
    Asleep,
}

/// The pace of one listener.
#[derive(Debug)]
pub struct Pace {
    state: State,
    since: Instant,
    doorbell: Doorbell,
    rings: bool,
    queue_is_filling: bool,
    /// The last look found only a part.
    more: bool,
    commits: VecDeque<(Instant, usize)>,
    /// The last time that there were any.
    busy: Instant,
    settings: config::Listener,
}

impl Pace {
    /// Of a listener that does not lead.
    #[must_use]
    pub fn new(settings: &config::Listener, now: Instant) -> Self {
        Self {
            state: State::Follows,
            since: now,
            doorbell: Doorbell::Adaptive,
            rings: false,
            queue_is_filling: false,
            more: false,
            commits: VecDeque::new(),
            busy: now,
            settings: settings.clone(),
        }
    }

    /// Begins to lead: whatever the flag says, we look.
    pub fn lead(&mut self, now: Instant) {
        self.enter(State::Awake, now);
    }

    /// How writers are to wake us, as of the last look.
    #[must_use]
    pub fn doorbell(&self) -> Doorbell {
        self.doorbell
    }

    /// Whether NOTIFY has to be left alone.
    #[must_use]
    pub fn must_not_notify(&self) -> bool {
        self.queue_is_filling
    }

    #[must_use]
    pub fn leads(&self) -> bool {
        self.state != State::Follows
    }

    /// Whether writers may commit without ringing, so that others have to be told of what we find.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        !matches!(self.state, State::Follows | State::Asleep)
    }

    /// Whether who commits something rings, so that what rang, in its order, is all there is.
    #[must_use]
    pub fn hears_all(&self) -> bool {
        self.state == State::Asleep
    }

    /// Whether a look at those who wait for NOTIFY's lock could change anything.
    #[must_use]
    pub fn may_be_blocking(&self) -> bool {
        matches!(self.state, State::Drowsy { .. } | State::Asleep)
            && self.doorbell == Doorbell::Adaptive
            && self.recent_commits() >= FEW_COMMITS
    }

    /// Writers wait for each other because they ring.
    pub fn blocks(&mut self, now: Instant) {
        if self.may_be_blocking() {
            self.enter(State::Awake, now);
        }
    }

    /// Takes what a look has shown.
    pub fn saw(&mut self, seen: Seen<'_>, now: Instant) {
        self.doorbell = seen.doorbell;
        self.rings = seen.rings;
        self.queue_is_filling = seen.queue_is_filling;
        self.more = seen.more;
        self.count(seen.commits, now);
        match &mut self.state {
            State::Settling if !seen.more => {
                let running = seen.snapshot.running().to_vec();
                self.enter(State::Drowsy { running }, now);
            }
            State::Drowsy { running } => running.retain(|xid| !seen.snapshot.sees(*xid)),
            _ => {}
        }
        if matches!(&self.state, State::Drowsy { running } if running.is_empty()) {
            self.enter(State::Asleep, now);
        }
        self.wake_if_needed(now);
    }

    /// Takes that a transaction rang and was read by itself.
    pub fn heard(&mut self, now: Instant) {
        self.count(1, now);
        self.wake_if_needed(now);
    }

    fn count(&mut self, commits: usize, now: Instant) {
        if commits > 0 {
            self.busy = now;
            self.commits.push_back((now, commits));
        }
        while self
            .commits
            .front()
            .is_some_and(|(at, _)| now.duration_since(*at) > WINDOW)
        {
            self.commits.pop_front();
        }
    }

    fn wake_if_needed(&mut self, now: Instant) {
        let asleep = matches!(self.state, State::Drowsy { .. } | State::Asleep);
        let busy = self.doorbell == Doorbell::Adaptive
            && self.commits_per_second() >= self.settings.busy_commits;
        if asleep && (busy || self.must_poll()) {
            self.enter(State::Awake, now);
        }
    }

    /// What the flag has to be set to now, if it is not: true tells writers to ring. Whoever sets it
    /// does so in a transaction of its own, says [`Pace::was_set`], and looks at once.
    #[must_use]
    pub fn wants(&self, now: Instant) -> Option<bool> {
        let wanted = match self.state {
            State::Follows => return None,
            State::Awake => self.may_rest(now),
            State::Settling | State::Drowsy { .. } | State::Asleep => true,
        };
        // Awake with the flag at 1 happens too: left behind by a leader that died asleep.
        let stays = wanted == self.rings && (self.state != State::Awake || !wanted);
        (!stays).then_some(wanted)
    }

    /// The flag was set.
    pub fn was_set(&mut self, rings: bool, now: Instant) {
        self.rings = rings;
        self.enter(if rings { State::Settling } else { State::Awake }, now);
    }

    /// How long to wait for the bell until the next look. However long the last one took: to let
    /// more come together behind a slow one would make the next one slower.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Duration {
        let poll = self.settings.poll;
        let wait = match &self.state {
            _ if self.more => Duration::ZERO,
            State::Follows if self.queue_is_filling => UNTOLD,
            State::Follows | State::Asleep => self.settings.floor,
            State::Settling => Duration::ZERO,
            State::Drowsy { .. } => (now.duration_since(self.since) / 20).clamp(DROWSY.0, DROWSY.1),
            State::Awake if self.must_poll() => {
                let quiet = now.duration_since(self.busy) / 10;
                quiet.clamp(poll, poll.max(self.settings.idle_poll))
            }
            State::Awake => poll,
        };
        wait.min(self.settings.floor)
    }

    fn enter(&mut self, state: State, now: Instant) {
        self.state = state;
        self.since = now;
    }

    fn must_poll(&self) -> bool {
        self.queue_is_filling || self.doorbell == Doorbell::Never
    }

    fn recent_commits(&self) -> usize {
        self.commits.iter().map(|(_, commits)| commits).sum()
    }

    fn commits_per_second(&self) -> usize {
        self.recent_commits() * WINDOWS_PER_SECOND
    }

    /// Awake, and may it end? Below half of what woke us, so that it does not flutter.
    fn may_rest(&self, now: Instant) -> bool {
        let calm = self.commits_per_second() * 2 < self.settings.busy_commits;
        let long = now.duration_since(self.since) >= LEAST_AWAKE;
        !self.must_poll() && (self.doorbell == Doorbell::Always || (calm && long))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RawSettings, Settings};

    /// `listener.floor_ms` by default.
    const FLOOR: Duration = Duration::from_millis(500);

    struct Clock {
        now: Instant,
        pace: Pace,
        rings: bool,
        running: Vec<u64>,
        more: bool,
        doorbell: Doorbell,
        queue_is_filling: bool,
    }

    impl Clock {
        fn start() -> Self {
            let raw = RawSettings::load(None, std::iter::empty(), &[]).unwrap();
            let settings = Settings::check(raw).unwrap().listener;
            let now = Instant::now();
            Self {
                now,
                pace: Pace::new(&settings, now),
                rings: false,
                running: Vec::new(),
                more: false,
                doorbell: Doorbell::Adaptive,
                queue_is_filling: false,
            }
        }

        fn leading() -> Self {
            let mut clock = Self::start();
            clock.pace.lead(clock.now);
            clock.look(0);
            clock
        }

        /// A look that finds so many commits, with what follows from it. Says how long it waits.
        fn look(&mut self, commits: usize) -> Duration {
            let xmax = self.running.last().map_or(100, |last| last + 1);
            let xmin = self.running.first().copied().unwrap_or(xmax);
            let seen = Seen {
                snapshot: &Snapshot::new(xmin, xmax, &self.running).unwrap(),
                more: self.more,
                commits,
                doorbell: self.doorbell,
                rings: self.rings,
                queue_is_filling: self.queue_is_filling,
            };
            self.pace.saw(seen, self.now);
            if let Some(rings) = self.pace.wants(self.now) {
                self.rings = rings;
                self.pace.was_set(rings, self.now);
            }
            self.pace.wait(self.now)
        }

        /// Looks as often as it wants to for so long, with so many commits a second. Says how often.
        fn pass(&mut self, millis: u64, commits_per_second: u64) -> usize {
            let end = self.now + Duration::from_millis(millis);
            let (mut looks, mut due) = (0, 0.0);
            while self.now < end {
                let found = due as usize;
                due -= found as f64;
                let wait = self.look(found);
                // The bell ends a wait.
                let bell = if self.rings && commits_per_second > 0 {
                    Duration::from_secs(1) / u32::try_from(commits_per_second).unwrap()
                } else {
                    wait
                };
                let step = wait.min(bell).max(Duration::from_micros(100));
                self.now += step;
                due += step.as_secs_f64() * commits_per_second as f64;
                looks += 1;
            }
            looks
        }
    }

    #[test]
    fn who_does_not_lead_never_sets_the_flag() {
        let mut clock = Clock::start();
        clock.pass(5000, 10_000);
        assert!(!clock.pace.leads() && !clock.rings);
        assert_eq!(clock.look(0), FLOOR);
    }

    #[test]
    fn quiet_writers_ring_and_busy_ones_do_not() {
        let mut clock = Clock::leading();
        assert_eq!(clock.look(0), Duration::from_millis(1));
        clock.pass(3000, 200);
        assert!(clock.rings, "at 200 a second ringing costs nothing");
        assert_eq!(clock.look(0), FLOOR);
        clock.pass(1000, 5000);
        assert!(!clock.rings);
        assert!(clock.pace.is_quiet());
        clock.pass(1000, 0);
        assert!(clock.rings);
        assert!(!clock.pace.is_quiet());
    }

    #[test]
    fn a_leader_asleep_looks_as_often_as_the_floor_says() {
        let mut clock = Clock::leading();
        clock.pass(2000, 0);
        assert!(clock.pass(10_000, 0) <= 21);
    }

    #[test]
    fn who_found_the_bell_silent_is_waited_for() {
        let mut clock = Clock::leading();
        clock.running = vec![90, 95];
        clock.pass(1000, 0);
        assert!(clock.rings);
        assert!(clock.pace.is_quiet(), "they may commit without ringing");
        assert!(clock.look(0) <= Duration::from_millis(100));
        // Another one does not matter: it began after the flag was set.
        clock.running = vec![95, 120];
        assert!(clock.look(0) <= Duration::from_millis(100));
        clock.running = vec![120];
        assert_eq!(clock.look(0), FLOOR);
    }

    #[test]
    fn all_ring_once_nobody_is_left_who_may_have_found_the_bell_silent() {
        let mut clock = Clock::leading();
        assert!(!clock.pace.hears_all());
        clock.running = vec![90];
        clock.pass(1000, 0);
        assert!(clock.rings && !clock.pace.hears_all());
        clock.running = vec![120];
        clock.look(0);
        assert!(clock.pace.hears_all());
        clock.queue_is_filling = true;
        clock.look(0);
        assert!(!clock.pace.hears_all());
        assert!(
            !Clock::start().pace.hears_all(),
            "who follows does not know"
        );
    }

    /// A look that finds few of them would not notice how many there are.
    #[test]
    fn those_that_were_read_as_they_rang_count() {
        let mut clock = Clock::leading();
        clock.pass(2000, 0);
        for _ in 0..1000 {
            clock.pace.heard(clock.now);
        }
        assert_eq!(clock.pace.wants(clock.now), Some(false));
    }

    #[test]
    fn a_transaction_left_open_costs_ten_looks_a_second() {
        let mut clock = Clock::leading();
        clock.running = vec![90];
        clock.pass(5000, 0);
        assert!(clock.pass(60_000, 0) <= 610);
    }

    #[test]
    fn the_look_behind_the_flag_comes_at_once() {
        let mut clock = Clock::leading();
        let mut waits = Vec::new();
        while !clock.rings {
            waits.push(clock.look(0));
            clock.now += Duration::from_millis(1);
        }
        assert_eq!(waits.last(), Some(&Duration::ZERO));
    }

    /// A part of what there was says nothing of who may have found the bell silent.
    #[test]
    fn who_found_only_a_part_looks_again_before_it_rests() {
        let mut clock = Clock::leading();
        clock.more = true;
        while !clock.rings {
            assert_eq!(clock.look(0), Duration::ZERO);
            clock.now += Duration::from_millis(1);
        }
        assert_eq!(clock.look(0), Duration::ZERO);
        clock.more = false;
        clock.running = vec![95];
        assert!(clock.look(0) <= Duration::from_millis(100));
    }

    #[test]
    fn always_rings_and_never_polls() {
        let mut clock = Clock::leading();
        clock.doorbell = Doorbell::Always;
        clock.pass(100, 10_000);
        assert!(clock.rings);
        clock.doorbell = Doorbell::Never;
        clock.look(0);
        assert!(!clock.rings);
        clock.pass(1000, 0);
        assert!(!clock.rings);
        assert_eq!(clock.look(0), Duration::from_millis(20));
        assert_eq!(clock.look(1), Duration::from_millis(1));
    }

    #[test]
    fn a_queue_that_fills_silences_the_bell() {
        for doorbell in [Doorbell::Adaptive, Doorbell::Always] {
            let mut clock = Clock::leading();
            clock.doorbell = doorbell;
            clock.pass(2000, 0);
            assert!(clock.rings);
            clock.queue_is_filling = true;
            clock.look(0);
            assert!(!clock.rings, "{doorbell:?}");
            assert!(clock.look(0) <= Duration::from_millis(20));
            clock.queue_is_filling = false;
            clock.pass(2000, 0);
            assert!(clock.rings, "{doorbell:?}");
        }
    }

    #[test]
    fn writers_that_wait_for_each_other_are_released() {
        let mut clock = Clock::leading();
        clock.pass(2000, 100);
        assert!(clock.rings);
        assert!(clock.pace.may_be_blocking());
        clock.pace.blocks(clock.now);
        clock.look(0);
        assert!(!clock.rings);
    }

    #[test]
    fn a_flag_that_somebody_else_changed_is_set_anew() {
        let mut clock = Clock::leading();
        clock.pass(2000, 0);
        clock.rings = false;
        assert_eq!(clock.look(0), Duration::ZERO);
        assert!(clock.rings);
    }
}
