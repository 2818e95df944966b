//! Free ports, reserved.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which the kernel takes ports for outgoing connections.
const FIRST: u16 = 10_240;
const COUNT: u16 = 20_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// Ports of 127.0.0.1 for programs that bind by themselves.
///
/// A port is free for TCP when it is handed out, and stays reserved against every other user of
/// this type, in this process and others, for as long as this value lives: the UDP port of the
/// same number is held bound. (A DNS server on the same port is the one thing it does not suit.)
#[derive(Debug, Default)]
pub struct Ports {
    held: Vec<UdpSocket>,
}

impl Ports {
    /// None yet.
    pub const fn new() -> Self {
        Self { held: Vec::new() }
    }

    /// Reserves one more.
    ///
    /// # Panics
    /// When none is free.
    pub fn take(&mut self) -> u16 {
        let start = (std::process::id() % u32::from(COUNT)) as u16;
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let port = FIRST + (start.wrapping_mul(7) % COUNT + step % COUNT) % COUNT;
            if let Ok(held) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))
                && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            {
                self.held.push(held);
                return port;
            }
        }
        panic!("no free port");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_and_bindable() {
        let mut ports = Ports::new();
        let mut list: Vec<u16> = (0..20).map(|_| ports.take()).collect();
        assert!(
            list.iter()
                .all(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        );
        list.sort_unstable();
        list.dedup();
        assert_eq!(list.len(), 20);
    }
}
