//! Values as PostgreSQL sends them, where tokio-postgres has no type for them or one that costs more;
//! and texts of clients as it can take them, whatever its encoding.
//! Hands them over to whoever reads rows or asks. It must never guess: what is not of the type is
//! refused.

use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write;
use tokio_postgres::types::{FromSql, Type, accepts};

type Refused = Box<dyn Error + Sync + Send>;

/// A transaction id, `xid8`.
pub struct Xid8(pub u64);

impl<'a> FromSql<'a> for Xid8 {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Refused> {
        Ok(Self(u64::from_be_bytes(raw.try_into()?)))
    }

    accepts!(XID8);
}

/// What is left of a transaction id in a row's own `xmin`: its lower half.
pub struct Xid(pub u32);

impl Xid {
    /// The whole of it, for a subtransaction: it is younger than its transaction, and by less than half.
    #[must_use]
    pub fn below(self, top: u64) -> u64 {
        let lower = u64::from(self.0);
        let half = top & !u64::from(u32::MAX) | lower;
        if half < top { half + (1 << 32) } else { half }
    }
}

impl<'a> FromSql<'a> for Xid {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Refused> {
        Ok(Self(u32::from_be_bytes(raw.try_into()?)))
    }

    accepts!(XID);
}

/// The text of a `json`, as it was written.
pub struct JsonText<'a>(pub &'a str);

impl<'a> FromSql<'a> for JsonText<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Refused> {
        Ok(Self(std::str::from_utf8(raw)?))
    }

    accepts!(JSON);
}

/// A `timestamptz`.
pub struct Moment(pub jiff::Timestamp);

/// PostgreSQL counts from 2000-01-01, everybody else from 1970.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

impl<'a> FromSql<'a> for Moment {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Refused> {
        let micros = i64::from_be_bytes(raw.try_into()?);
        let since = micros.checked_add(EPOCH_MICROS).ok_or("no such time")?;
        Ok(Self(jiff::Timestamp::from_microsecond(since)?))
    }

    accepts!(TIMESTAMPTZ);
}

/// A text of a client's, as `rowcast.sent` reads it: as a parameter, what the database's encoding can't
/// hold would fail the statement for all who ask in it.
pub struct Sent<'a>(pub &'a str);

impl Serialize for Sent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_ascii() {
            return serializer.serialize_str(self.0);
        }
        let mut hex = String::with_capacity(2 * self.0.len());
        for byte in self.0.bytes() {
            let _ = write!(hex, "{byte:02x}");
        }
        [hex].serialize(serializer)
    }
}

impl Sent<'_> {
    /// For `serialize_with`.
    pub fn serialize_str<S: Serializer>(text: &&str, serializer: S) -> Result<S::Ok, S::Error> {
        Sent(text).serialize(serializer)
    }

    /// JSON text in the same way, to be put into other JSON.
    #[must_use]
    pub fn json(text: &str) -> Cow<'_, str> {
        if text.is_ascii() {
            Cow::Borrowed(text)
        } else {
            Cow::Owned(crate::event::to_json(&Sent(text)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_encoding_may_lack_goes_as_bytes() {
        assert_eq!(
            crate::event::to_json(&[Sent("a\""), Sent("é")]),
            r#"["a\"",["c3a9"]]"#
        );
        assert_eq!(Sent::json(r#"{"a":"\u00e9"}"#), r#"{"a":"\u00e9"}"#);
        assert_eq!(Sent::json("\"é\""), r#"["22c3a922"]"#);
    }

    #[test]
    fn a_subtransaction_is_younger_across_the_turn_of_the_lower_half() {
        let turn = 7 << 32;
        assert_eq!(Xid(1005).below(turn + 1000), turn + 1005);
        assert_eq!(Xid(1000).below(turn + 1000), turn + 1000);
        assert_eq!(Xid(3).below(turn - 2), turn + 3);
        assert_eq!(Xid(u32::MAX).below(turn - 2), turn - 1);
    }
}
