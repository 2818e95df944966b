//! Writes the field, folded, whatever its parts hold.

use super::{AuthResults, MethodResult};
use crate::folded::Folded;

/// Longest value that is written, in characters. A longer one is cut: it can only come from
/// the message itself, and nobody decides anything by its end.
pub const VALUE_MAX: usize = 512;

impl AuthResults {
    /// The whole field, ended by CR LF.
    pub fn to_field(&self) -> String {
        self.write(Folded::new("Authentication-Results"))
    }

    /// The field of an ARC set (RFC 8617, 4.1.1), ended by CR LF.
    pub fn to_arc_field(&self, instance: u32) -> String {
        let mut field = Folded::new("ARC-Authentication-Results");
        field.word(&format!("i={instance};"));
        self.write(field)
    }

    fn write(&self, mut field: Folded) -> String {
        field.word(&format!("{};", value(&self.authserv_id)));
        if self.results.is_empty() {
            field.word("none");
        }
        for (number, result) in self.results.iter().enumerate() {
            let mut words = words(result);
            if number + 1 < self.results.len()
                && let Some(last) = words.last_mut()
            {
                last.push(';');
            }
            for word in words {
                field.word(&word);
            }
        }
        let mut text = field.finish();
        text.push_str("\r\n");
        text
    }
}

/// The pieces of one result between which a fold may stand.
fn words(result: &MethodResult) -> Vec<String> {
    let mut words = vec![format!(
        "{}={}",
        keyword(&result.method),
        keyword(&result.result)
    )];
    if let Some(text) = &result.comment {
        words.push(comment(text));
    }
    if let Some(reason) = &result.reason {
        words.push(format!("reason={}", quoted(reason)));
    }
    for property in &result.properties {
        words.push(format!(
            "{}.{}={}",
            keyword(&property.ptype),
            keyword(&property.name),
            value(&property.value)
        ));
    }
    words
}

/// A keyword: letters, digits and hyphens; anything else becomes a hyphen.
fn keyword(text: &str) -> String {
    let word: String = text
        .chars()
        .take(64)
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c
            } else {
                '-'
            }
        })
        .collect();
    if word.is_empty() {
        "-".to_owned()
    } else {
        word
    }
}

/// A value: as it is where that can be understood, otherwise as a quoted string.
///
/// Bare are tokens (RFC 2045, 5.1) and addresses of plain words, with or without local part.
fn value(text: &str) -> String {
    let token = |text: &str| !text.is_empty() && text.bytes().all(is_token);
    let bare = match text.rsplit_once('@') {
        Some((local, domain)) => token(domain) && (local.is_empty() || token(local)),
        None => token(text),
    };
    if bare && text.len() <= VALUE_MAX {
        text.to_owned()
    } else {
        quoted(text)
    }
}

fn is_token(b: u8) -> bool {
    b.is_ascii_graphic()
        && !matches!(
            b,
            b'(' | b')'
                | b'<'
                | b'>'
                | b'@'
                | b','
                | b';'
                | b':'
                | b'\\'
                | b'"'
                | b'/'
                | b'['
                | b']'
                | b'?'
                | b'='
        )
}

/// A quoted string. Control characters become spaces; text in UTF-8 stays (RFC 6532).
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in printable(text) {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// A comment. Parentheses and backslashes are left out, so that it ends where it should.
fn comment(text: &str) -> String {
    let inner: String = printable(text)
        .filter(|c| !matches!(c, '(' | ')' | '\\'))
        .collect();
    format!("({inner})")
}

fn printable(text: &str) -> impl Iterator<Item = char> {
    text.chars()
        .take(VALUE_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
}

#[cfg(test)]
mod tests {
    use super::super::{AuthResults, MethodResult};
    use proptest::prelude::*;

    #[test]
    fn writes() {
        let results = AuthResults {
            authserv_id: "mx.example.org".to_owned(),
            results: vec![
                MethodResult::new("spf", "pass").property("smtp", "mailfrom", "example.net"),
                MethodResult::new("dkim", "fail")
                    .comment("2048-bit key (rsa)")
                    .reason("body hash did not verify")
                    .property("header", "i", "@example.net")
                    .property("header", "b", "ab/cd+ef"),
            ],
        };
        assert_eq!(
            results.to_field(),
            "Authentication-Results: mx.example.org; spf=pass smtp.mailfrom=example.net;\r\n \
             dkim=fail (2048-bit key rsa) reason=\"body hash did not verify\"\r\n \
             header.i=@example.net header.b=\"ab/cd+ef\"\r\n"
        );
        let none = AuthResults {
            authserv_id: "a b".to_owned(),
            results: Vec::new(),
        };
        assert_eq!(
            none.to_arc_field(3),
            "ARC-Authentication-Results: i=3; \"a b\"; none\r\n"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn nothing_escapes_and_all_reads_back(
            id in "[a-z.]{1,20}",
            method in "[a-z]{1,8}",
            reason in any::<String>(),
            note in any::<String>(),
            text in any::<String>(),
        ) {
            let results = AuthResults {
                authserv_id: id,
                results: vec![
                    MethodResult::new(&method, "pass")
                        .comment(note)
                        .reason(reason)
                        .property("header", "from", &text),
                    MethodResult::new("auth", "none"),
                ],
            };
            let field = results.to_field();
            let lines: Vec<&str> = field.split("\r\n").collect();
            prop_assert!(lines[1..lines.len() - 1].iter().all(|l| l.starts_with(' ')));
            prop_assert!(!field.trim_end().replace("\r\n", "").contains(['\r', '\n']));
            let value = field.strip_prefix("Authentication-Results:").unwrap();
            let back = AuthResults::parse(value.as_bytes()).unwrap();
            prop_assert_eq!(back.results.len(), 2);
            let printable: String =
                text.chars().take(super::VALUE_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
            prop_assert_eq!(back.results[0].get("header", "from").unwrap(), printable);
            prop_assert_eq!(&back.authserv_id, &results.authserv_id);
        }
    }
}
