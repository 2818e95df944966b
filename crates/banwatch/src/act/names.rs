//! Host names: to addresses for logs and `ignoreip`, and back for `<ip-host>`.

use std::net::IpAddr;
use std::sync::Arc;

use dns::blocking::Client;
use dns::{Kind, Name, Outcome, Question, Records, Settings};

use super::wire::ADDRESSES_MAX;

/// Where the host's own names stand.
pub const HOSTS_FILE: &str = "/etc/hosts";
/// Longest such file that is read, in octets.
const HOSTS_MAX: usize = 1 << 20;
/// Look-ups that may wait. Beyond this the answer is that nobody knows.
pub const LOOKUPS_MAX: usize = 1_000;
/// Look-ups at once.
pub const LOOKUPS_AT_ONCE: usize = 4;

/// Addresses and names of `/etc/hosts` (hosts(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(Vec<(IpAddr, Vec<String>)>);

impl Hosts {
    /// Reads the file's text; lines that make no sense are passed over.
    #[must_use]
    pub fn parse(text: &[u8]) -> Hosts {
        let text = String::from_utf8_lossy(text.get(..text.len().min(HOSTS_MAX)).unwrap_or(&[]));
        let line = |l: &str| {
            let mut words = l.split('#').next()?.split_ascii_whitespace();
            let ip: IpAddr = words.next()?.parse().ok()?;
            let names: Vec<String> = words.map(normal).collect();
            (!names.is_empty()).then_some((ip, names))
        };
        Hosts(text.lines().filter_map(line).collect())
    }

    fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let name = normal(name);
        let of = self.0.iter().filter(|(_, names)| names.contains(&name));
        of.map(|(ip, _)| *ip).take(ADDRESSES_MAX).collect()
    }

    fn name(&self, ip: IpAddr) -> Option<&str> {
        let found = self.0.iter().find(|(i, _)| *i == ip)?;
        found.1.first().map(String::as_str)
    }
}

fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// What is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The addresses of a name, for this question of watch's.
    Addresses(u32, String),
    /// The name of an address, for this command.
    Host(u64, IpAddr),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Addresses; none when there are none or nobody knows.
    Addresses(u32, Vec<IpAddr>),
    /// A name; empty when there is none or nobody knows.
    Host(u64, String),
}

/// One look-up, carried out by a thread of its own.
#[derive(Clone, Debug)]
pub struct Job {
    /// What.
    pub wanted: Wanted,
    /// Names of the host's own file.
    pub hosts: Arc<Hosts>,
    /// Whom to ask about others.
    pub settings: Settings,
}

/// Carries it out. Waits for the network, for [`dns::LOOKUP_DEADLINE`] each question at most.
#[must_use]
pub fn look_up(job: Job) -> Found {
    match job.wanted {
        Wanted::Addresses(number, name) => {
            let mut all = job.hosts.addresses(&name);
            if all.is_empty() {
                all = ask_addresses(&name, job.settings);
            }
            all.truncate(ADDRESSES_MAX);
            Found::Addresses(number, all)
        }
        Wanted::Host(number, ip) => {
            let name = match job.hosts.name(ip) {
                Some(name) => name.to_owned(),
                None => ask_name(ip, job.settings),
            };
            Found::Host(number, name)
        }
    }
}

fn ask_addresses(name: &str, settings: Settings) -> Vec<IpAddr> {
    let Ok(name) = Name::parse(name) else {
        return Vec::new();
    };
    let mut client = Client::new(settings);
    let mut all: Vec<IpAddr> = Vec::new();
    for kind in [Kind::A, Kind::Aaaa] {
        let answer = client.lookup(&Question::new(name.clone(), kind));
        match &answer.outcome {
            Outcome::Records(Records::A(list)) => all.extend(list.iter().map(|a| IpAddr::from(*a))),
            Outcome::Records(Records::Aaaa(list)) => {
                all.extend(list.iter().map(|a| IpAddr::from(*a).to_canonical()));
            }
            _ => {}
        }
    }
    all
}

fn ask_name(ip: IpAddr, settings: Settings) -> String {
    let question = Question::new(Name::reverse(ip), Kind::Ptr);
    match &Client::new(settings).lookup(&question).outcome {
        Outcome::Records(Records::Ptr(list)) => list
            .first()
            .map_or(String::new(), |n| n.as_str().to_owned()),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_file_comes_first() {
        let hosts = Hosts::parse(
            b"127.0.0.1 localhost\n192.0.2.7\tmx.A.example mx # the mail host\n::1 localhost\nnonsense\n192.0.2.8\n#192.0.2.9 x\n",
        );
        let hosts = Arc::new(hosts);
        let settings = Settings::new(vec!["127.0.0.1:9".parse().unwrap()]);
        let job = |wanted| Job {
            wanted,
            hosts: Arc::clone(&hosts),
            settings: settings.clone(),
        };
        let ask = |n: &str| look_up(job(Wanted::Addresses(1, n.to_owned())));
        let ip = |t: &str| t.parse::<IpAddr>().unwrap();
        assert_eq!(ask("MX."), Found::Addresses(1, vec![ip("192.0.2.7")]));
        assert_eq!(
            ask("localhost"),
            Found::Addresses(1, vec![ip("127.0.0.1"), ip("::1")])
        );
        assert_eq!(ask("not a name"), Found::Addresses(1, vec![]));
        let back = look_up(job(Wanted::Host(2, ip("192.0.2.7"))));
        assert_eq!(back, Found::Host(2, "mx.a.example".to_owned()));
    }
}
