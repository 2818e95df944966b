//! The states of a sending connection.

use crate::codec::ReplyParser;
use crate::types::{BodyKind, Hello, Reply, ReplyClass, ReversePath};

use super::outcome::Verdict;
use super::{Action, Offers, Output, Settings, Stage, TlsUse, Transaction, Wait};

/// What EHLO says when the configured name can't be said.
pub const HELLO_DEFAULT: &str = "localhost";

/// One connection to a server. See the module's page for how to drive it.
#[derive(Debug)]
pub struct Client {
    settings: Settings,
    parser: ReplyParser,
    offers: Offers,
    encrypted: bool,
    /// Begun before the connection was ready for it.
    pending: Option<Transaction>,
    state: State,
}

#[derive(Debug)]
enum State {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Handshake,
    /// Ready. `stale`: the server still holds a sender that RSET must clear.
    Idle {
        stale: bool,
    },
    Exchange(Exchange),
    Quit,
    Closed,
}

/// A transaction under way. Replies come in the order of `Step`.
#[derive(Debug)]
struct Exchange {
    tx: Transaction,
    step: Step,
    /// All commands up to DATA went out together.
    pipelined: bool,
    /// MAIL was refused; the rest of the replies mean nothing.
    void: bool,
    recipients: Vec<Recipient>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Rset,
    Mail,
    Rcpt(usize),
    Data,
    /// The shell sends the content.
    Body,
    /// The final dot was sent.
    Dot,
    /// A lone dot was sent, because a pipelined DATA was taken though no recipient was.
    EmptyDot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recipient {
    Asked,
    Accepted,
    /// Its outcome is out.
    Settled,
}

impl Client {
    /// A client on a fresh connection, waiting for the greeting.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let encrypted = settings.tls == TlsUse::Done;
        Self {
            settings,
            parser: ReplyParser::new(),
            offers: Offers::default(),
            encrypted,
            pending: None,
            state: State::Greeting,
        }
    }

    /// Sends a message, now or as soon as the connection is ready.
    ///
    /// # Errors
    /// Gives the transaction back when another one is under way or the connection is done.
    pub fn begin(&mut self, tx: Transaction, out: &mut Output) -> Result<(), Transaction> {
        match self.state {
            State::Idle { stale } => {
                self.start(tx, stale, out);
                Ok(())
            }
            State::Exchange(_) | State::Quit | State::Closed => Err(tx),
            _ if self.pending.is_some() => Err(tx),
            _ => {
                self.pending = Some(tx);
                Ok(())
            }
        }
    }

    /// Takes bytes from the server, all of them.
    pub fn input(&mut self, mut bytes: &[u8], out: &mut Output) {
        while !bytes.is_empty() {
            match self.state {
                State::Closed => return,
                // Bytes that came in clear, behind the reply to STARTTLS: somebody between us
                // and the server wants them read as the server's words (RFC 3207, 5).
                State::Handshake => return self.injected(out),
                State::Idle { .. } | State::Greeting | State::Ehlo | State::Helo => {}
                State::StartTls | State::Exchange(_) | State::Quit => {}
            }
            match self.parser.next(&mut bytes) {
                Ok(Some(reply)) => self.reply(&reply, out),
                Ok(None) => return,
                Err(error) => {
                    let verdict = Verdict::deferred(5, 0, self.stage(), &error.to_string());
                    return self.give_up(&verdict, out);
                }
            }
        }
    }

    /// The handshake is done.
    pub fn tls_started(&mut self, out: &mut Output) {
        if matches!(self.state, State::Handshake) {
            self.encrypted = true;
            // Nothing learned in clear may be used again (RFC 3207, 4.2).
            self.offers = Offers::default();
            self.parser = ReplyParser::new();
            self.say_hello("EHLO", out);
            self.state = State::Ehlo;
        }
    }

    /// The handshake failed; the connection is of no use. `why` is put into the report when
    /// encryption was required.
    pub fn tls_failed(&mut self, why: &str, out: &mut Output) {
        if !matches!(self.state, State::Handshake) {
            return;
        }
        if self.settings.tls == TlsUse::Must {
            let words = format!("TLS handshake failed: {why}");
            return self.give_up(&Verdict::deferred(7, 5, Stage::Tls, &words), out);
        }
        self.pending = None;
        self.state = State::Closed;
        out.actions.push(Action::ReconnectClear);
    }

    /// All of the content and the final dot were given to the connection.
    pub fn body_sent(&mut self, _out: &mut Output) {
        if let State::Exchange(Exchange {
            step: step @ Step::Body,
            ..
        }) = &mut self.state
        {
            *step = Step::Dot;
        }
    }

    /// The content can't be read to its end. The final dot must not be sent.
    pub fn body_failed(&mut self, out: &mut Output) {
        if matches!(
            self.state,
            State::Exchange(Exchange {
                step: Step::Body,
                ..
            })
        ) {
            let verdict = Verdict::deferred(
                3,
                0,
                Stage::Body,
                "the message could not be read to its end",
            );
            self.give_up(&verdict, out);
        }
    }

    /// Nothing happened for the time that [`Client::wait`] allowed.
    pub fn timeout(&mut self, out: &mut Output) {
        let words = match self.wait() {
            Some(wait) => format!("timed out: {}", wait.name()),
            None => return self.quit(out),
        };
        self.give_up(&Verdict::deferred(4, 2, self.stage(), &words), out);
    }

    /// The connection ended or broke. `why` may carry the system's word for it.
    pub fn closed(&mut self, why: &str, out: &mut Output) {
        if matches!(self.state, State::Closed) {
            return;
        }
        let waited = self.wait().map_or("idle", Wait::name);
        let words = match why {
            "" => format!("connection lost: {waited}"),
            why => format!("connection lost: {waited}: {why}"),
        };
        self.give_up(&Verdict::deferred(4, 2, self.stage(), &words), out);
    }

    /// Ends an idle connection politely; any other one at once.
    pub fn quit(&mut self, out: &mut Output) {
        match self.state {
            State::Idle { .. } => {
                out.bytes.extend_from_slice(b"QUIT\r\n");
                self.state = State::Quit;
            }
            State::Quit | State::Closed => {}
            _ => self.give_up(
                &Verdict::deferred(3, 2, self.stage(), "ended by this host"),
                out,
            ),
        }
    }

    /// What is waited for; `None` on an idle or finished connection.
    #[must_use]
    pub fn wait(&self) -> Option<Wait> {
        Some(match &self.state {
            State::Greeting => Wait::Greeting,
            State::Ehlo | State::Helo | State::StartTls => Wait::Hello,
            State::Handshake => Wait::Handshake,
            State::Exchange(exchange) => match exchange.step {
                Step::Rset | Step::Mail => Wait::Mail,
                Step::Rcpt(_) => Wait::Rcpt,
                Step::Data => Wait::DataStart,
                Step::Body => Wait::DataBlock,
                Step::Dot | Step::EmptyDot => Wait::DataEnd,
            },
            State::Quit => Wait::Quit,
            State::Idle { .. } | State::Closed => return None,
        })
    }

    /// True when a new transaction can go out at once.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle { .. })
    }

    /// True when the connection is of no more use.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether the words go encrypted (or over a local socket).
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// What the last EHLO reply offered.
    #[must_use]
    pub const fn offers(&self) -> Offers {
        self.offers
    }

    fn stage(&self) -> Stage {
        match &self.state {
            State::Greeting => Stage::Greeting,
            State::Ehlo | State::Helo => Stage::Hello,
            State::StartTls | State::Handshake => Stage::Tls,
            State::Exchange(exchange) => match exchange.step {
                Step::Rset | Step::Mail => Stage::Mail,
                Step::Rcpt(_) => Stage::Rcpt,
                Step::Data => Stage::Data,
                Step::Body => Stage::Body,
                Step::Dot | Step::EmptyDot => Stage::End,
            },
            State::Idle { .. } | State::Quit | State::Closed => Stage::Mail,
        }
    }

    fn reply(&mut self, reply: &Reply, out: &mut Output) {
        // 421 may come at any time and means that the server closes (RFC 5321, 3.8).
        if reply.code().get() == 421 {
            let verdict = Verdict::from_reply(reply, self.stage());
            return self.give_up(&verdict, out);
        }
        let positive = reply.code().class() == ReplyClass::Positive;
        match &mut self.state {
            State::Greeting if positive => {
                self.say_hello("EHLO", out);
                self.state = State::Ehlo;
            }
            State::Ehlo if positive => {
                self.offers = Offers::read(reply);
                self.after_hello(out);
            }
            // Not known: a server of RFC 821. Never on an encrypted connection, where it would
            // have to have forgotten the EHLO it answered in clear.
            State::Ehlo if reply.code().class() == ReplyClass::Permanent && !self.encrypted => {
                self.say_hello("HELO", out);
                self.state = State::Helo;
            }
            State::Helo if positive => self.after_hello(out),
            State::Greeting | State::Ehlo | State::Helo => {
                let verdict = Verdict::from_reply(reply, self.stage());
                self.give_up(&verdict, out);
            }
            State::StartTls if positive => {
                self.state = State::Handshake;
                out.actions.push(Action::StartTls);
            }
            State::StartTls if self.settings.tls == TlsUse::Must => {
                let verdict = Verdict::from_reply(reply, Stage::Tls);
                self.give_up(&verdict, out);
            }
            State::StartTls => self.ready(false, out),
            State::Exchange(_) => self.exchange_reply(reply, out),
            State::Idle { .. } | State::Quit => self.close(out),
            State::Handshake | State::Closed => {}
        }
    }

    fn after_hello(&mut self, out: &mut Output) {
        match (self.encrypted, self.settings.tls, self.offers.starttls) {
            (false, TlsUse::May | TlsUse::Must, true) => {
                out.bytes.extend_from_slice(b"STARTTLS\r\n");
                self.state = State::StartTls;
            }
            (false, TlsUse::Must, false) => {
                let words = "the server does not offer encryption, which is required";
                self.give_up(&Verdict::deferred(7, 4, Stage::Tls, words), out);
            }
            _ => self.ready(false, out),
        }
    }

    fn ready(&mut self, stale: bool, out: &mut Output) {
        self.state = State::Idle { stale };
        match self.pending.take() {
            Some(tx) => self.start(tx, stale, out),
            None => out.actions.push(Action::Idle),
        }
    }

    fn start(&mut self, tx: Transaction, stale: bool, out: &mut Output) {
        let too_big = self
            .offers
            .size
            .is_some_and(|limit| limit != 0 && tx.size > limit);
        let recipients = vec![Recipient::Asked; tx.to.len()];
        let step = if stale { Step::Rset } else { Step::Mail };
        let mut exchange = Exchange {
            tx,
            step,
            pipelined: self.offers.pipelining,
            void: false,
            recipients,
        };
        if exchange.tx.to.is_empty() || too_big {
            let words = format!(
                "message of {} octets is above the server's limit",
                exchange.tx.size
            );
            exchange.settle_all(&Verdict::failed(3, 4, Stage::Mail, &words), out);
            self.state = State::Idle { stale };
            out.actions.push(Action::Idle);
            return;
        }
        if stale {
            out.bytes.extend_from_slice(b"RSET\r\n");
        }
        if exchange.pipelined || !stale {
            exchange.say_mail(self.offers, out);
        }
        if exchange.pipelined {
            for i in 0..exchange.tx.to.len() {
                exchange.say_rcpt(i, out);
            }
            out.bytes.extend_from_slice(b"DATA\r\n");
        }
        self.state = State::Exchange(exchange);
    }

    fn exchange_reply(&mut self, reply: &Reply, out: &mut Output) {
        let State::Exchange(exchange) = &mut self.state else {
            return;
        };
        match exchange.on_reply(reply, self.offers, out) {
            Next::Stay => {}
            Next::Ready { stale } => self.ready(stale, out),
            Next::Broken => self.close(out),
        }
    }

    fn injected(&mut self, out: &mut Output) {
        let words = "bytes in clear behind the reply to STARTTLS";
        self.give_up(&Verdict::deferred(7, 0, Stage::Tls, words), out);
    }

    /// Settles every recipient that has no outcome and ends the connection.
    fn give_up(&mut self, verdict: &Verdict, out: &mut Output) {
        match &mut self.state {
            State::Exchange(exchange) => exchange.settle_all(verdict, out),
            _ => {
                if let Some(tx) = self.pending.take() {
                    out.actions.extend(
                        (0..tx.to.len()).map(|i| Action::Outcome(verdict.for_recipient(i))),
                    );
                }
            }
        }
        self.close(out);
    }

    fn close(&mut self, out: &mut Output) {
        if !matches!(self.state, State::Closed) {
            self.state = State::Closed;
            out.actions.push(Action::Close);
        }
    }

    fn say_hello(&self, verb: &str, out: &mut Output) {
        let name = match Hello::parse(&self.settings.hello, true) {
            Ok(_) => &*self.settings.hello,
            Err(_) => HELLO_DEFAULT,
        };
        for part in [verb, " ", name, "\r\n"] {
            out.bytes.extend_from_slice(part.as_bytes());
        }
    }
}

/// Where a reply leads.
enum Next {
    Stay,
    Ready { stale: bool },
    Broken,
}

impl Exchange {
    fn on_reply(&mut self, reply: &Reply, offers: Offers, out: &mut Output) -> Next {
        let class = reply.code().class();
        let positive = class == ReplyClass::Positive;
        match self.step {
            Step::Rset => {
                if !positive {
                    self.settle_all(&Verdict::from_reply(reply, Stage::Hello), out);
                    return Next::Broken;
                }
                self.step = Step::Mail;
                if !self.pipelined {
                    self.say_mail(offers, out);
                }
                Next::Stay
            }
            Step::Mail => {
                if class == ReplyClass::Intermediate {
                    return self.confused(reply, Stage::Mail, out);
                }
                if !positive {
                    self.void = true;
                    self.settle_all(&Verdict::from_reply(reply, Stage::Mail), out);
                    if !self.pipelined {
                        return Next::Ready { stale: true };
                    }
                }
                self.step = Step::Rcpt(0);
                if !self.pipelined {
                    self.say_rcpt(0, out);
                }
                Next::Stay
            }
            Step::Rcpt(i) => {
                if class == ReplyClass::Intermediate {
                    return self.confused(reply, Stage::Rcpt, out);
                }
                if !self.void {
                    if positive {
                        self.set(i, Recipient::Accepted);
                    } else {
                        self.settle(i, &Verdict::from_reply(reply, Stage::Rcpt), out);
                    }
                }
                if i + 1 < self.recipients.len() {
                    self.step = Step::Rcpt(i + 1);
                    if !self.pipelined {
                        self.say_rcpt(i + 1, out);
                    }
                } else if self.pipelined {
                    self.step = Step::Data;
                } else if self.has_accepted() {
                    self.step = Step::Data;
                    out.bytes.extend_from_slice(b"DATA\r\n");
                } else {
                    return Next::Ready { stale: true };
                }
                Next::Stay
            }
            Step::Data if class == ReplyClass::Intermediate => {
                if self.has_accepted() {
                    self.step = Step::Body;
                    out.actions.push(Action::SendBody);
                } else {
                    // RFC 2920, 3.1: the server takes data for nobody; end it with nothing in it.
                    self.step = Step::EmptyDot;
                    out.bytes.extend_from_slice(b".\r\n");
                }
                Next::Stay
            }
            Step::Data if positive => self.confused(reply, Stage::Data, out),
            Step::Data => {
                self.settle_all(&Verdict::from_reply(reply, Stage::Data), out);
                Next::Ready { stale: true }
            }
            Step::Body => {
                // An answer before the question is over. A refusal counts; whatever it is, the
                // connection is in the middle of a message and can't be used again.
                if positive || class == ReplyClass::Intermediate {
                    return self.confused(reply, Stage::Body, out);
                }
                self.settle_all(&Verdict::from_reply(reply, Stage::Body), out);
                Next::Broken
            }
            Step::Dot => {
                self.settle_all(&Verdict::from_reply(reply, Stage::End), out);
                if class == ReplyClass::Intermediate {
                    Next::Broken
                } else {
                    Next::Ready { stale: false }
                }
            }
            Step::EmptyDot => Next::Ready { stale: true },
        }
    }

    /// The server said something that has no meaning here.
    fn confused(&mut self, reply: &Reply, stage: Stage, out: &mut Output) -> Next {
        let words = format!("unexpected reply: {}", reply.words(super::WORDS_MAX / 2));
        self.settle_all(&Verdict::deferred(5, 0, stage, &words), out);
        Next::Broken
    }

    fn has_accepted(&self) -> bool {
        self.recipients.contains(&Recipient::Accepted)
    }

    fn set(&mut self, i: usize, to: Recipient) {
        if let Some(slot) = self.recipients.get_mut(i) {
            *slot = to;
        }
    }

    fn settle(&mut self, i: usize, verdict: &Verdict, out: &mut Output) {
        self.set(i, Recipient::Settled);
        out.actions.push(Action::Outcome(verdict.for_recipient(i)));
    }

    fn settle_all(&mut self, verdict: &Verdict, out: &mut Output) {
        for (i, slot) in self.recipients.iter_mut().enumerate() {
            if *slot != Recipient::Settled {
                *slot = Recipient::Settled;
                out.actions.push(Action::Outcome(verdict.for_recipient(i)));
            }
        }
    }

    fn say_mail(&self, offers: Offers, out: &mut Output) {
        let bytes = &mut out.bytes;
        bytes.extend_from_slice(b"MAIL FROM:<");
        if let ReversePath::Mailbox(from) = &self.tx.from {
            bytes.extend_from_slice(from.as_str().as_bytes());
        }
        bytes.push(b'>');
        if offers.size.is_some() && self.tx.size != 0 {
            bytes.extend_from_slice(b" SIZE=");
            bytes.extend_from_slice(self.tx.size.to_string().as_bytes());
        }
        if offers.eight_bit && self.tx.body == BodyKind::EightBitMime {
            bytes.extend_from_slice(b" BODY=8BITMIME");
        }
        bytes.extend_from_slice(b"\r\n");
    }

    fn say_rcpt(&self, i: usize, out: &mut Output) {
        if let Some(to) = self.tx.to.get(i) {
            for part in ["RCPT TO:<", to.as_str(), ">\r\n"] {
                out.bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
}
