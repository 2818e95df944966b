//! The users table, hikyaku-users(5): one line a mailbox.
//!
//! ```text
//! # name:uid:gid:home:maildir
//! al:70000:70000::
//! bo@example.org:70001:70001:/srv/mail/bo:~/Inbox
//! ```

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use config::types::{domain_name, is_user_name};
use config::value::{Position, shown};
use config::{Config, Problem, Problems};

use crate::table::Mailbox;

/// Longest line, in octets.
pub const LINE_MAX: usize = 4_096;

/// What stands at the head of a users table that `hikyaku user` makes.
pub const HEADER: &str = "# name:uid:gid:home:maildir, see hikyaku-users(5)\n";

/// Reads a users table. An empty home is `users.homes` and the name; an empty Maildir is
/// `users.maildir` in the home.
///
/// # Errors
/// Every bad line, each with its first mistake.
pub fn parse(text: &str, config: &Config) -> Result<Vec<Mailbox>, Problems> {
    let mut mailboxes = Vec::new();
    let mut list = Vec::new();
    let mut lines: HashMap<Box<str>, usize> = HashMap::new();
    for (number, line) in text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
    {
        if is_blank(line) {
            continue;
        }
        let result = parse_line(line, config).and_then(|mailbox| {
            match lines.insert(mailbox.name.clone(), number) {
                None => Ok(mailbox),
                Some(first) => Err((
                    1,
                    format!("{} already stands in line {first}", mailbox.name),
                )),
            }
        });
        match result {
            Ok(mailbox) => mailboxes.push(mailbox),
            Err((column, text)) => list.push(Problem {
                at: Some(Position {
                    line: u32::try_from(number).unwrap_or(u32::MAX),
                    column,
                }),
                text,
            }),
        }
    }
    if list.is_empty() {
        Ok(mailboxes)
    } else {
        Err(Problems {
            file: config.users.file.clone(),
            list,
        })
    }
}

/// The line of a mailbox, with its newline; places that are the defaults are left empty.
pub fn line(mailbox: &Mailbox, config: &Config) -> String {
    let home = match mailbox.home == default_home(&mailbox.name, config) {
        true => String::new(),
        false => mailbox.home.display().to_string(),
    };
    let maildir = match mailbox.maildir == config.users.maildir_of(&mailbox.home) {
        true => String::new(),
        false => mailbox.maildir.display().to_string(),
    };
    let Mailbox { name, uid, gid, .. } = mailbox;
    format!("{name}:{uid}:{gid}:{home}:{maildir}\n")
}

/// The table without a user's line; everything else stays as it is. `None`: no such user.
pub fn without(text: &str, name: &str) -> Option<String> {
    let is_his = |line: &str| {
        let found = line.split(':').next().unwrap_or_default();
        !is_blank(line) && found.trim_ascii().eq_ignore_ascii_case(name)
    };
    let rest: String = text
        .split_inclusive('\n')
        .filter(|line| !is_his(line))
        .collect();
    (rest.len() != text.len()).then_some(rest)
}

/// The home of a virtual user whose line names none.
pub fn default_home(name: &str, config: &Config) -> PathBuf {
    config.users.homes.join(name)
}

fn is_blank(line: &str) -> bool {
    let line = line.trim_ascii();
    line.is_empty() || line.starts_with('#')
}

/// A mailbox, or the column and what is wrong there.
fn parse_line(line: &str, config: &Config) -> Result<Mailbox, (u32, String)> {
    if line.len() > LINE_MAX {
        return Err((1, format!("line longer than {LINE_MAX} octets")));
    }
    let fields: Vec<&str> = line.split(':').collect();
    let &[name, uid, gid, home, maildir] = fields.as_slice() else {
        let text = format!(
            "found {} fields, expected 5: name:uid:gid:home:maildir",
            fields.len()
        );
        return Err((1, text));
    };
    let column = |index: usize| {
        let before: usize = fields
            .iter()
            .take(index)
            .map(|field| field.chars().count() + 1)
            .sum();
        u32::try_from(before + 1).unwrap_or(u32::MAX)
    };
    let fail = |index: usize, found: &str, expected: &str| {
        (
            column(index),
            format!("found {}, expected {expected}", shown(found)),
        )
    };

    let name = user_name(name, config).map_err(|expected| fail(0, name, &expected))?;
    let id = |index, text: &str| match text.parse::<u32>() {
        // The last number means "no change" to the system calls that take one.
        Ok(id) if id != 0 && id != u32::MAX && text.bytes().all(|b| b.is_ascii_digit()) => Ok(id),
        _ => Err(fail(index, text, "a number from 1 to 4294967294")),
    };
    let (uid, gid) = (id(1, uid)?, id(2, gid)?);
    let home = match home {
        "" => default_home(&name, config),
        _ => absolute(home).ok_or_else(|| fail(3, home, "an absolute path or nothing"))?,
    };
    let maildir = match maildir {
        "" => config.users.maildir_of(&home),
        _ => maildir
            .strip_prefix("~/")
            .map_or_else(|| absolute(maildir), |inner| below(&home, inner))
            .ok_or_else(|| fail(4, maildir, "an absolute path, ~/path or nothing"))?,
    };
    Ok(Mailbox {
        name,
        uid,
        gid,
        home,
        maildir,
    })
}

/// A name in its one form, or what was expected.
pub fn user_name(text: &str, config: &Config) -> Result<Box<str>, String> {
    const EXPECTED: &str = "a name of up to 128 printable ASCII characters, without / : #, \
                            not beginning with . or -";
    let Some((local, domain)) = text.rsplit_once('@') else {
        return match is_user_name(text) {
            true => Ok(text.to_ascii_lowercase().into()),
            false => Err(EXPECTED.to_owned()),
        };
    };
    let domain = domain_name(domain).map_err(|wrong| format!("a domain behind the @ ({wrong})"))?;
    if domain != config.hostname && !config.domains.contains(&domain) {
        return Err(format!("one of our domains behind the @, not {domain}"));
    }
    let name = format!("{}@{domain}", local.to_ascii_lowercase());
    match is_user_name(&name) && !local.is_empty() && !local.contains('@') {
        true => Ok(name.into()),
        false => Err(EXPECTED.to_owned()),
    }
}

fn absolute(text: &str) -> Option<PathBuf> {
    (text.starts_with('/') && is_plain(text)).then(|| PathBuf::from(text))
}

fn below(home: &Path, inner: &str) -> Option<PathBuf> {
    (!inner.is_empty() && !inner.starts_with('/') && is_plain(inner)).then(|| home.join(inner))
}

fn is_plain(path: &str) -> bool {
    !path.contains('\0') && path.split('/').all(|part| part != "..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config() -> Config {
        let text = "hostname = \"mail.example.org\"\ndomains = [\"example.org\"]\n";
        Config::parse(text, Path::new("/etc/hikyaku/hikyaku.toml")).unwrap()
    }

    #[test]
    fn a_table() {
        let config = config();
        let text = format!(
            "{HEADER}\n  # more\nAl:70000:70001::\nbo@Example.ORG.:70002:70003:/srv/bo:~/in/box\ncy:1:2:/srv/cy:/var/cy\n"
        );
        let list = parse(&text, &config).unwrap();
        let show = |m: &Mailbox| {
            format!(
                "{} {} {} {} {}",
                m.name,
                m.uid,
                m.gid,
                m.home.display(),
                m.maildir.display()
            )
        };
        assert_eq!(
            list.iter().map(show).collect::<Vec<_>>(),
            [
                "al 70000 70001 /var/lib/hikyaku/homes/al /var/lib/hikyaku/homes/al/Maildir",
                "bo@example.org 70002 70003 /srv/bo /srv/bo/in/box",
                "cy 1 2 /srv/cy /var/cy",
            ]
        );
    }

    #[test]
    fn the_sample_parses() {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../etc/users");
        let text = std::fs::read_to_string(sample).unwrap();
        assert_eq!(parse(&text, &config()).unwrap().len(), 2);
    }

    #[test]
    fn all_mistakes_at_once() {
        let config = config();
        let text = "al:0:1::\nal:1:4294967295::\nal:1\nbo:1:1:home:\nbo:1:1::Maildir\nbo:1:1::~/../x\n\
                    .bo:1:1::\nb o:1:1::\nbo@example.com:1:1::\n@example.org:1:1::\nb@o@example.org:1:1::\n\
                    cy:+1:1::\ncy:1:1::\nCY:2:2::\n";
        let problems = parse(text, &config).unwrap_err();
        let found: Vec<(u32, u32)> = problems
            .list
            .iter()
            .filter_map(|p| p.at)
            .map(|at| (at.line, at.column))
            .collect();
        assert_eq!(
            found,
            [
                (1, 4),
                (2, 6),
                (3, 1),
                (4, 8),
                (5, 9),
                (6, 9),
                (7, 1),
                (8, 1),
                (9, 1),
                (10, 1),
                (11, 1),
                (12, 4),
                (14, 1)
            ]
        );
        let shown = problems.to_string();
        assert!(
            shown.starts_with("/etc/hikyaku/users:1:4: found \"0\", expected a number"),
            "{shown}"
        );
        assert!(
            shown.ends_with("14:1: cy already stands in line 13"),
            "{shown}"
        );
    }

    #[test]
    fn line_length() {
        let config = config();
        for (length, fits) in [
            (LINE_MAX - 1, true),
            (LINE_MAX, true),
            (LINE_MAX + 1, false),
        ] {
            let head = "al:1:1:/";
            let text = format!("{head}{}:\n", "h".repeat(length - head.len() - 1));
            assert_eq!(parse(&text, &config).is_ok(), fits, "{length}");
        }
    }

    #[test]
    fn taking_out() {
        let text = "# al:1:1::\nal:1:1::\nalb:1:1::\n";
        assert_eq!(
            without(text, "AL").as_deref(),
            Some("# al:1:1::\nalb:1:1::\n")
        );
        assert_eq!(without(text, "alc"), None);
        assert_eq!(without("al:1:1::", "al").as_deref(), Some(""));
    }

    proptest! {
        #[test]
        fn lines_read_back(
            name in "[a-z][a-z0-9._+-]{0,20}", full: bool, uid in 1..u32::MAX, gid in 1..u32::MAX,
            home in "(/[a-z ]{1,9}){0,3}", maildir in "(/[a-zé]{1,9}){0,3}",
        ) {
            let config = config();
            let name = if full { format!("{name}@example.org") } else { name };
            let text = format!("{name}:{uid}:{gid}:{home}:{maildir}");
            let list = parse(&text, &config).unwrap();
            prop_assert_eq!(parse(&line(&list[0], &config), &config).unwrap(), list);
        }

        #[test]
        fn any_text_is_survived(text in "\\PC{0,200}", lines in "([a-z@.:/~0-9#-]{0,30}\n){0,5}") {
            let config = config();
            let _ = parse(&text, &config);
            if let Ok(list) = parse(&lines, &config) {
                for mailbox in list {
                    prop_assert!(mailbox.uid != 0 && mailbox.home.is_absolute() && mailbox.maildir.is_absolute());
                }
            }
        }
    }
}
