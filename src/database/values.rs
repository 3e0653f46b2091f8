//! Values as PostgreSQL sends them, where tokio-postgres has no type for them or one that costs more.
//! Hands them over to whoever reads rows. It must never guess: what is not of the type is refused.

use std::error::Error;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtransaction_is_younger_across_the_turn_of_the_lower_half() {
        let turn = 7 << 32;
        assert_eq!(Xid(1005).below(turn + 1000), turn + 1005);
        assert_eq!(Xid(1000).below(turn + 1000), turn + 1000);
        assert_eq!(Xid(3).below(turn - 2), turn + 3);
        assert_eq!(Xid(u32::MAX).below(turn - 2), turn - 1);
    }
}
