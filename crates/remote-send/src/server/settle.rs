//! What a connection's events mean for its job, and what becomes of the connection.

use std::io;
use std::time::Instant;

use daemon::log;
use queue::Class;
use queue::wire::remote::Scope;
use smtp::client::Outcome;
use smtp::types::StatusClass;

use super::{Phase, Server};
use crate::connection::{Connection, Event};
use crate::job::{Job, own};
use crate::settings::MESSAGES_PER_CONNECTION;

impl Server {
    pub(super) fn connection_event(
        &mut self,
        token: usize,
        event: &mio::event::Event,
        now: Instant,
    ) {
        let Some(mut connection) = self.connections.remove(&token) else {
            return;
        };
        let job = connection.job;
        if !connection.is_connected() {
            match connection.connecting() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    self.connections.insert(token, connection);
                    return;
                }
                Err(error) => return self.not_connected(token, &connection, &error.to_string()),
            }
        }
        let space = &mut self.space;
        let done = daemon::guard(move || {
            let mut events = Vec::new();
            if event.is_writable() {
                connection.writable(space, &mut events);
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                connection.readable(
                    event.is_read_closed() || event.is_error(),
                    space,
                    &mut events,
                );
            }
            (connection, events)
        });
        self.settle(token, job, done, now);
    }

    /// A connection never stood: its job goes on to the next address.
    fn not_connected(&mut self, token: usize, connection: &Connection, why: &str) {
        self.timers.cancel(token);
        let Some(key) = connection.job else {
            return;
        };
        if let Some(mut job) = self.jobs.remove(&key) {
            self.refused(&mut job, &connection.host, why);
            self.jobs.insert(key, job);
            self.runnable.push_back(key);
        }
    }

    pub(super) fn timeouts(&mut self, now: Instant) {
        self.lookups.timeout(now);
        while let Some(token) = self.timers.expired(now) {
            let Some(mut connection) = self.connections.remove(&token) else {
                continue;
            };
            let job = connection.job;
            if !connection.is_connected() {
                self.not_connected(token, &connection, "timed out");
                continue;
            }
            self.pool.forget(token);
            let space = &mut self.space;
            let done = daemon::guard(move || {
                let mut events = Vec::new();
                connection.timed_out(space, &mut events);
                (connection, events)
            });
            self.settle(token, job, done, now);
        }
    }

    /// After work on a connection: what it said of its job, and where it goes now.
    pub(super) fn settle(
        &mut self,
        token: usize,
        job: Option<u64>,
        done: Option<(Box<Connection>, Vec<Event>)>,
        now: Instant,
    ) {
        let Some((mut connection, events)) = done else {
            // Its share of work panicked and is logged; the connection is gone, the job remains.
            self.timers.cancel(token);
            self.pool.forget(token);
            if let Some(job) = job.and_then(|job| self.jobs.get_mut(&job)) {
                let verdict = own(
                    Class::Deferred,
                    3,
                    0,
                    Scope::Message,
                    "this host has made a mistake",
                );
                job.give_up(&verdict, &mut self.answers);
            }
            self.jobs.retain(|_, job| !job.is_over());
            return;
        };
        let mut over = false;
        for event in events {
            match event {
                Event::Outcome(place, outcome) => {
                    if let Some(job) = connection.job.and_then(|job| self.jobs.get_mut(&job)) {
                        log_outcome(job, &mut connection, &outcome, now);
                        job.outcome(place, &outcome, &connection.host, &mut self.answers);
                    }
                }
                Event::Idle => {
                    self.release(&mut connection, false);
                    if connection.messages >= MESSAGES_PER_CONNECTION
                        || self.phase != Phase::Serving
                    {
                        self.quit(&mut connection, &mut over);
                    } else if let Some(old) =
                        self.pool
                            .keep(token, connection.hop.clone(), connection.peer)
                        && let Some(mut old_connection) = self.connections.remove(&old)
                    {
                        self.quit(&mut old_connection, &mut true);
                        self.timers.cancel(old);
                    }
                }
                Event::ReconnectClear => {
                    log::warning("tls-failed")
                        .kv("host", &*connection.host)
                        .send();
                    if let Some(job) = connection.job.and_then(|job| self.jobs.get_mut(&job)) {
                        job.again = job.current.take();
                        job.clear = true;
                    }
                }
                Event::Closed => over = true,
            }
        }
        if over {
            self.timers.cancel(token);
            self.pool.forget(token);
            self.release(&mut connection, true);
            return;
        }
        if let Some(time) = connection.deadline() {
            self.timers.set(token, now + time);
        }
        self.connections.insert(token, connection);
    }

    /// A connection has done with its job: which is over, or goes on elsewhere.
    fn release(&mut self, connection: &mut Connection, ended: bool) {
        let Some(key) = connection.job.take() else {
            return;
        };
        let Some(job) = self.jobs.get_mut(&key) else {
            return;
        };
        if job.is_over() {
            self.jobs.remove(&key);
            return;
        }
        if connection.messages > 1 && ended {
            // A kept connection that had ended meanwhile says nothing about the host: the same
            // address is tried afresh.
            if job.again.is_none() {
                job.again = job.current.take();
            }
        } else if connection.was_greeted() && job.again.is_none() {
            job.tried.push(connection.peer);
        }
        self.runnable.push_back(key);
    }

    fn quit(&mut self, connection: &mut Connection, over: &mut bool) {
        let mut events = Vec::new();
        connection.quit(&mut self.space, &mut events);
        *over |= events.iter().any(|event| matches!(event, Event::Closed));
    }
}

/// One line for what a host said to a transaction as a whole, one for each recipient that it did
/// not take. queue-manager logs what becomes of each recipient.
fn log_outcome(job: &Job, connection: &mut Connection, outcome: &Outcome, now: Instant) {
    let event = match outcome.class {
        StatusClass::Success => {
            if std::mem::replace(&mut connection.sent_logged, true) {
                return;
            }
            "sent"
        }
        StatusClass::Transient => "deferred",
        StatusClass::Permanent => "refused",
    };
    let cipher = connection.facts.as_ref().map(|facts| facts.cipher.as_str());
    log::info(event)
        .kv("id", job.id.as_str())
        .kv("host", &*connection.host)
        .kv("tls", connection.tls_words())
        .opt("cipher", cipher)
        .val("message", connection.messages)
        .val(
            "delay_ms",
            now.saturating_duration_since(job.since).as_millis(),
        )
        .kv("reply", &*outcome.words)
        .send();
}
