//! Who is at the other end of a connection, before anything is known of an account.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::account::Account;

/// Leading bits of an IPv6 address that are one client's: the rest it may choose as it likes.
const IPV6_BITS: u32 = 64;

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Peer {
    /// A process of this user of this machine.
    Local(u32),
    /// Somebody at this address.
    Remote(SocketAddr),
}

/// What clients have in common that are taken for one, where no token tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// A user of this machine.
    User(u32),
    /// An IPv4 address, or the network of an IPv6 address.
    Network(IpAddr),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(uid) => write!(f, "uid {uid}"),
            Self::Network(IpAddr::V6(network)) => write!(f, "{network}/{IPV6_BITS}"),
            Self::Network(address) => address.fmt(f),
        }
    }
}

impl Peer {
    /// What it is taken for.
    pub(super) fn source(self) -> Source {
        match self {
            Self::Local(uid) => Source::User(uid),
            Self::Remote(address) => Source::Network(network(address.ip())),
        }
    }

    /// Whoever it is, as far as rates are concerned.
    pub(super) fn anybody(self) -> Account {
        let (name, uid) = match (self, self.source()) {
            (Self::Local(uid), _) => ("anybody".into(), Some(uid)),
            (Self::Remote(_), source) => (source.to_string().into(), None),
        };
        Account {
            name,
            uid,
            role: None,
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let mask = u128::MAX << (Ipv6Addr::BITS - IPV6_BITS);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_client_is_known_by_its_network_whatever_address_it_takes() {
        let source = |address: &str| {
            let address = SocketAddr::new(address.parse().unwrap(), 1);
            Peer::Remote(address).source().to_string()
        };
        assert_eq!(source("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(source("2001:db8:1:2::9"), "2001:db8:1:2::/64");
        assert_ne!(source("2001:db8:1:3::9"), "2001:db8:1:2::/64");
        assert_eq!(source("192.0.2.1"), "192.0.2.1");
        assert_eq!(source("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
