//! The way to this host: mail exchanger records, addresses, names of the addresses.

use std::net::{IpAddr, Ipv6Addr};

use sender_auth::lookup::{Answer, Question, Record};

use super::{Doctor, Word};
use crate::own_dns::address_record;

impl Doctor<'_> {
    pub(super) fn mail_hosts(&mut self) {
        let mend = self.own.mx();
        let records = match self.resolver.ask(&Question::Mx(self.own.domain.clone())) {
            Answer::TempFail => return self.say(Word::Unknown, "mx", "no answer", None),
            Answer::NoData | Answer::NxDomain => {
                return self.say(Word::Bad, "mx", "no record", Some(mend));
            }
            Answer::Records(records) => records,
        };
        let mut hosts: Vec<(u16, String)> = records
            .into_iter()
            .filter_map(|record| match record {
                Record::Mx { preference, host } => Some((preference, host.to_ascii_lowercase())),
                _ => None,
            })
            .collect();
        hosts.sort();
        let domain = self.own.domain.clone();
        let record =
            |(preference, host): &(u16, String)| format!("{domain}. IN MX {preference} {host}.");
        // RFC 7505: a sole MX whose host is the root.
        let (null, hosts): (Vec<_>, Vec<_>) =
            hosts.into_iter().partition(|(_, host)| host.is_empty());
        if let Some((preference, _)) = null.first() {
            let found = match hosts.is_empty() {
                true => "a null MX: the domain says that it takes no mail",
                false => "a null MX beside others",
            };
            let instead = match hosts.is_empty() {
                true => format!("; in its place {mend}"),
                false => String::new(),
            };
            let mend = format!("take out `{domain}. IN MX {preference} .`{instead}");
            self.say(Word::Bad, "mx", found, Some(mend));
            if hosts.is_empty() {
                return;
            }
        }
        let names: Vec<String> = hosts.iter().map(|(_, host)| host.clone()).collect();
        match names.contains(&self.own.host) {
            true => self.say(Word::Ok, "mx", names.join(", "), None),
            false => {
                let found = format!("{}: not this host", names.join(", "));
                self.say(Word::Bad, "mx", found, Some(mend));
            }
        }
        for one in &hosts {
            self.mail_host(&one.1, &record(one));
        }
        self.mail_hosts = names;
    }

    /// One host that an MX record names. Whether ours has an address is a check of its own.
    fn mail_host(&mut self, host: &str, record: &str) {
        let own = host == self.own.host;
        if host.parse::<IpAddr>().is_ok() {
            let found = format!("{host} is an address where a name has to stand");
            let mend = format!("take out `{record}`; {}", self.own.mx());
            return self.say(Word::Bad, "mx", found, Some(mend));
        }
        if let Some(target) = self.resolver.alias(&Question::A(host.to_owned())) {
            let found = format!("{host} is an alias of {target}, where no alias may stand");
            let mend = match own {
                true => format!(
                    "take out `{host}. IN CNAME {target}.` and give {host} its own address records"
                ),
                false => format!(
                    "in the place of `{record}`: {}",
                    record.replace(host, &target)
                ),
            };
            return self.say(Word::Bad, "mx", found, Some(mend));
        }
        if own {
            return;
        }
        match self.addresses_of(host) {
            None => self.say(Word::Unknown, "mx", format!("{host}: no answer"), None),
            Some(found) if found.is_empty() => {
                let mend = format!("take out `{record}`, or give {host} an address record");
                self.say(
                    Word::Bad,
                    "mx",
                    format!("{host} has no address"),
                    Some(mend),
                );
            }
            Some(_) => {}
        }
    }

    /// The addresses of this host's name; those given on the command line must be among them.
    pub(super) fn addresses(&mut self, given: &[IpAddr]) -> Vec<IpAddr> {
        let host = self.own.host.clone();
        let Some(published) = self.addresses_of(&host) else {
            self.say(Word::Unknown, "address", "no answer", None);
            return given.to_vec();
        };
        let missing: Vec<IpAddr> = given
            .iter()
            .filter(|ip| !published.contains(ip))
            .copied()
            .collect();
        if published.is_empty() || !missing.is_empty() {
            let mend = self.own.addresses(&missing).join("\n");
            let found = match missing.is_empty() {
                true => format!("{host} has no address record"),
                false => format!(
                    "{host} lacks {}",
                    missing
                        .iter()
                        .map(IpAddr::to_string)
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
            };
            self.say(Word::Bad, "address", found, Some(mend));
        } else {
            let list: Vec<String> = published.iter().map(IpAddr::to_string).collect();
            self.say(Word::Ok, "address", list.join(", "), None);
        }
        for ip in &published {
            let record = address_record(&host, *ip);
            if !is_public(*ip) {
                let found = format!("{host} has {ip}, which nobody outside reaches");
                let mend = format!("take out `{record}`");
                self.say(Word::Bad, "address", found, Some(mend));
            } else if !given.is_empty() && !given.contains(ip) {
                let found = format!("{host} also has {ip}, which --ip did not name");
                let mend = format!("take out `{record}` unless the address is this host's");
                self.say(Word::Note, "address", found, Some(mend));
            }
        }
        match given.is_empty() {
            true => published,
            false => given.to_vec(),
        }
    }

    /// The name of an address has to lead back to it.
    pub(super) fn reverse(&mut self, ip: IpAddr) {
        let mend = Some(format!(
            "let whoever gave you {ip} set {}",
            self.own.reverse(ip)
        ));
        let records = match self.resolver.ask(&Question::Ptr(ip)) {
            Answer::TempFail => {
                return self.say(Word::Unknown, "reverse", format!("{ip}: no answer"), None);
            }
            Answer::NoData | Answer::NxDomain => {
                return self.say(Word::Bad, "reverse", format!("{ip} has no name"), mend);
            }
            Answer::Records(records) => records,
        };
        let names: Vec<String> = records
            .into_iter()
            .filter_map(|record| match record {
                Record::Ptr(name) => Some(name.to_ascii_lowercase()),
                _ => None,
            })
            .collect();
        let found = format!("{ip} is {}", names.join(", "));
        // Receivers try a few names only.
        let mut confirmed = None;
        let mut unknown = false;
        for name in names.iter().take(10) {
            match self.addresses_of(name) {
                None => unknown = true,
                Some(list) if list.contains(&ip) => confirmed = Some(name.clone()),
                Some(_) => {}
            }
            if confirmed.as_ref() == Some(&self.own.host) {
                break;
            }
        }
        let own = names.contains(&self.own.host);
        match confirmed {
            Some(name) if name == self.own.host => self.say(Word::Ok, "reverse", found, None),
            None if unknown => {
                let found = format!("{found}: no answer for the addresses of that name");
                self.say(Word::Unknown, "reverse", found, None);
            }
            None if own => {
                let found = format!("{found}, but {} is not {ip}", self.own.host);
                let mend = address_record(&self.own.host, ip);
                self.say(Word::Bad, "reverse", found, Some(mend));
            }
            None => {
                let found = format!("{found}, which does not lead back to {ip}");
                self.say(Word::Bad, "reverse", found, mend);
            }
            Some(_) => {
                let found = format!("{found}, not {} as this host calls itself", self.own.host);
                self.say(Word::Note, "reverse", found, mend);
            }
        }
    }
}

/// Whether mail from elsewhere can reach an address.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let shared = matches!(ip.octets(), [100, 64..=127, ..]);
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_broadcast()
                || ip.is_multicast()
                || shared)
        }
        IpAddr::V6(ip) => {
            let local = ip.is_unique_local() || ip.is_unicast_link_local();
            let mapped = ip.to_ipv4_mapped().is_some();
            !(local
                || mapped
                || ip.is_loopback()
                || ip.is_multicast()
                || ip == Ipv6Addr::UNSPECIFIED)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reachable_from_outside() {
        for (ip, public) in [
            ("192.0.2.1", true),
            ("10.0.0.1", false),
            ("172.31.0.1", false),
            ("172.32.0.1", true),
            ("192.168.1.1", false),
            ("127.0.0.2", false),
            ("169.254.1.1", false),
            ("100.63.0.1", true),
            ("100.64.0.1", false),
            ("100.127.0.1", false),
            ("100.128.0.1", true),
            ("0.0.0.0", false),
            ("2001:db8::1", true),
            ("::1", false),
            ("::", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("::ffff:192.0.2.1", false),
        ] {
            assert_eq!(is_public(ip.parse().unwrap()), public, "{ip}");
        }
    }
}
