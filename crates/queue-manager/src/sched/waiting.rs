//! Messages that wait for their time: an id, a place and a moment each.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use queue::{Place, QueueId};

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    due_ms: u64,
    id: QueueId,
    place: Place,
    repeat: bool,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due_ms, self.id).cmp(&(other.due_ms, other.id))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The heap. An id is in it at most once.
#[derive(Debug, Default)]
pub(super) struct Waiting(BinaryHeap<Reverse<Entry>>);

impl Waiting {
    pub(super) fn push(&mut self, due_ms: u64, id: QueueId, place: Place, repeat: bool) {
        self.0.push(Reverse(Entry {
            due_ms,
            id,
            place,
            repeat,
        }));
    }

    pub(super) fn pop_due(&mut self, now_ms: u64) -> Option<(QueueId, Place, bool)> {
        if self.next_due()? > now_ms {
            return None;
        }
        self.0
            .pop()
            .map(|Reverse(entry)| (entry.id, entry.place, entry.repeat))
    }

    pub(super) fn next_due(&self) -> Option<u64> {
        self.0.peek().map(|Reverse(entry)| entry.due_ms)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<Entry>() <= 40, "{}", size_of::<Entry>());
    }
}
