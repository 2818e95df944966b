//! A worker: becomes the user, then delivers until nobody needs it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use daemon::packet::Packets;
use daemon::process::{self, Identity};
use daemon::{Confined, Confinement, Fatal, calls, log};
use mailbox::{Delivered, Deliverer, Letter, Maildir, Trouble, name};
use queue::reply::{Class, Status};
use queue::wire::PACKET_MAX;
use queue::wire::local::{Delivery, Outcome};
use routing::Mailbox;

/// A worker with nothing to do for so long ends by itself.
///
/// queue-manager normally closes the socket of a worker that it has no mail for; this is for
/// the case that it forgets one.
pub const IDLE: Duration = Duration::from_secs(300);

/// Descriptors that a worker may have open: socket, log, Maildir, and one message.
const OPEN_FILES: u64 = 32;

/// Runs a worker to its end; the exit code.
pub fn main(socket: Packets, mailbox: &Mailbox, host: &str) -> u8 {
    let done = prepare(&socket).and_then(|()| {
        let confined = confine(mailbox)?; // the user for good, from here on
        serve(&confined, &socket, mailbox, host).map_err(|error| Fatal::io("worker socket", error))
    });
    match done {
        Ok(()) => 0,
        Err(error) => {
            log::error("worker")
                .kv("user", &*mailbox.name)
                .val("error", error)
                .send();
            daemon::EXIT_TEMPORARY
        }
    }
}

/// Waiting for the socket is all a worker does between messages: it blocks, with a limit.
fn prepare(socket: &Packets) -> Result<(), Fatal> {
    daemon::signals::unblock_all()?;
    socket.set_nonblocking(false)?;
    UnixStream::from(OwnedFd::from(socket.try_clone()?)).set_read_timeout(Some(IDLE))?;
    Ok(())
}

/// Becomes the user and keeps the place where his Maildir is or will be, and nothing else.
///
/// He comes first, so that the paths are looked up with his rights: root's may be fewer (a home
/// on NFS) and must never be more.
fn confine(mailbox: &Mailbox) -> Result<Confined, Fatal> {
    if process::is_root() {
        Identity {
            uid: mailbox.uid,
            gid: mailbox.gid,
        }
        .assume()
        .map_err(|error| Fatal::io("becoming the user", error))?;
    }
    let mut confinement = Confinement::new()
        .open_files(OPEN_FILES)
        .calls(calls::CREATE)
        .calls(calls::READ_FILES)
        .calls(calls::KEEP_FILES)
        // Where a link leads that the admin has put there.
        .writable(&mailbox.maildir);
    if let Some(parent) = mailbox.maildir.parent() {
        confinement = confinement.writable(parent);
    }
    confinement.enter()
}

/// Delivers what comes over the socket until it is closed or idle.
///
/// # Errors
/// The socket's. Trouble with a message is an answer, never an error.
fn serve(_: &Confined, socket: &Packets, mailbox: &Mailbox, host: &str) -> io::Result<()> {
    Worker::new(&mailbox.maildir, host).run(socket)
}

/// What a worker keeps between messages.
struct Worker<'a> {
    path: &'a Path,
    host: &'a str,
    maildir: Option<Maildir>,
    deliverer: Deliverer,
    /// Filesystem of the queue, known from the first message on.
    queue_device: Option<u64>,
}

impl<'a> Worker<'a> {
    fn new(path: &'a Path, host: &'a str) -> Self {
        Self {
            path,
            host,
            maildir: None,
            deliverer: Deliverer::new(),
            queue_device: None,
        }
    }

    fn run(&mut self, socket: &Packets) -> io::Result<()> {
        let mut buffer = vec![0; PACKET_MAX];
        let mut answer = Vec::new();
        loop {
            let packet = match socket.recv(&mut buffer) {
                Ok(packet) if packet.length == 0 => return Ok(()),
                Ok(packet) => packet,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let octets = buffer.get(..packet.length).unwrap_or_default();
            // queue-manager is ours, so neither of these happens; going on would leave it
            // waiting for an answer.
            let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
            let delivery = Delivery::decode(octets).map_err(|error| wrong(&error.to_string()))?;
            let file = packet
                .descriptor
                .map(File::from)
                .ok_or_else(|| wrong("no descriptor"))?;
            let result = self.deliver(&delivery, &file);
            drop(file);
            outcome(&delivery, &result)
                .encode(&mut answer)
                .map_err(|error| wrong(&error.to_string()))?;
            match socket.send(&answer, None) {
                // It will ask another worker, which will find the file.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                other => other?,
            }
        }
    }

    fn deliver(&mut self, delivery: &Delivery<'_>, file: &File) -> Result<Delivered, Trouble> {
        let maildir = match self.maildir.take().filter(Maildir::is_current) {
            Some(maildir) => maildir,
            None => Maildir::open_or_create(self.path)?,
        };
        let queue_device = match self.queue_device {
            Some(device) => device,
            None => file.metadata().map_err(Trouble::Source)?.dev(),
        };
        self.queue_device = Some(queue_device);
        let letter = Letter {
            unique: &name::unique(delivery.id.as_str(), delivery.index, self.host),
            reverse_path: delivery.reverse_path,
            recipient: delivery.recipient,
            content: file,
            offset: delivery.content.offset,
            length: delivery.content.length,
            repeat: delivery.repeat,
            sync_directory: delivery.sync_directory || queue_device != maildir.device(),
        };
        let result = self.deliverer.deliver(&maildir, &letter);
        if let Err(trouble) = &result {
            log::warning("delivery")
                .kv("id", delivery.id.as_str())
                .val("error", trouble)
                .opt("detail", trouble.detail().map(ToString::to_string))
                .send();
        } else {
            self.maildir = Some(maildir);
        }
        result
    }
}

fn outcome<'a>(delivery: &Delivery<'_>, result: &Result<Delivered, Trouble>) -> Outcome<'a> {
    let (status, text) = match result {
        Ok(Delivered::Now { .. }) => (Status::DELIVERED, "delivered to Maildir"),
        Ok(Delivered::Before) => (Status::DELIVERED, "was in the Maildir already"),
        Err(trouble) => {
            let (class, subject, detail) = trouble.code();
            let status =
                Class::from_digit(class).and_then(|class| Status::new(class, subject, detail).ok());
            (status.unwrap_or(Status::SYSTEM_DEFERRED), trouble.text())
        }
    };
    Outcome {
        number: delivery.number,
        status,
        text,
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
