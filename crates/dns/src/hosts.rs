//! Which hosts take mail for a domain, in which order (RFC 5321, 5.1; RFC 7505).

use std::fmt;
use std::net::IpAddr;

use crate::{Answer, Name, Outcome, Records, Trouble};

/// Most mail hosts of one domain that are considered: the best ones. Everything beyond would cost
/// time, not help.
pub const HOSTS_MAX: usize = 20;

/// One mail host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub name: Name,
    /// Its preference; 0 for the implicit one.
    pub preference: u16,
}

/// The mail hosts of a domain in the order in which they are to be tried, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// The hosts.
    pub hosts: Vec<Host>,
    /// Whether there was no MX record, so that the domain itself is its host.
    pub implicit: bool,
    /// Whether the answer that named them is proven (see [`Answer::authentic`]).
    pub authentic: bool,
}

/// Who this host is for others: what makes a mail host one that we must not send to, because the
/// mail would come back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ourselves {
    /// The names under which it takes mail.
    pub names: Vec<Name>,
    /// The addresses at which it takes mail, as others see them.
    pub addresses: Vec<IpAddr>,
    /// Whether it takes mail at the loopback addresses, too.
    pub loopback: bool,
}

impl Ourselves {
    /// Whether a connection to this address would reach ourselves.
    pub fn is_at(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        (self.loopback && address.is_loopback()) || self.addresses.contains(&address)
    }
}

/// Why mail for a domain has nowhere to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteError {
    /// The domain does not exist. For good, 5.1.2.
    NoDomain,
    /// The domain has neither MX nor address. For good, 5.4.4.
    NoHost,
    /// The domain says that it takes no mail (RFC 7505). For good, 5.1.10.
    NullMx,
    /// The best mail host is ourselves, and we do not take the domain as ours. For good, 5.4.6.
    Ourselves,
    /// It can't be known now. Later again, 4.4.3.
    Temporary(Trouble),
}

impl RouteError {
    /// Whether trying later can help.
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::Temporary(_))
    }

    /// The enhanced status code (RFC 3463; 5.1.10 of RFC 7505).
    pub const fn status(self) -> &'static str {
        match self {
            Self::NoDomain => "5.1.2",
            Self::NoHost => "5.4.4",
            Self::NullMx => "5.1.10",
            Self::Ourselves => "5.4.6",
            Self::Temporary(_) => "4.4.3",
        }
    }

    /// Words for a log line or a report.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoDomain => "domain does not exist",
            Self::NoHost => "domain has no mail host with an address",
            Self::NullMx => "domain does not accept mail",
            Self::Ourselves => "mail for this domain would come back to this host",
            Self::Temporary(trouble) => trouble.as_str(),
        }
    }
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for RouteError {}

/// The mail hosts of `domain` from the answer to its MX question.
///
/// Hosts of equal preference come in random order, drawn from `random`. When one of the hosts is
/// `own`, it and every host that is not better are left out (RFC 5321, 5.1: a mail exchanger
/// only sends to better ones).
///
/// # Errors
/// [`RouteError`]; [`RouteError::NoHost`] does not occur here, as addresses are not known yet.
pub fn mail_hosts(
    domain: &Name,
    answer: &Answer,
    own: &[Name],
    random: &mut dyn FnMut() -> u64,
) -> Result<Hosts, RouteError> {
    let list = match &answer.outcome {
        Outcome::Records(Records::Mx(list)) => list,
        Outcome::Records(_) => return Err(RouteError::Temporary(Trouble::Garbage)),
        Outcome::NoData => {
            if own.contains(domain) || own.contains(&answer.canonical) {
                return Err(RouteError::Ourselves);
            }
            let hosts = vec![Host {
                name: domain.clone(),
                preference: 0,
            }];
            return Ok(Hosts {
                hosts,
                implicit: true,
                authentic: answer.authentic,
            });
        }
        Outcome::NxDomain => return Err(RouteError::NoDomain),
        Outcome::Temporary(trouble) => return Err(RouteError::Temporary(*trouble)),
    };
    let mut ranked: Vec<(u16, u64, &Name)> = list
        .iter()
        .filter_map(|mx| Some((mx.preference, random(), mx.exchange.as_ref()?)))
        .collect();
    if ranked.is_empty() {
        // Nothing but roots: the null MX.
        return Err(RouteError::NullMx);
    }
    ranked.sort();
    if let Some(own_preference) = ranked
        .iter()
        .find(|(_, _, name)| own.contains(name))
        .map(|&(preference, _, _)| preference)
    {
        ranked.retain(|&(preference, _, _)| preference < own_preference);
        if ranked.is_empty() {
            return Err(RouteError::Ourselves);
        }
    }
    let mut hosts: Vec<Host> = Vec::with_capacity(ranked.len().min(HOSTS_MAX));
    for (preference, _, name) in ranked {
        if hosts.len() == HOSTS_MAX {
            break;
        }
        // A host listed twice is tried at its better place only.
        if !hosts.iter().any(|host| host.name == *name) {
            hosts.push(Host {
                name: name.clone(),
                preference,
            });
        }
    }
    Ok(Hosts {
        hosts,
        implicit: false,
        authentic: answer.authentic,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mx;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn answer(outcome: Outcome) -> Answer {
        Answer {
            outcome,
            canonical: name("example.org"),
            authentic: false,
        }
    }

    fn mx(list: &[(u16, &str)]) -> Answer {
        answer(Outcome::Records(Records::Mx(
            list.iter()
                .map(|&(preference, host)| Mx {
                    preference,
                    exchange: (host != ".").then(|| name(host)),
                })
                .collect(),
        )))
    }

    fn order(answer: &Answer, own: &[&str], seed: u64) -> Result<Vec<String>, RouteError> {
        let own: Vec<Name> = own.iter().map(|text| name(text)).collect();
        let mut state = seed;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state >> 11
        };
        let hosts = mail_hosts(&name("example.org"), answer, &own, &mut random)?;
        Ok(hosts
            .hosts
            .iter()
            .map(|host| host.name.to_string())
            .collect())
    }

    #[test]
    fn by_preference() {
        let answer = mx(&[(30, "c.example"), (10, "a.example"), (20, "b.example")]);
        assert_eq!(
            order(&answer, &[], 1).unwrap(),
            ["a.example", "b.example", "c.example"]
        );
    }

    #[test]
    fn equals_are_shuffled() {
        let answer = mx(&[(10, "a.example"), (10, "b.example"), (20, "z.example")]);
        let first: std::collections::HashSet<String> = (0..64)
            .map(|seed| order(&answer, &[], seed).unwrap()[0].clone())
            .collect();
        assert_eq!(first.len(), 2);
        assert!((0..64).all(|seed| order(&answer, &[], seed).unwrap()[2] == "z.example"));
    }

    #[test]
    fn implicit_and_null() {
        assert_eq!(
            order(&answer(Outcome::NoData), &[], 1).unwrap(),
            ["example.org"]
        );
        assert_eq!(order(&mx(&[(0, ".")]), &[], 1), Err(RouteError::NullMx));
        // A root among real hosts is not the null MX (RFC 7505, 3) and is no host either.
        assert_eq!(
            order(&mx(&[(0, "."), (5, "a.example")]), &[], 1).unwrap(),
            ["a.example"]
        );
    }

    #[test]
    fn failures() {
        assert_eq!(
            order(&answer(Outcome::NxDomain), &[], 1),
            Err(RouteError::NoDomain)
        );
        let later = RouteError::Temporary(Trouble::Timeout);
        assert_eq!(
            order(&answer(Outcome::Temporary(Trouble::Timeout)), &[], 1),
            Err(later)
        );
        assert!(later.is_temporary() && !RouteError::NullMx.is_temporary());
    }

    #[test]
    fn ourselves() {
        let answer = mx(&[
            (10, "a.example"),
            (20, "me.example"),
            (20, "b.example"),
            (30, "c.example"),
        ]);
        assert_eq!(order(&answer, &["me.example"], 1).unwrap(), ["a.example"]);
        assert_eq!(
            order(&answer, &["a.example"], 1),
            Err(RouteError::Ourselves)
        );
        assert_eq!(
            order(&super::tests::answer(Outcome::NoData), &["example.org"], 1),
            Err(RouteError::Ourselves)
        );
    }

    #[test]
    fn bounded_and_without_repeats() {
        for count in [HOSTS_MAX - 1, HOSTS_MAX, HOSTS_MAX + 1] {
            let names: Vec<String> = (0..count)
                .map(|index| format!("h{index}.example"))
                .collect();
            let list: Vec<(u16, &str)> = names
                .iter()
                .enumerate()
                .map(|(index, name)| (index as u16, name.as_str()))
                .collect();
            assert_eq!(
                order(&mx(&list), &[], 1).unwrap().len(),
                count.min(HOSTS_MAX)
            );
        }
        let twice = mx(&[(10, "a.example"), (20, "A.example"), (20, "b.example")]);
        assert_eq!(order(&twice, &[], 1).unwrap(), ["a.example", "b.example"]);
    }
}
