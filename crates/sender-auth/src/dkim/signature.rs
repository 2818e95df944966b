//! The tags of a signature field, checked (RFC 6376, 3.5 and 6.1.1).

use crate::body_hash::HASH_LEN;
use crate::canon::Canon;
use crate::crypto::Algorithm;
use crate::name::{ascii_name, is_within};
use crate::tag_list::{TagList, base64, is_space, items, number};
use std::fmt;
use std::ops::Range;

/// Most names of an `h=` tag. Each costs a search in the header, whether it is there or not.
pub const SIGNED_NAMES_MAX: usize = 1_024;

/// What is wrong with a signature field, before any key is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureProblem {
    /// No list of tags.
    Syntax,
    /// This tag is missing.
    Missing(&'static str),
    /// The value of this tag is malformed.
    Value(&'static str),
    /// `v=` is not 1.
    Version,
    /// `a=` names something not done here.
    Algorithm,
    /// `a=rsa-sha1`, which nobody may accept any more (RFC 8301, 3.1).
    Sha1,
    /// `c=` names something unknown.
    Canonicalization,
    /// `q=` doesn't offer `dns/txt`.
    QueryMethod,
    /// The domain of `i=` is not that of `d=` nor below it.
    Identity,
    /// `h=` doesn't name From.
    FromNotSigned,
    /// `h=` has more than [`SIGNED_NAMES_MAX`] names.
    TooManyNames,
    /// `x=` lies before `t=`.
    ExpiresBeforeSigned,
    /// `h=` names a field that it may not sign (ARC-Seal in an ARC-Message-Signature).
    ForbiddenName,
}

impl fmt::Display for SignatureProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax => f.write_str("signature field is malformed"),
            Self::Missing(tag) => write!(f, "signature has no {tag}= tag"),
            Self::Value(tag) => write!(f, "signature has a malformed {tag}= tag"),
            Self::Version => f.write_str("unknown signature version"),
            Self::Algorithm => f.write_str("unknown signature algorithm"),
            Self::Sha1 => f.write_str("rsa-sha1 is not accepted"),
            Self::Canonicalization => f.write_str("unknown canonicalization"),
            Self::QueryMethod => f.write_str("unknown key query method"),
            Self::Identity => f.write_str("identity does not belong to the signing domain"),
            Self::FromNotSigned => f.write_str("From is not signed"),
            Self::TooManyNames => f.write_str("signature names too many fields"),
            Self::ExpiresBeforeSigned => f.write_str("signature expires before it was made"),
            Self::ForbiddenName => f.write_str("signature covers a field that it must not"),
        }
    }
}

/// A field that has the form of a DKIM signature or an ARC message signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// `a=`.
    pub algorithm: Algorithm,
    /// First half of `c=`.
    pub header_canon: Canon,
    /// Second half of `c=`.
    pub body_canon: Canon,
    /// `d=`, in ASCII form and lower case.
    pub domain: String,
    /// `s=`, in ASCII form and lower case.
    pub selector: String,
    /// `i=` as written; `@` and the domain when it is missing.
    pub identity: String,
    /// Domain of `i=`, in ASCII form and lower case.
    pub identity_domain: String,
    /// `l=`: octets of the canonical body that are covered.
    pub body_length: Option<u64>,
    /// `t=`, seconds since 1970.
    pub signed_at: Option<u64>,
    /// `x=`, seconds since 1970.
    pub expires_at: Option<u64>,
    /// `bh=`.
    pub body_hash: [u8; HASH_LEN],
    /// `b=`.
    pub signature: Vec<u8>,
    /// First eight characters of `b=` as written: what `header.b` of an
    /// Authentication-Results field shows (RFC 6008).
    pub signature_head: String,
    /// `h=`: names in lower case, joined by `:`.
    names: String,
    /// The value of `b=` within the field's value.
    pub(crate) cut: Range<usize>,
}

/// Whose field it is; the two differ in `v=` and `i=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Dkim,
    /// RFC 8617, 4.1.2: no `v=`, and `i=` is the number of the set.
    ArcMessage,
}

impl Signature {
    /// Reads the value of a DKIM-Signature field.
    ///
    /// # Errors
    /// See [`SignatureProblem`].
    pub fn parse(value: &[u8]) -> Result<Self, SignatureProblem> {
        let list = TagList::parse(value).map_err(|_| SignatureProblem::Syntax)?;
        Self::from_tags(&list, Kind::Dkim)
    }

    pub(crate) fn from_tags(list: &TagList<'_>, kind: Kind) -> Result<Self, SignatureProblem> {
        if kind == Kind::Dkim && required(list, "v")? != b"1" {
            return Err(SignatureProblem::Version);
        }
        let algorithm = algorithm(required(list, "a")?)?;
        let b = list.tag("b").ok_or(SignatureProblem::Missing("b"))?;
        let signature = signature_octets(b.value)?;
        let body_hash = base64(required(list, "bh")?)
            .and_then(|hash| hash.try_into().ok())
            .ok_or(SignatureProblem::Value("bh"))?;
        let domain = domain(list)?;
        let selector = selector(list)?;
        let names = names(required(list, "h")?)?;
        let forbidden = kind == Kind::ArcMessage && names.split(':').any(|n| n == "arc-seal");
        if forbidden {
            return Err(SignatureProblem::ForbiddenName);
        }
        if !names.split(':').any(|name| name == "from") {
            return Err(SignatureProblem::FromNotSigned);
        }
        let (identity, identity_domain) = match list.get("i").filter(|_| kind == Kind::Dkim) {
            None => (format!("@{domain}"), domain.clone()),
            Some(identity) => identity_of(identity, &domain)?,
        };
        let (header_canon, body_canon) = canons(list.get("c"))?;
        if let Some(methods) = list.get("q")
            && !items(methods).any(|method| method.eq_ignore_ascii_case(b"dns/txt"))
        {
            return Err(SignatureProblem::QueryMethod);
        }
        let (signed_at, expires_at) = (optional(list, "t")?, optional(list, "x")?);
        if let (Some(signed), Some(expires)) = (signed_at, expires_at)
            && expires < signed
        {
            return Err(SignatureProblem::ExpiresBeforeSigned);
        }
        Ok(Self {
            algorithm,
            header_canon,
            body_canon,
            domain,
            selector,
            identity,
            identity_domain,
            body_length: optional(list, "l")?,
            signed_at,
            expires_at,
            body_hash,
            signature,
            signature_head: signature_head(b.value),
            names,
            cut: b.span.clone(),
        })
    }

    /// The names of `h=`, in lower case, in their order, repetitions included.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.split(':')
    }
}

pub(crate) fn required<'a>(
    list: &TagList<'a>,
    name: &'static str,
) -> Result<&'a [u8], SignatureProblem> {
    list.get(name).ok_or(SignatureProblem::Missing(name))
}

pub(crate) fn algorithm(word: &[u8]) -> Result<Algorithm, SignatureProblem> {
    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    if is("rsa-sha256") {
        Ok(Algorithm::RsaSha256)
    } else if is("ed25519-sha256") {
        Ok(Algorithm::Ed25519Sha256)
    } else if is("rsa-sha1") {
        Err(SignatureProblem::Sha1)
    } else {
        Err(SignatureProblem::Algorithm)
    }
}

pub(crate) fn signature_octets(value: &[u8]) -> Result<Vec<u8>, SignatureProblem> {
    base64(value)
        .filter(|octets| !octets.is_empty())
        .ok_or(SignatureProblem::Value("b"))
}

pub(crate) fn domain(list: &TagList<'_>) -> Result<String, SignatureProblem> {
    ascii_name(required(list, "d")?).ok_or(SignatureProblem::Value("d"))
}

pub(crate) fn selector(list: &TagList<'_>) -> Result<String, SignatureProblem> {
    ascii_name(required(list, "s")?).ok_or(SignatureProblem::Value("s"))
}

/// First eight characters of a signature that may be folded.
pub(crate) fn signature_head(value: &[u8]) -> String {
    value
        .iter()
        .filter(|b| !is_space(**b))
        .take(8)
        .map(|b| char::from(*b))
        .collect()
}

pub(crate) fn optional(
    list: &TagList<'_>,
    name: &'static str,
) -> Result<Option<u64>, SignatureProblem> {
    match list.get(name) {
        None => Ok(None),
        Some(value) => number(value).map(Some).ok_or(SignatureProblem::Value(name)),
    }
}

/// `c=`: the header's form, and the body's after a slash, `simple` where nothing is said.
fn canons(value: Option<&[u8]>) -> Result<(Canon, Canon), SignatureProblem> {
    let Some(value) = value else {
        return Ok((Canon::Simple, Canon::Simple));
    };
    let mut words = value.splitn(2, |b| *b == b'/');
    let mut canon = || match words.next() {
        None => Ok(Canon::Simple),
        Some(word) => Canon::parse(word).ok_or(SignatureProblem::Canonicalization),
    };
    Ok((canon()?, canon()?))
}

/// `h=`: names in lower case.
fn names(value: &[u8]) -> Result<String, SignatureProblem> {
    let mut names = String::with_capacity(value.len());
    for (count, name) in items(value).enumerate() {
        if count == SIGNED_NAMES_MAX {
            return Err(SignatureProblem::TooManyNames);
        }
        let text = std::str::from_utf8(name)
            .ok()
            .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()))
            .ok_or(SignatureProblem::Value("h"))?;
        if count > 0 {
            names.push(':');
        }
        names.push_str(text);
    }
    names.make_ascii_lowercase();
    Ok(names)
}

/// `i=`: the text and its domain.
fn identity_of(value: &[u8], domain: &str) -> Result<(String, String), SignatureProblem> {
    let at = memchr::memrchr(b'@', value).ok_or(SignatureProblem::Value("i"))?;
    let below = value
        .get(at + 1..)
        .and_then(ascii_name)
        .ok_or(SignatureProblem::Value("i"))?;
    if !is_within(&below, domain) {
        return Err(SignatureProblem::Identity);
    }
    let text = std::str::from_utf8(value).map_err(|_| SignatureProblem::Value("i"))?;
    Ok((text.chars().filter(|c| !c.is_whitespace()).collect(), below))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY_HASH: &str = "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=";

    /// A whole signature with one tag changed, added, or (without `=`) taken away.
    fn with(change: &str) -> String {
        let name = change.split('=').next().unwrap();
        let mut tags: Vec<String> = [
            "v=1",
            "a=ed25519-sha256",
            "c=relaxed",
            "d=Example.ORG",
            "s=sel",
            "h=From : TO:to",
            &format!("bh={BODY_HASH}"),
            "b=AAAA BBBB\r\n CCCC",
        ]
        .iter()
        .filter(|tag| !tag.starts_with(&format!("{name}=")))
        .map(ToString::to_string)
        .collect();
        if change.contains('=') {
            tags.push(change.to_owned());
        }
        tags.join("; ")
    }

    fn problem(change: &str) -> SignatureProblem {
        Signature::parse(with(change).as_bytes()).unwrap_err()
    }

    #[test]
    fn reads() {
        let text = with("i=a=40b@x.Example.org");
        let found = Signature::parse(text.as_bytes()).unwrap();
        assert_eq!(found.domain, "example.org");
        assert_eq!(found.identity, "a=40b@x.Example.org");
        assert_eq!(found.identity_domain, "x.example.org");
        assert_eq!(
            (found.header_canon, found.body_canon),
            (Canon::Relaxed, Canon::Simple)
        );
        assert_eq!(found.names().collect::<Vec<_>>(), ["from", "to", "to"]);
        assert_eq!(found.signature.len(), 9);
        assert_eq!(found.signature_head, "AAAABBBB");
        assert_eq!(&text[found.cut.clone()], "AAAA BBBB\r\n CCCC");
        let plain = Signature::parse(with("l=76").as_bytes()).unwrap();
        assert_eq!(plain.identity, "@example.org");
        assert_eq!(plain.body_length, Some(76));
    }

    #[test]
    fn refuses() {
        use SignatureProblem::*;
        assert_eq!(Signature::parse(b"hello").unwrap_err(), Syntax);
        for tag in ["v", "a", "b", "bh", "d", "h", "s"] {
            let SignatureProblem::Missing(missing) = problem(tag) else {
                panic!("{tag}");
            };
            assert_eq!(missing, tag);
        }
        for (change, expected) in [
            ("v=2", Version),
            ("v=01", Version),
            ("a=rsa-sha1", Sha1),
            ("a=rsa-sha512", Algorithm),
            ("c=relaxed/loose", Canonicalization),
            ("c=", Canonicalization),
            ("q=http", QueryMethod),
            ("i=a@other.example", Identity),
            ("i=a@badexample.org", Identity),
            ("i=example.org", Value("i")),
            ("h=to:cc", FromNotSigned),
            ("h=from::to", Value("h")),
            ("bh=AAAA", Value("bh")),
            ("b=", Value("b")),
            ("b=*", Value("b")),
            ("d=", Value("d")),
            ("d=a..b", Value("d")),
            ("s=a b", Value("s")),
            ("l=-1", Value("l")),
            ("l=1234567890123", Value("l")),
            ("t=now", Value("t")),
            ("x=", Value("x")),
        ] {
            assert_eq!(problem(change), expected, "{change}");
        }
        let text = format!("{}; t=11; x=10", with("zz"));
        assert_eq!(
            Signature::parse(text.as_bytes()).unwrap_err(),
            ExpiresBeforeSigned
        );
        let text = format!("{}; t=11; x=11; q=a:dns/txt; unknown=1", with("zz"));
        assert!(Signature::parse(text.as_bytes()).is_ok());
    }

    #[test]
    fn names_limit() {
        for (count, good) in [
            (SIGNED_NAMES_MAX - 1, true),
            (SIGNED_NAMES_MAX, true),
            (SIGNED_NAMES_MAX + 1, false),
        ] {
            let h = format!("h=from{}", ":a".repeat(count - 1));
            assert_eq!(Signature::parse(with(&h).as_bytes()).is_ok(), good);
        }
    }
}
