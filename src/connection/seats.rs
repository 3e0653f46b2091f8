//! The seats of the house: connections in all, by address and by user; and the crowd before it.
//! Hands seats over to the transports; a seat is free again when it is dropped.
//! It must never count somebody who has left.

use super::{Gate, Refusal};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

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
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seating = self.seats.0.lock();
        seating.all -= 1;
        if let Some(address) = self.address {
            release(&mut seating.by_address, &address);
        }
        if let Some(user) = &self.user {
            release(&mut seating.by_user, user);
        }
    }
}

/// How many of each address are here who sit nowhere yet, or may never.
#[derive(Clone, Debug, Default)]
pub struct Crowd(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// The place of a socket, which has it for as long as it is open.
#[derive(Debug)]
pub struct Place {
    /// Of all sockets.
    pub permit: OwnedSemaphorePermit,
    /// Of those of its address.
    pub counted: Counted,
}

/// One of them, until this is dropped.
#[derive(Debug)]
pub struct Counted {
    crowd: Crowd,
    address: Option<IpAddr>,
}

impl Crowd {
    /// One more, if this address has fewer than `most`; whoever has none is not counted.
    #[must_use]
    pub fn enter(&self, address: Option<IpAddr>, most: usize) -> Option<Counted> {
        let address = address.map(network);
        if let Some(address) = address {
            let mut all = self.0.lock();
            let count = all.get(&address).copied().unwrap_or(0);
            if count >= most {
                return None;
            }
            all.insert(address, count + 1);
        }
        let crowd = self.clone();
        Some(Counted { crowd, address })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(address) = &self.address {
            release(&mut self.crowd.0.lock(), address);
        }
    }
}

fn release<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_counted_by_address_and_forgets_who_has_left() {
        let crowd = Crowd::default();
        let [one, other] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(|ip| Some(IpAddr::from(ip)));
        let mut first: Vec<_> = (0..3).filter_map(|_| crowd.enter(one, 2)).collect();
        assert_eq!(first.len(), 2);
        assert!(crowd.enter(other, 2).is_some());
        assert!(crowd.enter(None, 0).is_some(), "of nowhere");
        first.pop();
        assert!(crowd.enter(one, 2).is_some());
        first.clear();
        assert!(crowd.0.lock().is_empty());
    }

    /// Each host has as many addresses as it likes, but one network of 64 bits.
    #[test]
    fn addresses_of_one_host_are_one() {
        let crowd = Crowd::default();
        let mut inside = Vec::new();
        for (address, is_let_in) in [
            ("2001:db8::1", true),
            ("2001:db8::ffff:ffff:ffff:ffff", false),
            ("2001:db8:0:1::1", true),
            ("192.0.2.1", true),
            ("::ffff:192.0.2.1", false),
            ("::ffff:192.0.2.2", true),
            ("192.0.2.2", false),
        ] {
            let counted = crowd.enter(address.parse().ok(), 1);
            assert_eq!(counted.is_some(), is_let_in, "{address}");
            inside.extend(counted);
        }
        inside.clear();
        assert!(crowd.0.lock().is_empty());
    }
}
