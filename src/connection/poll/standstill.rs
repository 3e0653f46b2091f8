//! Whether an answer moves its reader on. While more transactions are open than a bookmark can name,
//! the next place may lie before all that is told: it would be asked for and told again at once.
//! Hands its finding over to the answer. It must never hold up one that moves its reader on.

use crate::bookmark::Bookmark;
use crate::hub::Delivery;
use std::collections::VecDeque;
use std::time::Duration;

/// How long such an answer is put off, if its reader waits that long: transactions that stay open in
/// such numbers rarely end sooner, and what is told anew once a second is no load.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// Whether who brought one bookmark and is given the next will be told all of these events again, or
/// of the same gap if there are none.
pub(super) fn stands_still(brought: Option<&str>, next: &str, told: &VecDeque<Delivery>) -> bool {
    let shortened = |text| {
        let place = Bookmark::parse(text).ok();
        place.filter(Bookmark::may_be_shortened)
    };
    let Some(next) = brought.and_then(shortened).and_then(|_| shortened(next)) else {
        return false;
    };
    let covered = |delivery: &Delivery| match delivery {
        Delivery::Event(event) => {
            let place = event.place.as_ref();
            place.is_some_and(|place| next.covers(place.xid, place.id))
        }
        _ => false,
    };
    !told.iter().any(covered)
}
