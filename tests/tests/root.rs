//! The house as root: a user for each program, walls as docs/privileges.md has them, mailboxes that
//! nobody else can read. Runs through `make check-root`, which makes the users in namespaces of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use end_to_end::{letter, transfer};
use testkit::{Dns, House, Plan, Zone};

const HERE: &str = "root.example";

/// The rows of the table under a heading of docs/privileges.md, without the header.
fn table(heading: &str) -> Vec<Vec<String>> {
    let page = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/privileges.md"
    ))
    .unwrap();
    let part = page
        .split(&format!("## {heading}\n"))
        .nth(1)
        .expect(heading);
    part.lines()
        .skip_while(|l| !l.starts_with('|'))
        .skip(2)
        .take_while(|l| l.starts_with('|'))
        .map(|l| {
            l.trim_matches('|')
                .split('|')
                .map(|c| c.trim().to_owned())
                .collect()
        })
        .collect()
}

fn uid_of(user: &str) -> u32 {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd
        .lines()
        .find(|l| l.split(':').next() == Some(user))
        .expect(user);
    line.split(':').nth(2).unwrap().parse().unwrap()
}

fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    list.split_whitespace()
        .map(|p| p.parse().unwrap())
        .collect()
}

/// The field of /proc/PID/status.
fn status(pid: u32, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(field)?.strip_prefix(':'))
        .expect(field);
    line.trim().to_owned()
}

/// The process has its own group, and these where the system has them.
fn only_these_groups(pid: u32, more: &[&str]) {
    let known = fs::read_to_string("/etc/group").unwrap();
    let named = known.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        more.contains(&name).then(|| fields.nth(1))?
    });
    let own = status(pid, "Gid");
    let wanted: HashSet<&str> = named.chain(own.split('\t').take(1)).collect();
    let groups = status(pid, "Groups");
    assert_eq!(
        groups.split(' ').collect::<HashSet<_>>(),
        wanted,
        "{}",
        status(pid, "Name")
    );
}

/// A house as root with the virtual user vera and the system's users.
fn house() -> (House, Dns) {
    house_with("")
}

/// The same with more of a configuration.
fn house_with(more: &str) -> (House, Dns) {
    let dns = Dns::start(Zone::new());
    let house = House::start(
        Plan::new(HERE)
            .user("vera", "violet")
            .config(&format!(
                "[users]\nsystem = true\n[pop3]\nclear_on_loopback = true\n[remote]\nresolver = \"{}\"\n{more}",
                dns.address
            ))
            .as_root(),
    );
    (house, dns)
}

/// A tree of fail2ban's with one jail, whose action of its own writes into `told`.
fn fail2ban(tree: &Path) {
    for folder in ["filter.d", "action.d"] {
        fs::create_dir_all(tree.join(folder)).unwrap();
    }
    let at = tree.display();
    for (name, text) in [
        (
            "filter.d/door.conf",
            "[Definition]\ndatepattern = {NONE}\nfailregex = ^door: wrong key from <HOST>$\n"
                .to_owned(),
        ),
        (
            "action.d/tells.conf",
            format!(
                "[Definition]\nactionstart = id -u > {at}/told\nactionban = echo <ip> >> {at}/told\n"
            ),
        ),
        (
            "jail.conf",
            format!(
                "[door]\nenabled = true\nfilter = door\nbackend = auto\nusedns = no\nmaxretry = 1\n\
                 logpath = {at}/door.log\naction = tells\n"
            ),
        ),
        ("door.log", String::new()),
    ] {
        fs::write(tree.join(name), text).unwrap();
    }
}

fn deliver(house: &House, user: &str) {
    let to = format!("{user}@{HERE}");
    let id = transfer(
        house,
        "x@y.example",
        &to,
        &letter("x@y.example", &to, user, "private"),
    );
    house.wait(0, &["queue-manager", " delivered ", &format!("id={id}")]);
}

fn homes() -> PathBuf {
    std::env::var_os("HIKYAKU_HOMES")
        .expect("started through make check-root")
        .into()
}

#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn each_process_has_what_its_row_says_and_no_more() {
    let tree = tempfile::tempdir().unwrap();
    fs::set_permissions(
        tree.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    fail2ban(tree.path());
    let (house, _dns) = house_with(&format!("[ban]\nfail2ban = {:?}\n", tree.path()));
    deliver(&house, "alice");
    // A POP3 session of vera's that stays.
    let mut pop = TcpStream::connect(house.address("pop3")).unwrap();
    let mut lines = BufReader::new(pop.try_clone().unwrap()).lines();
    let mut expect = |say: &str| {
        pop.write_all(say.as_bytes()).unwrap();
        let line = lines.next().unwrap().unwrap();
        assert!(line.starts_with("+OK"), "{say:?} -> {line}");
    };
    expect("");
    expect("USER vera\r\n");
    expect("PASS violet\r\n");
    expect("STAT\r\n");

    let one = |pid: u32, what: &str| match children(pid)[..] {
        [child] => child,
        ref other => panic!("{what}: {other:?}"),
    };
    let vera = fs::metadata(house.home("vera")).unwrap().uid();
    assert!(
        (70_000..100_000).contains(&vera),
        "a uid of the virtual range: {vera}"
    );
    let mut pids: HashMap<&str, (u32, u32)> = HashMap::new();
    pids.insert("mail-start", (house.main_pid(), 0));
    for (program, user) in [
        ("authd", "root"),
        ("local-deliver", "root"),
        ("remote-send", "hk-remote"),
        ("queue-manager", "hk-queue"),
        ("smtpd", "hk-smtp"),
        ("pop3d", "hk-pop3"),
        ("banwatch", "hk-ban"),
        ("ban-fire", "root"),
    ] {
        pids.insert(program, (house.pid(program), uid_of(user)));
    }
    pids.insert(
        "worker",
        (one(house.pid("local-deliver"), "workers"), uid_of("alice")),
    );
    pids.insert("pop3-session", (one(house.pid("authd"), "sessions"), vera));

    // Its rows are on another table, one for each thing that it may be there for.
    pids.insert("ban-act", (house.pid("ban-act"), uid_of("root")));
    let mut rows = table("Processes of a house started as root");
    let mut act = table("banwatch's act").swap_remove(0);
    assert_eq!(
        act[0],
        "some jail has an action of its own or an `ignorecommand`"
    );
    act[0] = "ban-act".to_owned();
    rows.push(act);
    let mut seen = 0;
    for row in &rows {
        let [process, user, root, privileges, seccomp, capabilities] = &row[..] else {
            panic!("{row:?}")
        };
        let Some(&(pid, uid)) = pids.get(process.as_str()) else {
            panic!("{process} is in the table and not in the test");
        };
        seen += 1;
        if user != "mailbox owner" {
            assert_eq!(uid, uid_of(user), "{process}");
        }
        let four = format!("{uid}\t{uid}\t{uid}\t{uid}");
        assert_eq!(status(pid, "Uid"), four, "{process}");
        if uid != 0 {
            // banwatch reads logs in this house.
            let more: &[&str] = match process.as_str() {
                "banwatch" => &["adm", "systemd-journal"],
                _ => &[],
            };
            only_these_groups(pid, more);
        }
        let at = fs::read_link(format!("/proc/{pid}/root")).unwrap();
        let wanted = match root.as_str() {
            "empty" => house.directory().join("run/empty"),
            "queue" => house.directory().join("queue"),
            _ => PathBuf::from("/"),
        };
        assert_eq!(at, wanted, "{process}");
        assert_eq!(&status(pid, "NoNewPrivs"), privileges, "{process}");
        assert_eq!(&status(pid, "Seccomp"), seccomp, "{process}");
        if capabilities == "all" {
            let ours = status(std::process::id(), "CapEff");
            assert_eq!(status(pid, "CapEff"), ours, "{process}");
        } else {
            for field in ["CapEff", "CapPrm"] {
                assert_eq!(&status(pid, field), capabilities, "{process} {field}");
            }
            assert_eq!(
                status(pid, "CapInh").trim_start_matches('0'),
                "",
                "{process}"
            );
        }
    }
    assert_eq!(seen, pids.len(), "every process has its row");
    // And does what it has these rights for.
    let told = || fs::read_to_string(tree.path().join("told")).unwrap_or_default();
    house.until("the action's start", || told() == "0\n");
    fs::write(
        tree.path().join("door.log"),
        "door: wrong key from 203.0.113.5\n",
    )
    .unwrap();
    house.until("the action of the ban", || told() == "0\n203.0.113.5\n");
    let empty = house.directory().join("run/empty");
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);
    assert_eq!(fs::metadata(&empty).unwrap().uid(), 0);
}

/// Whether a program of this user and group can read the file.
fn reads(user: u32, group: u32, file: &Path) -> bool {
    let out = Command::new("/bin/cat")
        .arg(file)
        .uid(user)
        .gid(group)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    out.success()
}

#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn nobody_reads_what_is_not_theirs() {
    let (house, _dns) = house();
    // It watches no log, so it has none of the groups that may read them.
    only_these_groups(house.pid("banwatch"), &[]);
    deliver(&house, "alice");
    deliver(&house, "vera");
    // A message that waits: its domain's name server says nothing of use.
    let (from, to) = ("alice@root.example", "x@far.example");
    let out = house.run(
        "sendmail",
        &["-f", from, to],
        letter(from, to, "w", "waiting").as_bytes(),
    );
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );

    let first = |dir: PathBuf| {
        fs::read_dir(dir)
            .unwrap()
            .flatten()
            .next()
            .expect("a message")
            .path()
    };
    let alice = first(homes().join("alice/Maildir/new"));
    let vera = first(house.maildir("vera").join("new"));
    assert_eq!(fs::metadata(&alice).unwrap().uid(), uid_of("alice"));
    assert!(
        reads(uid_of("alice"), uid_of("alice"), &alice),
        "its owner reads it"
    );
    let queue = house.directory().join("queue/incoming");
    let meta = fs::metadata(&queue).unwrap();
    assert_eq!(
        (meta.uid(), meta.gid(), meta.mode() & 0o7777),
        (uid_of("hk-smtp"), uid_of("hk-queue"), 0o2370),
        "incoming/"
    );
    // Made as smtpd makes them, and left where it leaves them.
    house.kill("queue-manager");
    let mut socket = TcpStream::connect(house.address("mx")).unwrap();
    let mut replies = BufReader::new(socket.try_clone().unwrap()).lines();
    for say in [
        "",
        "HELO x\r\n",
        "MAIL FROM:<a@b.example>\r\n",
        "RCPT TO:<bob@root.example>\r\n",
        "DATA\r\n",
    ] {
        socket.write_all(say.as_bytes()).unwrap();
        replies.next().unwrap().unwrap();
    }
    socket.write_all(b"Subject: half\r\n\r\n").unwrap();
    // More than smtpd keeps in memory before it makes a file.
    socket
        .write_all(&b"one line of many\r\n".repeat(4_000))
        .unwrap();
    // queue-manager's own messages (a report, say) may lie beside it.
    let of_smtpd = || {
        let files = fs::read_dir(&queue).unwrap().flatten().map(|e| e.path());
        files
            .into_iter()
            .find(|f| fs::metadata(f).is_ok_and(|m| m.uid() == uid_of("hk-smtp")))
    };
    house.until("a file of a message under way", || of_smtpd().is_some());
    let queued = of_smtpd().unwrap();
    let made = fs::metadata(&queued).unwrap();
    assert_eq!(
        (made.uid(), made.gid(), made.mode() & 0o7777),
        (uid_of("hk-smtp"), uid_of("hk-queue"), 0o60)
    );
    let passwords = house.directory().join("passwords");
    let key = house.directory().join(format!("tls/{HERE}.key.pem"));
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();

    let readers = ["hk-smtp", "hk-remote", "hk-pop3", "hk-queue", "bob"];
    for row in table("Files that others must not read") {
        let files = match row[0].as_str() {
            "a message in a Maildir" => vec![&alice, &vera],
            "a message in the queue" => vec![&queued],
            "the password file" => vec![&passwords],
            "a TLS key" => vec![&key],
            other => panic!("{other} is in the table and not in the test"),
        };
        for file in files {
            for (reader, wanted) in readers.iter().zip(&row[1..]) {
                let id = uid_of(reader);
                assert_eq!(
                    reads(id, id, file),
                    wanted == "yes",
                    "{reader} reads {}",
                    file.display()
                );
            }
        }
    }
}

#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn mail_goes_all_the_way_as_root() {
    let (house, _dns) = house();
    for (user, password) in [("alice", "apple"), ("bob", "banana")] {
        let out = house.run(
            "hikyaku",
            &["user", "passwd", user, "--password-stdin"],
            format!("{password}\n").as_bytes(),
        );
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
    }
    deliver(&house, "bob");
    let (count, text) = end_to_end::fetch_last(&house, "bob", "banana");
    assert_eq!(count, 1);
    assert!(text.contains("private"), "{text}");
    // Root's mail is never delivered as root.
    let out = house.run("sendmail", &["root"], b"Subject: cron\n\nx\n");
    assert!(!out.status.success() || house.mail("root").is_empty());
    // A user's program hands mail in as that user.
    let program = house.command("sendmail").get_program().to_owned();
    let mut child = Command::new(program)
        .env("HIKYAKU_CONFIG", house.directory().join("hikyaku.toml"))
        .arg(format!("vera@{HERE}"))
        .uid(uid_of("alice"))
        .gid(uid_of("alice"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mark = house.mark();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"Subject: from alice's program\n\nx\n")
        .unwrap();
    assert!(child.wait().unwrap().success());
    house.wait(mark, &["queue-manager", " delivered ", "vera"]);
    let mail = house.mail("vera");
    assert!(
        mail.iter().any(|m| m.contains(&format!("alice@{HERE}"))),
        "{mail:?}"
    );
}
