//! One pass of a message through a mechanism that reads its header and hashes its body.
//!
//! [`Pass`] does what DKIM and ARC have in common: it collects the header, feeds the body to
//! the hashes that the mechanism asked for, keeps nothing of it, and puts the mechanism's
//! questions as soon as the header is known, so that the answers arrive while the body is
//! still on its way. Two mechanisms as a pair share one header and one set of body hashes.

use crate::body_hash::{BodyHashes, BodyResults};
use crate::header_block::{Collected, Collector, HeaderBlock, HeaderTooLarge};
use crate::lookup::{Answer, Check, Need, Question};

/// What a mechanism does at the stations of a message.
pub trait Mechanism {
    /// What it finds out or makes.
    type Verdict;

    /// The header is complete: choose what to verify and register the body hashes. Not called
    /// when the header is too large.
    fn header(&mut self, header: &HeaderBlock, body: &mut BodyHashes);

    /// The next question, each once.
    fn question(&mut self) -> Option<Question>;

    /// An answer to one of them. Anything else is ignored.
    fn answer(&mut self, question: &Question, answer: &Answer);

    /// Whether answers are under way.
    fn waiting(&self) -> bool;

    /// The message is over and all answers are there.
    fn verdict(&mut self, message: &Seen<'_>) -> Self::Verdict;
}

/// A message that has gone by.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Its header, if it was not too large.
    pub header: Result<&'a HeaderBlock, HeaderTooLarge>,
    /// The body hashes that were asked for.
    pub body: &'a BodyResults,
    /// Seconds since 1970 UTC at the end of the message.
    pub now: i64,
}

impl<A: Mechanism, B: Mechanism> Mechanism for (A, B) {
    type Verdict = (A::Verdict, B::Verdict);

    fn header(&mut self, header: &HeaderBlock, body: &mut BodyHashes) {
        self.0.header(header, body);
        self.1.header(header, body);
    }

    fn question(&mut self) -> Option<Question> {
        self.0.question().or_else(|| self.1.question())
    }

    fn answer(&mut self, question: &Question, answer: &Answer) {
        self.0.answer(question, answer);
        self.1.answer(question, answer);
    }

    fn waiting(&self) -> bool {
        self.0.waiting() || self.1.waiting()
    }

    fn verdict(&mut self, message: &Seen<'_>) -> Self::Verdict {
        (self.0.verdict(message), self.1.verdict(message))
    }
}

/// A message on its way through a mechanism: [`Pass::feed`] its octets, [`Pass::end`] it,
/// and drive the questions through [`Check`] at any time in between or afterwards.
#[derive(Debug)]
pub struct Pass<M> {
    mechanism: M,
    state: State,
}

#[derive(Debug)]
enum State {
    Header(Collector),
    Body(HeaderBlock, BodyHashes),
    /// The header is too large; the rest of the message is of no use.
    TooLarge,
    Ended {
        header: Result<HeaderBlock, HeaderTooLarge>,
        body: BodyResults,
        now: i64,
    },
    Done,
}

impl<M: Mechanism> Pass<M> {
    /// Before the first octet.
    pub fn new(mechanism: M) -> Self {
        Self {
            mechanism,
            state: State::Header(Collector::default()),
        }
    }

    /// Takes the next octets of the message, in blocks of any size, as they go over the wire
    /// but without dot-stuffing. Ignored after [`Pass::end`].
    pub fn feed(&mut self, block: &[u8]) {
        match &mut self.state {
            State::Header(collector) => match collector.feed(block) {
                Collected::More => {}
                Collected::TooLarge => self.state = State::TooLarge,
                Collected::Complete(length) => {
                    self.header_complete();
                    if let State::Body(_, body) = &mut self.state {
                        body.feed(block.get(length..).unwrap_or_default());
                    }
                }
            },
            State::Body(_, body) => body.feed(block),
            State::TooLarge | State::Ended { .. } | State::Done => {}
        }
    }

    fn header_complete(&mut self) {
        let State::Header(collector) = &mut self.state else {
            return;
        };
        self.state = match std::mem::take(collector).finish() {
            Ok(header) => {
                let mut body = BodyHashes::default();
                self.mechanism.header(&header, &mut body);
                State::Body(header, body)
            }
            Err(HeaderTooLarge) => State::TooLarge,
        };
    }

    /// The message is over. A message without an empty line is all header.
    ///
    /// `now` is the time in seconds since 1970 UTC that signatures are held against.
    pub fn end(&mut self, now: i64) {
        self.header_complete();
        self.state = match std::mem::replace(&mut self.state, State::Done) {
            State::Body(header, body) => State::Ended {
                header: Ok(header),
                body: body.finish(),
                now,
            },
            State::Header(_) | State::TooLarge => State::Ended {
                header: Err(HeaderTooLarge),
                body: BodyResults::default(),
                now,
            },
            other @ (State::Ended { .. } | State::Done) => other,
        };
    }

    /// The header, once it is complete and until the verdict was given.
    pub fn header(&self) -> Option<&HeaderBlock> {
        match &self.state {
            State::Body(header, _)
            | State::Ended {
                header: Ok(header), ..
            } => Some(header),
            _ => None,
        }
    }
}

impl<M: Mechanism> Check for Pass<M> {
    type Verdict = M::Verdict;

    fn poll(&mut self) -> Need<M::Verdict> {
        if matches!(self.state, State::Header(_) | State::Done) {
            return Need::Wait;
        }
        if let Some(question) = self.mechanism.question() {
            return Need::Lookup(question);
        }
        if self.mechanism.waiting() {
            return Need::Wait;
        }
        match std::mem::replace(&mut self.state, State::Done) {
            State::Ended { header, body, now } => {
                let seen = Seen {
                    header: header.as_ref().map_err(|error| *error),
                    body: &body,
                    now,
                };
                Need::Done(self.mechanism.verdict(&seen))
            }
            other => {
                self.state = other;
                Need::Wait
            }
        }
    }

    fn answer(&mut self, question: &Question, answer: &Answer) {
        self.mechanism.answer(question, answer);
    }
}
