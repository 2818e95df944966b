//! The talk with smtpd: the client core over a blocking socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use smtp::client::{Action, Client, Outcome, Output, Settings, TlsUse, Transaction};
use smtp::codec::{BLOCK, DotEncoder};
use smtp::types::{BodyKind, Mailbox, ReversePath, StatusClass};

use crate::exit::{Exit, Failure};

/// Sends one message and returns when smtpd has it on disk.
///
/// # Errors
/// What smtpd or the system said, as an exit code and text. With several recipients the message
/// may have been taken for some of them: the text names those for whom it was not.
pub fn submit(
    socket: UnixStream,
    from: ReversePath,
    to: Vec<Mailbox>,
    content: impl Read,
) -> Result<(), Failure> {
    let names: Vec<String> = to.iter().map(|m| m.as_str().to_owned()).collect();
    let client = Client::new(Settings {
        hello: "localhost".into(),
        tls: TlsUse::Done,
    });
    let mut talk = Talk {
        socket,
        client,
        out: Output::default(),
        outcomes: Vec::new(),
        unreadable: None,
    };
    let tx = Transaction {
        from,
        to,
        size: 0,
        body: BodyKind::EightBitMime,
    };
    if talk.client.begin(tx, &mut talk.out).is_err() {
        return Err(Failure::new(Exit::TempFail, "the connection is of no use"));
    }
    talk.run(content);
    if let Some(error) = talk.unreadable {
        return Err(Failure::new(
            Exit::NoInput,
            format!("reading the message: {error}"),
        ));
    }
    verdict(&talk.outcomes, &names)
}

struct Talk {
    socket: UnixStream,
    client: Client,
    out: Output,
    outcomes: Vec<Outcome>,
    unreadable: Option<std::io::Error>,
}

impl Talk {
    fn run(&mut self, mut content: impl Read) {
        let mut buffer = vec![0; 4096];
        loop {
            if !self.out.bytes.is_empty() {
                let bytes = std::mem::take(&mut self.out.bytes);
                self.write(&bytes);
            }
            for action in std::mem::take(&mut self.out.actions) {
                match action {
                    Action::SendBody => self.body(&mut content),
                    Action::Outcome(outcome) => self.outcomes.push(outcome),
                    Action::Idle => self.client.quit(&mut self.out),
                    Action::Close => return,
                    // Never asked for: there is no TLS on the socket.
                    Action::StartTls | Action::ReconnectClear => return,
                }
            }
            if self.client.is_closed() && self.out.actions.is_empty() {
                return;
            }
            if self.out.bytes.is_empty() && self.out.actions.is_empty() {
                self.listen(&mut buffer);
            }
        }
    }

    fn listen(&mut self, buffer: &mut [u8]) {
        let _ = self
            .socket
            .set_read_timeout(self.client.wait().map(|w| w.duration()));
        match self.socket.read(buffer) {
            Ok(0) => self.client.closed("", &mut self.out),
            Ok(n) => self
                .client
                .input(buffer.get(..n).unwrap_or(&[]), &mut self.out),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e)
                if matches!(
                    e.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                self.client.timeout(&mut self.out);
            }
            Err(e) => self.client.closed(&e.to_string(), &mut self.out),
        }
    }

    /// Writes; when smtpd has closed, its last words are still read.
    fn write(&mut self, bytes: &[u8]) -> bool {
        let _ = self
            .socket
            .set_write_timeout(self.client.wait().map(|w| w.duration()));
        if let Err(error) = self.socket.write_all(bytes) {
            let mut words = Vec::new();
            let _ = (&self.socket).take(BLOCK as u64).read_to_end(&mut words);
            self.client.input(&words, &mut self.out);
            self.client.closed(&error.to_string(), &mut self.out);
            return false;
        }
        true
    }

    fn body(&mut self, content: &mut impl Read) {
        let (mut encoder, mut block, mut wire) = (
            DotEncoder::new(),
            vec![0; BLOCK],
            Vec::with_capacity(BLOCK + 1024),
        );
        loop {
            match content.read(&mut block) {
                Ok(0) => break,
                Ok(n) => encoder.encode(block.get(..n).unwrap_or(&[]), &mut wire),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.unreadable = Some(error);
                    return self.client.body_failed(&mut self.out);
                }
            }
            // The end of a short message goes out together with the final dot.
            if wire.len() >= BLOCK {
                if !self.write(&wire) {
                    return;
                }
                wire.clear();
            }
        }
        encoder.finish(&mut wire);
        if self.write(&wire) {
            self.client.body_sent(&mut self.out);
        }
    }
}

/// The worst outcome decides, a passing one before a lasting one: the caller may then try again.
fn verdict(outcomes: &[Outcome], names: &[String]) -> Result<(), Failure> {
    let mut lines = Vec::new();
    let mut worst = Exit::Ok;
    for outcome in outcomes {
        let exit = match outcome.class {
            StatusClass::Success => continue,
            StatusClass::Transient => Exit::TempFail,
            StatusClass::Permanent => match (outcome.status.subject(), outcome.status.detail()) {
                (1, _) => Exit::NoUser,
                (3, 4) | (6, _) => Exit::Data,
                (7, _) => Exit::NoPermission,
                _ => Exit::Unavailable,
            },
        };
        let name = names.get(outcome.recipient).map_or("", String::as_str);
        lines.push(format!("{name}: {}", outcome.words));
        if worst != Exit::TempFail {
            worst = exit;
        }
    }
    match worst {
        _ if outcomes.len() < names.len() => {
            Err(Failure::new(Exit::TempFail, "the mail system hung up"))
        }
        Exit::Ok => Ok(()),
        exit => {
            let taken = outcomes.len() - lines.len();
            if taken > 0 {
                lines.push(format!("the message was sent to the other {taken}"));
            }
            Err(Failure::new(exit, lines.join("\nsendmail: ")))
        }
    }
}
