//! What was granted ends: a token expires, a user is revoked, a room's rule is withdrawn; and it is
//! granted again. Hands orders over to the seats of those concerned, and waits for what becomes of it.
//! It must never count what cut nobody, nor leave anything taken away.

use super::readers::READERS;
use super::rig::Rig;
use super::seat::{Seat, Withdrawal};
use super::writers::Outcome;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Seconds: long enough to hear something by it.
const SHORT: u64 = 2;

/// What was taken away counts within a second, wherever an instance is up to date; the rest is what
/// a busy machine and other faults that are not red yet may add.
const BOUND: Duration = Duration::from_secs(5);

/// Each is of two subscribers at least.
const ROOMS: [&str; 3] = ["staff:1", "user:5", "open:3"];

impl Rig {
    /// SQL that may be repeated, until it is known to be done.
    pub async fn done(&self, sql: &str) {
        self.until(sql, async || {
            let client = self.superuser().await;
            let run = tokio::time::timeout(Duration::from_secs(5), client.batch_execute(sql));
            run.await.is_ok_and(|run| run.is_ok())
        })
        .await;
    }

    /// Waits for a fact that may take only so long while all instances say that they are up to date, and
    /// what they say comes through their doors.
    pub async fn while_green(
        &self,
        bound: Duration,
        what: &str,
        mut fact: impl AsyncFnMut() -> bool,
    ) {
        let (mut green, mut last) = (Duration::ZERO, Instant::now());
        self.until(what, async || {
            let mut ready = true;
            for node in &self.nodes {
                ready &= node.is_ready().await && !node.door.is_frozen();
            }
            if ready {
                green += last.elapsed();
            }
            last = Instant::now();
            fact().await || {
                assert!(green < bound, "not within {bound:?}: {what}");
                false
            }
        })
        .await;
    }

    /// Somebody comes with a token that ends while it hears events.
    pub async fn token_expired(&self) {
        let seat = self.turn(&self.seats);
        let expired = || seat.expired.load(Ordering::SeqCst);
        let before = expired();
        seat.tokens_last(Some(SHORT));
        seat.leaves();
        self.until("a token expires", async || expired() > before)
            .await;
        seat.tokens_last(None);
        self.returns(std::slice::from_ref(seat)).await;
    }

    /// Everything that a user has open is cut, and lets nobody in, until the user is restored or gets
    /// a newer token.
    pub async fn revoked(&self) {
        let user = *self.turn(&["5", "3", "2"]);
        let newer_token = *self.turn(&[false, true, true, false]);
        let seats = self.of_those(|who| who.1 == user);
        for seat in &seats {
            seat.revocable.store(true, Ordering::SeqCst);
        }
        let cut = || -> u32 { seats.iter().map(|seat| seat.ends("revoked")).sum() };
        let before = cut();
        // Other faults may have torn their connections just then: once more.
        while cut() == before {
            self.done(&format!("select rowcast.revoke('{user}')")).await;
            let raise = |seat: &Arc<Seat>| seat.bar.fetch_add(1, Ordering::SeqCst);
            seats.iter().for_each(|seat| {
                raise(seat);
            });
            let what = format!("the user {user} is cut");
            self.while_green(BOUND, &what, async || {
                seats.iter().all(|seat| !seat.is(&seat.inside))
            })
            .await;
            // Whatever they try meanwhile.
            let refused = |seat: &Arc<Seat>| seat.ends("not opened: refused");
            let tried: Vec<u32> = seats.iter().map(refused).collect();
            self.until("their tokens are refused", async || {
                seats
                    .iter()
                    .zip(&tried)
                    .all(|(seat, tried)| refused(seat) > *tried)
            })
            .await;
            seats.iter().for_each(|seat| {
                raise(seat);
            });
            if newer_token {
                let issued = self.later_than_revocation(user).await;
                for seat in &seats {
                    seat.issued.store(issued, Ordering::SeqCst);
                }
            } else {
                self.done(&format!("select rowcast.restore('{user}')"))
                    .await;
            }
            self.returns(&seats).await;
        }
        for seat in &seats {
            seat.revocable.store(false, Ordering::SeqCst);
        }
    }

    /// The first second in which a token may be issued that counts, once it has come.
    async fn later_than_revocation(&self, user: &str) -> u64 {
        let sql = "select floor(extract(epoch from at))::bigint + 1 from rowcast.revocation \
                   where sub = $1 and extract(epoch from clock_timestamp()) \
                     > floor(extract(epoch from at)) + 1";
        let mut issued = 0_i64;
        self.until("the next second", async || {
            let client = self.superuser().await;
            let found = client.query_opt(sql, &[&user]).await;
            found.is_ok_and(|row| {
                row.is_some_and(|row| {
                    issued = row.get(0);
                    true
                })
            })
        })
        .await;
        issued.try_into().expect("this century")
    }

    /// A room is taken from those who are in it, and given back.
    pub async fn rule_withdrawn(&self) {
        let room = *self.turn(&ROOMS);
        let seats = self.of_those(|who| who.3.contains(&room) && !who.4.contains(&room));
        // All that is behind this was heard: it can't be what is withheld.
        let from = self.fence(&seats).await;
        for seat in &seats {
            seat.told.store(false, Ordering::SeqCst);
            seat.known().withdrawal = Some(Withdrawal {
                room: room.to_owned(),
                from,
            });
        }
        self.done(&format!(
            "insert into rowcast.room_rule values ('{room}', 'app.nobody(jsonb,text)') \
             on conflict do nothing"
        ))
        .await;
        let what = format!("{room} is taken from those who are in it");
        self.while_green(BOUND, &what, async || {
            seats.iter().all(|seat| seat.is(&seat.told))
        })
        .await;
        // Nobody may hear the one; those who stayed for other rooms have it behind them.
        self.committed(room).await;
        let stay = seats.iter().filter(|seat| seat.is(&seat.inside));
        self.fence(&stay.cloned().collect::<Vec<_>>()).await;
        self.done(&format!(
            "delete from rowcast.room_rule where pattern = '{room}'"
        ))
        .await;
        seats.iter().for_each(|seat| seat.leaves());
        let mut asked = Instant::now();
        self.until("they are in it again", async || {
            let lacking = |seat: &&Arc<Seat>| seat.is(&seat.inside) && seat.is(&seat.lacking);
            // Let in by an answer from before.
            if asked.elapsed() > Duration::from_secs(1) {
                seats.iter().filter(lacking).for_each(|seat| seat.leaves());
                asked = Instant::now();
            }
            seats
                .iter()
                .all(|seat| seat.is(&seat.inside) && !seat.is(&seat.lacking))
        })
        .await;
        self.returns(&seats).await;
        for seat in &seats {
            seat.known().withdrawal = None;
        }
    }

    fn of_those(&self, concerned: impl Fn(&super::readers::Who) -> bool) -> Vec<Arc<Seat>> {
        let both = READERS.iter().zip(&self.seats);
        let those = both.filter(|(who, _)| concerned(who));
        those.map(|(_, seat)| Arc::clone(seat)).collect()
    }

    /// They are in, and have what is committed now.
    pub async fn returns(&self, seats: &[Arc<Seat>]) {
        self.fence(seats).await;
        self.until("they are back", async || {
            seats.iter().all(|seat| seat.is(&seat.inside))
        })
        .await;
    }

    /// Commits something that everybody hears, and waits until these have: they have all that was
    /// settled before the moment that is returned.
    async fn fence(&self, seats: &[Arc<Seat>]) -> Instant {
        let from = Instant::now();
        let event = self.committed("*").await;
        self.until("those concerned hear what is committed now", async || {
            seats.iter().all(|seat| seat.has(&event))
        })
        .await;
        from
    }

    /// An entry of this room that was committed for certain, by its event's name.
    pub async fn committed(&self, room: &str) -> String {
        loop {
            let client = self.superuser().await;
            let number = self.ledger.draw(1);
            let mut open = self.ledger.begin();
            open.holds(number);
            let sql =
                format!("begin; insert into app.entry values ({number}, null, null, '{{{room}}}')");
            if let Err(error) = client.batch_execute(&sql).await {
                open.settle_by(&Err(error));
                continue;
            }
            open.sends_commit();
            let answer = client.batch_execute("commit").await;
            open.settle(match answer {
                Ok(()) => Outcome::Committed,
                Err(_) => Outcome::Lost,
            });
            if answer.is_ok() {
                return format!("entry {number}");
            }
        }
    }
}
