//! Actions of a site's own, `ignorecommand` and host names, as programs: `banwatch --fail2ban` on
//! a tree of its own, without root and without a firewall.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use daemon::packet::Packets;
use daemon::process::{Order, Spawn, order};

const FILTER: &str = "[Definition]\nfailregex = ^\\s*\\S+ sshd\\[\\d+\\]: Failed password for <F-USER>.*</F-USER> from <HOST> port \\d+$\ndatepattern = {NONE}\n";

struct House {
    root: PathBuf,
    pid: u32,
}

impl House {
    /// A tree with these jails (text behind `[DEFAULT]`) and actions.
    fn furnish(root: &Path, jails: &str, actions: &[(&str, &str)], more: &str) {
        for d in ["log", "run/empty", "f2b/filter.d", "f2b/action.d", "out"] {
            fs::create_dir_all(root.join(d)).unwrap();
        }
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(root.join("f2b/filter.d/test.conf"), FILTER).unwrap();
        let text = format!(
            "[DEFAULT]\nenabled = true\nmaxretry = 2\nfilter = test\nbackend = auto\nlogpath = {}/log/%(__name__)s.log\n{jails}",
            root.display()
        );
        let text = match text.contains("usedns") {
            true => text.replace("[never]\n", "[never]\nusedns = no\n"),
            false => text.replace("maxretry = 2\n", "maxretry = 2\nusedns = no\n"),
        };
        fs::write(root.join("f2b/jail.conf"), text).unwrap();
        for (name, text) in actions {
            let text = text.replace("OUT", &root.join("out").display().to_string());
            fs::write(root.join(format!("f2b/action.d/{name}.conf")), text).unwrap();
        }
        for line in jails.lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                fs::write(root.join(format!("log/{name}.log")), "").unwrap();
            }
        }
        let config = format!(
            "hostname = \"mx.a.example\"\ndomains = [\"a.example\"]\nroot = {root:?}\n{more}[roles]\nban = \"nobody\"\n[log]\ntarget = \"stderr\"\nlevel = \"error\"\n[ban]\nbackend = \"none\"\n"
        );
        fs::write(root.join("hikyaku.toml"), config).unwrap();
    }

    fn start(root: &Path) -> House {
        House::program(root, None, None)
    }

    /// Watch, or with `flag` another program of it, holding this end of the pair.
    fn program(root: &Path, flag: Option<&str>, act: Option<&Packets>) -> House {
        let (mut ready, says) = std::io::pipe().unwrap();
        let mut spawn = Spawn::new(env!("CARGO_BIN_EXE_banwatch"))
            .arg("--config")
            .arg(root.join("hikyaku.toml"))
            .args(flag)
            .arg("--fail2ban")
            .arg(root.join("f2b"))
            .give("ready", says.as_fd());
        if let Some(end) = act {
            spawn = spawn.give("act", end.as_fd());
        }
        let pid = spawn.start().unwrap();
        drop(says);
        ready.read_exact(&mut [0]).expect("it serves");
        House {
            root: root.to_owned(),
            pid,
        }
    }

    fn ask(&self, question: &str) -> String {
        let mut s = UnixStream::connect(self.root.join("run/ban")).unwrap();
        s.write_all(format!("{question}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        s.read_to_string(&mut answer).unwrap();
        answer
    }

    fn fail(&self, jail: &str, user: &str, from: &str) {
        let path = self.root.join(format!("log/{jail}.log"));
        let mut f = File::options().append(true).open(path).unwrap();
        let text = format!("host sshd[7]: Failed password for {user} from {from} port 22\n");
        f.write_all(text.as_bytes()).unwrap();
    }

    /// The process of this test, which has what it was given.
    fn pid_of_us(&self) -> String {
        std::process::id().to_string()
    }

    fn out(&self, name: &str) -> String {
        fs::read_to_string(self.root.join("out").join(name)).unwrap_or_default()
    }

    fn until(&self, what: &str, done: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while !done() {
            assert!(
                Instant::now() < end,
                "{what}: {}\n{}",
                self.ask("list"),
                self.ask("stats")
            );
            std::thread::yield_now();
        }
    }

    fn until_out(&self, name: &str, part: &str) {
        self.until(&format!("{part:?} in {name}"), || {
            self.out(name).contains(part)
        });
    }

    fn stop(&self) {
        let _ = order(self.pid, Order::Stop);
        let path = format!("/proc/{}/stat", self.pid);
        let end = Instant::now() + Duration::from_secs(30);
        while fs::read_to_string(&path).is_ok_and(|s| !s.contains(") Z")) {
            assert!(Instant::now() < end, "it does not stop");
        }
    }
}

/// Other tests of this file have children too: only this one is waited for.
impl Drop for House {
    fn drop(&mut self) {
        let _ = order(self.pid, Order::Kill);
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.pid).unwrap());
        let _ = nix::sys::wait::waitpid(pid, None);
    }
}

const WRITES: &str = "[Definition]\nactionstart = echo \"start <name> <fq-hostname>\" >> OUT/log\nactionstop = echo 'stop <name>' >> OUT/log\nactionban = printf '%%s\\n' \"ban <ip> <failures> <bantime>\" \"<F-USER>\" '<matches>' >> OUT/log; echo <restored> >> OUT/restored\nactionunban = echo unban <ip> >> OUT/log\n";
const QUIET: &str = "[Definition]\nnorestored = 1\nactionban = echo '<ip>' >> OUT/mails\n";

#[test]
fn a_ban_runs_the_sites_own_actions_and_nothing_of_what_strangers_write() {
    let tmp = tempfile::tempdir().unwrap();
    let root = tmp.path();
    House::furnish(
        root,
        "action = writes\n  quiet\nbantime = 600\n[one]\n",
        &[("writes", WRITES), ("quiet", QUIET)],
        "",
    );
    let h = House::start(root);
    h.until_out("log", "start one mx.a.example\n");
    let made = root.join("out/made");
    let user = format!(
        "x'; touch {0}; \"$(touch {0})\" `touch {0}` \\ #",
        made.display()
    );
    h.fail("one", &user, "203.0.113.5");
    h.fail("one", &user, "203.0.113.5");
    h.until_out("mails", "203.0.113.5\n");
    let log = h.out("log");
    let line = format!("host sshd[7]: Failed password for {user} from 203.0.113.5 port 22\n");
    assert_eq!(
        log,
        format!("start one mx.a.example\nban 203.0.113.5 2 600\n{user}\n{line}{line}")
    );
    assert!(!made.exists());
    assert!(h.ask("list").contains("203.0.113.5\tone"));
    // By hand, and lifted.
    assert_eq!(h.ask("ban one 203.0.113.6"), "+\n1\n");
    h.until_out("log", "ban 203.0.113.6 1 600\n");
    assert_eq!(h.ask("unban one 203.0.113.6"), "+\n1\n");
    h.until_out("log", "unban 203.0.113.6\n");
    assert!(!h.out("log").contains("unban 203.0.113.5"));
    h.stop();
    drop(h);
    // Its end lifts what stands and stops the action, and waits for that.
    let log = fs::read_to_string(root.join("out/log")).unwrap();
    assert!(log.ends_with("unban 203.0.113.5\nstop one\n"), "{log}");
    // The next one makes it again, but tells nobody twice.
    let mails = fs::read_to_string(root.join("out/mails")).unwrap();
    let h = House::start(root);
    h.until("made again", || {
        h.out("log").matches("ban 203.0.113.5 ").count() == 2
    });
    assert!(h.out("restored").ends_with("1\n"));
    assert_eq!(h.ask("ban one 203.0.113.7"), "+\n1\n");
    h.until_out("mails", "203.0.113.7\n");
    assert_eq!(h.out("mails"), format!("{mails}203.0.113.7\n"));
    h.stop();
}

/// Where somebody keeps the pair, as mail-start does, each of the two can go and come back.
#[test]
fn each_can_go_and_come_back() {
    let tmp = tempfile::tempdir().unwrap();
    let root = tmp.path();
    House::furnish(root, "action = writes\n[one]\n", &[("writes", WRITES)], "");
    let (asks, acts) = Packets::pair().unwrap();
    let act = House::program(root, Some("--act"), Some(&acts));
    let h = House::program(root, None, Some(&asks));
    h.fail("one", "root", "203.0.113.5");
    h.fail("one", "root", "203.0.113.5");
    h.until_out("restored", "0\n");
    drop(act);
    // What happens meanwhile waits for the next one.
    assert_eq!(h.ask("ban one 203.0.113.6"), "+\n1\n");
    let act = House::program(root, Some("--act"), Some(&acts));
    h.until("made again", || {
        let log = h.out("log");
        log.matches("ban 203.0.113.5 ").count() == 2 && log.contains("ban 203.0.113.6 ")
    });
    let log = h.out("log");
    drop(h);
    let h = House::program(root, None, Some(&asks));
    assert_eq!(h.ask("ban one 203.0.113.7"), "+\n1\n");
    h.until_out("log", "ban 203.0.113.7 1 600");
    // Nothing was made again: it stands.
    assert_eq!(h.out("log").replace("ban 203.0.113.7 1 600\n\n\n", ""), log);
    // One that was lifted while nobody watched is lifted here.
    h.stop();
    drop(h);
    fs::remove_dir_all(root.join("ban")).unwrap();
    let h = House::program(root, None, Some(&asks));
    for last in [5, 6, 7] {
        h.until_out("log", &format!("unban 203.0.113.{last}\n"));
    }
    act.stop();
    h.until_out("log", "stop one\n");
    h.stop();
}

#[test]
fn an_action_that_hangs_is_ended_and_other_jails_go_on() {
    let tmp = tempfile::tempdir().unwrap();
    let root = tmp.path();
    let hangs = "[Definition]\nactionban = echo $$ >> OUT/hangs; sleep 1000\ntimeout = 1\n";
    House::furnish(
        root,
        "[one]\naction = hangs\n[two]\naction = writes\n",
        &[("hangs", hangs), ("writes", WRITES)],
        "",
    );
    let h = House::start(root);
    assert_eq!(h.ask("ban one 203.0.113.5"), "+\n1\n");
    assert_eq!(h.ask("ban one 203.0.113.6"), "+\n1\n");
    h.until_out("hangs", "\n");
    h.fail("two", "root", "203.0.113.7");
    h.fail("two", "root", "203.0.113.7");
    h.until_out("log", "ban 203.0.113.7");
    // The second has its turn when the first was ended.
    h.until("both", || h.out("hangs").lines().count() == 2);
    h.until("counted", || {
        h.ask("stats").contains("2\tactions_timeouts_total")
    });
    for pid in h.out("hangs").lines() {
        h.until("gone", || !Path::new(&format!("/proc/{pid}")).exists());
    }
    h.stop();
}

#[test]
fn bans_run_out() {
    let tmp = tempfile::tempdir().unwrap();
    let root = tmp.path();
    House::furnish(
        root,
        "bantime = 1\n[one]\naction = writes\n",
        &[("writes", WRITES)],
        "",
    );
    let h = House::start(root);
    h.fail("one", "root", "203.0.113.5");
    h.fail("one", "root", "203.0.113.5");
    h.until_out("log", "\nunban 203.0.113.5\n");
    h.stop();
}

#[test]
fn who_is_ignored_is_asked_of_a_command() {
    let tmp = tempfile::tempdir().unwrap();
    let root = tmp.path();
    House::furnish(
        root,
        "action = writes\nignorecache = key=\"<ip>\", max-count=10, max-time=1h\nignorecommand = echo '<ip> <F-USER>' >> OUT/asked; case <ip> in *.5) exit 0;; *.6) exit 1;; *) exit 3;; esac\n[one]\n",
        &[("writes", WRITES)],
        "",
    );
    let conf = root.join("f2b/jail.conf");
    let text = fs::read_to_string(&conf).unwrap();
    let out = root.join("out").display().to_string();
    fs::write(&conf, text.replace("OUT", &out)).unwrap();
    let h = House::start(root);
    for last in [5, 6, 7] {
        for _ in 0..2 {
            h.fail("one", "a b", &format!("203.0.113.{last}"));
        }
        h.until_out("asked", &format!("203.0.113.{last} a b\n"));
    }
    h.until_out("log", "ban 203.0.113.6");
    h.until_out("log", "ban 203.0.113.7");
    // Remembered: not asked again.
    for _ in 0..2 {
        h.fail("one", "a b", "203.0.113.5");
    }
    for _ in 0..2 {
        h.fail("one", "a b", "203.0.113.8");
    }
    h.until_out("log", "ban 203.0.113.8");
    let asked = h.out("asked");
    assert_eq!(asked.matches("203.0.113.5").count(), 1, "{asked}");
    assert!(!h.out("log").contains("203.0.113.5"));
    assert!(!h.ask("list").contains("203.0.113.5"));
    h.stop();
}

/// Answers every question for an IPv4 address with one, and knows nothing else.
fn name_server(socket: UdpSocket) {
    std::thread::spawn(move || {
        let mut buffer = [0; 1_500];
        while let Ok((n, from)) = socket.recv_from(&mut buffer) {
            let question = &buffer[12..n];
            let end = question.iter().position(|b| *b == 0).unwrap() + 5;
            let kind = question[end - 3];
            let known = kind == 1 && question.starts_with(b"\x04evil");
            let ours = kind == 1 && question.starts_with(b"\x05admin");
            let mut out = buffer[..2].to_vec();
            out.extend([0x81, 0x80, 0, 1, 0, u8::from(known || ours), 0, 0, 0, 0]);
            out.extend(&question[..end]);
            if known || ours {
                out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113]);
                out.push(if known { 77 } else { 88 });
            }
            let _ = socket.send_to(&out, from);
        }
    });
}

#[test]
fn host_names_are_looked_up() {
    let tmp = tempfile::tempdir().unwrap();
    let root = tmp.path();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = socket.local_addr().unwrap();
    name_server(socket);
    // Nothing to run: act is confined to looking up.
    House::furnish(
        root,
        "action = nftables[type=allports]\nignoreip = admin.a.example\n[yes]\nusedns = yes\n[never]\n",
        &[],
        &format!("[remote]\nresolver = \"{server}\"\n"),
    );
    let h = House::start(root);
    for jail in ["yes", "never"] {
        for _ in 0..2 {
            h.fail(jail, "root", "evil.a.example");
            h.fail(jail, "root", "none.a.example");
        }
    }
    h.until("looked up", || h.ask("list").contains("203.0.113.77\tyes"));
    // A host name on the list of those that are never banned.
    for _ in 0..2 {
        h.fail("yes", "root", "203.0.113.88");
        h.fail("yes", "root", "203.0.113.89");
    }
    h.until("others are", || h.ask("list").contains("203.0.113.89\tyes"));
    let listed = h.ask("list");
    assert!(!listed.contains("203.0.113.88"), "{listed}");
    assert!(!listed.contains("\tnever"), "{listed}");
    h.stop();
}

/// As it stands, for actions that know what to do with a name.
#[test]
fn a_name_can_be_banned_itself() {
    let tmp = tempfile::tempdir().unwrap();
    let root = tmp.path();
    House::furnish(
        root,
        "[raw]\nusedns = raw\naction = writes\n",
        &[("writes", WRITES)],
        "",
    );
    let h = House::start(root);
    for _ in 0..2 {
        h.fail("raw", "root", "evil.a.example");
    }
    h.until_out("log", "ban evil.a.example 2 600\n");
    assert!(h.ask("status raw").ends_with("IP list:\tevil.a.example\n"));
    assert_eq!(h.ask("unban raw evil.a.example"), "+\n1\n");
    h.until_out("log", "unban evil.a.example\n");
    h.stop();
}

#[test]
fn observing_runs_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let root = tmp.path();
    House::furnish(
        root,
        "action = writes\n[one]\nobserve = true\n[two]\n",
        &[("writes", WRITES)],
        "",
    );
    let h = House::start(root);
    for jail in ["one", "two"] {
        h.fail(jail, "root", "203.0.113.5");
        h.fail(jail, "root", "203.0.113.5");
    }
    h.until_out("log", "ban 203.0.113.5");
    h.until("both", || h.ask("list").matches("203.0.113.5").count() == 2);
    assert_eq!(h.out("log").matches("ban 203.0.113.5").count(), 1);
    h.stop();
}

/// The rows of the table under this heading of docs/privileges.md, by their first cell.
fn row(first: &str) -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/privileges.md");
    let text = fs::read_to_string(page).unwrap();
    let (_, text) = text.split_once("\n## banwatch's act\n").unwrap();
    let line = text
        .lines()
        .find(|l| l.starts_with(&format!("| {first}")))
        .unwrap();
    let cells = line
        .trim_matches('|')
        .split('|')
        .map(|c| c.trim().to_owned());
    cells.collect()
}

#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn each_kind_of_act_has_what_its_row_says() {
    for (kind, action, user, more) in [
        ("some jail", "writes", "root", ""),
        ("the same", "writes", "nobody", "action_user = \"nobody\"\n"),
        ("host names", "nftables", "nobody", ""),
    ] {
        let tmp = tempfile::tempdir().unwrap();
        let root = tmp.path();
        let jails = format!("action = {action}\n[one]\nusedns = yes\n");
        House::furnish(root, &jails, &[("writes", WRITES)], "");
        fs::set_permissions(root.join("out"), fs::Permissions::from_mode(0o777)).unwrap();
        let conf = root.join("hikyaku.toml");
        let text = fs::read_to_string(&conf).unwrap();
        fs::write(&conf, format!("{text}{more}")).unwrap();
        let h = House::start(root);
        let status = |pid: &str, field: &str| {
            let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let line = text
                .lines()
                .find_map(|l| l.strip_prefix(&format!("{field}:")));
            line.unwrap().trim().to_owned()
        };
        let children = format!("/proc/{0}/task/{0}/children", h.pid);
        let act = fs::read_to_string(children).unwrap();
        let act: Vec<&str> = act.split_whitespace().collect();
        let [act] = act.as_slice() else {
            panic!("{act:?}")
        };
        let uid = daemon::process::user(user).unwrap().uid;
        h.until("its user", || {
            status(act, "NoNewPrivs") == "1" && status(act, "Uid").starts_with(&format!("{uid}\t"))
        });
        let cells = row(kind);
        let [_, named, directory, privileges, seccomp, capabilities] = cells.as_slice() else {
            panic!("{cells:?}")
        };
        // In this test the role's user is nobody.
        let named = match named.as_str() {
            "hk-ban" | "action_user" => "nobody",
            other => other,
        };
        assert_eq!(named, user, "{kind}");
        h.until("confined", || status(act, "Seccomp") == *seccomp);
        assert_eq!(&status(act, "NoNewPrivs"), privileges, "{kind}");
        let at = fs::read_link(format!("/proc/{act}/root")).unwrap();
        let wanted = match directory.as_str() {
            "empty" => fs::canonicalize(root.join("run/empty")).unwrap(),
            _ => PathBuf::from("/"),
        };
        assert_eq!(at, wanted, "{kind}");
        let has = status(act, "CapEff");
        match capabilities.as_str() {
            "all" => assert_eq!(has, status(&h.pid_of_us(), "CapEff"), "{kind}"),
            other => assert_eq!(has, other, "{kind}"),
        }
        if action == "writes" {
            assert_eq!(h.ask("ban one 203.0.113.9"), "+\n1\n");
            h.until_out("log", "ban 203.0.113.9");
            let owner =
                std::os::unix::fs::MetadataExt::uid(&fs::metadata(root.join("out/log")).unwrap());
            assert_eq!(owner, uid, "{kind}");
        }
        h.stop();
    }
}

/// fail2ban's own client is asked in the same words.
#[test]
fn the_clients_everyday_verbs() {
    let tmp = tempfile::tempdir().unwrap();
    let root = tmp.path();
    House::furnish(
        root,
        "[one]\naction = writes\n[two]\n",
        &[("writes", WRITES)],
        "",
    );
    let h = House::start(root);
    let client = |words: &str| {
        let out = Command::new(env!("CARGO_BIN_EXE_fail2ban-client"))
            .arg("-s")
            .arg(root.join("run/ban"))
            .args(words.split(' '))
            .output()
            .unwrap();
        let text = [out.stdout, out.stderr].concat();
        (out.status.success(), String::from_utf8(text).unwrap())
    };
    let yes = |words: &str| {
        let (good, said) = client(words);
        assert!(good, "{words}: {said}");
        said
    };
    let no = |words: &str| {
        let (good, said) = client(words);
        assert!(!good, "{words}: {said}");
        said
    };
    assert_eq!(yes("ping"), "Server replied: pong\n");
    assert_eq!(yes("version"), format!("{}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(
        yes("status"),
        "Status\n|- Number of jail:\t2\n`- Jail list:\tone, two\n"
    );
    assert_eq!(yes("set one banip 203.0.113.1 203.0.113.2"), "2\n");
    assert_eq!(yes("set two banip 203.0.113.2"), "1\n");
    let log = root.join("log/one.log");
    assert_eq!(
        yes("status one"),
        format!(
            "Status for the jail: one\n|- Filter\n|  |- Currently failed:\t0\n|  |- Total failed:\t0\n|  `- File list:\t{}\n`- Actions\n   |- Currently banned:\t2\n   |- Total banned:\t2\n   `- Banned IP list:\t203.0.113.1 203.0.113.2\n",
            log.display()
        )
    );
    assert_eq!(yes("get one banip"), "203.0.113.1 203.0.113.2\n");
    assert_eq!(yes("get one banip ,"), "203.0.113.1,203.0.113.2\n");
    assert!(yes("get one banip --with-time").contains(" + 600 = "));
    assert_eq!(
        yes("banned"),
        "[{'one': ['203.0.113.1', '203.0.113.2']}, {'two': ['203.0.113.2']}]\n"
    );
    assert_eq!(
        yes("banned 203.0.113.2 203.0.113.9"),
        "[['one', 'two'], []]\n"
    );
    assert_eq!(yes("get one banned 203.0.113.2"), "1\n");
    assert_eq!(yes("set one unbanip 203.0.113.2 203.0.113.9"), "1\n");
    assert!(no("set one unbanip --report-absent 203.0.113.9").contains("not banned"));
    assert_eq!(yes("unban 203.0.113.2"), "1\n");
    assert_eq!(yes("unban --all"), "1\n");
    assert_eq!(yes("get one bantime"), "600\n");
    assert_eq!(yes("set one bantime 1h"), "3600\n");
    assert_eq!(yes("get one bantime"), "3600\n");
    assert_eq!(yes("set one maxretry 7"), "7\n");
    assert_eq!(yes("get one maxretry"), "7\n");
    assert_eq!(yes("set one findtime 90"), "90\n");
    assert_eq!(yes("get one findtime"), "90\n");
    assert_eq!(
        yes("get one ignoreip"),
        "No IP address/network is ignored\n"
    );
    assert_eq!(
        yes("set one addignoreip 203.0.113.0/24 192.0.2.1"),
        "These IP addresses/networks are ignored:\n|- 203.0.113.0/24\n`- 192.0.2.1\n"
    );
    assert_eq!(
        yes("set one delignoreip 203.0.113.0/24"),
        "These IP addresses/networks are ignored:\n`- 192.0.2.1\n"
    );
    assert_eq!(
        yes("get one logpath"),
        format!("Current monitored log file(s):\n`- {}\n", log.display())
    );
    assert_eq!(
        yes("get one actions"),
        "The jail one has the following actions:\nwrites\n"
    );
    assert!(
        yes("get one failregex")
            .starts_with("The following regular expression are defined:\n`- [0]: ^")
    );
    assert!(no("get three bantime").contains("'three' does not exist"));
    assert!(no("set one maxretry 0").contains("expected"));
    assert!(no("set one bantime x").contains("expected"));
    assert!(no("set one addignoreip x;y").contains("neither an address nor a name"));
    h.stop();
}
