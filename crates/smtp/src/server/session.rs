//! The states of a receiving session.

use data_encoding::BASE64;

use crate::codec::{Command, CommandError, LineReader, LineStep, MailParams};
use crate::types::{AddressError, ForwardPath, Hello, ReversePath};

use super::answers::{self, Answer};
use super::body::{Body, Progress, Refusal, SpoolError};
use super::{
    Action, Context, Envelope, Output, RecipientVerdict, Refused, Role, Secret, SenderVerdict,
    Settings,
};

/// Most failed logins of a session; the last one ends it.
pub const AUTH_FAILURES_MAX: u32 = 3;
/// Most commands without effect (NOOP, RSET, VRFY, EHLO again ...) between two messages.
pub const JUNK_MAX: u32 = 100;
/// Most recipients that are refused in a session before it is ended: who asks for more is
/// looking for addresses.
pub const REFUSED_RECIPIENTS_MAX: u32 = 100;

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

    fn line(&mut self, cx: &Context<'_>, text: &[u8], more: bool, out: &mut Output) {
        if matches!(self.state, State::AuthResponse) {
            return self.auth_response(cx, text, out);
        }
        match Command::parse(text) {
            Ok(command) => self.command(cx, command, more, out),
            Err(error) => {
                let answer = match error {
                    CommandError::Unknown => answers::UNKNOWN,
                    CommandError::NotOffered => answers::NOT_OFFERED,
                    CommandError::BadOctet => answers::SYNTAX,
                    CommandError::Arguments => answers::ARGUMENTS,
                    CommandError::HelloName => answers::HELLO_NAME,
                    CommandError::Sender(AddressError::NonAscii)
                    | CommandError::Recipient(AddressError::NonAscii) => answers::NON_ASCII_ADDRESS,
                    CommandError::Sender(_) => answers::BAD_SENDER,
                    CommandError::Recipient(_) => answers::BAD_RECIPIENT,
                    CommandError::UnknownParameter => answers::UNKNOWN_PARAMETER,
                    CommandError::BadParameter => answers::BAD_PARAMETER,
                };
                self.fault(cx, "syntax", answer, out);
            }
        }
    }

    fn command(&mut self, cx: &Context<'_>, command: Command<'_>, more: bool, out: &mut Output) {
        match command {
            Command::Hello(hello) => {
                say_hello(cx.settings, &self.facts, &hello, out);
                self.facts.hello = Some(hello);
                self.state = State::Ready;
                self.junk(out);
            }
            Command::Mail { from, params } => self.mail(cx, from, params, out),
            Command::Rcpt { to } => self.rcpt(cx, to, out),
            Command::Data => self.data(cx, more, out),
            Command::Rset => {
                if !matches!(self.state, State::Fresh) {
                    self.state = State::Ready;
                }
                say(answers::OK, out);
                self.junk(out);
            }
            Command::Noop => self.junk_with(answers::OK, out),
            Command::Help => self.junk_with(answers::HELP, out),
            Command::Vrfy => self.junk_with(answers::VRFY, out),
            Command::Expn => self.fault(cx, "expn", answers::NOT_OFFERED, out),
            Command::Quit => {
                say(answers::BYE, out);
                self.close(out);
            }
            Command::StartTls => self.start_tls(cx, more, out),
            Command::Auth { mechanism, initial } => self.auth(cx, mechanism, initial, out),
        }
    }

    fn mail(&mut self, cx: &Context<'_>, from: ReversePath, params: MailParams, out: &mut Output) {
        let role = cx.settings.role;
        let answer = match self.state {
            State::Ready => None,
            State::Fresh => Some(answers::HELLO_FIRST),
            _ => Some(answers::NESTED_MAIL),
        };
        if let Some(answer) = answer {
            return self.fault(cx, "sequence", answer, out);
        }
        if role.needs_login() && !self.facts.encrypted {
            return self.fault(cx, "tls-required", answers::TLS_FIRST, out);
        }
        if role.needs_login() && self.facts.login.is_none() {
            return self.fault(cx, "auth-required", answers::AUTH_FIRST, out);
        }
        if params.auth && !offers_auth(cx.settings, &self.facts) {
            return self.fault(cx, "syntax", answers::UNKNOWN_PARAMETER, out);
        }
        if params
            .size
            .is_some_and(|size| size > cx.settings.max_message_size)
        {
            return self.refuse("size", answers::TOO_BIG, from.as_str(), out);
        }
        match cx.policy.sender(&self.facts, &from) {
            SenderVerdict::Accept => {
                say(answers::SENDER_OK, out);
                self.state = State::Sender { from, params };
            }
            SenderVerdict::Refused => {
                self.refuse("sender", answers::SENDER_REFUSED, from.as_str(), out)
            }
            SenderVerdict::Later => {
                self.refuse("tables", answers::TABLES_LATER, from.as_str(), out)
            }
        }
    }

    fn rcpt(&mut self, cx: &Context<'_>, to: ForwardPath, out: &mut Output) {
        let (from, known) = match &self.state {
            State::Sender { from, .. } => (from, 0),
            State::Recipients { envelope } => (&envelope.from, envelope.to.len()),
            State::Fresh => return self.fault(cx, "sequence", answers::HELLO_FIRST, out),
            _ => return self.fault(cx, "sequence", answers::MAIL_FIRST, out),
        };
        let (rule, answer) = match cx.policy.recipient(&self.facts, from, &to) {
            RecipientVerdict::Accept if known >= cx.settings.max_recipients => {
                return self.refuse("recipients", answers::TOO_MANY_RECIPIENTS, to.as_str(), out);
            }
            RecipientVerdict::Accept => {
                say(answers::RECIPIENT_OK, out);
                self.state = match std::mem::replace(&mut self.state, State::Ready) {
                    State::Sender { from, params } => {
                        let MailParams { size, body, .. } = params;
                        State::Recipients {
                            envelope: Envelope {
                                from,
                                to: vec![to],
                                size,
                                body,
                            },
                        }
                    }
                    State::Recipients { mut envelope } => {
                        envelope.to.push(to);
                        State::Recipients { envelope }
                    }
                    other => other,
                };
                return;
            }
            RecipientVerdict::UnknownUser => ("unknown-user", answers::UNKNOWN_USER),
            RecipientVerdict::RelayDenied => ("relay", answers::RELAY_DENIED),
            RecipientVerdict::Later => ("tables", answers::TABLES_LATER),
        };
        self.refuse(rule, answer, to.as_str(), out);
        self.refused_recipients += 1;
        if self.refused_recipients >= REFUSED_RECIPIENTS_MAX {
            self.refuse("refused-recipients", answers::TOO_MANY_ERRORS, "", out);
            self.close(out);
        }
    }

    fn data(&mut self, cx: &Context<'_>, more: bool, out: &mut Output) {
        match std::mem::replace(&mut self.state, State::Ready) {
            State::Recipients { envelope } => {
                out.actions.push(Action::OpenSpool(envelope));
                self.state = State::SpoolWait { early: more };
                return;
            }
            state @ State::Sender { .. } => {
                self.state = state;
                self.fault(cx, "no-recipients", answers::NO_RECIPIENTS, out);
            }
            state @ State::Fresh => {
                self.state = state;
                self.fault(cx, "sequence", answers::HELLO_FIRST, out);
            }
            state => {
                self.state = state;
                self.fault(cx, "sequence", answers::MAIL_FIRST, out);
            }
        }
        // A client that did not wait for the answer has sent message text, which must not be
        // read as commands.
        if more {
            self.close(out);
        }
    }

    fn start_tls(&mut self, cx: &Context<'_>, more: bool, out: &mut Output) {
        if self.facts.encrypted {
            return self.fault(cx, "sequence", answers::TLS_TWICE, out);
        }
        if !offers_tls(cx.settings, &self.facts) {
            return self.fault(cx, "syntax", answers::NOT_OFFERED, out);
        }
        match self.state {
            State::Fresh => self.fault(cx, "sequence", answers::HELLO_FIRST, out),
            State::Ready if more => {
                // Words said in clear that were to be heard as if encrypted (CVE-2011-0411).
                self.refuse("starttls-injection", answers::EARLY_BYTES, "", out);
                self.close(out);
            }
            State::Ready => {
                say(answers::TLS_GO, out);
                out.actions.push(Action::StartTls);
                self.state = State::TlsWait;
            }
            _ => self.fault(cx, "sequence", answers::NOT_NOW, out),
        }
    }

    fn auth(&mut self, cx: &Context<'_>, mechanism: &str, initial: Option<&str>, out: &mut Output) {
        let refusal = if !cx.settings.role.needs_login() {
            Some(answers::NOT_OFFERED)
        } else if !self.facts.encrypted {
            Some(answers::AUTH_IN_CLEAR)
        } else if self.facts.login.is_some() {
            Some(answers::AUTH_TWICE)
        } else {
            match self.state {
                State::Ready => None,
                State::Fresh => Some(answers::HELLO_FIRST),
                _ => Some(answers::NOT_NOW),
            }
        };
        if let Some(answer) = refusal {
            return self.fault(cx, "auth", answer, out);
        }
        if !mechanism.eq_ignore_ascii_case("PLAIN") {
            return self.fault(cx, "auth", answers::MECHANISM, out);
        }
        match initial {
            None => {
                say(answers::AUTH_GO, out);
                self.state = State::AuthResponse;
            }
            Some("=") => self.authenticate(cx, b"", out),
            Some(response) => self.authenticate(cx, response.as_bytes(), out),
        }
    }

    fn auth_response(&mut self, cx: &Context<'_>, text: &[u8], out: &mut Output) {
        self.state = State::Ready;
        if text == b"*" {
            self.fault(cx, "auth", answers::AUTH_CANCELLED, out);
        } else {
            self.authenticate(cx, text, out);
        }
    }

    fn authenticate(&mut self, cx: &Context<'_>, base64: &[u8], out: &mut Output) {
        match BASE64.decode(base64) {
            Ok(response) => {
                out.actions.push(Action::Authenticate {
                    response: Secret::new(response),
                });
                self.state = State::AuthWait;
            }
            Err(_) => self.fault(cx, "auth", answers::BAD_BASE64, out),
        }
    }

    fn auth_outcome(&mut self, cx: &Context<'_>, outcome: AuthOutcome, out: &mut Output) {
        self.state = State::Ready;
        match outcome {
            AuthOutcome::Granted(login) => {
                say(answers::AUTH_DONE, out);
                self.facts.login = Some(login);
            }
            AuthOutcome::Malformed => self.fault(cx, "auth", answers::BAD_BASE64, out),
            AuthOutcome::Unavailable => {
                self.refuse("auth-unavailable", answers::AUTH_LATER, "", out)
            }
            AuthOutcome::Denied => {
                self.refuse("auth", answers::AUTH_DENIED, "", out);
                self.auth_failures += 1;
                if self.auth_failures >= AUTH_FAILURES_MAX {
                    self.refuse("auth-failures", answers::AUTH_TOO_MANY, "", out);
                    self.close(out);
                }
            }
        }
        self.drain(out);
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

const fn offers_tls(settings: &Settings, facts: &Facts) -> bool {
    settings.tls && !facts.encrypted && !matches!(settings.role, Role::Local | Role::Submissions)
}

const fn offers_auth(settings: &Settings, facts: &Facts) -> bool {
    settings.role.needs_login() && facts.encrypted
}

fn say_hello(settings: &Settings, facts: &Facts, hello: &Hello, out: &mut Output) {
    let bytes = &mut out.bytes;
    bytes.extend_from_slice(if hello.is_extended() {
        b"250-"
    } else {
        b"250 "
    });
    bytes.extend_from_slice(settings.hostname.as_bytes());
    bytes.extend_from_slice(b"\r\n");
    if !hello.is_extended() {
        return;
    }
    bytes.extend_from_slice(b"250-PIPELINING\r\n250-SIZE ");
    bytes.extend_from_slice(settings.max_message_size.to_string().as_bytes());
    bytes.extend_from_slice(b"\r\n250-8BITMIME\r\n");
    if offers_tls(settings, facts) {
        bytes.extend_from_slice(b"250-STARTTLS\r\n");
    }
    if offers_auth(settings, facts) {
        bytes.extend_from_slice(b"250-AUTH PLAIN\r\n");
    }
    bytes.extend_from_slice(b"250 ENHANCEDSTATUSCODES\r\n");
}
