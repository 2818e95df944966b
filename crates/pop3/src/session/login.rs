//! The AUTHORIZATION state (RFC 1939, 4): who is it, and is the line private?

use crate::codec::capa::{self, Capabilities};
use crate::codec::command::{Command, CommandError};
use crate::codec::line::{Line, LineReader};
use crate::limits::{ERRORS_MAX, LOGIN_FAILURES_MAX, OUTPUT_HIGH};
use crate::session::End;
use crate::types::{Password, UserName};

/// Whether the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// No certificate is there: STLS is neither offered nor accepted.
    Unavailable,
    /// In clear; STLS is offered.
    Offered,
    /// TLS is on (pop3s, or after STLS).
    On,
}

/// What the caller knows about a new connection.
#[derive(Debug, Clone, Copy)]
pub struct LoginOptions {
    /// State of TLS when the machine starts.
    pub tls: Tls,
    /// USER and PASS are accepted without TLS. Only for a client on the loopback interface
    /// and only when the admin said so: RFC 8314 wants no password in clear.
    pub clear_passwords: bool,
}

/// What the machine waits for.
#[derive(Debug, PartialEq, Eq)]
pub enum LoginWant<'a> {
    /// More octets for [`Login::input`].
    Input,
    /// The output is to be sent, then the TLS handshake done, then [`Login::tls_started`].
    StartTls,
    /// A password check; then [`Login::accepted`] or [`Login::refused`].
    Authenticate {
        /// Who the client says it is.
        user: &'a UserName,
        /// The proof.
        password: &'a Password,
    },
    /// The password was right: octets that `input` did not use, and all that follow, belong
    /// to the session process, which also answers the PASS command.
    HandOver,
    /// The output is to be sent and the connection closed.
    Close(End),
}

/// Why there is no session, as far as the client may know it (RFC 2449, 8; RFC 3206).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Wrong name or password; which of them is not said.
    Credentials,
    /// The check could not be made now; the password may be right.
    Temporary,
    /// The admin has to mend something before this user can log in.
    Permanent,
    /// Too many sessions of this user.
    InUse,
}

impl Refusal {
    /// The reply line, CRLF included.
    #[must_use]
    pub fn reply(self) -> &'static [u8] {
        match self {
            Self::Credentials => b"-ERR [AUTH] name or password is wrong\r\n",
            Self::Temporary => b"-ERR [SYS/TEMP] can't check now, try again later\r\n",
            Self::Permanent => {
                b"-ERR [SYS/PERM] this mailbox can't be opened, ask the postmaster\r\n"
            }
            Self::InUse => b"-ERR [IN-USE] too many sessions of this user\r\n",
        }
    }
}

/// The machine of the AUTHORIZATION state.
#[derive(Debug)]
pub struct Login {
    state: State,
    tls: Tls,
    clear_passwords: bool,
    line: LineReader,
    errors: u32,
    failures: u32,
}

/// Leaving a state drops what it knew: a name does not outlive STLS, nor a refused password.
#[derive(Debug)]
enum State {
    /// Nobody was named.
    Anonymous,
    /// USER was accepted.
    Named(UserName),
    /// STLS was accepted.
    StartingTls,
    /// PASS was accepted.
    Checking(UserName, Password),
    /// The check said yes.
    Done,
    Closed(End),
}

impl Login {
    /// A machine for a new connection.
    #[must_use]
    pub fn new(options: LoginOptions) -> Self {
        Self {
            state: State::Anonymous,
            tls: options.tls,
            clear_passwords: options.clear_passwords,
            line: LineReader::default(),
            errors: 0,
            failures: 0,
        }
    }

    /// Writes the greeting. On pop3s it belongs behind the handshake. It names neither host
    /// nor version, and carries no APOP timestamp (RFC 1939, 7) as APOP is not offered.
    pub fn greet(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"+OK POP3 ready\r\n");
    }

    /// Takes octets from the client; returns how many were used.
    ///
    /// Stops early when the machine wants something else than input, or when the output is at
    /// [`OUTPUT_HIGH`].
    pub fn input(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> usize {
        let mut rest = bytes;
        while self.wants_input() && !rest.is_empty() && out.len() < OUTPUT_HIGH {
            let parsed = match self.line.take(&mut rest) {
                Line::Whole(text) => Command::parse(text),
                Line::Unclean => Err(CommandError::Arguments),
                Line::TooLong => {
                    self.fail(b"-ERR line too long\r\n", out);
                    continue;
                }
                Line::Endless => {
                    out.extend_from_slice(b"-ERR line too long\r\n");
                    self.state = State::Closed(End::EndlessLine);
                    break;
                }
                Line::Partial => break,
            };
            match parsed {
                Ok(command) => self.command(command, rest.is_empty(), out),
                Err(CommandError::Unknown) => self.fail(b"-ERR unknown command\r\n", out),
                Err(CommandError::Arguments) => self.fail(b"-ERR bad arguments\r\n", out),
            }
        }
        bytes.len() - rest.len()
    }

    fn wants_input(&self) -> bool {
        matches!(self.state, State::Anonymous | State::Named(_))
    }

    fn command(&mut self, command: Command, nothing_follows: bool, out: &mut Vec<u8>) {
        let state = std::mem::replace(&mut self.state, State::Anonymous);
        self.state = match (state, command) {
            (state, Command::Capa) => {
                let capabilities = Capabilities {
                    user: self.password_allowed(),
                    stls: self.tls == Tls::Offered,
                };
                capa::write(capabilities, out);
                state
            }
            (_, Command::Quit) => {
                out.extend_from_slice(b"+OK bye\r\n");
                State::Closed(End::Quit)
            }
            (_, Command::Stls) if self.tls == Tls::Offered => {
                if nothing_follows {
                    out.extend_from_slice(b"+OK begin TLS\r\n");
                    State::StartingTls
                } else {
                    out.extend_from_slice(b"-ERR octets sent before TLS\r\n");
                    State::Closed(End::EarlyOctets)
                }
            }
            (_, Command::User(name)) if self.password_allowed() => {
                // The same answer for every name: whether it exists is not told.
                out.extend_from_slice(b"+OK send PASS\r\n");
                State::Named(name)
            }
            (State::Named(name), Command::Pass(password)) if self.password_allowed() => {
                State::Checking(name, password)
            }
            (_, Command::User(_) | Command::Pass(_)) if !self.password_allowed() => {
                self.fail_to(State::Anonymous, b"-ERR [AUTH] start TLS first\r\n", out)
            }
            (state, Command::Pass(_)) => self.fail_to(state, b"-ERR USER first\r\n", out),
            (state, Command::Stls) => {
                self.fail_to(state, b"-ERR STLS is not possible here\r\n", out)
            }
            (state, _) => self.fail_to(state, b"-ERR log in first\r\n", out),
        };
    }

    /// What to do next. Output is to be sent first, except before [`LoginWant::Authenticate`]
    /// and [`LoginWant::HandOver`], where it makes no difference.
    #[must_use]
    pub fn want(&self) -> LoginWant<'_> {
        match &self.state {
            State::Anonymous | State::Named(_) => LoginWant::Input,
            State::StartingTls => LoginWant::StartTls,
            State::Checking(user, password) => LoginWant::Authenticate { user, password },
            State::Done => LoginWant::HandOver,
            State::Closed(end) => LoginWant::Close(*end),
        }
    }

    /// The handshake is done. The machine starts anew (RFC 2595, 4): nothing that was said in
    /// clear is believed.
    pub fn tls_started(&mut self) {
        if let State::StartingTls = self.state {
            self.tls = Tls::On;
            self.line = LineReader::default();
            self.state = State::Anonymous;
        }
    }

    /// The password was right and a session process has taken over.
    pub fn accepted(&mut self) {
        if let State::Checking(..) = self.state {
            self.state = State::Done;
        }
    }

    /// There is no session. After [`LOGIN_FAILURES_MAX`] wrong passwords the machine closes.
    pub fn refused(&mut self, why: Refusal, out: &mut Vec<u8>) {
        if !matches!(self.state, State::Checking(..) | State::Done) {
            return;
        }
        out.extend_from_slice(why.reply());
        self.state = State::Anonymous;
        if why == Refusal::Credentials {
            self.failures += 1;
            if self.failures >= LOGIN_FAILURES_MAX {
                self.state = State::Closed(End::LoginFailures);
            }
        }
    }

    /// Ends the machine from outside: timeout, shutdown, lost connection. RFC 1939, 3 wants
    /// no reply to a timeout.
    pub fn stop(&mut self) {
        if !matches!(self.state, State::Closed(_)) {
            self.state = State::Closed(End::Stopped);
        }
    }

    /// Wrong passwords so far.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether TLS is on.
    #[must_use]
    pub fn tls(&self) -> Tls {
        self.tls
    }

    fn password_allowed(&self) -> bool {
        self.tls == Tls::On || self.clear_passwords
    }

    fn fail(&mut self, reply: &[u8], out: &mut Vec<u8>) {
        let state = std::mem::replace(&mut self.state, State::Anonymous);
        self.state = self.fail_to(state, reply, out);
    }

    /// Counts an error and says which state follows.
    fn fail_to(&mut self, state: State, reply: &[u8], out: &mut Vec<u8>) -> State {
        self.errors += 1;
        if self.errors > ERRORS_MAX {
            out.extend_from_slice(b"-ERR too many errors\r\n");
            return State::Closed(End::Errors);
        }
        out.extend_from_slice(reply);
        state
    }
}

#[cfg(test)]
#[path = "login_tests.rs"]
mod tests;
