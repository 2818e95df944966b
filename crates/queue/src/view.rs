//! The queue directory as the admin's command sees it: read only, beside a running
//! queue-manager.
//!
//! Nothing is locked: a message may move or go while it is looked at, and is then missing or
//! found in both places.

use std::io;

use crate::files::Folder;
use crate::format::outcome::Outcome;
use crate::id::QueueId;
use crate::store::{Message, Place, ReadError, read_log, read_message};

/// The open queue directory, for reading.
pub struct View<D: Folder>(D);

impl<D: Folder> View<D> {
    /// Looks at a queue directory. Directories that are missing count as empty.
    pub fn new(root: D) -> Self {
        Self(root)
    }

    /// Calls `each` with every message of a place, in no order; other names are left alone.
    ///
    /// # Errors
    /// The system's, `PermissionDenied` first of all: only root may read `incoming/`.
    pub fn scan(&self, place: Place, each: &mut dyn FnMut(QueueId)) -> io::Result<()> {
        let mut take = |name: &str| {
            if let Ok(id) = name.parse() {
                each(id);
            }
        };
        let Some(folder) = present(self.0.open_folder(place.name()))? else {
            return Ok(());
        };
        if place != Place::Deferred {
            return folder.names(&mut take);
        }
        let mut shards = Vec::new();
        folder.names(&mut |name| shards.push(name.to_owned()))?;
        for shard in shards {
            if let Some(shard) = present(folder.open_folder(&shard))? {
                shard.names(&mut take)?;
            }
        }
        Ok(())
    }

    /// Reads a message.
    ///
    /// # Errors
    /// See [`ReadError`]; `Format(Unsealed)` is a message that is being written.
    pub fn read(&self, id: QueueId, place: Place) -> Result<Message<D::File>, ReadError> {
        let mut folder = self.0.open_folder(place.name())?;
        if place == Place::Deferred {
            folder = folder.open_folder(id.shard())?;
        }
        read_message(folder.open_read(id.as_str())?)
    }

    /// The outcomes kept in a message's file, oldest first.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn outcomes(&self, message: &Message<D::File>) -> Result<Vec<Outcome>, ReadError> {
        Ok(Outcome::decode_all(&read_log(&message.file, &message.header)?).0)
    }
}

/// `None` when it isn't there, or is no directory.
fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
            _ => Err(error),
        },
    }
}
