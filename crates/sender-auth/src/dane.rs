//! DANE for SMTP (RFC 7671, RFC 7672): does a certificate fit the TLSA records of its host?
//!
//! A pure function over certificates in DER. Whether the records may be believed (DNSSEC) is the
//! resolver's to say; for usage 2 the signatures between the certificates are the TLS library's
//! to check.

use std::fmt;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::crypto::{sha256, sha512};
use crate::lookup::{RECORDS_MAX, Record};

/// Most certificates of one chain that are looked at.
pub const CHAIN_MAX: usize = 16;

/// The name of the TLSA records of a host (RFC 7672, 2.2.3).
pub fn record_name(host: &str, port: u16) -> String {
    format!("_{port}._tcp.{host}")
}

/// One TLSA record that a mail host can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tlsa {
    /// Which certificate.
    pub usage: Usage,
    /// What of it.
    pub selector: Selector,
    /// In which form.
    pub matching: Matching,
    /// What it is compared with.
    pub data: Vec<u8>,
}

/// Certificate usages of RFC 7672, 3.1; 0 and 1 are of no use between mail hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// 2, DANE-TA: one above the host's own, which it has to lead to.
    Anchor,
    /// 3, DANE-EE: the host's own; its names and dates don't matter.
    Host,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector {
    /// 0: the certificate.
    Certificate,
    /// 1: its public key.
    Key,
}

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matching {
    /// 0: as it is.
    Full,
    /// 1
    Sha256,
    /// 2
    Sha512,
}

/// What the records say about a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DaneMatch {
    /// The host's own certificate fits: it is authenticated, without regard to names and dates
    /// (RFC 7672, 3.1.1).
    Host,
    /// The certificate at this place of the chain (0 is the host's own) is a trust anchor: the
    /// host is authenticated if its certificate leads there and bears its name (3.1.2).
    Anchor(usize),
    /// None fits: no delivery.
    None,
    /// No record can be used: TLS is needed, but nothing is authenticated (RFC 7672, 2.1).
    Unusable,
}

impl fmt::Display for DaneMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("the host's certificate fits"),
            Self::Anchor(place) => write!(f, "certificate {place} of the chain is a trust anchor"),
            Self::None => f.write_str("no certificate fits"),
            Self::Unusable => f.write_str("no TLSA record can be used"),
        }
    }
}

impl Tlsa {
    /// A record of an answer; `None` when mail hosts have no use for it or its digest has a
    /// wrong length.
    pub fn from_record(record: &Record) -> Option<Self> {
        let Record::Tlsa {
            usage,
            selector,
            matching,
            data,
        } = record
        else {
            return None;
        };
        let (matching, length) = match matching {
            0 => (Matching::Full, None),
            1 => (Matching::Sha256, Some(32)),
            2 => (Matching::Sha512, Some(64)),
            _ => return None,
        };
        if data.is_empty() || length.is_some_and(|length| length != data.len()) {
            return None;
        }
        Some(Self {
            usage: match usage {
                2 => Usage::Anchor,
                3 => Usage::Host,
                _ => return None,
            },
            selector: match selector {
                0 => Selector::Certificate,
                1 => Selector::Key,
                _ => return None,
            },
            matching,
            data: data.clone(),
        })
    }

    /// The record to publish for a certificate: `3 1 1` (RFC 7672, 3.1). `None` when the
    /// certificate can't be read.
    pub fn for_host(certificate: &[u8]) -> Option<Self> {
        Some(Self {
            usage: Usage::Host,
            selector: Selector::Key,
            matching: Matching::Sha256,
            data: sha256(public_key(certificate)?).to_vec(),
        })
    }

    /// Whether a certificate is the one that the record means.
    pub fn fits(&self, certificate: &[u8]) -> bool {
        let selected = match self.selector {
            Selector::Certificate => Some(certificate),
            Selector::Key => public_key(certificate),
        };
        let Some(selected) = selected else {
            return false;
        };
        match self.matching {
            Matching::Full => self.data == selected,
            Matching::Sha256 => self.data == sha256(selected),
            Matching::Sha512 => self.data == sha512(selected),
        }
    }

    /// The three numbers and the data as they are written in a zone.
    pub fn to_text(&self) -> String {
        let usage = match self.usage {
            Usage::Anchor => 2,
            Usage::Host => 3,
        };
        let selector = match self.selector {
            Selector::Certificate => 0,
            Selector::Key => 1,
        };
        let matching = match self.matching {
            Matching::Full => 0,
            Matching::Sha256 => 1,
            Matching::Sha512 => 2,
        };
        let data = data_encoding::HEXLOWER.encode(&self.data);
        format!("{usage} {selector} {matching} {data}")
    }
}

/// The usable ones of an answer. Where one usage and selector have both digests, only the
/// stronger is kept (RFC 7671, 9).
pub fn usable(records: &[Record]) -> Vec<Tlsa> {
    let all: Vec<Tlsa> = records
        .iter()
        .take(RECORDS_MAX)
        .filter_map(Tlsa::from_record)
        .collect();
    let strong = |one: &Tlsa| {
        all.iter().any(|other| {
            other.matching == Matching::Sha512
                && (other.usage, other.selector) == (one.usage, one.selector)
        })
    };
    let keep = |one: &&Tlsa| one.matching != Matching::Sha256 || !strong(one);
    all.iter().filter(keep).cloned().collect()
}

/// Holds a chain, the host's own certificate first, against the usable records.
pub fn match_chain(records: &[Tlsa], chain: &[&[u8]]) -> DaneMatch {
    if records.is_empty() {
        return DaneMatch::Unusable;
    }
    let fits = |usage: Usage, certificate: &[u8]| {
        records
            .iter()
            .any(|record| record.usage == usage && record.fits(certificate))
    };
    if chain.first().is_some_and(|own| fits(Usage::Host, own)) {
        return DaneMatch::Host;
    }
    let anchor = chain
        .iter()
        .take(CHAIN_MAX)
        .position(|certificate| fits(Usage::Anchor, certificate));
    anchor.map_or(DaneMatch::None, DaneMatch::Anchor)
}

/// The certificates of a PEM text, at most [`CHAIN_MAX`]; what can't be read is left out.
pub fn certificates(pem: &[u8]) -> Vec<Vec<u8>> {
    CertificateDer::pem_slice_iter(pem)
        .filter_map(Result::ok)
        .take(CHAIN_MAX)
        .map(|one| one.as_ref().to_vec())
        .collect()
}

/// One element of DER: its tag, its content, all of it, and what follows.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
    rest: &'a [u8],
}

fn element(der: &[u8]) -> Option<Element<'_>> {
    let (tag, first) = (*der.first()?, *der.get(1)?);
    let (length, header) = match first {
        0..=0x7f => (usize::from(first), 2),
        0x81..=0x84 => {
            let count = usize::from(first & 0x7f);
            let octets = der.get(2..2 + count)?;
            let length = octets
                .iter()
                .fold(0usize, |sum, b| sum << 8 | usize::from(*b));
            (length, 2 + count)
        }
        _ => return None,
    };
    let end = header.checked_add(length)?;
    let (whole, rest) = der.split_at_checked(end)?;
    Some(Element {
        tag,
        content: whole.get(header..)?,
        whole,
        rest,
    })
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// The SubjectPublicKeyInfo of a certificate in DER (RFC 5280, 4.1), with tag and length.
pub fn public_key(certificate: &[u8]) -> Option<&[u8]> {
    let outer = element(certificate).filter(|outer| outer.tag == SEQUENCE)?;
    let inner = element(outer.content).filter(|inner| inner.tag == SEQUENCE)?;
    let mut rest = inner.content;
    if element(rest)?.tag == VERSION {
        rest = element(rest)?.rest;
    }
    // Serial number, signature, issuer, validity, subject.
    for tag in [0x02, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE] {
        let passed = element(rest).filter(|passed| passed.tag == tag)?;
        rest = passed.rest;
    }
    let key = element(rest).filter(|key| key.tag == SEQUENCE)?;
    Some(key.whole)
}
