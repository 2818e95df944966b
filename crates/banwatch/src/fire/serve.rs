//! The loop of fire: questions of watch, notifications of the kernel, and now and then a look at
//! who must never be banned.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use daemon::netlink::{Family, Netlink};
use daemon::packet::{PACKET_MAX, Packets};
use daemon::signals::{Notice, Signals};
use daemon::{Confined, Fatal, log, memory};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::addresses;
use super::netlink::messages;
use super::nft::{Limits, Told, told};
use super::sessions::{Sessions, established};
use super::sets::Health;
use super::table::{Backend, Table};
use super::wire::{Answer, ENTRIES_MAX, Entry, Request};
use crate::own::never::Never;

/// How often the host's addresses and the admins' sessions are looked up.
const LOOK: Duration = Duration::from_secs(30);
/// The multicast group in which the kernel tells of changes to nftables.
const GROUP_NFTABLES: u32 = 7;
/// Longest table of connections that is read, in octets: about 50,000 connections.
const TABLE_MAX: usize = 8 << 20;
/// How often it is looked whether somebody else has emptied ipset's sets or removed their rules.
const CHECK: Duration = Duration::from_secs(5);
/// Bans that may be staged.
const STAGED_MAX: usize = 1_000_000;

const SIGNALS: Token = Token(0);
const WATCH: Token = Token(1);
const KERNEL: Token = Token(2);

/// What fire holds when it is confined.
#[derive(Debug)]
pub struct Fire {
    watch: Packets,
    firewall: Table,
    /// nftables' notifications. ipset has none: it is looked at every [`CHECK`].
    kernel: Option<Netlink>,
    route: Netlink,
    /// `/proc/net/tcp` and `tcp6`, as far as they exist.
    tables: Vec<File>,
    ports: Vec<u16>,
    never: Never,
    sessions: Sessions,
    staged: Vec<Entry>,
    /// The number under which they were staged.
    staging: u32,
    /// Somebody has asked something.
    asked: bool,
    began: Instant,
    looked: Option<Instant>,
    checked: Instant,
    /// Full sets of the kernel's own counting, as last told.
    full: u32,
}

impl Fire {
    /// Opens all that is needed; `ports` are those of remote login.
    ///
    /// # Errors
    /// `Setup` when the kernel does not let us change the firewall.
    pub fn new(
        watch: Packets,
        never: Never,
        ports: Vec<u16>,
        limits: Option<Limits>,
        backend: Backend,
    ) -> Result<Fire, Fatal> {
        let firewall = Table::open(backend, limits)
            .map_err(|e| Fatal::setup(format!("the firewall can't be changed: {e}")))?;
        let kernel = match &firewall {
            Table::Ipset(_) => None,
            Table::Nftables(_) => {
                let kernel =
                    Netlink::open(Family::Netfilter, 4_096).map_err(|e| Fatal::io("netlink", e))?;
                kernel
                    .join(GROUP_NFTABLES)
                    .map_err(|e| Fatal::io("nftables notifications", e))?;
                Some(kernel)
            }
        };
        Ok(Fire {
            watch,
            firewall,
            kernel,
            route: addresses::open().map_err(|e| Fatal::io("rtnetlink", e))?,
            tables: ["/proc/net/tcp", "/proc/net/tcp6"]
                .iter()
                .filter_map(|p| File::open(p).ok())
                .collect(),
            ports,
            never,
            sessions: Sessions::default(),
            staged: Vec::new(),
            staging: 0,
            asked: false,
            began: Instant::now(),
            looked: None,
            checked: Instant::now(),
            full: 0,
        })
    }

    /// Serves until watch has gone or it is told to stop. The table stays: its bans run out by
    /// themselves.
    ///
    /// # Errors
    /// `Temporary`: the system's.
    pub fn run(
        mut self,
        _: &Confined,
        mut signals: Signals,
        ready: daemon::start::Ready,
    ) -> Result<(), Fatal> {
        let mut poll = Poll::new()?;
        signals.register(poll.registry(), SIGNALS)?;
        let listen = |fd: i32, token| {
            poll.registry()
                .register(&mut SourceFd(&fd), token, Interest::READABLE)
        };
        listen(self.watch.as_fd().as_raw_fd(), WATCH)?;
        if let Some(kernel) = &self.kernel {
            listen(kernel.as_fd().as_raw_fd(), KERNEL)?;
        }
        let patience = if self.kernel.is_some() { LOOK } else { CHECK };
        self.look();
        let mut events = Events::with_capacity(8);
        let mut buffer = vec![0; PACKET_MAX];
        if !self.questions(&mut buffer)? {
            return Ok(());
        }
        if !self.asked {
            // Whoever was here before us may have left half of it.
            self.answer(0, &Answer::Need);
        }
        ready.tell();
        loop {
            if let Err(e) = poll.poll(&mut events, Some(patience)) {
                if e.kind() != io::ErrorKind::Interrupted {
                    return Err(Fatal::io("poll", e));
                }
            }
            for event in &events {
                match event.token() {
                    SIGNALS => {
                        while let Some(notice) = signals.take() {
                            if matches!(notice, Notice::Stop | Notice::Reload) {
                                return Ok(());
                            }
                        }
                    }
                    WATCH => {
                        if !self.questions(&mut buffer)? {
                            return Ok(());
                        }
                    }
                    _ => self.notified(&mut buffer),
                }
            }
            if self.looked.is_none_or(|at| at.elapsed() >= LOOK) {
                self.look();
            }
            self.check()?;
        }
    }

    /// Takes all questions; `false` when nobody will ask again.
    fn questions(&mut self, buffer: &mut [u8]) -> Result<bool, Fatal> {
        loop {
            let n = match self.watch.recv(buffer) {
                Ok(p) if p.length == 0 => return Ok(false),
                Ok(p) => p.length,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(e) if e.kind() == io::ErrorKind::InvalidData => continue,
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
                Err(e) => return Err(Fatal::io("watch", e)),
            };
            match Request::decode(buffer.get(..n).unwrap_or(&[])) {
                Ok((number, request)) => {
                    self.asked = true;
                    self.question(number, request);
                }
                Err(e) => log::error("refused").val("why", e).send(),
            }
        }
    }

    fn question(&mut self, number: u32, request: Request) {
        let done = match request {
            Request::Ports(scope, ports) => {
                self.firewall.ports(scope, ports);
                return;
            }
            Request::Stage(entries) => {
                if self.staging != number {
                    self.staging = number;
                    self.staged.clear();
                }
                let room = STAGED_MAX.saturating_sub(self.staged.len());
                self.staged.extend(entries.into_iter().take(room));
                return;
            }
            Request::Commit(count) => {
                let staged = std::mem::take(&mut self.staged);
                let whole = usize::try_from(count).is_ok_and(|n| n == staged.len());
                if !whole || (count > 0 && self.staging != number) {
                    return self.answer(0, &Answer::Need);
                }
                let (good, refused) = self.sift(staged);
                let count = good.len();
                let began = Instant::now();
                let done = self.rebuild(good);
                // Whatever it took is not needed again before the next one.
                memory::trim();
                if done.is_ok() {
                    log::info("restored")
                        .val("bans", count)
                        .val("us", began.elapsed().as_micros())
                        .send();
                }
                done.map(|()| refused)
            }
            Request::Add(entries) => {
                let (good, refused) = self.sift(entries);
                self.firewall.add(good).map(|()| refused)
            }
            Request::Delete(entries) => self.firewall.delete(entries).map(|()| Vec::new()),
            Request::List => match self.firewall.list() {
                Ok(all) => {
                    let mut parts = all.chunks(ENTRIES_MAX).peekable();
                    if parts.peek().is_none() {
                        self.answer(number, &Answer::Listed(true, Vec::new()));
                    }
                    while let Some(part) = parts.next() {
                        let last = parts.peek().is_none();
                        self.answer(number, &Answer::Listed(last, part.to_vec()));
                    }
                    return;
                }
                Err(e) => Err(e),
            },
        };
        match done {
            Ok(mut refused) => {
                refused.truncate(ENTRIES_MAX);
                self.answer(number, &Answer::Done(refused));
            }
            Err(e) => {
                log::error("firewall").val("error", &e).send();
                self.answer(number, &Answer::Failed(e.errno()));
            }
        }
    }

    /// Makes the table anew. The kernel would tell us of every single ban in it, which takes
    /// longer than making it: so we don't listen meanwhile, and look afterwards.
    fn rebuild(&mut self, entries: Vec<Entry>) -> Result<(), super::firewall::Trouble> {
        let leave = |k: &Netlink| k.leave(GROUP_NFTABLES).is_ok();
        let deaf = self.kernel.as_ref().is_some_and(leave);
        let done = self.firewall.rebuild(entries);
        let join = |k: &Netlink| k.join(GROUP_NFTABLES).is_err();
        if deaf && self.kernel.as_ref().is_some_and(join) {
            log::error("table")
                .kv("state", "changes by others are no longer noticed")
                .send();
        }
        if done.is_ok() && self.is_missing() {
            self.answer(0, &Answer::Need);
        }
        done
    }

    /// Whether our table of nftables is not there.
    fn is_missing(&mut self) -> bool {
        match &mut self.firewall {
            Table::Nftables(f) => matches!(f.exists(), Ok(false)),
            Table::Ipset(_) => false,
        }
    }

    /// With ipset: looks whether all is as we left it.
    ///
    /// # Errors
    /// `Temporary` when rules are gone: a successor puts them back before it is confined.
    fn check(&mut self) -> Result<(), Fatal> {
        let Table::Ipset(sets) = &mut self.firewall else {
            return Ok(());
        };
        if self.checked.elapsed() < CHECK {
            return Ok(());
        }
        self.checked = Instant::now();
        if let Err(e) = sets.prolong() {
            log::error("firewall").val("error", &e).send();
        }
        match sets.health() {
            Ok(Health::Well) => {}
            Ok(Health::Emptied) => {
                log::warning("table")
                    .kv("state", "emptied by somebody else, filled anew")
                    .send();
                self.answer(0, &Answer::Need);
            }
            Ok(Health::Gone) => {
                return Err(Fatal::io(
                    "firewall",
                    "rules of iptables were removed by somebody else: starting anew",
                ));
            }
            Err(e) => log::error("firewall").val("error", &e).send(),
        }
        Ok(())
    }

    /// Takes out who must never be banned.
    fn sift(&self, entries: Vec<Entry>) -> (Vec<Entry>, Vec<Entry>) {
        let (refused, good): (Vec<Entry>, Vec<Entry>) =
            entries
                .into_iter()
                .partition(|e| match self.never.forbids(e.prefix) {
                    Some(why) => {
                        log::warning("never")
                            .val("prefix", e.prefix)
                            .kv("why", why.as_str())
                            .send();
                        true
                    }
                    None => false,
                });
        (good, refused)
    }

    /// Watch takes its answers at once or is restarted; one that finds no room is not kept.
    fn answer(&self, number: u32, answer: &Answer) {
        if let Err(e) = self.watch.send(&answer.encode(number), None) {
            log::debug("answer").val("error", e).send();
        }
    }

    /// Notifications: when somebody else removed a part of our table, it is made anew.
    fn notified(&mut self, buffer: &mut [u8]) {
        let (Some(kernel), Table::Nftables(table)) = (&self.kernel, &mut self.firewall) else {
            return;
        };
        let mut damaged = false;
        loop {
            match kernel.recv(buffer) {
                Ok(n) => {
                    damaged |= messages(buffer.get(..n).unwrap_or(&[]))
                        .any(|m| m.port != table.port() && told(&m.body) == Told::Damaged);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                // Some were lost: look for ourselves.
                Err(_) => damaged |= matches!(table.exists(), Ok(false)),
            }
        }
        if damaged {
            log::warning("table")
                .kv("state", "changed by somebody else, made anew")
                .send();
            self.answer(0, &Answer::Need);
        }
    }

    /// Looks up who must never be banned, and opens the door to whoever is banned all the same.
    fn look(&mut self) {
        self.looked = Some(Instant::now());
        match addresses::ask(&self.route) {
            Ok(own) => self.never.set_own(own),
            Err(e) => log::warning("own-addresses").val("error", e).send(),
        }
        let mut present = Vec::new();
        for table in &self.tables {
            let text = whole(table);
            present.extend(established(&text, &self.ports));
        }
        let now = i64::try_from(self.began.elapsed().as_secs()).unwrap_or(i64::MAX);
        let admins = self.sessions.seen(now, present.into_iter());
        self.never.set_admins(admins);
        if let Table::Nftables(table) = &mut self.firewall {
            match table.full() {
                Ok(full) if full != self.full => {
                    self.full = full;
                    self.answer(0, &Answer::Full(full));
                }
                Ok(_) => {}
                Err(e) => log::error("firewall").val("error", &e).send(),
            }
        }
    }
}

/// The present text of a file of the kernel's, from its beginning.
fn whole(file: &File) -> Vec<u8> {
    let mut text = Vec::new();
    let mut part = vec![0; 64 * 1024];
    while text.len() < TABLE_MAX {
        match file.read_at(&mut part, text.len() as u64) {
            Ok(0) | Err(_) => break,
            Ok(n) => text.extend(part.get(..n).unwrap_or(&[])),
        }
    }
    text
}

/// What is done where the kernel does not let us: say so, once and to every question.
///
/// # Errors
/// `Temporary`: the system's.
pub fn idle(
    _: &Confined,
    watch: &Packets,
    mut signals: Signals,
    ready: daemon::start::Ready,
) -> Result<(), Fatal> {
    const EPERM: u32 = 1;
    let mut poll = Poll::new()?;
    signals.register(poll.registry(), SIGNALS)?;
    let fd = watch.as_fd().as_raw_fd();
    poll.registry()
        .register(&mut SourceFd(&fd), WATCH, Interest::READABLE)?;
    let _ = watch.send(&Answer::Failed(EPERM).encode(0), None);
    ready.tell();
    let mut events = Events::with_capacity(8);
    let mut buffer = vec![0; PACKET_MAX];
    loop {
        if let Err(e) = poll.poll(&mut events, None) {
            if e.kind() != io::ErrorKind::Interrupted {
                return Err(Fatal::io("poll", e));
            }
        }
        while let Some(notice) = signals.take() {
            if matches!(notice, Notice::Stop | Notice::Reload) {
                return Ok(());
            }
        }
        loop {
            match watch.recv(&mut buffer) {
                Ok(p) if p.length == 0 => return Ok(()),
                Ok(p) => {
                    if let Ok((n, _)) = Request::decode(buffer.get(..p.length).unwrap_or(&[])) {
                        let _ = watch.send(&Answer::Failed(EPERM).encode(n), None);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Ok(()),
            }
        }
    }
}
