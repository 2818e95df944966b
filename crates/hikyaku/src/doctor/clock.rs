//! The clock: signatures, certificates and policies expire by it.

use std::path::Path;

use daemon::timekeeping::{Timekeeping, timekeeping};
use jiff::Timestamp;

use super::{Doctor, Word};

/// A clock before this second (2026-01-01) is wrong: the program is younger.
const CLOCK_MIN: i64 = 1_767_225_600;

/// Seconds by which we may differ from a web server: its answer was some time on the way, and its
/// own clock counts whole seconds.
const NEAR: i64 = 5;

/// Seconds from which on the difference breaks things: fresh signatures seem to come from the future.
const FAR: i64 = 60;

/// What time services leave behind when they run, and how to ask each what is wrong.
const SERVICES: [(&str, &str); 4] = [
    (
        "/run/systemd/timesync/synchronized",
        "timedatectl timesync-status",
    ),
    ("/run/chrony/chronyd.pid", "chronyc tracking"),
    ("/run/chronyd.pid", "chronyc tracking"),
    ("/run/ntpd.pid", "ntpq -p"),
];

const START: &str = "`timedatectl set-ntp true`, or install chrony: `apt-get install chrony`";
const SET: &str = "`chronyc makestep`, or `timedatectl set-ntp true`";

impl Doctor<'_> {
    pub(super) fn clock(&mut self) {
        let service = SERVICES
            .iter()
            .find(|(file, _)| Path::new(file).exists())
            .map(|(_, ask)| *ask);
        let (word, found, mend) = kept(Timestamp::now(), timekeeping().ok(), service);
        self.say(word, "clock", found, mend);
        if let Some((date, host, now)) = self.web_date.take() {
            let (word, found, mend) = compared(&date, &host, now);
            self.say(word, "clock", found, mend);
        }
    }
}

type Found = (Word, String, Option<String>);

/// How the clock is kept.
fn kept(now: Timestamp, kernel: Option<Timekeeping>, service: Option<&str>) -> Found {
    let now_text = now.strftime("%Y-%m-%dT%H:%M:%SZ");
    if now.as_second() < CLOCK_MIN {
        let found = format!("{now_text} is before this program was made");
        return (Word::Bad, found, Some(SET.to_owned()));
    }
    match (kernel, service) {
        (Some(kernel), _) if kernel.synchronised => {
            let millis = kernel.error_max_micros.div_ceil(1_000);
            let found = format!("{now_text}, synchronised, wrong by {millis} ms at most");
            (Word::Ok, found, None)
        }
        (Some(_), Some(ask)) => {
            let found = format!("{now_text}, not synchronised though a time service runs");
            (Word::Note, found, Some(format!("`{ask}` tells why")))
        }
        (Some(_), None) => {
            let found = format!("{now_text}, not synchronised");
            (Word::Note, found, Some(START.to_owned()))
        }
        (None, Some(_)) => (
            Word::Ok,
            format!("{now_text}, kept by a time service"),
            None,
        ),
        (None, None) => {
            let found = format!("{now_text}, and no time service was found");
            (Word::Note, found, Some(START.to_owned()))
        }
    }
}

/// Our clock against a web server's.
fn compared(date: &str, host: &str, now: i64) -> Found {
    let Ok((theirs, _)) = message::date::parse(date.as_bytes()) else {
        let found = format!("{host} says {date:?}, which is no date");
        return (Word::Note, found, None);
    };
    let ahead = now.saturating_sub(theirs.seconds());
    let side = if ahead < 0 { "behind" } else { "ahead of" };
    let found = format!("{} s {side} the clock of {host}", ahead.unsigned_abs());
    match ahead.saturating_abs() {
        0..=NEAR => (Word::Ok, format!("agrees with {host}"), None),
        far if far > FAR => (
            Word::Bad,
            found,
            Some(format!("if it is ours that is wrong: {SET}")),
        ),
        _ => (
            Word::Note,
            found,
            Some(format!("if it is ours that is wrong: {SET}")),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says() {
        let now = Timestamp::from_second(CLOCK_MIN).unwrap();
        let early = Timestamp::from_second(CLOCK_MIN - 1).unwrap();
        let kernel = |synchronised| {
            Some(Timekeeping {
                synchronised,
                error_max_micros: 1_001,
            })
        };
        for (now, kernel, service, word, text) in [
            (
                now,
                kernel(true),
                None,
                "ok",
                "2026-01-01T00:00:00Z, synchronised, wrong by 2 ms at most",
            ),
            (
                now,
                kernel(false),
                Some("x"),
                "note",
                "though a time service runs",
            ),
            (now, kernel(false), None, "note", "Z, not synchronised"),
            (now, None, Some("x"), "ok", "kept by a time service"),
            (now, None, None, "note", "no time service was found"),
            (
                early,
                kernel(true),
                None,
                "bad",
                "2025-12-31T23:59:59Z is before",
            ),
        ] {
            let found = kept(now, kernel, service);
            assert_eq!(found.0.as_str(), word, "{}", found.1);
            assert!(found.1.contains(text), "{}", found.1);
            assert_eq!(found.2.is_none(), word == "ok");
        }
    }

    #[test]
    fn what_a_web_server_says() {
        let date = "Thu, 01 Jan 2026 00:00:00 GMT";
        for (ahead, word, text) in [
            (0, "ok", "agrees with h"),
            (NEAR, "ok", "agrees with h"),
            (NEAR + 1, "note", "6 s ahead of the clock of h"),
            (-NEAR - 1, "note", "6 s behind the clock of h"),
            (FAR, "note", "60 s ahead"),
            (FAR + 1, "bad", "61 s ahead"),
            (-FAR - 1, "bad", "61 s behind"),
        ] {
            let found = compared(date, "h", CLOCK_MIN + ahead);
            assert_eq!(found.0.as_str(), word, "{ahead}: {}", found.1);
            assert!(found.1.contains(text), "{}", found.1);
        }
        assert_eq!(compared("yesterday", "h", CLOCK_MIN).0.as_str(), "note");
        assert_eq!(compared(date, "h", i64::MIN).0.as_str(), "bad");
    }
}
