//! Finding the policy, and holding what was proven against it.

use std::sync::Arc;

use super::record::{Alignment, DmarcRecord, Policy, is_dmarc};
use super::suffix::{SuffixList, last_labels};
use super::verdict::{AuthorProblem, Disposition, DmarcResult, DmarcVerdict, Found};
use crate::dkim::Verified;
use crate::lookup::{Answer, Check, Need, Question};
use crate::name::ascii_name;
use crate::spf::SpfVerdict;

/// Most names that a walk up the tree asks (RFC 9989 and its drafts, 4.10).
pub const WALK_MAX: usize = 8;

/// How the organizational domain is found.
#[derive(Debug, Clone, Default)]
pub enum Method {
    /// By walking up the tree of names (the successor of RFC 7489).
    #[default]
    TreeWalk,
    /// With the public suffix list (RFC 7489, 3.2).
    Suffixes(Arc<SuffixList>),
}

/// What goes into the check.
#[derive(Debug, Clone)]
pub struct DmarcRequest {
    /// The author's domain in ASCII form and lower case, as [`author_domain`] gives it.
    pub author: String,
    /// The domain that SPF proved: that of the reverse-path, or of HELO for a bounce.
    pub spf: Option<String>,
    /// The domains of valid DKIM signatures.
    pub dkim: Vec<String>,
    /// A check of SPF or DKIM had no answer, so that a fail is not final.
    pub unsure: bool,
    /// A number from 0 to 99 chosen at random for this message, held against `pct`.
    pub sample: u8,
}

impl DmarcRequest {
    /// From what the checks of SPF and DKIM found. Without SPF give `None`.
    pub fn new(author: String, spf: Option<&SpfVerdict>, dkim: &Verified, sample: u8) -> Self {
        use crate::dkim::verify::DkimResult;
        use crate::spf::SpfResult;
        let spf_unsure = spf.is_some_and(|verdict| verdict.result == SpfResult::TempError);
        let dkim_unsure = dkim
            .signatures
            .iter()
            .any(|one| one.result() == DkimResult::TempError);
        Self {
            author,
            spf: spf.and_then(SpfVerdict::passing_domain).map(str::to_owned),
            dkim: dkim.passing_domains().map(str::to_owned).collect(),
            unsure: spf_unsure || dkim_unsure,
            sample,
        }
    }
}

/// The author's domain from the value of each From field, `addresses` being the domains of the
/// addresses that stand in the only one.
///
/// # Errors
/// [`AuthorProblem`] when there is not exactly one domain to ask.
pub fn author_domain<'a>(
    from_fields: usize,
    addresses: impl IntoIterator<Item = &'a str>,
) -> Result<String, AuthorProblem> {
    match from_fields {
        0 => return Err(AuthorProblem::NoFrom),
        1 => {}
        _ => return Err(AuthorProblem::SeveralFrom),
    }
    let mut found: Option<String> = None;
    for domain in addresses {
        let domain = ascii_name(domain.as_bytes()).ok_or(AuthorProblem::BadDomain)?;
        match &found {
            Some(known) if *known != domain => return Err(AuthorProblem::SeveralDomains),
            _ => found = Some(domain),
        }
    }
    found.ok_or(AuthorProblem::NoAddress)
}

/// One record that a walk met.
#[derive(Debug, Clone)]
struct Met {
    domain: String,
    record: DmarcRecord,
}

/// A walk up the tree.
#[derive(Debug)]
struct Walk {
    start: String,
    /// Names still to ask, the next one last.
    left: Vec<String>,
    met: Vec<Met>,
}

#[derive(Debug)]
enum Job {
    /// The policy of the author's domain.
    Author(Walk),
    /// Whether that domain exists at all, which `np` asks.
    Exists(Existence),
    /// The organizational domain of a proven domain.
    Proven(Walk),
}

#[derive(Debug, Clone, Copy)]
enum Existence {
    A,
    Aaaa,
    Mx,
}

#[derive(Debug)]
enum State {
    Next(Job),
    Asked(Question, Job),
    Done(Box<DmarcVerdict>),
    Over,
}

/// The check of one message.
#[derive(Debug)]
pub struct Dmarc {
    request: DmarcRequest,
    method: Method,
    organizational: String,
    found: Option<Found>,
    missing: bool,
    /// Proven domains still to be compared, SPF first.
    proven: Vec<(bool, String)>,
    spf_aligned: Option<String>,
    dkim_aligned: Vec<String>,
    unsure: bool,
    state: State,
}

impl Dmarc {
    /// Before the first question.
    pub fn new(request: DmarcRequest, method: Method) -> Self {
        let author = request.author.clone();
        let mut proven: Vec<(bool, String)> = Vec::new();
        for domain in &request.dkim {
            let one = (false, domain.to_ascii_lowercase());
            if !proven.contains(&one) {
                proven.push(one);
            }
        }
        proven.extend(request.spf.iter().map(|d| (true, d.to_ascii_lowercase())));
        let walk = match &method {
            Method::TreeWalk => Walk::up(&author),
            Method::Suffixes(list) => {
                let organizational = list.organizational(&author).to_owned();
                Walk::of(&author, [author.clone(), organizational])
            }
        };
        Self {
            unsure: request.unsure,
            organizational: author,
            request,
            method,
            found: None,
            missing: false,
            proven,
            spf_aligned: None,
            dkim_aligned: Vec::new(),
            state: State::Next(Job::Author(walk)),
        }
    }

    fn verdict(&self, result: DmarcResult, reason: Option<String>) -> State {
        let below = self
            .found
            .as_ref()
            .is_some_and(|found| found.domain != self.request.author);
        let asked = match (&self.found, result) {
            (Some(found), DmarcResult::Fail) => found.record.policy_for(below, self.missing),
            _ => Policy::None,
        };
        let record = self.found.as_ref().map(|found| &found.record);
        let testing = record.is_some_and(|record| record.testing);
        let percent = record.map_or(100, |record| record.percent);
        let disposition = if asked == Policy::None {
            Disposition::Asked(asked)
        } else if testing {
            Disposition::Testing(asked, asked.milder())
        } else if self.request.sample >= percent {
            Disposition::Sampled(asked, asked.milder())
        } else {
            Disposition::Asked(asked)
        };
        State::Done(Box::new(DmarcVerdict {
            result,
            author: self.request.author.clone(),
            organizational: self.organizational.clone(),
            found: self.found.clone(),
            spf_aligned: self.spf_aligned.clone(),
            dkim_aligned: self.dkim_aligned.clone(),
            disposition,
            missing: self.missing,
            reason,
        }))
    }

    /// The author's policy is known as far as it can be.
    fn policy_found(&mut self, walk: Walk) -> State {
        match &self.method {
            Method::TreeWalk => {
                self.organizational = walk.organizational().to_owned();
                let mut met = walk.met;
                // Its own record, else that of the organizational domain, else the nearest.
                let place = met
                    .iter()
                    .position(|one| one.domain == self.request.author)
                    .or_else(|| met.iter().position(|one| one.domain == self.organizational))
                    .or(if met.is_empty() { None } else { Some(0) });
                self.found = place.map(|place| met.swap_remove(place)).map(Met::found);
            }
            Method::Suffixes(list) => {
                self.organizational = list.organizational(&self.request.author).to_owned();
                self.found = walk.met.into_iter().next().map(Met::found);
            }
        }
        let Some(found) = &self.found else {
            return self.verdict(DmarcResult::None, Some("no DMARC record".to_owned()));
        };
        let matters = found.domain != self.request.author && found.record.missing_policy.is_some();
        match matters {
            true => State::Next(Job::Exists(Existence::A)),
            false => self.compare(),
        }
    }

    /// Compares proven domains as far as it goes without an answer.
    fn compare(&mut self) -> State {
        let Some(found) = &self.found else {
            return State::Over;
        };
        let (spf, dkim) = (found.record.spf, found.record.dkim);
        while let Some((is_spf, domain)) = self.proven.pop() {
            let alignment = if is_spf { spf } else { dkim };
            let same = domain == self.request.author;
            if same || alignment == Alignment::Strict {
                if same {
                    self.aligned(is_spf, domain);
                }
                continue;
            }
            match &self.method {
                Method::Suffixes(list) => {
                    if list.organizational(&domain) == self.organizational {
                        self.aligned(is_spf, domain);
                    }
                }
                Method::TreeWalk => {
                    // Only a name that has the organizational domain in it can belong to it.
                    if crate::name::is_within(&domain, &self.organizational) {
                        let walk = Walk::up(&domain);
                        self.proven.push((is_spf, domain));
                        return State::Next(Job::Proven(walk));
                    }
                }
            }
        }
        if self.spf_aligned.is_some() || !self.dkim_aligned.is_empty() {
            return self.verdict(DmarcResult::Pass, None);
        }
        if self.unsure {
            let reason = "no aligned pass, and a query had no answer";
            return self.verdict(DmarcResult::TempError, Some(reason.to_owned()));
        }
        let reason = match (&self.request.spf, self.request.dkim.as_slice()) {
            (None, []) => "neither SPF nor DKIM passed".to_owned(),
            (spf, dkim) => {
                let mut domains: Vec<&str> = dkim.iter().map(String::as_str).collect();
                domains.extend(spf.as_deref());
                format!("not aligned with {}", domains.join(", "))
            }
        };
        self.verdict(DmarcResult::Fail, Some(reason))
    }

    fn aligned(&mut self, is_spf: bool, domain: String) {
        if is_spf {
            self.spf_aligned = Some(domain);
        } else {
            self.dkim_aligned.push(domain);
        }
    }

    fn walked(&mut self, walk: Walk) -> State {
        if let Some((is_spf, domain)) = self.proven.pop()
            && walk.organizational() == self.organizational
        {
            self.aligned(is_spf, domain);
        }
        self.compare()
    }

    fn answered(&mut self, job: Job, answer: &Answer) -> State {
        match job {
            Job::Author(mut walk) => {
                if *answer == Answer::TempFail {
                    let reason = format!("no answer for the policy of {}", walk.asking());
                    return self.verdict(DmarcResult::TempError, Some(reason));
                }
                let done = walk.take(answer, matches!(self.method, Method::Suffixes(_)));
                if done {
                    self.policy_found(walk)
                } else {
                    State::Next(Job::Author(walk))
                }
            }
            Job::Proven(mut walk) => {
                if *answer == Answer::TempFail {
                    self.unsure = true;
                    self.proven.pop();
                    return self.compare();
                }
                match walk.take(answer, false) {
                    true => self.walked(walk),
                    false => State::Next(Job::Proven(walk)),
                }
            }
            Job::Exists(which) => match (answer, which) {
                (Answer::NoData, Existence::A) => State::Next(Job::Exists(Existence::Aaaa)),
                (Answer::NoData, Existence::Aaaa) => State::Next(Job::Exists(Existence::Mx)),
                // A name without addresses and mail exchangers sends no mail (RFC 9091, 2.7).
                (Answer::NxDomain, _) | (Answer::NoData, Existence::Mx) => {
                    self.missing = true;
                    self.compare()
                }
                (Answer::Records(_) | Answer::TempFail, _) => self.compare(),
            },
        }
    }

    fn question(&self, job: &Job) -> Question {
        let name = self.request.author.clone();
        match job {
            Job::Author(walk) | Job::Proven(walk) => {
                Question::Txt(format!("_dmarc.{}", walk.asking()))
            }
            Job::Exists(Existence::A) => Question::A(name),
            Job::Exists(Existence::Aaaa) => Question::Aaaa(name),
            Job::Exists(Existence::Mx) => Question::Mx(name),
        }
    }
}

impl Met {
    fn found(self) -> Found {
        Found {
            domain: self.domain,
            record: self.record,
        }
    }
}

impl Walk {
    /// From a name to its top-level domain, at most [`WALK_MAX`] names: longer ones go on with
    /// their last seven labels after the first question.
    fn up(name: &str) -> Self {
        let labels = name.split('.').count();
        let mut names = vec![name.to_owned()];
        let next = (labels - 1).min(WALK_MAX - 1);
        names.extend(
            (1..=next)
                .rev()
                .map(|count| last_labels(name, count).to_owned()),
        );
        Self::of(name, names)
    }

    /// Over these names in this order; repeated ones are left out.
    fn of(start: &str, names: impl IntoIterator<Item = String>) -> Self {
        let mut left: Vec<String> = names.into_iter().collect();
        left.dedup();
        left.reverse();
        Self {
            start: start.to_owned(),
            left,
            met: Vec::new(),
        }
    }

    fn asking(&self) -> &str {
        self.left.last().map_or("", String::as_str)
    }

    /// Takes the answer for the name under question; whether the walk is over.
    fn take(&mut self, answer: &Answer, first_is_enough: bool) -> bool {
        let Some(domain) = self.left.pop() else {
            return true;
        };
        let mut texts = answer.texts().filter(|text| is_dmarc(text));
        // Several records are as none (RFC 7489, 6.6.3).
        if let (Some(text), None) = (texts.next(), texts.next())
            && let Ok(record) = DmarcRecord::parse(text)
        {
            // `psd=y` at the start itself says nothing about where its organization begins.
            let enough = match record.public_suffix {
                _ if first_is_enough => true,
                Some(true) => domain != self.start,
                Some(false) => true,
                None => false,
            };
            self.met.push(Met { domain, record });
            if enough {
                return true;
            }
        }
        self.left.is_empty()
    }

    /// The organizational domain by the records that were met: where `psd=n` stands, the name
    /// below `psd=y`, else the one with the fewest labels.
    fn organizational(&self) -> &str {
        for one in &self.met {
            match one.record.public_suffix {
                Some(false) => return &one.domain,
                Some(true) if one.domain != self.start => {
                    return last_labels(&self.start, one.domain.split('.').count() + 1);
                }
                _ => {}
            }
        }
        self.met.last().map_or(&self.start, |one| &one.domain)
    }
}

impl Check for Dmarc {
    type Verdict = DmarcVerdict;

    fn poll(&mut self) -> Need<DmarcVerdict> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Next(job) => {
                let question = self.question(&job);
                self.state = State::Asked(question.clone(), job);
                Need::Lookup(question)
            }
            State::Done(verdict) => Need::Done(*verdict),
            asked @ (State::Asked(..) | State::Over) => {
                self.state = asked;
                Need::Wait
            }
        }
    }

    fn answer(&mut self, question: &Question, answer: &Answer) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Asked(asked, job) if asked == *question => {
                self.state = self.answered(job, answer);
            }
            other => self.state = other,
        }
    }
}
