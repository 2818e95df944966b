//! Given listeners and their connections, TCP or Unix, as mio sources.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry, Token, event};
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getsockname, sockopt};
use std::os::fd::AsRawFd;

/// A listening socket with the role that its name gave it (`mx`, `pop3s`, …).
#[derive(Debug)]
pub struct Listener {
    role: String,
    socket: ListenerSocket,
}

#[derive(Debug)]
enum ListenerSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A TCP client. IPv4 addresses mapped into IPv6 are given as IPv4.
    Tcp(SocketAddr),
    /// A process of this host.
    Unix(Credentials),
}

/// What the kernel knows of the process at the other end of a Unix socket (SO_PEERCRED).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    /// User id at the time of connect.
    pub uid: u32,
    /// Group id at the time of connect.
    pub gid: u32,
    /// Process id at the time of connect.
    pub pid: i32,
}

/// A connected, non-blocking socket.
#[derive(Debug)]
pub enum Socket {
    /// A TCP connection.
    Tcp(TcpStream),
    /// A Unix stream.
    Unix(UnixStream),
}

/// The address family of a socket.
fn family(fd: BorrowedFd<'_>) -> io::Result<Option<AddressFamily>> {
    Ok(getsockname::<SockaddrStorage>(fd.as_raw_fd())?.family())
}

impl Listener {
    /// Takes a listening descriptor.
    ///
    /// # Errors
    /// The system's; `InvalidInput` for a socket that is neither TCP nor Unix.
    pub fn from_fd(role: impl Into<String>, fd: OwnedFd) -> io::Result<Listener> {
        let family = family(fd.as_fd())?;
        crate::file::set_nonblocking(fd.as_fd(), true)?;
        let socket = match family {
            Some(AddressFamily::Inet | AddressFamily::Inet6) => {
                ListenerSocket::Tcp(TcpListener::from_std(std::net::TcpListener::from(fd)))
            }
            Some(AddressFamily::Unix) => ListenerSocket::Unix(UnixListener::from_std(
                std::os::unix::net::UnixListener::from(fd),
            )),
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "not a TCP or Unix socket",
                ));
            }
        };
        Ok(Listener {
            role: role.into(),
            socket,
        })
    }

    /// The name under which the socket was given.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// Accepts one connection.
    ///
    /// # Errors
    /// `WouldBlock` when none waits. A connection that was reset while it waited, or too many
    /// open files, are errors of the system and not of the listener: try again later.
    pub fn accept(&self) -> io::Result<(Socket, Peer)> {
        match &self.socket {
            ListenerSocket::Tcp(l) => {
                let (socket, address) = l.accept()?;
                Ok((Socket::Tcp(socket), Peer::Tcp(plain(address))))
            }
            ListenerSocket::Unix(l) => {
                let (socket, _) = l.accept()?;
                let peer = credentials(socket.as_fd())?;
                Ok((Socket::Unix(socket), Peer::Unix(peer)))
            }
        }
    }
}

impl event::Source for Listener {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        match &mut self.socket {
            ListenerSocket::Tcp(l) => l.register(registry, token, interests),
            ListenerSocket::Unix(l) => l.register(registry, token, interests),
        }
    }
    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        match &mut self.socket {
            ListenerSocket::Tcp(l) => l.reregister(registry, token, interests),
            ListenerSocket::Unix(l) => l.reregister(registry, token, interests),
        }
    }
    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match &mut self.socket {
            ListenerSocket::Tcp(l) => l.deregister(registry),
            ListenerSocket::Unix(l) => l.deregister(registry),
        }
    }
}

/// An IPv4 address that came through an IPv6 socket, as IPv4.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Who is connected at the other end of a Unix socket.
///
/// # Errors
/// The system's.
pub fn credentials(fd: BorrowedFd<'_>) -> io::Result<Credentials> {
    let c = nix::sys::socket::getsockopt(&fd, sockopt::PeerCredentials)?;
    Ok(Credentials {
        uid: c.uid(),
        gid: c.gid(),
        pid: c.pid(),
    })
}

impl Socket {
    /// Takes a connected descriptor (inetd's, or one that came in a packet) and says who is there.
    ///
    /// # Errors
    /// The system's; `InvalidInput` for a socket that is neither TCP nor Unix.
    pub fn from_fd(fd: OwnedFd) -> io::Result<(Socket, Peer)> {
        let family = family(fd.as_fd())?;
        crate::file::set_nonblocking(fd.as_fd(), true)?;
        match family {
            Some(AddressFamily::Inet | AddressFamily::Inet6) => {
                let s = TcpStream::from_std(std::net::TcpStream::from(fd));
                let peer = Peer::Tcp(plain(s.peer_addr()?));
                Ok((Socket::Tcp(s), peer))
            }
            Some(AddressFamily::Unix) => {
                let peer = Peer::Unix(credentials(fd.as_fd())?);
                Ok((
                    Socket::Unix(UnixStream::from_std(std::os::unix::net::UnixStream::from(
                        fd,
                    ))),
                    peer,
                ))
            }
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a TCP or Unix socket",
            )),
        }
    }

    /// Begins a TCP connection; writable tells when it stands, [`Socket::connected`] whether.
    ///
    /// # Errors
    /// The system's.
    pub fn connect(address: SocketAddr) -> io::Result<Socket> {
        TcpStream::connect(address).map(Socket::Tcp)
    }

    /// As [`Socket::connect`], from this address of ours when one is given; the kernel chooses
    /// the port.
    ///
    /// # Errors
    /// The system's; `InvalidInput` when the families differ.
    pub fn connect_from(
        address: SocketAddr,
        source: Option<std::net::IpAddr>,
    ) -> io::Result<Socket> {
        use nix::sys::socket::{SockFlag, SockType, bind, connect, setsockopt, socket};
        let Some(source) = source else {
            return Socket::connect(address);
        };
        if source.is_ipv4() != address.is_ipv4() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let family = if address.is_ipv4() {
            AddressFamily::Inet
        } else {
            AddressFamily::Inet6
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(family, SockType::Stream, flags, None)?;
        // The port is chosen at connect, so that one port can serve several destinations.
        setsockopt(&fd, sockopt::IpBindAddressNoPort, &true)?;
        let own = SockaddrStorage::from(SocketAddr::new(source, 0));
        bind(fd.as_raw_fd(), &own)?;
        match connect(fd.as_raw_fd(), &SockaddrStorage::from(address)) {
            Ok(()) | Err(nix::errno::Errno::EINPROGRESS) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(Socket::Tcp(TcpStream::from_std(std::net::TcpStream::from(
            fd,
        ))))
    }

    /// After the first writable event: whether the connection stands.
    ///
    /// # Errors
    /// Why it does not; `NotConnected` when it is still under way.
    pub fn connected(&self) -> io::Result<()> {
        if let Socket::Tcp(s) = self {
            if let Some(e) = s.take_error()? {
                return Err(e);
            }
            s.peer_addr()?;
        }
        Ok(())
    }

    /// Sends small writes at once (TCP_NODELAY): replies are written whole, waiting gains nothing.
    pub fn send_at_once(&self) {
        if let Socket::Tcp(s) = self {
            // Only speed is lost when the system refuses.
            let _ = s.set_nodelay(true);
        }
    }

    /// Ends our direction; the peer sees the end of the stream.
    ///
    /// # Errors
    /// The system's.
    pub fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Socket::Tcp(s) => s.shutdown(std::net::Shutdown::Write),
            Socket::Unix(s) => s.shutdown(std::net::Shutdown::Write),
        }
    }

    /// Our own address of a TCP connection.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Socket::Tcp(s) => s.local_addr().ok().map(plain),
            Socket::Unix(_) => None,
        }
    }
}

/// A connected pair of Unix streams: the first a non-blocking mio source, the second plain.
///
/// # Errors
/// The system's.
pub fn stream_pair() -> io::Result<(Socket, OwnedFd)> {
    let (a, b) = std::os::unix::net::UnixStream::pair()?;
    // Not the standard library's way: it is an ioctl, which no confined daemon may call.
    crate::file::set_nonblocking(a.as_fd(), true)?;
    Ok((Socket::Unix(UnixStream::from_std(a)), b.into()))
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Tcp(s) => s.as_fd(),
            Socket::Unix(s) => s.as_fd(),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(s) => s.read(buffer),
            Socket::Unix(s) => s.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(s) => s.write(data),
            Socket::Unix(s) => s.write(data),
        }
    }
    fn write_vectored(&mut self, data: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Tcp(s) => s.write_vectored(data),
            Socket::Unix(s) => s.write_vectored(data),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl event::Source for Socket {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        match self {
            Socket::Tcp(s) => s.register(registry, token, interests),
            Socket::Unix(s) => s.register(registry, token, interests),
        }
    }
    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        match self {
            Socket::Tcp(s) => s.reregister(registry, token, interests),
            Socket::Unix(s) => s.reregister(registry, token, interests),
        }
    }
    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Socket::Tcp(s) => s.deregister(registry),
            Socket::Unix(s) => s.deregister(registry),
        }
    }
}

/// Length of the queue of connections that wait to be accepted: the kernel cuts it to somaxconn.
pub const BACKLOG: i32 = 4096;

/// Binds a TCP listener. IPv6 sockets take IPv6 only, so that `0.0.0.0` and `[::]` can both be bound.
///
/// For mail-start: daemons are given theirs.
///
/// # Errors
/// The system's.
pub fn bind_tcp(address: SocketAddr) -> io::Result<OwnedFd> {
    use nix::sys::socket::{Backlog, SockFlag, SockType, bind, listen, setsockopt, socket};
    let family = if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let fd = socket(
        family,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        None,
    )?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&fd, Backlog::new(BACKLOG).unwrap_or(Backlog::MAXCONN))?;
    Ok(fd)
}

/// The addresses of this host's interfaces at this moment, those of the loopback interface
/// included, each once. Ask before confinement.
///
/// # Errors
/// The system's.
pub fn own_addresses() -> io::Result<Vec<std::net::IpAddr>> {
    let mut all = Vec::new();
    for interface in nix::ifaddrs::getifaddrs()? {
        let Some(address) = interface.address else {
            continue;
        };
        let ip = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(v4), _) => std::net::IpAddr::V4(v4.ip()),
            (None, Some(v6)) => std::net::IpAddr::V6(v6.ip()),
            (None, None) => continue,
        };
        if !all.contains(&ip) {
            all.push(ip);
        }
    }
    Ok(all)
}

/// Binds a Unix stream listener at `path` with these permission bits, replacing a left-over socket.
///
/// # Errors
/// The system's.
pub fn bind_unix(path: &std::path::Path, mode: u32) -> io::Result<OwnedFd> {
    use std::os::unix::fs::PermissionsExt;
    remove_socket(path)?;
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener.into())
}

/// Removes a left-over socket; anything else at the path is an error.
pub(crate) fn remove_socket(path: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(path) {
        Ok(m) if m.file_type().is_socket() => std::fs::remove_file(path),
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}
