//! A command at work: `/bin/sh -c` in a group of its own, with a clean environment, nothing on
//! its input, and an output of which the beginning is kept.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use daemon::log;
use daemon::process::{End, Order, Spawn, order_group};

use super::line::Work;

/// Where commands find programs.
pub const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Output kept of a command, in octets; the rest is read and thrown away.
pub const OUTPUT_MAX: usize = 4 * 1024;
/// Output that goes into the log of one command, in octets.
const LOGGED_MAX: usize = 400;
/// Between asking a command to end and ending it.
pub const GRACE: Duration = Duration::from_secs(1);

/// What is done to a command next because of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    Runs,
    Asked,
    Killed,
}

/// A running command.
#[derive(Debug)]
pub struct Child {
    /// Its process id and that of its group.
    pub pid: u32,
    /// Its number in [`Work`].
    pub number: u64,
    what: String,
    jail: String,
    began: Instant,
    until: Instant,
    patience: Patience,
    late: bool,
    output: File,
    kept: Vec<u8>,
    cut: bool,
}

impl Child {
    /// Starts it.
    ///
    /// # Errors
    /// The system's: no more processes or descriptors.
    pub fn start(work: &Work) -> io::Result<Child> {
        let (output, into) = io::pipe()?;
        let output = OwnedFd::from(output);
        daemon::file::set_nonblocking(output.as_fd(), true)?;
        let mut spawn = Spawn::new("/bin/sh")
            .arg("-c")
            .arg(&work.text)
            .env("PATH", SEARCH_PATH)
            .env("LANG", "C.UTF-8")
            .env("HOME", "/")
            .env("SHELL", "/bin/sh")
            .stdout(into.as_fd())
            .stderr(into.as_fd());
        for (name, value) in &work.variables {
            spawn = spawn.env(name, value);
        }
        let pid = spawn.start()?;
        let now = Instant::now();
        Ok(Child {
            pid,
            number: work.number,
            what: work.what.clone(),
            jail: work.jail.clone(),
            began: now,
            until: now + Duration::from_secs(u64::from(work.timeout)),
            patience: Patience::Runs,
            late: false,
            output: output.into(),
            kept: Vec::new(),
            cut: false,
        })
    }

    /// The end of its output, to wait on.
    #[must_use]
    pub fn output(&self) -> RawFd {
        self.output.as_raw_fd()
    }

    /// Reads what it has written.
    pub fn read(&mut self) {
        let mut part = [0; 4 * 1024];
        loop {
            match self.output.read(&mut part) {
                Ok(0) => return,
                Ok(n) => {
                    let room = OUTPUT_MAX.saturating_sub(self.kept.len());
                    self.cut |= n > room;
                    self.kept.extend(part.get(..n.min(room)).unwrap_or(&[]));
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// When something has to be done about it.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        (self.patience != Patience::Killed).then_some(self.until)
    }

    /// Its time may be over.
    pub fn tick(&mut self, now: Instant) {
        if now < self.until {
            return;
        }
        match self.patience {
            Patience::Runs => {
                self.late = true;
                log::warning("action")
                    .kv("jail", &self.jail)
                    .kv("what", &self.what)
                    .kv("state", "takes too long, ended")
                    .val("seconds", self.began.elapsed().as_secs())
                    .send();
                let _ = order_group(self.pid, Order::Stop);
                self.patience = Patience::Asked;
                self.until = now + GRACE;
            }
            Patience::Asked => {
                let _ = order_group(self.pid, Order::Kill);
                self.patience = Patience::Killed;
            }
            Patience::Killed => {}
        }
    }

    /// There is no more time: it is asked to end now.
    pub fn hurry(&mut self, now: Instant) {
        if self.patience == Patience::Runs {
            self.until = self.until.min(now);
        }
        self.tick(now);
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        let _ = order_group(self.pid, Order::Kill);
        self.patience = Patience::Killed;
    }

    /// It has ended: what the queue is told.
    pub fn ended(mut self, end: End) -> (u64, Option<u8>, bool) {
        self.read();
        if self.late {
            // What it left behind in its group.
            let _ = order_group(self.pid, Order::Kill);
        }
        let code = match end {
            End::Code(code) => Some(code),
            End::Signal(_) => None,
        };
        let how = match end {
            End::Code(code) => format!("code {code}"),
            End::Signal(signal) => format!("signal {signal}"),
        };
        let question = self.what == "ignorecommand" && matches!(code, Some(0 | 1));
        let line = if code == Some(0) || question {
            log::debug("ran")
        } else {
            log::error("action")
        };
        line.kv("jail", &self.jail)
            .kv("what", &self.what)
            .kv("how", how)
            .val("ms", self.began.elapsed().as_millis())
            .opt(
                "output",
                self.kept
                    .get(..self.kept.len().min(LOGGED_MAX))
                    .filter(|o| !o.is_empty()),
            )
            .send();
        (self.number, code, self.late)
    }

    /// How much of the output was kept, and whether there was more.
    #[must_use]
    pub fn kept(&self) -> (usize, bool) {
        (self.kept.len(), self.cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(text: &str, timeout: u32) -> Work {
        Work {
            number: 7,
            jail: "j".to_owned(),
            what: "a actionban".to_owned(),
            text: text.to_owned(),
            variables: vec![("f2bV_ip".to_owned(), "192.0.2.1".to_owned())],
            host: None,
            timeout,
        }
    }

    /// Waits for exactly this child. (Other tests have children too.)
    fn wait(child: &mut Child) {
        let path = format!("/proc/{}/stat", child.pid);
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            child.read();
            let state = std::fs::read_to_string(&path).unwrap_or_default();
            if state
                .rsplit(')')
                .next()
                .is_some_and(|s| s.trim_start().starts_with('Z'))
            {
                return child.read();
            }
            assert!(Instant::now() < end, "it does not end: {state}");
            std::thread::yield_now();
        }
    }

    fn reap(pid: u32) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
        nix::sys::wait::waitpid(pid, None).unwrap();
    }

    #[test]
    fn what_it_is_given_and_what_it_says() {
        let mut c = Child::start(&work(
            "echo \"$f2bV_ip $PATH\"; pwd; umask; env | wc -l; ls /proc/self/fd",
            60,
        ))
        .unwrap();
        wait(&mut c);
        reap(c.pid);
        let said = String::from_utf8(c.kept.clone()).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], format!("192.0.2.1 {SEARCH_PATH}"));
        assert_eq!(lines[1], "/");
        // Nothing is inherited: 0, 1, 2 and the one that ls itself opens.
        assert_eq!(&lines[4..], ["0", "1", "2", "3"], "{said}");
        assert_eq!(c.ended(End::Code(0)), (7, Some(0), false));
    }

    #[test]
    fn output_is_bounded() {
        for (n, cut) in [
            (OUTPUT_MAX - 1, false),
            (OUTPUT_MAX, false),
            (OUTPUT_MAX + 1, true),
        ] {
            let mut c = Child::start(&work(&format!("head -c {n} /dev/zero"), 60)).unwrap();
            wait(&mut c);
            reap(c.pid);
            assert_eq!(c.kept(), (n.min(OUTPUT_MAX), cut), "{n}");
        }
        let mut c = Child::start(&work("head -c 1000000 /dev/zero; exit 3", 60)).unwrap();
        wait(&mut c);
        reap(c.pid);
        assert_eq!(c.kept(), (OUTPUT_MAX, true));
    }

    #[test]
    fn one_that_hangs_is_ended_with_all_that_it_started() {
        let mut c = Child::start(&work(
            "trap '' TERM; sleep 1000 & echo $!; while :; do sleep 1000; done",
            1,
        ))
        .unwrap();
        while !c.kept.contains(&b'\n') {
            c.read();
        }
        let inner = String::from_utf8(c.kept.clone()).unwrap().trim().to_owned();
        let later = c.due().unwrap();
        c.tick(later - Duration::from_millis(1));
        assert!(!c.late);
        c.tick(later);
        assert!(c.late && c.due() == Some(later + GRACE));
        c.tick(later + GRACE);
        assert_eq!(c.due(), None);
        wait(&mut c);
        reap(c.pid);
        assert_eq!(c.ended(End::Signal(9)), (7, None, true));
        let path = format!("/proc/{inner}/stat");
        let end = Instant::now() + Duration::from_secs(20);
        while let Ok(stat) = std::fs::read_to_string(&path) {
            if stat.contains(") Z") || stat.contains(") X") {
                break;
            }
            assert!(Instant::now() < end, "{stat}");
        }
    }
}
