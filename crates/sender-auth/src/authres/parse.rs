//! Reads the field (RFC 8601, 2.2).

use super::scan::Scanner;
use super::{AuthResults, MethodResult, PROPERTIES_MAX, Property, RESULTS_MAX};
use std::fmt;

/// Why a field can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthResultsError {
    /// No authserv-id.
    NoId,
    /// A version other than 1.
    Version,
    /// Anything else that is out of place.
    Syntax,
    /// More than [`RESULTS_MAX`] results or [`PROPERTIES_MAX`] properties of one.
    TooMany,
    /// The field of an ARC set has no `i=` from 1 to 50 at its start.
    Instance,
}

impl fmt::Display for AuthResultsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoId => "no authserv-id",
            Self::Version => "unknown version",
            Self::Syntax => "malformed",
            Self::TooMany => "too many results",
            Self::Instance => "no instance number",
        })
    }
}

impl std::error::Error for AuthResultsError {}

impl AuthResults {
    /// Reads the value of an Authentication-Results field. Keywords come out in lower case,
    /// comments are dropped.
    ///
    /// # Errors
    /// See [`AuthResultsError`].
    pub fn parse(value: &[u8]) -> Result<Self, AuthResultsError> {
        let mut scanner = Scanner::new(value);
        read(&mut scanner)
    }
}

/// Reads the value of an ARC-Authentication-Results field: the number of its set and the rest
/// (RFC 8617, 4.1.1).
///
/// # Errors
/// See [`AuthResultsError`].
pub fn parse_arc(value: &[u8]) -> Result<(u32, AuthResults), AuthResultsError> {
    let mut scanner = Scanner::new(value);
    let instance = instance(&mut scanner).ok_or(AuthResultsError::Instance)?;
    Ok((instance, read(&mut scanner)?))
}

/// The number of the set at the start of an ARC-Authentication-Results field.
pub(crate) fn arc_instance(value: &[u8]) -> Option<u32> {
    instance(&mut Scanner::new(value))
}

fn instance(scanner: &mut Scanner<'_>) -> Option<u32> {
    scanner.skip();
    (scanner.keyword()? == "i").then_some(())?;
    scanner.skip();
    scanner.take(b'=').then_some(())?;
    scanner.skip();
    let number = crate::arc::set::instance(scanner.run(|b| b.is_ascii_digit())?)?;
    scanner.skip();
    scanner.take(b';').then_some(number)
}

/// The authserv-id and nothing else, as leniently as any reader might take it.
pub(super) fn id(value: &[u8]) -> Option<String> {
    let mut scanner = Scanner::new(value);
    scanner.skip();
    scanner.value()
}

fn read(scanner: &mut Scanner<'_>) -> Result<AuthResults, AuthResultsError> {
    skip(scanner)?;
    let authserv_id = scanner.value().ok_or(AuthResultsError::NoId)?;
    skip(scanner)?;
    if let Some(version) = scanner.run(|b| b.is_ascii_digit()) {
        if version != b"1" {
            return Err(AuthResultsError::Version);
        }
        skip(scanner)?;
    }
    let mut results = Vec::new();
    while !scanner.is_end() {
        if !scanner.take(b';') {
            return Err(AuthResultsError::Syntax);
        }
        skip(scanner)?;
        if scanner.is_end() {
            // A semicolon too many at the end is common.
            break;
        }
        if results.len() == RESULTS_MAX {
            return Err(AuthResultsError::TooMany);
        }
        if let Some(result) = method_result(scanner)? {
            results.push(result);
        }
    }
    Ok(AuthResults {
        authserv_id,
        results,
    })
}

/// One result; `None` for the word `none` in the place of all of them.
fn method_result(scanner: &mut Scanner<'_>) -> Result<Option<MethodResult>, AuthResultsError> {
    let method = keyword(scanner)?;
    skip(scanner)?;
    if method == "none" && matches!(scanner.peek(), None | Some(b';')) {
        return Ok(None);
    }
    if scanner.take(b'/') {
        skip(scanner)?;
        match scanner.run(|b| b.is_ascii_digit()) {
            Some(b"1") => skip(scanner)?,
            Some(_) => return Err(AuthResultsError::Version),
            None => return Err(AuthResultsError::Syntax),
        }
    }
    equals(scanner)?;
    let mut result = MethodResult::new(&method, &keyword(scanner)?);
    loop {
        skip(scanner)?;
        if matches!(scanner.peek(), None | Some(b';')) {
            return Ok(Some(result));
        }
        let word = keyword(scanner)?;
        skip(scanner)?;
        if word == "reason" && scanner.peek() == Some(b'=') {
            equals(scanner)?;
            result.reason = Some(scanner.value().ok_or(AuthResultsError::Syntax)?);
            continue;
        }
        if !scanner.take(b'.') {
            return Err(AuthResultsError::Syntax);
        }
        skip(scanner)?;
        let name = keyword(scanner)?;
        skip(scanner)?;
        equals(scanner)?;
        if result.properties.len() == PROPERTIES_MAX {
            return Err(AuthResultsError::TooMany);
        }
        // `smtp.mailfrom=` with nothing behind it is what some write for the null sender.
        let value = scanner.value().unwrap_or_default();
        result.properties.push(Property {
            ptype: word,
            name,
            value,
        });
    }
}

fn keyword(scanner: &mut Scanner<'_>) -> Result<String, AuthResultsError> {
    scanner.keyword().ok_or(AuthResultsError::Syntax)
}

fn skip(scanner: &mut Scanner<'_>) -> Result<(), AuthResultsError> {
    if scanner.skip() {
        Ok(())
    } else {
        Err(AuthResultsError::Syntax)
    }
}

fn equals(scanner: &mut Scanner<'_>) -> Result<(), AuthResultsError> {
    if !scanner.take(b'=') {
        return Err(AuthResultsError::Syntax);
    }
    skip(scanner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> String {
        let read = AuthResults::parse(value.as_bytes()).unwrap();
        let mut out = read.authserv_id;
        for result in read.results {
            out += &format!("|{}={}", result.method, result.result);
            if let Some(reason) = result.reason {
                out += &format!(" <{reason}>");
            }
            for p in result.properties {
                out += &format!(" {}.{}={}", p.ptype, p.name, p.value);
            }
        }
        out
    }

    // The forms of RFC 8601, appendix B, with other names.
    #[test]
    fn reads_the_forms_of_the_rfc() {
        for (value, expected) in [
            (" example.org 1; none", "example.org"),
            (" example.org;none;", "example.org"),
            (
                " example.com;\r\n          spf=pass smtp.mailfrom=example.net",
                "example.com|spf=pass smtp.mailfrom=example.net",
            ),
            (
                " example.com;\r\n auth=pass (cram-md5) smtp.auth=sender@example.net;\r\n \
                 spf=pass smtp.mailfrom=example.net",
                "example.com|auth=pass smtp.auth=sender@example.net\
                 |spf=pass smtp.mailfrom=example.net",
            ),
            (
                " example.com; dkim=pass reason=\"good \\\"sig\\\"\"\r\n \
                 header.i=@mail-router.example.net; dkim=fail reason = bad header.i=@x",
                "example.com|dkim=pass <good \"sig\"> header.i=@mail-router.example.net\
                 |dkim=fail <bad> header.i=@x",
            ),
            (
                " foo.example.net (foobar) 1 (baz);\r\n dkim (Because I like it) / 1 (One yay) \
                 = (wait for it) fail\r\n policy (A dot can go here) . (like that) expired\r\n \
                 (this surprised me) = (as I wasn't expecting it) 1362471462",
                "foo.example.net|dkim=fail policy.expired=1362471462",
            ),
            (
                "a; DKIM=Pass header.b=ab/cd+ef= (x (y) \\) z)",
                "a|dkim=pass header.b=ab/cd+ef=",
            ),
            (
                "\"a;b\"; spf=none smtp.mailfrom=",
                "a;b|spf=none smtp.mailfrom=",
            ),
        ] {
            assert_eq!(shown(value), expected);
        }
    }

    #[test]
    fn refuses() {
        use AuthResultsError::*;
        for (value, error) in [
            ("", NoId),
            (" ; spf=pass", NoId),
            ("a 2; none", Version),
            ("a; dkim/2=pass", Version),
            ("a; spf", Syntax),
            ("a; spf=", Syntax),
            ("a b; none", Syntax),
            ("a; spf=pass x", Syntax),
            ("a; spf=pass x.=1", Syntax),
            ("a; spf=pass (open", Syntax),
            ("a; spf=pass reason=\"open", Syntax),
            ("a spf=pass", Syntax),
        ] {
            assert_eq!(AuthResults::parse(value.as_bytes()), Err(error), "{value}");
        }
    }

    #[test]
    fn limits() {
        for (count, good) in [
            (RESULTS_MAX - 1, true),
            (RESULTS_MAX, true),
            (RESULTS_MAX + 1, false),
        ] {
            let value = format!("a{}", "; spf=pass".repeat(count));
            assert_eq!(AuthResults::parse(value.as_bytes()).is_ok(), good);
        }
        for (count, good) in [
            (PROPERTIES_MAX - 1, true),
            (PROPERTIES_MAX, true),
            (PROPERTIES_MAX + 1, false),
        ] {
            let value = format!("a; spf=pass{}", " x.y=z".repeat(count));
            assert_eq!(AuthResults::parse(value.as_bytes()).is_ok(), good);
        }
        let deep = format!("a; spf=pass {}", "(".repeat(1_000_000));
        assert_eq!(
            AuthResults::parse(deep.as_bytes()),
            Err(AuthResultsError::Syntax)
        );
    }

    #[test]
    fn arc_form() {
        let (instance, results) = parse_arc(b" i = 12 ; a; arc=pass").unwrap();
        assert_eq!((instance, results.results.len()), (12, 1));
        for value in ["a; none", "i=0; a; none", "i=51; a; none", "i=1 a; none"] {
            assert_eq!(parse_arc(value.as_bytes()), Err(AuthResultsError::Instance));
        }
    }
}
