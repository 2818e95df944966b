//! Tests of the queue against the filesystem in memory and the real one.

mod faults;
mod interleavings;
mod life;

use crate::files::memory::{Disk, MemoryFolder};
use crate::format::envelope::{Arrival, Envelope, Recipient};
use crate::id::QueueId;
use crate::incoming::{CommitError, Incoming};
use crate::store::Store;

/// The id of every message in these tests.
pub(crate) fn id() -> QueueId {
    QueueId::new(1_700_000_000_123, 77)
}

pub(crate) fn envelope(recipients: usize) -> Envelope {
    Envelope {
        reverse_path: "a@example.org".into(),
        recipients: (0..recipients)
            .map(|n| Recipient::new(format!("r{n}@example.net")))
            .collect(),
        arrival: Arrival {
            time: 1_700_000_000,
            helo: "client".into(),
            ..Arrival::default()
        },
        eight_bit: true,
        ..Envelope::default()
    }
}

/// A disk with an empty queue on it, whose directories are durable.
pub(crate) fn queue() -> Disk {
    let disk = Disk::new();
    drop(store(&disk));
    disk
}

pub(crate) fn store(disk: &Disk) -> Store<MemoryFolder> {
    Store::open(disk.root(), 0o2370).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn incoming(disk: &Disk) -> Incoming<MemoryFolder> {
    use crate::files::Folder;
    Incoming::new(disk.root().open_folder("incoming").unwrap(), 0o600)
}

/// Writes and commits one message.
pub(crate) fn submit(
    incoming: &Incoming<MemoryFolder>,
    content: &[u8],
) -> Result<QueueId, CommitError> {
    let mut writer = incoming.begin(id(), &envelope(2)).unwrap();
    for block in content.chunks(5_000) {
        writer.write(block)?;
    }
    writer.finish().commit()
}
