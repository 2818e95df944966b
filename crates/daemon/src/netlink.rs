//! Sockets to the kernel's tables: firewall rules and addresses. What is said over them is made
//! and read by whoever uses them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, getsockname,
    recvfrom, sendto, setsockopt, socket, sockopt,
};

/// Which of the kernel's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Addresses, routes, interfaces.
    Route,
    /// nfnetlink: nftables among others.
    Netfilter,
}

/// A netlink socket, non-blocking.
#[derive(Debug)]
pub struct Netlink {
    fd: OwnedFd,
    port: u32,
}

impl Netlink {
    /// Opens a socket; the kernel chooses its port. `send_buffer` is how many octets one message
    /// may have, as far as we may ask for it (SO_SNDBUFFORCE wants CAP_NET_ADMIN; without it the
    /// system's limit holds).
    ///
    /// # Errors
    /// The system's.
    pub fn open(family: Family, send_buffer: usize) -> io::Result<Netlink> {
        let fd = match family {
            Family::Route => socket(
                AddressFamily::Netlink,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
                SockProtocol::NetlinkRoute,
            )?,
            Family::Netfilter => {
                // SAFETY: takes numbers only; the result is checked and owned below.
                let raw = unsafe {
                    libc::socket(
                        libc::AF_NETLINK,
                        libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
                        libc::NETLINK_NETFILTER,
                    )
                };
                if raw < 0 {
                    return Err(io::Error::last_os_error());
                }
                // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
                unsafe { OwnedFd::from_raw_fd(raw) }
            }
        };
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        let port = getsockname::<NetlinkAddr>(fd.as_raw_fd())?.pid();
        if setsockopt(&fd, sockopt::SndBufForce, &send_buffer).is_err() {
            let _ = setsockopt(&fd, sockopt::SndBuf, &send_buffer);
        }
        // Answers to a large batch come all at once.
        if setsockopt(&fd, sockopt::RcvBufForce, &(4 << 20)).is_err() {
            let _ = setsockopt(&fd, sockopt::RcvBuf, &(4 << 20));
        }
        Ok(Netlink { fd, port })
    }

    /// Hears what this multicast group is told (NETLINK_ADD_MEMBERSHIP).
    ///
    /// # Errors
    /// The system's.
    pub fn join(&self, group: u32) -> io::Result<()> {
        self.membership(libc::NETLINK_ADD_MEMBERSHIP, group)
    }

    /// No longer hears it. While nobody does, the kernel spares itself the telling.
    ///
    /// # Errors
    /// The system's.
    pub fn leave(&self, group: u32) -> io::Result<()> {
        self.membership(libc::NETLINK_DROP_MEMBERSHIP, group)
    }

    fn membership(&self, option: libc::c_int, group: u32) -> io::Result<()> {
        // SAFETY: the pointer and the length describe a live integer.
        let result = unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_NETLINK,
                option,
                (&raw const group).cast(),
                4,
            )
        };
        match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The port that the kernel gave us: stands in notifications of what we did ourselves.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Sends octets to the kernel, which acts on them before this returns.
    ///
    /// # Errors
    /// The system's; too long a message is refused whole.
    pub fn send(&self, octets: &[u8]) -> io::Result<()> {
        loop {
            let kernel = NetlinkAddr::new(0, 0);
            match sendto(self.fd.as_raw_fd(), octets, &kernel, MsgFlags::MSG_NOSIGNAL) {
                Ok(n) if n == octets.len() => return Ok(()),
                Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
                Err(nix::errno::Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Receives one datagram of the kernel; those of other processes are passed over.
    ///
    /// # Errors
    /// `WouldBlock` when none is there; ENOBUFS when some were lost.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match recvfrom::<NetlinkAddr>(self.fd.as_raw_fd(), buffer) {
                Ok((n, Some(from))) if from.pid() == 0 => return Ok(n),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers() {
        let route = Netlink::open(Family::Route, 4_096).unwrap();
        assert_ne!(route.port(), 0);
        let mut buffer = [0; 8_192];
        assert_eq!(
            route.recv(&mut buffer).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        // RTM_GETADDR, dump, for every family.
        let mut ask = Vec::new();
        ask.extend(24u32.to_ne_bytes());
        ask.extend(22u16.to_ne_bytes());
        ask.extend(0x301u16.to_ne_bytes());
        ask.extend([0; 16]);
        route.send(&ask).unwrap();
        assert!(route.recv(&mut buffer).unwrap() > 16);
        assert!(Netlink::open(Family::Netfilter, 4_096).is_ok());
    }
}
