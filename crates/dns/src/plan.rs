//! The way to a domain's mail: questions to ask, addresses to try, one after another.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::{
    Answer, Host, Kind, Name, Ourselves, Outcome, Question, Records, RouteError, Trouble,
    mail_hosts,
};

/// Most addresses of one host that are tried.
pub const ADDRESSES_PER_HOST_MAX: usize = 10;

/// Where mail has to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The mail hosts of a domain.
    Domain(Name),
    /// One host by name, its MX records not looked at.
    Host(Name),
    /// One address.
    Address(IpAddr),
}

/// One thing to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The host's name; `None` for an address literal. What a certificate is checked against,
    /// and where TLSA records stand.
    pub host: Option<Name>,
    /// Its address.
    pub address: IpAddr,
    /// The preference of its MX record; 0 where there was none.
    pub preference: u16,
    /// Whether both the name of the host and this address are proven (RFC 7672, 2.2): the
    /// condition for DANE.
    pub authentic: bool,
}

/// What [`Plan::next_step`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Try this address.
    Try(Candidate),
    /// An answer is missing; see [`Plan::questions`].
    Wait,
    /// Nothing is left. When nothing was tried, or when some addresses could not be learned, why;
    /// when everything was tried, `None`.
    Done(Option<RouteError>),
}

enum Stage {
    AwaitMx,
    /// The hosts not looked up yet; the first one's addresses are being asked for.
    Hosts {
        hosts: VecDeque<Host>,
        secure: bool,
    },
    Over,
}

/// The order in which the addresses behind a [`Target`] are tried, as a machine without clock or
/// sockets. Addresses of the next host are asked for when the one before is used up, so that a
/// healthy first host costs three questions.
pub struct Plan {
    stage: Stage,
    own: Arc<Ourselves>,
    domain: Option<Name>,
    implicit: bool,
    questions: Vec<Question>,
    v4: Vec<Ipv4Addr>,
    v6: Vec<Ipv6Addr>,
    v4_secure: bool,
    v6_secure: bool,
    ready: VecDeque<Candidate>,
    tried: usize,
    error: Option<RouteError>,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan")
            .field("questions", &self.questions)
            .field("ready", &self.ready)
            .field("tried", &self.tried)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl Plan {
    /// A plan for `target`. A mail host that is `own`, by its name or by one of its addresses, is
    /// left out, and so is every host that is not better (RFC 5321, 5.1): the mail would come back.
    /// A [`Target::Host`] was named on purpose: only its addresses are compared, so give an empty
    /// `own` where it may be a filter on this host.
    pub fn new(target: Target, own: Arc<Ourselves>) -> Self {
        let mut plan = Self {
            stage: Stage::Over,
            own,
            domain: None,
            implicit: false,
            questions: Vec::new(),
            v4: Vec::new(),
            v6: Vec::new(),
            v4_secure: false,
            v6_secure: false,
            ready: VecDeque::new(),
            tried: 0,
            error: None,
        };
        match target {
            Target::Domain(domain) => {
                plan.questions.push(Question::new(domain.clone(), Kind::Mx));
                plan.domain = Some(domain);
                plan.stage = Stage::AwaitMx;
            }
            Target::Host(name) => {
                let hosts = VecDeque::from([Host {
                    name,
                    preference: 0,
                }]);
                plan.stage = Stage::Hosts {
                    hosts,
                    secure: true,
                };
                plan.ask_addresses();
            }
            Target::Address(address) if plan.own.is_at(address) => {
                plan.error = Some(RouteError::Ourselves);
            }
            Target::Address(address) => plan.ready.push_back(Candidate {
                host: None,
                address,
                preference: 0,
                authentic: false,
            }),
        }
        plan
    }

    /// The questions whose answers are missing now: none, one MX, or A and AAAA of one host.
    pub fn questions(&self) -> &[Question] {
        &self.questions
    }

    /// Takes an answer; one that was not asked for is dropped. `random` as for [`mail_hosts`].
    pub fn answered(
        &mut self,
        question: &Question,
        answer: &Answer,
        random: &mut dyn FnMut() -> u64,
    ) {
        let Some(index) = self.questions.iter().position(|open| open == question) else {
            return;
        };
        self.questions.swap_remove(index);
        match (&self.stage, &self.domain) {
            (Stage::AwaitMx, Some(domain)) => {
                match mail_hosts(domain, answer, &self.own.names, random) {
                    Ok(found) => {
                        self.implicit = found.implicit;
                        self.stage = Stage::Hosts {
                            hosts: found.hosts.into(),
                            secure: found.authentic,
                        };
                        self.ask_addresses();
                    }
                    Err(error) => {
                        self.error = Some(error);
                        self.stage = Stage::Over;
                    }
                }
            }
            (Stage::Hosts { .. }, _) => {
                self.take_addresses(question.kind, answer, random);
                if self.questions.is_empty() {
                    self.line_up();
                }
            }
            _ => {}
        }
    }

    /// The next address, or what is missing.
    pub fn next_step(&mut self) -> Next {
        loop {
            if let Some(candidate) = self.ready.pop_front() {
                self.tried += 1;
                return Next::Try(candidate);
            }
            if !self.questions.is_empty() {
                return Next::Wait;
            }
            match &mut self.stage {
                Stage::Hosts { hosts, .. } if !hosts.is_empty() => self.ask_addresses(),
                _ => {
                    self.stage = Stage::Over;
                    return Next::Done(match self.error {
                        // A temporary gap counts even after failed tries; a lasting one only if
                        // there was nothing to try at all.
                        Some(error) if error.is_temporary() || self.tried == 0 => Some(error),
                        _ if self.tried == 0 => Some(RouteError::NoHost),
                        _ => None,
                    });
                }
            }
        }
    }

    fn ask_addresses(&mut self) {
        if let Stage::Hosts { hosts, .. } = &self.stage
            && let Some(host) = hosts.front()
        {
            self.questions
                .push(Question::new(host.name.clone(), Kind::Aaaa));
            self.questions
                .push(Question::new(host.name.clone(), Kind::A));
        }
    }

    fn take_addresses(&mut self, kind: Kind, answer: &Answer, random: &mut dyn FnMut() -> u64) {
        match &answer.outcome {
            Outcome::Records(Records::A(list)) => {
                self.v4 = shuffled(list, random);
                self.v4_secure = answer.authentic;
            }
            Outcome::Records(Records::Aaaa(list)) => {
                self.v6 = shuffled(list, random);
                self.v6_secure = answer.authentic;
            }
            Outcome::Records(_) => self.fail(RouteError::Temporary(Trouble::Garbage)),
            Outcome::NoData => {}
            Outcome::NxDomain => self.fail(if self.implicit && kind == Kind::A {
                RouteError::NoDomain
            } else {
                RouteError::NoHost
            }),
            Outcome::Temporary(trouble) => self.fail(RouteError::Temporary(*trouble)),
        }
    }

    /// Keeps the error that leaves more hope: a temporary one is never hidden by a lasting one.
    fn fail(&mut self, error: RouteError) {
        if !self.error.is_some_and(RouteError::is_temporary) {
            self.error = Some(error);
        }
    }

    /// Both answers of a host are there: its addresses, the families taking turns, IPv6 first, so
    /// that a family that does not work here costs one try and not all of them.
    fn line_up(&mut self) {
        let Stage::Hosts { hosts, secure } = &mut self.stage else {
            return;
        };
        let secure = *secure;
        let Some(host) = hosts.pop_front() else {
            return;
        };
        let v4 = std::mem::take(&mut self.v4);
        let v6 = std::mem::take(&mut self.v6);
        let mut all = v4.iter().map(|&v4| IpAddr::V4(v4));
        if all.any(|address| self.own.is_at(address))
            || v6.iter().any(|&v6| self.own.is_at(IpAddr::V6(v6)))
        {
            // Those that follow are no better than we are.
            self.stage = Stage::Over;
            return self.fail(RouteError::Ourselves);
        }
        let (mut v4, mut v6) = (v4.into_iter(), v6.into_iter());
        let mut count = 0;
        loop {
            let six = v6.next();
            let four = v4.next();
            if six.is_none() && four.is_none() {
                break;
            }
            let six = six.map(|address| (IpAddr::V6(address), self.v6_secure));
            let four = four.map(|address| (IpAddr::V4(address), self.v4_secure));
            for (address, proven) in six.into_iter().chain(four) {
                if count == ADDRESSES_PER_HOST_MAX || !worth_trying(address) {
                    continue;
                }
                count += 1;
                self.ready.push_back(Candidate {
                    host: Some(host.name.clone()),
                    address,
                    preference: host.preference,
                    authentic: proven && secure,
                });
            }
        }
    }
}

/// Whether an address can be a mail host's at all. Loopback and private ranges are left in:
/// they are right inside of a site, and `host` routes name them on purpose.
const fn worth_trying(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_unspecified() && !v4.is_broadcast() && !v4.is_multicast(),
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast(),
    }
}

fn shuffled<T: Copy + Ord>(list: &[T], random: &mut dyn FnMut() -> u64) -> Vec<T> {
    let mut ranked: Vec<(u64, T)> = list.iter().map(|&item| (random(), item)).collect();
    ranked.sort();
    ranked.into_iter().map(|(_, item)| item).collect()
}

/// The address in a mail domain that is an address literal (RFC 5321, 4.1.3): `[192.0.2.1]` or
/// `[IPv6:2001:db8::1]`, brackets included. `None` for everything else.
pub fn literal(domain: &str) -> Option<IpAddr> {
    let inner = domain.strip_prefix('[')?.strip_suffix(']')?;
    match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("ipv6:") => {
            inner.get(5..)?.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        _ => inner.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mx;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn answer(outcome: Outcome, authentic: bool) -> Answer {
        Answer {
            outcome,
            canonical: name("x.example"),
            authentic,
        }
    }

    fn mx(list: &[(u16, &str)]) -> Outcome {
        Outcome::Records(Records::Mx(
            list.iter()
                .map(|&(preference, host)| Mx {
                    preference,
                    exchange: Some(name(host)),
                })
                .collect(),
        ))
    }

    fn a(list: &[&str]) -> Outcome {
        Outcome::Records(Records::A(
            list.iter().map(|text| text.parse().unwrap()).collect(),
        ))
    }

    fn aaaa(list: &[&str]) -> Outcome {
        Outcome::Records(Records::Aaaa(
            list.iter().map(|text| text.parse().unwrap()).collect(),
        ))
    }

    /// Walks a plan to its end, answering from `zone`; what is not there is `NoData`.
    fn walk(
        plan: &mut Plan,
        zone: &[(&str, Kind, Outcome)],
    ) -> (Vec<Candidate>, Option<RouteError>) {
        let mut counter = 0;
        let mut random = || {
            counter += 1;
            counter
        };
        let mut tried = Vec::new();
        loop {
            match plan.next_step() {
                Next::Try(candidate) => tried.push(candidate),
                Next::Done(error) => return (tried, error),
                Next::Wait => {
                    let question = plan.questions()[0].clone();
                    let outcome = zone
                        .iter()
                        .find(|(owner, kind, _)| {
                            *owner == question.name.as_str() && *kind == question.kind
                        })
                        .map_or(Outcome::NoData, |(_, _, outcome)| outcome.clone());
                    plan.answered(&question, &answer(outcome, true), &mut random);
                }
            }
        }
    }

    fn ourselves() -> Ourselves {
        Ourselves {
            names: vec![name("me.example")],
            addresses: ["192.0.2.77", "2001:db8::77"]
                .iter()
                .map(|text| text.parse().unwrap())
                .collect(),
            loopback: true,
        }
    }

    fn domain(text: &str) -> Plan {
        Plan::new(Target::Domain(name(text)), Arc::new(ourselves()))
    }

    fn addresses(tried: &[Candidate]) -> Vec<String> {
        tried
            .iter()
            .map(|candidate| candidate.address.to_string())
            .collect()
    }

    #[test]
    fn hosts_in_order_and_families_in_turn() {
        let (tried, error) = walk(
            &mut domain("d.example"),
            &[
                (
                    "d.example",
                    Kind::Mx,
                    mx(&[(20, "b.example"), (10, "a.example")]),
                ),
                ("a.example", Kind::A, a(&["192.0.2.1", "192.0.2.2"])),
                ("a.example", Kind::Aaaa, aaaa(&["2001:db8::1"])),
                ("b.example", Kind::A, a(&["192.0.2.9"])),
            ],
        );
        assert_eq!(
            addresses(&tried),
            ["2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.9"]
        );
        assert_eq!(tried[3].host, Some(name("b.example")));
        assert_eq!(tried[3].preference, 20);
        assert!(tried[0].authentic);
        assert_eq!(error, None);
    }

    #[test]
    fn the_second_host_is_asked_for_only_when_needed() {
        let mut plan = domain("d.example");
        let mut random = || 1;
        let question = plan.questions()[0].clone();
        plan.answered(
            &question,
            &answer(mx(&[(1, "a.example"), (2, "b.example")]), false),
            &mut random,
        );
        assert_eq!(plan.questions().len(), 2);
        assert!(
            plan.questions()
                .iter()
                .all(|question| question.name.as_str() == "a.example")
        );
        for question in plan.questions().to_vec() {
            let outcome = if question.kind == Kind::A {
                a(&["192.0.2.1"])
            } else {
                Outcome::NoData
            };
            plan.answered(&question, &answer(outcome, true), &mut random);
        }
        assert!(plan.questions().is_empty());
        let Next::Try(candidate) = plan.next_step() else {
            panic!("a candidate")
        };
        assert!(!candidate.authentic, "the MX answer was not proven");
        assert_eq!(plan.next_step(), Next::Wait);
        assert!(
            plan.questions()
                .iter()
                .all(|question| question.name.as_str() == "b.example")
        );
    }

    /// Mail must not come back, under whatever name this host stands in somebody's zone.
    #[test]
    fn hosts_that_are_ourselves_by_address_end_the_list() {
        let hosts = mx(&[(10, "a.example"), (20, "alias.example"), (30, "b.example")]);
        let zone = |own: (Kind, Outcome)| {
            [
                ("d.example", Kind::Mx, hosts.clone()),
                ("a.example", Kind::A, a(&["192.0.2.1"])),
                ("alias.example", own.0, own.1),
                ("b.example", Kind::A, a(&["192.0.2.9"])),
            ]
        };
        for own in [
            (Kind::A, a(&["192.0.2.77"])),
            (Kind::A, a(&["192.0.2.8", "192.0.2.77"])),
            (Kind::A, a(&["127.0.0.2"])),
            (Kind::Aaaa, aaaa(&["2001:db8::77"])),
            (Kind::Aaaa, aaaa(&["::1"])),
            (Kind::Aaaa, aaaa(&["::ffff:192.0.2.77"])),
        ] {
            let (tried, error) = walk(&mut domain("d.example"), &zone(own.clone()));
            // A better host was there: it may be down today, so this is no reason to return mail.
            assert_eq!(addresses(&tried), ["192.0.2.1"], "{own:?}");
            assert_eq!(error, None);
            let [_, _, own, b] = zone(own);
            let best = (
                "d.example",
                Kind::Mx,
                mx(&[(10, "alias.example"), (30, "b.example")]),
            );
            let (tried, error) = walk(&mut domain("d.example"), &[best, own, b]);
            assert_eq!((tried, error), (vec![], Some(RouteError::Ourselves)));
        }
        let (tried, _) = walk(
            &mut domain("d.example"),
            &zone((Kind::A, a(&["192.0.2.78"]))),
        );
        assert_eq!(tried.len(), 3, "a neighbour is not us");
    }

    #[test]
    fn a_literal_that_is_ourselves_has_no_route() {
        for (text, own, error) in [
            ("192.0.2.77", ourselves(), Some(RouteError::Ourselves)),
            ("127.0.0.1", ourselves(), Some(RouteError::Ourselves)),
            ("192.0.2.78", ourselves(), None),
            // A filter on this host, named on purpose.
            ("127.0.0.1", Ourselves::default(), None),
        ] {
            let mut plan = Plan::new(Target::Address(text.parse().unwrap()), Arc::new(own));
            let (tried, found) = walk(&mut plan, &[]);
            assert_eq!(
                (tried.len(), found),
                (usize::from(error.is_none()), error),
                "{text}"
            );
        }
    }

    #[test]
    fn no_mx_uses_the_domain_itself() {
        let zone = [("d.example", Kind::A, a(&["192.0.2.5"]))];
        let (tried, error) = walk(&mut domain("d.example"), &zone);
        assert_eq!(
            (addresses(&tried), error),
            (vec!["192.0.2.5".to_owned()], None)
        );
    }

    #[test]
    fn ends_without_a_host() {
        type Row<'a> = (&'a str, Vec<(&'a str, Kind, Outcome)>, RouteError);
        let timeout = Outcome::Temporary(Trouble::Timeout);
        let later = RouteError::Temporary(Trouble::Timeout);
        let rows: Vec<Row<'_>> = vec![
            ("nothing at all", vec![], RouteError::NoHost),
            (
                "no domain",
                vec![("d.example", Kind::Mx, Outcome::NxDomain)],
                RouteError::NoDomain,
            ),
            (
                "MX unknown",
                vec![("d.example", Kind::Mx, timeout.clone())],
                later,
            ),
            (
                "host does not exist",
                vec![
                    ("d.example", Kind::Mx, mx(&[(1, "a.example")])),
                    ("a.example", Kind::A, Outcome::NxDomain),
                    ("a.example", Kind::Aaaa, Outcome::NxDomain),
                ],
                RouteError::NoHost,
            ),
            (
                "one host lost, the other unknown",
                vec![
                    (
                        "d.example",
                        Kind::Mx,
                        mx(&[(1, "a.example"), (2, "b.example")]),
                    ),
                    ("a.example", Kind::A, timeout.clone()),
                    ("b.example", Kind::A, Outcome::NxDomain),
                ],
                later,
            ),
            (
                "ourselves",
                vec![("d.example", Kind::Mx, mx(&[(1, "me.example")]))],
                RouteError::Ourselves,
            ),
        ];
        for (what, zone, expected) in rows {
            assert_eq!(
                walk(&mut domain("d.example"), &zone),
                (vec![], Some(expected)),
                "{what}"
            );
        }
    }

    #[test]
    fn one_family_unknown_still_tries_the_other() {
        let (tried, error) = walk(
            &mut domain("d.example"),
            &[
                ("d.example", Kind::Mx, mx(&[(1, "a.example")])),
                ("a.example", Kind::A, a(&["192.0.2.1"])),
                (
                    "a.example",
                    Kind::Aaaa,
                    Outcome::Temporary(Trouble::ServerFailure),
                ),
            ],
        );
        assert_eq!(addresses(&tried), ["192.0.2.1"]);
        assert_eq!(error, Some(RouteError::Temporary(Trouble::ServerFailure)));
    }

    #[test]
    fn addresses_are_bounded_and_senseless_ones_left_out() {
        for count in [
            ADDRESSES_PER_HOST_MAX - 1,
            ADDRESSES_PER_HOST_MAX,
            ADDRESSES_PER_HOST_MAX + 1,
        ] {
            let list: Vec<String> = (0..count).map(|index| format!("192.0.2.{index}")).collect();
            let list: Vec<&str> = list.iter().map(String::as_str).collect();
            let (tried, _) = walk(
                &mut Plan::new(Target::Host(name("h.example")), Arc::default()),
                &[("h.example", Kind::A, a(&list))],
            );
            assert_eq!(tried.len(), count.min(ADDRESSES_PER_HOST_MAX));
        }
        let (tried, error) = walk(
            &mut Plan::new(Target::Host(name("h.example")), Arc::default()),
            &[(
                "h.example",
                Kind::A,
                a(&["0.0.0.0", "224.0.0.1", "255.255.255.255"]),
            )],
        );
        assert_eq!((tried, error), (vec![], Some(RouteError::NoHost)));
    }

    #[test]
    fn literals() {
        assert_eq!(literal("[192.0.2.1]"), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(
            literal("[IPv6:2001:db8::1]"),
            Some("2001:db8::1".parse().unwrap())
        );
        assert_eq!(literal("[ipv6:::1]"), Some("::1".parse().unwrap()));
        for wrong in [
            "192.0.2.1",
            "[2001:db8::1]",
            "[IPv6:192.0.2.1]",
            "[]",
            "[x",
            "[IPv6:]",
            "[ü]",
            "[ääää:]",
        ] {
            assert_eq!(literal(wrong), None, "{wrong}");
        }
        let mut plan = Plan::new(
            Target::Address("192.0.2.1".parse().unwrap()),
            Arc::default(),
        );
        let Next::Try(candidate) = plan.next_step() else {
            panic!("a candidate")
        };
        assert_eq!(candidate.host, None);
        assert_eq!(plan.next_step(), Next::Done(None));
    }
}
