//! The seats of the house: connections in all, by address and by user; and the bytes of the replays that
//! are on their way to each.
//! Hands seats over to the transports; a seat is free again when it is dropped.
//! It must never count somebody who has left.

use super::{Gate, Refusal};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// Bits of an IPv6 address that are a network's: a host has the others to itself, and may come from
/// each of them.
const NETWORK_BITS: u32 = 64;

/// What an address is counted by: itself, or of IPv6 its network.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = address.to_bits() & (u128::MAX << (u128::BITS - NETWORK_BITS));
            Ipv6Addr::from_bits(bits).into()
        }
        address => address,
    }
}

/// Who sits where: connections in all, by address and by user.
#[derive(Clone, Debug, Default)]
pub struct Seats(Arc<Mutex<Seating>>);

#[derive(Debug, Default)]
struct Seating {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
    by_user: HashMap<String, usize>,
    replays: HashMap<Reader, usize>,
}

/// Who replays are for: a user, or an address of which nobody has a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Reader {
    User(String),
    Address(IpAddr),
}

/// A replay on its way, counted until this is dropped.
#[derive(Debug)]
pub struct OnItsWay {
    seats: Seats,
    reader: Reader,
    bytes: usize,
}

/// A seat taken; it is free again when this is dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Seats,
    address: Option<IpAddr>,
    user: Option<String>,
}

impl Seats {
    /// Takes a seat for somebody whose name is not known yet.
    ///
    /// # Errors
    /// The house is full, or this address has all it may have.
    pub fn sit(&self, gate: &Gate, address: Option<IpAddr>) -> Result<Seat, Refusal> {
        let limits = &gate.settings.limits;
        let address = address.map(network);
        let mut seating = self.0.lock();
        if seating.all >= limits.connections {
            return Err(Refusal::Overloaded);
        }
        if let Some(address) = address {
            let count = seating.by_address.entry(address).or_default();
            if *count >= limits.connections_per_address {
                return Err(Refusal::TooMany);
            }
            *count += 1;
        }
        seating.all += 1;
        Ok(Seat {
            seats: self.clone(),
            address,
            user: None,
        })
    }

    /// Connections in all.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.0.lock().all
    }
}

impl Seat {
    /// Puts a name to the seat.
    ///
    /// # Errors
    /// This user has all the connections they may have.
    pub fn belongs_to(&mut self, gate: &Gate, user: Option<&str>) -> Result<(), Refusal> {
        let Some(user) = user else { return Ok(()) };
        let mut seating = self.seats.0.lock();
        let count = seating.by_user.entry(user.to_owned()).or_default();
        if *count >= gate.settings.limits.connections_per_user {
            return Err(Refusal::TooMany);
        }
        *count += 1;
        drop(seating);
        self.user = Some(user.to_owned());
        Ok(())
    }

    /// Counts a replay of so many bytes until all of it is written. Those of one reader may take as much
    /// as the queues of all their connections; a single one is bounded where it is read.
    ///
    /// # Errors
    /// With those that their other connections have not taken yet it is more.
    pub fn replay(&self, gate: &Gate, bytes: usize) -> Result<Option<OnItsWay>, Refusal> {
        let limits = &gate.settings.limits;
        let (reader, connections) = match (&self.user, self.address) {
            (Some(user), _) => (Reader::User(user.clone()), limits.connections_per_user),
            (None, Some(address)) => (Reader::Address(address), limits.connections_per_address),
            (None, None) => return Ok(None),
        };
        if bytes == 0 {
            return Ok(None);
        }
        let most = connections.saturating_mul(limits.queue_bytes);
        let mut seating = self.seats.0.lock();
        let before = seating.replays.get(&reader).copied().unwrap_or(0);
        if before > 0 && before + bytes > most {
            return Err(Refusal::Replaying);
        }
        seating.replays.insert(reader.clone(), before + bytes);
        drop(seating);
        let seats = self.seats.clone();
        Ok(Some(OnItsWay {
            seats,
            reader,
            bytes,
        }))
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        let mut seating = self.seats.0.lock();
        release(&mut seating.replays, &self.reader, self.bytes);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seating = self.seats.0.lock();
        seating.all -= 1;
        if let Some(address) = self.address {
            release(&mut seating.by_address, &address, 1);
        }
        if let Some(user) = &self.user {
            release(&mut seating.by_user, user, 1);
        }
    }
}

/// So many less; what is none is not kept.
pub(super) fn release<K: std::hash::Hash + Eq>(
    counts: &mut HashMap<K, usize>,
    key: &K,
    less: usize,
) {
    if let Some(count) = counts.get_mut(key) {
        *count -= less;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
