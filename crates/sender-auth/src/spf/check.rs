//! The check itself: `check_host()` of RFC 7208, 4, as a state machine.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use super::macros::{MacroString, Use, Values};
use super::record::{Cidr, Directive, Mechanism, Record, is_spf};
use super::verdict::{Identity, SpfProblem, SpfResult, SpfVerdict};
use super::{LOOKUPS_MAX, MX_MAX, PTR_MAX, VOIDS_MAX};
use crate::lookup::{Answer, Check, Need, Question, RECORDS_MAX, Record as Dns};
use crate::name::{LABEL_MAX, NAME_MAX, is_within};

/// Most questions of one check: the first record, ten terms with the addresses of ten mail
/// exchangers each, the names of the client and their addresses, an explanation.
pub const QUESTIONS_MAX: usize = 1 + LOOKUPS_MAX as usize * (1 + MX_MAX) + 1 + PTR_MAX + 1;

/// What is known about the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpfRequest {
    /// Its address.
    pub ip: IpAddr,
    /// What it said in HELO or EHLO.
    pub helo: String,
    /// The reverse-path without angle brackets; empty for a bounce.
    pub mail_from: String,
    /// The name of this host, for explanations; `unknown` is allowed.
    pub receiver: String,
    /// Seconds since 1970 UTC, for explanations.
    pub now: i64,
}

/// One check of one identity.
#[derive(Debug)]
pub struct Spf {
    who: Who,
    /// The records under evaluation; each but the first was included by the one before it.
    stack: Vec<Frame>,
    lookups: u32,
    voids: u32,
    /// Names of the client that lead back to it; not yet known without them.
    validated: Option<Vec<String>>,
    phase: Phase,
    state: State,
}

#[derive(Debug)]
struct Who {
    ip: IpAddr,
    helo: String,
    local: String,
    /// Checked, in ASCII form.
    domain: String,
    receiver: String,
    now: i64,
    identity: Identity,
}

#[derive(Debug)]
struct Frame {
    domain: String,
    record: Arc<Record>,
    /// The directive under evaluation.
    at: usize,
}

/// What evaluation works at.
#[derive(Debug)]
enum Phase {
    Terms,
    /// The name of the explanation, in the record of this domain.
    ExplanationName(MacroString, String, SpfVerdict),
    /// The text of the explanation.
    ExplanationText(MacroString, String, SpfVerdict),
}

#[derive(Debug)]
enum State {
    /// Something can be done without an answer.
    Evaluate,
    Ask(Question, Purpose),
    Asked(Question, Purpose),
    Done(SpfVerdict),
    Over,
}

/// What an answer is for.
#[derive(Debug)]
enum Purpose {
    Policy { domain: String, why: Why },
    Address(Cidr),
    MxHosts { domain: String, cidr: Cidr },
    MxAddress(MxSearch),
    Names,
    NameAddress(NameSearch),
    Exists,
    Explanation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    First,
    Include,
    Redirect,
}

#[derive(Debug)]
struct MxSearch {
    cidr: Cidr,
    left: VecDeque<String>,
    /// Some host had an address.
    found: bool,
}

#[derive(Debug)]
struct NameSearch {
    name: String,
    left: VecDeque<String>,
    validated: Vec<String>,
}

/// What evaluation of one term comes to.
enum Outcome {
    Matched,
    NotMatched,
    Go(State),
}

impl Spf {
    /// Checks the reverse-path; a null one is checked as `postmaster@HELO` (RFC 7208, 2.4).
    pub fn mail_from(request: &SpfRequest) -> Self {
        if request.mail_from.is_empty() {
            return Self::new(request, "", &request.helo, Identity::MailFrom);
        }
        let (local, domain) = request
            .mail_from
            .rsplit_once('@')
            .unwrap_or(("", &request.mail_from));
        Self::new(request, local, domain, Identity::MailFrom)
    }

    /// Checks the name of HELO or EHLO (RFC 7208, 2.3).
    pub fn helo(request: &SpfRequest) -> Self {
        Self::new(request, "", &request.helo, Identity::Helo)
    }

    fn new(request: &SpfRequest, local: &str, domain: &str, identity: Identity) -> Self {
        let local = if local.is_empty() {
            "postmaster"
        } else {
            local
        };
        let mut check = Self {
            who: Who {
                ip: request.ip.to_canonical(),
                helo: request.helo.clone(),
                local: local.to_owned(),
                domain: String::new(),
                receiver: request.receiver.clone(),
                now: request.now,
                identity,
            },
            stack: Vec::new(),
            lookups: 0,
            voids: 0,
            validated: None,
            phase: Phase::Terms,
            state: State::Over,
        };
        match first_domain(domain) {
            Some(domain) => {
                check.who.domain.clone_from(&domain);
                check.state = policy(domain, Why::First);
            }
            None => check.state = check.problem(SpfResult::None, SpfProblem::NoDomain),
        }
        check
    }

    fn verdict(&self, result: SpfResult) -> SpfVerdict {
        SpfVerdict {
            result,
            identity: self.who.identity,
            domain: self.who.domain.clone(),
            ip: self.who.ip,
            mechanism: None,
            problem: None,
            explanation: None,
            lookups: self.lookups,
            voids: self.voids,
        }
    }

    fn problem(&self, result: SpfResult, problem: SpfProblem) -> State {
        let mut verdict = self.verdict(result);
        verdict.problem = Some(problem);
        State::Done(verdict)
    }

    fn no_answer(&self, name: &str) -> State {
        self.problem(SpfResult::TempError, SpfProblem::NoAnswer(name.to_owned()))
    }

    /// Goes on as far as it goes without an answer.
    fn evaluate(&mut self) -> State {
        match std::mem::replace(&mut self.phase, Phase::Terms) {
            Phase::Terms => self.term(),
            Phase::ExplanationName(spec, domain, verdict) => {
                if let Some(ask) = self.names_first(&spec) {
                    self.phase = Phase::ExplanationName(spec, domain, verdict);
                    return ask;
                }
                let name = self.expand(&spec, &domain);
                if !can_exist(&name) {
                    return State::Done(verdict);
                }
                self.phase = Phase::ExplanationName(spec, domain, verdict);
                State::Ask(Question::Txt(name), Purpose::Explanation)
            }
            Phase::ExplanationText(text, domain, mut verdict) => {
                if let Some(ask) = self.names_first(&text) {
                    self.phase = Phase::ExplanationText(text, domain, verdict);
                    return ask;
                }
                let validated = self.validated_name(&domain);
                let mut said = text.text(&self.values(&domain, validated));
                // Sender and HELO may bring in anything; a reply line may not hold it.
                said.retain(|c| c == ' ' || c.is_ascii_graphic());
                verdict.explanation = Some(said);
                State::Done(verdict)
            }
        }
    }

    /// Looks at the next term of the innermost record.
    fn term(&mut self) -> State {
        let Some(frame) = self.stack.last() else {
            return State::Over;
        };
        let record = Arc::clone(&frame.record);
        let domain = frame.domain.clone();
        let Some(directive) = record.directives.get(frame.at) else {
            return self.at_the_end(&record, &domain);
        };
        if directive.mechanism.asks() && self.lookups >= LOOKUPS_MAX {
            return self.problem(SpfResult::PermError, SpfProblem::TooManyLookups);
        }
        match self.try_directive(directive, &domain) {
            Outcome::Matched => self.decided(true),
            Outcome::NotMatched => self.decided(false),
            Outcome::Go(state) => state,
        }
    }

    /// Nothing matched: another record decides, or nobody (RFC 7208, 4.7 and 6.1).
    fn at_the_end(&mut self, record: &Record, domain: &str) -> State {
        let Some(spec) = record.redirect.as_ref().filter(|_| !record.has_all()) else {
            return self.frame_ended(SpfResult::Neutral, None);
        };
        if self.lookups >= LOOKUPS_MAX {
            return self.problem(SpfResult::PermError, SpfProblem::TooManyLookups);
        }
        if let Some(ask) = self.names_first(spec) {
            return ask;
        }
        self.lookups += 1;
        let target = self.expand(spec, domain);
        self.ask_policy(target, Why::Redirect)
    }

    fn ask_policy(&self, target: String, why: Why) -> State {
        if is_checkable(&target) {
            policy(target, why)
        } else {
            self.problem(SpfResult::PermError, SpfProblem::NoRecord(target))
        }
    }

    fn try_directive(&mut self, directive: &Directive, domain: &str) -> Outcome {
        let spec = match &directive.mechanism {
            Mechanism::All => return Outcome::Matched,
            Mechanism::Ip(network, cidr) => {
                return match cidr.holds(*network, self.who.ip) {
                    true => Outcome::Matched,
                    false => Outcome::NotMatched,
                };
            }
            Mechanism::Include(spec) | Mechanism::Exists(spec) => Some(spec),
            Mechanism::A(spec, _) | Mechanism::Mx(spec, _) | Mechanism::Ptr(spec) => spec.as_ref(),
        };
        if let Some(ask) = spec.and_then(|spec| self.names_first(spec)) {
            return Outcome::Go(ask);
        }
        let target = match spec {
            Some(spec) => self.expand(spec, domain),
            None => domain.to_owned(),
        };
        if let Mechanism::Ptr(_) = directive.mechanism {
            let Some(names) = &self.validated else {
                return Outcome::Go(State::Ask(Question::Ptr(self.who.ip), Purpose::Names));
            };
            self.lookups += 1;
            let target = target.to_ascii_lowercase();
            return match names.iter().any(|name| is_within(name, &target)) {
                true => Outcome::Matched,
                false => Outcome::NotMatched,
            };
        }
        self.lookups += 1;
        if let Mechanism::Include(_) = directive.mechanism {
            return Outcome::Go(self.ask_policy(target, Why::Include));
        }
        if !can_exist(&target) {
            return Outcome::NotMatched;
        }
        Outcome::Go(match &directive.mechanism {
            Mechanism::A(_, cidr) => State::Ask(self.addresses(target), Purpose::Address(*cidr)),
            Mechanism::Mx(_, cidr) => State::Ask(
                Question::Mx(target.clone()),
                Purpose::MxHosts {
                    domain: target,
                    cidr: *cidr,
                },
            ),
            _ => State::Ask(Question::A(target), Purpose::Exists),
        })
    }

    /// The addresses of a name in the client's family.
    fn addresses(&self, name: String) -> Question {
        match self.who.ip {
            IpAddr::V4(_) => Question::A(name),
            IpAddr::V6(_) => Question::Aaaa(name),
        }
    }

    /// Asks for the client's names if a text needs them and they are not known yet.
    fn names_first(&self, text: &MacroString) -> Option<State> {
        let needed = self.validated.is_none() && text.needs_validated_name();
        needed.then_some(State::Ask(Question::Ptr(self.who.ip), Purpose::Names))
    }

    fn expand(&self, spec: &MacroString, domain: &str) -> String {
        spec.domain(&self.values(domain, self.validated_name(domain)))
    }

    fn values<'a>(&'a self, domain: &'a str, validated: &'a str) -> Values<'a> {
        Values {
            local: &self.who.local,
            sender_domain: &self.who.domain,
            domain,
            ip: self.who.ip,
            validated,
            helo: &self.who.helo,
            receiver: &self.who.receiver,
            now: self.who.now,
        }
    }

    /// What `%{p}` stands for: the domain itself, a name below it, any name (RFC 7208, 7.3).
    fn validated_name(&self, domain: &str) -> &str {
        let names = self.validated.as_deref().unwrap_or_default();
        let domain = domain.to_ascii_lowercase();
        names
            .iter()
            .find(|name| **name == domain)
            .or_else(|| names.iter().find(|name| is_within(name, &domain)))
            .or_else(|| names.first())
            .map_or("unknown", String::as_str)
    }

    /// The term under evaluation matched, or did not.
    fn decided(&mut self, matched: bool) -> State {
        let Some(frame) = self.stack.last_mut() else {
            return State::Over;
        };
        if !matched {
            frame.at += 1;
            return State::Evaluate;
        }
        let record = Arc::clone(&frame.record);
        match record.directives.get(frame.at) {
            Some(directive) => {
                self.frame_ended(directive.qualifier.result(), Some(directive.text.clone()))
            }
            None => State::Over,
        }
    }

    /// The innermost record has come to a result (RFC 7208, 5.2).
    fn frame_ended(&mut self, result: SpfResult, mechanism: Option<String>) -> State {
        let Some(frame) = self.stack.pop() else {
            return State::Over;
        };
        if !self.stack.is_empty() {
            return self.decided(result == SpfResult::Pass);
        }
        let mut verdict = self.verdict(result);
        verdict.mechanism = mechanism;
        match &frame.record.explanation {
            Some(spec) if result == SpfResult::Fail => {
                self.phase = Phase::ExplanationName(spec.clone(), frame.domain, verdict);
                State::Evaluate
            }
            _ => State::Done(verdict),
        }
    }

    /// Counts a term whose query found nothing; the end of the check if they are too many.
    fn void(&mut self) -> Option<State> {
        if !matches!(self.phase, Phase::Terms) {
            return None;
        }
        self.voids += 1;
        (self.voids > VOIDS_MAX)
            .then(|| self.problem(SpfResult::PermError, SpfProblem::TooManyVoids))
    }

    fn answered(&mut self, question: &Question, purpose: Purpose, answer: &Answer) -> State {
        let name = question.name().unwrap_or_default();
        match purpose {
            Purpose::Policy { domain, why } => self.policy_answered(domain, why, answer),
            Purpose::Address(cidr) => match addresses(answer) {
                None => self.no_answer(name),
                Some(list) if list.is_empty() => self.void().unwrap_or_else(|| self.decided(false)),
                Some(list) => self.decided(self.any_in(&list, cidr)),
            },
            Purpose::Exists => match addresses(answer) {
                None => self.no_answer(name),
                Some(list) if list.is_empty() => self.void().unwrap_or_else(|| self.decided(false)),
                Some(list) => self.decided(list.iter().any(IpAddr::is_ipv4)),
            },
            Purpose::MxHosts { domain, cidr } => self.mx_answered(domain, cidr, answer),
            Purpose::MxAddress(search) => match addresses(answer) {
                None => self.no_answer(name),
                Some(list) if self.any_in(&list, search.cidr) => self.decided(true),
                Some(list) => self.next_mx(MxSearch {
                    found: search.found || !list.is_empty(),
                    ..search
                }),
            },
            Purpose::Names => self.names_answered(answer),
            Purpose::NameAddress(mut search) => {
                // An error here only means that this name is not proven (RFC 7208, 5.5).
                let list = addresses(answer).unwrap_or_default();
                if self.any_in(&list, Cidr::HOST) {
                    search.validated.push(search.name);
                }
                self.next_name(search.left, search.validated)
            }
            Purpose::Explanation => self.explanation_answered(answer),
        }
    }

    fn any_in(&self, list: &[IpAddr], cidr: Cidr) -> bool {
        list.iter().any(|address| cidr.holds(*address, self.who.ip))
    }

    fn policy_answered(&mut self, domain: String, why: Why, answer: &Answer) -> State {
        if *answer == Answer::TempFail {
            return self.no_answer(&domain);
        }
        let mut records = answer.texts().filter(|text| is_spf(text));
        let Some(text) = records.next() else {
            return match why {
                Why::First => State::Done(self.verdict(SpfResult::None)),
                Why::Include | Why::Redirect => {
                    self.problem(SpfResult::PermError, SpfProblem::NoRecord(domain))
                }
            };
        };
        if records.next().is_some() {
            return self.problem(SpfResult::PermError, SpfProblem::SeveralRecords(domain));
        }
        let record = match Record::parse(text) {
            Ok(record) => Arc::new(record),
            Err(error) => {
                return self.problem(SpfResult::PermError, SpfProblem::Record(domain, error));
            }
        };
        if why == Why::Redirect {
            self.stack.pop();
        }
        self.stack.push(Frame {
            domain,
            record,
            at: 0,
        });
        State::Evaluate
    }

    fn mx_answered(&mut self, domain: String, cidr: Cidr, answer: &Answer) -> State {
        let records = match answer {
            Answer::TempFail => return self.no_answer(&domain),
            Answer::Records(records) => records.as_slice(),
            Answer::NoData | Answer::NxDomain => &[],
        };
        let mut hosts: Vec<(u16, &String)> = records
            .iter()
            .take(RECORDS_MAX)
            .filter_map(|record| match record {
                Dns::Mx { preference, host } => Some((*preference, host)),
                _ => None,
            })
            .collect();
        if hosts.is_empty() {
            return self.void().unwrap_or_else(|| self.decided(false));
        }
        if hosts.len() > MX_MAX {
            return self.problem(SpfResult::PermError, SpfProblem::TooManyMx(domain));
        }
        hosts.sort_by_key(|(preference, _)| *preference);
        let left: VecDeque<String> = hosts
            .into_iter()
            .filter(|(_, host)| can_exist(host))
            .map(|(_, host)| host.clone())
            .collect();
        // With a null MX there is nobody to ask; that is no void lookup.
        let found = left.is_empty();
        self.next_mx(MxSearch { cidr, left, found })
    }

    fn next_mx(&mut self, mut search: MxSearch) -> State {
        match search.left.pop_front() {
            Some(host) => State::Ask(self.addresses(host), Purpose::MxAddress(search)),
            None if search.found => self.decided(false),
            None => self.void().unwrap_or_else(|| self.decided(false)),
        }
    }

    fn names_answered(&mut self, answer: &Answer) -> State {
        let records = match answer {
            // Not an error of the check: `ptr` just doesn't match (RFC 7208, 5.5).
            Answer::TempFail => return self.next_name(VecDeque::new(), Vec::new()),
            Answer::Records(records) => records.as_slice(),
            Answer::NoData | Answer::NxDomain => &[],
        };
        let names: VecDeque<String> = records
            .iter()
            .filter_map(|record| match record {
                Dns::Ptr(name) => Some(name.trim_end_matches('.').to_ascii_lowercase()),
                _ => None,
            })
            .take(PTR_MAX)
            .collect();
        if names.is_empty()
            && let Some(end) = self.void()
        {
            return end;
        }
        self.next_name(names, Vec::new())
    }

    fn next_name(&mut self, mut left: VecDeque<String>, validated: Vec<String>) -> State {
        while let Some(name) = left.pop_front() {
            if can_exist(&name) {
                let question = self.addresses(name.clone());
                let search = NameSearch {
                    name,
                    left,
                    validated,
                };
                return State::Ask(question, Purpose::NameAddress(search));
            }
        }
        self.validated = Some(validated);
        State::Evaluate
    }

    /// Whatever is wrong with an explanation, the result stands (RFC 7208, 6.2).
    fn explanation_answered(&mut self, answer: &Answer) -> State {
        let Phase::ExplanationName(_, domain, verdict) =
            std::mem::replace(&mut self.phase, Phase::Terms)
        else {
            return State::Over;
        };
        let mut texts = answer.texts();
        let text = match (texts.next(), texts.next()) {
            (Some(text), None) if text.is_ascii() => std::str::from_utf8(text).ok(),
            _ => None,
        };
        match text.and_then(|text| MacroString::parse(text, Use::Explanation).ok()) {
            Some(text) => {
                self.phase = Phase::ExplanationText(text, domain, verdict);
                State::Evaluate
            }
            None => State::Done(verdict),
        }
    }
}

fn policy(domain: String, why: Why) -> State {
    let question = Question::Txt(domain.clone());
    State::Ask(question, Purpose::Policy { domain, why })
}

/// The addresses of an answer, both families; `None` without an answer.
fn addresses(answer: &Answer) -> Option<Vec<IpAddr>> {
    match answer {
        Answer::TempFail => None,
        Answer::NoData | Answer::NxDomain => Some(Vec::new()),
        Answer::Records(records) => Some(
            records
                .iter()
                .take(RECORDS_MAX)
                .filter_map(|record| match record {
                    Dns::A(address) => Some(IpAddr::V4(*address)),
                    Dns::Aaaa(address) => Some(IpAddr::V6(*address)),
                    _ => None,
                })
                .collect(),
        ),
    }
}

/// The domain to begin with, in ASCII form (RFC 7208, 4.3); `None` when it can't be checked.
fn first_domain(domain: &str) -> Option<String> {
    // No name is longer, even with each of its characters spelled in several octets.
    if domain.len() > NAME_MAX * 4 {
        return None;
    }
    let domain = if domain.is_ascii() {
        domain.to_ascii_lowercase()
    } else {
        idna::domain_to_ascii(domain).ok()?
    };
    let domain = domain.strip_suffix('.').unwrap_or(&domain).to_owned();
    let plain = domain
        .bytes()
        .all(|b| b.is_ascii_graphic() && !b"[]".contains(&b));
    (plain && is_checkable(&domain)).then_some(domain)
}

/// A name of at least two labels.
fn is_checkable(name: &str) -> bool {
    can_exist(name) && name.contains('.')
}

/// Whether the DNS can hold such a name at all (RFC 1035, 2.3.4).
fn can_exist(name: &str) -> bool {
    name.len() <= NAME_MAX
        && name
            .split('.')
            .all(|label| (1..=LABEL_MAX).contains(&label.len()))
}

impl Check for Spf {
    type Verdict = SpfVerdict;

    fn poll(&mut self) -> Need<SpfVerdict> {
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Evaluate => self.state = self.evaluate(),
                State::Ask(question, purpose) => {
                    self.state = State::Asked(question.clone(), purpose);
                    return Need::Lookup(question);
                }
                State::Done(verdict) => return Need::Done(verdict),
                asked @ (State::Asked(..) | State::Over) => {
                    self.state = asked;
                    return Need::Wait;
                }
            }
        }
    }

    fn answer(&mut self, question: &Question, answer: &Answer) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Asked(asked, purpose) if asked == *question => {
                self.state = self.answered(&asked, purpose, answer);
            }
            other => self.state = other,
        }
    }
}
