//! The seats of the house: connections in all, by address and by user; and the bytes of the replays that
//! are on their way to each.
//! Hands seats over to the transports; a seat is free again when it is dropped.
//! It must never count somebody who has left.

use super::whose::{Whose, network};
use super::{Gate, Refusal};
use crate::counts::{Counted, Counts};
use std::net::IpAddr;

/// Who sits where.
#[derive(Debug, Default)]
pub struct Seats {
    by_address: Counts<IpAddr>,
    by_user: Counts<String>,
    replays: Counts<Whose>,
}

/// A seat taken; it is free again when this is dropped.
#[derive(Debug)]
pub struct Seat {
    address: Counted<IpAddr>,
    /// Once somebody has put a name to it.
    user: Option<Counted<String>>,
}

/// A replay on its way, counted until this is dropped.
pub type OnItsWay = Counted<Whose>;

impl Seats {
    /// Takes a seat for somebody whose name is not known yet.
    ///
    /// # Errors
    /// The house is full, or this address has all it may have.
    pub fn sit(&self, gate: &Gate, address: Option<IpAddr>) -> Result<Seat, Refusal> {
        let limits = &gate.settings.limits;
        let (most, of_one) = (limits.connections, limits.connections_per_address);
        let address = self.by_address.enter(address.map(network), most, of_one)?;
        Ok(Seat {
            address,
            user: None,
        })
    }

    /// Connections in all.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.by_address.all()
    }
}

impl Seat {
    /// Puts a name to the seat.
    ///
    /// # Errors
    /// This user has all the connections they may have.
    pub fn belongs_to(&mut self, gate: &Gate, user: Option<&str>) -> Result<(), Refusal> {
        let Some(user) = user else { return Ok(()) };
        let of_one = gate.settings.limits.connections_per_user;
        let seats = &gate.seats.by_user;
        self.user = Some(seats.enter(Some(user.to_owned()), usize::MAX, of_one)?);
        Ok(())
    }

    /// Counts a replay of so many bytes until all of it is written. Those of one reader may take as much
    /// as the queues of all their connections; a single one is bounded where it is read.
    ///
    /// # Errors
    /// With those that their other connections have not taken yet it is more.
    pub fn replay(&self, gate: &Gate, bytes: usize) -> Result<Option<OnItsWay>, Refusal> {
        let limits = &gate.settings.limits;
        let user = self.user.as_ref().and_then(Counted::key);
        let connections = if user.is_some() {
            limits.connections_per_user
        } else {
            limits.connections_per_address
        };
        let whose = Whose::of(user.map(String::as_str), self.address.key().copied());
        if bytes == 0 || whose.is_none() {
            return Ok(None);
        }
        let most = connections.saturating_mul(limits.queue_bytes);
        let counted = gate.seats.replays.add(whose, bytes, |_, before| {
            let fits = before == 0 || before + bytes <= most;
            fits.then_some(()).ok_or(Refusal::Replaying)
        });
        counted.map(Some)
    }
}
