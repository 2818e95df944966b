//! What the domain says of its mail: SPF, DKIM keys, DMARC.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use sender_auth::dkim::KeyRecord;
use sender_auth::dkim::rotation::{Published, Stage};
use sender_auth::dmarc::{
    Dmarc, DmarcRecord, DmarcRequest, DmarcResult, Method, Policy, is_dmarc, permits_reports,
    report_permission_name,
};
use sender_auth::lookup::{Answer, Question};
use sender_auth::name::is_within;
use sender_auth::spf::{Spf, SpfRequest, SpfResult};

use super::{Doctor, Word};
use crate::cmd_spf;
use crate::context::{Failure, printable};
use crate::own_dns::text_record;

/// Addresses for documentation: nobody sends from there (RFC 5737, 3849).
const STRANGERS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0x77)),
];

impl Doctor<'_> {
    pub(super) fn spf(&mut self, addresses: &[IpAddr]) -> Result<(), Failure> {
        let request = |doctor: &Self, ip: IpAddr| SpfRequest {
            ip,
            helo: doctor.own.host.clone(),
            mail_from: format!("postmaster@{}", doctor.own.domain),
            receiver: "unknown".to_owned(),
            now: Timestamp::now().as_second(),
        };
        let domain = self.own.domain.clone();
        let records: Vec<String> = match self.texts(domain.clone()) {
            None => Vec::new(),
            Some(texts) => texts.into_iter().filter(|text| is_spf(text)).collect(),
        };
        for ip in addresses {
            let asked = request(self, *ip);
            let found = cmd_spf::checked(Spf::mail_from(&asked), &mut self.resolver)?;
            let (word, mend) = match (found.result, records.as_slice()) {
                (SpfResult::Pass, _) => (Word::Ok, None),
                (SpfResult::TempError, _) => (Word::Unknown, None),
                (SpfResult::None, _) if self.own.relayed => {
                    let spf = self.own.spf();
                    let mend = format!("{spf}, with the include: that the relay's owner names");
                    (Word::Bad, Some(mend))
                }
                (SpfResult::None, _) => (Word::Bad, Some(self.own.spf())),
                // Mail leaves from somewhere else.
                (_, _) if self.own.relayed => {
                    let mend = "let the record permit the host that mail is relayed through";
                    (Word::Note, Some(mend.to_owned()))
                }
                (SpfResult::PermError, [record]) => {
                    let mend = format!(
                        "correct `{}`; what this host needs is {}",
                        printable(record),
                        self.own.spf()
                    );
                    (Word::Bad, Some(mend))
                }
                (SpfResult::PermError, several) if several.len() > 1 => {
                    let all: Vec<String> = several
                        .iter()
                        .map(|record| format!("`{}`", printable(record)))
                        .collect();
                    let mend = format!("keep one of {}, such as {}", all.join(" "), self.own.spf());
                    (Word::Bad, Some(mend))
                }
                (_, [record]) => {
                    let record = permitting(record, *ip);
                    (Word::Bad, Some(text_record(&domain, &record)))
                }
                _ => (Word::Bad, Some(self.own.spf())),
            };
            self.say(word, "spf", cmd_spf::line(&found), mend);
            if self.own.host == self.own.domain {
                continue;
            }
            let helo = cmd_spf::checked(Spf::helo(&asked), &mut self.resolver)?;
            let (word, mend) = match helo.result {
                SpfResult::Pass => (Word::Ok, None),
                SpfResult::TempError => (Word::Unknown, None),
                _ => (Word::Note, Some(self.own.helo_spf())),
            };
            self.say(word, "spf", cmd_spf::line(&helo), mend);
        }
        let [record] = records.as_slice() else {
            return Ok(());
        };
        for stranger in STRANGERS {
            let asked = request(self, stranger);
            let found = cmd_spf::checked(Spf::mail_from(&asked), &mut self.resolver)?;
            let mend = Some(text_record(&domain, &closed(record)));
            match found.result {
                SpfResult::Pass => {
                    let found = format!("anybody may send, {stranger} too");
                    self.say(Word::Bad, "spf", found, mend);
                    break;
                }
                SpfResult::Neutral => {
                    let found =
                        "says nothing of strangers, so that forged mail is not seen as such";
                    self.say(Word::Note, "spf", found, mend);
                    break;
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn dkim(&mut self) {
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
            let answer = self.resolver.ask(&Question::Txt(name.clone()));
            let found = Published::judge(&key.public, &answer);
            let word = match (found, key.stage) {
                (Published::Same, _) => Word::Ok,
                (Published::Unavailable, _) => Word::Unknown,
                (_, Stage::Current) => Word::Bad,
                _ => Word::Note,
            };
            let mut text = format!("{} {} {}", key.selector, key.stage, found.as_str());
            if let Published::Bad(problem) = found {
                text += &format!(": {problem}");
            }
            let publish = matches!(word, Word::Bad | Word::Note).then(|| {
                let record = self.own.dkim(key);
                match found {
                    Published::Missing => record,
                    _ => format!("in the place of all text records of {name}: {record}"),
                }
            });
            lines.push((word, text, publish));
            let testing = |text: &[u8]| KeyRecord::parse(text).is_ok_and(|record| record.testing);
            if found == Published::Same && answer.texts().any(testing) {
                let text = format!("{} is published for testing (t=y)", key.selector);
                lines.push((Word::Note, text, Some(self.own.dkim(key))));
            }
        }
        for (word, found, mend) in lines {
            self.say(word, "dkim", found, mend);
        }
    }

    pub(super) fn dmarc(&mut self) {
        let name = format!("_dmarc.{}", self.own.domain);
        let answer = self.resolver.ask(&Question::Txt(name.clone()));
        if answer == Answer::TempFail {
            return self.say(Word::Unknown, "dmarc", "no answer", None);
        }
        let texts: Vec<&[u8]> = answer.texts().filter(|text| is_dmarc(text)).collect();
        let mend = self.own.dmarc();
        match texts.as_slice() {
            [] => {
                let other = answer.texts().next().map(String::from_utf8_lossy);
                self.inherited_dmarc(other.map(|text| text.into_owned()));
            }
            [text] => match DmarcRecord::parse(text) {
                Err(error) => {
                    let found = format!("{error}: {}", String::from_utf8_lossy(text));
                    let mend = format!("in the place of it: {mend}");
                    self.say(Word::Bad, "dmarc", found, Some(mend));
                }
                Ok(record) => {
                    let domain = self.own.domain.clone();
                    self.dmarc_record(&domain, record.policy, &record);
                }
            },
            _ => {
                let mend = format!("in the place of all of them: {mend}");
                let found = "several records count as none";
                self.say(Word::Bad, "dmarc", found, Some(mend));
            }
        }
    }

    /// No record at the domain itself: that of the organization counts.
    fn inherited_dmarc(&mut self, other: Option<String>) {
        let request = DmarcRequest {
            author: self.own.domain.clone(),
            spf: None,
            dkim: Vec::new(),
            unsure: false,
            sample: 0,
        };
        let verdict = self
            .resolver
            .run(&mut Dmarc::new(request, Method::TreeWalk));
        let policy = verdict.as_ref().map(|verdict| verdict.disposition.policy());
        let found = verdict.as_ref().and_then(|verdict| verdict.found.clone());
        if let (Some(policy), Some(found)) = (policy, found) {
            return self.dmarc_record(&found.domain, policy, &found.record);
        }
        if verdict.is_some_and(|verdict| verdict.result == DmarcResult::TempError) {
            return self.say(Word::Unknown, "dmarc", "no answer", None);
        }
        let (found, mend) = match other {
            None => ("no record".to_owned(), self.own.dmarc()),
            Some(text) => (
                format!("no record that begins with v=DMARC1, but {text}"),
                format!("in the place of it: {}", self.own.dmarc()),
            ),
        };
        self.say(Word::Bad, "dmarc", found, Some(mend));
    }

    fn dmarc_record(&mut self, domain: &str, policy: Policy, record: &DmarcRecord) {
        let whose = match domain == self.own.domain {
            true => String::new(),
            false => format!(" of {domain}"),
        };
        let found = format!("policy {policy}{whose}");
        if policy == Policy::None {
            let mend = "p=quarantine or p=reject when the reports show no own mail failing";
            self.say(Word::Note, "dmarc", found, Some(mend.to_owned()));
        } else if record.testing || record.percent < 100 {
            let found = match record.testing {
                true => format!("{found}, for testing (t=y)"),
                false => format!("{found}, for {} percent of the mail", record.percent),
            };
            let mend = "take t= and pct= out when the reports show no own mail failing";
            self.say(Word::Note, "dmarc", found, Some(mend.to_owned()));
        } else {
            self.say(Word::Ok, "dmarc", found, None);
        }
        if record.aggregate.is_empty() {
            let mend = format!("add rua=mailto:postmaster@{}", self.own.domain);
            let found = "nobody gets the reports";
            self.say(Word::Note, "dmarc", found, Some(mend));
        }
        let mut asked: Vec<String> = Vec::new();
        for place in record.aggregate.iter().chain(&record.failure) {
            let name = report_permission_name(domain, &place.mailbox);
            let (Some(name), Some((_, host))) = (name, place.mailbox.rsplit_once('@')) else {
                let found = format!("{} is no address for reports", place.mailbox);
                let mend = self.own.dmarc();
                self.say(Word::Bad, "dmarc", found, Some(mend));
                continue;
            };
            let host = host.to_ascii_lowercase();
            // RFC 7489, 7.1: another organization has to say that it takes the reports.
            if is_within(&host, domain) || is_within(domain, &host) || asked.contains(&host) {
                continue;
            }
            let answer = self.resolver.ask(&Question::Txt(name.clone()));
            if answer == Answer::TempFail {
                let found = format!("no answer whether {host} takes the reports");
                self.say(Word::Unknown, "dmarc", found, None);
            } else if !permits_reports(answer.texts()) {
                let found = format!("{host} does not say that it takes the reports");
                let mend = format!("in the zone of {host}: {name}. IN TXT \"v=DMARC1\"");
                self.say(Word::Bad, "dmarc", found, Some(mend));
            }
            asked.push(host);
        }
    }
}

/// `v=spf1`, then nothing or a space (RFC 7208, 4.5).
fn is_spf(text: &str) -> bool {
    let Some((version, rest)) = text.split_at_checked(6) else {
        return false;
    };
    version.eq_ignore_ascii_case("v=spf1") && (rest.is_empty() || rest.starts_with(' '))
}

/// The record with an address permitted before anything else is looked at.
fn permitting(record: &str, ip: IpAddr) -> String {
    let rest = record.get(6..).unwrap_or_default().trim();
    let family = match ip {
        IpAddr::V4(_) => "ip4",
        IpAddr::V6(_) => "ip6",
    };
    format!("v=spf1 {family}:{ip} {rest}").trim_end().to_owned()
}

/// The record with strangers refused.
fn closed(record: &str) -> String {
    let mut terms: Vec<&str> = record
        .split_ascii_whitespace()
        .filter(|term| {
            let bare = term.trim_start_matches(['+', '-', '~', '?']);
            !bare.eq_ignore_ascii_case("all")
                && !term
                    .get(..9)
                    .is_some_and(|start| start.eq_ignore_ascii_case("redirect="))
        })
        .collect();
    terms.push("-all");
    terms.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mended_records() {
        let v4: IpAddr = "192.0.2.1".parse().unwrap();
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(
            permitting("v=spf1 a -all", v4),
            "v=spf1 ip4:192.0.2.1 a -all"
        );
        assert_eq!(permitting("V=SPF1", v6), "v=spf1 ip6:2001:db8::1");
        assert_eq!(closed("v=spf1 mx ?all"), "v=spf1 mx -all");
        assert_eq!(closed("v=spf1 +ALL mx"), "v=spf1 mx -all");
        assert_eq!(closed("v=spf1 a Redirect=x"), "v=spf1 a -all");
        assert!(
            is_spf("v=spf1")
                && is_spf("V=spf1 x")
                && !is_spf("v=spf10")
                && !is_spf("v=s\u{e4}\u{e4}")
        );
    }
}
