//! Places in a database's history: snapshots, what is visible in them, and the text of bookmarks.
//! Hands over to nobody: pure arithmetic, the same as in `sql/functions/rowcast.*snapshot*.sql`.
//! It must never guess: a text that is not exactly a bookmark is refused.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Longest bookmark that is accepted or issued, in bytes (docs: the wire).
pub const MAX_BOOKMARK_BYTES: usize = 2048;

/// Bytes that the transactions in progress may take in the text of one snapshot. Two snapshots of
/// at most 39 + 960 bytes, a history, an id and the dots stay below [`MAX_BOOKMARK_BYTES`].
const MAX_RUNNING_BYTES: usize = 960;

/// The same as it was when a bookmark had 512 bytes: whoever holds one from then may come back with it,
/// and it may have been shortened.
const FORMER_RUNNING_BYTES: usize = 191;

/// Digits of a number in a bookmark.
const MAX_DIGITS: usize = 18;

/// A `pg_snapshot`: which transactions had ended when it was taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    xmin: u64,
    xmax: u64,
    /// In progress, ascending, each in `xmin..xmax`.
    running: Arc<[u64]>,
}

impl Snapshot {
    /// A snapshot from its parts, or nothing if they contradict each other.
    #[must_use]
    pub fn new(xmin: u64, xmax: u64, running: &[u64]) -> Option<Self> {
        let ordered = running.windows(2).all(|pair| pair[0] < pair[1]);
        let inside = running.iter().all(|xid| (xmin..xmax).contains(xid));
        (xmin > 0 && xmin <= xmax && ordered && inside).then(|| Self {
            xmin,
            xmax,
            running: running.into(),
        })
    }

    /// Reads PostgreSQL's own spelling, `xmin:xmax:xip,xip,…`.
    #[must_use]
    pub fn from_postgres(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let xmin = parts.next()?.parse().ok()?;
        let xmax = parts.next()?.parse().ok()?;
        let running = match parts.next()? {
            "" => Vec::new(),
            list => list
                .split(',')
                .map(|xid| xid.parse().ok())
                .collect::<Option<Vec<u64>>>()?,
        };
        Self::new(xmin, xmax, &running)
    }

    /// PostgreSQL's own spelling.
    #[must_use]
    pub fn to_postgres(&self) -> String {
        let running: Vec<String> = self.running.iter().map(u64::to_string).collect();
        format!("{}:{}:{}", self.xmin, self.xmax, running.join(","))
    }

    /// Whether the transaction had ended (PostgreSQL: `pg_visible_in_snapshot`).
    #[must_use]
    pub fn sees(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && self.running.binary_search(&xid).is_err())
    }

    /// Whether everything that is visible here is visible in `other` too. Comparing only xmin or
    /// xmax would be wrong in both directions.
    #[must_use]
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.xmax <= other.xmax && other.running.iter().all(|&xid| !self.sees(xid))
    }

    /// The place that sees what both see.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let xmax = self.xmax.min(other.xmax);
        let both = self.running.iter().chain(other.running.iter()).copied();
        let mut running: Vec<u64> = both.filter(|&xid| xid < xmax).collect();
        running.sort_unstable();
        running.dedup();
        Self {
            xmin: running.first().copied().unwrap_or(xmax),
            xmax,
            running: running.into(),
        }
    }

    /// The place that sees some transactions more. Nobody took this snapshot, but somebody could have:
    /// of others that are older than these and younger than all here, none is seen.
    #[must_use]
    pub fn with(&self, xids: &BTreeSet<u64>) -> Self {
        let xmax = xids
            .last()
            .map_or(self.xmax, |last| self.xmax.max(last + 1));
        let running = self.running.iter().copied().chain(self.xmax..xmax);
        let running: Vec<u64> = running.filter(|other| !xids.contains(other)).collect();
        Self {
            xmin: running.first().copied().unwrap_or(xmax),
            xmax,
            running: running.into(),
        }
    }

    /// The first transaction that had not begun.
    #[must_use]
    pub fn xmax(&self) -> u64 {
        self.xmax
    }

    /// The transactions that were in progress, ascending.
    #[must_use]
    pub fn running(&self) -> &[u64] {
        &self.running
    }

    /// The same place for all events up to `highest`, which must be the highest xid of any event
    /// visible here: bookmarks then stand still while nothing happens, and name no transaction
    /// that a crash may hand out anew.
    #[must_use]
    pub fn clamped(&self, highest: u64) -> Self {
        let xmax = self.xmax.min(highest + 1);
        let running: Vec<u64> = self
            .running
            .iter()
            .copied()
            .filter(|&xid| xid < xmax)
            .collect();
        let xmin = self.xmin.min(xmax);
        Self {
            xmin,
            xmax,
            running: running.into(),
        }
    }

    fn encode(&self, text: &mut String) {
        use fmt::Write;
        let (running, xmax) = self.spelled_running();
        let _ = write!(text, "{}_{}{running}", self.xmin, xmax - self.xmin);
    }

    /// The transactions in progress as far as they fit into a bookmark, and the xmax that is true of.
    fn spelled_running(&self) -> (String, u64) {
        use fmt::Write;
        let mut text = String::new();
        let mut before = self.xmin;
        for &xid in self.running.iter() {
            let length = text.len();
            let _ = write!(text, "_{}", xid - before);
            if text.len() > MAX_RUNNING_BYTES {
                text.truncate(length);
                return (text, xid);
            }
            before = xid;
        }
        (text, self.xmax)
    }

    /// Whether one more transaction might not have fitted.
    fn may_be_shortened(&self) -> bool {
        let length = self.spelled_running().0.len();
        let mut limits = [MAX_RUNNING_BYTES, FORMER_RUNNING_BYTES].into_iter();
        limits.any(|most| (most - MAX_DIGITS..=most).contains(&length))
    }

    fn decode(text: &str) -> Option<Self> {
        let mut numbers = text.split('_').map(decimal);
        let xmin = numbers.next()??;
        let xmax = xmin.checked_add(numbers.next()??)?;
        let mut before = xmin;
        let mut running = Vec::new();
        for gap in numbers {
            before = before.checked_add(gap?)?;
            running.push(before);
        }
        Self::new(xmin, xmax, &running)
    }
}

/// At most [`MAX_DIGITS`] and nothing else: `str::parse` would take a plus sign.
fn decimal(text: &str) -> Option<u64> {
    let fits =
        (1..=MAX_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok())?
}

/// A place in a history. What lies before it: everything visible in `base`, and of what is visible
/// in the batch's snapshot, the events up to the batch's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bookmark {
    pub history: Arc<str>,
    pub base: Snapshot,
    pub batch: Option<(Snapshot, u64)>,
}

/// The text was not a bookmark.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a bookmark: pass one as it was received, unchanged, or none at all")]
pub struct NotABookmark;

impl Bookmark {
    /// The place between two batches.
    #[must_use]
    pub fn at(history: &Arc<str>, base: &Snapshot) -> Self {
        Self {
            history: Arc::clone(history),
            base: base.clone(),
            batch: None,
        }
    }

    /// Reads `HISTORY.SNAPSHOT`, `HISTORY.SNAPSHOT.ID` or `HISTORY.SNAPSHOT.SNAPSHOT.ID`.
    ///
    /// # Errors
    /// [`NotABookmark`] for anything else.
    pub fn parse(text: &str) -> Result<Self, NotABookmark> {
        Self::decode(text).ok_or(NotABookmark)
    }

    fn decode(text: &str) -> Option<Self> {
        if text.len() > MAX_BOOKMARK_BYTES {
            return None;
        }
        let parts: Vec<&str> = text.split('.').collect();
        let history = parts[0];
        let named = (1..=16).contains(&history.len())
            && history
                .bytes()
                .all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
        if !named {
            return None;
        }
        let base = Snapshot::decode(parts.get(1)?)?;
        let batch = match parts[2..] {
            [] => None,
            [id] => {
                decimal(id)?;
                None
            }
            [batch, id] => Some((Snapshot::decode(batch)?, decimal(id)?)),
            _ => return None,
        };
        Some(Self {
            history: history.into(),
            base,
            batch,
        })
    }

    /// Whether an event lies before this place: whoever holds the bookmark has it.
    #[must_use]
    pub fn covers(&self, xid: u64, id: u64) -> bool {
        self.base.sees(xid)
            || self
                .batch
                .as_ref()
                .is_some_and(|(batch, last)| id <= *last && batch.sees(xid))
    }

    /// Whether everything that lies before this place surely lies before `other`, too. False for
    /// places of different histories, and where snapshots alone can't tell.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        let holds_batch = self.batch.as_ref().is_none_or(|(batch, id)| {
            batch.is_subset_of(&other.base)
                || other
                    .batch
                    .as_ref()
                    .is_some_and(|(more, last)| batch.is_subset_of(more) && id <= last)
        });
        self.history == other.history && self.base.is_subset_of(&other.base) && holds_batch
    }

    /// Whether it may stand for a later place, whose text would have been too long. Whoever holds it may
    /// know events that it doesn't cover, and takes each of them for the one that it knows.
    #[must_use]
    pub fn may_be_shortened(&self) -> bool {
        let batch = self.batch.as_ref();
        self.base.may_be_shortened() || batch.is_some_and(|(batch, _)| batch.may_be_shortened())
    }

    /// The youngest snapshot in it: a reader must have reached this to serve it.
    #[must_use]
    pub fn newest(&self) -> &Snapshot {
        self.batch.as_ref().map_or(&self.base, |(batch, _)| batch)
    }
}

impl fmt::Display for Bookmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.batch {
            None => f.write_str(&Spelling::of(&self.history, &self.base, None).end()),
            Some((batch, id)) => {
                f.write_str(&Spelling::of(&self.history, &self.base, Some(batch)).event(*id))
            }
        }
    }
}

/// The bookmarks of one batch, which share all but their last part: spelled once per batch.
#[derive(Debug)]
pub struct Spelling {
    within: String,
    end: String,
}

impl Spelling {
    /// The spelling for the batch between two snapshots of a history; without `to`, for a place.
    #[must_use]
    pub fn of(history: &str, from: &Snapshot, to: Option<&Snapshot>) -> Self {
        let mut within = format!("{history}.");
        from.encode(&mut within);
        let mut end = within.clone();
        if let Some(to) = to {
            within.push('.');
            to.encode(&mut within);
            end = format!("{history}.");
            to.encode(&mut end);
        }
        within.push('.');
        Self { within, end }
    }

    /// The bookmark of an event that others of its batch follow.
    #[must_use]
    pub fn event(&self, id: u64) -> String {
        format!("{}{id}", self.within)
    }

    /// The bookmark of the last event of the batch.
    #[must_use]
    pub fn last_event(&self, id: u64) -> String {
        format!("{}.{id}", self.end)
    }

    /// The place behind the batch.
    #[must_use]
    pub fn end(&self) -> String {
        self.end.clone()
    }
}

/// Where a reader of the log stands in the database's history.
#[derive(Clone, Debug)]
pub struct Standpoint {
    pub history: Arc<str>,
    pub snapshot: Snapshot,
    /// Highest xid of any event seen: up to it, `place` and `snapshot` see the same.
    pub highest: u64,
    /// The snapshot as it is given out: it stands still while nothing happens.
    pub place: Snapshot,
    /// The bookmark of `place`.
    pub bookmark: Arc<str>,
}

impl Standpoint {
    #[must_use]
    pub fn new(history: Arc<str>, snapshot: Snapshot, highest: u64) -> Self {
        let place = snapshot.clamped(highest);
        let bookmark = Spelling::of(&history, &place, None).end().into();
        Self {
            history,
            snapshot,
            highest,
            place,
            bookmark,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn snapshots() -> impl Strategy<Value = Snapshot> {
        (
            1u64..5000,
            0u64..300,
            proptest::collection::btree_set(0u64..300, 0..40),
        )
            .prop_map(|(xmin, width, running)| {
                let running: Vec<u64> = running
                    .into_iter()
                    .filter(|&x| x < width)
                    .map(|x| xmin + x)
                    .collect();
                Snapshot::new(xmin, xmin + width, &running).unwrap()
            })
    }

    proptest! {
        #[test]
        fn postgres_spelling_survives(snapshot in snapshots()) {
            prop_assert_eq!(Snapshot::from_postgres(&snapshot.to_postgres()), Some(snapshot));
        }

        #[test]
        fn a_bookmark_survives_its_text(base in snapshots(), batch in snapshots(), id in 0u64..99999) {
            for batch in [None, Some((batch, id))] {
                let bookmark = Bookmark { history: "abc123".into(), base: base.clone(), batch };
                prop_assert_eq!(Bookmark::parse(&bookmark.to_string()), Ok(bookmark));
            }
        }

        #[test]
        fn a_subset_sees_nothing_else(a in snapshots(), b in snapshots()) {
            let by_hand = (1..6000).all(|xid| !a.sees(xid) || b.sees(xid));
            prop_assert_eq!(a.is_subset_of(&b), by_hand);
        }

        #[test]
        fn an_intersection_sees_what_both_see(a in snapshots(), b in snapshots()) {
            let both = a.intersection(&b);
            prop_assert!((1..6000).all(|xid| both.sees(xid) == (a.sees(xid) && b.sees(xid))));
            let text = both.to_postgres();
            prop_assert_eq!(Snapshot::from_postgres(&text), Some(both));
        }

        #[test]
        fn with_more_it_sees_those_and_no_other(a in snapshots(), xids in proptest::collection::btree_set(1u64..6000, 0..5)) {
            let more = a.with(&xids);
            prop_assert!((1..7000).all(|xid| more.sees(xid) == (a.sees(xid) || xids.contains(&xid))));
            prop_assert_eq!(Snapshot::from_postgres(&more.to_postgres()), Some(more));
        }

        #[test]
        fn clamping_changes_nothing_up_to_the_highest(a in snapshots(), highest in 1u64..6000, xid in 1u64..6000) {
            let clamped = a.clamped(highest);
            prop_assert_eq!(clamped.sees(xid), a.sees(xid) && xid <= highest);
        }

        #[test]
        fn a_shortened_bookmark_loses_nothing(xmin in 1_000_000u64..2_000_000, gaps in proptest::collection::vec(1u64..5000, 0..600), id in any::<u32>()) {
            let mut xid = xmin;
            let running: Vec<u64> = gaps.iter().map(|gap| { xid += gap; xid }).collect();
            let full = Snapshot::new(xmin, xid + 1, &running).unwrap();
            let text = Spelling::of("0123456789", &full, Some(&full)).event(u64::from(id));
            prop_assert!(text.len() <= MAX_BOOKMARK_BYTES, "{} bytes", text.len());
            let parsed = Bookmark::parse(&text).unwrap();
            prop_assert!(parsed.base.is_subset_of(&full));
            prop_assert!(parsed.base == full || parsed.may_be_shortened());
            // Those of older nodes may have been: they had no more than 95.
            prop_assert!(running.len() > 180 || running.len() < 96 || !parsed.may_be_shortened());
        }
    }

    /// Few and small, so that many lie within each other.
    fn places() -> impl Strategy<Value = Bookmark> {
        let snapshot = (1u64..4, 2u64..6, 0u64..8).prop_map(|(xmin, width, bits)| {
            let inside = (0..3).filter(|bit| *bit < width && bits >> bit & 1 == 1);
            let running: Vec<u64> = inside.map(|bit| xmin + bit).collect();
            Snapshot::new(xmin, xmin + width, &running).unwrap()
        });
        let batch = proptest::option::of((snapshot.clone(), 0u64..3));
        (snapshot, batch).prop_map(|(base, batch)| Bookmark {
            history: "h".into(),
            base,
            batch,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_lies_before_a_place_within_another_lies_before_that(a in places(), b in places()) {
            prop_assert!(a.is_within(&a));
            let covered = (1..12).all(|xid| (0..4).all(|id| !a.covers(xid, id) || b.covers(xid, id)));
            prop_assert!(covered || !a.is_within(&b));
        }
    }

    #[test]
    fn a_place_lies_within_what_comes_after_it() {
        let place = |text: &str| Bookmark::parse(text).unwrap();
        let chain = [
            "h.10_0",
            "h.10_0.10_10_5.3",
            "h.10_0.10_10_5.7",
            "h.10_10_5.7",
            "h.12_10_3",
            "h.12_10_3.30_0.8",
            "h.30_0.8",
        ];
        for (at, one) in chain.iter().enumerate() {
            for (other_at, other) in chain.iter().enumerate() {
                let is_within = place(one).is_within(&place(other));
                assert_eq!(is_within, at <= other_at, "{one} within {other}");
            }
        }
        assert!(!place("h.10_0").is_within(&place("g.30_0")));
        // Two nodes that cut the same events into other batches.
        let (one, other) = (place("h.10_0.30_0.5"), place("h.12_10_3.30_0.3"));
        assert!(!one.is_within(&other) && !other.is_within(&one));
    }

    /// A bookmark of 2045 bytes and the digits of an id.
    fn long(digits: usize) -> String {
        format!("abc.1_99999_0{}.{}", "_1".repeat(1016), "7".repeat(digits))
    }

    #[test]
    fn the_longest_text_is_read() {
        let text = long(2);
        assert_eq!(text.len(), MAX_BOOKMARK_BYTES);
        let parsed = Bookmark::parse(&text).unwrap();
        assert_eq!(parsed.base.running().len(), 1017);
    }

    /// A node of before the bookmark was longer shortened it at other bytes.
    #[test]
    fn what_an_older_node_shortened_is_known_as_such() {
        for (running, may_be) in [(80, false), (95, true), (100, false), (480, true)] {
            let all: Vec<u64> = (1000..1000 + running).collect();
            let place = Snapshot::new(1000, 1000 + running, &all).unwrap();
            let bookmark = Bookmark::at(&"h".into(), &place);
            assert_eq!(bookmark.may_be_shortened(), may_be, "{running}");
        }
    }

    #[test]
    fn forged_text_is_refused() {
        let long = long(3);
        for text in [
            "",
            "abc",
            "abc.",
            "abc.5",
            "abc.+5_0",
            "abc.5_0_9",
            "abc.5_0.x",
            "ABC.5_0",
            "abc.5_9_3_0",
            "abc.5_0.5_0",
            "abc.5_0.5_0.1.2",
            "abc.0_0",
            "abc.999999999999999999_999999999999999999_1_0",
            "abc.5_0.1234567890123456789",
            "..",
            "abc.5_ 0",
            long.as_str(),
        ] {
            assert_eq!(Bookmark::parse(text), Err(NotABookmark), "{text:?}");
        }
    }

    #[test]
    fn within_a_batch_the_id_decides() {
        let bookmark = Bookmark::parse("abc.10_0.10_10_5.7").unwrap();
        assert!(
            bookmark.covers(9, 100),
            "visible in the base, whatever the id"
        );
        assert!(bookmark.covers(12, 7) && !bookmark.covers(12, 8));
        assert!(!bookmark.covers(15, 1), "in progress in the batch");
        assert!(!bookmark.covers(20, 1), "begun later");
    }
}
