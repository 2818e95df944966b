//! The queue directory as queue-manager sees it: it reads, marks, moves and removes.
//!
//! A message lies in one of four places ([`Place`]). Every operation names message and place;
//! what may follow on what is the table in `docs/queue.md`.

use std::fmt;
use std::io;

use crate::files::{Folder, Octets, read_full_at, read_some_at, write_all_at};
use crate::format::FormatError;
use crate::format::envelope::Envelope;
use crate::format::header::{HEADER_LEN, Header};
use crate::format::outcome::{LOG_MAX, Outcome};
use crate::format::state::{RETRY_OFFSET, Retry, STATES_OFFSET, State};
use crate::id::QueueId;
use crate::incoming::Incoming;
use crate::wire::Content;

/// Octets read at first: header and envelope of nearly every message.
pub const FIRST_READ: usize = 4_096;

/// Octets read at a time when content is checked.
const CHECK_BLOCK: usize = 64 * 1024;

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Where in the queue directory a message lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// `incoming/ID`: new, or tried without a deferral yet.
    Incoming,
    /// `deferred/XX/ID`: waits for its next attempt.
    Deferred,
    /// `hold/ID`: set aside by the admin.
    Hold,
    /// `corrupt/ID`: failed its checks, kept for a person.
    Corrupt,
}

impl Place {
    /// The directory's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Deferred => "deferred",
            Self::Hold => "hold",
            Self::Corrupt => "corrupt",
        }
    }
}

/// Why the store cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another queue-manager runs on this queue.
    Locked,
    /// A directory or the lock cannot be opened: which one, and what the system said.
    Io(&'static str, io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked => f.write_str("another queue-manager runs on this queue"),
            Self::Io(name, error) => write!(f, "queue directory, {name}: {error}"),
        }
    }
}

impl std::error::Error for OpenError {}

/// Why a message cannot be read.
#[derive(Debug)]
pub enum ReadError {
    /// There is no such file (any more).
    Missing,
    /// The system could not read it: try again later.
    Io(io::Error),
    /// It is no sound queue file.
    Format(FormatError),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            Self::Missing
        } else {
            Self::Io(error)
        }
    }
}

impl From<FormatError> for ReadError {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no such message"),
            Self::Io(error) => write!(f, "{error}"),
            Self::Format(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for ReadError {}

/// A message as read from its file, which stays open for reading.
#[derive(Debug)]
pub struct Message<F> {
    /// Open read-only: this descriptor is handed to the delivering programs.
    pub file: F,
    /// The unchanging part of the header.
    pub header: Header,
    /// Sender, recipients, arrival.
    pub envelope: Envelope,
    /// One state per recipient, in the envelope's order.
    pub states: Vec<State>,
    /// Attempts so far.
    pub retry: Retry,
}

impl<F> Message<F> {
    /// Where the content lies in the file.
    pub fn content(&self) -> Content {
        Content {
            offset: self.header.content_offset(),
            length: self.header.content_len,
        }
    }
}

/// What a file in `incoming/` is that nobody has announced.
#[derive(Debug)]
pub enum Examined<F> {
    /// Gone in the meantime.
    Missing,
    /// A living writer holds it: it will be announced, or found again by a later scan.
    Writing,
    /// It was never sealed and its writer is gone: it has been removed.
    Removed,
    /// A whole message (its content not yet checked), found without an announcement.
    Sealed(Box<Message<F>>),
    /// No sound queue file: it has been moved to `corrupt/`.
    Condemned(FormatError),
}

/// What a deferral writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deferral {
    /// Recipients whose state has changed since the file was read.
    pub marks: Vec<(u32, State)>,
    /// The new retry block.
    pub retry: Retry,
    /// Why the others wait.
    pub outcomes: Vec<Outcome>,
    /// Sync before moving: something in `marks` must not be forgotten. Without it a crash
    /// costs at worst an attempt that comes too early.
    pub durable: bool,
}

/// The open queue directory; only one exists at a time for one directory.
pub struct Store<D: Folder> {
    root: D,
    incoming: D,
    deferred: D,
    hold: D,
    corrupt: D,
    /// Held for as long as the store lives.
    _lock: D::File,
}

impl<D: Folder> Store<D> {
    /// Locks the queue and opens its directories; makes those that are missing.
    ///
    /// `incoming/` is made with `incoming_mode`, the others belong to the queue alone.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(root: D, incoming_mode: u32) -> Result<Self, OpenError> {
        let io = |name| move |error| OpenError::Io(name, error);
        let lock = match root.create_new("lock", FILE_MODE) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => root.open_write("lock"),
            other => other,
        };
        let lock = lock.map_err(io("lock"))?;
        if !lock.try_lock().map_err(io("lock"))? {
            return Err(OpenError::Locked);
        }
        let open = |name: &'static str, mode| -> Result<D, OpenError> {
            match root.make_folder(name, mode) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    Err(OpenError::Io(name, error))
                }
                _ => root.open_folder(name).map_err(io(name)),
            }
        };
        let incoming = open("incoming", incoming_mode)?;
        let (deferred, hold) = (open("deferred", FOLDER_MODE)?, open("hold", FOLDER_MODE)?);
        let corrupt = open("corrupt", FOLDER_MODE)?;
        root.sync().map_err(io("."))?;
        Ok(Self {
            root,
            incoming,
            deferred,
            hold,
            corrupt,
            _lock: lock,
        })
    }

    /// A door for messages that queue-manager writes itself.
    ///
    /// # Errors
    /// The system's.
    pub fn incoming(&self) -> io::Result<Incoming<D>> {
        Ok(Incoming::new(
            self.root.open_folder(Place::Incoming.name())?,
            FILE_MODE,
        ))
    }

    /// Reads a message: one open and, for most, one read.
    ///
    /// The content is not read; see [`Store::check`].
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(&self, id: QueueId, place: Place) -> Result<Message<D::File>, ReadError> {
        let file = self.with(id, place, |folder, name| folder.open_read(name))?;
        read_message(file)
    }

    /// Reads only when the message is due: for the scan at start.
    ///
    /// # Errors
    /// See [`ReadError`]; a header that is not sound is found by [`Store::read`] later.
    pub fn retry(&self, id: QueueId, place: Place) -> Result<Retry, ReadError> {
        let file = self.with(id, place, |folder, name| folder.open_read(name))?;
        let mut head = [0; HEADER_LEN];
        let length = read_full_at(&file, &mut head, 0)?;
        Ok(Retry::from_header(&head[..length]))
    }

    /// Checks the content against its checksum.
    ///
    /// # Errors
    /// `Format(Torn)` when it does not match or the file is too short.
    pub fn check(&self, message: &Message<D::File>) -> Result<(), ReadError> {
        let content = message.content();
        if message.file.facts()?.length < message.header.log_offset() {
            return Err(FormatError::Torn.into());
        }
        let mut crc = crc32fast::Hasher::new();
        let mut block = vec![0; CHECK_BLOCK];
        let (mut at, mut left) = (content.offset, content.length);
        while left > 0 {
            let want = usize::try_from(left)
                .unwrap_or(CHECK_BLOCK)
                .min(CHECK_BLOCK);
            let part = block.get_mut(..want).unwrap_or_default();
            if read_full_at(&message.file, part, at)? < want {
                return Err(FormatError::Torn.into());
            }
            crc.update(part);
            at += want as u64;
            left -= want as u64;
        }
        if crc.finalize() == message.header.content_crc {
            Ok(())
        } else {
            Err(FormatError::Torn.into())
        }
    }

    /// Looks at a file in `incoming/` that was not announced as a message: found by a scan, or
    /// announced as given up. Removes what was provably never acknowledged.
    ///
    /// # Errors
    /// The system's; nothing has been decided then.
    pub fn examine(&self, id: QueueId) -> io::Result<Examined<D::File>> {
        let file = match self.incoming.open_read(id.as_str()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Examined::Missing),
            other => other?,
        };
        if !file.facts()?.regular {
            return self.condemn_as(id, Place::Incoming, FormatError::Foreign);
        }
        // The lock first: only then is what the header says final.
        if !file.try_lock()? {
            return Ok(Examined::Writing);
        }
        match read_message(&file) {
            Ok(Message {
                header,
                envelope,
                states,
                retry,
                ..
            }) => Ok(Examined::Sealed(Box::new(Message {
                file,
                header,
                envelope,
                states,
                retry,
            }))),
            // The name is taken away while we hold the lock: a writer that comes for it
            // now notices.
            Err(ReadError::Format(FormatError::Unsealed)) => {
                self.incoming.unlink(id.as_str())?;
                Ok(Examined::Removed)
            }
            Err(ReadError::Format(error)) => self.condemn_as(id, Place::Incoming, error),
            Err(ReadError::Missing) => Ok(Examined::Missing),
            Err(ReadError::Io(error)) => Err(error),
        }
    }

    /// Calls `each` with every message of a place, in no order; other names are left alone.
    ///
    /// # Errors
    /// The system's.
    pub fn scan(&self, place: Place, each: &mut dyn FnMut(QueueId)) -> io::Result<()> {
        let mut take = |name: &str| {
            if let Ok(id) = name.parse() {
                each(id);
            }
        };
        match place {
            Place::Incoming => self.incoming.names(&mut take),
            Place::Hold => self.hold.names(&mut take),
            Place::Corrupt => self.corrupt.names(&mut take),
            Place::Deferred => {
                let mut shards = Vec::new();
                self.deferred
                    .names(&mut |name| shards.push(name.to_owned()))?;
                for shard in shards {
                    match self.deferred.open_folder(&shard) {
                        Ok(folder) => folder.names(&mut take)?,
                        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            }
        }
    }

    /// Writes recipients' states in place, one write for neighbours that share one.
    ///
    /// `durable`: on return they survive the loss of power.
    ///
    /// # Errors
    /// The system's: the states on disk are then the old ones, the new ones or some of each.
    pub fn mark(
        &self,
        id: QueueId,
        place: Place,
        marks: &[(u32, State)],
        durable: bool,
    ) -> io::Result<()> {
        let file = self.with(id, place, |folder, name| folder.open_write(name))?;
        write_marks(&file, marks)?;
        if durable { file.sync() } else { Ok(()) }
    }

    /// Writes what an attempt has brought and moves the message to `deferred/`.
    ///
    /// # Errors
    /// The system's; the message stays where it was or is where it should be.
    pub fn defer(&self, id: QueueId, place: Place, deferral: &Deferral) -> io::Result<()> {
        let file = self.with(id, place, |folder, name| folder.open_write(name))?;
        append_outcomes(&file, &deferral.outcomes)?;
        write_marks(&file, &deferral.marks)?;
        write_all_at(&file, &deferral.retry.encode(), RETRY_OFFSET)?;
        if deferral.durable {
            file.sync()?;
        }
        if place == Place::Deferred {
            return Ok(());
        }
        let shard = self.shard(id)?;
        self.with(id, place, |folder, name| folder.rename(name, &shard, name))
    }

    /// Removes a message for good.
    ///
    /// Not synced: a removal that a crash takes back is found by the scan, and then either all
    /// recipients are marked or the delivery finds its own name in the mailbox.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(&self, id: QueueId, place: Place) -> io::Result<()> {
        self.with(id, place, |folder, name| folder.unlink(name))
    }

    /// Moves a message that is no sound queue file to `corrupt/`.
    ///
    /// # Errors
    /// The system's.
    pub fn condemn(&self, id: QueueId, place: Place) -> io::Result<()> {
        self.with(id, place, |folder, name| {
            folder.rename(name, &self.corrupt, name)
        })
    }

    /// The outcomes kept in a message's file, oldest first.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn outcomes(&self, message: &Message<D::File>) -> Result<Vec<Outcome>, ReadError> {
        Ok(Outcome::decode_all(&read_log(&message.file, &message.header)?).0)
    }

    fn condemn_as(
        &self,
        id: QueueId,
        place: Place,
        error: FormatError,
    ) -> io::Result<Examined<D::File>> {
        self.condemn(id, place)?;
        Ok(Examined::Condemned(error))
    }

    fn with<T>(
        &self,
        id: QueueId,
        place: Place,
        run: impl FnOnce(&D, &str) -> io::Result<T>,
    ) -> io::Result<T> {
        match place {
            Place::Incoming => run(&self.incoming, id.as_str()),
            Place::Hold => run(&self.hold, id.as_str()),
            Place::Corrupt => run(&self.corrupt, id.as_str()),
            Place::Deferred => run(&self.deferred.open_folder(id.shard())?, id.as_str()),
        }
    }

    fn shard(&self, id: QueueId) -> io::Result<D> {
        match self.deferred.open_folder(id.shard()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match self.deferred.make_folder(id.shard(), FOLDER_MODE) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(error);
                    }
                    _ => self.deferred.sync()?,
                }
                self.deferred.open_folder(id.shard())
            }
            other => other,
        }
    }
}

pub(crate) fn read_message<F: Octets>(file: F) -> Result<Message<F>, ReadError> {
    let mut first = [0; FIRST_READ];
    // One read, where it gives enough: asking for the end of the file would cost another.
    let mut got = match read_some_at(&file, &mut first, 0) {
        // A FIFO or a directory under a message's name can't be read like a file.
        Err(_) if file.facts().is_ok_and(|facts| !facts.regular) => {
            return Err(FormatError::Foreign.into());
        }
        other => other?,
    };
    if got < HEADER_LEN {
        got = read_full_at(&file, &mut first, 0)?;
    }
    let header = Header::decode(first.get(..got).unwrap_or_default())?;
    let end = HEADER_LEN + header.envelope_len as usize;
    if got < end.min(FIRST_READ) {
        got = read_full_at(&file, &mut first, 0)?;
    }
    let head = first.get(..got).unwrap_or_default();
    let more;
    let whole = if end <= FIRST_READ {
        head.get(..end).ok_or(FormatError::Torn)?
    } else {
        // The length is bounded by ENVELOPE_MAX, and believed only as far as the file goes.
        if file.facts()?.length < end as u64 {
            return Err(FormatError::Torn.into());
        }
        let mut all = vec![0; end];
        if read_full_at(&file, &mut all, 0)? < end {
            return Err(FormatError::Torn.into());
        }
        more = all;
        &more
    };
    let body = whole.get(HEADER_LEN..).unwrap_or_default();
    let (states, records) = body
        .split_at_checked(header.recipients as usize)
        .ok_or(FormatError::Torn)?;
    Header::verify(head, records)?;
    let mut envelope = Envelope::decode(records, header.recipients)?;
    envelope.arrival.time = header.arrival;
    (envelope.eight_bit, envelope.utf8) = (header.eight_bit, header.utf8);
    let states = states
        .iter()
        .map(|&octet| State::from_octet(octet))
        .collect::<Result<_, _>>()?;
    let retry = Retry::from_header(head);
    Ok(Message {
        file,
        header,
        envelope,
        states,
        retry,
    })
}

fn write_marks(file: &impl Octets, marks: &[(u32, State)]) -> io::Result<()> {
    let mut sorted = marks.to_vec();
    sorted.sort_unstable_by_key(|&(index, _)| index);
    let mut rest = sorted.as_slice();
    while let Some(&(start, _)) = rest.first() {
        let run = rest
            .iter()
            .enumerate()
            .take_while(|(n, mark)| u64::from(mark.0) == u64::from(start) + *n as u64);
        let octets: Vec<u8> = run.map(|(_, mark)| mark.1.octet()).collect();
        write_all_at(file, &octets, STATES_OFFSET + u64::from(start))?;
        rest = rest.get(octets.len()..).unwrap_or_default();
    }
    Ok(())
}

pub(crate) fn read_log(file: &impl Octets, header: &Header) -> io::Result<Vec<u8>> {
    let start = header.log_offset();
    let length = file.facts()?.length.saturating_sub(start).min(LOG_MAX);
    let mut log = vec![0; usize::try_from(length).unwrap_or(0)];
    let got = read_full_at(file, &mut log, start)?;
    log.truncate(got);
    Ok(log)
}

fn append_outcomes(file: &impl Octets, outcomes: &[Outcome]) -> io::Result<()> {
    if outcomes.is_empty() {
        return Ok(());
    }
    let mut head = [0; HEADER_LEN];
    let got = read_full_at(file, &mut head, 0)?;
    let header = Header::decode(&head[..got]).map_err(io::Error::other)?;
    let (_, used) = Outcome::decode_all(&read_log(file, &header)?);
    let mut octets = Vec::new();
    for outcome in outcomes {
        let before = octets.len();
        outcome.encode(&mut octets);
        if (used + octets.len()) as u64 > LOG_MAX {
            // The reasons of a message this unlucky are in the system's log.
            octets.truncate(before);
            break;
        }
    }
    write_all_at(file, &octets, header.log_offset() + used as u64)
}
