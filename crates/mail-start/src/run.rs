//! The life of the house: start, watch, replace, stop.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use config::Config;
use config::settings::LogTarget;
use daemon::packet::Packets;
use daemon::process::{self, End, Order, Spawn};
use daemon::signals::{Notice, Signals};
use daemon::start::{Ready, SYSLOG_SOCKET};
use daemon::timers::Timers;
use daemon::{EXIT_PERMANENT, Fatal, log};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::backoff::Backoff;
use crate::sockets::{Program, Sockets};

/// How long the programs have to finish after SIGTERM before they are killed.
pub const STOP_TIME: Duration = Duration::from_secs(10);

const SIGNALS: Token = Token(0);
/// Tokens from here on are two a child: its ready pipe, its log channel.
const CHILDREN: usize = 3;
/// Programs that inetd has started ask here.
const CHANNELS: Token = Token(1);
/// queue-manager says here which program does not answer.
const REPLACE: Token = Token(2);

/// One running process.
struct Child {
    program: Program,
    pid: u32,
    started: Instant,
    /// Number of the pair of tokens.
    slot: usize,
    ready_pipe: Option<File>,
    channel: Packets,
    /// Replaced, or told to stop: its end is no reason to start it again.
    leaving: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Due {
    Start(Program),
    Kill,
}

struct House {
    config: Config,
    sockets: Sockets,
    poll: Poll,
    timers: Timers<Due>,
    children: Vec<Child>,
    backoff: HashMap<Program, Backoff>,
    next_slot: usize,
    /// Told once, when every program has said that it serves.
    ready: Option<Ready>,
    stopping: bool,
    failure: Option<Fatal>,
}

/// Runs until it is told to stop, or a program refuses its setup at the first start.
pub fn run(config: Config, sockets: Sockets, ready: Ready, _lock: File) -> Result<(), Fatal> {
    let poll = Poll::new()?;
    let mut signals = Signals::new()?;
    signals.register(poll.registry(), SIGNALS)?;
    let channels = sockets.channels().as_fd().as_raw_fd();
    poll.registry()
        .register(&mut SourceFd(&channels), CHANNELS, Interest::READABLE)?;
    let replace = sockets.replace().as_fd().as_raw_fd();
    poll.registry()
        .register(&mut SourceFd(&replace), REPLACE, Interest::READABLE)?;
    let mut house = House {
        config,
        sockets,
        poll,
        timers: Timers::new(),
        children: Vec::new(),
        backoff: HashMap::new(),
        next_slot: 0,
        ready: Some(ready),
        stopping: false,
        failure: None,
    };
    if !process::is_root() {
        log::info("start")
            .kv("mode", "single-user")
            .kv("separation", "reduced: one uid for all")
            .send();
    }
    for program in Program::ALL {
        house.start(program);
    }
    let mut events = Events::with_capacity(64);
    while !(house.stopping && house.children.is_empty()) {
        let timeout = house.timers.timeout(Instant::now());
        if let Err(e) = house.poll.poll(&mut events, timeout) {
            if e.kind() != std::io::ErrorKind::Interrupted {
                return Err(Fatal::io("poll", e));
            }
        }
        for event in &events {
            match event.token() {
                SIGNALS => {
                    while let Some(notice) = signals.take() {
                        house.notice(notice);
                    }
                }
                CHANNELS => house.sockets.hand_out(),
                REPLACE => {
                    while let Some(program) = house.sockets.silent() {
                        house.kill_silent(program);
                    }
                }
                Token(n) => house.heard((n - CHILDREN) / 2, (n - CHILDREN).is_multiple_of(2)),
            }
        }
        while let Some(due) = house.timers.expired(Instant::now()) {
            match due {
                Due::Start(program) => house.start(program),
                Due::Kill => house.kill_all(),
            }
        }
    }
    log::info("stopped").send();
    house.failure.map_or(Ok(()), Err)
}

impl House {
    /// Starts one process of a program; what fails is tried again later.
    fn start(&mut self, program: Program) {
        if self.stopping || !self.sockets.wanted(program) {
            return;
        }
        match self.spawn(program) {
            Ok(child) => {
                log::info("started")
                    .kv("program", program.name())
                    .val("child", child.pid)
                    .send();
                self.children.push(child);
            }
            Err(e) => {
                log::error("start")
                    .kv("program", program.name())
                    .val("error", e)
                    .send();
                let now = Instant::now();
                self.again(program, now);
            }
        }
    }

    fn spawn(&mut self, program: Program) -> std::io::Result<Child> {
        let (channel, theirs) = Packets::pair()?;
        let (ready_pipe, says_ready) = std::io::pipe()?;
        let mut spawn = Spawn::new(self.config.paths.program(program.file()))
            .arg("--config")
            .arg(&self.config.file)
            .args(program.flag())
            .env(daemon::start::PARENT, std::process::id().to_string())
            .give("log", theirs.as_fd())
            .give("ready", says_ready.as_fd());
        if let Some(zone) = std::env::var_os("TZ") {
            spawn = spawn.env("TZ", zone);
        }
        for (name, fd) in self.sockets.of(program) {
            spawn = spawn.give(name, fd);
        }
        let slot = self.next_slot;
        let ready_pipe = File::from(std::os::fd::OwnedFd::from(ready_pipe));
        daemon::file::set_nonblocking(ready_pipe.as_fd(), true)?;
        let registry = self.poll.registry();
        let token = |n| Token(CHILDREN + 2 * slot + n);
        registry.register(
            &mut SourceFd(&ready_pipe.as_raw_fd()),
            token(0),
            Interest::READABLE,
        )?;
        registry.register(
            &mut SourceFd(&channel.as_fd().as_raw_fd()),
            token(1),
            Interest::READABLE,
        )?;
        self.next_slot += 1;
        let pid = spawn.start()?;
        Ok(Child {
            program,
            pid,
            started: Instant::now(),
            slot,
            ready_pipe: Some(ready_pipe),
            channel,
            leaving: false,
        })
    }

    /// A child wrote on its ready pipe or its log channel.
    fn heard(&mut self, slot: usize, on_ready_pipe: bool) {
        let Some(child) = self.children.iter_mut().find(|c| c.slot == slot) else {
            return;
        };
        if !on_ready_pipe {
            if self.config.log.target == LogTarget::Syslog {
                log::serve_channel(&child.channel, SYSLOG_SOCKET.as_ref());
            }
            return;
        }
        let Some(pipe) = &mut child.ready_pipe else {
            return;
        };
        let mut octet = [0; 8];
        match pipe.read(&mut octet) {
            Ok(0) => child.ready_pipe = None, // it ended before it served: reaping tells why
            Ok(_) => {
                child.ready_pipe = None;
                let (program, pid) = (child.program, child.pid);
                log::info("serving")
                    .kv("program", program.name())
                    .val("child", pid)
                    .send();
                self.retire_older(program, pid);
                self.tell_ready();
            }
            Err(_) => {}
        }
    }

    /// A new process serves: the ones that it replaces finish their sessions and go.
    fn retire_older(&mut self, program: Program, new: u32) {
        for old in self
            .children
            .iter_mut()
            .filter(|c| c.program == program && c.pid != new && !c.leaving)
        {
            old.leaving = true;
            log::info("replaced")
                .kv("program", program.name())
                .val("child", old.pid)
                .send();
            // Gone already: then reaping is under way.
            let _ = process::order(old.pid, Order::Reload);
        }
    }

    fn tell_ready(&mut self) {
        let serves = |p: Program| {
            self.children
                .iter()
                .any(|c| c.program == p && c.ready_pipe.is_none())
        };
        if Program::ALL
            .into_iter()
            .filter(|&p| self.sockets.wanted(p))
            .all(serves)
        {
            if let Some(ready) = self.ready.take() {
                ready.tell();
                log::info("ready").send();
            }
        }
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Child => {
                while let Some((pid, end)) = process::reap() {
                    self.ended(pid, end);
                }
            }
            Notice::Reload => self.reload(),
            Notice::Stop => self.stop(),
        }
    }

    /// A process has ended.
    fn ended(&mut self, pid: u32, end: End) {
        let Some(at) = self.children.iter().position(|c| c.pid == pid) else {
            return;
        };
        let child = self.children.remove(at);
        let how = match end {
            End::Code(code) => format!("code {code}"),
            End::Signal(signal) => format!("signal {signal}"),
        };
        let expected = child.leaving || self.stopping;
        let line = if expected {
            log::info("ended")
        } else {
            log::error("ended")
        };
        line.kv("program", child.program.name())
            .val("child", pid)
            .kv("how", how)
            .send();
        if self.stopping {
            return;
        }
        if child.leaving {
            // A program that does not overlap is started when its predecessor has gone.
            if !child.program.overlaps() {
                self.start(child.program);
            }
            return;
        }
        // The setup can't be served, and the house has never stood: say so instead of trying for ever.
        if end == End::Code(EXIT_PERMANENT) && self.ready.is_some() {
            self.failure = Some(Fatal::setup(format!(
                "{} refuses its setup",
                child.program.name()
            )));
            self.stop();
            return;
        }
        self.again(child.program, child.started);
    }

    fn again(&mut self, program: Program, started: Instant) {
        let now = Instant::now();
        let wait = self.backoff.entry(program).or_default().after(started, now);
        log::info("restart")
            .kv("program", program.name())
            .val("delay_ms", wait.as_millis())
            .send();
        self.timers.set(Due::Start(program), now + wait);
    }

    /// Reads the configuration again and replaces every program; a wrong one changes nothing.
    fn reload(&mut self) {
        if self.stopping {
            return;
        }
        let fresh = Config::load(&self.config.file).map_err(|e| e.to_string());
        let fresh = fresh.and_then(|mut fresh| {
            fresh.paths.libexec.clone_from(&self.config.paths.libexec);
            crate::house::check(&fresh)
                .map(|()| fresh)
                .map_err(|e| e.to_string())
        });
        match fresh {
            Err(errors) => {
                for error in errors.lines() {
                    log::error("reload").kv("error", error).send();
                }
                log::error("reload").kv("result", "nothing changed").send();
            }
            Ok(fresh) => {
                if fresh.listen != self.config.listen {
                    log::warning("reload")
                        .kv(
                            "listen",
                            "changed addresses are bound at the next start only",
                        )
                        .send();
                }
                self.config = fresh;
                log::info("reload").send();
                for program in Program::ALL {
                    self.replace(program);
                }
            }
        }
    }

    fn replace(&mut self, program: Program) {
        let running: Vec<usize> = (0..self.children.len())
            .filter(|&i| self.children[i].program == program && !self.children[i].leaving)
            .collect();
        if program.overlaps() || running.is_empty() {
            self.start(program);
            return;
        }
        for i in running {
            self.children[i].leaving = true;
            let _ = process::order(self.children[i].pid, Order::Stop);
        }
    }

    fn stop(&mut self) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        log::info("stopping")
            .val("children", self.children.len())
            .send();
        for child in &self.children {
            let _ = process::order(child.pid, Order::Stop);
        }
        self.timers.set(Due::Kill, Instant::now() + STOP_TIME);
    }

    fn kill_all(&mut self) {
        self.kill(|_| true, "did not stop in time");
    }

    /// A program that owes queue-manager an answer: its end is like any other, another one follows.
    fn kill_silent(&mut self, program: Program) {
        self.kill(
            |child| child.program == program && !child.leaving,
            "does not answer",
        );
    }

    fn kill(&self, which: impl Fn(&Child) -> bool, why: &str) {
        for child in self.children.iter().filter(|child| which(child)) {
            log::warning("killed")
                .kv("program", child.program.name())
                .val("child", child.pid)
                .kv("why", why)
                .send();
            let _ = process::order(child.pid, Order::Kill);
        }
    }
}
