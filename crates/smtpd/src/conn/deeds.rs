//! What a session asks for, carried out: the queue file, the question to authd, the log.

use std::io;

use daemon::clock;
use daemon::dir::Dir;
use daemon::log;
use daemon::net::Peer;
use events::Kind;
use message::date::Date;
use mio::{Interest, Token};
use queue::{Arrival, Recipient, Writer};
use smtp::server::{Action, AuthOutcome, Envelope, Event, Role, SpoolError};
use smtp::types::{BodyKind, ForwardPath, ReversePath};

use super::{Conn, Shop};
use crate::house::House;
use crate::login::{self, Asked};
use crate::spool::{self, Job};
use crate::trace::{self, Trace};

/// A message being written.
pub(super) struct Spool {
    writer: Writer<Dir>,
    from: ReversePath,
    date: Date,
    recipients: usize,
}

impl Conn {
    /// Carries out what the session asked for; `input` is what it was shown.
    pub(super) fn perform(&mut self, input: &[u8], shop: &mut Shop) {
        loop {
            let mut actions = std::mem::take(&mut shop.out.actions);
            let (mut next, mut failed) = (None, None);
            for action in actions.drain(..) {
                match action {
                    Action::StartTls => self.upgrade = true,
                    Action::Authenticate { response } => {
                        next = self.authenticate(response.expose(), shop).map(Event::Auth);
                    }
                    Action::OpenSpool(envelope) => {
                        next = Some(match self.open(envelope, shop) {
                            Ok(()) => Event::SpoolOpened,
                            Err(error) => Event::SpoolFailed(error),
                        });
                    }
                    Action::SpoolData(range) if failed.is_none() => {
                        failed = self.write(input.get(range).unwrap_or(&[])).err();
                    }
                    Action::SpoolText(text) if failed.is_none() => failed = self.write(text).err(),
                    Action::SpoolMissing(missing) if failed.is_none() => {
                        failed = self.write_missing(missing, &shop.house).err()
                    }
                    Action::CommitSpool if failed.is_none() => failed = self.commit(shop).err(),
                    Action::SpoolData(_)
                    | Action::SpoolText(_)
                    | Action::SpoolMissing(_)
                    | Action::CommitSpool => {}
                    Action::AbortSpool => self.abandon(shop),
                    Action::Close => self.closing = true,
                    Action::Log(refused) => {
                        self.refused = self.refused.saturating_add(1);
                        self.name.refused(&refused, self.refused, &mut shop.events);
                    }
                }
            }
            shop.out.actions = actions;
            if let Some(error) = failed {
                self.abandon(shop);
                next = Some(Event::SpoolFailed(error));
            }
            let Some(event) = next else { return };
            self.with_context(shop, |session, cx, out| session.on(cx, event, out));
        }
    }

    fn authenticate(&mut self, response: &[u8], shop: &Shop) -> Option<AuthOutcome> {
        let asked = match &shop.authd {
            Some(authd) => login::ask(authd, response, self.name.peer, &self.name.sid),
            None => Err(io::Error::new(
                io::ErrorKind::NotConnected,
                "no descriptor named auth-smtp",
            )),
        };
        let waiting = asked.and_then(|asked| match asked {
            Asked::Known(outcome) => Ok(Err(outcome)),
            Asked::Waiting(mut question) => {
                let token = Token(self.token.0 + 1);
                shop.registry
                    .register(&mut question.socket, token, Interest::READABLE)?;
                Ok(Ok(question))
            }
        });
        match waiting {
            Ok(Ok(question)) => {
                self.question = Some(question);
                self.progress = true;
                None
            }
            Ok(Err(outcome)) => Some(outcome),
            Err(error) => {
                self.name
                    .line(log::warning("auth-unavailable"))
                    .val("error", error)
                    .send();
                Some(AuthOutcome::Unavailable)
            }
        }
    }

    fn open(&mut self, envelope: Envelope, shop: &mut Shop) -> Result<(), SpoolError> {
        let facts = self.session.facts();
        let size = envelope.size.unwrap_or(0);
        if !shop.room.fits(shop.incoming.folder(), size, shop.now) {
            self.name
                .line(log::warning("spool-full"))
                .val("size_bytes", size)
                .send();
            return Err(SpoolError::Full);
        }
        let (seconds, id) = (clock::unix_seconds(), shop.ids.next());
        let role = match self.name.role {
            Role::Mx => queue::Role::Mx,
            Role::Submission | Role::Submissions => queue::Role::Submission,
            Role::Local => queue::Role::Local,
        };
        let (client, uid) = match self.name.peer {
            Peer::Tcp(address) => (Some(address.ip()), None),
            Peer::Unix(who) => (None, Some(who.uid)),
        };
        let address = |to: &ForwardPath| match to {
            ForwardPath::Mailbox(mailbox) => Recipient::new(mailbox.as_str()),
            ForwardPath::Postmaster => Recipient::new(shop.house.postmaster.as_str()),
        };
        let stored = queue::Envelope {
            reverse_path: envelope.from.as_str().to_owned(),
            recipients: envelope.to.iter().map(address).collect(),
            arrival: Arrival {
                time: seconds,
                role,
                client,
                helo: facts.hello.as_ref().map_or("", |h| h.name()).to_owned(),
                protocol: trace::with(self.name.role, facts).as_str().to_owned(),
                login: facts.login.as_deref().map(str::to_owned),
                uid,
                session: self.name.sid.clone(),
            },
            eight_bit: envelope.body == BodyKind::EightBitMime,
            ..queue::Envelope::default()
        };
        let mut writer = shop.incoming.begin(id, &stored).map_err(|error| {
            self.name
                .line(log::error("envelope"))
                .val("error", error)
                .send();
            SpoolError::Broken
        })?;
        let offset = i16::try_from(clock::local_offset(seconds) / 60).unwrap_or(0);
        let date = Date::new(seconds, offset);
        let mut head = Vec::with_capacity(512);
        Trace {
            facts,
            peer: self.name.peer,
            role: self.name.role,
            tls: self.tls.as_ref(),
            hostname: &shop.house.hostname,
            id: id.as_str(),
            recipient: match &*stored.recipients {
                [only] => Some(&only.address),
                _ => None,
            },
            date,
        }
        .write_to(&mut head);
        writer.write(&head).map_err(|error| self.blame(&error))?;
        let recipients = stored.recipients.len();
        if self.name.role == Role::Mx {
            let count = u16::try_from(recipients).unwrap_or(u16::MAX);
            self.name.event(Kind::RcptOk, count, &mut shop.events);
        }
        self.spool = Some(Spool {
            writer,
            from: envelope.from,
            date,
            recipients,
        });
        Ok(())
    }

    fn write(&mut self, content: &[u8]) -> Result<(), SpoolError> {
        let Some(spool) = &mut self.spool else {
            return Err(SpoolError::Broken);
        };
        match spool.writer.write(content) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.blame(&error)),
        }
    }

    fn write_missing(
        &mut self,
        missing: smtp::codec::Missing,
        house: &House,
    ) -> Result<(), SpoolError> {
        let Some(spool) = &self.spool else {
            return Err(SpoolError::Broken);
        };
        let mut text = Vec::with_capacity(256);
        let id = spool.writer.id();
        trace::missing(
            missing,
            &spool.from,
            &house.hostname,
            id.as_str(),
            spool.date,
            &mut text,
        );
        self.write(&text)
    }

    fn commit(&mut self, shop: &mut Shop) -> Result<(), SpoolError> {
        let Some(spool) = self.spool.take() else {
            return Err(SpoolError::Broken);
        };
        let id = spool.writer.id();
        self.name
            .line(log::info("received"))
            .val("id", id)
            .val("from", &spool.from)
            .val("recipients", spool.recipients)
            .val("size_bytes", spool.writer.content_len())
            .send();
        let job = Job {
            ticket: self.ticket,
            sealed: spool.writer.finish(),
        };
        match shop.commits.give(job) {
            Ok(()) => {
                shop.in_flight += 1;
                Ok(())
            }
            Err(error) => {
                self.name
                    .line(log::error("no-threads"))
                    .val("error", error)
                    .send();
                shop.trigger.abandoned(id);
                Err(SpoolError::Broken)
            }
        }
    }

    pub(super) fn abandon(&mut self, shop: &mut Shop) {
        if let Some(spool) = self.spool.take() {
            let id = spool.writer.id();
            if spool.writer.abandon() {
                shop.trigger.abandoned(id);
            }
        }
    }

    fn blame(&self, error: &queue::CommitError) -> SpoolError {
        self.name
            .line(log::warning("spool"))
            .val("error", error)
            .send();
        spool::blame(error)
    }
}
