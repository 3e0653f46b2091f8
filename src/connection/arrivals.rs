//! How many may come in a second, and when those return who came when too many did.
//! Hands a wait to each of them, one behind the other, so that they come back no faster than they
//! can be let in. It must never let in more than the rate and its burst, whoever returns when, nor let
//! one address spend what the others come by.

use super::allowance::Allowance;
use super::whose::network;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Within which the share of an address holds.
const SPAN: Duration = Duration::from_secs(1);

/// What an address that has had its share leaves to the others, of the burst. Alone it comes as fast as
/// that fills up, which is the whole rate.
const OTHERS: f64 = 0.5;

/// Who may come now.
#[derive(Debug)]
pub struct Arrivals {
    rate: f64,
    /// Of one address in a second, before it leaves others theirs.
    share: usize,
    /// No queue is longer: by then the house is full.
    longest: Duration,
    state: Mutex<State>,
    /// How many will come back together, once we have stopped.
    crowd: AtomicUsize,
}

#[derive(Debug)]
struct State {
    allowance: Allowance,
    /// Let in since `since`, by address: no more of them than the rate and its burst.
    came: HashMap<IpAddr, usize>,
    since: Instant,
    /// When the last of those who wait is to come back: of addresses within their share, and of the others.
    within: Instant,
    beyond: Instant,
}

impl Arrivals {
    /// `rate` a second, and `seats` in all, of which an address may have `per_address`: as great a part of
    /// the rate is its share.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "rates")]
    pub fn new(rate: usize, seats: usize, per_address: usize, now: Instant) -> Self {
        let share = rate.saturating_mul(per_address) / seats.max(1);
        Self {
            rate: rate as f64,
            share: share.max(1),
            longest: Duration::from_secs_f64(seats as f64 / rate as f64),
            state: Mutex::new(State {
                allowance: Allowance::new(rate, rate, now),
                came: HashMap::new(),
                since: now,
                within: now,
                beyond: now,
            }),
            crowd: AtomicUsize::new(0),
        }
    }

    /// Lets somebody in. Whoever comes from nowhere is not counted.
    ///
    /// # Errors
    /// Too many came within the last second: how long to wait.
    pub fn arrive(&self, address: Option<IpAddr>, now: Instant) -> Result<(), Duration> {
        let address = address.map(network);
        let mut state = self.state.lock();
        if now.saturating_duration_since(state.since) >= SPAN {
            (state.came, state.since) = (HashMap::new(), now);
        }
        let came = |address| state.came.get(&address).copied().unwrap_or(0);
        let is_within = address.is_none_or(|address| came(address) < self.share);
        let left = if is_within { 0.0 } else { self.rate * OTHERS };
        if state.allowance.take_above(left, now) {
            address
                .into_iter()
                .for_each(|address| *state.came.entry(address).or_default() += 1);
            return Ok(());
        }
        if is_within {
            let (turn, wait) = self.next(state.within, now);
            state.within = turn;
            return Err(wait);
        }
        Err(self.behind(&mut state, now))
    }

    /// How long somebody is to wait who can't be let in at present, whoever comes: each for a turn of
    /// its own, up to a fifth longer, which leaves turns for those who come meanwhile.
    pub fn turn(&self, now: Instant) -> Duration {
        self.behind(&mut self.state.lock(), now)
    }

    /// A turn behind those of addresses within their share: whoever comes without end lengthens no wait
    /// but those of its like.
    fn behind(&self, state: &mut State, now: Instant) -> Duration {
        let (turn, wait) = self.next(state.beyond.max(state.within), now);
        state.beyond = turn;
        wait
    }

    /// The turn behind the last one, and how long to wait for it.
    fn next(&self, last: Instant, now: Instant) -> (Instant, Duration) {
        let turn = last.max(now) + Duration::from_secs_f64(1.0 / self.rate);
        let queue = turn.saturating_duration_since(now);
        if queue > self.longest {
            // More than there are seats for: any turn is as good as another.
            let wait = self.longest.mul_f64(rand::random_range(0.0..=1.0));
            return (now + self.longest, wait);
        }
        (turn, queue.mul_f64(rand::random_range(1.0..=1.2)))
    }

    /// We stop, and this many will come back, here or next door.
    pub fn send_away(&self, crowd: usize) {
        self.crowd.store(crowd, Ordering::Relaxed);
    }

    /// Over how long they are to be spread, so that they come back below the rate: the time that
    /// letting them in takes, and a quarter, for nobody comes back within its first tenth.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a duration")]
    pub fn spread(&self) -> Duration {
        let crowd = self.crowd.load(Ordering::Relaxed) as f64;
        Duration::from_secs_f64(crowd / self.rate * 1.25)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BinaryHeap;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const SECOND: Duration = Duration::from_secs(1);

    /// All come from here, which may have all seats.
    const ADDRESS: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

    /// Plays a storm: everybody comes at its time, and again when it was told to. When each was let
    /// in, and how often somebody was sent away.
    fn play(arrivals: &Arrivals, start: Instant, first: &[Duration]) -> (Vec<Duration>, usize) {
        let mut due: BinaryHeap<_> = first.iter().map(|at| std::cmp::Reverse(*at)).collect();
        let (mut admitted, mut refused) = (Vec::new(), 0);
        while let Some(std::cmp::Reverse(at)) = due.pop() {
            match arrivals.arrive(ADDRESS, start + at) {
                Ok(()) => admitted.push(at),
                Err(wait) => {
                    refused += 1;
                    assert!(wait <= Duration::from_secs(60), "{wait:?}");
                    due.push(std::cmp::Reverse(at + wait));
                }
            }
        }
        (admitted, refused)
    }

    fn most_in_a_second(admitted: &[Duration]) -> usize {
        // Sorted: from each, those before the end of its second.
        let counts = admitted.iter().enumerate().map(|(index, from)| {
            let end = *from + SECOND;
            admitted[index..].partition_point(|at| *at < end)
        });
        counts.max().unwrap_or(0)
    }

    #[test]
    fn a_storm_is_let_in_at_the_rate_and_each_is_sent_away_about_once() {
        let start = Instant::now();
        let arrivals = Arrivals::new(100, 5000, 5000, start);
        let (admitted, refused) = play(&arrivals, start, &vec![Duration::ZERO; 1000]);
        assert_eq!(admitted.len(), 1000);
        let most = most_in_a_second(&admitted);
        assert!(most <= 200, "{most} in a second");
        let last = admitted.last().unwrap();
        // Nine seconds at the rate; the waits are up to a fifth longer.
        assert!(*last >= 9 * SECOND && *last <= 13 * SECOND, "{last:?}");
        assert!(
            refused <= 1000,
            "{refused} times away: they came back too early"
        );
    }

    #[test]
    fn those_who_come_meanwhile_delay_nobody_for_ever() {
        let start = Instant::now();
        let arrivals = Arrivals::new(100, 5000, 5000, start);
        let mut first = vec![Duration::ZERO; 1000];
        first.extend((0..800).map(|n| Duration::from_millis(n * 20)));
        let (admitted, _) = play(&arrivals, start, &first);
        assert_eq!(admitted.len(), 1800);
        assert!(most_in_a_second(&admitted) <= 200);
        assert!(
            *admitted.last().unwrap() <= 30 * SECOND,
            "{:?}",
            admitted.last()
        );
    }

    #[test]
    fn a_queue_is_no_longer_than_the_house_takes_to_fill() {
        let start = Instant::now();
        let arrivals = Arrivals::new(100, 500, 500, start);
        let waits: Vec<_> = (0..2000)
            .filter_map(|_| arrivals.arrive(ADDRESS, start).err())
            .collect();
        assert_eq!(waits.len(), 1900);
        let longest = waits.iter().max().unwrap();
        assert!(*longest <= 6 * SECOND, "{longest:?}");
        let (admitted, _) = play(
            &Arrivals::new(100, 500, 500, start),
            start,
            &vec![Duration::ZERO; 2000],
        );
        assert_eq!(admitted.len(), 2000);
        assert!(most_in_a_second(&admitted) <= 200);
    }

    /// The database is away, and all ask whether it is back: as many a second as could be let in.
    #[test]
    fn who_can_not_be_let_in_asks_again_no_faster_than_the_rate() {
        let start = Instant::now();
        let arrivals = Arrivals::new(100, 5000, 5000, start);
        let mut due: BinaryHeap<_> = (0..1000)
            .map(|_| std::cmp::Reverse(Duration::ZERO))
            .collect();
        let mut asked = Vec::new();
        while let Some(std::cmp::Reverse(at)) = due.pop()
            && at < 60 * SECOND
        {
            asked.push(at);
            due.push(std::cmp::Reverse(at + arrivals.turn(start + at)));
        }
        let behind = asked.partition_point(|at| *at < SECOND);
        let most = most_in_a_second(&asked[behind..]);
        assert!(most <= 150, "{most} in a second");
    }

    #[test]
    fn whoever_leaves_together_comes_back_below_the_rate() {
        let start = Instant::now();
        let arrivals = Arrivals::new(100, 5000, 5000, start);
        arrivals.send_away(1000);
        let spread = arrivals.spread();
        assert_eq!(spread, Duration::from_millis(12_500));
        let first: Vec<_> = (0..1000)
            .map(|_| spread.mul_f64(rand::random_range(0.1..=1.0)))
            .collect();
        let (admitted, refused) = play(&Arrivals::new(100, 5000, 5000, start), start, &first);
        assert!(most_in_a_second(&admitted) <= 200);
        assert!(refused < 50, "{refused}");
    }

    fn network_of(number: u16, host: u16) -> Option<IpAddr> {
        Some(Ipv6Addr::new(0x2001, 0xdb8, 0, number, 0, 0, 0, host).into())
    }

    /// One page in a loop kept everybody else out: each was told to wait for up to all the seats.
    #[test]
    fn who_comes_without_end_keeps_no_other_address_out() {
        let start = Instant::now();
        let arrivals = Arrivals::new(100, 2000, 100, start);
        let mut admitted = 0_u32;
        for milli in 0..10_000_u16 {
            let at = start + Duration::from_millis(milli.into());
            // Of one network, and it waits for nothing.
            admitted += u32::from(arrivals.arrive(network_of(1, milli), at).is_ok());
            if milli % 1000 == 999 {
                let came =
                    (2..7).filter(|number| arrivals.arrive(network_of(*number, 1), at).is_ok());
                assert_eq!(came.count(), 5, "after {milli} ms");
            }
        }
        // The half of the burst that is not for others, and of the rate all that they did not take.
        assert!((950..=1055).contains(&admitted), "{admitted}");
    }

    /// Nor does it lengthen the wait of those who come when they are too many by themselves.
    #[test]
    fn who_waits_for_nothing_lengthens_no_wait_of_other_addresses() {
        let start = Instant::now();
        let arrivals = Arrivals::new(100, 2000, 100, start);
        let refused = (0..10_000).filter(|_| arrivals.arrive(network_of(1, 1), start).is_err());
        assert!(refused.count() > 9900);
        let waits =
            (2..202).filter_map(|number| arrivals.arrive(network_of(number, 1), start).err());
        let longest = waits.max().expect("more than the burst");
        assert!(longest <= SECOND * 2, "{longest:?}");
    }

    #[test]
    fn no_more_addresses_are_known_than_may_come_in_a_second() {
        let start = Instant::now();
        let arrivals = Arrivals::new(100, 2000, 100, start);
        for number in 0..20_000 {
            let at = start + Duration::from_millis(u64::from(number));
            let _ = arrivals.arrive(network_of(number, 1), at);
            assert!(arrivals.state.lock().came.len() <= 200);
        }
    }
}
