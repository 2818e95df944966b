//! A job's way to its next connection: a kept one, a lookup, an address.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use daemon::log;
use dns::{Answer, Candidate, Key, Lookup, Name, Next, Plan};
use mio::Token;
use queue::Class;
use queue::wire::remote::Scope;
use smtp::client::TlsUse;

use super::{Phase, Server};
use crate::body::Body;
use crate::connection::{Connection, Opening};
use crate::hop::Hop;
use crate::job::{Job, own, unroutable};
use crate::settings::{CONNECTS_MAX, SESSIONS_MAX};

impl Server {
    /// Brings a job on its way: by a kept connection, or by the next address of its plan.
    pub(super) fn run(&mut self, key: u64, now: Instant) {
        let Some(mut job) = self.jobs.remove(&key) else {
            return;
        };
        if job.is_over() || matches!(self.phase, Phase::Stopping(_)) {
            return;
        }
        if job.plan.is_none() {
            // Only while no host has given an answer: otherwise it would be asked again at once.
            if job.tried.is_empty()
                && let Some(token) = self.pool.take_for_hop(&job.hop)
            {
                return self.reuse(token, key, job, now);
            }
            let Some((target, port)) = job.hop.target(self.settings.port) else {
                let verdict = own(
                    Class::Failed,
                    1,
                    2,
                    Scope::Destination,
                    "domain is no name that can be looked up",
                );
                return job.give_up(&verdict, &mut self.answers);
            };
            let own = match &job.hop {
                Hop::Mx(_) => Arc::clone(&self.settings.own),
                // Named by the admin: perhaps a filter on this very host.
                Hop::Host(..) => Arc::default(),
            };
            job.plan = Some(Plan::new(target, own));
            job.port = port;
        }
        loop {
            if let Some(candidate) = job.again.take() {
                match self.try_candidate(candidate, key, job, now) {
                    Ok(()) => return,
                    Err(back) => job = *back,
                }
                continue;
            }
            let Some(plan) = &mut job.plan else {
                return;
            };
            if job.connects >= CONNECTS_MAX || job.tried.len() >= SESSIONS_MAX {
                let verdict = own(
                    Class::Deferred,
                    4,
                    1,
                    Scope::Destination,
                    "no host could be reached",
                );
                self.log_end(&job, "tried-enough");
                return job.give_up(&verdict, &mut self.answers);
            }
            match plan.next_step() {
                Next::Try(candidate)
                    if job
                        .tried
                        .contains(&SocketAddr::new(candidate.address, job.port)) => {}
                Next::Try(candidate) => match self.try_candidate(candidate, key, job, now) {
                    Ok(()) => return,
                    Err(back) => job = *back,
                },
                Next::Wait => {
                    if !self.ask(key, &mut job, now) {
                        self.jobs.insert(key, job);
                        return;
                    }
                }
                Next::Done(error) => {
                    let verdict = match error {
                        Some(error) => {
                            self.log_end(&job, error.as_str());
                            unroutable(error, &job.hop)
                        }
                        None => own(
                            Class::Deferred,
                            4,
                            1,
                            Scope::Destination,
                            "no host could be reached",
                        ),
                    };
                    return job.give_up(&verdict, &mut self.answers);
                }
            }
        }
    }

    pub(super) fn log_end(&self, job: &Job, why: &str) {
        log::info("unreachable")
            .kv("id", job.id.as_str())
            .kv("hop", job.hop.as_str())
            .kv("error", why)
            .send();
    }

    /// Asks what the plan wants to know; whether an answer came at once.
    fn ask(&mut self, key: u64, job: &mut Job, now: Instant) -> bool {
        let Some(plan) = &mut job.plan else {
            return false;
        };
        let mut progress = false;
        for question in plan.questions().to_vec() {
            match self.lookups.query(&question, now) {
                Lookup::Ready(answer) => {
                    plan.answered(&question, &answer, &mut daemon::clock::random_u64);
                    progress = true;
                }
                Lookup::Pending(lookup) if job.asked.contains(&lookup) => {}
                Lookup::Pending(lookup) => {
                    job.asked.push(lookup);
                    self.waiting
                        .entry(lookup)
                        .or_default()
                        .push((key, question));
                }
            }
        }
        progress
    }

    pub(super) fn looked_up(&mut self, lookup: Key, answer: &Arc<Answer>) {
        for (key, question) in self.waiting.remove(&lookup).unwrap_or_default() {
            let Some(job) = self.jobs.get_mut(&key) else {
                continue;
            };
            job.asked.retain(|asked| *asked != lookup);
            if let Some(plan) = &mut job.plan {
                plan.answered(&question, answer, &mut daemon::clock::random_u64);
                if !self.runnable.contains(&key) {
                    self.runnable.push_back(key);
                }
            }
        }
    }

    /// Gives the job a connection that is kept.
    fn reuse(&mut self, token: usize, key: u64, job: Job, now: Instant) {
        let Some(mut connection) = self.connections.remove(&token) else {
            // Can't happen: a connection that ends is forgotten by the pool.
            self.jobs.insert(key, job);
            self.runnable.push_back(key);
            return;
        };
        let (transaction, places) = job.transaction();
        let body = Body::new(Rc::clone(&job.file), job.content);
        self.jobs.insert(key, job);
        let space = &mut self.space;
        let done = daemon::guard(move || {
            let mut events = Vec::new();
            connection.begin(key, transaction, places, body, space, &mut events);
            (connection, events)
        });
        self.settle(token, Some(key), done, now);
    }

    /// Connects to an address, or gives the job back when the system refuses at once.
    fn try_candidate(
        &mut self,
        candidate: Candidate,
        key: u64,
        mut job: Job,
        now: Instant,
    ) -> Result<(), Box<Job>> {
        let peer = SocketAddr::new(candidate.address, job.port);
        if !job.clear
            && let Some(token) = self.pool.take_for_peer(peer)
        {
            job.current = Some(candidate);
            self.reuse(token, key, job, now);
            return Ok(());
        }
        job.connects += 1;
        let token = self.next_token;
        self.next_token += 2;
        let name = candidate.host.as_ref().map(Name::as_str);
        let opening = Opening {
            peer,
            source: self.settings.source_for(peer),
            name,
            hop: job.hop.clone(),
            hello: &self.settings.hello,
            tls: if job.clear {
                TlsUse::Never
            } else {
                self.settings.tls
            },
            client_tls: &self.settings.client_tls,
        };
        let opened = Connection::open(opening, self.poll.registry(), Token(token));
        job.clear = false;
        match opened {
            Ok(connection) => {
                job.current = Some(candidate);
                self.connections.insert(token, Box::new(connection));
                self.reuse(token, key, job, now);
                Ok(())
            }
            Err(error) => {
                let host = crate::answers::peer(name, peer.ip());
                self.refused(&mut job, &host, &error.to_string());
                Err(Box::new(job))
            }
        }
    }

    pub(super) fn refused(&self, job: &mut Job, host: &str, why: &str) {
        log::info("connect")
            .kv("id", job.id.as_str())
            .kv("host", host)
            .kv("error", why)
            .send();
        job.trouble(&own(
            Class::Deferred,
            4,
            1,
            Scope::Destination,
            &format!("connecting to {host}: {why}"),
        ));
    }
}
