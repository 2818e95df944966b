//! Whole files: what is accepted, what is refused and where the finger points.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use crate::parse::parse;
use crate::settings::{Config, LogTarget, RemoteTls};
use crate::types::Size;

const FILE: &str = "/etc/hikyaku/hikyaku.toml";
const SHORTEST: &str = "hostname = \"mail.example.org\"\ndomains = [\"example.org\"]\n";

fn good(text: &str) -> Config {
    Config::parse(text, Path::new(FILE)).unwrap()
}

fn with(more: &str) -> Config {
    good(&format!("{SHORTEST}{more}"))
}

/// The errors, one a line, without the file name.
fn bad(text: &str) -> String {
    let problems = Config::parse(text, Path::new(FILE)).unwrap_err();
    assert!(!problems.list.is_empty());
    problems.to_string().replace(&format!("{FILE}:"), "")
}

fn bad_with(more: &str) -> String {
    bad(&format!("{SHORTEST}{more}"))
}

#[test]
fn two_lines_are_enough() {
    let config = good(SHORTEST);
    assert_eq!(config.hostname, "mail.example.org");
    assert_eq!(config.domains, ["example.org"]);
    assert_eq!(config.users.file, Path::new("/etc/hikyaku/users"));
    assert_eq!(
        config.paths.submit_socket(),
        Path::new("/run/hikyaku/submit")
    );
    assert_eq!(config.listen.mx.len(), 2);
    // Without a certificate there is no place where a password could be sent safely.
    assert!(config.listen.submission.is_empty() && config.listen.pop3.is_empty());
    assert_eq!(config.smtp.max_message_size, Size(50 << 20));
    assert!(config.smtp.may_relay("127.0.0.1".parse().unwrap()));
    assert!(config.smtp.may_relay("::1".parse().unwrap()));
    assert!(!config.smtp.may_relay("192.0.2.1".parse().unwrap()));
    assert_eq!(config.queue.lifetime, Duration::from_secs(5 * 86_400));
    assert_eq!(config.log.target, LogTarget::Syslog);
    assert!(config.users.system && config.listen.local);
}

#[test]
fn a_certificate_opens_the_other_doors() {
    let config = with("[[tls.certificate]]\nchain = \"tls/mail.pem\"\n");
    assert_eq!(
        config.tls.certificates[0].chain,
        Path::new("/etc/hikyaku/tls/mail.pem")
    );
    assert_eq!(
        config.tls.certificates[0].key,
        config.tls.certificates[0].chain
    );
    let ports = |list: &[std::net::SocketAddr]| list.iter().map(|a| a.port()).collect::<Vec<_>>();
    assert_eq!(ports(&config.listen.submission), [587, 587]);
    assert_eq!(ports(&config.listen.submissions), [465, 465]);
    assert_eq!(ports(&config.listen.pop3), [110, 110]);
    assert_eq!(ports(&config.listen.pop3s), [995, 995]);
    let shut = with("[[tls.certificate]]\nchain = \"a\"\nkey = \"/b\"\n[listen]\npop3 = []\n");
    assert!(shut.listen.pop3.is_empty());
    assert_eq!(shut.tls.certificates[0].key, Path::new("/b"));
}

#[test]
fn a_single_user_instance_lies_under_its_root() {
    let config = with("root = \"/home/al/mail\"\n[[tls.certificate]]\nchain = \"c\"\n");
    let under = |path: &PathBuf| path.starts_with("/home/al/mail");
    for path in [
        &config.paths.etc,
        &config.paths.run,
        &config.paths.queue,
        &config.paths.libexec,
        &config.users.file,
        &config.users.passwords,
        &config.users.homes,
    ] {
        assert!(under(path), "{path:?}");
    }
    assert_eq!(config.listen.mx, ["127.0.0.1:10025".parse().unwrap()]);
    assert_eq!(config.listen.pop3s, ["127.0.0.1:10995".parse().unwrap()]);
    assert_eq!(config.log.target, LogTarget::Stderr);
    assert_eq!(
        with("root = \"./x/../y/.\"").root.as_deref(),
        Some(Path::new("/etc/hikyaku/x/../y"))
    );
    assert!(!config.users.system);
}

#[test]
fn values_are_typed() {
    let config = with(
        "postmaster = \"Al\"\n[smtp]\nmax_message_size = \"1G\"\ncommand_timeout = \"1m30s\"\nrelay_from = [\"192.0.2.0/24\"]\n\
         [queue]\nretry = [\"1s\", \"1h\"]\n[remote]\ntls = \"encrypt\"\nrelay_host = \"[::1]:2525\"\nresolver = \"127.0.0.1:5353\"\nsource = [\"192.0.2.9\"]\n\
         [users]\nmaildir = \"~/mail/in\"\n",
    );
    assert_eq!(config.postmaster.as_deref(), Some("al"));
    assert_eq!(config.smtp.max_message_size.octets(), 1 << 30);
    assert_eq!(config.smtp.command_timeout, Duration::from_secs(90));
    assert!(!config.smtp.may_relay("127.0.0.1".parse().unwrap()));
    assert_eq!(
        config.queue.retry,
        [Duration::from_secs(1), Duration::from_secs(3_600)]
    );
    assert_eq!(config.remote.tls, RemoteTls::Encrypt);
    assert_eq!(config.remote.relay_host.unwrap().to_string(), "[::1]:2525");
    assert_eq!(
        config.remote.resolver,
        Some("127.0.0.1:5353".parse().unwrap())
    );
    assert_eq!(config.remote.source.v4, Some("192.0.2.9".parse().unwrap()));
    assert_eq!(
        config.users.maildir_of(Path::new("/home/al")),
        Path::new("/home/al/mail/in")
    );
    let empty = with("[remote]\nrelay_host = \"\"\nresolver = \"\"\n");
    assert!(empty.remote.relay_host.is_none() && empty.remote.resolver.is_none());
}

#[test]
fn all_errors_at_once() {
    let text = "hostnme = \"x\"\ndomains = \"example.org\"\n[smtp]\n  max_errors = \"ten\"\nmax_mesage_size = 5\n[nonsense]\nx = 1\n";
    assert_eq!(
        bad(text),
        " hostname is missing, expected this host's full name, like \"mail.example.org\"\n\
         1:1: unknown setting hostnme, did you mean hostname?\n\
         2:11: domains: found the text \"example.org\", expected a list, each element a domain name, like \"example.org\"\n\
         4:16: smtp.max_errors: found the text \"ten\", expected a number from 1 to 1000\n\
         5:1: unknown setting smtp.max_mesage_size, did you mean max_message_size?\n\
         6:2: unknown setting nonsense, expected one of: ban, domains, hostname, listen, log, paths, pop3, postmaster, queue, remote, roles, root, smtp, tls, users"
    );
}

#[test]
fn each_refusal() {
    for (more, expected) in [
        ("hostname = 1\n", "duplicate key"),
        (
            "root = 1\n",
            "3:8: root: found the number 1, expected a path",
        ),
        (
            "root = \"\"\n",
            "3:8: root: found the text \"\", expected a path",
        ),
        (
            "postmaster = \"a/b\"\n",
            "3:14: postmaster: found the text \"a/b\", expected the name of a mailbox",
        ),
        (
            "[roles]\nsmtp = \"root\"\n",
            "4:8: roles.smtp: found the text \"root\", expected a user name other than root",
        ),
        (
            "[roles]\nsmtp = \"hk-pop3\"\n",
            "roles.pop3: hk-pop3 is also the user of smtp",
        ),
        (
            "[smtp]\nmax_recipients = 99\n",
            "4:18: smtp.max_recipients: found the number 99, expected a number from 100 to 50000",
        ),
        (
            "[smtp]\nmax_recipients = 50001\n",
            "expected a number from 100 to 50000",
        ),
        (
            "[smtp]\nmax_errors = 99999999999999999999\n",
            "found a number beyond 64 bits",
        ),
        (
            "[smtp]\nmax_errors = 1.5\n",
            "found a number with a fraction",
        ),
        ("[smtp]\nmax_errors = 2020-01-01\n", "found a date or time"),
        (
            "[smtp]\nmax_message_size = \"50 M\"\n",
            "expected a size from \"64K\" to \"4G\"",
        ),
        (
            "[smtp]\ncommand_timeout = 300\n",
            "found the number 300, expected a time from \"1s\" to \"1h\"",
        ),
        (
            "[smtp]\nrelay_from = [\"192.0.2.1/24\", 7, \"::1\"]\n",
            "4:15: smtp.relay_from: found the text \"192.0.2.1/24\", expected a network, like \"192.0.2.0/24\" (no bits set behind the prefix)\n4:31: smtp.relay_from: found the number 7",
        ),
        (
            "[smtp]\nrelay_from = [\"0.0.0.0/0\"]\n",
            "makes an open relay",
        ),
        (
            "smtp = 5\n",
            "3:8: smtp: found the number 5, expected a table: [smtp]",
        ),
        (
            "[listen]\nmx = [\"25\"]\n",
            "4:7: listen.mx: found the text \"25\", expected an address and port",
        ),
        (
            "[listen]\nsubmission = [\"[::]:587\"]\n",
            "4:14: listen.submission: needs TLS",
        ),
        ("[listen]\nsubmissions = [\"[::]:465\"]\n", "needs TLS"),
        ("[listen]\npop3s = [\"[::]:995\"]\n", "needs TLS"),
        (
            "[listen]\nmx = [\"[::]:25\", \"[::]:25\"]\n",
            "4:18: listen.mx: [::]:25 is also in listen.mx",
        ),
        (
            "[listen]\nmx = [\"[::]:25\"]\npop3 = [\"[::]:25\"]\n",
            "5:9: listen.pop3: [::]:25 is also in listen.mx",
        ),
        ("[listen]\nlocal = \"yes\"\n", "expected true or false"),
        (
            "[[tls.certificate]]\nkey = \"k\"\n",
            "3:1: tls.certificate.chain: is missing",
        ),
        (
            "[[tls.certificate]]\nchain = \"c\"\nkye = \"k\"\n",
            "5:1: unknown setting tls.certificate.kye, did you mean key?",
        ),
        (
            "[queue]\nretry = []\n",
            "4:9: queue.retry: found an empty list",
        ),
        (
            "[queue]\nretry = [\"1d\"]\nlifetime = \"1h\"\n",
            "5:12: queue.lifetime: is shorter than the first wait",
        ),
        ("[remote]\nport = 0\n", "expected a number from 1 to 65535"),
        (
            "[remote]\nrelay_host = \"relay\"\n",
            "expected a host and port",
        ),
        (
            "[remote]\nresolver = \"127.0.0.1\"\n",
            "expected an address and port",
        ),
        (
            "[remote]\nsource = [\"192.0.2.1\", \"192.0.2.2\"]\n",
            "4:24: remote.source: 192.0.2.2 is a second address",
        ),
        (
            "[remote]\ntls = \"yes\"\n",
            "found the text \"yes\", expected one of \"may\", \"none\", \"encrypt\"",
        ),
        (
            "[remote]\nconcurrency = 5\nper_destination = 6\n",
            "5:19: remote.per_destination: is more than",
        ),
        (
            "[users]\nfirst_uid = 999\n",
            "expected a number from 1000 to",
        ),
        (
            "[users]\nfirst_uid = 5000\nlast_uid = 4000\n",
            "5:12: users.last_uid: found 4000, expected at least users.first_uid, 5000",
        ),
        (
            "[users]\nmaildir = \"/var/mail\"\n",
            "expected a place in the home",
        ),
        (
            "[users]\nmaildir = \"~/../x\"\n",
            "expected a place in the home",
        ),
        (
            "[users]\npasswords = \"users\"\n",
            "4:13: users.passwords: is the same file as users.file",
        ),
        (
            "[log]\nlevel = \"loud\"\n",
            "expected one of \"error\", \"warning\", \"info\", \"debug\"",
        ),
        ("[ban]\nx = 1\n", "4:1: unknown setting ban.x"),
        ("ban = 1\n", "expected a table: [ban]"),
    ] {
        let found = bad_with(more);
        assert!(
            found.contains(expected),
            "{more}\n found: {found}\n wanted: {expected}"
        );
    }
    assert!(bad("hostname=\"a.b\"\ndomains=[]\n").contains("expected at least one domain"));
    assert!(
        bad("hostname=\"a.b\"\ndomains=[\"X.org\",\"x.ORG.\"]\n")
            .contains("2:18: domains: x.org stands here twice")
    );
    assert!(bad("hostname=\"192.0.2.1\"\ndomains=[\"x.org\"]\n").contains("1:10: hostname"));
    assert!(bad("").contains("hostname is missing"));
}

#[test]
fn numbers_hold_at_their_ends() {
    for (key, low, high) in [
        ("max_recipients", 100, 50_000),
        ("max_sessions", 1, 100_000),
        ("max_errors", 1, 1_000),
    ] {
        for (value, fits) in [
            (low - 1, false),
            (low, true),
            (low + 1, true),
            (high - 1, true),
            (high, true),
            (high + 1, false),
        ] {
            let text = format!("{SHORTEST}[smtp]\n{key} = {value}\n");
            assert_eq!(
                Config::parse(&text, Path::new(FILE)).is_ok(),
                fits,
                "{key} {value}"
            );
        }
    }
    for (value, fits) in [
        (65_535, false),
        (65_536, true),
        (4u64 << 30, true),
        ((4 << 30) + 1, false),
    ] {
        let text = format!("{SHORTEST}[smtp]\nmax_message_size = {value}\n");
        assert_eq!(
            Config::parse(&text, Path::new(FILE)).is_ok(),
            fits,
            "{value}"
        );
    }
}

#[test]
fn a_syntax_error_hides_only_its_own_line() {
    let found = bad(
        "hostname = mail.example.org\ndomains = [\"example.org\"]\n[smtp]\nmax_errors = \"x\"\n",
    );
    assert!(found.starts_with("1:12: not TOML"), "{found}");
    assert!(found.contains("4:14: smtp.max_errors"), "{found}");
    assert!(!found.contains("missing"), "{found}");
}

#[test]
fn loading() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hikyaku.toml");
    let error = Config::load(&file).unwrap_err().to_string();
    assert!(
        error.contains("hikyaku.toml: cannot be read: No such file"),
        "{error}"
    );
    std::fs::write(&file, SHORTEST).unwrap();
    let config = Config::load(&file).unwrap();
    assert_eq!(config.users.file, dir.path().join("users"));
    let mut long = SHORTEST.as_bytes().to_vec();
    long.resize(crate::FILE_MAX as usize, b'\n');
    std::fs::write(&file, &long).unwrap();
    assert!(Config::load(&file).is_ok());
    long.push(b'\n');
    std::fs::write(&file, &long).unwrap();
    assert!(
        Config::load(&file)
            .unwrap_err()
            .to_string()
            .contains("larger than 1M")
    );
    std::fs::write(&file, b"\xff").unwrap();
    assert!(
        Config::load(&file)
            .unwrap_err()
            .to_string()
            .contains("not UTF-8")
    );
}

/// Full names of all settings.
fn keys() -> Vec<String> {
    let text = format!("{SHORTEST}[[tls.certificate]]\nchain = \"c\"\n");
    let (_, mut keys) = parse(&text, Path::new(FILE)).unwrap();
    keys.sort();
    keys
}

fn tree_file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every sample parses, and says nothing but the defaults.
#[test]
fn samples_parse() {
    let text = tree_file("etc/hikyaku.toml");
    let sample = good(&text);
    assert_eq!(sample.hostname, "mail.example.org");
    // With every commented setting switched on it still parses and changes nothing that has
    // a default, which keeps the sample's defaults true.
    let open: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') && !rest.is_empty() => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let (open, _) = parse(&open, Path::new(FILE)).unwrap();
    let (mut plain, _) = parse(
        &format!(
            "{SHORTEST}[[tls.certificate]]\nchain = \"tls/mail.pem\"\nkey = \"tls/mail.key\"\n"
        ),
        Path::new(FILE),
    )
    .unwrap();
    plain.postmaster.clone_from(&open.postmaster);
    plain.root.clone_from(&open.root);
    // Only banwatch knows what the values of this table mean: a test there compares them.
    plain.ban = open.ban.clone();
    assert_eq!(format!("{open:#?}"), format!("{plain:#?}"));
    for key in keys() {
        let last = key.rsplit('.').next().unwrap();
        assert!(text.contains(last), "etc/hikyaku.toml does not name {key}");
    }
}

#[test]
fn the_single_user_sample_parses() {
    let sample = good(&tree_file("etc/hikyaku-single-user.toml"));
    assert_eq!(sample.root.as_deref(), Some(Path::new("/home/al/mail")));
}

#[test]
fn the_man_page_names_every_setting() {
    let page = tree_file("man/hikyaku.toml.5");
    for key in keys() {
        let (table, last) = key.rsplit_once('.').unwrap_or(("", &key));
        let head = if table.is_empty() {
            "Ss Top".to_owned()
        } else {
            format!("[{table}]")
        };
        let at = page
            .find(&head)
            .unwrap_or_else(|| panic!("no section {head}"));
        let section = page[at..].split(".Ss").next().unwrap();
        let section = if table.is_empty() {
            page[at + 3..].split(".Ss").next().unwrap()
        } else {
            section
        };
        assert!(
            section.contains(&format!(".It Ic {last}\n")) || page.contains(&format!("[{key}]")),
            "hikyaku.toml.5 does not name {key}"
        );
    }
}

#[test]
fn nesting_and_repetition_are_bounded() {
    for text in [
        "a=[".repeat(100_000),
        "[".repeat(100_000),
        "a={b=".repeat(50_000),
        "a.".repeat(100_000),
    ] {
        assert!(!bad(&text).is_empty());
    }
}

proptest! {
    #[test]
    fn any_text_is_survived(text in "\\PC{0,200}") {
        let _ = Config::parse(&text, Path::new(FILE));
    }

    #[test]
    fn any_setting_is_survived(
        lines in proptest::collection::vec(
            ("(hostname|domains|root|\\[smtp\\]|\\[\\[tls.certificate\\]\\]|chain|max_errors|retry|\\[queue\\]|x.y)",
             "( = (1|-7|\"5m\"|\"a.b\"|\\[\\]|\\[1,\"a\"\\]|\\{\\}|true|1979-05-27))?"), 0..8),
    ) {
        let text: String = lines.iter().map(|(key, value)| format!("{key}{value}\n")).collect();
        match Config::parse(&text, Path::new(FILE)) {
            Ok(config) => prop_assert!(!config.domains.is_empty()),
            Err(problems) => {
                let count = text.lines().count() as u32 + 1;
                prop_assert!(problems.list.iter().all(|p| p.at.is_none_or(|at| at.line <= count)));
            }
        }
    }
}

#[test]
fn banwatch_does_without_a_configuration() {
    let here = tempfile::tempdir().unwrap();
    let missing = here.path().join("hikyaku.toml");
    let said = Config::load_for_bans(&missing).unwrap_err().to_string();
    assert!(said.contains("cannot be read"), "{said}");
    // Only the place that nobody named may be empty.
    let built_in = Path::new(crate::FILE);
    if !built_in.exists() {
        let config = Config::load_for_bans(built_in).unwrap();
        assert_eq!(config.paths.run, Path::new("/run/hikyaku"));
        assert!(config.root.is_none());
    }
}
