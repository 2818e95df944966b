//! Answers for the checks of sender-auth, from the real DNS.

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use daemon::EXIT_TEMPORARY;
use dns::blocking::Client;
use dns::{Kind, Name, Outcome, Records, Settings, Trouble};
use sender_auth::lookup::{Answer, Check, Question, Record, drive};

use crate::context::Failure;

/// Where to ask, if not as the host does.
#[derive(clap::Args)]
pub struct Dns {
    /// Ask this name server instead of those of /etc/resolv.conf.
    #[arg(long = "dns", value_name = "HOST:PORT")]
    server: Option<String>,
}

impl Dns {
    /// The resolver to ask.
    pub fn resolver(&self) -> Result<Resolver, Failure> {
        let client = match &self.server {
            Some(server) => Client::new(
                Settings::from_server(server)
                    .map_err(|error| Failure::permanent(format!("--dns: {error}")))?,
            ),
            None => {
                let path = Path::new("/etc/resolv.conf");
                Client::from_file(path).map_err(|error| Failure::io(path.display(), &error))?
            }
        };
        Ok(Resolver {
            client,
            silent: false,
        })
    }
}

/// Asks the DNS and waits.
pub struct Resolver {
    client: Client,
    /// A question got no answer at all, not even that of a server with troubles of its own.
    silent: bool,
}

impl Resolver {
    /// Runs a check to its verdict; `None` if it waits for something else than the DNS.
    pub fn run<C: Check>(&mut self, check: &mut C) -> Option<C::Verdict> {
        drive(check, |question| self.ask(question))
    }

    /// How a check ends. A temporary error is a verdict when a name server said that it can't
    /// tell; when nobody answered, the check could not be made.
    pub fn exit(&self, temporary_error: bool) -> ExitCode {
        match temporary_error && self.silent {
            true => ExitCode::from(EXIT_TEMPORARY),
            false => ExitCode::SUCCESS,
        }
    }

    /// One question.
    pub fn ask(&mut self, question: &Question) -> Answer {
        self.ask_authentic(question).0
    }

    /// The name that another one is an alias of, if it is one.
    pub fn alias(&mut self, question: &Question) -> Option<String> {
        let question = translate(question)?;
        let found = self.client.lookup(&question);
        let name = found.canonical.as_str();
        (!name.eq_ignore_ascii_case(question.name.as_str())).then(|| name.to_owned())
    }

    /// One question, and whether the answer is proven by DNSSEC.
    pub fn ask_authentic(&mut self, question: &Question) -> (Answer, bool) {
        let Some(question) = translate(question) else {
            // A name that can't be written can't exist.
            return (Answer::NxDomain, false);
        };
        let found = self.client.lookup(&question);
        let answer = match &found.outcome {
            Outcome::Records(records) => Answer::Records(self::records(records)),
            Outcome::NoData => Answer::NoData,
            Outcome::NxDomain => Answer::NxDomain,
            Outcome::Temporary(why) => {
                self.silent |= !matches!(why, Trouble::ServerFailure | Trouble::CnameChain);
                Answer::TempFail
            }
        };
        (answer, found.authentic)
    }
}

fn translate(question: &Question) -> Option<dns::Question> {
    let (name, kind) = match question {
        Question::Txt(name) => (name, Kind::Txt),
        Question::A(name) => (name, Kind::A),
        Question::Aaaa(name) => (name, Kind::Aaaa),
        Question::Mx(name) => (name, Kind::Mx),
        Question::Tlsa(name) => (name, Kind::Tlsa),
        Question::Ptr(address) => return Some(reverse(*address)),
    };
    Some(dns::Question::new(Name::parse(name).ok()?, kind))
}

fn reverse(address: IpAddr) -> dns::Question {
    dns::Question::new(Name::reverse(address), Kind::Ptr)
}

fn records(records: &Records) -> Vec<Record> {
    match records {
        Records::A(list) => list.iter().map(|address| Record::A(*address)).collect(),
        Records::Aaaa(list) => list.iter().map(|address| Record::Aaaa(*address)).collect(),
        Records::Txt(list) => list.iter().cloned().map(Record::Txt).collect(),
        Records::Ptr(list) => {
            let name = |name: &Name| Record::Ptr(name.as_str().to_owned());
            list.iter().map(name).collect()
        }
        Records::Mx(list) => {
            let host = |name: &Option<Name>| name.as_ref().map_or("", Name::as_str).to_owned();
            let mx = |mx: &dns::Mx| Record::Mx {
                preference: mx.preference,
                host: host(&mx.exchange),
            };
            list.iter().map(mx).collect()
        }
        Records::Tlsa(list) => {
            let tlsa = |tlsa: &dns::Tlsa| Record::Tlsa {
                usage: tlsa.usage,
                selector: tlsa.selector,
                matching: tlsa.matching,
                data: tlsa.data.clone(),
            };
            list.iter().map(tlsa).collect()
        }
    }
}
