//! The way to mail-start: a deliverer that does not answer is to be replaced.

use daemon::log;
use daemon::packet::Packets;
use daemon::start::{REPLACE_DELIVER, REPLACE_REMOTE};

/// Which deliverer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deliverer {
    /// local-deliver's parent.
    Local,
    /// remote-send.
    Remote,
}

/// mail-start's socket; none when somebody else has started us.
pub struct Caretaker(Option<Packets>);

impl Caretaker {
    /// With the descriptor named `replace`, if there was one.
    pub fn new(socket: Option<Packets>) -> Self {
        Self(socket)
    }

    /// Asks for a new one.
    pub fn replace(&self, deliverer: Deliverer) {
        let (name, octet) = match deliverer {
            Deliverer::Local => ("local-deliver", REPLACE_DELIVER),
            Deliverer::Remote => ("remote-send", REPLACE_REMOTE),
        };
        let asked = match &self.0 {
            Some(socket) => socket.send(octet, None).map_err(|error| error.to_string()),
            None => Err("nobody to ask for another one: restart it".into()),
        };
        log::error("no-answer")
            .kv("program", name)
            .opt("error", asked.err())
            .send();
    }
}
