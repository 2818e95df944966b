//! fail2ban-client's everyday verbs, answered by banwatch.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: fail2ban-client [-s SOCKET] VERB
verbs: ping, status [JAIL], banned, reload, unban IP ..., set JAIL banip IP ..., set JAIL unbanip IP ..., get JAIL banip";

/// Questions for banwatch, one for each address.
fn questions(words: &[&str]) -> Option<Vec<String>> {
    Some(match words {
        ["ping"] => vec!["ping".into()],
        ["status"] | ["banned"] | ["reload"] => vec![words.concat()],
        ["reload", ..] => vec!["reload".into()],
        ["status", jail] => vec![format!("status {jail}")],
        ["get", jail, "banip"] => vec![format!("status {jail}")],
        ["unban", who @ ..] if !who.is_empty() => {
            who.iter().map(|w| format!("unban * {w}")).collect()
        }
        ["set", jail, verb @ ("banip" | "unbanip"), who @ ..] if !who.is_empty() => {
            let verb = if *verb == "banip" { "ban" } else { "unban" };
            who.iter().map(|w| format!("{verb} {jail} {w}")).collect()
        }
        _ => return None,
    })
}

fn ask(path: &PathBuf, question: &str) -> std::io::Result<String> {
    let mut socket = UnixStream::connect(path)?;
    socket.write_all(question.as_bytes())?;
    socket.write_all(b"\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}

fn main() -> ExitCode {
    let all: Vec<String> = std::env::args().skip(1).collect();
    let mut words: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut path = PathBuf::from("/run/hikyaku/ban");
    if let ["-s" | "--socket", socket, rest @ ..] = words.as_slice() {
        path = PathBuf::from(socket);
        words = rest.to_vec();
    }
    let whole = |w: &&str| !w.contains(char::is_whitespace) && !w.is_empty();
    let Some(questions) = questions(&words).filter(|_| words.iter().all(whole)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(255);
    };
    let counted = words.first() == Some(&"unban") || words.first() == Some(&"set");
    let mut count = 0u64;
    for question in questions {
        let answer = match ask(&path, &question) {
            Ok(answer) => answer,
            Err(e) => {
                eprintln!("{}: {e}: is banwatch running?", path.display());
                return ExitCode::from(255);
            }
        };
        let Some(text) = answer.strip_prefix("+\n") else {
            eprintln!("{}", answer.trim_start_matches("- ").trim_end());
            return ExitCode::from(255);
        };
        match words.as_slice() {
            _ if counted => count += text.trim().parse::<u64>().unwrap_or(0),
            ["ping"] => println!("Server replied: {}", text.trim()),
            ["reload", ..] => println!("OK"),
            ["get", ..] => {
                let list = text.lines().find_map(|l| l.split_once("Banned IP list:\t"));
                println!("{}", list.map_or("", |(_, l)| l));
            }
            _ => print!("{text}"),
        }
    }
    if counted {
        println!("{count}");
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::questions;

    #[test]
    fn verbs() {
        let q = |t: &str| questions(&t.split(' ').collect::<Vec<_>>());
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
}
