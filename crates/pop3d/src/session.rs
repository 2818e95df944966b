//! `pop3d --session`: one login's mailbox, as its owner.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use daemon::{Confined, Confinement, Fatal, Start, calls, log};
use mailbox::{Listing, Maildir, Trouble};
use pop3::limits::{BLOCK, OUTPUT_HIGH};
use pop3::session::End;
use pop3::{Refusal, Session, SessionWant};

use crate::view::View;

/// Octets of commands read at once.
const INPUT: usize = 4 * 1_024;

/// Descriptors: socket, log, Maildir, one message.
const OPEN_FILES: u64 = 32;

/// Runs a session to its end.
///
/// # Errors
/// `Setup` when it was not started by authd; `Temporary` when it can't be confined.
pub fn run(mut start: Start) -> Result<(), Fatal> {
    let config = start.config()?;
    let path = PathBuf::from(
        start
            .option("--maildir")?
            .ok_or_else(|| Fatal::setup("--session needs --maildir"))?,
    );
    let sid = start.option("--sid")?.unwrap_or_default();
    let user = std::env::var("HIKYAKU_USER").unwrap_or_default();
    let socket = start
        .descriptor("session")
        .ok_or_else(|| Fatal::setup("no descriptor named session: authd starts me"))?;
    start.no_more_arguments()?;
    if daemon::process::is_root() {
        return Err(Fatal::setup("a session never runs as root"));
    }
    let socket = UnixStream::from(socket);
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(config.pop3.idle_timeout))?;
    socket.set_write_timeout(Some(config.pop3.idle_timeout))?;
    let maildir = Maildir::open_or_create(&path);
    let confined = Confinement::new()
        .open_files(OPEN_FILES)
        .writable(&path)
        .calls(calls::READ_FILES)
        .calls(calls::KEEP_FILES)
        .enter()?; // the Maildir and this socket, from here on
    let end = serve(&confined, &socket, maildir);
    let line = log::info("session-end")
        .kv("sid", sid.as_encoded_bytes())
        .kv("user", &user);
    match end {
        Ok(done) => line
            .kv("reason", done.end.word())
            .val("messages", done.messages)
            .val("retrieved", done.tally.retrieved)
            .val("size_bytes", done.tally.octets)
            .val("deleted", done.tally.deleted)
            .send(),
        Err(trouble) => {
            line.kv("reason", "trouble")
                .val("error", &trouble)
                .opt("detail", trouble.detail().map(ToString::to_string))
                .send();
        }
    }
    Ok(())
}

/// What a session came to.
struct Done {
    end: End,
    messages: usize,
    tally: pop3::Tally,
}

/// Opens the session, or tells the client why there is none.
fn serve(
    _: &Confined,
    socket: &UnixStream,
    maildir: Result<Maildir, Trouble>,
) -> Result<Done, Trouble> {
    let opened =
        maildir.and_then(|maildir| Listing::read(&maildir).map(|listing| (maildir, listing)));
    match opened {
        Ok((maildir, listing)) => {
            if listing.is_truncated() {
                log::warning("truncated")
                    .val("messages", listing.len())
                    .send();
            }
            let mut room = Vec::new();
            let session = Session::new(View(&listing), &mut room);
            let mut dialogue = Dialogue {
                socket,
                maildir: &maildir,
                listing: &listing,
                session,
                output: room,
            };
            let end = dialogue.run();
            Ok(Done {
                end,
                messages: listing.len(),
                tally: dialogue.session.tally(),
            })
        }
        Err(trouble) => {
            let refusal = match trouble {
                Trouble::Denied(_) | Trouble::Shape(_) => Refusal::Permanent,
                _ => Refusal::Temporary,
            };
            // If the client has gone, nobody is left to tell.
            let _ = (&mut &*socket).write_all(refusal.reply());
            Err(trouble)
        }
    }
}

struct Dialogue<'a> {
    socket: &'a UnixStream,
    maildir: &'a Maildir,
    listing: &'a Listing,
    session: Session<View<'a>>,
    output: Vec<u8>,
}

impl Dialogue<'_> {
    /// Speaks until the machine, the client or the clock ends it. Whatever the socket says
    /// ends the session without deleting anything.
    fn run(&mut self) -> End {
        let mut input = [0; INPUT];
        match self.speak(&mut input) {
            Ok(end) => end,
            Err(_) => {
                self.session.stop();
                End::Stopped
            }
        }
    }

    fn speak(&mut self, input: &mut [u8]) -> io::Result<End> {
        let (mut from, mut to) = (0, 0);
        let mut message: Option<File> = None;
        let mut block = Vec::new();
        loop {
            if self.output.len() >= OUTPUT_HIGH {
                self.flush()?;
            }
            match self.session.want() {
                SessionWant::Input => {
                    if from == to {
                        self.flush()?;
                        (from, to) = (0, read(&mut self.socket, input)?);
                        if to == 0 {
                            return Err(io::ErrorKind::UnexpectedEof.into());
                        }
                    }
                    let rest = input.get(from..to).unwrap_or_default();
                    from += self.session.input(rest, &mut self.output);
                }
                SessionWant::Drain => {
                    self.flush()?;
                    self.session.drained(&mut self.output);
                }
                SessionWant::Open(index) => {
                    let at = usize::try_from(index).unwrap_or(usize::MAX);
                    match self.listing.open(self.maildir, at) {
                        Ok(file) => {
                            message = Some(file);
                            self.session.opened(&mut self.output);
                        }
                        Err(error) => {
                            log::warning("message")
                                .val("index", index)
                                .val("error", error)
                                .send();
                            self.session.missing(&mut self.output);
                        }
                    }
                }
                SessionWant::Block => {
                    block.resize(BLOCK, 0);
                    match message.as_mut().map(|file| read(file, &mut block)) {
                        Some(Ok(0)) | None => self.session.end(&mut self.output),
                        Some(Ok(count)) => {
                            self.session
                                .block(block.get(..count).unwrap_or_default(), &mut self.output);
                        }
                        Some(Err(error)) => {
                            log::error("message").val("error", error).send();
                            self.session.broken();
                        }
                    }
                }
                SessionWant::Update => self.update(),
                SessionWant::Close(end) => {
                    self.flush()?;
                    return Ok(end);
                }
            }
        }
    }

    /// The UPDATE state: removes what was marked.
    fn update(&mut self) {
        let (mut deleted, mut kept) = (0u32, 0u32);
        for index in self.session.deletions() {
            match self
                .listing
                .remove(self.maildir, usize::try_from(index).unwrap_or(usize::MAX))
            {
                Ok(()) => deleted += 1,
                Err(error) => {
                    kept += 1;
                    if kept == 1 {
                        log::error("delete")
                            .val("index", index)
                            .val("error", error)
                            .send();
                    }
                }
            }
        }
        self.session.updated(deleted, kept, &mut self.output);
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            self.socket.write_all(&self.output)?;
            self.output.clear();
        }
        Ok(())
    }
}

/// Reads; a signal does not count.
fn read(from: &mut impl io::Read, room: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(room) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
