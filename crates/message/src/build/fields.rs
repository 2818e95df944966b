//! A header block while it is being written.

use super::words::{encode_run, needs_words};
use super::{Field, FieldName, LINE_SOFT, MessageId, clean};
use crate::address::Address;
use crate::date::Date;

/// White space and words longer than this are encoded, so that a fold is always near, in octets.
const PLAIN_MAX: usize = 400;

/// Header fields in order, each ending in CRLF. The empty line is added by who joins them to a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    bytes: Vec<u8>,
}

impl Fields {
    /// No field yet.
    pub fn new() -> Fields {
        Fields::default()
    }

    /// The fields written so far, without the empty line that ends a header.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, given away.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Opens a structured field; it is closed when the returned value is dropped.
    pub fn field(&mut self, name: FieldName<'_>) -> Field<'_> {
        Field::begin(&mut self.bytes, name)
    }

    /// Adds an unstructured field (RFC 5322 3.2.5, RFC 2047 5 rule 1).
    ///
    /// White space at both ends is dropped, a tab becomes a space, other control characters
    /// become `?`; apart from that, unfolding and decoding gives `text` back exactly.
    pub fn text(&mut self, name: FieldName<'_>, text: &str) -> &mut Self {
        let text: String = text.chars().map(clean).collect();
        self.bytes.extend_from_slice(name.as_str().as_bytes());
        self.bytes.push(b':');
        write_text(
            &mut self.bytes,
            name.as_str().len() + 1,
            text.trim_matches(' '),
        );
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    /// Adds a date field.
    pub fn date(&mut self, name: FieldName<'_>, date: Date) -> &mut Self {
        self.bytes.extend_from_slice(name.as_str().as_bytes());
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(&date.to_bytes());
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    /// Adds a field of message ids (Message-ID with one, References with many), one space between.
    pub fn message_ids<'i>(
        &mut self,
        name: FieldName<'_>,
        ids: impl IntoIterator<Item = &'i MessageId>,
    ) -> &mut Self {
        let mut field = self.field(name);
        for id in ids {
            field.words(id.as_str());
        }
        drop(field);
        self
    }

    /// Adds a field with addresses, each with a display name or without.
    pub fn addresses<'n>(
        &mut self,
        name: FieldName<'_>,
        list: impl IntoIterator<Item = (Option<&'n str>, &'n Address)>,
    ) -> &mut Self {
        let mut field = self.field(name);
        let mut first = true;
        for (display, address) in list {
            if !std::mem::take(&mut first) {
                field.glue(",");
            }
            match display {
                Some(display) if !display.trim().is_empty() => {
                    field.phrase(display).address(address, true);
                }
                _ => field.address(address, false),
            }
        }
        drop(field);
        self
    }
}

impl Field<'_> {
    /// Writes one address as a token that is never broken, in angle brackets if wanted.
    pub fn address(&mut self, address: &Address, angle: bool) {
        // A quoted local part may hold spaces: it is one token all the same, so not by `words`.
        self.atomic(&if angle {
            format!("<{address}>")
        } else {
            address.to_string()
        });
    }
}

/// Writes unstructured text that is clean and trimmed, from `column` on.
fn write_text(out: &mut Vec<u8>, mut column: usize, text: &str) {
    // The space after the colon is no part of the value, so the first word may never move
    // to the next line alone: some readers take an empty first line for an empty field.
    let mut first = true;
    let mut run = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let gap_len = rest.len() - rest.trim_start_matches(' ').len();
        let (gap, after) = rest.split_at(gap_len);
        let word_len = after.find(' ').unwrap_or(after.len());
        let (word, tail) = after.split_at(word_len);
        rest = tail;
        if needs_words(word) || word.len() > PLAIN_MAX || gap.len() > PLAIN_MAX {
            if run.is_empty() {
                // One space separates the encoded word from what is before; the rest is text.
                run.push_str(gap.get(1..).unwrap_or_default());
            } else {
                run.push_str(gap);
            }
            run.push_str(word);
            continue;
        }
        flush_run(out, &mut column, &mut first, &mut run);
        let gap = if first { " " } else { gap };
        if !first && column + gap.len() + word.len() > LINE_SOFT {
            out.extend_from_slice(b"\r\n");
            column = 0;
        }
        out.extend_from_slice(gap.as_bytes());
        out.extend_from_slice(word.as_bytes());
        column += gap.len() + word.len();
        first = false;
    }
    flush_run(out, &mut column, &mut first, &mut run);
}

fn flush_run(out: &mut Vec<u8>, column: &mut usize, first: &mut bool, run: &mut String) {
    if run.is_empty() {
        return;
    }
    for word in encode_run(run) {
        // Lines with encoded words end at 76 (RFC 2047 2); after a long name the first goes over.
        if !*first && *column + 1 + word.len() > LINE_SOFT - 2 {
            out.extend_from_slice(b"\r\n");
            *column = 0;
        }
        out.push(b' ');
        out.extend_from_slice(word.as_bytes());
        *column += 1 + word.len();
        *first = false;
    }
    run.clear();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::LINE_HARD;
    use proptest::prelude::*;

    fn subject(text: &str) -> String {
        let mut fields = Fields::new();
        fields.text(FieldName::SUBJECT, text);
        String::from_utf8(fields.into_bytes()).unwrap()
    }

    #[test]
    fn unstructured() {
        assert_eq!(subject("hello"), "Subject: hello\r\n");
        assert_eq!(subject(""), "Subject:\r\n");
        assert_eq!(subject("a\r\nBcc: x"), "Subject: a??Bcc: x\r\n");
        assert_eq!(subject("a\tb  c "), "Subject: a b  c\r\n");
        assert_eq!(
            subject("Re: Grüße"),
            "Subject: Re: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n"
        );
        let long = subject(&"word ".repeat(40));
        assert!(long.lines().all(|line| line.len() <= LINE_SOFT));
        assert_eq!(
            long.replace("\r\n ", " ").trim_end(),
            format!("Subject: {}", "word ".repeat(40)).trim_end()
        );
    }

    #[test]
    fn addresses_and_names() {
        let a = Address::new("a@example.org").unwrap();
        let b = Address::new("\"b c\"@example.org").unwrap();
        let mut fields = Fields::new();
        fields.addresses(
            FieldName::TO,
            [
                (Some("Plain Name"), &a),
                (Some("Doe, J. \"Q\""), &b),
                (None, &a),
                (Some("佐藤"), &a),
            ],
        );
        assert_eq!(
            std::str::from_utf8(fields.as_bytes()).unwrap(),
            "To: Plain Name <a@example.org>, \"Doe, J. \\\"Q\\\"\" <\"b c\"@example.org>,\r\n\
             \ta@example.org, =?utf-8?B?5L2Q6Jek?= <a@example.org>\r\n"
        );
    }

    #[test]
    fn parameters() {
        let mut fields = Fields::new();
        fields
            .field(FieldName::CONTENT_TYPE)
            .words("text/plain")
            .param("charset", "utf-8")
            .param("name", "a b.txt");
        fields
            .field(FieldName::CONTENT_DISPOSITION)
            .words("attachment")
            .param("filename", "見積書.pdf");
        assert_eq!(
            std::str::from_utf8(fields.as_bytes()).unwrap(),
            "Content-Type: text/plain; charset=utf-8; name=\"a b.txt\"\r\n\
             Content-Disposition: attachment;\r\n\tfilename*=utf-8''%E8%A6%8B%E7%A9%8D%E6%9B%B8.pdf\r\n"
        );
        let mut fields = Fields::new();
        fields
            .field(FieldName::CONTENT_TYPE)
            .words("x/y")
            .param("name", &"あ".repeat(30));
        let text = String::from_utf8(fields.into_bytes()).unwrap();
        assert!(
            text.contains("name*0*=utf-8''%E3") && text.contains("name*1*=%"),
            "{text}"
        );
        assert!(
            text.lines().all(|line| line.len() <= LINE_SOFT + 8),
            "{text}"
        );
    }

    /// The header block is one field: lines end in CRLF, all but the first begin with white space
    /// and hold more than that, none is too long.
    fn is_one_field(bytes: &[u8]) -> bool {
        let Some(text) = bytes.strip_suffix(b"\r\n") else {
            return false;
        };
        let text = String::from_utf8_lossy(text).into_owned();
        let lines: Vec<&str> = text.split("\r\n").collect();
        lines
            .iter()
            .all(|line| line.len() <= LINE_HARD && !line.contains(['\r', '\n', '\0']))
            && lines.iter().skip(1).all(|line| {
                line.starts_with([' ', '\t']) && !line.trim_matches([' ', '\t']).is_empty()
            })
    }

    proptest! {
        #[test]
        fn no_text_escapes_its_field(text in "[\\x00-\\x7f\u{80}-\u{ff}あ\u{2028}]{0,200}", long in 0usize..3000) {
            let text = format!("{text}{}", "x".repeat(long));
            let mut fields = Fields::new();
            fields.text(FieldName::SUBJECT, &text);
            prop_assert!(is_one_field(fields.as_bytes()));
            let mut fields = Fields::new();
            fields.field(FieldName::TO).phrase(&text).comment(&text).words(&text).glue(&text).param(&text, &text).fold();
            prop_assert!(is_one_field(fields.as_bytes()), "{:?}", String::from_utf8_lossy(fields.as_bytes()));
        }

        #[test]
        fn folding_loses_nothing(text in "[a-z ,.]{0,300}") {
            let written = subject(&text);
            let unfolded = written.replace("\r\n", "");
            prop_assert_eq!(unfolded.strip_prefix("Subject:").unwrap().trim(), text.trim());
        }
    }
}
