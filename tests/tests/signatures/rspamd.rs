//! The rspamd daemon with what it says about authorship, asked over HTTP.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use testkit::{PATIENCE, Ports};

const PLUGINS: &str = "/usr/share/rspamd/plugins";

/// A key that it signs with.
pub struct Key<'a> {
    pub domain: &'a str,
    pub selector: &'a str,
    pub path: &'a Path,
}

pub struct Rspamd {
    child: Child,
    address: SocketAddr,
    _ports: Ports,
}

/// Where a message comes from.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    pub ip: &'a str,
    pub mail_from: &'a str,
    pub rcpt: &'a str,
    /// A login, for which it signs.
    pub user: Option<&'a str>,
}

impl Rspamd {
    /// Starts it and waits until it listens. `sign` for mail from users, `seal` for mail to the
    /// domain of that key.
    pub fn start(directory: &Path, dns: SocketAddr, sign: &[Key<'_>], seal: &Key<'_>) -> Self {
        let place = directory.join("rspamd");
        fs::create_dir(&place).unwrap();
        let mut ports = Ports::new();
        let address = SocketAddr::from(([127, 0, 0, 1], ports.take()));
        fs::write(place.join("suffixes"), "example\n").unwrap();
        let at = |name: &str| place.join(name).display().to_string();
        let modules = ["arc", "dkim_signing", "dmarc", "spf"]
            .map(|name| format!("path = \"{PLUGINS}/{name}.lua\";"))
            .join(" ");
        let mut domains = String::new();
        for key in sign {
            let _ = write!(
                domains,
                "\"{}\" {{ selector = \"{}\"; path = \"{}\"; }} ",
                key.domain,
                key.selector,
                key.path.display()
            );
        }
        let config = format!(
            "options {{ filters = \"dkim\"; pidfile = \"{}\"; tempdir = \"{}\"; control_socket = \"{} mode=0600\";\n\
             cache_file = \"{}\"; history_file = \"{}\"; hs_cache_dir = \"{}\"; url_tld = \"{}\";\n\
             local_addrs = \"192.0.2.200\"; dns {{ nameserver = [\"{}:{}:1\"]; timeout = 10s; }} task_timeout = 30s; }}\n\
             logging {{ type = \"console\"; level = \"info\"; }}\n\
             worker \"normal\" {{ bind_socket = \"{address}\"; count = 1; }}\n\
             modules {{ {modules} }}\n\
             dkim {{ }} spf {{ }} dmarc {{ }}\n\
             dkim_signing {{ sign_authenticated = true; use_esld = false; use_domain = \"header\";\n\
               allow_username_mismatch = true; domain {{ {domains} }} }}\n\
             arc {{ sign_inbound = true; sign_local = true; sign_authenticated = false; use_esld = false;\n\
               use_domain = \"recipient\"; allow_hdrfrom_mismatch = true; allow_username_mismatch = true;\n\
               domain {{ \"{}\" {{ selector = \"{}\"; path = \"{}\"; }} }} }}\n",
            at("pid"),
            place.display(),
            at("control"),
            at("cache"),
            at("history"),
            at(""),
            at("suffixes"),
            dns.ip(),
            dns.port(),
            seal.domain,
            seal.selector,
            seal.path.display(),
        );
        fs::write(place.join("conf"), config).unwrap();
        let mut child = Command::new("rspamd")
            .args(["-f", "-i", "-c"])
            .arg(place.join("conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It listens before it makes its worker, and says the latter.
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = Vec::new();
        loop {
            let Some(Ok(line)) = lines.next() else {
                panic!("rspamd ended: {}", seen.join("\n"));
            };
            let ready = line.contains("prepare to fork process normal");
            seen.push(line);
            if ready {
                break;
            }
        }
        let file = place.join("log");
        std::thread::spawn(move || {
            let mut log = fs::File::create(file).unwrap();
            for line in seen.into_iter().chain(lines.map_while(Result::ok)) {
                let _ = writeln!(log, "{line}");
            }
        });
        Self {
            child,
            address,
            _ports: ports,
        }
    }

    /// What it finds.
    pub fn scan(&self, client: Client<'_>, message: &str) -> Scan {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let user = client
            .user
            .map_or(String::new(), |user| format!("User: {user}\r\n"));
        let (_, helo) = client.mail_from.rsplit_once('@').unwrap();
        write!(
            stream,
            "POST /checkv2 HTTP/1.0\r\nIP: {}\r\nHelo: {helo}\r\nFrom: {}\r\nRcpt: {}\r\n{user}Content-Length: {}\r\n\r\n{message}",
            client.ip,
            client.mail_from,
            client.rcpt,
            message.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").expect(&answer);
        Scan {
            found: serde_json::from_str(body).expect(&answer),
        }
    }
}

impl Drop for Rspamd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer.
#[derive(Debug)]
pub struct Scan {
    found: Value,
}

impl Scan {
    /// Whether it found this.
    pub fn has(&self, symbol: &str) -> bool {
        self.found["symbols"].get(symbol).is_some()
    }

    /// The signatures that it found good: `us.example:s=rsa`.
    pub fn good(&self) -> Vec<String> {
        let list = self.found["symbols"]["R_DKIM_ALLOW"]["options"].as_array();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut good: Vec<String> = list.into_iter().flatten().map(text).collect();
        good.sort();
        good
    }

    /// The message with the signatures that it made.
    pub fn signed(&self, message: &str) -> String {
        let value = &self.found["dkim-signature"];
        let one = |value: &Value| format!("DKIM-Signature: {}\r\n", value.as_str().unwrap());
        let fields: String = match value {
            Value::Array(list) => list.iter().map(one).collect(),
            Value::String(_) => one(value),
            _ => panic!("not signed: {self:?}"),
        };
        fields + message
    }

    /// The message with the ARC set that it made.
    pub fn sealed(&self, message: &str) -> String {
        let fields: String = [
            "ARC-Seal",
            "ARC-Message-Signature",
            "ARC-Authentication-Results",
        ]
        .iter()
        .map(|name| {
            let value = &self.found["milter"]["add_headers"][name]["value"];
            format!(
                "{name}: {}\r\n",
                value
                    .as_str()
                    .unwrap_or_else(|| panic!("no {name}: {self:?}"))
            )
        })
        .collect();
        fields + message
    }
}
