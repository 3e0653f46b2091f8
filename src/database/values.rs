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
