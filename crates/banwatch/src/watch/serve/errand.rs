//! Watch's loop towards act.

use std::io;
use std::time::{Duration, Instant};

use daemon::log;
use mio::Events;

use super::{Watch, chance, fine_now};
use crate::act::wire::{Answer, Request};
use daemon::Fatal;

/// How long our end waits for act's; a little longer than it takes for itself.
const ACT_WAIT: Duration = Duration::from_secs(9);

impl Watch {
    /// What happened goes to act, as far as there is room.
    pub(super) fn errands(&mut self) {
        self.jails.carry(&mut self.desk, fine_now());
        let requests = std::mem::take(&mut self.jails.acts.requests);
        let Some(act) = &mut self.act else { return };
        for r in &requests {
            act.say(r);
        }
        if act.is_lossy() {
            self.tell_standing();
        }
        self.go_on_telling();
    }

    /// Act is to know what stands, as it begins or when something was lost.
    pub(super) fn tell_standing(&mut self) {
        if let Some(act) = &mut self.act {
            act.say(&Request::Begin);
            self.standing = self.jails.standing(&self.desk);
            if self.standing.is_empty() {
                act.say(&Request::End);
            }
        }
    }

    pub(super) fn go_on_telling(&mut self) {
        let Some(act) = &mut self.act else {
            self.standing = Vec::new();
            return;
        };
        while !act.is_waiting() {
            let Some((at, who)) = self.standing.pop() else {
                return;
            };
            if let Some(request) = self.jails.stands(&self.desk, at, &who) {
                act.say(&request);
            }
            if self.standing.is_empty() {
                self.standing = Vec::new();
                act.say(&Request::End);
            }
        }
    }

    /// Answers of act.
    pub(super) fn act_speaks(&mut self) -> Result<(), Fatal> {
        let mut buffer = vec![0; daemon::packet::PACKET_MAX];
        loop {
            let Some(act) = &mut self.act else {
                return Ok(());
            };
            let got = match act.flush() {
                Ok(()) => act.packets().recv(&mut buffer).map(|p| p.length),
                Err(e) => Err(e),
            };
            let n = match got {
                Ok(0) => {
                    self.act_is_gone("gone: actions are no longer run");
                    return Ok(());
                }
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.errands();
                    return Ok(());
                }
                Err(e) if e.kind() == io::ErrorKind::InvalidData => continue,
                Err(_) => {
                    self.act_is_gone("gone: actions are no longer run");
                    return Ok(());
                }
            };
            match Answer::decode(buffer.get(..n).unwrap_or(&[])) {
                Ok(Answer::Need) => {
                    // What is on its way is read by the one that asks: nothing has to be said
                    // twice but what its predecessor may have taken with it.
                    self.jails.acts.ask_again();
                    self.errands();
                    self.tell_standing();
                    self.jails.tick(&mut self.desk, fine_now());
                    self.errands();
                }
                Ok(told) => {
                    let (now, chance) = (fine_now(), chance());
                    self.jails.answered(told, &mut self.desk, now, chance);
                }
                Err(_) => log::error("act").kv("answer", "malformed").send(),
            }
        }
    }

    pub(super) fn act_is_gone(&mut self, state: &str) {
        log::error("act").kv("state", state).send();
        self.act = None;
        self.standing = Vec::new();
        self.jails.acts.there = false;
        let waited = self.jails.acts.forget();
        self.jails.ban(&waited, &mut self.desk, fine_now());
    }

    /// Act lifts what stands and stops its actions. Who waits for us to end must wait for that.
    pub(super) fn wait_for_act(&mut self) {
        let Some(act) = &self.act else { return };
        let end = Instant::now() + ACT_WAIT;
        if act.packets().finish().is_err() {
            return;
        }
        let mut events = Events::with_capacity(16);
        let mut buffer = vec![0; daemon::packet::PACKET_MAX];
        loop {
            match act.packets().recv(&mut buffer).map(|p| p.length) {
                Ok(0) => return,
                Ok(_) => continue,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.poll.poll(&mut events, Some(left)).is_err() {
                return;
            }
        }
    }

    /// Under mail-start this is not seen: it keeps the pair and starts another fire. Without it we
    /// end too, and whoever starts us again starts both.
    ///
    /// # Errors
    /// Always: `Temporary`.
    pub(super) fn fire_is_gone(&mut self) -> Result<(), Fatal> {
        self.fire = None;
        self.restoring = None;
        self.end()?;
        Err(Fatal::io(
            "fire",
            "it has ended, so bans are not carried out",
        ))
    }
}
