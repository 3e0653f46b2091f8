//! Counts by address: of open sockets, and of Socket.IO connections that nobody has signed in to.
//! Hands out places, each free again when it is dropped. It must never count somebody who has left.

use super::seats::{network, release};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// How many each address has.
#[derive(Clone, Debug, Default)]
pub struct Crowd(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// The place of a socket, which has it for as long as it is open.
#[derive(Debug)]
#[expect(dead_code, reason = "they are held, and let go of when it is dropped")]
pub struct SocketPermit {
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
            release(&mut self.crowd.0.lock(), address, 1);
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
