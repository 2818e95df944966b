//! What may be asked on the control socket: one line, answered by a line `+` or `- why` and then
//! text up to the end of the stream.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::desk::{ADMIN, Desk, Seen};
use super::jails::Jails;
use super::verbs::{self, Verb};
use crate::f2b::arith::seconds;
use crate::own::book::Ban;
use crate::prefix::Prefix;

/// Longest question, in octets, newline included.
pub const LINE_MAX: usize = 512;

/// A question.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Standing bans.
    List(Form),
    /// Ban a network for so many seconds (none: for ever) in the name of a jail or of the admin.
    Add(Prefix, Option<i64>, Option<String>),
    /// Lift its bans, all or those of one jail.
    Del(Prefix, Option<String>),
    /// What is known of an address.
    Why(Prefix, Form),
    /// Numbers.
    Stats(Form),
    /// Numbers as Prometheus reads them.
    Metrics,
    /// fail2ban-client's `status`, of all or of one jail.
    Status(Option<String>),
    /// fail2ban-client's `banned`: all, or the jails of one network.
    Banned(Option<Prefix>),
    /// Lift all bans.
    DelAll,
    /// Lift the ban of something without an address, in one jail or in all.
    DelId(String, Option<String>),
    /// fail2ban-client's `get JAIL …` and `set JAIL …`.
    Jail(String, Verb),
    /// Which version is running?
    Version,
    /// Read the configuration again.
    Reload,
    /// Are you there?
    Ping,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// JSON.
    Json,
}

impl Command {
    /// Reads a question, with or without its newline.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(line: &[u8]) -> Result<Command, String> {
        if line.len() > LINE_MAX {
            return Err("too long a question".to_owned());
        }
        let text = std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let prefix = |t: &str| t.parse::<Prefix>().map_err(|e| format!("{t}: {e}"));
        let (words, form) = match words.as_slice() {
            [rest @ .., "json"] => (rest, Form::Json),
            all => (all, Form::Text),
        };
        Ok(match words {
            ["list"] => Command::List(form),
            ["add", who] => Command::Add(prefix(who)?, Some(3_600), None),
            ["add", who, time] => Command::Add(prefix(who)?, time_of(time)?, None),
            ["ban", jail, who] => Command::Add(prefix(who)?, Some(0), Some((*jail).to_owned())),
            ["del", who] => Command::Del(prefix(who)?, None),
            ["unban", "--all"] => Command::DelAll,
            ["unban", jail, who] => match prefix(who) {
                Ok(net) => Command::Del(net, Some((*jail).to_owned())),
                Err(_) => Command::DelId(
                    (*who).to_owned(),
                    (*jail != "*").then(|| (*jail).to_owned()),
                ),
            },
            ["get", jail, rest @ ..] => Command::Jail((*jail).to_owned(), Verb::parse(false, rest)?),
            ["set", jail, rest @ ..] => Command::Jail((*jail).to_owned(), Verb::parse(true, rest)?),
            ["version"] => Command::Version,
            ["why", who] => Command::Why(prefix(who)?, form),
            ["stats"] => Command::Stats(form),
            ["metrics"] => Command::Metrics,
            ["status"] => Command::Status(None),
            ["status", jail] => Command::Status(Some((*jail).to_owned())),
            ["banned"] => Command::Banned(None),
            ["banned", who] => Command::Banned(Some(prefix(who)?)),
            ["reload"] => Command::Reload,
            ["ping"] => Command::Ping,
            _ => return Err("expected list, add, del, why, stats, metrics, status, banned, ban, unban, get, set, version, reload or ping".to_owned()),
        })
    }
}

/// `-` or `-1` for ever, else seconds or fail2ban's `10m`, `1h30m`.
fn time_of(text: &str) -> Result<Option<i64>, String> {
    if text == "-" || text == "-1" {
        return Ok(None);
    }
    let s = seconds(text).map_err(|_| format!("{text}: expected a time such as 10m"))?;
    match s {
        s if (1.0..=3.2e8).contains(&s) => Ok(Some(s as i64)),
        _ => Err(format!(
            "{text}: expected at least a second and at most ten years"
        )),
    }
}

/// Does what was asked, but for [`Command::Reload`], which the loop does.
pub fn answer(command: &Command, now: i64, desk: &mut Desk, jails: &mut Jails) -> String {
    let mut out = String::from("+\n");
    match command {
        Command::List(form) => list(&mut out, now, desk, *form),
        Command::Add(prefix, time, jail) => {
            let asker = match desk.find_asker(jail.as_deref().unwrap_or(ADMIN)) {
                Some(asker) => asker,
                None => return format!("- no jail {}\n", jail.as_deref().unwrap_or("")),
            };
            let of_jail = jail.as_deref().and_then(|j| jails.find(j));
            let time = match of_jail.map(|j| j.rules().bantime) {
                Some(t) if t < 0.0 => None,
                Some(t) => Some((t as i64).max(1)),
                None if jail.is_some() => Some(3_600),
                None => *time,
            };
            if let Some(why) = desk.never.forbids(*prefix) {
                return format!("- {prefix} is never banned: {}\n", why.as_str());
            }
            let made = desk.ban(now, *prefix, time, asker);
            if let Some(name) = jail.as_deref().filter(|_| made) {
                jails.banned(name);
            }
            let _ = writeln!(out, "{}", u8::from(made));
        }
        Command::Del(prefix, jail) => {
            let asker = match jail.as_deref() {
                None | Some("*") => None,
                Some(j) => match desk.find_asker(j) {
                    None => return format!("- no jail {j}\n"),
                    some => some,
                },
            };
            let n = desk.lift(now, *prefix, asker);
            jails.lifted(*prefix);
            if n == 0 && jail.is_none() {
                return format!("- {prefix} is not banned\n");
            }
            let _ = writeln!(out, "{n}");
        }
        Command::DelAll => {
            let lifted = desk.lift_all(now, None) + jails.lift_ids();
            jails.all_lifted();
            let _ = writeln!(out, "{lifted}");
        }
        Command::DelId(id, jail) => {
            let lifted = jails.lift_id(jail.as_deref(), id);
            let _ = writeln!(out, "{lifted}");
        }
        Command::Jail(jail, verb) => match verbs::answer(jail, verb, desk, jails) {
            Ok(text) => out.push_str(&text),
            Err(why) => return format!("- {why}\n"),
        },
        Command::Version => {
            let _ = writeln!(out, "{}", env!("CARGO_PKG_VERSION"));
        }
        Command::Why(prefix, form) => why(&mut out, now, *prefix, desk, *form),
        Command::Stats(form) => stats(&mut out, desk, jails, *form),
        Command::Metrics => metrics(&mut out, desk, jails),
        Command::Status(None) => {
            let names: Vec<&str> = jails.all().iter().map(|j| j.conf.name.as_str()).collect();
            let _ = write!(
                out,
                "Status\n|- Number of jail:\t{}\n`- Jail list:\t{}\n",
                names.len(),
                names.join(", ")
            );
        }
        Command::Status(Some(name)) => {
            let Some(asker) = desk.find_asker(name) else {
                return format!("- Sorry but the jail '{name}' does not exist\n");
            };
            let j = jails.find(name);
            let mut banned: Vec<String> = of(desk, asker).iter().map(Prefix::to_string).collect();
            banned.extend(jails.ids_of(name).map(|(id, _)| id.to_owned()));
            let logs: Vec<&str> = j.map_or(Vec::new(), |j| {
                j.conf.logs.iter().map(|l| l.glob.as_str()).collect()
            });
            let _ = write!(
                out,
                "Status for the jail: {name}\n|- Filter\n|  |- Currently failed:\t{}\n|  |- Total failed:\t{}\n\
                 |  `- File list:\t{}\n`- Actions\n   |- Currently banned:\t{}\n   |- Total banned:\t{}\n\
                 \x20  `- Banned IP list:\t{}\n",
                j.map_or(0, |j| jails.failing(j)),
                j.map_or(0, |j| j.found),
                logs.join(" "),
                banned.len(),
                j.map_or(0, |j| j.banned),
                banned.join(" "),
            );
        }
        Command::Banned(Some(who)) => {
            let of = desk.book.of(*who).filter(|b| b.stands);
            let mut names: Vec<String> = of.map(|b| name_of(desk, &b)).collect();
            names.sort();
            let _ = writeln!(out, "{}", Value::from(names));
        }
        Command::Banned(None) => {
            let all: Vec<Value> = desk
                .askers()
                .iter()
                .enumerate()
                .filter_map(|(n, a)| {
                    let list: Vec<String> = of(desk, u16::try_from(n).ok()?)
                        .iter()
                        .map(Prefix::to_string)
                        .collect();
                    (!list.is_empty() || jails.find(&a.name).is_some())
                        .then(|| json!({ a.name.as_str(): list }))
                })
                .collect();
            let _ = writeln!(out, "{}", Value::from(all));
        }
        Command::Reload => {}
        Command::Ping => out.push_str("pong\n"),
    }
    out
}

/// Standing bans of one asker, in order.
fn of(desk: &Desk, asker: u16) -> Vec<Prefix> {
    let mut all: Vec<Prefix> = desk
        .book
        .iter()
        .filter(|(_, b)| b.stands && b.jail == asker)
        .map(|(p, _)| p)
        .collect();
    all.sort();
    all
}

fn name_of(desk: &Desk, ban: &Ban) -> String {
    desk.asker_of(ban.jail)
        .map_or("?", |a| a.name.as_str())
        .to_owned()
}

fn ban_json(desk: &Desk, prefix: Prefix, ban: &Ban, now: i64) -> Value {
    let end = (ban.until != i64::MAX).then_some(ban.until);
    json!({
        "prefix": prefix.to_string(), "jail": name_of(desk, ban), "since": ban.since, "until": end,
        "left": end.map(|e| (e - now).max(0)), "count": ban.count, "enforced": ban.enforced,
        "stands": ban.stands,
    })
}

fn ban_text(desk: &Desk, prefix: Prefix, ban: &Ban, now: i64) -> String {
    let left = match ban.until {
        i64::MAX => "for ever".to_owned(),
        until => format!("{} s left", (until - now).max(0)),
    };
    let observed = if ban.enforced { "" } else { ", observed only" };
    format!(
        "{prefix}\t{}\t{left}, ban {}{observed}",
        name_of(desk, ban),
        ban.count
    )
}

fn list(out: &mut String, now: i64, desk: &Desk, form: Form) {
    let mut all: Vec<(Prefix, Ban)> = desk.book.iter().filter(|(_, b)| b.stands).collect();
    all.sort_by_key(|(p, _)| *p);
    match form {
        Form::Json => {
            let all: Vec<Value> = all
                .iter()
                .map(|(p, b)| ban_json(desk, *p, b, now))
                .collect();
            let _ = writeln!(out, "{}", Value::from(all));
        }
        Form::Text => {
            for (p, b) in &all {
                let _ = writeln!(out, "{}", ban_text(desk, *p, b, now));
            }
        }
    }
}

fn why(out: &mut String, now: i64, prefix: Prefix, desk: &Desk, form: Form) {
    let standing = desk.book.standing(prefix);
    let never = desk.never.forbids(prefix).map(|w| w.as_str());
    let (mut led, lately): (Vec<&Seen>, Vec<&Seen>) = match standing {
        Some((p, _)) => (desk.why(p).iter().collect(), Vec::new()),
        None => (Vec::new(), desk.lately(prefix)),
    };
    if led.is_empty() && standing.is_none() {
        led = desk.why(prefix).iter().collect();
    }
    let score = desk.judge().score(now, prefix);
    let good = desk.judge().good(
        now,
        if prefix.is_v4() {
            prefix
        } else {
            prefix.widen(64)
        },
    );
    let past: u32 = desk
        .book
        .of(prefix)
        .filter(|b| !b.stands)
        .map(|b| u32::from(b.count))
        .sum();
    match form {
        Form::Json => {
            let texts = |all: &[&Seen]| all.iter().map(|s| s.to_string()).collect::<Vec<_>>();
            let value = json!({
                "address": prefix.to_string(),
                "ban": standing.map(|(p, b)| ban_json(desk, p, &b, now)),
                "past_bans": past,
                "never": never,
                "score": score.map(|(fast, slow)| json!({"fast": fast, "slow": slow})),
                "last_good_login": good.map(|g| g.last),
                "led_to_it": texts(&led), "lately": texts(&lately),
            });
            let _ = writeln!(out, "{value}");
        }
        Form::Text => {
            match standing {
                Some((p, b)) => {
                    let _ = writeln!(out, "banned: {}", ban_text(desk, p, &b, now));
                }
                None => {
                    let _ = writeln!(out, "not banned: {prefix}");
                }
            }
            if past > 0 {
                let _ = writeln!(out, "banned before: {past} times");
            }
            if let Some(never) = never {
                let _ = writeln!(out, "never banned: {never}");
            }
            if let Some((fast, slow)) = score {
                let _ = writeln!(out, "score: {fast:.1} of late, {slow:.1} over days");
            }
            if let Some(g) = good {
                let _ = writeln!(out, "last good login: {} s ago", (now - g.last).max(0));
            }
            for (title, all) in [("what led to it:", led), ("lately:", lately)] {
                if !all.is_empty() {
                    let _ = writeln!(out, "{title}");
                    for s in all {
                        // What a stranger wrote must not steer a terminal.
                        let plain: String = s
                            .to_string()
                            .chars()
                            .map(|c| if c.is_control() { '?' } else { c })
                            .collect();
                        let _ = writeln!(out, "  {plain}");
                    }
                }
            }
        }
    }
}

/// Name, help, whether it only grows, value.
type Metric = (&'static str, &'static str, bool, u64);

fn numbers(desk: &Desk, jails: &Jails) -> Vec<Metric> {
    let c = desk.counts;
    let (doubtful, gave_up) = jails.doubts();
    let (tracked, forgotten) = desk.judge().tracked();
    vec![
        (
            "bans_standing",
            "Bans that stand now.",
            false,
            desk.book.standing_count() as u64,
        ),
        (
            "bans_total",
            "Bans made since the start.",
            true,
            desk.book.total(),
        ),
        ("events_total", "Events of the daemons.", true, c.events),
        (
            "events_dropped_total",
            "Events that daemons had to drop.",
            true,
            c.dropped,
        ),
        (
            "events_refused_total",
            "Packets that were no event or of a foreign sender.",
            true,
            c.refused,
        ),
        ("lines_total", "Lines of logs.", true, c.lines),
        (
            "lines_too_long_total",
            "Lines passed over because they are longer than 64 KiB.",
            true,
            c.too_long,
        ),
        (
            "lines_doubtful_total",
            "Lines charged to nobody because two addresses came into question.",
            true,
            doubtful,
        ),
        (
            "searches_given_up_total",
            "Searches of patterns that used up their budget.",
            true,
            gave_up,
        ),
        (
            "failures_total",
            "Violations found in lines.",
            true,
            c.failures,
        ),
        (
            "never_total",
            "Bans that the never-ban list stopped.",
            true,
            c.never,
        ),
        (
            "alarms_total",
            "Accounts attacked from many places, passwords sprayed.",
            true,
            c.alarms,
        ),
        (
            "failed_total",
            "Requests that the firewall refused.",
            true,
            c.failed,
        ),
        (
            "limits_full",
            "Sets of the kernel's own connection limits that are full and limit nobody new.",
            false,
            c.full,
        ),
        ("tracked", "Networks with a score.", false, tracked as u64),
        (
            "forgotten_total",
            "Networks forgotten for want of room.",
            true,
            forgotten,
        ),
        (
            "actions_run_total",
            "Commands of actions that were run.",
            true,
            jails.acts.counts[0],
        ),
        (
            "actions_failed_total",
            "Commands of actions that failed.",
            true,
            jails.acts.counts[1],
        ),
        (
            "actions_timeouts_total",
            "Commands of actions that were ended because they took too long.",
            true,
            jails.acts.counts[2],
        ),
        (
            "actions_dropped_total",
            "Bans of which actions were not told because too many waited.",
            true,
            jails.acts.counts[3],
        ),
        (
            "names_unasked_total",
            "Violations dropped because too many host names were being looked up.",
            true,
            jails.acts.unasked,
        ),
        (
            "jails",
            "Jails of fail2ban's configuration.",
            false,
            jails.all().len() as u64,
        ),
        (
            "observing",
            "1 when nothing is enforced.",
            false,
            u64::from(desk.observes()),
        ),
    ]
}

fn stats(out: &mut String, desk: &Desk, jails: &Jails, form: Form) {
    let all = numbers(desk, jails);
    match form {
        Form::Json => {
            let map: serde_json::Map<String, Value> = all
                .iter()
                .map(|(n, _, _, v)| ((*n).to_owned(), Value::from(*v)))
                .collect();
            let _ = writeln!(out, "{}", Value::from(map));
        }
        Form::Text => {
            for (name, help, _, value) in all {
                let _ = writeln!(out, "{value}\t{name}\t{help}");
            }
        }
    }
}

/// A name as the value of a label.
fn label(name: &str) -> String {
    let plain = |c: &char| !c.is_control() && !matches!(c, '"' | '\\');
    name.chars().filter(plain).collect()
}

fn metrics(out: &mut String, desk: &Desk, jails: &Jails) {
    for (name, help, grows, value) in numbers(desk, jails) {
        let kind = if grows { "counter" } else { "gauge" };
        let _ = write!(
            out,
            "# HELP hikyaku_ban_{name} {help}\n# TYPE hikyaku_ban_{name} {kind}\nhikyaku_ban_{name} {value}\n"
        );
    }
    let _ = write!(
        out,
        "# HELP hikyaku_ban_jail_bans Bans that stand, by who asked.\n# TYPE hikyaku_ban_jail_bans gauge\n"
    );
    let mut standing = vec![0u64; desk.askers().len()];
    for (_, ban) in desk.book.iter().filter(|(_, b)| b.stands) {
        if let Some(n) = standing.get_mut(usize::from(ban.jail)) {
            *n += 1;
        }
    }
    for (a, count) in desk.askers().iter().zip(standing) {
        let name = label(&a.name);
        let _ = writeln!(out, "hikyaku_ban_jail_bans{{jail=\"{name}\"}} {count}");
    }
    let _ = write!(
        out,
        "# HELP hikyaku_ban_jail_failures_total Violations by jail.\n# TYPE hikyaku_ban_jail_failures_total counter\n"
    );
    for j in jails.all() {
        let name = label(&j.conf.name);
        let _ = writeln!(
            out,
            "hikyaku_ban_jail_failures_total{{jail=\"{name}\"}} {}",
            j.found
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::own::book::Growth;
    use crate::own::judge::Judge;
    use crate::own::never::Never;

    fn ask(desk: &mut Desk, line: &str) -> String {
        match Command::parse(line.as_bytes()) {
            Ok(c) => answer(&c, 1_000, desk, &mut Jails::default()),
            Err(e) => format!("- {e}\n"),
        }
    }

    #[test]
    fn a_conversation() {
        let never = Never::new(&["198.51.100.0/24".parse().unwrap()], false);
        let mut d = Desk::new(Judge::new(7, 1), never, Growth::default(), false);
        assert_eq!(ask(&mut d, "ping\n"), "+\npong\n");
        assert_eq!(ask(&mut d, "add 203.0.113.0/24 10m"), "+\n1\n");
        assert_eq!(ask(&mut d, "add 203.0.113.0/24 5m"), "+\n0\n");
        assert_eq!(ask(&mut d, "add 2001:db8::/64 -"), "+\n1\n");
        assert!(ask(&mut d, "add 198.51.100.9").contains("never banned: listed"));
        assert_eq!(
            ask(&mut d, "list"),
            "+\n2001:db8::/64\tadmin\tfor ever, ban 1\n203.0.113.0/24\tadmin\t600 s left, ban 1\n"
        );
        assert!(ask(&mut d, "list json").contains("\"left\":600"));
        assert!(ask(&mut d, "why 203.0.113.77").contains("banned: 203.0.113.0/24\tadmin"));
        assert!(ask(&mut d, "why 203.0.113.77 json").contains("\"jail\":\"admin\""));
        assert!(
            ask(&mut d, "banned").contains("[{\"admin\":[\"2001:db8::/64\",\"203.0.113.0/24\"]}]")
        );
        assert!(ask(&mut d, "stats").contains("2\tbans_standing"));
        assert!(ask(&mut d, "metrics").contains("hikyaku_ban_bans_standing 2\n"));
        assert!(ask(&mut d, "status admin").contains("Currently banned:\t2"));
        assert!(ask(&mut d, "status nothing").starts_with("- Sorry but the jail 'nothing'"));
        assert!(ask(&mut d, "get nothing bantime").starts_with("- Sorry but the jail 'nothing'"));
        assert_eq!(ask(&mut d, "banned 203.0.113.0/24"), "+\n[\"admin\"]\n");
        assert_eq!(
            ask(&mut d, "version"),
            format!("+\n{}\n", env!("CARGO_PKG_VERSION"))
        );
        assert_eq!(ask(&mut d, "del 203.0.113.0/24"), "+\n1\n");
        assert!(ask(&mut d, "del 203.0.113.0/24").starts_with("- "));
        assert_eq!(ask(&mut d, "unban * 2001:db8::/64"), "+\n1\n");
        assert_eq!(ask(&mut d, "list"), "+\n");
        assert_eq!(ask(&mut d, "add 203.0.113.1"), "+\n1\n");
        assert_eq!(ask(&mut d, "unban --all"), "+\n1\n");
        assert_eq!(ask(&mut d, "unban * alice"), "+\n0\n");
        assert!(ask(&mut d, "add nowhere").starts_with("- nowhere: expected"));
        assert!(ask(&mut d, "add 192.0.2.1 0").starts_with("- 0: expected"));
    }

    #[test]
    fn limit() {
        for (n, ok) in [
            (LINE_MAX - 1, true),
            (LINE_MAX, true),
            (LINE_MAX + 1, false),
        ] {
            let line = format!("list{}", " ".repeat(n - 4));
            assert_eq!(Command::parse(line.as_bytes()).is_ok(), ok);
        }
    }

    proptest! {
        #[test]
        fn anything_is_answered(line in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Command::parse(&line);
        }
    }
}
