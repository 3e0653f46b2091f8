//! For whom something is counted, or remembered: a user, or an address of which nobody has a name.
//! Hands names over to those who count. It must never take the addresses of one host for many.

use std::net::{IpAddr, Ipv6Addr};

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

/// A user, or an address of which nobody has a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    User(String),
    Address(IpAddr),
}

impl Whose {
    /// Nothing where there is neither, as on a Unix socket.
    #[must_use]
    pub fn of(user: Option<&str>, address: Option<IpAddr>) -> Option<Self> {
        let user = user.map(|user| Self::User(user.to_owned()));
        user.or_else(|| Some(Self::Address(network(address?))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each host has as many addresses as it likes, but one network of 64 bits.
    #[test]
    fn addresses_of_one_host_are_one() {
        let whose = |address: &str| Whose::of(None, address.parse().ok());
        for (one, other, is_same) in [
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.2", false),
        ] {
            assert_eq!(whose(one) == whose(other), is_same, "{one} {other}");
        }
    }

    #[test]
    fn a_user_is_one_wherever_they_come_from() {
        let [one, other] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(|ip| Some(IpAddr::from(ip)));
        assert_eq!(Whose::of(Some("1"), one), Whose::of(Some("1"), other));
        assert_ne!(Whose::of(None, one), Whose::of(None, other));
        assert_eq!(Whose::of(None, None), None);
    }
}
