//! Whole paths from foreign octets to an answer, for fuzzing and for property tests.
//!
//! None of these may panic, allocate without bound, or take more than linear time; what they
//! return is of no interest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::arith::{Formula, seconds};
use super::definition::FilterConf;
use super::failregex::UseDns;
use super::ini::Section;
use super::jail_conf::read_jails;
use super::options::extract;
use super::store::Loader;
use super::watch::Watch;
use crate::act::plan::{Host, JailPlan, Verb};
use crate::act::values::Family;
use crate::date::{Detector, Zone};
use crate::pattern::{Machine, Pattern};

const NOW: i64 = 1_124_013_600;

fn zone() -> Zone {
    Zone::posix("CET-1CEST,M3.5.0,M10.5.0").unwrap_or_else(Zone::system)
}

/// Splits at the first zero octet.
fn halves(data: &[u8]) -> (String, &[u8]) {
    let at = memchr::memchr(0, data).unwrap_or(data.len());
    let (head, tail) = data.split_at(at);
    (
        String::from_utf8_lossy(head).into_owned(),
        tail.get(1..).unwrap_or(&[]),
    )
}

/// A filter file, and behind a zero octet the lines it is tried on.
pub fn filter_file(data: &[u8]) {
    let (text, lines) = halves(data);
    let files: BTreeMap<PathBuf, String> = [(PathBuf::from("/f/x.conf"), text)].into();
    let conf = FilterConf::read(&mut Loader::new(&files), Path::new("/f/x"), &Section::new());
    let Ok(conf) = conf else { return };
    let mut watch = Watch::new(zone(), NOW);
    if watch.add(&conf, UseDns::Warn, None, true).is_ok() {
        for line in lines.split(|b| *b == b'\n').take(100) {
            watch.line(line, NOW, None, &mut |_, _| {});
        }
    }
}

/// A jail file, and behind a zero octet the filter of its jails.
pub fn jail_file(data: &[u8]) {
    let (jail, filter) = halves(data);
    let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
    files.insert("/e/jail.conf".into(), jail);
    files.insert(
        "/e/filter.d/f.conf".into(),
        String::from_utf8_lossy(filter).into_owned(),
    );
    files.insert(
        "/e/action.d/a.conf".into(),
        "[Definition]\nactionban = <ip> <a>\n".into(),
    );
    let mut loader = Loader::new(&files);
    let Ok(jails) = read_jails(&mut loader, Path::new("/e")) else {
        return;
    };
    for jail in jails.into_iter().take(10).filter_map(|j| j.1.ok()) {
        for a in &jail.actions {
            let _ = a.commands(&mut loader, Path::new("/e"), &jail, "inet6");
        }
    }
}

/// An action file, and behind a zero octet what a stranger may write: whatever the file is, no
/// text of a stranger's is asked for to be put into a command.
///
/// # Panics
/// When it is.
pub fn action_file(data: &[u8]) {
    let (action, value) = halves(data);
    let value = String::from_utf8_lossy(value);
    let files: BTreeMap<PathBuf, String> = [
        (
            "/e/jail.conf",
            "[j]\nenabled=1\nlogpath=/l\nfailregex=<HOST>\naction=a[x=1]\n",
        ),
        ("/e/action.d/a.conf", &action),
    ]
    .map(|(p, t)| (PathBuf::from(p), t.to_owned()))
    .into();
    let mut loader = Loader::new(&files);
    let Ok(jails) = read_jails(&mut loader, Path::new("/e")) else {
        return;
    };
    let host = Host("a.example".to_owned());
    for conf in jails.into_iter().filter_map(|j| j.1.ok()) {
        let (plan, _) = JailPlan::read(&mut loader, Path::new("/e"), &conf, &host);
        for a in &plan.actions {
            for (family, verb) in Family::ALL.iter().flat_map(|f| Verb::ALL.map(|v| (*f, v))) {
                let Some(c) = a.command(verb, family) else {
                    continue;
                };
                let mut strangers = false;
                let text = c.text(&mut |t| {
                    strangers |= t.is_text();
                    value.clone().into_owned()
                });
                assert!(!strangers, "{text}");
            }
        }
    }
}

const SESSION: &str = r"^Failed (?:<F-NOFAIL>publickey</F-NOFAIL>|\S+) for (?P<cond_inv>invalid user )?<F-USER>(?P<cond_user>\S+)|(?(cond_inv)(?:(?! from ).)*?|[^:]+)</F-USER> from <HOST>(?: (?:port \d+|on \S+)){0,2}(?: ssh\d*)?(?(cond_user): |(?:(?:(?! from ).)*)$)";

/// Lines of a log, for a filter with sessions, look-ahead and conditionals, and for one over
/// several lines.
pub fn lines(data: &[u8]) {
    let several = FilterConf {
        failregex: vec![r"^(?P<p>\S+) from <HOST>$<SKIPLINES>^(?P=p) (?:a+|b)+c$".to_owned()],
        maxlines: 5,
        ..FilterConf::default()
    };
    let session = FilterConf {
        failregex: vec![
            SESSION.to_owned(),
            "^<F-MLFFORGET><F-MLFGAINED>Accepted</F-MLFGAINED></F-MLFFORGET> <F-USER>.*</F-USER> <HOST>".to_owned(),
            "^<F-NOFAIL>Connection from</F-NOFAIL> <HOST>".to_owned(),
            "^Too many failures".to_owned(),
        ],
        prefregex: Some(r"^<F-MLFID>\s*(?:\S+ )?sshd\[\d+\]: </F-MLFID><F-CONTENT>.+</F-CONTENT>$".to_owned()),
        maxlines: 1,
        ..FilterConf::default()
    };
    let mut watch = Watch::new(zone(), NOW);
    for c in [&several, &session] {
        let _ = watch.add(c, UseDns::Warn, None, true);
    }
    for line in data.split(|b| *b == b'\n').take(1000) {
        watch.line(line, NOW, None, &mut |_, _| {});
    }
}

/// A pattern, and behind a zero octet the text it is searched in.
pub fn pattern(data: &[u8]) {
    let (source, text) = halves(data);
    let text = String::from_utf8_lossy(text);
    for multiline in [false, true] {
        if let Ok(p) = Pattern::new(&source, multiline) {
            let _ = p.search(&text, &mut Machine::default());
        }
    }
}

/// A `datepattern`, and behind a zero octet a line; the same line for the usual formats; and the
/// pattern as a time, a formula and a list of options.
pub fn date(data: &[u8]) {
    let (source, line) = halves(data);
    let line = String::from_utf8_lossy(line);
    let (mut zone, mut m) = (zone(), Machine::default());
    for p in [Some(source.as_str()), None] {
        if let Ok(mut d) = Detector::new(p, None, 2026) {
            let _ = d.find(&line, NOW, &mut zone, &mut m);
        }
    }
    let _ = seconds(&source);
    let _ = Formula::parse(&source).map(|f| f.value(600.0, 3, 1.0));
    let _ = extract(&source);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn filters(text in "(\\[Definition\\]\n|failregex = |<HOST>|datepattern = |\\^|%\\(a\\)s|a = |<a>|[ -~]|\n|\0){0,30}") {
            filter_file(format!("[Definition]\n{text}").as_bytes());
        }

        #[test]
        fn jails(text in "(\\[a\\]\n|enabled = 1\n|filter = f\n|action = a\\[b=c\\]\n|bantime = |%\\(b\\)s|[ -~]|\n|\0){0,30}") {
            jail_file(format!("[j]\nenabled=1\n{text}\0[Definition]\nfailregex=<HOST>").as_bytes());
        }

        #[test]
        fn actions(text in "(\\[Definition\\]\n|actionban = |<matches>|<ip>|<F-USER>|eval |sed |'|\"|`|\\$\\(|\\$\\(\\(|<<E|[ -~]|\n |\0){0,30}") {
            action_file(format!("[Definition]\n{text}").as_bytes());
        }

        #[test]
        fn logs(text in "(\nAug 14 11:59:59 mx sshd\\[1\\]: |Failed |for |from |192.0.2.1|Accepted |Connection |invalid user |\\PC|\n){0,30}") {
            lines(text.as_bytes());
        }

        #[test]
        fn octets(data in prop::collection::vec(any::<u8>(), 0..100)) {
            filter_file(&data);
            jail_file(&data);
            action_file(&data);
            lines(&data);
            pattern(&data);
            date(&data);
        }
    }
}
