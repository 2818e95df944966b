//! What `hikyaku doctor` looks at, a file for each kind: the way to this host, what the domain says
//! of its mail, TLS towards it, the clock. Every finding that is not good comes with its mend.

mod clock;
mod host;
mod policies;
mod tls;

use std::net::IpAddr;

use sender_auth::lookup::{Answer, Question, Record};

use crate::context::Failure;
use crate::https::Https;
use crate::lookups::Resolver;
use crate::own_dns::OwnDns;

/// How one check ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Word {
    Ok,
    /// It could be better.
    Note,
    Bad,
    /// There was no answer.
    Unknown,
}

impl Word {
    /// As it is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Bad => "bad",
            Self::Unknown => "unknown",
        }
    }
}

/// What one check found.
pub struct Finding {
    pub word: Word,
    pub subject: &'static str,
    /// May hold foreign text.
    pub found: String,
    /// What to do, perhaps several lines; records are lines of a zone file.
    pub mend: Option<String>,
}

/// The checks of one domain.
pub struct Doctor<'a> {
    pub own: OwnDns,
    pub findings: Vec<Finding>,
    resolver: Resolver,
    https: &'a Https,
    /// The domain's mail hosts, as far as they are known.
    mail_hosts: Vec<String>,
    /// The Date field of a web server's answer, its host, and our clock at that moment.
    web_date: Option<(String, String, i64)>,
}

impl<'a> Doctor<'a> {
    /// Nothing is checked yet.
    pub const fn new(own: OwnDns, resolver: Resolver, https: &'a Https) -> Self {
        Self {
            own,
            findings: Vec::new(),
            resolver,
            https,
            mail_hosts: Vec::new(),
            web_date: None,
        }
    }

    /// All of them; `given` are this host's public addresses if somebody knows them.
    pub fn check(&mut self, given: &[IpAddr]) -> Result<(), Failure> {
        self.mail_hosts();
        let addresses = self.addresses(given);
        for ip in &addresses {
            self.reverse(*ip);
        }
        self.spf(&addresses)?;
        self.dkim();
        self.dmarc();
        self.mta_sts()?;
        self.tlsrpt();
        self.tlsa();
        self.clock();
        Ok(())
    }

    /// How many ended with this word.
    pub fn count(&self, word: Word) -> usize {
        self.findings.iter().filter(|one| one.word == word).count()
    }

    fn say(
        &mut self,
        word: Word,
        subject: &'static str,
        found: impl ToString,
        mend: Option<String>,
    ) {
        self.findings.push(Finding {
            word,
            subject,
            found: found.to_string(),
            mend,
        });
    }

    /// Texts at a name, decoded leniently; `None` without an answer.
    fn texts(&mut self, name: String) -> Option<Vec<String>> {
        let answer = self.resolver.ask(&Question::Txt(name));
        let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        (answer != Answer::TempFail).then(|| answer.texts().map(text).collect())
    }

    /// Both families; `None` if a question had no answer.
    fn addresses_of(&mut self, host: &str) -> Option<Vec<IpAddr>> {
        let mut found = Vec::new();
        for question in [
            Question::A(host.to_owned()),
            Question::Aaaa(host.to_owned()),
        ] {
            match self.resolver.ask(&question) {
                Answer::TempFail => return None,
                Answer::NoData | Answer::NxDomain => {}
                Answer::Records(records) => {
                    found.extend(records.iter().filter_map(|record| match record {
                        Record::A(ip) => Some(IpAddr::V4(*ip)),
                        Record::Aaaa(ip) => Some(IpAddr::V6(*ip)),
                        _ => None,
                    }));
                }
            }
        }
        Some(found)
    }
}
