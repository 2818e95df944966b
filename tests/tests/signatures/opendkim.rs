//! The opendkim daemon, one for each way to sign; each verifies as well.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::milter::{Filtered, filter};

/// From here messages are signed; from anywhere else they are verified.
pub const INSIDE: &str = "192.0.2.77";
const OUTSIDE: &str = "192.0.2.1";

pub struct OpenDkim {
    child: Child,
    socket: PathBuf,
}

impl OpenDkim {
    /// Starts one that signs for `domain` with one key in these forms (`relaxed/simple`).
    pub fn start(
        directory: &Path,
        name: &str,
        dns: SocketAddr,
        (domain, selector, key): (&str, &str, &Path),
        forms: &str,
    ) -> Self {
        let place = directory.join(format!("opendkim-{name}"));
        fs::create_dir(&place).unwrap();
        let socket = place.join("socket");
        let algorithm = match selector {
            "ed" => "ed25519-sha256",
            _ => "rsa-sha256",
        };
        let mut text = format!(
            "Mode sv\nBackground no\nSyslog no\nSocket local:{}\nDomain {domain}\nSelector {selector}\n\
             KeyFile {}\nSignatureAlgorithm {algorithm}\nCanonicalization {forms}\nOversignHeaders From\n\
             InternalHosts {}\nAuthservID oracle.example\nAlwaysAddARHeader yes\nRequireSafeKeys no\n",
            socket.display(),
            key.display(),
            place.join("inside").display(),
        );
        let _ = writeln!(text, "Nameservers {}@{}", dns.ip(), dns.port());
        fs::write(place.join("inside"), format!("{INSIDE}\n")).unwrap();
        fs::write(place.join("conf"), text).unwrap();
        let log = fs::File::create(place.join("log")).unwrap();
        let child = Command::new("opendkim")
            .args(["-f", "-x"])
            .arg(place.join("conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, socket }
    }

    /// The message with its signature.
    pub fn sign(&self, message: &str) -> String {
        let Filtered { fields, last } = filter(&self.socket, INSIDE, message);
        assert!(
            fields.contains("DKIM-Signature:"),
            "not signed: {last} {fields}"
        );
        fields + message
    }

    /// What it writes about a message's signatures: the value of Authentication-Results.
    pub fn verify(&self, message: &str) -> String {
        let filtered = filter(&self.socket, OUTSIDE, message);
        filtered
            .fields
            .split_once("Authentication-Results:")
            .unwrap_or_else(|| panic!("{filtered:?}"))
            .1
            .to_owned()
    }
}

impl Drop for OpenDkim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
