//! Signs a message with any number of keys in one pass (RFC 6376, 5).
//!
//! The fields are signed as they stand; what a later hop might add in order to change what a
//! reader sees is signed as absent ("oversigning": a name more in `h=` than there are fields).
//! `l=` is never written, as it would let anybody add to the body.

use super::signed_fields;
use crate::body_hash::{BodyHashes, Ticket};
use crate::canon::{self, Canon};
use crate::crypto::{NoRandomness, SigningKey};
use crate::folded::Folded;
use crate::header_block::{HeaderBlock, HeaderTooLarge};
use crate::lookup::{Answer, Question};
use crate::name::{ascii_name, is_within};
use crate::pass::{Mechanism, Pass, Seen};
use data_encoding::BASE64;
use std::fmt;

/// Signs one message: [`Pass::feed`], [`Pass::end`]; the verdict is the fields to put on top.
pub type Signer<'k> = Pass<Signing<'k>>;

/// Fields signed if they are there (RFC 6376, 5.4.1, and the List fields).
pub const SIGNED: &[&str] = &[
    "From",
    "Sender",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "To",
    "Cc",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-ID",
    "Content-Description",
    "Resent-Date",
    "Resent-From",
    "Resent-Sender",
    "Resent-To",
    "Resent-Cc",
    "Resent-Message-ID",
    "List-Id",
    "List-Help",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Subscribe",
    "List-Post",
    "List-Owner",
    "List-Archive",
];

/// Fields of which no further one may appear on the way.
///
/// Not among them: what a list or a resender adds by right (Sender, Resent-*, List-*).
pub const OVERSIGNED: &[&str] = &[
    "From",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "To",
    "Cc",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];

/// Fields that no signature may cover, as they change on the way (RFC 6376, 5.4; 5.3 for the
/// signature itself; RFC 8601, 4.1 for results).
pub const NEVER_SIGNED: &[&str] = &[
    "Return-Path",
    "Received",
    "Comments",
    "Keywords",
    "Bcc",
    "Resent-Bcc",
    "DKIM-Signature",
    "Authentication-Results",
    "ARC-Seal",
];

/// How to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningOptions {
    /// Form of the header.
    pub header_canon: Canon,
    /// Form of the body.
    pub body_canon: Canon,
    /// Which fields.
    pub fields: FieldChoice,
    /// Seconds after which the signature expires (`x=`); none: never.
    pub lifetime: Option<u64>,
}

impl Default for SigningOptions {
    fn default() -> Self {
        Self {
            header_canon: Canon::Relaxed,
            body_canon: Canon::Relaxed,
            fields: FieldChoice::default(),
            lifetime: None,
        }
    }
}

/// The fields to sign. From is always among them, once more than it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChoice {
    /// Each as often as it is there.
    sign: Vec<String>,
    /// Each once more than it is there.
    oversign: Vec<String>,
}

impl Default for FieldChoice {
    /// [`SIGNED`] and [`OVERSIGNED`].
    fn default() -> Self {
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Self {
            sign: list(SIGNED),
            oversign: list(OVERSIGNED),
        }
    }
}

impl FieldChoice {
    /// Chooses fields to sign if they are there, and fields to sign once more than they are
    /// there.
    ///
    /// # Errors
    /// The name that is no field name, or that is one of [`NEVER_SIGNED`].
    pub fn new(sign: &[&str], oversign: &[&str]) -> Result<Self, BadFieldName> {
        Ok(Self {
            sign: with_from(sign)?,
            oversign: with_from(oversign)?,
        })
    }

    /// The names of `h=` for this header.
    pub(crate) fn names(&self, header: &HeaderBlock) -> Vec<&str> {
        let mut names = Vec::with_capacity(24);
        for name in &self.sign {
            let count = header.named(name.as_bytes()).len();
            names.extend(std::iter::repeat_n(name.as_str(), count));
        }
        for name in &self.oversign {
            if !self.sign.iter().any(|s| s.eq_ignore_ascii_case(name)) {
                let count = header.named(name.as_bytes()).len();
                names.extend(std::iter::repeat_n(name.as_str(), count));
            }
            names.push(name);
        }
        names
    }
}

/// The names, each once, after From.
fn with_from(names: &[&str]) -> Result<Vec<String>, BadFieldName> {
    let mut list = vec!["From".to_owned()];
    for name in names {
        if !is_signable(name) {
            return Err(BadFieldName((*name).to_owned()));
        }
        if !list.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            list.push((*name).to_owned());
        }
    }
    Ok(list)
}

fn is_signable(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b':' && b != b';')
        && !NEVER_SIGNED.iter().any(|n| n.eq_ignore_ascii_case(name))
}

/// A name that can't stand in `h=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadFieldName(pub String);

impl fmt::Display for BadFieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the field {:?} can't be signed", self.0)
    }
}

impl std::error::Error for BadFieldName {}

/// Who signs: a key and the names under which its public half is found.
#[derive(Debug, Clone)]
pub struct SigningIdentity<'k> {
    key: &'k SigningKey,
    domain: String,
    selector: String,
    identity: Option<String>,
}

/// What is wrong with the names of a [`SigningIdentity`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityError {
    /// Not a domain name.
    Domain,
    /// Not a selector (labels of a domain name).
    Selector,
    /// Not `[local]@domain` in printable ASCII, or the domain is not that of the signature
    /// nor below it.
    Identity,
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Domain => "not a domain name",
            Self::Selector => "not a selector",
            Self::Identity => "not an identity of the signing domain",
        })
    }
}

impl std::error::Error for IdentityError {}

impl<'k> SigningIdentity<'k> {
    /// Names a key. Names in UTF-8 are written in their ASCII form.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn new(key: &'k SigningKey, domain: &str, selector: &str) -> Result<Self, IdentityError> {
        Ok(Self {
            key,
            domain: ascii_name(domain.as_bytes()).ok_or(IdentityError::Domain)?,
            selector: ascii_name(selector.as_bytes()).ok_or(IdentityError::Selector)?,
            identity: None,
        })
    }

    /// Adds `i=`, the user or program on whose behalf the domain signs.
    ///
    /// # Errors
    /// [`IdentityError::Identity`].
    pub fn with_identity(mut self, identity: &str) -> Result<Self, IdentityError> {
        let (local, below) = identity.rsplit_once('@').ok_or(IdentityError::Identity)?;
        let below = ascii_name(below.as_bytes()).ok_or(IdentityError::Identity)?;
        // A local part that would need dkim-quoted-printable is refused instead.
        let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b';' | b'=' | b'@');
        if !local.bytes().all(plain) || !is_within(&below, &self.domain) {
            return Err(IdentityError::Identity);
        }
        self.identity = Some(format!("{local}@{below}"));
        Ok(self)
    }

    pub(crate) fn key(&self) -> &'k SigningKey {
        self.key
    }

    pub(crate) fn domain(&self) -> &str {
        &self.domain
    }

    pub(crate) fn selector(&self) -> &str {
        &self.selector
    }
}

/// Why a message was not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignError {
    /// See [`HeaderTooLarge`].
    HeaderTooLarge,
    /// The header has a CR or LF outside a pair: no verifier should accept the signature.
    BareLineEnd,
    /// The first line begins with white space, so that it would become a part of the new field.
    BeginsWithSpace,
    /// No From field: there is no author to vouch for.
    NoFrom,
    /// Several From fields: nobody could tell for whom the signature speaks.
    SeveralFrom,
    /// See [`NoRandomness`].
    NoRandomness,
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HeaderTooLarge => "the header is too large",
            Self::BareLineEnd => "the header has a bare CR or LF",
            Self::BeginsWithSpace => "the first line begins with white space",
            Self::NoFrom => "the message has no From field",
            Self::SeveralFrom => "the message has several From fields",
            Self::NoRandomness => "the system gave no random octets",
        })
    }
}

impl std::error::Error for SignError {}

impl From<NoRandomness> for SignError {
    fn from(_: NoRandomness) -> Self {
        Self::NoRandomness
    }
}

/// The mechanism inside a [`Signer`].
#[derive(Debug)]
pub struct Signing<'k> {
    identities: &'k [SigningIdentity<'k>],
    options: &'k SigningOptions,
    body: Option<Ticket>,
}

impl<'k> Signing<'k> {
    /// Signs once with each identity.
    pub fn new(identities: &'k [SigningIdentity<'k>], options: &'k SigningOptions) -> Self {
        Self {
            identities,
            options,
            body: None,
        }
    }
}

impl Mechanism for Signing<'_> {
    /// DKIM-Signature fields in the order of the identities, each ended by CR LF.
    type Verdict = Result<Vec<u8>, SignError>;

    fn header(&mut self, _: &HeaderBlock, body: &mut BodyHashes) {
        self.body = Some(body.want(self.options.body_canon, None));
    }

    fn question(&mut self) -> Option<Question> {
        None
    }

    fn answer(&mut self, _: &Question, _: &Answer) {}

    fn waiting(&self) -> bool {
        false
    }

    fn verdict(&mut self, message: &Seen<'_>) -> Self::Verdict {
        let header = message
            .header
            .map_err(|HeaderTooLarge| SignError::HeaderTooLarge)?;
        if header.begins_with_space() {
            return Err(SignError::BeginsWithSpace);
        }
        if header.has_bare_line_end() {
            return Err(SignError::BareLineEnd);
        }
        match header.named(b"from").len() {
            0 => return Err(SignError::NoFrom),
            1 => {}
            _ => return Err(SignError::SeveralFrom),
        }
        // The stream was asked for in `header`, and without a limit there is always a hash.
        let hash = self
            .body
            .and_then(|ticket| message.body.get(ticket))
            .ok_or(SignError::HeaderTooLarge)?;
        let body_hash = BASE64.encode(&hash.hash);
        let names = self.options.fields.names(header);
        let mut octets = Vec::with_capacity(4_096);
        signed_fields::named(
            header,
            names.iter().copied(),
            self.options.header_canon,
            None,
            &mut octets,
        );
        let common = octets.len();
        let mut out = Vec::with_capacity(self.identities.len() * 1_024);
        for identity in self.identities {
            let mut field = self.field(identity, &names, &body_hash, message.now);
            octets.truncate(common);
            canon::field(
                self.options.header_canon,
                field.as_str().as_bytes(),
                None,
                &mut octets,
            );
            let signature = identity.key.sign(&octets)?;
            field.broken(&BASE64.encode(&signature));
            out.extend_from_slice(field.finish().as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Ok(out)
    }
}

impl Signing<'_> {
    /// The field with an empty `b=`, which is how it is signed.
    fn field(
        &self,
        identity: &SigningIdentity<'_>,
        names: &[&str],
        body_hash: &str,
        now: i64,
    ) -> Folded {
        let options = self.options;
        let mut field = Folded::new("DKIM-Signature");
        field.word("v=1;");
        field.word(&format!("a={};", identity.key.algorithm()));
        field.word(&format!(
            "c={}/{};",
            options.header_canon, options.body_canon
        ));
        field.word(&format!("d={};", identity.domain));
        field.word(&format!("s={};", identity.selector));
        if let Some(identity) = &identity.identity {
            field.word(&format!("i={identity};"));
        }
        let now = u64::try_from(now).unwrap_or(0);
        field.word(&format!("t={now};"));
        if let Some(lifetime) = options.lifetime {
            field.word(&format!("x={};", now.saturating_add(lifetime)));
        }
        write_names(&mut field, names);
        field.word(&format!("bh={body_hash};"));
        field.word("b=");
        field
    }
}

/// Writes `h=`.
pub(crate) fn write_names(field: &mut Folded, names: &[&str]) {
    for (number, name) in names.iter().enumerate() {
        let end = if number + 1 == names.len() { ";" } else { ":" };
        if number == 0 {
            field.word(&format!("h={name}{end}"));
        } else {
            field.joined(&format!("{name}{end}"));
        }
    }
}
