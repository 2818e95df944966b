//! SOCK_SEQPACKET sockets: whole packets, in order, with descriptors.
//!
//! A packet is either sent whole or not at all; several processes may hold one end and write to
//! it without mixing their packets.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token, event};
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
    UnixAddr, bind, connect, listen, recvmsg, sendmsg, setsockopt, socket, socketpair, sockopt,
};
use nix::sys::time::TimeVal;

use crate::net::Credentials;

/// Longest packet that the house sends, in octets. The kernel's default send buffer holds it.
pub const PACKET_MAX: usize = 64 * 1024;

/// Most descriptors accepted with one packet; a sender of more is refused.
pub const DESCRIPTORS_MAX: usize = 2;

/// One end of a packet socket.
#[derive(Debug)]
pub struct Packets(OwnedFd);

/// What one receive gave.
#[derive(Debug)]
pub struct Packet {
    /// Octets written into the caller's buffer; 0 when the peer's last end has closed.
    pub length: usize,
    /// The descriptor that came with it, if any (further ones are closed).
    pub descriptor: Option<OwnedFd>,
}

impl Packets {
    /// A connected pair, both ends non-blocking and closed on exec.
    ///
    /// # Errors
    /// The system's.
    pub fn pair() -> io::Result<(Packets, Packets)> {
        let (a, b) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        )?;
        Ok((Packets(a), Packets(b)))
    }

    /// Takes a descriptor that is known to be such a socket.
    ///
    /// # Errors
    /// The system's, when it can't be made non-blocking.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Packets> {
        let packets = Packets(fd);
        packets.set_nonblocking(true)?;
        Ok(packets)
    }

    /// Whether calls return `WouldBlock` (the default) or wait.
    ///
    /// The flag belongs to the socket's open description: it holds for every process that shares this end.
    ///
    /// # Errors
    /// The system's.
    pub fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        super::file::set_nonblocking(self.0.as_fd(), on)
    }

    /// Sends one packet with at most one descriptor.
    ///
    /// # Errors
    /// `WouldBlock` when the peer's buffer is full, `BrokenPipe` when it is gone.
    pub fn send(&self, data: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let iov = [IoSlice::new(data)];
        let raw: [RawFd; 1];
        let control: &[ControlMessage<'_>] = match descriptor {
            Some(fd) => {
                raw = [fd.as_raw_fd()];
                &[ControlMessage::ScmRights(&raw)]
            }
            None => &[],
        };
        loop {
            match sendmsg::<()>(
                self.0.as_raw_fd(),
                &iov,
                control,
                MsgFlags::MSG_NOSIGNAL,
                None,
            ) {
                Ok(_) => return Ok(()),
                Err(nix::errno::Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Nothing more will be sent from this end, by whoever shares it: the peer sees the end (an empty
    /// packet), and can still answer.
    ///
    /// # Errors
    /// The system's; `NotConnected` when the peer has gone.
    pub fn finish(&self) -> io::Result<()> {
        nix::sys::socket::shutdown(self.0.as_raw_fd(), nix::sys::socket::Shutdown::Write)?;
        Ok(())
    }

    /// Receives one packet into `buffer`.
    ///
    /// # Errors
    /// `WouldBlock` when none is there; `InvalidData` when it was longer than the buffer (it is
    /// gone then) or came with too many descriptors.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<Packet> {
        let mut control = nix::cmsg_space!([RawFd; DESCRIPTORS_MAX]);
        let mut iov = [IoSliceMut::new(buffer)];
        let message = loop {
            match recvmsg::<()>(
                self.0.as_raw_fd(),
                &mut iov,
                Some(&mut control),
                MsgFlags::MSG_CMSG_CLOEXEC,
            ) {
                Ok(m) => break m,
                Err(nix::errno::Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        };
        let mut descriptor = None;
        if let Ok(parts) = message.cmsgs() {
            for part in parts {
                if let ControlMessageOwned::ScmRights(fds) = part {
                    for fd in fds {
                        // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
                        let owned = unsafe { OwnedFd::from_raw_fd(fd) };
                        descriptor.get_or_insert(owned);
                    }
                }
            }
        }
        if message
            .flags
            .intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC)
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "packet too long",
            ));
        }
        Ok(Packet {
            length: message.bytes,
            descriptor,
        })
    }

    /// From now on the kernel notes with each packet which process sent it (SO_PASSCRED); read
    /// them with [`Packets::recv_from`]. Belongs to the socket, so mail-start can ask for it
    /// before the reader is there.
    ///
    /// # Errors
    /// The system's.
    pub fn ask_credentials(&self) -> io::Result<()> {
        Ok(setsockopt(&self.0, sockopt::PassCred, &true)?)
    }

    /// Receives one packet without descriptors, and who sent it. Descriptors that come along are
    /// closed. The sender is `None` where [`Packets::ask_credentials`] was not called before it sent.
    ///
    /// # Errors
    /// As [`Packets::recv`].
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, Option<Credentials>)> {
        let mut control = nix::cmsg_space!([RawFd; DESCRIPTORS_MAX], libc::ucred);
        let mut iov = [IoSliceMut::new(buffer)];
        let message = loop {
            match recvmsg::<()>(
                self.0.as_raw_fd(),
                &mut iov,
                Some(&mut control),
                MsgFlags::MSG_CMSG_CLOEXEC,
            ) {
                Ok(m) => break m,
                Err(nix::errno::Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        };
        let mut sender = None;
        if let Ok(parts) = message.cmsgs() {
            for part in parts {
                match part {
                    ControlMessageOwned::ScmRights(fds) => {
                        for fd in fds {
                            // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
                            drop(unsafe { OwnedFd::from_raw_fd(fd) });
                        }
                    }
                    ControlMessageOwned::ScmCredentials(who) => {
                        sender = Some(Credentials {
                            uid: who.uid(),
                            gid: who.gid(),
                            pid: who.pid(),
                        });
                    }
                    _ => {}
                }
            }
        }
        if message.flags.intersects(MsgFlags::MSG_TRUNC) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "packet too long",
            ));
        }
        Ok((message.bytes, sender))
    }

    /// A second descriptor of the same end.
    ///
    /// # Errors
    /// The system's, when there are too many open files.
    pub fn try_clone(&self) -> io::Result<Packets> {
        self.0.try_clone().map(Packets)
    }
}

/// Where mail-start hands its channels to programs that inetd has started: a listener with a path.
#[derive(Debug)]
pub struct PacketListener(OwnedFd);

/// How long an exchange over a [`PacketListener`] may take.
const ASK_TIMEOUT: TimeVal = TimeVal::new(1, 0);

impl PacketListener {
    /// Binds at `path`, for this user alone, replacing a left-over socket.
    ///
    /// # Errors
    /// The system's.
    pub fn bind(path: &Path) -> io::Result<PacketListener> {
        use std::os::unix::fs::PermissionsExt;
        crate::net::remove_socket(path)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
        bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        listen(&fd, Backlog::new(64)?)?;
        Ok(PacketListener(fd))
    }

    /// Answers one waiting program: gives it the descriptor that `find` has under the name it asks for.
    ///
    /// Only programs of this user are answered.
    ///
    /// # Errors
    /// `WouldBlock` when none waits; the system's.
    pub fn serve<'a>(&self, find: impl FnOnce(&str) -> Option<BorrowedFd<'a>>) -> io::Result<()> {
        let raw = nix::sys::socket::accept4(self.0.as_raw_fd(), SockFlag::SOCK_CLOEXEC)?;
        // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
        let peer = Packets(unsafe { OwnedFd::from_raw_fd(raw) });
        setsockopt(&peer.0, sockopt::ReceiveTimeout, &ASK_TIMEOUT)?;
        if crate::net::credentials(peer.as_fd())?.uid != crate::process::own_uid() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut name = [0; 64];
        let length = peer.recv(&mut name)?.length;
        let name = std::str::from_utf8(&name[..length]).unwrap_or_default();
        match find(name) {
            Some(fd) => peer.send(b"+", Some(fd)),
            None => peer.send(b"-", None),
        }
    }
}

/// Asks the [`PacketListener`] at `path` for the descriptor with this name.
///
/// # Errors
/// `NotFound` when it has none; the system's.
pub fn ask(path: &Path, name: &str) -> io::Result<OwnedFd> {
    let fd = socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    setsockopt(&fd, sockopt::ReceiveTimeout, &ASK_TIMEOUT)?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    let peer = Packets(fd);
    peer.send(name.as_bytes(), None)?;
    let answer = peer.recv(&mut [0; 8])?;
    answer
        .descriptor
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl AsFd for PacketListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for Packets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Packets> for OwnedFd {
    fn from(packets: Packets) -> OwnedFd {
        packets.0
    }
}

impl event::Source for Packets {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).register(registry, token, interests)
    }
    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).reregister(registry, token, interests)
    }
    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).deregister(registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};

    #[test]
    fn packets_keep_their_edges_and_carry_a_file() {
        let (a, b) = Packets::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"letter").unwrap();
        a.send(b"one", None).unwrap();
        a.send(b"two", Some(file.as_fd())).unwrap();
        drop(file);
        let mut buffer = [0; 16];
        let first = b.recv(&mut buffer).unwrap();
        assert_eq!(
            (&buffer[..first.length], first.descriptor.is_none()),
            (&b"one"[..], true)
        );
        let second = b.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..second.length], b"two");
        let mut got = std::fs::File::from(second.descriptor.unwrap());
        got.rewind().unwrap();
        let mut text = String::new();
        got.read_to_string(&mut text).unwrap();
        assert_eq!(text, "letter");
        assert_eq!(
            b.recv(&mut buffer).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        drop(a);
        assert_eq!(b.recv(&mut buffer).unwrap().length, 0);
        assert_eq!(
            b.send(b"x", None).unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
    }

    #[test]
    fn a_channel_is_handed_to_who_asks_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("channels");
        let listener = PacketListener::bind(&path).unwrap();
        let (ours, theirs) = Packets::pair().unwrap();
        let asker = std::thread::spawn(move || (ask(&path, "trigger"), ask(&path, "other")));
        let mut served = 0;
        while served < 2 {
            let find = |name: &str| (name == "trigger").then(|| theirs.as_fd());
            match listener.serve(find) {
                Ok(()) => served += 1,
                Err(e) => assert_eq!(e.kind(), io::ErrorKind::WouldBlock),
            }
        }
        let (found, missing) = asker.join().unwrap();
        Packets::from_fd(found.unwrap())
            .unwrap()
            .send(b"+id", None)
            .unwrap();
        let mut buffer = [0; 8];
        assert_eq!(ours.recv(&mut buffer).unwrap().length, 3);
        assert_eq!(missing.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_kernel_says_who_sent_it() {
        let (ours, theirs) = Packets::pair().unwrap();
        ours.ask_credentials().unwrap();
        let file = tempfile::tempfile().unwrap();
        theirs.send(b"one", None).unwrap();
        theirs.send(b"two", Some(file.as_fd())).unwrap();
        let mut buffer = [0; 4];
        for _ in 0..2 {
            let (length, sender) = ours.recv_from(&mut buffer).unwrap();
            let sender = sender.unwrap();
            assert_eq!((length, sender.uid), (3, crate::process::own_uid()));
            assert_eq!(u32::try_from(sender.pid), Ok(std::process::id()));
        }
        theirs.send(b"longer", None).unwrap();
        assert_eq!(
            ours.recv_from(&mut buffer).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        drop(theirs);
        assert_eq!(ours.recv_from(&mut buffer).unwrap().0, 0);
    }

    #[test]
    fn one_end_can_finish_first() {
        let (ours, theirs) = Packets::pair().unwrap();
        let mut buffer = [0; 4];
        ours.send(b"last", None).unwrap();
        ours.finish().unwrap();
        assert_eq!(theirs.recv(&mut buffer).unwrap().length, 4);
        assert_eq!(theirs.recv(&mut buffer).unwrap().length, 0);
        theirs.send(b"yes", None).unwrap();
        assert_eq!(ours.recv(&mut buffer).unwrap().length, 3);
        assert!(ours.send(b"more", None).is_err());
    }

    #[test]
    fn a_packet_longer_than_the_buffer_is_an_error_not_a_cut() {
        let (a, b) = Packets::pair().unwrap();
        let mut buffer = [0; 4];
        for (length, fits) in [(3, true), (4, true), (5, false)] {
            a.send(&vec![b'x'; length], None).unwrap();
            let got = b.recv(&mut buffer);
            assert_eq!(got.is_ok(), fits, "{length}");
        }
        a.send(&vec![0; PACKET_MAX], None).unwrap();
        let mut large = vec![0; PACKET_MAX];
        assert_eq!(b.recv(&mut large).unwrap().length, PACKET_MAX);
    }
}
