//! Taking a message in: smtpd's half of the queue.
//!
//! [`Incoming::begin`] gives a [`Writer`], which collects the content; [`Writer::finish`] makes
//! it a [`Sealed`] message that can be moved to another thread, where [`Sealed::commit`] puts it
//! on the disk. A message below [`BUFFER_MAX`] costs no system call before the commit, and a
//! client that goes away in the middle of one leaves nothing behind.
//!
//! The order of the commit: create under the final name, lock, write everything but the header,
//! write the header, sync the file, sync the directory. A killed writer therefore leaves either
//! no valid header (never acknowledged, may be removed) or a whole message.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::files::{Folder, Octets, write_all_at};
use crate::format::envelope::{Envelope, EnvelopeError};
use crate::format::header::{CONTENT_MAX, HEADER_LEN, Header};
use crate::format::state::State;
use crate::id::QueueId;

/// Octets of a message kept in memory before its file is created; also the unit of writing.
pub const BUFFER_MAX: usize = 16 * 1024;

/// How often a commit begins again when a scan has taken its new, still empty file away.
const ATTEMPTS_MAX: usize = 8;

/// The right to put new files into `incoming/`, and to do nothing else with it.
pub struct Incoming<D: Folder> {
    folder: Arc<D>,
    mode: u32,
}

/// A message on its way in.
pub struct Writer<D: Folder> {
    folder: Arc<D>,
    mode: u32,
    id: QueueId,
    header: Header,
    /// Envelope records are checked again when the header is made.
    records: Vec<u8>,
    /// States, records and content not yet written.
    buffer: Vec<u8>,
    /// Octets of the buffer that stand before the content (only until the file exists).
    crc: crc32fast::Hasher,
    content: u64,
    file: Option<D::File>,
    /// Where the buffer goes in the file.
    offset: u64,
}

/// A whole message that is not yet durable.
pub struct Sealed<D: Folder>(Writer<D>);

/// Why a commit failed.
#[derive(Debug)]
pub enum CommitError {
    /// No space or inodes, or over quota: answer 452. Nothing is left that could be delivered.
    Full(io::Error),
    /// Another error before the name could appear: answer 451. Nothing is left that could be
    /// delivered.
    Failed(io::Error),
    /// A sync failed when the message was already visible: answer 451, never 250. It has been
    /// made invalid again as well as that works; a crash in this moment can bring it back, so
    /// a duplicate is possible, a loss is not.
    Unsure(io::Error),
}

impl CommitError {
    fn new(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full(error),
            _ => Self::Failed(error),
        }
    }

    /// What the system said.
    #[must_use]
    pub fn io(&self) -> &io::Error {
        match self {
            Self::Full(error) | Self::Failed(error) | Self::Unsure(error) => error,
        }
    }
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(error) => write!(f, "queue is full: {error}"),
            Self::Failed(error) => write!(f, "message not stored: {error}"),
            Self::Unsure(error) => write!(f, "message perhaps stored: {error}"),
        }
    }
}

impl std::error::Error for CommitError {}

impl<D: Folder> Incoming<D> {
    /// Takes the open directory. `mode` is that of new files: 0060 where smtpd has a user of
    /// its own (the group is queue-manager's), 0600 in single-user mode. The process's umask
    /// must leave it alone.
    pub fn new(folder: D, mode: u32) -> Self {
        Self {
            folder: Arc::new(folder),
            mode,
        }
    }

    /// Begins a message; makes no system call.
    ///
    /// # Errors
    /// An envelope that the format cannot hold.
    pub fn begin(&self, id: QueueId, envelope: &Envelope) -> Result<Writer<D>, EnvelopeError> {
        let mut records = Vec::with_capacity(256);
        envelope.encode(&mut records)?;
        let recipients = envelope.recipients.len();
        let header = Header {
            eight_bit: envelope.eight_bit,
            utf8: envelope.utf8,
            // Both were checked against the format's limits by the encoder.
            envelope_len: (recipients + records.len()) as u32,
            recipients: recipients as u32,
            content_len: 0,
            content_crc: 0,
            arrival: envelope.arrival.time,
        };
        let mut buffer = vec![State::Waiting.octet(); recipients];
        buffer.extend_from_slice(&records);
        Ok(Writer {
            folder: Arc::clone(&self.folder),
            mode: self.mode,
            id,
            header,
            records,
            buffer,
            crc: crc32fast::Hasher::new(),
            content: 0,
            file: None,
            offset: HEADER_LEN as u64,
        })
    }

    /// The directory, for questions such as how much room there is.
    pub fn folder(&self) -> &D {
        &self.folder
    }
}

impl<D: Folder> Writer<D> {
    /// The message's id.
    pub fn id(&self) -> QueueId {
        self.id
    }

    /// Octets of content so far.
    pub fn content_len(&self) -> u64 {
        self.content
    }

    /// Appends content: first our trace header, then the message, every line ending in CRLF.
    ///
    /// # Errors
    /// As for [`Sealed::commit`]; the writer is of no more use then, see [`Writer::abandon`].
    pub fn write(&mut self, content: &[u8]) -> Result<(), CommitError> {
        self.content += content.len() as u64;
        if self.content > CONTENT_MAX {
            return Err(CommitError::Full(io::ErrorKind::FileTooLarge.into()));
        }
        self.crc.update(content);
        if self.buffer.len() + content.len() <= BUFFER_MAX {
            self.buffer.extend_from_slice(content);
            return Ok(());
        }
        self.flush().map_err(CommitError::new)?;
        if content.len() >= BUFFER_MAX {
            self.put(content).map_err(CommitError::new)
        } else {
            self.buffer.extend_from_slice(content);
            Ok(())
        }
    }

    /// The content is complete.
    #[must_use = "a sealed message is not stored before its commit"]
    pub fn finish(mut self) -> Sealed<D> {
        self.header.content_len = self.content;
        self.header.content_crc = self.crc.clone().finalize();
        Sealed(self)
    }

    /// Gives the message up. `true`: a file exists in `incoming/`, tell queue-manager with `-ID`.
    pub fn abandon(self) -> bool {
        self.file.is_some()
    }

    fn flush(&mut self) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let result = self.put(&buffer);
        self.buffer = buffer;
        self.buffer.clear();
        result
    }

    /// Writes at the end of the file, which comes into being with the first octet.
    fn put(&mut self, octets: &[u8]) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.create()?,
        };
        let result = write_all_at(&file, octets, self.offset);
        self.offset += octets.len() as u64;
        self.file = Some(file);
        result
    }

    /// Creates and locks the file.
    ///
    /// Between the two a scan may take the empty file for one that a dead writer left, lock it
    /// and remove it. Once we hold the lock of a file that still has its name, nobody will.
    fn create(&self) -> io::Result<D::File> {
        for _ in 0..ATTEMPTS_MAX {
            let file = self.folder.create_new(self.id.as_str(), self.mode)?;
            if file.try_lock()? && file.facts()?.links > 0 {
                return Ok(file);
            }
            // The scan holds the lock and is about to remove the name. If it is slower than
            // we are, the next O_EXCL says so and the commit fails: the client tries again.
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }
}

impl<D: Folder> Sealed<D> {
    /// The message's id.
    pub fn id(&self) -> QueueId {
        self.0.id
    }

    /// Octets of content.
    pub fn content_len(&self) -> u64 {
        self.0.content
    }

    /// Makes the message durable and visible; blocks for as long as the disk takes.
    ///
    /// On success it survives the loss of power, its name included.
    ///
    /// # Errors
    /// See [`CommitError`]; after any of them tell queue-manager with `-ID`.
    pub fn commit(self) -> Result<QueueId, CommitError> {
        let mut writer = self.0;
        writer.flush().map_err(CommitError::new)?;
        let Some(file) = writer.file.take() else {
            // There is at least one recipient, so flush has written something.
            return Err(CommitError::Failed(io::ErrorKind::Other.into()));
        };
        let head = writer.header.encode(&writer.records);
        if let Err(error) = write_all_at(&file, &head, 0) {
            void(&file);
            return Err(CommitError::new(error));
        }
        if let Err(error) = file.sync().and_then(|()| writer.folder.sync()) {
            void(&file);
            return Err(match CommitError::new(error) {
                CommitError::Failed(error) => CommitError::Unsure(error),
                // Delayed allocation may find out only now that there is no room.
                other => other,
            });
        }
        Ok(writer.id)
    }

    /// Gives the message up. `true`: a file exists in `incoming/`, tell queue-manager with `-ID`.
    pub fn abandon(self) -> bool {
        self.0.abandon()
    }
}

/// Takes the header back. The block exists already, so this works on a full disk as well; if it
/// fails, the client has been told to come again, and at worst the message comes twice.
fn void(file: &impl Octets) {
    let _ = write_all_at(file, &[0; HEADER_LEN], 0);
}
