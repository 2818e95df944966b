//! fail2ban-client's `get JAIL …` and `set JAIL …`, answered in its words. What is set holds until
//! the next start, as there.

use std::fmt::Write as _;

use super::desk::Desk;
use super::jails::{Jails, Running};
use crate::f2b::arith::seconds;
use crate::own::book::Ban;
use crate::prefix::Prefix;

/// What may be asked about one jail, or set in it.
#[derive(Clone, Debug, PartialEq)]
pub enum Verb {
    /// `get JAIL OPTION`
    Get(Setting),
    /// `set JAIL bantime TIME`: seconds; negative for ever.
    BanTime(f64),
    /// `set JAIL findtime TIME`: seconds.
    FindTime(f64),
    /// `set JAIL maxretry NUMBER`
    MaxRetry(u32),
    /// `set JAIL addignoreip WORD`: a net or a host name.
    AddIgnore(String),
    /// `set JAIL delignoreip WORD`
    DelIgnore(String),
    /// Who is banned, a line each: who, since, seconds, until.
    Bans,
    /// Whether this network is banned: 1 or 0.
    Banned(Prefix),
}

/// An option that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `bantime`, in seconds.
    BanTime,
    /// `findtime`, in seconds.
    FindTime,
    /// `maxretry`
    MaxRetry,
    /// `maxmatches`
    MaxMatches,
    /// `ignoreip`
    IgnoreIp,
    /// `ignoreself`
    IgnoreSelf,
    /// `ignorecommand`
    IgnoreCommand,
    /// `usedns`
    UseDns,
    /// `logpath`
    LogPath,
    /// `journalmatch`
    JournalMatch,
    /// `failregex`
    FailRegex,
    /// `ignoreregex`
    IgnoreRegex,
    /// `actions`
    Actions,
}

const OPTIONS: [(&str, Setting); 13] = [
    ("bantime", Setting::BanTime),
    ("findtime", Setting::FindTime),
    ("maxretry", Setting::MaxRetry),
    ("maxmatches", Setting::MaxMatches),
    ("ignoreip", Setting::IgnoreIp),
    ("ignoreself", Setting::IgnoreSelf),
    ("ignorecommand", Setting::IgnoreCommand),
    ("usedns", Setting::UseDns),
    ("logpath", Setting::LogPath),
    ("journalmatch", Setting::JournalMatch),
    ("failregex", Setting::FailRegex),
    ("ignoreregex", Setting::IgnoreRegex),
    ("actions", Setting::Actions),
];

/// Longest time that may be set, in seconds: ten years.
const TIME_MAX: f64 = 315_576_000.0;

impl Verb {
    /// Reads the words behind the jail's name.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(set: bool, words: &[&str]) -> Result<Verb, String> {
        let time = |t: &str| {
            let s = seconds(t).map_err(|_| format!("{t}: expected a time such as 10m"))?;
            match s.is_finite() && s <= TIME_MAX {
                true => Ok(s),
                false => Err(format!("{t}: expected at most ten years")),
            }
        };
        Ok(match (set, words) {
            (false, ["banip"]) => Verb::Bans,
            (false, ["banned", who]) => {
                Verb::Banned(who.parse().map_err(|e| format!("{who}: {e}"))?)
            }
            (false, [name]) => match OPTIONS.iter().find(|(n, _)| n == name) {
                Some((_, option)) => Verb::Get(*option),
                None => return Err(format!("{name}: no option that can be asked for")),
            },
            (true, ["bantime", t]) => Verb::BanTime(time(t)?),
            (true, ["findtime", t]) => match time(t)? {
                s if s > 0.0 => Verb::FindTime(s),
                _ => return Err(format!("{t}: expected more than nothing")),
            },
            (true, ["maxretry", n]) => match n.parse() {
                Ok(n) if n > 0 => Verb::MaxRetry(n),
                _ => return Err(format!("{n}: expected a number from 1")),
            },
            (true, ["addignoreip", word]) => Verb::AddIgnore((*word).to_owned()),
            (true, ["delignoreip", word]) => Verb::DelIgnore((*word).to_owned()),
            _ => {
                return Err("expected get JAIL OPTION, or set JAIL bantime, findtime, maxretry, addignoreip or delignoreip".to_owned());
            }
        })
    }
}

/// Does what was asked of this jail.
///
/// # Errors
/// Words for who asked.
pub fn answer(jail: &str, verb: &Verb, desk: &Desk, jails: &mut Jails) -> Result<String, String> {
    let unknown = || format!("Sorry but the jail '{jail}' does not exist");
    let rules = jails.rules_mut(jail).ok_or_else(unknown)?;
    match verb {
        Verb::BanTime(s) => rules.bantime = *s,
        Verb::FindTime(s) => rules.findtime = *s,
        Verb::MaxRetry(n) => rules.maxretry = *n,
        Verb::AddIgnore(word) => rules.ignore.add_word(word)?,
        Verb::DelIgnore(word) => {
            rules.ignore.remove_word(word);
        }
        _ => {}
    }
    let names = matches!(verb, Verb::AddIgnore(_));
    let j = jails.find(jail).ok_or_else(unknown)?;
    let out = match verb {
        Verb::Get(option) => get(j, *option),
        Verb::BanTime(_) => get(j, Setting::BanTime),
        Verb::FindTime(_) => get(j, Setting::FindTime),
        Verb::MaxRetry(_) => get(j, Setting::MaxRetry),
        Verb::AddIgnore(_) | Verb::DelIgnore(_) => get(j, Setting::IgnoreIp),
        Verb::Banned(who) => {
            let stands = desk.book.get(*who, j.asker).is_some_and(|b| b.stands);
            format!("{}\n", u8::from(stands))
        }
        Verb::Bans => bans(j, desk, jails),
    };
    if names {
        jails.acts.names_changed();
    }
    Ok(out)
}

fn bans(j: &Running, desk: &Desk, jails: &Jails) -> String {
    let mut all: Vec<(String, i64, i64)> = desk
        .book
        .iter()
        .filter(|(_, b)| b.stands && b.jail == j.asker)
        .map(|(p, b): (Prefix, Ban)| (p.to_string(), b.since, b.until))
        .collect();
    let ids = jails.ids_of(&j.conf.name);
    all.extend(ids.map(|(id, b)| (id.to_owned(), b.since, b.until)));
    // Those that end first come first.
    all.sort_by(|a, b| (a.2, &a.0).cmp(&(b.2, &b.0)));
    let mut out = String::new();
    for (who, since, until) in all {
        let _ = match until {
            i64::MAX => writeln!(out, "{who} {since} -1 -"),
            _ => writeln!(out, "{who} {since} {} {until}", until - since),
        };
    }
    out
}

fn list(title: &str, none: &str, all: &[String]) -> String {
    let Some((last, rest)) = all.split_last() else {
        return format!("{none}\n");
    };
    let mut out = format!("{title}:\n");
    for one in rest {
        let _ = writeln!(out, "|- {one}");
    }
    let _ = writeln!(out, "`- {last}");
    out
}

fn numbered(all: &[String]) -> Vec<String> {
    let number = |(n, r): (usize, &String)| format!("[{n}]: {r}");
    all.iter().enumerate().map(number).collect()
}

fn get(j: &Running, option: Setting) -> String {
    let rules = j.rules();
    let patterns = |all: &[String]| {
        let title = "The following regular expression are defined";
        list(title, "No regular expression is defined", &numbered(all))
    };
    let yes = |b: bool| if b { "True" } else { "False" }.to_owned();
    let line = match option {
        Setting::BanTime => rules.bantime.to_string(),
        Setting::FindTime => rules.findtime.to_string(),
        Setting::MaxRetry => rules.maxretry.to_string(),
        Setting::MaxMatches => j.conf.maxmatches.to_string(),
        Setting::IgnoreSelf => yes(j.conf.ignoreself),
        Setting::IgnoreCommand => j.conf.ignorecommand.clone().unwrap_or_default(),
        Setting::UseDns => format!("{:?}", j.conf.usedns).to_lowercase(),
        Setting::IgnoreIp => {
            let title = "These IP addresses/networks are ignored";
            return list(
                title,
                "No IP address/network is ignored",
                &rules.ignore.words(),
            );
        }
        Setting::LogPath => {
            let logs: Vec<String> = j.conf.logs.iter().map(|l| l.glob.clone()).collect();
            let title = "Current monitored log file(s)";
            return list(title, "No file is currently monitored", &logs);
        }
        Setting::JournalMatch => match j.conf.filter.journalmatch.as_slice() {
            [] => "No journal match filter set".to_owned(),
            all => format!("Current match filter:\n{}", all.join(" + ")),
        },
        Setting::FailRegex => return patterns(&j.conf.filter.failregex),
        Setting::IgnoreRegex => return patterns(&j.conf.filter.ignoreregex),
        Setting::Actions => {
            let names: Vec<&str> = j.conf.actions.iter().map(|a| a.label.as_str()).collect();
            let name = &j.conf.name;
            match names.is_empty() {
                true => format!("No actions for jail {name}"),
                false => format!(
                    "The jail {name} has the following actions:\n{}",
                    names.join(", ")
                ),
            }
        }
    };
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let p = |set, t: &str| Verb::parse(set, &t.split(' ').collect::<Vec<_>>());
        assert_eq!(p(false, "bantime"), Ok(Verb::Get(Setting::BanTime)));
        assert_eq!(p(true, "bantime -1"), Ok(Verb::BanTime(-1.0)));
        assert_eq!(p(true, "bantime 1h"), Ok(Verb::BanTime(3_600.0)));
        assert_eq!(p(true, "findtime 1m"), Ok(Verb::FindTime(60.0)));
        assert_eq!(p(true, "maxretry 1"), Ok(Verb::MaxRetry(1)));
        for bad in [
            "maxretry 0",
            "maxretry x",
            "findtime 0",
            "bantime 11y",
            "bantime",
            "x y",
        ] {
            assert!(p(true, bad).is_err(), "{bad}");
        }
        for bad in ["x", "banned y", "bantime 1"] {
            assert!(p(false, bad).is_err(), "{bad}");
        }
        for (name, option) in OPTIONS {
            assert_eq!(p(false, name), Ok(Verb::Get(option)));
        }
    }
}
