//! The log lines of the scheduler's notes.

use daemon::{clock, log};
use queue::reply::Class;
use queue::{Envelope, QueueId};

use crate::sched::{Active, Hop, LaneKey, Note};

/// Milliseconds since a message got its id, by the wall clock; 0 after the clock was set back.
fn delay_ms(id: QueueId) -> u64 {
    clock::unix_millis().saturating_sub(id.millis())
}

/// A message begins to be worked on.
pub fn active(id: QueueId, envelope: &Envelope, size: u64, attempts: u32) {
    log::info("active")
        .val("id", id)
        .kv("from", &envelope.reverse_path)
        .val("recipients", envelope.recipients.len())
        .val("size_bytes", size)
        .val("attempts", attempts)
        .send();
}

/// A message is out of the queue.
pub fn removed(id: QueueId) {
    log::info("removed")
        .val("id", id)
        .val("delay_ms", delay_ms(id))
        .send();
}

/// Something the scheduler wants to be known.
pub fn note(note: &Note, message: Option<&Active>) {
    match note {
        Note::Outcome {
            id,
            indices,
            status,
            host,
            text,
        } => {
            let event = match status.class() {
                Class::Delivered => "delivered",
                Class::Deferred => "not-now",
                Class::Failed => "failed",
            };
            for &index in indices {
                log::info(event)
                    .val("id", id)
                    .kv("to", message.map_or("", |message| message.address(index)))
                    .val("status", status)
                    .opt("host", (!host.is_empty()).then_some(host))
                    .val("delay_ms", delay_ms(*id))
                    .kv("text", text)
                    .send();
            }
        }
        Note::Deferred {
            id,
            attempts,
            wait_ms,
        } => {
            log::info("deferred")
                .val("id", id)
                .val("attempts", attempts)
                .val("wait_ms", wait_ms)
                .send();
        }
        Note::Dropped { id, indices } => {
            for &index in indices {
                log::warning("dropped")
                    .val("id", id)
                    .kv("to", message.map_or("", |message| message.address(index)))
                    .kv("reason", "nobody to report to")
                    .send();
            }
        }
        Note::Backoff { lane, wait_ms } => {
            let destination = match lane {
                LaneKey::Local(user) => user.to_string(),
                LaneKey::Remote(hop) => match &**hop {
                    Hop::Mx(domain) => domain.clone(),
                    Hop::Host(name, port) => format!("{name}:{port}"),
                },
            };
            log::warning("backoff")
                .kv("destination", destination)
                .val("wait_ms", wait_ms)
                .send();
        }
    }
}
