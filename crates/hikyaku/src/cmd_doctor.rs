//! `hikyaku doctor`: is a domain set up so that mail through this host is believed?

use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use daemon::EXIT_TEMPORARY;
use jiff::Timestamp;
use sender_auth::dane::{self, DaneMatch, match_chain, usable};
use sender_auth::dkim::rotation::{Published, Stage};
use sender_auth::dmarc::{DmarcRecord, Policy, is_dmarc};
use sender_auth::lookup::{Answer, Question, Record};
use sender_auth::spf::{Spf, SpfRequest, SpfResult};
use sender_auth::{mta_sts, tlsrpt};

use crate::cmd_spf;
use crate::context::{Context, Failure, printable};
use crate::dkim_keys::Dir;
use crate::lookups::{Dns, Resolver};
use crate::own_dns::OwnDns;

/// A clock before this second (2026-01-01) is wrong: the program is younger.
const CLOCK_MIN: i64 = 1_767_225_600;

/// What systemd-timesyncd and chrony leave behind when they work.
const CLOCK_FILES: [&str; 3] = [
    "/run/systemd/timesync/synchronized",
    "/run/chrony/chronyd.pid",
    "/run/ntpd.pid",
];

/// Options of `hikyaku doctor`.
#[derive(clap::Args)]
pub struct Args {
    domain: String,
    #[command(flatten)]
    dir: Dir,
    #[command(flatten)]
    dns: Dns,
    /// A public address of this host; else those that the DNS has for its name.
    #[arg(long, value_name = "ADDRESS")]
    ip: Vec<IpAddr>,
}

/// How one check ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Ok,
    /// It could be better.
    Note,
    Bad,
    /// There was no answer.
    Unknown,
}

struct Doctor {
    own: OwnDns,
    resolver: Resolver,
    /// Word, subject, what was found, what to do.
    lines: Vec<(Word, &'static str, String, Option<String>)>,
}

pub fn run(args: &Args, context: &mut Context) -> Result<ExitCode, Failure> {
    let mut doctor = Doctor {
        own: OwnDns::read(&args.domain, &args.dir, context)?,
        resolver: args.dns.resolver()?,
        lines: Vec::new(),
    };
    doctor.mail_hosts();
    let addresses = doctor.addresses(&args.ip);
    for ip in &addresses {
        doctor.reverse(*ip);
    }
    doctor.spf(&addresses)?;
    doctor.dkim();
    doctor.dmarc();
    doctor.tls_policy();
    doctor.tlsa();
    doctor.clock();

    let count = |word| doctor.lines.iter().filter(|line| line.0 == word).count();
    let (bad, unknown) = (count(Word::Bad), count(Word::Unknown));
    let word = match (bad, unknown) {
        (0, 0) => "ok",
        (0, _) => "unknown",
        _ => "bad",
    };
    writeln!(
        context.out,
        "{word}: {}: checks {}, bad {bad}, notes {}, unknown {unknown}",
        doctor.own.domain,
        doctor.lines.len(),
        count(Word::Note)
    )?;
    for (word, subject, found, mend) in &doctor.lines {
        let word = match word {
            Word::Ok => "ok",
            Word::Note => "note",
            Word::Bad => "bad",
            Word::Unknown => "unknown",
        };
        writeln!(context.out, "  {word} {subject}: {}", printable(found))?;
        if let Some(mend) = mend {
            writeln!(context.out, "    mend: {mend}")?;
        }
    }
    Ok(match (bad, unknown) {
        (0, 1..) => ExitCode::from(EXIT_TEMPORARY),
        _ => ExitCode::SUCCESS,
    })
}

impl Doctor {
    fn say(
        &mut self,
        word: Word,
        subject: &'static str,
        found: impl ToString,
        mend: Option<String>,
    ) {
        self.lines.push((word, subject, found.to_string(), mend));
    }

    fn mail_hosts(&mut self) {
        let mend = Some(self.own.mx());
        match self.resolver.ask(&Question::Mx(self.own.domain.clone())) {
            Answer::TempFail => self.say(Word::Unknown, "mx", "no answer", None),
            Answer::NoData | Answer::NxDomain => self.say(Word::Bad, "mx", "no record", mend),
            Answer::Records(records) => {
                let hosts: Vec<String> = records
                    .into_iter()
                    .filter_map(|record| match record {
                        Record::Mx { host, .. } => Some(host.to_ascii_lowercase()),
                        _ => None,
                    })
                    .collect();
                if hosts.contains(&self.own.host) {
                    self.say(Word::Ok, "mx", hosts.join(", "), None);
                } else {
                    let found = format!("{}: not this host", hosts.join(", "));
                    self.say(Word::Bad, "mx", found, mend);
                }
            }
        }
    }

    /// The addresses of this host's name; those given on the command line must be among them.
    fn addresses(&mut self, given: &[IpAddr]) -> Vec<IpAddr> {
        let host = self.own.host.clone();
        let Some(published) = addresses(&mut self.resolver, &host) else {
            self.say(Word::Unknown, "address", "no answer", None);
            return given.to_vec();
        };
        let missing: Vec<IpAddr> = given
            .iter()
            .filter(|ip| !published.contains(ip))
            .copied()
            .collect();
        if published.is_empty() || !missing.is_empty() {
            let mend = self.own.addresses(&missing).join(" and ");
            let found = format!("{host} lacks an address record");
            self.say(Word::Bad, "address", found, Some(mend));
        } else {
            let list: Vec<String> = published.iter().map(IpAddr::to_string).collect();
            self.say(Word::Ok, "address", list.join(", "), None);
        }
        match given.is_empty() {
            true => published,
            false => given.to_vec(),
        }
    }

    fn reverse(&mut self, ip: IpAddr) {
        let mend = Some(format!(
            "let whoever gave you {ip} set {}",
            self.own.reverse(ip)
        ));
        match self.resolver.ask(&Question::Ptr(ip)) {
            Answer::TempFail => {
                self.say(Word::Unknown, "reverse", format!("{ip}: no answer"), None)
            }
            Answer::NoData | Answer::NxDomain => {
                self.say(Word::Bad, "reverse", format!("{ip} has no name"), mend);
            }
            Answer::Records(records) => {
                let names: Vec<String> = records
                    .into_iter()
                    .filter_map(|record| match record {
                        Record::Ptr(name) => Some(name.to_ascii_lowercase()),
                        _ => None,
                    })
                    .collect();
                let found = format!("{ip} is {}", names.join(", "));
                match names.contains(&self.own.host) {
                    true => self.say(Word::Ok, "reverse", found, None),
                    false => self.say(Word::Bad, "reverse", found, mend),
                }
            }
        }
    }

    fn spf(&mut self, addresses: &[IpAddr]) -> Result<(), Failure> {
        for ip in addresses {
            let request = SpfRequest {
                ip: *ip,
                helo: self.own.host.clone(),
                mail_from: format!("postmaster@{}", self.own.domain),
                receiver: "unknown".to_owned(),
                now: Timestamp::now().as_second(),
            };
            let found = cmd_spf::checked(Spf::mail_from(&request), &mut self.resolver)?;
            let word = match found.result {
                SpfResult::Pass => Word::Ok,
                SpfResult::TempError => Word::Unknown,
                _ => Word::Bad,
            };
            let mend = match (word, found.result) {
                (Word::Bad, SpfResult::None) => Some(self.own.spf()),
                (Word::Bad, _) => Some(format!(
                    "let the record of {} permit {ip}, as in {}",
                    self.own.domain,
                    self.own.spf()
                )),
                _ => None,
            };
            self.say(word, "spf", cmd_spf::line(&found), mend);
            if self.own.host == self.own.domain {
                continue;
            }
            let helo = cmd_spf::checked(Spf::helo(&request), &mut self.resolver)?;
            let (word, mend) = match helo.result {
                SpfResult::Pass => (Word::Ok, None),
                SpfResult::TempError => (Word::Unknown, None),
                _ => (Word::Note, Some(self.own.helo_spf())),
            };
            self.say(word, "spf", cmd_spf::line(&helo), mend);
        }
        Ok(())
    }

    fn dkim(&mut self) {
        if !self.own.keys.iter().any(|key| key.stage == Stage::Current) {
            let domain = &self.own.domain;
            let mend = match self.own.keys.is_empty() {
                true => format!("`hikyaku dkim key new {domain}`"),
                false => {
                    format!("publish the key, then `hikyaku dkim key check --switch {domain}`")
                }
            };
            self.say(Word::Bad, "dkim", "no key signs", Some(mend));
        }
        let mut lines = Vec::new();
        for key in &self.own.keys {
            let name = format!("{}._domainkey.{}", key.selector, self.own.domain);
            let found = Published::judge(&key.public, &self.resolver.ask(&Question::Txt(name)));
            let word = match (found, key.stage) {
                (Published::Same, _) => Word::Ok,
                (Published::Unavailable, _) => Word::Unknown,
                (_, Stage::Current) => Word::Bad,
                _ => Word::Note,
            };
            let text = format!("{} {} {}", key.selector, key.stage, found.as_str());
            let publish = matches!(word, Word::Bad | Word::Note).then(|| self.own.dkim(key));
            lines.push((word, "dkim", text, publish));
        }
        self.lines.append(&mut lines);
    }

    fn dmarc(&mut self) {
        let name = format!("_dmarc.{}", self.own.domain);
        let answer = self.resolver.ask(&Question::Txt(name));
        if answer == Answer::TempFail {
            return self.say(Word::Unknown, "dmarc", "no answer", None);
        }
        let texts: Vec<&[u8]> = answer.texts().filter(|text| is_dmarc(text)).collect();
        let mend = Some(self.own.dmarc());
        match texts.as_slice() {
            [] => self.say(Word::Bad, "dmarc", "no record", mend),
            [text] => match DmarcRecord::parse(text) {
                Err(error) => self.say(Word::Bad, "dmarc", error, mend),
                Ok(record) if record.policy == Policy::None => {
                    let mend = "p=quarantine or p=reject when the reports show no own mail failing";
                    self.say(Word::Note, "dmarc", "policy none", Some(mend.to_owned()));
                }
                Ok(record) => {
                    let found = format!("policy {}", record.policy);
                    self.say(Word::Ok, "dmarc", found, None);
                }
            },
            _ => self.say(Word::Bad, "dmarc", "several records count as none", mend),
        }
    }

    fn tls_policy(&mut self) {
        let domain = self.own.domain.clone();
        let answer = self
            .resolver
            .ask(&Question::Txt(mta_sts::record_name(&domain)));
        match mta_sts::record_id(answer.texts()) {
            _ if answer == Answer::TempFail => {
                self.say(Word::Unknown, "mta-sts", "no answer", None)
            }
            Ok(id) => {
                let found =
                    format!("id {id}; `hikyaku mta-sts check {domain}` looks at the policy");
                self.say(Word::Ok, "mta-sts", found, None);
            }
            Err(mta_sts::StsRecordError::None) => {
                let mend = format!("see `hikyaku dns print {domain}`");
                self.say(Word::Note, "mta-sts", "no record", Some(mend));
            }
            Err(error) => {
                let mend = self.own.mta_sts("1");
                self.say(Word::Bad, "mta-sts", error, Some(mend));
            }
        }
        let answer = self
            .resolver
            .ask(&Question::Txt(tlsrpt::record_name(&domain)));
        let mend = Some(self.own.tlsrpt());
        match tlsrpt::places(answer.texts()) {
            _ if answer == Answer::TempFail => self.say(Word::Unknown, "tlsrpt", "no answer", None),
            Ok(places) => {
                let found = format!("places {}", places.len());
                self.say(Word::Ok, "tlsrpt", found, None);
            }
            Err(tlsrpt::TlsRptError::None) => self.say(Word::Note, "tlsrpt", "no record", mend),
            Err(error) => self.say(Word::Bad, "tlsrpt", error, mend),
        }
    }

    fn tlsa(&mut self) {
        let name = dane::record_name(&self.own.host, 25);
        let (answer, authentic) = self.resolver.ask_authentic(&Question::Tlsa(name));
        let Answer::Records(records) = answer else {
            match answer {
                Answer::TempFail => self.say(Word::Unknown, "tlsa", "no answer", None),
                _ => self.say(
                    Word::Note,
                    "tlsa",
                    "no record",
                    self.own.tlsa().first().cloned(),
                ),
            }
            return;
        };
        let records = usable(&records);
        let fits = |der: &Vec<u8>| match_chain(&records, &[der.as_slice()]) == DaneMatch::Host;
        // Records of usage 2 mean a certificate above ours.
        let only_anchors = records.iter().all(|one| one.usage == dane::Usage::Anchor);
        if records.is_empty() {
            let mend = self.own.tlsa().first().cloned();
            self.say(Word::Bad, "tlsa", "no record that a sender can use", mend);
        } else if only_anchors {
            self.say(Word::Note, "tlsa", "trust anchors only: not compared", None);
        } else if let Some(bad) = self.own.certificates.iter().find(|der| !fits(der)) {
            let line = dane::Tlsa::for_host(bad).map(|tlsa| tlsa.to_text());
            let mend = line.map(|line| format!("_25._tcp.{}. IN TLSA {line}", self.own.host));
            self.say(
                Word::Bad,
                "tlsa",
                "a certificate of this host does not fit",
                mend,
            );
        } else if self.own.certificates.is_empty() {
            let mend = "configure the certificate, or take the record out of the zone";
            let found = "a record, but no certificate is configured";
            self.say(Word::Bad, "tlsa", found, Some(mend.to_owned()));
        } else if authentic {
            self.say(Word::Ok, "tlsa", "fits", None);
        } else {
            let found = "fits, but the answer is not proven by DNSSEC, or the resolver is not trusted to say so";
            self.say(Word::Note, "tlsa", found, None);
        }
    }

    fn clock(&mut self) {
        let now = Timestamp::now();
        if now.as_second() < CLOCK_MIN {
            let mend = "set the clock; run chrony or systemd-timesyncd".to_owned();
            self.say(Word::Bad, "clock", now, Some(mend));
        } else if CLOCK_FILES.iter().any(|file| Path::new(file).exists()) {
            self.say(
                Word::Ok,
                "clock",
                format!("{now}, kept by a time service"),
                None,
            );
        } else {
            let mend = "run chrony or systemd-timesyncd".to_owned();
            let found = format!("{now}, and no time service was found");
            self.say(Word::Note, "clock", found, Some(mend));
        }
    }
}

/// Both families; `None` if a question had no answer.
fn addresses(resolver: &mut Resolver, host: &str) -> Option<Vec<IpAddr>> {
    let mut found = Vec::new();
    for question in [
        Question::A(host.to_owned()),
        Question::Aaaa(host.to_owned()),
    ] {
        match resolver.ask(&question) {
            Answer::TempFail => return None,
            Answer::NoData | Answer::NxDomain => {}
            Answer::Records(records) => {
                found.extend(records.iter().filter_map(|record| match record {
                    Record::A(ip) => Some(IpAddr::V4(*ip)),
                    Record::Aaaa(ip) => Some(IpAddr::V6(*ip)),
                    _ => None,
                }))
            }
        }
    }
    Some(found)
}
