//! What somebody is let in to, and why not to more: what rules and limits have said of each room.
//! Hands it over to admission, and to the memory of who polls. It must never say whether a room that was
//! refused exists.

use std::sync::Arc;

/// What somebody was admitted to, what was refused, and under which version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    pub user: Option<String>,
    pub rooms: Vec<Arc<str>>,
    /// So many home rooms there are: the first of `rooms`, and if these are fewer, nothing else is among them.
    pub home: usize,
    /// Rooms that were asked for.
    pub refused: Vec<(String, RoomRefusal)>,
    /// Of rules and revocations, as the answer saw them.
    pub version: i64,
}

impl Admission {
    /// So many home rooms are left out, for there are too many.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.home.saturating_sub(self.rooms.len())
    }

    /// How many of the rooms joined, in their order, are home rooms. Some may have been taken away meanwhile.
    #[must_use]
    pub fn home_among(&self, joined: &[Arc<str>]) -> usize {
        let mut home = self.rooms.iter().take(self.home);
        let is_home = |room: &&Arc<str>| home.any(|known| known == *room);
        joined.iter().take_while(is_home).count()
    }

    /// What was wrong with what was asked for: the word of the error, what to say, and the room. Of home rooms
    /// that are left out all at once: nobody asked for them, and there may be thousands.
    pub fn errors(&self) -> impl Iterator<Item = (&'static str, String, Option<&str>)> {
        let refused = self.refused.iter();
        let refused = refused.map(|(room, why)| (why.word(), why.to_string(), Some(room.as_str())));
        let left_out = (self.left_out() > 0).then(|| {
            let (home, left_out, most) = (self.home, self.left_out(), self.rooms.len());
            let message = format!(
                "{left_out} of your {home} home rooms are left out: a connection may be in {most} rooms"
            );
            (RoomRefusal::TooMany.word(), message, None)
        });
        refused.chain(left_out)
    }
}

/// Why a room is not somebody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoomRefusal {
    #[error("a room's name has 1 byte at least, is bounded, and holds no control characters")]
    Bad,
    #[error("no such room for you")]
    Forbidden,
    #[error("this connection is in as many rooms as it may be: leave some first")]
    TooMany,
    /// It was, and was taken away.
    #[error("this room is no longer yours: nothing more of it will come")]
    Withdrawn,
}

impl RoomRefusal {
    /// As `docs/protocol.md` has it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Bad => "bad-room",
            Self::Forbidden | Self::Withdrawn => "forbidden",
            Self::TooMany => "too-many-rooms",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A room that was asked for stood in its place then, and passed for one: it could not be left.
    #[test]
    fn a_home_room_that_was_taken_before_the_welcome_is_none_of_its_rooms() {
        let rooms = |names: &[&str]| names.iter().copied().map(Arc::from).collect();
        let admission = Admission {
            user: None,
            rooms: rooms(&["a", "b", "asked"]),
            home: 2,
            refused: Vec::new(),
            version: 0,
        };
        for (joined, home) in [
            (&["a", "b", "asked"][..], 2),
            (&["b", "asked"], 1),
            (&["a", "asked"], 1),
            (&["asked"], 0),
            (&[], 0),
        ] {
            let joined: Vec<Arc<str>> = rooms(joined);
            assert_eq!(admission.home_among(&joined), home, "{joined:?}");
        }
    }
}
