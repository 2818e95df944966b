//! The queue directory in the shell: carries out the scheduler's actions on files.
//!
//! What waits for the disk (reports, deferrals that must not be forgotten) runs on a few
//! threads, so that one sync does not hold up the loop and several share one journal commit.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

use daemon::dir::Dir;
use daemon::wake::Pool;
use daemon::{Fatal, clock, log};
use mio::{Registry, Token};
use queue::store::{Deferral, Examined, ReadError};
use queue::{Incoming, Place, QueueId, Sealed, Store};

use crate::report::{self, About};
use crate::sched::{Active, Addressee, Event, Failure, LoadError};

/// Threads for what waits for the disk.
const THREADS: usize = 8;

/// Messages whose files are kept open while they are worked on; the others are opened again for
/// each delivery.
const FILES_MAX: usize = 1_024;

/// Mode of `incoming/` where we make it ourselves: with a user for smtpd the installation has
/// made it, and given it to that user.
const INCOMING_MODE: u32 = 0o700;

/// The opened queue.
pub struct Disk {
    store: Arc<Store<Dir>>,
    incoming: Incoming<Dir>,
    hostname: String,
    files: HashMap<QueueId, File>,
    pool: Option<Pool<Job, Event>>,
    /// Jobs given to the threads and not taken back.
    busy: usize,
}

/// Something that waits for the disk.
enum Job {
    Report {
        about: QueueId,
        report: Sealed<Dir>,
    },
    Save {
        store: Arc<Store<Dir>>,
        id: QueueId,
        place: Place,
        deferral: Box<Deferral>,
    },
}

fn work(job: Job) -> Event {
    match job {
        Job::Report { about, report } => {
            let id = report.id();
            match report.commit() {
                Ok(_) => {
                    log::info("report")
                        .val("id", about)
                        .val("report", id)
                        .send();
                    Event::Reported(about, Some(id))
                }
                Err(error) => {
                    log::error("report")
                        .val("id", about)
                        .val("error", error)
                        .send();
                    Event::Reported(about, None)
                }
            }
        }
        Job::Save {
            store,
            id,
            place,
            deferral,
        } => save(&store, id, place, &deferral),
    }
}

fn save(store: &Store<Dir>, id: QueueId, place: Place, deferral: &Deferral) -> Event {
    let worked = store.defer(id, place, deferral);
    if let Err(error) = &worked {
        log::error("save").val("id", id).val("error", error).send();
    }
    Event::Saved(id, worked.is_ok())
}

impl Disk {
    /// Locks and opens the queue; `own`: all programs run under our uid, so we make what is
    /// missing.
    ///
    /// # Errors
    /// `Temporary`, when another queue-manager holds the queue or the disk has an error.
    pub fn open(root: Dir, own: bool, hostname: String) -> Result<Self, Fatal> {
        let mode = if own { INCOMING_MODE } else { 0o2370 };
        let store = Store::open(root, mode).map_err(|error| Fatal::Temporary(error.to_string()))?;
        let incoming = store
            .incoming()
            .map_err(|error| Fatal::io("incoming", error))?;
        Ok(Self {
            store: Arc::new(store),
            incoming,
            hostname,
            files: HashMap::new(),
            pool: None,
            busy: 0,
        })
    }

    /// Prepares the threads; their results wake `token`.
    ///
    /// # Errors
    /// The system's.
    pub fn register(&mut self, registry: &Registry, token: Token) -> Result<(), Fatal> {
        self.pool = Some(Pool::new(registry, token, THREADS, work)?);
        Ok(())
    }

    /// A result of the threads.
    pub fn take(&mut self) -> Option<Event> {
        let event = self.pool.as_mut()?.take()?;
        self.busy = self.busy.saturating_sub(1);
        Some(event)
    }

    /// Whether the threads have something to do still.
    pub fn is_busy(&self) -> bool {
        self.busy > 0
    }

    /// Everything that lies in the queue, for the scheduler.
    ///
    /// # Errors
    /// The system's, when a directory cannot be listed.
    pub fn scan(&self, place: Place, each: &mut dyn FnMut(QueueId)) -> io::Result<()> {
        self.store.scan(place, each)
    }

    /// When a message of `deferred/` is due, for the scan at start.
    pub fn due(&self, id: QueueId) -> i64 {
        self.store
            .retry(id, Place::Deferred)
            .map_or(0, |retry| retry.due)
    }

    /// Looks at a file of `incoming/` that was not announced; `true`: it is a message.
    pub fn examine(&self, id: QueueId) -> bool {
        match self.store.examine(id) {
            Ok(Examined::Sealed(_)) => return true,
            Ok(Examined::Missing | Examined::Writing) => {}
            Ok(Examined::Removed) => log::info("unfinished")
                .val("id", id)
                .kv("action", "removed")
                .send(),
            Ok(Examined::Condemned(error)) => condemned(id, &error),
            Err(error) => log::error("examine")
                .val("id", id)
                .val("error", error)
                .send(),
        }
        false
    }

    /// Reads a message; its content too when `check`.
    pub fn load(&mut self, id: QueueId, place: Place, check: bool) -> Event {
        let read = self.store.read(id, place).and_then(|message| {
            if check {
                self.store.check(&message)?;
            }
            Ok(message)
        });
        let message = match read {
            Ok(message) => message,
            Err(ReadError::Missing) => return Event::NotLoaded(id, LoadError::Gone),
            Err(ReadError::Io(error)) => {
                log::error("read").val("id", id).val("error", error).send();
                return Event::NotLoaded(id, LoadError::Trouble);
            }
            // A writer may be at it still: smtpd has no reason to say so early, and an attacker
            // in its place gains nothing.
            Err(ReadError::Format(queue::format::FormatError::Unsealed))
                if place == Place::Incoming =>
            {
                self.examine(id);
                return Event::NotLoaded(id, LoadError::Gone);
            }
            Err(ReadError::Format(error)) => {
                return match self.store.condemn(id, place) {
                    Ok(()) => {
                        condemned(id, &error);
                        Event::NotLoaded(id, LoadError::Gone)
                    }
                    Err(error) => {
                        log::error("condemn")
                            .val("id", id)
                            .val("error", error)
                            .send();
                        Event::NotLoaded(id, LoadError::Trouble)
                    }
                };
            }
        };
        let content = message.content();
        if self.files.len() < FILES_MAX {
            self.files.insert(id, message.file);
        }
        Event::Loaded {
            id,
            envelope: Box::new(message.envelope),
            states: message.states,
            retry: message.retry,
            content,
        }
    }

    /// Calls `run` with the open file of a message.
    ///
    /// # Errors
    /// The system's, when it has to be opened again and cannot.
    pub fn with_file<T>(
        &mut self,
        id: QueueId,
        place: Place,
        run: impl FnOnce(&File) -> T,
    ) -> io::Result<T> {
        match self.files.get(&id) {
            Some(file) => Ok(run(file)),
            None => match self.store.read(id, place) {
                Ok(message) => Ok(run(&message.file)),
                Err(error) => Err(io::Error::other(error.to_string())),
            },
        }
    }

    /// Closes a message's file.
    pub fn close(&mut self, id: QueueId) {
        self.files.remove(&id);
    }

    /// Writes states without waiting for the disk. A failure is only logged: the same states are
    /// written again with the message's next deferral.
    pub fn mark(&self, id: QueueId, place: Place, marks: &[(u32, queue::format::state::State)]) {
        if let Err(error) = self.store.mark(id, place, marks, false) {
            log::error("mark").val("id", id).val("error", error).send();
        }
    }

    /// Defers a message; on the threads when it has to be durable.
    pub fn save(&mut self, id: QueueId, place: Place, deferral: Deferral) -> Option<Event> {
        self.close(id);
        if !deferral.durable {
            return Some(save(&self.store, id, place, &deferral));
        }
        let job = Job::Save {
            store: Arc::clone(&self.store),
            id,
            place,
            deferral: Box::new(deferral),
        };
        self.give(job, Event::Saved(id, false))
    }

    /// Removes a message.
    pub fn remove(&mut self, id: QueueId, place: Place) -> Event {
        self.close(id);
        match self.store.remove(id, place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::error("remove")
                    .val("id", id)
                    .val("error", error)
                    .send();
                Event::Removed(id, false)
            }
            _ => Event::Removed(id, true),
        }
    }

    /// Writes a report about a message. `None`: the answer comes from the threads.
    pub fn report(
        &mut self,
        id: QueueId,
        message: &Active,
        place: Place,
        to: Addressee,
        failures: &[Failure],
    ) -> Option<Event> {
        let content = message.content;
        let wanted = usize::try_from(content.length)
            .unwrap_or(usize::MAX)
            .min(report::RETURN_MAX + 1);
        let mut head = vec![0; wanted];
        let read = self.with_file(id, place, |file| {
            queue::files::read_full_at(file, &mut head, content.offset)
        });
        match read.and_then(|read| read) {
            Ok(length) => head.truncate(length),
            Err(error) => {
                log::error("report")
                    .val("id", id)
                    .val("error", error)
                    .send();
                return Some(Event::Reported(id, None));
            }
        }
        let about = About {
            envelope: &message.envelope,
            content: &head,
            failures,
            to,
        };
        let own = QueueId::new(clock::unix_millis(), clock::random_u64());
        let Some((envelope, text)) =
            report::compose(&about, &self.hostname, own, clock::unix_seconds())
        else {
            log::warning("report")
                .val("id", id)
                .kv("to", &message.envelope.reverse_path)
                .kv("error", "no address to send it to")
                .send();
            return Some(Event::Unreportable(id));
        };
        let report = match self.incoming.begin(own, &envelope) {
            Ok(mut writer) => match writer.write(&text) {
                Ok(()) => writer.finish(),
                Err(error) => {
                    log::error("report")
                        .val("id", id)
                        .val("error", error)
                        .send();
                    return Some(Event::Reported(id, None));
                }
            },
            Err(error) => {
                log::error("report")
                    .val("id", id)
                    .val("error", error)
                    .send();
                return Some(Event::Unreportable(id));
            }
        };
        self.give(Job::Report { about: id, report }, Event::Reported(id, None))
    }

    fn give(&mut self, job: Job, otherwise: Event) -> Option<Event> {
        match self.pool.as_mut().map(|pool| pool.give(job)) {
            Some(Ok(())) => {
                self.busy += 1;
                None
            }
            Some(Err(error)) => {
                log::error("threads").val("error", error).send();
                Some(otherwise)
            }
            None => Some(otherwise),
        }
    }
}

fn condemned(id: QueueId, error: &queue::format::FormatError) {
    log::error("corrupt")
        .val("id", id)
        .val("error", error)
        .kv("action", "moved to corrupt/")
        .send();
}
