//! What this host has to publish for one of its domains, from its configuration and its keys.

use std::net::IpAddr;

use sender_auth::crypto::PublicKey;
use sender_auth::dane::{Tlsa, certificates};
use sender_auth::dkim::KeyRecord;
use sender_auth::dkim::rotation::Stage;

use crate::context::{Context, Failure};
use crate::dkim_keys::{Dir, read};

/// Everything that the records are made of.
pub struct OwnDns {
    /// In ASCII form.
    pub domain: String,
    /// This host's name.
    pub host: String,
    /// Addresses on which it is configured to receive; none if it takes any.
    pub addresses: Vec<IpAddr>,
    /// Mail goes out through another host.
    pub relayed: bool,
    /// Keys that sign, or will.
    pub keys: Vec<Key>,
    /// The host's own certificate of each configured chain, in DER.
    pub certificates: Vec<Vec<u8>>,
}

/// A DKIM key.
pub struct Key {
    /// Its name in the DNS.
    pub selector: String,
    /// What it does.
    pub stage: Stage,
    /// Its public half.
    pub public: PublicKey,
}

impl OwnDns {
    /// Reads configuration, key directory and certificates.
    pub fn read(domain: &str, dir: &Dir, context: &Context) -> Result<Self, Failure> {
        let config = context.config()?;
        let keys = dir.domain(domain, context)?;
        let mut found = Vec::new();
        for key in keys.ring()?.keys() {
            if key.stage != Stage::Old {
                found.push(Key {
                    selector: key.selector.clone(),
                    stage: key.stage,
                    public: keys.key(&key.selector)?.public(),
                });
            }
        }
        let mut own = Vec::new();
        for certificate in &config.tls.certificates {
            let path = &certificate.chain;
            let pem = read(path).map_err(|error| Failure::io(path.display(), &error))?;
            match certificates(&pem).into_iter().next() {
                Some(der) => own.push(der),
                None => {
                    let text = format!("{}: no certificate in it", path.display());
                    return Err(Failure::permanent(text));
                }
            }
        }
        let mut addresses: Vec<IpAddr> = config
            .listen
            .mx
            .iter()
            .map(|address| address.ip())
            .filter(|ip| !ip.is_unspecified() && !ip.is_loopback())
            .collect();
        addresses.dedup();
        Ok(Self {
            domain: keys.domain,
            host: config.hostname.to_ascii_lowercase(),
            addresses,
            relayed: config.remote.relay_host.is_some(),
            keys: found,
            certificates: own,
        })
    }

    /// The MX record.
    pub fn mx(&self) -> String {
        format!("{}. IN MX 10 {}.", self.domain, self.host)
    }

    /// The address records, or a comment that says what is missing.
    pub fn addresses(&self, known: &[IpAddr]) -> Vec<String> {
        if known.is_empty() {
            return vec![format!(
                "; {}. IN A and AAAA: this host's public addresses",
                self.host
            )];
        }
        let line = |ip: &IpAddr| address_record(&self.host, *ip);
        known.iter().map(line).collect()
    }

    /// The SPF record of the domain: its mail hosts send.
    pub fn spf(&self) -> String {
        format!("{}. IN TXT \"v=spf1 mx -all\"", self.domain)
    }

    /// That of the host's own name, for HELO.
    pub fn helo_spf(&self) -> String {
        format!("{}. IN TXT \"v=spf1 a -all\"", self.host)
    }

    /// The record of one DKIM key.
    pub fn dkim(&self, key: &Key) -> String {
        KeyRecord::new(key.public.clone()).to_zone_line(&key.selector, &self.domain)
    }

    /// A policy to begin with.
    pub fn dmarc(&self) -> String {
        format!(
            "_dmarc.{0}. IN TXT \"v=DMARC1; p=none; rua=mailto:postmaster@{0}\"",
            self.domain
        )
    }

    /// The record that says where reports about TLS go.
    pub fn tlsrpt(&self) -> String {
        format!(
            "_smtp._tls.{0}. IN TXT \"v=TLSRPTv1; rua=mailto:postmaster@{0}\"",
            self.domain
        )
    }

    /// The record that says that there is an MTA-STS policy.
    pub fn mta_sts(&self, id: &str) -> String {
        format!("_mta-sts.{}. IN TXT \"v=STSv1; id={id}\"", self.domain)
    }

    /// The TLSA records of the certificates.
    pub fn tlsa(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .certificates
            .iter()
            .filter_map(|der| Tlsa::for_host(der))
            .map(|tlsa| format!("_25._tcp.{}. IN TLSA {}", self.host, tlsa.to_text()))
            .collect();
        lines.dedup();
        lines
    }

    /// What the owner of the addresses has to set.
    pub fn reverse(&self, ip: IpAddr) -> String {
        format!("{}. IN PTR {}.", dns::Name::reverse(ip), self.host)
    }
}

/// An address record as a line of a zone file.
pub fn address_record(host: &str, ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("{host}. IN A {ip}"),
        IpAddr::V6(ip) => format!("{host}. IN AAAA {ip}"),
    }
}

/// Octets of one character-string of a text record (RFC 1035, 3.3).
const STRING_MAX: usize = 255;

/// A text record as a line of a zone file: cut into strings, quotes and what is not visible escaped.
pub fn text_record(name: &str, text: &str) -> String {
    let pieces: Vec<String> = text
        .as_bytes()
        .chunks(STRING_MAX)
        .map(|piece| {
            let escaped: String = piece
                .iter()
                .map(|octet| match octet {
                    b'"' | b'\\' => format!("\\{}", char::from(*octet)),
                    b' '..=b'~' => char::from(*octet).to_string(),
                    other => format!("\\{other:03}"),
                })
                .collect();
            format!("\"{escaped}\"")
        })
        .collect();
    match pieces.as_slice() {
        [one] => format!("{name}. IN TXT {one}"),
        _ => format!("{name}. IN TXT ( {} )", pieces.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_records() {
        assert_eq!(
            text_record("a", "x \"\\\u{e4}"),
            r#"a. IN TXT "x \"\\\195\164""#
        );
        for (length, strings) in [(STRING_MAX - 1, 1), (STRING_MAX, 1), (STRING_MAX + 1, 2)] {
            let line = text_record("a", &"x".repeat(length));
            assert_eq!(line.matches('"').count(), 2 * strings);
            assert_eq!(line.contains('('), strings > 1);
        }
    }
}
