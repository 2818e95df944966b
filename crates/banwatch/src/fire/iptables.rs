//! The rules that look into ipset's sets, put in place once, before fire is confined: by
//! `iptables-restore` and `ip6tables-restore`, with a text that holds nothing but our own names
//! and numbers.
//!
//! They stand in the table `mangle`, chain PREROUTING: before the ways to this host and to its
//! containers part, before Docker's own chains, and with the port that the client asked for.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::ipset::{SCOPES, Set};
use super::nft::Limits;

/// Our chain.
pub const CHAIN: &str = "hikyaku-ban";
/// Where the programs are looked for; no other place is.
const PLACES: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];
/// How long the programs may wait for each other, in seconds.
const WAIT: &str = "5";

/// The programs of one family.
#[derive(Debug)]
struct Tools {
    restore: PathBuf,
    single: PathBuf,
}

impl Tools {
    /// Those of the legacy kind first: the newer kind needs the nftables that are missing.
    fn find(v4: bool) -> Option<Tools> {
        let name = if v4 { "iptables" } else { "ip6tables" };
        ["-legacy", ""].iter().find_map(|kind| {
            PLACES.iter().find_map(|place| {
                let path = |what: &str| Path::new(place).join(format!("{name}{kind}{what}"));
                let tools = Tools {
                    restore: path("-restore"),
                    single: path(""),
                };
                (tools.restore.exists() && tools.single.exists()).then_some(tools)
            })
        })
    }
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// The words of the rule that leads to our chain.
fn jump(v4: bool) -> [String; 7] {
    [
        "-m",
        "set",
        "!",
        "--match-set",
        &Set::Jump { v4 }.name(),
        "src",
        "-j",
    ]
    .map(str::to_owned)
}

/// What `iptables-restore --noflush` is given: our chain anew, and the rule that leads to it
/// unless it is there.
#[must_use]
pub fn text(v4: bool, limits: Option<&Limits>, jump_is_there: bool) -> String {
    let mut t = format!("*mangle\n:{CHAIN} - [0:0]\n");
    for scope in 0..=SCOPES {
        let networks = Set::Networks { scope, v4 }.name();
        let ports = match scope {
            0 => String::new(),
            n => format!("-p tcp -m set --match-set {} dst ", Set::Ports(n).name()),
        };
        let _ = writeln!(
            t,
            "-A {CHAIN} {ports}-m set --match-set {networks} src -j DROP"
        );
    }
    let mask = if v4 { 32 } else { 64 };
    if let Some(limits) = limits.filter(|l| !l.ports.is_empty()) {
        let limited = Set::Limited.name();
        let new = format!("-A {CHAIN} -p tcp --syn -m set --match-set {limited} dst");
        if limits.new_per_minute > 0 {
            let (rate, burst) = (limits.new_per_minute, limits.burst());
            let _ = writeln!(
                t,
                "{new} -m hashlimit --hashlimit-name hikyaku-ban{} --hashlimit-mode srcip \
                 --hashlimit-srcmask {mask} --hashlimit-above {rate}/minute \
                 --hashlimit-burst {burst} -j DROP",
                if v4 { 4 } else { 6 }
            );
        }
        if limits.at_once > 0 {
            let _ = writeln!(
                t,
                "{new} -m connlimit --connlimit-above {} --connlimit-mask {mask} -j DROP",
                limits.at_once
            );
        }
    }
    if !jump_is_there {
        let _ = writeln!(t, "-I PREROUTING 1 {} {CHAIN}", jump(v4).join(" "));
    }
    t.push_str("COMMIT\n");
    t
}

/// Puts the rules of one family in place. The sets must be there.
///
/// # Errors
/// What was missing, or what the program said.
pub fn install(v4: bool, limits: Option<&Limits>) -> Result<(), String> {
    let tools = Tools::find(v4).ok_or_else(|| {
        let name = if v4 { "iptables" } else { "ip6tables" };
        format!("{name}-restore is not installed")
    })?;
    let there = command(&tools.single)
        .args(["--wait", WAIT, "-t", "mangle", "-C", "PREROUTING"])
        .args(jump(v4))
        .arg(CHAIN)
        .output()
        .is_ok_and(|o| o.status.success());
    let fail = |e: &dyn std::fmt::Display| format!("{}: {e}", tools.restore.display());
    let mut child = command(&tools.restore)
        .args(["--noflush", "--wait", WAIT])
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|e| fail(&e))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read says why by its end.
        let _ = stdin.write_all(text(v4, limits, there).as_bytes());
    }
    let out = child.wait_with_output().map_err(|e| fail(&e))?;
    match out.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&out.stderr);
            Err(fail(&said.lines().next().unwrap_or("failed")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_ours_alone() {
        let limits = Limits {
            ports: vec![25],
            new_per_minute: 30,
            at_once: 20,
        };
        for v4 in [true, false] {
            let t = text(v4, Some(&limits), false);
            assert!(t.starts_with("*mangle\n:hikyaku-ban - [0:0]\n") && t.ends_with("COMMIT\n"));
            assert_eq!(t.matches("-j DROP").count(), usize::from(SCOPES) + 3);
            assert!(t.contains("above 30/minute") && t.contains("--connlimit-above 20 "));
            assert!(t.contains("-I PREROUTING 1 -m set ! --match-set hikyaku-ban-on"));
            assert!(
                t.bytes()
                    .all(|b| b.is_ascii_graphic() || b == b' ' || b == b'\n')
            );
            assert!(!text(v4, None, true).contains("-I "));
        }
    }
}
