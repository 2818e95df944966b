//! The real command on real files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use auth::Password;
use auth::file::Passwords;
use queue::format::{
    outcome::Outcome,
    state::{Retry, State},
};
use queue::store::Deferral;
use queue::{Envelope, Incoming, Place, QueueId, Recipient, Status, Store};
use tempfile::TempDir;

struct Host {
    dir: TempDir,
}

struct Done {
    code: i32,
    out: String,
    err: String,
}

impl Host {
    fn new(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let host = Self { dir };
        let text = format!(
            "root = \".\"\nhostname = \"mail.example.org\"\ndomains = [\"example.org\"]\n{more}"
        );
        host.write("hikyaku.toml", &text);
        fs::create_dir(host.path("etc")).unwrap();
        fs::create_dir(host.path("libexec")).unwrap();
        for name in [
            "smtpd",
            "queue-manager",
            "remote-send",
            "local-deliver",
            "authd",
            "pop3d",
        ] {
            host.write(&format!("libexec/{name}"), "");
        }
        host
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn run_with(&self, arguments: &str, input: &str) -> Done {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hikyaku"))
            .arg("--config")
            .arg(self.path("hikyaku.toml"))
            .args(arguments.split(' '))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that refuses its arguments reads no input.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Done {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    fn good(&self, arguments: &str, input: &str) -> String {
        let done = self.run_with(arguments, input);
        assert_eq!(
            (done.code, done.err.as_str()),
            (0, ""),
            "{arguments}: {}",
            done.out
        );
        done.out
    }

    #[track_caller]
    fn bad(&self, arguments: &str, input: &str, code: i32) -> String {
        let done = self.run_with(arguments, input);
        assert_eq!(
            (done.code, done.out.as_str()),
            (code, ""),
            "{arguments}: {}",
            done.err
        );
        done.err
    }
}

#[test]
fn usage() {
    let host = Host::new("");
    assert!(
        host.bad("nonsense", "", 100)
            .contains("unrecognized subcommand")
    );
    assert!(host.bad("user add", "", 100).contains("<NAME>"));
    assert!(host.good("--help", "").contains("check"));
    assert!(host.good("--version", "").starts_with("hikyaku "));
}

#[test]
fn check() {
    let host = Host::new("postmaster = \"al\"\n");
    host.write("etc/users", "al:70000:70000::\n");
    let out = host.good("check", "");
    assert!(
        out.starts_with("ok: ") && out.contains("mailboxes 1"),
        "{out}"
    );

    // Mistakes of all files at once.
    host.write("etc/users", "al:0:70000::\nbo:70000\n");
    fs::remove_file(host.path("libexec/smtpd")).unwrap();
    let toml = host.read("hikyaku.toml");
    host.write(
        "hikyaku.toml",
        &format!("{toml}[[tls.certificate]]\nchain = \"none.pem\"\n"),
    );
    let err = host.bad("check", "", 100);
    for part in [
        "users:1:4: found \"0\"",
        "users:2:1: found 2 fields",
        "none.pem: no certificate",
        "libexec/smtpd: no such program",
    ] {
        assert!(err.contains(part), "{part} not in {err}");
    }
    host.write("hikyaku.toml", "hostname = 7\nfoo = 1\n");
    let err = host.bad("check", "", 100);
    for part in [
        "domains is missing",
        "hikyaku.toml:1:12: hostname: found the number 7",
        ":2:1: unknown setting foo",
    ] {
        assert!(err.contains(part), "{part} not in {err}");
    }
}

#[test]
fn what_of_fail2ban_s_configuration_can_t_be_taken_over() {
    let host = Host::new("[ban]\nfail2ban = \"/placeholder\"\n");
    let tree = host.path("f2b");
    let config = fs::read_to_string(host.path("hikyaku.toml")).unwrap();
    host.write(
        "hikyaku.toml",
        &config.replace("/placeholder", tree.to_str().unwrap()),
    );
    assert!(host.bad("check", "", 100).contains("jail.conf"));
    fs::create_dir_all(tree.join("filter.d")).unwrap();
    fs::create_dir_all(tree.join("action.d")).unwrap();
    let log = host.path("some.log");
    fs::write(&log, "").unwrap();
    let jails = format!(
        "[DEFAULT]\nenabled = true\nlogpath = {}\naction = nftables\nfilter = f\n[good]\n[off]\nenabled = false\nfilter = nothing\n\
         [number]\nmaxretry = many\n[letters]\nlogencoding = utf-16\n[python]\naction = smtp.py\n[pattern]\nfailregex = ^(<HOST>$\n[nowhere]\nlogpath = /var/no/such/*.log\n",
        log.display()
    );
    fs::write(tree.join("jail.conf"), jails).unwrap();
    fs::write(
        tree.join("filter.d/f.conf"),
        "[Definition]\nfailregex = ^failed <HOST>$\n",
    )
    .unwrap();
    let done = host.run_with("check", "");
    assert_eq!(done.code, 0, "{}", done.err);
    for part in [
        "jail number: option maxretry: many is no number",
        "jail letters: option logencoding: utf-16 is not known",
        "jail python: action smtp.py: not run",
        "jail pattern: filter f: failregex can't be taken over",
        "jail nowhere: none of its logs is there",
    ] {
        let all = |l: &str| l.starts_with("warning: ") && l.contains(part);
        assert!(done.err.lines().any(all), "{part}: {}", done.err);
    }
    for name in ["good", "off"] {
        assert!(!done.err.contains(&format!("jail {name}")), "{}", done.err);
    }
    assert!(done.out.contains(", jails 3"), "{}", done.out);
    // Where another program does the mail, that part alone.
    fs::remove_file(host.path("libexec/smtpd")).unwrap();
    assert_eq!(host.run_with("check", "").code, 100);
    let done = host.run_with("check --bans", "");
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.contains("jails 3") && done.err.contains("jail number"));
    // Before moving over, of a tree that no configuration names.
    // The tree of above.
    let done = host.run_with(&format!("check --fail2ban {}", tree.display()), "");
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.contains("jails 3") && done.err.contains("jail number"));
    // Mistakes in our own table are errors with their place.
    host.write("hikyaku.toml", &format!("{config}observe = 1\n"));
    assert!(host.bad("check", "", 100).contains("ban.observe"));
}

#[test]
fn banwatch_is_asked() {
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::net::UnixListener;
    let host = Host::new("");
    assert!(host.bad("ban list", "", 111).contains("is not running"));
    fs::create_dir_all(host.path("run")).unwrap();
    let _ = fs::remove_file(host.path("run/ban"));
    let listener = UnixListener::bind(host.path("run/ban")).unwrap();
    for (command, question, answer, code, shown) in [
        ("ban list", "list", "+\na\nb\n", 0, "a\nb\n"),
        ("ban list --json", "list json", "+\n[]\n", 0, "[]\n"),
        (
            "ban add 192.0.2.0/24",
            "add 192.0.2.0/24 1h",
            "+\n1\n",
            0,
            "192.0.2.0/24: banned\n",
        ),
        (
            "ban add 192.0.2.1 -",
            "add 192.0.2.1 -",
            "+\n0\n",
            0,
            "192.0.2.1: is banned at least that long already\n",
        ),
        (
            "ban add 192.0.2.1 2h --json",
            "add 192.0.2.1 2h",
            "+\n1\n",
            0,
            "{\"changed\":true,\"network\":\"192.0.2.1\",\"state\":\"banned\"}\n",
        ),
        (
            "ban del 192.0.2.1",
            "del 192.0.2.1",
            "+\n1\n",
            0,
            "192.0.2.1: lifted\n",
        ),
        (
            "ban del 192.0.2.1 --json",
            "del 192.0.2.1",
            "+\n2\n",
            0,
            "{\"changed\":true,\"network\":\"192.0.2.1\",\"state\":\"lifted\"}\n",
        ),
        (
            "ban del 192.0.2.1",
            "del 192.0.2.1",
            "- 192.0.2.1 is not banned\n",
            100,
            "192.0.2.1 is not banned",
        ),
        (
            "ban why 192.0.2.1",
            "why 192.0.2.1",
            "+\nnot banned: 192.0.2.1\n",
            0,
            "not banned: 192.0.2.1\n",
        ),
        (
            "ban why 192.0.2.1 --json",
            "why 192.0.2.1 json",
            "+\n{}\n",
            0,
            "{}\n",
        ),
        ("ban stats", "stats", "+\n1\tx\n", 0, "1\tx\n"),
        ("ban stats --json", "stats json", "+\n{}\n", 0, "{}\n"),
        ("ban stats --prometheus", "metrics", "+\nx 1\n", 0, "x 1\n"),
        ("ban list", "list", "", 111, "gave no answer"),
    ] {
        let banwatch = {
            let listener = listener.try_clone().unwrap();
            std::thread::spawn(move || {
                let (mut socket, _) = listener.accept().unwrap();
                let mut asked = String::new();
                BufReader::new(socket.try_clone().unwrap())
                    .read_line(&mut asked)
                    .unwrap();
                socket.write_all(answer.as_bytes()).unwrap();
                asked
            })
        };
        let done = host.run_with(command, "");
        assert_eq!(banwatch.join().unwrap(), format!("{question}\n"));
        assert_eq!(done.code, code, "{command}: {}", done.err);
        match code {
            0 => assert_eq!(done.out, shown, "{command}"),
            _ => assert!(done.err.contains(shown), "{command}: {}", done.err),
        }
    }
}

#[test]
fn passwords_are_checked_too() {
    let host = Host::new("");
    host.write("etc/users", "al:70000:70000::\n");
    host.write("etc/passwords", "al:plain\nbo:*\n");
    assert!(host.bad("check", "", 100).contains("its mode must be 0600"));
    fs::set_permissions(host.path("etc/passwords"), Permissions::from_mode(0o600)).unwrap();
    let err = host.bad("check", "", 100);
    assert!(
        err.contains("etc/passwords:1: al: password hash of unsupported scheme"),
        "{err}"
    );
    assert!(
        err.contains("warning: ") && err.contains("bo has a password and no mailbox"),
        "{err}"
    );
    assert!(!err.contains("plain"), "{err}");
}

fn gets_in(host: &Host, name: &str, password: &str) -> bool {
    let text = auth::file::read(&host.path("etc/passwords")).unwrap();
    let (passwords, bad) = Passwords::parse(&text);
    assert!(bad.is_empty());
    let password = Password::new(password.as_bytes()).unwrap();
    passwords.check(Some(name), name).run(&password).unwrap()
}

#[test]
fn a_users_life() {
    let host = Host::new("");
    let out = host.good("user add Al --password-stdin", "secret\n");
    assert!(out.starts_with("added al: uid "), "{out}");
    assert!(gets_in(&host, "al", "secret") && !gets_in(&host, "al", "Secret"));
    let mode = |name: &str| fs::metadata(host.path(name)).unwrap().mode() & 0o777;
    assert_eq!((mode("etc/users"), mode("etc/passwords")), (0o644, 0o600));
    let maildir = fs::metadata(host.path("homes/al/Maildir/new")).unwrap();
    let own = daemon::process::own_uid();
    assert_eq!(maildir.uid(), if own == 0 { 70_000 } else { own });
    assert_eq!(maildir.mode() & 0o777, 0o700);

    assert!(
        host.bad("user add al@ --no-password", "", 100)
            .contains("a domain behind the @")
    );
    assert!(
        host.bad("user add AL --no-password", "", 100)
            .contains("al exists already")
    );
    assert!(
        host.bad("user add a/b --no-password", "", 100)
            .contains("expected a name")
    );
    assert!(
        host.bad("user add zz --no-password --uid 0", "", 100)
            .contains("found \"0\"")
    );
    assert!(
        host.bad("user add zz --password-stdin", "\n", 100)
            .contains("password: empty")
    );
    host.good("user add bo@example.org --no-password", "");
    let text = host.read("etc/users");
    assert!(
        text.starts_with("# name:uid")
            && text.contains("\nal:")
            && text.contains("\nbo@example.org:"),
        "{text}"
    );

    host.good("user passwd al@example.org --password-stdin", "other");
    assert!(gets_in(&host, "al", "other") && !gets_in(&host, "al", "secret"));
    assert!(
        host.bad("user passwd zz --password-stdin", "x", 100)
            .contains("no such user")
    );

    let list = host.good("user list", "");
    assert!(
        list.contains("password") && list.contains("no-login"),
        "{list}"
    );
    let rows = host.good("user list --json", "");
    let first: serde_json::Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["name"], &first["password"]),
        (&"al".into(), &true.into())
    );

    assert!(
        host.good("user del AL", "")
            .contains("removed al; the mail stays in")
    );
    assert!(
        !host.read("etc/users").contains("\nal:") && !host.read("etc/passwords").contains("\nal:")
    );
    assert!(host.path("homes/al/Maildir").is_dir());
    assert!(host.bad("user del al", "", 100).contains("no such user"));
    // The next one doesn't get the files of the one who left.
    host.good("user add cy --no-password", "");
    if own == 0 {
        assert!(
            host.read("etc/users").contains("cy:70002:70002::"),
            "{}",
            host.read("etc/users")
        );
    }
}

#[test]
fn a_home_that_lures_root_elsewhere() {
    let host = Host::new("");
    let (target, home) = (host.path("target"), host.path("ev"));
    fs::create_dir(&target).unwrap();
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::symlink(&target, home.join("Maildir")).unwrap();
    let add = format!(
        "user add ev --no-password --uid 70000 --home {}",
        home.display()
    );
    if daemon::process::own_uid() == 0 {
        std::os::unix::fs::chown(&home, Some(70_000), Some(70_000)).unwrap();
        assert!(
            host.bad(&add, "", 100)
                .contains("Maildir: Permission denied")
        );
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
        assert!(!host.path("etc/users").exists());
    }
}

#[test]
fn two_at_once_and_one_that_died() {
    let host = Host::new("");
    let lock = File::open(host.path("etc")).unwrap();
    assert!(daemon::file::try_lock(&lock).unwrap());
    assert!(
        host.bad("user add al --no-password", "", 111)
            .contains("another `hikyaku user`")
    );
    // Closing is not enough: a program that another test starts at this moment may hold a copy
    // until it runs.
    lock.unlock().unwrap();
    host.write("etc/users.new", "half a li");
    host.good("user add al --no-password", "");
    assert!(!host.path("etc/users.new").exists());
}

#[test]
fn reload_needs_a_living_mail_start() {
    let host = Host::new("");
    assert!(
        host.bad("reload", "", 111)
            .contains("mail-start is not running")
    );
    // Left behind by a mail-start that was killed: the number may be anybody's by now.
    fs::create_dir(host.path("run")).unwrap();
    host.write("run/mail-start.pid", &format!("{}\n", std::process::id()));
    assert!(
        host.bad("reload", "", 111)
            .contains("mail-start is not running")
    );
    // A living one is told. It stands still so that the command meets it.
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    let mut pid = File::create(host.path("run/mail-start.pid")).unwrap();
    writeln!(pid, "{}", child.id()).unwrap();
    assert!(daemon::file::try_lock(&pid).unwrap());
    assert!(host.good("reload", "").contains("told mail-start"));
    use std::os::unix::process::ExitStatusExt as _;
    assert_eq!(child.wait().unwrap().signal(), Some(1));
}

fn put(queue: &Path, id: u64, to: &[&str]) -> QueueId {
    let dir = || daemon::dir::Dir::open(queue.join("incoming")).unwrap();
    let id = QueueId::new(1_700_000_000_000 + id, id);
    let envelope = Envelope {
        reverse_path: "al@example.org".into(),
        recipients: to.iter().map(|address| Recipient::new(*address)).collect(),
        arrival: queue::Arrival {
            time: 1_700_000_000,
            ..Default::default()
        },
        ..Default::default()
    };
    let incoming = Incoming::new(dir(), 0o600);
    let mut writer = incoming.begin(id, &envelope).unwrap();
    writer.write(b"Subject: x\r\n\r\nhello\r\n").unwrap();
    writer.finish().commit().unwrap()
}

#[test]
fn the_queue_is_shown_beside_its_manager() {
    let host = Host::new("");
    let queue = host.path("queue");
    assert!(
        host.bad("queue list", "", 100)
            .contains("queue: No such file")
    );
    fs::create_dir(&queue).unwrap();
    assert_eq!(host.good("queue list", ""), "the queue is empty\n");
    // Locked, as by a running queue-manager.
    let store = Store::open(daemon::dir::Dir::open(&queue).unwrap(), 0o700).unwrap();
    let first = put(&queue, 1, &["bo@example.net", "cy@example.net"]);
    let second = put(&queue, 2, &["di@example.net"]);
    let outcome = Outcome {
        time: 1_700_000_100,
        status: Status::DEFERRED,
        host: "mx.example.net".into(),
        text: "451 later".into(),
        recipients: vec![0],
    };
    let deferral = Deferral {
        marks: vec![(1, State::Delivered)],
        retry: Retry {
            due: 1_700_000_400,
            last: 1_700_000_100,
            attempts: 1,
            warned: false,
        },
        outcomes: vec![outcome],
        durable: true,
    };
    store.defer(first, Place::Incoming, &deferral).unwrap();
    // Caught while it moves: both names are there, it is one message.
    let shard = queue.join("deferred").join(second.shard());
    fs::create_dir_all(&shard).unwrap();
    let name = second.as_str();
    fs::hard_link(queue.join("incoming").join(name), shard.join(name)).unwrap();
    fs::write(
        queue.join("hold").join(QueueId::new(5, 5).as_str()),
        "rubbish that is no message",
    )
    .unwrap();

    let out = host.good("queue list", "");
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].contains(" hold "), "{out}");
    assert!(
        lines[1].starts_with(first.as_str())
            && lines[1].ends_with("<al@example.org> due (tried 1)"),
        "{out}"
    );
    assert!(
        lines[2].starts_with("    waiting   <bo@example.net> ")
            && lines[2].ends_with(" ago: mx.example.net: 4.0.0 451 later"),
        "{out}"
    );
    assert_eq!(lines[3], "    delivered <cy@example.net>");
    assert!(
        lines[4].starts_with(second.as_str()) && lines[4].contains(" incoming "),
        "{out}"
    );
    assert!(lines[6].starts_with("3 in the queue"), "{out}");

    let rows: Vec<serde_json::Value> = host
        .good("queue list --json", "")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 3);
    assert!(rows[0]["error"].is_string());
    assert_eq!(rows[1]["recipients"][0]["last"]["text"], "451 later");
    assert_eq!(rows[1]["next_try"], 1_700_000_400);
}
