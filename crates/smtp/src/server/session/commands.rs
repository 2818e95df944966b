//! What each command does to a session.

use data_encoding::BASE64;

use crate::codec::{Command, CommandError, MailParams};
use crate::types::{AddressError, ForwardPath, Hello, ReversePath};

use super::super::answers;
use super::super::{
    Action, Context, Envelope, Output, RecipientVerdict, Role, Secret, SenderVerdict, Settings,
};
use super::{
    AUTH_FAILURES_MAX, AuthOutcome, EXCESS_RECIPIENTS_MAX, Facts, REFUSED_RECIPIENTS_MAX, Session,
    State, say,
};

impl Session {
    pub(super) fn line(&mut self, cx: &Context<'_>, text: &[u8], more: bool, out: &mut Output) {
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
                return self.excess_recipient(&to, out);
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

    /// Refuses one recipient too many; only the first of a session goes into the log.
    fn excess_recipient(&mut self, to: &ForwardPath, out: &mut Output) {
        self.excess_recipients += 1;
        if self.excess_recipients == 1 {
            self.refuse("recipients", answers::TOO_MANY_RECIPIENTS, to.as_str(), out);
        } else {
            say(answers::TOO_MANY_RECIPIENTS, out);
        }
        if self.excess_recipients >= EXCESS_RECIPIENTS_MAX {
            self.refuse("recipients", answers::TOO_MANY_ERRORS, "", out);
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

    pub(super) fn auth_outcome(
        &mut self,
        cx: &Context<'_>,
        outcome: AuthOutcome,
        out: &mut Output,
    ) {
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
