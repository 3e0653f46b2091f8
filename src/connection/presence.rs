//! A connection from its admission to its end, on any transport: seat, identity, admitted rooms and
//! subscription, and a watch that cuts it if it is stuck when it has to go.
//! Hands a presence over to the transports; dropped, it leaves nothing behind. It must never let
//! anybody in whom admission has not, nor forget somebody who has left.

use super::cut::{Cut, Watch};
use super::door::Door;
use super::reader::Reader;
use super::seats::Seat;
use super::speech::Told;
use super::visit::{Load, Visit};
use super::{Gate, Refusal};
use crate::bookmark::{Bookmark, NotABookmark, Standpoint};
use crate::clock::{unix_now, until};
use crate::hub::{Admission, Identity, Since, Subscription};
use crate::report::{self, Caller, Transport};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

/// What the seam of the rooms that are loaded is called on the wire.
const LOAD: &str = "load";

/// Somebody who is in.
pub struct Presence {
    pub gate: Arc<Gate>,
    /// Its id, on the wire and in the log.
    pub connection: String,
    pub identity: Identity,
    pub admission: Admission,
    /// A poll whose last answer told of the same refusals.
    told: bool,
    pub subscription: Arc<Subscription>,
    /// The door of a dialect that it came through.
    pub door: Option<Arc<Door>>,
    /// The durable name by which it is here, if it gave one.
    pub reader: Option<Arc<Reader>>,
    /// It brought a bookmark that can't be read.
    pub unreadable: bool,
    /// It brought a bookmark or a reader's name, and is told how the resume went.
    pub resumes: bool,
    /// It asked to `load` rooms: they have a seam of their own, behind the first.
    pub loads: bool,
    /// Why it ended, for log and metrics, unless the hub ended it.
    pub why: &'static str,
    pub caller: Arc<Caller>,
    began: Instant,
    _watch: Option<Watch>,
    pub seat: Seat,
}

impl Drop for Presence {
    fn drop(&mut self) {
        // What is stuck is never asked again: the hub knows why it was cut.
        let ended = self.subscription.over().map(Refusal::from);
        let why = ended.map_or(self.why, Refusal::word);
        self.subscription.close();
        let seconds = self.began.elapsed().as_secs_f64();
        report::closed(&self.caller, why, seconds);
    }
}

/// Somebody who may come in.
struct Examined {
    seat: Seat,
    identity: Identity,
    reader: Option<Arc<Reader>>,
    admission: Admission,
    told: bool,
}

impl Gate {
    /// Lets somebody in who may come in, to no room yet.
    ///
    /// # Errors
    /// Why not; it is in the log already.
    pub async fn enter(
        self: &Arc<Self>,
        transport: Transport,
        visit: &Visit,
    ) -> Result<Presence, Refusal> {
        let shown = visit.shown(self);
        let examined = self.examine(transport, visit).await;
        let examined = examined.inspect_err(|refusal| {
            let (word, why) = (refusal.word(), refusal.to_string());
            report::refused(transport.word(), word, &why, &shown);
        })?;
        let (identity, reader) = (examined.identity, examined.reader);
        let connection = format!("{:016x}", rand::random::<u64>());
        let user = identity.user.as_deref();
        let caller = Arc::new(Caller::new(transport, &connection, user, &shown));
        report::opened(&caller);
        let subscription = self.hub.open();
        subscription.introduce(&caller);
        if let Some(door) = visit.door.clone() {
            subscription.reserve(move |claims| door.is_for(claims));
        }
        let under = examined.admission.version;
        self.hub.enter(&subscription, identity.clone(), under);
        Ok(Presence {
            gate: Arc::clone(self),
            connection,
            identity,
            admission: examined.admission,
            told: examined.told,
            subscription,
            door: visit.door.clone(),
            unreadable: false,
            resumes: visit.since().is_some() || reader.is_some(),
            reader,
            loads: false,
            why: "closed",
            caller,
            began: Instant::now(),
            _watch: None,
            seat: examined.seat,
        })
    }

    /// The same, joined to their rooms.
    ///
    /// # Errors
    /// Why not; it is in the log already.
    pub async fn enter_and_join(
        self: &Arc<Self>,
        transport: Transport,
        visit: &Visit,
    ) -> Result<Presence, Refusal> {
        let mut presence = self.enter(transport, visit).await?;
        presence.join(visit).await?;
        Ok(presence)
    }

    /// Finds out all that may keep somebody out, and seats them meanwhile.
    async fn examine(
        self: &Arc<Self>,
        transport: Transport,
        visit: &Visit,
    ) -> Result<Examined, Refusal> {
        // What the request itself has wrong is told first.
        visit.load()?;
        let door = visit.door.as_ref();
        if door.is_some_and(|door| door.misled) {
            return Err(Refusal::Asked(
                "a parameter that this address needs is missing, or not of its kind",
            ));
        }
        let mut seat = self.seats.sit(self, visit.address(self))?;
        let identity = self.identify(visit).await?;
        seat.belongs_to(self, identity.user.as_deref())?;
        if door.is_some_and(|door| !door.is_for(&identity.claims)) {
            return Err(Refusal::SomebodyElse);
        }
        let reader = visit.reader();
        let reader = reader.map(|name| Reader::new(&identity, &name));
        let reader = reader.transpose()?.map(Arc::new);
        if self.hub.standpoint().borrow().is_none() {
            return Err(Refusal::DatabaseAway);
        }
        // A door asks for nothing that it could do without: for too many it need not be asked.
        let most = self.settings.limits.rooms_per_connection;
        if door.is_some_and(|door| door.rooms.iter().collect::<HashSet<_>>().len() > most) {
            return Err(Refusal::Forbidden);
        }
        let (admission, told) = self.admission(transport, visit, &identity).await?;
        // Of home rooms there may be too many.
        let granted = |room: &String| admission.rooms.iter().any(|known| **known == **room);
        if door.is_some_and(|door| !door.rooms.iter().all(granted)) {
            return Err(Refusal::Forbidden);
        }
        Ok(Examined {
            seat,
            identity,
            reader,
            admission,
            told,
        })
    }

    /// Asks SQL, for those whose turn it is. Whoever polls again is remembered: that is no new
    /// connection, and an answer of a moment ago holds until rules change, as for an open socket. And
    /// whether they were told of the same refusals then.
    async fn admission(
        &self,
        transport: Transport,
        visit: &Visit,
        identity: &Identity,
    ) -> Result<(Admission, bool), Refusal> {
        if transport != Transport::Poll {
            return Ok((self.ask_in_turn(transport, visit, identity).await?, false));
        }
        let who = match &identity.session {
            // Its claims may end a little later each time they are asked for.
            Some(session) => format!("session {session}").into(),
            None => Arc::clone(&identity.claims),
        };
        let asker = (who, visit.asked()?);
        let known = self.hub.recall(&asker, Instant::now());
        let known = known.filter(|known| known.user == identity.user);
        let resumes = visit.since().is_some();
        let known = match known {
            Some(known) if resumes && known.refused.is_empty() => return Ok((known, true)),
            known => known,
        };
        let admission = if resumes && known.is_some() {
            // What was refused may be granted by now, without anybody saying so.
            self.welcome(identity, visit.asked()?).await?
        } else {
            self.ask_in_turn(transport, visit, identity).await?
        };
        let told = known.is_some_and(|known| known.errors().eq(admission.errors()));
        self.hub.remember(asker, admission.clone(), Instant::now());
        Ok((admission, told))
    }

    async fn ask_in_turn(
        &self,
        transport: Transport,
        visit: &Visit,
        identity: &Identity,
    ) -> Result<Admission, Refusal> {
        // Only now: whoever is turned away for good takes nobody's turn.
        let address = visit.address(self);
        let arrived = self.arrivals.arrive(address, Instant::now());
        arrived.map_err(Refusal::Crowded)?;
        report::arrived(transport);
        self.welcome(identity, visit.asked()?).await
    }
}

impl Presence {
    /// Joins the rooms, from the bookmark that was brought; and then those that are loaded besides,
    /// each from its own.
    ///
    /// # Errors
    /// The log is not read at present; or it ended while that was waited for.
    pub async fn join(&mut self, visit: &Visit) -> Result<(), Refusal> {
        let joined = self.join_all(visit).await;
        joined.inspect_err(|refusal| self.why = refusal.word())
    }

    async fn join_all(&mut self, visit: &Visit) -> Result<(), Refusal> {
        let (since, load) = (visit.since(), visit.load()?);
        self.loads = load.is_some();
        let from = load.as_ref().map(|load| &*load.from);
        let reached = async {
            let stored = match &self.reader {
                Some(reader) => self.gate.recollect(reader).await?,
                None => None,
            };
            let is_new = stored.is_none();
            let since = self.gate.reach(since.or(stored).as_deref()).await?;
            Ok::<_, Refusal>((is_new, since, self.gate.reach(from).await?))
        };
        let (is_new, since, from) = in_time(&self.subscription, &self.identity, reached).await?;
        self.unreadable = [&since, &from]
            .iter()
            .any(|place| matches!(place, Since::Unreadable));
        let brought = since.place();
        let (hub, subscription) = (&self.gate.hub, &self.subscription);
        let under = self.admission.version;
        let rooms = &self.admission.rooms;
        let here = match load {
            None => hub.join(subscription, rooms, since, None, under),
            Some(load) => {
                let (opened, loaded) = self.split(&visit.rooms(), &load);
                let here = hub.join(subscription, &opened, since, None, under);
                let (from, tag) = (from.again(), Some(LOAD.into()));
                hub.join(subscription, &loaded, from, tag, under);
                here
            }
        };
        match here {
            Some(here) => self.begin(is_new, brought, &here).await,
            // It is over, and its queue says why.
            None => Ok(()),
        }
    }

    /// The rooms to open with, and those to load. A room may be both, and a home room is opened with.
    fn split(&self, opened: &[String], load: &Load) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        let Admission { rooms, home, .. } = &self.admission;
        let among = |names: &[String], room: &Arc<str>| names.iter().any(|name| **name == **room);
        let asked = rooms.iter().skip(*home);
        let asked = asked.filter(|room| among(opened, room));
        let home = rooms.iter().take(*home);
        let loaded = rooms.iter().filter(|room| among(&load.rooms, room));
        (
            home.chain(asked).cloned().collect(),
            loaded.cloned().collect(),
        )
    }

    /// Notes where a durable reader begins. A new one is stored before anything is written to it, so
    /// that whatever comes after is found again.
    async fn begin(
        &self,
        is_new: bool,
        brought: Option<(Bookmark, Arc<str>)>,
        here: &Standpoint,
    ) -> Result<(), Refusal> {
        let Some(reader) = &self.reader else {
            return Ok(());
        };
        // What is of elsewhere is answered with a gap, and no place to keep.
        let brought = brought.filter(|(place, _)| {
            place.history == here.history && place.newest().is_subset_of(&here.snapshot)
        });
        let start = brought.map_or_else(|| Arc::clone(&here.bookmark), |(_, text)| text);
        if is_new {
            let begun = self.gate.begin_reader(reader, &start);
            in_time(&self.subscription, &self.identity, begun).await?;
        }
        reader.sent(&start);
        Ok(())
    }

    /// Notes what is about to be told, for a durable reader: it is to acknowledge each event and each
    /// gap, and if it has, it moves on while it is quiet.
    pub fn tells(&self, told: &Told<'_>) {
        let Some(reader) = &self.reader else { return };
        match told {
            Told::Event(event) => event.bookmark().into_iter().for_each(|at| reader.sent(at)),
            Told::Gap(gap) => reader.sent(&gap.bookmark.into()),
            Told::Subscribed(frame) if frame.gap().is_some() => reader.sent(&frame.bookmark),
            Told::Heartbeat { bookmark } => self.gate.rest(reader, bookmark),
            _ => {}
        }
    }

    /// Has it watched over from now on, for what may be stuck.
    pub fn watch(&mut self, cut: Cut) {
        self._watch = Some(cut.watch(&self.subscription, self.identity.expires_at));
    }

    /// Asked before each piece that is written, and after what may have taken long.
    ///
    /// # Errors
    /// It has ended, or expired.
    pub fn go_on(&self) -> Result<(), Refusal> {
        if let Some(ended) = self.subscription.over() {
            return Err(ended.into());
        }
        if unix_now() >= self.identity.expires_at {
            return Err(Refusal::Expired);
        }
        Ok(())
    }

    /// Whether it may not be here without this room: its door leads there.
    #[must_use]
    pub fn needs(&self, room: &str) -> bool {
        let door = self.door.as_ref();
        door.is_some_and(|door| door.rooms.iter().any(|needed| needed == room))
    }

    /// When its token ends; nothing for those who do not expire.
    #[must_use]
    pub fn expires_at(&self) -> Option<u64> {
        (self.identity.expires_at != u64::MAX).then_some(self.identity.expires_at)
    }

    /// What was wrong with what was asked for, the bookmark and rooms: see [`Admission::errors`].
    pub fn errors(&self) -> impl Iterator<Item = (&'static str, String, Option<&str>)> {
        let bad = || ("bad-bookmark", NotABookmark.to_string(), None);
        let bookmark = self.unreadable.then(bad);
        bookmark.into_iter().chain(self.admission.errors())
    }

    /// Whether a poller has not been told so already: then it does not have to wait for it.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.told && self.admission.errors().next().is_some()
    }
}

/// Waits for what the database has to say. Nobody may outlive their time here, either.
async fn in_time<T>(
    subscription: &Subscription,
    identity: &Identity,
    asked: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    tokio::select! {
        // Where several are due, it is told why not, and not to come back with the same token.
        biased;
        ended = subscription.ended() => Err(ended.into()),
        () = until(identity.expires_at) => Err(Refusal::Expired),
        answer = asked => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::tests::LIMITS;
    use crate::hub::{Ended, Hub};
    use std::future::ready;

    /// Whoever was told to come back, as by an answer that failed meanwhile, came with the same token.
    #[tokio::test]
    async fn of_several_ends_that_are_due_the_final_one_is_told() {
        let subscription = Hub::new(LIMITS).open();
        let mut identity = Identity {
            user: None,
            expires_at: u64::MAX,
            claims: "{}".into(),
            session: None,
            as_of: i64::MAX,
        };
        let answer = || ready(Err::<(), _>(Refusal::DatabaseAway));
        let told = in_time(&subscription, &identity, answer()).await;
        assert_eq!(told, Err(Refusal::DatabaseAway));
        identity.expires_at = 0;
        // Often enough for what is left to chance to fail.
        for _ in 0..50 {
            let told = in_time(&subscription, &identity, answer()).await;
            assert_eq!(told, Err(Refusal::Expired));
        }
        subscription.end(Ended::Revoked);
        for _ in 0..50 {
            let told = in_time(&subscription, &identity, answer()).await;
            assert_eq!(told, Err(Refusal::Revoked));
        }
    }
}
