//! Reverse-path and forward-path: what stands in MAIL and RCPT.

use std::fmt;

use super::domain::{AddressError, Host};
use super::mailbox::Mailbox;

/// Longest source route in octets that is read, to be thrown away.
const ROUTE_MAX: usize = 512;

/// Where reports about a message go: `<>` for nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`: a report; nothing may be sent back because of it.
    Null,
    /// An address.
    Mailbox(Mailbox),
}

impl ReversePath {
    /// Reads a path with its angle brackets at the start of `text` and returns what follows.
    ///
    /// `Reverse-path = Path / "<>"`, `Path = "<" [ A-d-l ":" ] Mailbox ">"` (RFC 5321, 4.1.2).
    /// A source route is checked and dropped (RFC 5321, appendix C).
    ///
    /// # Errors
    /// Which part is wrong.
    pub fn take(text: &str) -> Result<(Self, &str), AddressError> {
        if let Some(rest) = text.strip_prefix("<>") {
            return Ok((Self::Null, rest));
        }
        take_mailbox(text).map(|(m, rest)| (Self::Mailbox(m), rest))
    }

    /// The address without brackets; empty for the null path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Null => "",
            Self::Mailbox(m) => m.as_str(),
        }
    }

    /// Reads what [`ReversePath::as_str`] gave: an address without brackets, or nothing.
    ///
    /// # Errors
    /// Which part is wrong.
    pub fn parse_bare(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            Ok(Self::Null)
        } else {
            Mailbox::parse(text).map(Self::Mailbox)
        }
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.as_str())
    }
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ForwardPath {
    /// `<Postmaster>` without a domain, which every server takes (RFC 5321, 4.5.1).
    Postmaster,
    /// An address.
    Mailbox(Mailbox),
}

impl ForwardPath {
    /// Reads a path with its angle brackets at the start of `text` and returns what follows.
    ///
    /// # Errors
    /// Which part is wrong.
    pub fn take(text: &str) -> Result<(Self, &str), AddressError> {
        if let Some((head, rest)) = text.split_at_checked("<postmaster>".len()) {
            if head.eq_ignore_ascii_case("<postmaster>") {
                return Ok((Self::Postmaster, rest));
            }
        }
        take_mailbox(text).map(|(m, rest)| (Self::Mailbox(m), rest))
    }

    /// The address without brackets; `postmaster` for the one without a domain.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Postmaster => "postmaster",
            Self::Mailbox(m) => m.as_str(),
        }
    }
}

impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.as_str())
    }
}

fn take_mailbox(text: &str) -> Result<(Mailbox, &str), AddressError> {
    let inner = text.strip_prefix('<').ok_or(AddressError::Syntax)?;
    let inner = skip_route(inner)?;
    let (mailbox, rest) = Mailbox::take(inner)?;
    let rest = rest.strip_prefix('>').ok_or(AddressError::Syntax)?;
    Ok((mailbox, rest))
}

/// `A-d-l = At-domain *( "," At-domain )`, `At-domain = "@" Domain`, followed by `:`.
fn skip_route(text: &str) -> Result<&str, AddressError> {
    if !text.starts_with('@') {
        return Ok(text);
    }
    if !text.is_ascii() {
        return Err(AddressError::NonAscii);
    }
    // A literal in the route may hold colons: look for the first one outside of brackets.
    let mut bracket = false;
    let end = text.bytes().take(ROUTE_MAX).position(|b| {
        match b {
            b'[' => bracket = true,
            b']' => bracket = false,
            _ => {}
        }
        b == b':' && !bracket
    });
    let (route, rest) = end
        .and_then(|end| text.split_at_checked(end))
        .ok_or(AddressError::Syntax)?;
    for hop in route.split(',') {
        Host::parse(hop.strip_prefix('@').ok_or(AddressError::Syntax)?)?;
    }
    rest.strip_prefix(':').ok_or(AddressError::Syntax)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverse_paths() {
        for (input, want, rest) in [
            ("<>", "", ""),
            ("<> SIZE=1", "", " SIZE=1"),
            ("<a@b>", "a@b", ""),
            ("<a@b> X", "a@b", " X"),
            ("<@r.example,@[IPv6:::1]:a@b>", "a@b", ""),
            ("<\"a>b\"@c>", "\"a>b\"@c", ""),
        ] {
            let (path, after) = ReversePath::take(input).unwrap();
            assert_eq!((path.as_str(), after), (want, rest));
            assert_eq!(ReversePath::parse_bare(path.as_str()).unwrap(), path);
        }
        for bad in [
            "",
            "<",
            "a@b",
            "<a@b",
            "<a>",
            "<a@b>>".trim_end_matches(">>"),
            "< a@b>",
            "<@x>",
            "<@x:>",
            "<@x,y:a@b>",
            "<@:a@b>",
            "<a@b >",
        ] {
            assert!(ReversePath::take(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn postmaster_needs_no_domain() {
        assert_eq!(
            ForwardPath::take("<POSTmaster>").unwrap().0,
            ForwardPath::Postmaster
        );
        assert!(ForwardPath::take("<>").is_err());
        assert!(ForwardPath::take("<root>").is_err());
    }
}
