//! One transaction that queue-manager asked for: its recipients, and the way that is left to try.

use std::fs::File;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use dns::{Candidate, Key, Plan, RouteError};
use queue::reply::clean;
use queue::wire::Content;
use queue::wire::remote::{Scope, Transaction};
use queue::{Class, QueueId, Status};
use smtp::client::{Outcome, Stage};
use smtp::types::{BodyKind, Mailbox, ReversePath, StatusClass};

use crate::answers::{Answers, Verdict};
use crate::hop::Hop;

/// A transaction under way.
#[derive(Debug)]
pub struct Job {
    /// queue-manager's number.
    pub number: u64,
    /// The message.
    pub id: QueueId,
    /// Where it goes.
    pub hop: Hop,
    /// Where its content lies.
    pub content: Content,
    /// The queue file.
    pub file: Rc<File>,
    /// The addresses still to be tried; made when no kept connection was there.
    pub plan: Option<Plan>,
    /// The port that belongs to the plan.
    pub port: u16,
    /// Lookups that this transaction waits for.
    pub asked: Vec<Key>,
    /// Connections begun.
    pub connects: u32,
    /// Hosts that have had their say; they are not asked again.
    pub tried: Vec<SocketAddr>,
    /// What is being tried.
    pub current: Option<Candidate>,
    /// What is to be tried once more before the plan goes on.
    pub again: Option<Candidate>,
    /// The next connection stays in clear, because TLS has just failed with this host.
    pub clear: bool,
    /// When it came.
    pub since: Instant,
    from: ReversePath,
    body: BodyKind,
    recipients: Vec<Recipient>,
}

#[derive(Debug)]
struct Recipient {
    index: u32,
    mailbox: Mailbox,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Still to be delivered; what the last host said, which is the answer if no other can be
    /// tried.
    Open(Option<Verdict>),
    /// Answered.
    Settled,
}

impl Recipient {
    /// Keeps what was said in case that nothing better comes. What a host said of the recipient
    /// or the message is not forgotten because the next host could not be reached: it tells the
    /// sender more, and the destination is not down.
    fn note(&mut self, verdict: &Verdict) {
        if let State::Open(last) = &mut self.state
            && (verdict.scope != Scope::Destination
                || last
                    .as_ref()
                    .is_none_or(|last| last.scope == Scope::Destination))
        {
            *last = Some(verdict.clone());
        }
    }
}

impl Job {
    /// Takes a transaction. Recipients that can't be sent to at all are answered at once.
    pub fn new(
        transaction: &Transaction<'_>,
        file: File,
        relay: Option<&Hop>,
        now: Instant,
        answers: &mut Answers,
    ) -> Self {
        let from = ReversePath::parse_bare(transaction.reverse_path);
        let mut job = Self {
            number: transaction.number,
            id: transaction.id,
            hop: Hop::new(transaction.next_hop, relay),
            content: transaction.content,
            file: Rc::new(file),
            plan: None,
            port: 0,
            asked: Vec::new(),
            connects: 0,
            tried: Vec::new(),
            current: None,
            again: None,
            clear: false,
            since: now,
            body: if transaction.eight_bit {
                BodyKind::EightBitMime
            } else {
                BodyKind::SevenBit
            },
            recipients: Vec::with_capacity(transaction.recipients.len()),
            from: ReversePath::Null,
        };
        let refused = match &from {
            _ if transaction.utf8 => Some(own(
                Class::Failed,
                6,
                7,
                Scope::Message,
                "internationalised mail is not supported",
            )),
            Err(_) => Some(own(
                Class::Failed,
                1,
                7,
                Scope::Message,
                "sender address can't be sent",
            )),
            Ok(_) => None,
        };
        if let Ok(from) = from {
            job.from = from;
        }
        for recipient in &transaction.recipients {
            let verdict = refused.clone();
            match Mailbox::parse(recipient.address) {
                Ok(mailbox) if verdict.is_none() => job.recipients.push(Recipient {
                    index: recipient.index,
                    mailbox,
                    state: State::Open(None),
                }),
                _ => {
                    let verdict = verdict.unwrap_or_else(|| {
                        own(
                            Class::Failed,
                            1,
                            3,
                            Scope::Recipient,
                            "recipient address can't be sent",
                        )
                    });
                    answers.add(transaction.number, recipient.index, &verdict);
                }
            }
        }
        job
    }

    /// Whether every recipient has been answered.
    pub fn is_over(&self) -> bool {
        self.recipients
            .iter()
            .all(|recipient| matches!(recipient.state, State::Settled))
    }

    /// The transaction for the recipients that are open, and which they are.
    pub fn transaction(&self) -> (smtp::client::Transaction, Vec<usize>) {
        let mut to = Vec::with_capacity(self.recipients.len());
        let mut places = Vec::with_capacity(self.recipients.len());
        for (place, recipient) in self.recipients.iter().enumerate() {
            if matches!(recipient.state, State::Open(_)) {
                to.push(recipient.mailbox.clone());
                places.push(place);
            }
        }
        let transaction = smtp::client::Transaction {
            from: self.from.clone(),
            to,
            size: self.content.length,
            body: self.body,
        };
        (transaction, places)
    }

    /// A host has said what becomes of the recipient at `place`: the answer, or, when another
    /// host may be tried, a note in case that there is none.
    pub fn outcome(&mut self, place: usize, outcome: &Outcome, host: &str, answers: &mut Answers) {
        let Some(recipient) = self.recipients.get_mut(place) else {
            return;
        };
        if matches!(recipient.state, State::Settled) {
            return;
        }
        let verdict = verdict(outcome, host);
        if outcome.may_try_next_host() {
            recipient.note(&verdict);
        } else {
            answers.add(self.number, recipient.index, &verdict);
            recipient.state = State::Settled;
        }
    }

    /// A host could not be talked to at all.
    pub fn trouble(&mut self, verdict: &Verdict) {
        for recipient in &mut self.recipients {
            recipient.note(verdict);
        }
    }

    /// Nothing is left to try: every open recipient is answered with what was said of it last,
    /// or with `verdict`.
    pub fn give_up(&mut self, verdict: &Verdict, answers: &mut Answers) {
        for recipient in &mut self.recipients {
            if let State::Open(last) = &mut recipient.state {
                let verdict = last.as_ref().unwrap_or(verdict);
                answers.add(self.number, recipient.index, verdict);
                recipient.state = State::Settled;
            }
        }
    }
}

fn verdict(outcome: &Outcome, host: &str) -> Verdict {
    let class = match outcome.class {
        StatusClass::Success => Class::Delivered,
        StatusClass::Transient => Class::Deferred,
        StatusClass::Permanent => Class::Failed,
    };
    let (subject, detail) = (outcome.status.subject(), outcome.status.detail());
    Verdict {
        status: Status::new(class, subject, detail).unwrap_or(match class {
            Class::Delivered => Status::DELIVERED,
            Class::Deferred => Status::DEFERRED,
            Class::Failed => Status::FAILED,
        }),
        scope: scope(outcome),
        host: host.into(),
        text: clean(outcome.words.as_bytes()).into(),
    }
}

/// Whom a verdict is about. What a host does to every message (no greeting, 421, a lost
/// connection before the content) concerns the destination; what it says of the sender or of the
/// content, this message.
fn scope(outcome: &Outcome) -> Scope {
    let own_words = outcome.code.is_none();
    match (outcome.class, outcome.stage) {
        (StatusClass::Success, _) => Scope::Recipient,
        (StatusClass::Permanent, Stage::Rcpt) => Scope::Recipient,
        (StatusClass::Permanent, _) => Scope::Message,
        (StatusClass::Transient, Stage::Body | Stage::End) => Scope::Message,
        (StatusClass::Transient, stage) if stage < Stage::Mail => Scope::Destination,
        (StatusClass::Transient, _) if own_words || outcome.code == Some(421) => Scope::Destination,
        (StatusClass::Transient, Stage::Rcpt) => Scope::Recipient,
        (StatusClass::Transient, _) => Scope::Message,
    }
}

/// A verdict of our own.
pub fn own(class: Class, subject: u16, detail: u16, scope: Scope, text: &str) -> Verdict {
    Verdict {
        status: Status::new(class, subject, detail).unwrap_or(Status::DEFERRED),
        scope,
        host: "".into(),
        text: clean(text.as_bytes()).into(),
    }
}

/// What a failed lookup means for a message.
pub fn unroutable(error: RouteError, hop: &Hop) -> Verdict {
    let class = if error.is_temporary() {
        Class::Deferred
    } else {
        Class::Failed
    };
    let (subject, detail) = match error {
        RouteError::NoDomain => (1, 2),
        RouteError::NoHost => (4, 4),
        RouteError::NullMx => (1, 10),
        RouteError::Ourselves => (4, 6),
        RouteError::Temporary(_) => (4, 3),
    };
    own(
        class,
        subject,
        detail,
        Scope::Destination,
        &format!("{}: {error}", hop.as_str()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemon::packet::Packets;
    use queue::wire::remote::{FromRemote, NextHop};
    use smtp::types::EnhancedCode;

    fn outcome(class: StatusClass, stage: Stage, code: Option<u16>) -> Outcome {
        Outcome {
            recipient: 0,
            class,
            status: EnhancedCode::new(class, 7, 1),
            code,
            words: "words".into(),
            stage,
        }
    }

    #[test]
    fn whom_a_verdict_is_about() {
        use StatusClass::{Permanent, Success, Transient};
        for (class, stage, code, expected) in [
            (Success, Stage::End, Some(250), Scope::Recipient),
            (Permanent, Stage::Mail, Some(550), Scope::Message),
            (Permanent, Stage::Mail, None, Scope::Message),
            (Permanent, Stage::Rcpt, Some(550), Scope::Recipient),
            (Permanent, Stage::Data, Some(554), Scope::Message),
            (Permanent, Stage::End, Some(554), Scope::Message),
            (Transient, Stage::Greeting, Some(554), Scope::Destination),
            (Transient, Stage::Tls, None, Scope::Destination),
            (Transient, Stage::Mail, Some(451), Scope::Message),
            (Transient, Stage::Mail, Some(421), Scope::Destination),
            (Transient, Stage::Mail, None, Scope::Destination),
            (Transient, Stage::Rcpt, Some(450), Scope::Recipient),
            (Transient, Stage::Rcpt, Some(421), Scope::Destination),
            (Transient, Stage::Data, None, Scope::Destination),
            (Transient, Stage::Body, None, Scope::Message),
            (Transient, Stage::End, None, Scope::Message),
            (Transient, Stage::End, Some(451), Scope::Message),
        ] {
            assert_eq!(
                scope(&outcome(class, stage, code)),
                expected,
                "{class:?} {stage:?} {code:?}"
            );
        }
    }

    #[test]
    fn what_can_t_be_sent_is_answered_at_once() {
        for (utf8, from, to, status) in [
            (true, "s@me.example", "a@x.example", "5.6.7"),
            (false, "no sender", "a@x.example", "5.1.7"),
            (false, "s@me.example", "no address", "5.1.3"),
        ] {
            let transaction = Transaction {
                number: 1,
                id: QueueId::new(1, 1),
                reverse_path: from,
                eight_bit: false,
                utf8,
                content: Content {
                    offset: 0,
                    length: 0,
                },
                next_hop: NextHop::Mx("x.example"),
                recipients: vec![queue::wire::remote::Recipient {
                    index: 5,
                    address: to,
                }],
            };
            let mut answers = Answers::default();
            let file = tempfile::tempfile().unwrap();
            let job = Job::new(&transaction, file, None, Instant::now(), &mut answers);
            assert!(job.is_over());
            let (near, far) = Packets::pair().unwrap();
            answers.flush(&near).unwrap();
            let mut buffer = [0; 2_048];
            let length = far.recv(&mut buffer).unwrap().length;
            let Ok(FromRemote::Answer(answer)) = FromRemote::decode(&buffer[..length]) else {
                panic!("an answer");
            };
            assert_eq!(answer.status.to_string(), status);
            assert_eq!(answer.recipients, [5]);
        }
    }

    #[test]
    fn a_failed_lookup_in_words_and_numbers() {
        let hop = Hop::Mx("d.example".into());
        for error in [
            RouteError::NoDomain,
            RouteError::NoHost,
            RouteError::NullMx,
            RouteError::Ourselves,
            RouteError::Temporary(dns::Trouble::Timeout),
        ] {
            let verdict = unroutable(error, &hop);
            assert_eq!(verdict.status.to_string(), error.status());
            assert!(verdict.text.starts_with("d.example: "), "{}", verdict.text);
        }
    }
}
