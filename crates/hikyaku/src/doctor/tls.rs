//! TLS towards this host: MTA-STS with its policy, where reports go, DANE.

use jiff::Timestamp;
use sender_auth::dane::{self, DaneMatch, match_chain, usable};
use sender_auth::lookup::{Answer, Question};
use sender_auth::mta_sts::{self, Mode, StsPolicy, policy_url};
use sender_auth::policy_answer::policy_host;
use sender_auth::tlsrpt;

use super::{Doctor, Word};
use crate::context::Failure;
use crate::https::FetchError;

/// A policy that is kept for less than a day (in seconds) protects little: whoever can hinder its
/// renewal for that long is rid of it.
const AGE_GOOD: u64 = 86_400;

impl Doctor<'_> {
    pub(super) fn mta_sts(&mut self) -> Result<(), Failure> {
        let domain = self.own.domain.clone();
        let answer = self
            .resolver
            .ask(&Question::Txt(mta_sts::record_name(&domain)));
        let id = match mta_sts::record_id(answer.texts()) {
            _ if answer == Answer::TempFail => {
                self.say(Word::Unknown, "mta-sts", "no answer", None);
                return Ok(());
            }
            Ok(id) => id,
            Err(mta_sts::StsRecordError::None) => {
                let mend = format!("see `hikyaku dns print {domain}`");
                self.say(Word::Note, "mta-sts", "no record", Some(mend));
                return Ok(());
            }
            Err(error) => {
                let mend = format!("in the place of it: {}", self.own.mta_sts(&new_id()));
                self.say(Word::Bad, "mta-sts", error, Some(mend));
                return Ok(());
            }
        };
        match self.https.fetch(&domain, &mut self.resolver)? {
            Err(FetchError::Unreachable(why)) => {
                let found = format!("id {id}, {}: {why}", policy_url(&domain));
                self.say(Word::Unknown, "mta-sts", found, None);
            }
            Err(FetchError::Refused(why)) => {
                let found = format!("id {id}, {}: {why}", policy_url(&domain));
                let mend = self.serve(Mode::Testing);
                self.say(Word::Bad, "mta-sts", found, Some(mend));
            }
            Ok(fetched) => {
                if let Some(date) = fetched.date {
                    let now = Timestamp::now().as_second();
                    self.web_date = Some((date, policy_host(&domain), now));
                }
                match StsPolicy::parse(&fetched.text) {
                    Ok(policy) => self.sts_policy(&id, &policy),
                    Err(error) => {
                        let found = format!("id {id}, {}: {error}", policy_url(&domain));
                        let mend = self.serve(Mode::Testing);
                        self.say(Word::Bad, "mta-sts", found, Some(mend));
                    }
                }
            }
        }
        Ok(())
    }

    fn sts_policy(&mut self, id: &str, policy: &StsPolicy) {
        let mut hosts = self.mail_hosts.clone();
        if !hosts.contains(&self.own.host) {
            hosts.push(self.own.host.clone());
        }
        let (mode, max_age) = (policy.mode.as_str(), policy.max_age);
        let found = format!("id {id} mode {mode} max_age {max_age}");
        let kept: Vec<String> = hosts
            .into_iter()
            .filter(|host| !policy.permits(host))
            .collect();
        if policy.mode == Mode::None {
            let mend = self.serve(Mode::Testing);
            let found = format!("{found}: as if there were no policy");
            self.say(Word::Note, "mta-sts", found, Some(mend));
        } else if !kept.is_empty() {
            let lines: Vec<String> = kept.iter().map(|host| format!("mx: {host}")).collect();
            let mend = format!(
                "add to {}\n{}\nthen {}",
                policy_url(&self.own.domain),
                lines.join("\n"),
                self.own.mta_sts(&new_id())
            );
            let found = format!("{found} does not permit {}", kept.join(", "));
            self.say(Word::Bad, "mta-sts", found, Some(mend));
        } else if max_age < AGE_GOOD {
            let mend = format!("max_age: {}", 7 * AGE_GOOD);
            let found = format!("{found}: kept for less than a day");
            self.say(Word::Note, "mta-sts", found, Some(mend));
        } else if policy.mode == Mode::Testing {
            let mend = "mode: enforce when the TLS reports show no failure".to_owned();
            self.say(Word::Note, "mta-sts", found, Some(mend));
        } else {
            self.say(Word::Ok, "mta-sts", found, None);
        }
    }

    /// What has to be served, and the record that makes senders fetch it.
    fn serve(&self, mode: Mode) -> String {
        let mut mx = self.mail_hosts.clone();
        if !mx.contains(&self.own.host) {
            mx.push(self.own.host.clone());
        }
        let policy = StsPolicy {
            mode,
            max_age: 7 * AGE_GOOD,
            mx,
        };
        format!(
            "serve this as text/plain at {} under a certificate of that name, without a redirect\n\
             {}then {}",
            policy_url(&self.own.domain),
            policy.to_text().replace("\r\n", "\n"),
            self.own.mta_sts(&new_id())
        )
    }

    pub(super) fn tlsrpt(&mut self) {
        let answer = self
            .resolver
            .ask(&Question::Txt(tlsrpt::record_name(&self.own.domain)));
        let mend = self.own.tlsrpt();
        match tlsrpt::places(answer.texts()) {
            _ if answer == Answer::TempFail => self.say(Word::Unknown, "tlsrpt", "no answer", None),
            Ok(places) => {
                let found = format!("places {}", places.len());
                self.say(Word::Ok, "tlsrpt", found, None);
            }
            Err(tlsrpt::TlsRptError::None) => {
                self.say(Word::Note, "tlsrpt", "no record", Some(mend));
            }
            Err(error) => {
                let mend = format!("in the place of it: {mend}");
                self.say(Word::Bad, "tlsrpt", error, Some(mend));
            }
        }
    }

    pub(super) fn tlsa(&mut self) {
        let name = dane::record_name(&self.own.host, 25);
        let (answer, authentic) = self.resolver.ask_authentic(&Question::Tlsa(name.clone()));
        let first = self.own.tlsa().first().cloned();
        let Answer::Records(records) = answer else {
            match answer {
                Answer::TempFail => self.say(Word::Unknown, "tlsa", "no answer", None),
                _ => self.say(Word::Note, "tlsa", "no record", first),
            }
            return;
        };
        let records = usable(&records);
        let fits = |der: &Vec<u8>| match_chain(&records, &[der.as_slice()]) == DaneMatch::Host;
        // Records of usage 2 mean a certificate above ours.
        let only_anchors = records.iter().all(|one| one.usage == dane::Usage::Anchor);
        let instead = |line: String| format!("in the place of the records of {name}: {line}");
        if records.is_empty() {
            let found = "no record that a sender can use";
            self.say(Word::Bad, "tlsa", found, first.map(instead));
        } else if only_anchors {
            self.say(Word::Note, "tlsa", "trust anchors only: not compared", None);
        } else if let Some(bad) = self.own.certificates.iter().find(|der| !fits(der)) {
            let line = dane::Tlsa::for_host(bad).map(|tlsa| tlsa.to_text());
            let mend = line.map(|line| instead(format!("{name}. IN TLSA {line}")));
            let found = "a certificate of this host does not fit";
            self.say(Word::Bad, "tlsa", found, mend);
        } else if self.own.certificates.is_empty() {
            let mend = format!(
                "configure the certificate, or take the TLSA records of {name} out of the zone"
            );
            let found = "a record, but no certificate is configured";
            self.say(Word::Bad, "tlsa", found, Some(mend));
        } else if authentic {
            self.say(Word::Ok, "tlsa", "fits", None);
        } else {
            let found = "fits, but the answer is not proven by DNSSEC, or the resolver is not trusted to say so";
            let mend = "sign the zone; ask a validating resolver on this host (--dns 127.0.0.1:53)";
            self.say(Word::Note, "tlsa", found, Some(mend.to_owned()));
        }
    }
}

/// An id that the last one was not.
fn new_id() -> String {
    Timestamp::now().strftime("%Y%m%d%H%M%S").to_string()
}
