//! The states of a receiving session.

mod commands;

use crate::codec::{LineReader, LineStep, MailParams};
use crate::types::{Hello, ReversePath};

use super::answers::{self, Answer};
use super::body::{Body, Progress, Refusal, SpoolError};
use super::{Action, Context, Envelope, Output, Refused};

/// Most failed logins of a session; the last one ends it.
pub const AUTH_FAILURES_MAX: u32 = 3;
/// Most commands without effect (NOOP, RSET, VRFY, EHLO again ...) between two messages.
pub const JUNK_MAX: u32 = 100;
/// Most recipients that are refused in a session before it is ended: who asks for more is
/// looking for addresses.
pub const REFUSED_RECIPIENTS_MAX: u32 = 100;

/// Most recipients beyond [`super::Settings::max_recipients`] in a session before it is ended. Clients
/// that write ahead may not have seen the first 452 yet; nobody else goes on for so long.
pub const EXCESS_RECIPIENTS_MAX: u32 = 1_000;

/// What is known about the peer beyond its address.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What it calls itself.
    pub hello: Option<Hello>,
    /// Who it has proved to be.
    pub login: Option<Box<str>>,
    /// Whether TLS is on.
    pub encrypted: bool,
}

/// What happened outside.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The handshake asked for by [`Action::StartTls`] is done.
    TlsStarted,
    /// The answer to [`Action::Authenticate`].
    Auth(AuthOutcome),
    /// The queue file is there.
    SpoolOpened,
    /// The queue file could not be created or written.
    SpoolFailed(SpoolError),
    /// The message survives power loss from now on; its queue id.
    Committed(&'a str),
    /// It does not.
    CommitFailed(SpoolError),
    /// The time for [`Session::wait`] is over.
    Timeout,
    /// The program is to end: finish the message under way and no other.
    Shutdown,
    /// The peer is gone.
    Closed,
}

/// What a password check gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthOutcome {
    /// This user it is.
    Granted(Box<str>),
    /// Unknown user, wrong password, or may not log in: the peer is not told which.
    Denied,
    /// The response was no message of the mechanism.
    Malformed,
    /// Could not be checked now.
    Unavailable,
}

/// What the session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The peer's next command (RFC 5321, 4.5.3.2.7 wants at least 5 minutes).
    Command,
    /// The next block of a message (4.5.3.2.5 gives the client 3 minutes for one).
    Data,
    /// The handshake.
    Handshake,
    /// Something on this host; no timer.
    Host,
    /// Nothing: the session is over.
    Over,
}

/// See the module's page.
#[derive(Debug)]
pub struct Session {
    state: State,
    facts: Facts,
    reader: LineReader,
    errors: u32,
    auth_failures: u32,
    junk: u32,
    refused_recipients: u32,
    excess_recipients: u32,
    draining: bool,
}

/// Each state owns what only it knows: leaving it forgets the envelope.
#[derive(Debug)]
enum State {
    /// No EHLO since the start or since TLS.
    Fresh,
    Ready,
    Sender {
        from: ReversePath,
        params: MailParams,
    },
    Recipients {
        envelope: Envelope,
    },
    /// `334` is out.
    AuthResponse,
    AuthWait,
    TlsWait,
    /// `early`: bytes followed DATA before it was answered.
    SpoolWait {
        early: bool,
    },
    Body(Box<Body>),
    CommitWait,
    Closed,
}

impl Session {
    /// A session of a peer that has not been greeted. `encrypted` where TLS came first.
    #[must_use]
    pub fn new(encrypted: bool) -> Self {
        Self {
            state: State::Fresh,
            facts: Facts {
                encrypted,
                ..Facts::default()
            },
            reader: LineReader::new(),
            errors: 0,
            auth_failures: 0,
            junk: 0,
            refused_recipients: 0,
            excess_recipients: 0,
            draining: false,
        }
    }

    /// Greets.
    pub fn start(&self, cx: &Context<'_>, out: &mut Output) {
        for part in ["220 ", &*cx.settings.hostname, " ESMTP\r\n"] {
            out.bytes.extend_from_slice(part.as_bytes());
        }
    }

    /// What is known about the peer.
    #[must_use]
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What the session waits for.
    #[must_use]
    pub const fn wait(&self) -> Wait {
        match self.state {
            State::Fresh
            | State::Ready
            | State::Sender { .. }
            | State::Recipients { .. }
            | State::AuthResponse => Wait::Command,
            State::Body(_) => Wait::Data,
            State::TlsWait => Wait::Handshake,
            State::AuthWait | State::SpoolWait { .. } | State::CommitWait => Wait::Host,
            State::Closed => Wait::Over,
        }
    }

    /// Takes what was received and returns how many octets are done with. Uses nothing while
    /// [`Session::wait`] says `Handshake` or `Host`, and everything when it says `Over`. In
    /// between fewer than [`crate::codec::COMMAND_LINE_MAX`] octets stay.
    pub fn input(&mut self, cx: &Context<'_>, input: &[u8], out: &mut Output) -> usize {
        let mut pos = 0;
        while pos < input.len() {
            match &mut self.state {
                State::Closed => return input.len(),
                State::TlsWait | State::AuthWait | State::SpoolWait { .. } | State::CommitWait => {
                    break;
                }
                State::Body(body) => match body.input(cx.settings, input, pos, out) {
                    Progress::More => pos = input.len(),
                    Progress::Whole { used } => {
                        self.state = State::CommitWait;
                        pos = used;
                    }
                    Progress::Refused { used, why } => {
                        self.message_refused(why, out);
                        pos = used;
                    }
                    Progress::Flood { why } => {
                        self.message_refused(why, out);
                        self.close(out);
                    }
                },
                State::Fresh
                | State::Ready
                | State::Sender { .. }
                | State::Recipients { .. }
                | State::AuthResponse => {
                    let rest = input.get(pos..).unwrap_or(&[]);
                    match self.reader.next(rest) {
                        LineStep::More => break,
                        LineStep::Skip => pos = input.len(),
                        LineStep::Line { text, used } => {
                            pos += used;
                            self.line(cx, text, pos < input.len(), out);
                        }
                        LineStep::BareCr { used } => {
                            pos += used;
                            self.bad_line(cx, answers::LINE_END, out);
                        }
                        LineStep::TooLong { used } => {
                            pos += used;
                            let auth = matches!(self.state, State::AuthResponse);
                            let answer = if auth {
                                answers::AUTH_LONG_LINE
                            } else {
                                answers::LONG_LINE
                            };
                            self.bad_line(cx, answer, out);
                        }
                        LineStep::BareLf => {
                            self.refuse("line-ends", answers::LINE_END, "", out);
                            self.close(out);
                        }
                        LineStep::Flood => {
                            self.refuse("line-length", answers::LONG_LINE, "", out);
                            self.close(out);
                        }
                    }
                }
            }
        }
        pos
    }

    /// Takes what happened outside. Events that do not fit the state are without effect.
    pub fn on(&mut self, cx: &Context<'_>, event: Event<'_>, out: &mut Output) {
        match (&mut self.state, event) {
            (State::TlsWait, Event::TlsStarted) => {
                // Nothing learned in clear is kept (RFC 3207, 4.2), the counts are.
                self.facts = Facts {
                    encrypted: true,
                    ..Facts::default()
                };
                self.reader = LineReader::new();
                self.state = State::Fresh;
                self.drain(out);
            }
            (State::AuthWait, Event::Auth(outcome)) => self.auth_outcome(cx, outcome, out),
            (State::SpoolWait { .. }, Event::SpoolOpened) => {
                say(answers::DATA_GO, out);
                self.state = State::Body(Box::new(Body::new(cx.settings)));
            }
            (State::SpoolWait { early }, Event::SpoolFailed(error)) => {
                let early = *early;
                self.message_refused(error.refusal(), out);
                if early {
                    self.close(out);
                }
            }
            (State::Body(body), Event::SpoolFailed(error)) => body.spool_failed(error),
            (State::CommitWait, Event::SpoolFailed(error) | Event::CommitFailed(error)) => {
                self.message_refused(error.refusal(), out);
            }
            (State::CommitWait, Event::Committed(id)) => {
                for part in ["250 2.0.0 Ok: queued as ", id, "\r\n"] {
                    out.bytes.extend_from_slice(part.as_bytes());
                }
                self.junk = 0;
                self.state = State::Ready;
                self.drain(out);
            }
            (State::Closed, _) => {}
            (_, Event::Closed) => self.close(out),
            (State::TlsWait, Event::Timeout | Event::Shutdown) => self.close(out),
            (State::AuthWait | State::SpoolWait { .. } | State::CommitWait, Event::Timeout) => {}
            (_, Event::Timeout) => {
                self.refuse("timeout", answers::TIMEOUT, "", out);
                self.close(out);
            }
            (_, Event::Shutdown) => {
                self.draining = true;
                if self.wait() == Wait::Command {
                    self.drain(out);
                }
            }
            // The shell reports what was not asked for.
            (
                _,
                Event::TlsStarted
                | Event::Auth(_)
                | Event::SpoolOpened
                | Event::SpoolFailed(_)
                | Event::Committed(_)
                | Event::CommitFailed(_),
            ) => {}
        }
    }

    /// The message is not kept; the session goes on.
    fn message_refused(&mut self, why: Refusal, out: &mut Output) {
        self.state = State::Ready;
        self.refuse(why.rule, why.answer, "", out);
        self.drain(out);
    }

    /// A line that is none; counts as an error.
    fn bad_line(&mut self, cx: &Context<'_>, answer: Answer, out: &mut Output) {
        if matches!(self.state, State::AuthResponse) {
            self.state = State::Ready;
        }
        self.fault(cx, "syntax", answer, out);
    }

    /// Refuses something that the peer should not have said, and ends the session when there
    /// was too much of that.
    fn fault(&mut self, cx: &Context<'_>, rule: &'static str, answer: Answer, out: &mut Output) {
        self.refuse(rule, answer, "", out);
        self.errors += 1;
        if self.errors > cx.settings.max_errors {
            self.refuse("errors", answers::TOO_MANY_ERRORS, "", out);
            self.close(out);
        }
    }

    fn refuse(&mut self, rule: &'static str, answer: Answer, about: &str, out: &mut Output) {
        say(answer, out);
        out.actions.push(Action::Log(Refused {
            rule,
            answer,
            about: about.into(),
        }));
    }

    fn junk_with(&mut self, answer: Answer, out: &mut Output) {
        say(answer, out);
        self.junk(out);
    }

    fn junk(&mut self, out: &mut Output) {
        self.junk += 1;
        if self.junk > JUNK_MAX {
            self.refuse("junk", answers::JUNK, "", out);
            self.close(out);
        }
    }

    /// Ends a session that has come to rest while the program is to end.
    fn drain(&mut self, out: &mut Output) {
        if self.draining && !matches!(self.state, State::Closed) {
            say(answers::SHUTDOWN, out);
            self.close(out);
        }
    }

    fn close(&mut self, out: &mut Output) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Closed => return,
            State::Body(body) if body.holds_spool() => out.actions.push(Action::AbortSpool),
            _ => {}
        }
        out.actions.push(Action::Close);
    }
}

fn say(answer: Answer, out: &mut Output) {
    out.bytes.extend_from_slice(answer.bytes());
}
