//! The stamps by which a client tells its requests apart.
//! Hands its word over to whoever answers one. It must never take a request for another's repetition because
//! a client says the same each time.

/// The stamps of a client's requests of one kind.
#[derive(Debug, Default)]
pub(in crate::connection::socketio) struct Stamps {
    last: Option<Box<str>>,
    /// They were not all the same until now: else they say nothing.
    differ: bool,
}

impl Stamps {
    /// Whether this is the last request once more.
    pub fn is_last(&self, stamp: Option<&str>) -> bool {
        self.differ && stamp.is_some() && self.last.as_deref() == stamp
    }

    pub fn keep(&mut self, stamp: Option<Box<str>>) {
        self.differ |= self.last.is_some() && stamp.is_some() && self.last != stamp;
        self.last = stamp;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script that was written by hand may say the same each time.
    #[test]
    fn only_a_client_whose_stamps_differ_says_something_by_one() {
        let mut stamps = Stamps::default();
        for (stamp, is_last) in [
            (None, false),
            (Some("a"), false),
            (Some("a"), false),
            (None, false),
            (Some("a"), false),
            (Some("b"), false),
            (Some("b"), true),
            (Some("c"), false),
            (None, false),
        ] {
            assert_eq!(stamps.is_last(stamp), is_last, "{stamp:?}");
            stamps.keep(stamp.map(Into::into));
        }
    }
}
