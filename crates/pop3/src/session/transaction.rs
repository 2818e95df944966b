//! The TRANSACTION state and the UPDATE state (RFC 1939, 5 and 6).

use std::io::Write as _;

use crate::codec::body::BodyEncoder;
use crate::codec::capa::{self, Capabilities};
use crate::codec::command::{Command, CommandError, MessageNumber};
use crate::codec::line::{Line, LineReader};
use crate::limits::{ERRORS_MAX, OUTPUT_HIGH};
use crate::session::End;
use crate::types::Messages;

/// What the machine waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionWant {
    /// More octets for [`Session::input`]; output is to be sent first.
    Input,
    /// The output is to be sent, then [`Session::drained`] called: a long listing goes on.
    Drain,
    /// The message with this index is to be opened; then [`Session::opened`] or
    /// [`Session::missing`].
    Open(u32),
    /// The next block of the open message: [`Session::block`], at the end [`Session::end`],
    /// on an error [`Session::broken`]. Output is to be sent first.
    Block,
    /// The messages of [`Session::deletions`] are to be removed; then [`Session::updated`].
    Update,
    /// The output is to be sent and the connection closed.
    Close(End),
}

/// What was done, for the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages sent whole by RETR.
    pub retrieved: u32,
    /// Answers to TOP.
    pub tops: u32,
    /// Octets of the retrieved messages as announced.
    pub octets: u64,
    /// Messages removed in the UPDATE state.
    pub deleted: u32,
}

/// The machine behind a successful login.
#[derive(Debug)]
pub struct Session<M> {
    messages: M,
    state: State,
    marks: Marks,
    line: LineReader,
    errors: u32,
    tally: Tally,
}

#[derive(Debug)]
enum State {
    Ready,
    Listing(Column, u32),
    Opening(MessageNumber, Answer),
    Sending(MessageNumber, Answer, BodyEncoder),
    Updating,
    Closed(End),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Size,
    Uid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Retr,
    Top(u64),
}

/// Which messages are marked as deleted, and what the others add up to.
#[derive(Debug)]
struct Marks {
    deleted: Vec<bool>,
    left: u32,
    octets: u64,
}

impl Marks {
    fn new<M: Messages>(messages: &M) -> Self {
        let left = messages.count();
        let octets = (0..left).fold(0u64, |sum, index| sum.saturating_add(messages.size(index)));
        // The vector stays empty until the first DELE: most sessions need none.
        Self {
            deleted: Vec::new(),
            left,
            octets,
        }
    }

    fn is_deleted(&self, index: u32) -> bool {
        usize::try_from(index)
            .ok()
            .and_then(|at| self.deleted.get(at))
            .copied()
            .unwrap_or(false)
    }
}

impl<M: Messages> Session<M> {
    /// Starts a session over `messages` and answers the PASS command that led to it.
    pub fn new(messages: M, out: &mut Vec<u8>) -> Self {
        let marks = Marks::new(&messages);
        put(
            out,
            format_args!("+OK {} messages ({} octets)\r\n", marks.left, marks.octets),
        );
        Self {
            messages,
            state: State::Ready,
            marks,
            line: LineReader::default(),
            errors: 0,
            tally: Tally::default(),
        }
    }

    /// Takes octets from the client; returns how many were used.
    ///
    /// Stops early when the machine wants something else than input, or when the output is at
    /// [`OUTPUT_HIGH`]: then it is to be sent and the rest given again.
    pub fn input(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> usize {
        let mut rest = bytes;
        while matches!(self.state, State::Ready) && !rest.is_empty() && out.len() < OUTPUT_HIGH {
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
                Ok(command) => self.command(command, out),
                Err(CommandError::Unknown) => self.fail(b"-ERR unknown command\r\n", out),
                Err(CommandError::Arguments) => self.fail(b"-ERR bad arguments\r\n", out),
            }
        }
        bytes.len() - rest.len()
    }

    fn command(&mut self, command: Command, out: &mut Vec<u8>) {
        match command {
            Command::Stat => {
                put(
                    out,
                    format_args!("+OK {} {}\r\n", self.marks.left, self.marks.octets),
                );
            }
            Command::List(None) => {
                put(
                    out,
                    format_args!(
                        "+OK {} messages ({} octets)\r\n",
                        self.marks.left, self.marks.octets
                    ),
                );
                self.list(Column::Size, 0, out);
            }
            Command::Uidl(None) => {
                out.extend_from_slice(b"+OK unique-ids follow\r\n");
                self.list(Column::Uid, 0, out);
            }
            Command::List(Some(number)) => self.with(number, out, |session, out| {
                let size = session.messages.size(number.index());
                put(out, format_args!("+OK {} {size}\r\n", number.get()));
            }),
            Command::Uidl(Some(number)) => self.with(number, out, |session, out| {
                let uid = session.messages.uid(number.index());
                put(
                    out,
                    format_args!("+OK {} {}\r\n", number.get(), uid.as_str()),
                );
            }),
            Command::Retr(number) => {
                self.with(number, out, |session, _| {
                    session.state = State::Opening(number, Answer::Retr)
                });
            }
            Command::Top(number, lines) => {
                self.with(number, out, |session, _| {
                    session.state = State::Opening(number, Answer::Top(lines))
                });
            }
            Command::Dele(number) => self.with(number, out, |session, out| {
                session.mark(number.index());
                out.extend_from_slice(b"+OK marked\r\n");
            }),
            Command::Rset => {
                self.marks = Marks::new(&self.messages);
                put(out, format_args!("+OK {} messages\r\n", self.marks.left));
            }
            Command::Noop => out.extend_from_slice(b"+OK\r\n"),
            Command::Capa => capa::write(
                Capabilities {
                    user: true,
                    stls: false,
                },
                out,
            ),
            Command::Quit => {
                if self.deletions().next().is_some() {
                    self.state = State::Updating;
                } else {
                    out.extend_from_slice(b"+OK bye\r\n");
                    self.state = State::Closed(End::Quit);
                }
            }
            Command::User(_) | Command::Pass(_) | Command::Stls => {
                self.fail(b"-ERR already logged in\r\n", out);
            }
        }
    }

    /// What to do next.
    #[must_use]
    pub fn want(&self) -> SessionWant {
        match &self.state {
            State::Ready => SessionWant::Input,
            State::Listing(..) => SessionWant::Drain,
            State::Opening(number, _) => SessionWant::Open(number.index()),
            State::Sending(..) => SessionWant::Block,
            State::Updating => SessionWant::Update,
            State::Closed(end) => SessionWant::Close(*end),
        }
    }

    /// The output was sent: a listing goes on.
    pub fn drained(&mut self, out: &mut Vec<u8>) {
        if let State::Listing(column, next) = self.state {
            self.list(column, next, out);
        }
    }

    /// The message asked for is open; its blocks follow.
    pub fn opened(&mut self, out: &mut Vec<u8>) {
        if let State::Opening(number, answer) = self.state {
            let encoder = match answer {
                Answer::Retr => {
                    put(
                        out,
                        format_args!("+OK {} octets\r\n", self.messages.size(number.index())),
                    );
                    BodyEncoder::whole()
                }
                Answer::Top(lines) => {
                    out.extend_from_slice(b"+OK top of message follows\r\n");
                    BodyEncoder::top(lines)
                }
            };
            self.state = State::Sending(number, answer, encoder);
        }
    }

    /// The message asked for is not there any more, or can't be read.
    pub fn missing(&mut self, out: &mut Vec<u8>) {
        if let State::Opening(..) = self.state {
            out.extend_from_slice(b"-ERR [SYS/TEMP] this message can't be read\r\n");
            self.state = State::Ready;
        }
    }

    /// The next octets of the open message.
    pub fn block(&mut self, data: &[u8], out: &mut Vec<u8>) {
        if let State::Sending(_, _, encoder) = &mut self.state
            && !encoder.push(data, out)
        {
            self.end(out);
        }
    }

    /// The open message is at its end.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        match std::mem::replace(&mut self.state, State::Ready) {
            State::Sending(number, answer, encoder) => {
                encoder.finish(out);
                match answer {
                    Answer::Retr => {
                        self.tally.retrieved = self.tally.retrieved.saturating_add(1);
                        let size = self.messages.size(number.index());
                        self.tally.octets = self.tally.octets.saturating_add(size);
                    }
                    Answer::Top(_) => self.tally.tops = self.tally.tops.saturating_add(1),
                }
            }
            other => self.state = other,
        }
    }

    /// The open message could not be read to its end. The answer has begun and POP3 has no
    /// way to take it back: the connection is closed without the dot line, so that the client
    /// can't take a part for the whole. Nothing is deleted.
    pub fn broken(&mut self) {
        if let State::Sending(..) = self.state {
            self.state = State::Closed(End::BrokenMessage);
        }
    }

    /// The indexes of the messages marked as deleted, ascending.
    pub fn deletions(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..)
            .zip(&self.marks.deleted)
            .filter_map(|(index, deleted)| deleted.then_some(index))
    }

    /// The UPDATE state is over: `deleted` messages are gone, `kept` could not be removed
    /// (RFC 1939, 6: then the reply is `-ERR`).
    pub fn updated(&mut self, deleted: u32, kept: u32, out: &mut Vec<u8>) {
        if let State::Updating = self.state {
            self.tally.deleted = deleted;
            if kept == 0 {
                out.extend_from_slice(b"+OK bye\r\n");
            } else {
                put(
                    out,
                    format_args!("-ERR [SYS/TEMP] {kept} deleted messages not removed\r\n"),
                );
            }
            self.state = State::Closed(End::Quit);
        }
    }

    /// Ends the session from outside (timeout, shutdown, lost connection): nothing is
    /// deleted, nothing is said (RFC 1939, 3).
    pub fn stop(&mut self) {
        if !matches!(self.state, State::Closed(_)) {
            self.state = State::Closed(End::Stopped);
        }
    }

    /// What was done so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// The list the session works on.
    #[must_use]
    pub fn messages(&self) -> &M {
        &self.messages
    }

    fn with(
        &mut self,
        number: MessageNumber,
        out: &mut Vec<u8>,
        act: impl FnOnce(&mut Self, &mut Vec<u8>),
    ) {
        let index = number.index();
        if index >= self.messages.count() {
            self.fail(b"-ERR no such message\r\n", out);
        } else if self.marks.is_deleted(index) {
            self.fail(b"-ERR message is deleted\r\n", out);
        } else {
            act(self, out);
        }
    }

    fn mark(&mut self, index: u32) {
        if self.marks.deleted.is_empty() {
            self.marks.deleted = vec![false; usize::try_from(self.messages.count()).unwrap_or(0)];
        }
        let place = usize::try_from(index)
            .ok()
            .and_then(|at| self.marks.deleted.get_mut(at));
        if let Some(deleted) = place
            && !*deleted
        {
            *deleted = true;
            self.marks.left = self.marks.left.saturating_sub(1);
            self.marks.octets = self.marks.octets.saturating_sub(self.messages.size(index));
        }
    }

    /// Writes listing lines from `next` until the list or the room in `out` is at its end.
    fn list(&mut self, column: Column, next: u32, out: &mut Vec<u8>) {
        for index in next..self.messages.count() {
            if out.len() >= OUTPUT_HIGH {
                self.state = State::Listing(column, index);
                return;
            }
            if self.marks.is_deleted(index) {
                continue;
            }
            decimal(out, u64::from(index) + 1);
            out.push(b' ');
            match column {
                Column::Size => decimal(out, self.messages.size(index)),
                Column::Uid => out.extend_from_slice(self.messages.uid(index).as_str().as_bytes()),
            }
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
        self.state = State::Ready;
    }

    fn fail(&mut self, reply: &[u8], out: &mut Vec<u8>) {
        self.errors += 1;
        if self.errors > ERRORS_MAX {
            out.extend_from_slice(b"-ERR too many errors\r\n");
            self.state = State::Closed(End::Errors);
        } else {
            out.extend_from_slice(reply);
        }
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec can't fail.
    let _ = out.write_fmt(text);
}

/// Appends a number; a listing of 100,000 messages spends its time here.
fn decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        // A remainder of ten fits an octet.
        *place = b'0' + u8::try_from(value % 10).unwrap_or(0);
        used += 1;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

#[cfg(test)]
#[path = "transaction_tests.rs"]
mod tests;
