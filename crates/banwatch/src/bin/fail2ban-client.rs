//! fail2ban-client's everyday verbs, answered by banwatch.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: fail2ban-client [-s SOCKET] VERB
verbs:
  ping | version | reload | status [JAIL | --all]
  banned [IP ...] | unban --all | unban IP ...
  set JAIL banip IP ... | set JAIL unbanip [--report-absent] IP ...
  set JAIL addignoreip IP ... | set JAIL delignoreip IP ...
  set JAIL bantime TIME | set JAIL findtime TIME | set JAIL maxretry NUMBER
  get JAIL banip [SEPARATOR | --with-time] | get JAIL banned IP ...
  get JAIL OPTION      (bantime, findtime, maxretry, maxmatches, ignoreip, ignoreself,
                        ignorecommand, usedns, logpath, journalmatch, failregex, ignoreregex,
                        actions)";

/// What is done with the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown<'a> {
    /// Printed as they are.
    Text,
    /// Only the last one.
    Last,
    /// Added up.
    Sum,
    /// Added up; one that is nothing is a failure.
    SumOrAbsent,
    Pong,
    Done,
    /// JSON as Python writes it.
    Python,
    /// One list of the lists.
    PythonLists,
    /// Who is banned, with this between them.
    Bans(&'a str),
    BansWithTime,
}

/// Questions for banwatch, and what is done with its answers.
fn questions<'a>(words: &[&'a str]) -> Option<(Vec<String>, Shown<'a>)> {
    let each = |head: String, who: &[&str]| -> Vec<String> {
        who.iter().map(|w| format!("{head} {w}")).collect()
    };
    let one = |q: String| vec![q];
    Some(match words {
        ["ping"] => (one("ping".into()), Shown::Pong),
        ["version" | "--version" | "-V"] => (one("version".into()), Shown::Text),
        ["status"] => (one("status".into()), Shown::Text),
        ["status", jail] => (one(format!("status {jail}")), Shown::Text),
        ["banned"] => (one("banned".into()), Shown::Python),
        ["banned", who @ ..] => (each("banned".into(), who), Shown::PythonLists),
        ["reload", ..] => (one("reload".into()), Shown::Done),
        ["unban", "--all"] => (one("unban --all".into()), Shown::Sum),
        ["unban", who @ ..] if !who.is_empty() => (each("unban *".into(), who), Shown::Sum),
        ["set", jail, "banip", who @ ..] if !who.is_empty() => {
            (each(format!("ban {jail}"), who), Shown::Sum)
        }
        ["set", jail, "unbanip", "--report-absent", who @ ..] if !who.is_empty() => {
            (each(format!("unban {jail}"), who), Shown::SumOrAbsent)
        }
        ["set", jail, "unbanip", who @ ..] if !who.is_empty() => {
            (each(format!("unban {jail}"), who), Shown::Sum)
        }
        [
            "set",
            jail,
            verb @ ("addignoreip" | "delignoreip"),
            who @ ..,
        ] if !who.is_empty() => (each(format!("set {jail} {verb}"), who), Shown::Last),
        [
            "set",
            jail,
            verb @ ("bantime" | "findtime" | "maxretry"),
            value,
        ] => (one(format!("set {jail} {verb} {value}")), Shown::Text),
        ["get", jail, "banip"] => (one(format!("get {jail} banip")), Shown::Bans(" ")),
        ["get", jail, "banip", "--with-time"] => {
            (one(format!("get {jail} banip")), Shown::BansWithTime)
        }
        ["get", jail, "banip", between] => (one(format!("get {jail} banip")), Shown::Bans(between)),
        ["get", jail, "banned", who @ ..] if !who.is_empty() => {
            (each(format!("get {jail} banned"), who), Shown::Text)
        }
        ["get", jail, option] => (one(format!("get {jail} {option}")), Shown::Text),
        _ => return None,
    })
}

fn ask(path: &Path, question: &str) -> Result<String, String> {
    let talk = || -> std::io::Result<String> {
        let mut socket = UnixStream::connect(path)?;
        socket.write_all(question.as_bytes())?;
        socket.write_all(b"\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = talk().map_err(|e| format!("{}: {e}: is banwatch running?", path.display()))?;
    match answer.strip_prefix("+\n") {
        Some(text) => Ok(text.to_owned()),
        None => Err(answer.trim_start_matches("- ").trim_end().to_owned()),
    }
}

/// JSON of lists and names as Python's `repr` writes it.
fn python(json: &str) -> String {
    json.trim()
        .replace('"', "'")
        .replace("':[", "': [")
        .replace("','", "', '")
        .replace("},{", "}, {")
        .replace("],[", "], [")
}

/// Seconds since 1970 as fail2ban writes them: local time.
fn date(second: &str) -> String {
    let stamp = second
        .parse()
        .ok()
        .and_then(|s| jiff::Timestamp::from_second(s).ok());
    stamp.map_or("never".to_owned(), |t| {
        let zone = jiff::tz::TimeZone::system();
        t.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S").to_string()
    })
}

fn bans(text: &str, between: &str) -> String {
    let who = text.lines().filter_map(|l| l.split(' ').next());
    who.collect::<Vec<_>>().join(between)
}

fn bans_with_time(text: &str) -> String {
    let line = |l: &str| {
        let mut words = l.split(' ');
        let mut word = || words.next().unwrap_or("").to_owned();
        let (who, since, seconds, until) = (word(), word(), word(), word());
        format!("{who} \t{} + {seconds} = {}", date(&since), date(&until))
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Asks all and gives what is to be printed.
fn run(words: &[&str], ask: &dyn Fn(&str) -> Result<String, String>) -> Result<String, String> {
    if words == ["status", "--all"] {
        let status = ask("status")?;
        let jails = status.split_once("Jail list:\t").map_or("", |(_, l)| l);
        let mut out = status.clone();
        for jail in jails.trim().split(", ").filter(|j| !j.is_empty()) {
            out.push('\n');
            out.push_str(&ask(&format!("status {jail}"))?);
        }
        return Ok(out);
    }
    let whole = |w: &&str| !w.contains(char::is_whitespace) && !w.is_empty();
    let shape = questions(words).filter(|(q, shown)| {
        // Only what stands between bans is no word of a question.
        let separated = matches!(shown, Shown::Bans(_)) && q.len() == 1;
        words
            .iter()
            .take(if separated { 3 } else { usize::MAX })
            .all(whole)
    });
    let (questions, shown) = shape.ok_or_else(|| USAGE.to_owned())?;
    let mut answers = Vec::new();
    for q in &questions {
        let text = ask(q)?;
        if shown == Shown::SumOrAbsent && text.trim() == "0" {
            let who = q.rsplit(' ').next().unwrap_or("");
            return Err(format!("{who} is not banned"));
        }
        answers.push(text);
    }
    let all = || answers.concat();
    Ok(match shown {
        Shown::Text => all(),
        Shown::Last => answers.last().cloned().unwrap_or_default(),
        Shown::Sum | Shown::SumOrAbsent => {
            let sum: u64 = answers
                .iter()
                .filter_map(|a| a.trim().parse::<u64>().ok())
                .sum();
            format!("{sum}\n")
        }
        Shown::Pong => format!("Server replied: {}\n", all().trim()),
        Shown::Done => "OK\n".to_owned(),
        Shown::Python => format!("{}\n", python(&all())),
        Shown::PythonLists => {
            let lists: Vec<String> = answers.iter().map(|a| python(a)).collect();
            format!("[{}]\n", lists.join(", "))
        }
        Shown::Bans(between) => format!("{}\n", bans(&all(), between)),
        Shown::BansWithTime => format!("{}\n", bans_with_time(&all())),
    })
}

fn main() -> ExitCode {
    let all: Vec<String> = std::env::args().skip(1).collect();
    let mut words: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut path = PathBuf::from("/run/hikyaku/ban");
    if let ["-s" | "--socket", socket, rest @ ..] = words.as_slice() {
        path = PathBuf::from(socket);
        words = rest.to_vec();
    }
    match run(&words, &|q| ask(&path, q)) {
        Ok(text) => {
            // Whoever no longer listens needs no answer.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(255)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs() {
        let q = |t: &str| questions(&t.split(' ').collect::<Vec<_>>()).map(|q| q.0);
        assert_eq!(
            q("set sshd banip 192.0.2.1 192.0.2.2").unwrap(),
            ["ban sshd 192.0.2.1", "ban sshd 192.0.2.2"]
        );
        assert_eq!(q("set sshd unbanip ::1").unwrap(), ["unban sshd ::1"]);
        assert_eq!(q("unban 192.0.2.1").unwrap(), ["unban * 192.0.2.1"]);
        assert_eq!(q("status sshd").unwrap(), ["status sshd"]);
        assert_eq!(q("reload --all").unwrap(), ["reload"]);
        assert_eq!(q("set sshd banip"), None);
        assert_eq!(q("start"), None);
    }

    #[test]
    fn answers() {
        let say = |q: &str| {
            Ok(match q {
                "status" => "Status\n|- Number of jail:\t2\n`- Jail list:\ta, b\n",
                "status a" => "A\n",
                "status b" => "B\n",
                "unban j 192.0.2.1" => "1\n",
                "unban j 192.0.2.2" => "0\n",
                "banned" => "[{\"a\":[\"192.0.2.1\",\"::1\"]},{\"b\":[]}]\n",
                "banned ::1" => "[\"a\",\"b\"]\n",
                "banned ::2" => "[]\n",
                "get j banip" => "192.0.2.1 0 600 600\n::1 5 -1 -\n",
                _ => return Err("no".to_owned()),
            }
            .to_owned())
        };
        let r = |t: &[&str]| run(t, &say);
        let is = |t: &[&str], want: &str| assert_eq!(r(t).as_deref(), Ok(want));
        assert!(
            r(&["status", "--all"])
                .unwrap()
                .ends_with("a, b\n\nA\n\nB\n")
        );
        is(&["set", "j", "unbanip", "192.0.2.1", "192.0.2.2"], "1\n");
        assert!(r(&["set", "j", "unbanip", "--report-absent", "192.0.2.2"]).is_err());
        is(&["banned"], "[{'a': ['192.0.2.1', '::1']}, {'b': []}]\n");
        is(&["banned", "::1", "::2"], "[['a', 'b'], []]\n");
        is(&["get", "j", "banip"], "192.0.2.1 ::1\n");
        is(&["get", "j", "banip", ", "], "192.0.2.1, ::1\n");
        let timed = r(&["get", "j", "banip", "--with-time"]).unwrap();
        assert!(
            timed.contains(" + 600 = 1970-") && timed.ends_with(" + -1 = never\n"),
            "{timed}"
        );
        assert!(r(&["status", "a b"]).is_err() && r(&["x"]).unwrap_err().starts_with("usage"));
    }
}
