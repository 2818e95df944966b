//! What the fuzz targets call, and the tests too: each function gives foreign octets to one
//! reader or writer and checks what must hold for any input. They panic when it does not.
#![allow(clippy::panic)]

use crate::address::{Address, AddressList};
use crate::build::{
    Body, Crlf, FieldName, Fields as Written, LINE_HARD, MessageId, Received, TlsUsed, With,
};
use crate::charset::Charset;
use crate::date::{self, Date};
use crate::examine;
use crate::ids;
use crate::imap;
use crate::list_fields;
use crate::media::{self, MediaType};
use crate::scan::{Audit, FieldStream, Fields, Kind, Scanner, Structure};
use crate::transfer::{Decoder, Encoding};
use crate::words;

/// The first octet chooses a size of blocks, the rest is the text.
fn split(data: &[u8]) -> (usize, &[u8]) {
    match data.split_first() {
        Some((size, rest)) => (usize::from(*size) + 1, rest),
        None => (1, data),
    }
}

/// The scanner: sound ranges, and the same structure in blocks of any size.
pub fn scan(data: &[u8]) {
    let (size, message) = split(data);
    let structure = Scanner::scan(message);
    let mut scanner = Scanner::new();
    message.chunks(size).for_each(|block| scanner.feed(block));
    assert_eq!(scanner.finish(), structure, "blocks of {size}");
    check_structure(&structure, message);
    let mut audit = Audit::new();
    message.chunks(size).for_each(|block| audit.push(block));
    audit.finish();
    assert_eq!(audit, Audit::of(message));
    let mut fields = Fields::new(message);
    let end = fields.by_ref().last().map_or(0, |field| field.range().end);
    let body = fields.body().unwrap_or_default();
    let mut in_stream = Vec::new();
    let mut stream = FieldStream::new();
    message
        .chunks(size)
        .for_each(|block| stream.feed(block, |field| in_stream.push(field.raw)));
    assert_eq!(stream.finish(|field| in_stream.push(field.raw)), body);
    assert!(
        Fields::new(message)
            .map(|field| field.range())
            .eq(in_stream)
    );
    assert!(end <= body && body <= end + 2 && body == Fields::body_of(message).max(end));
}

fn check_structure(structure: &Structure, message: &[u8]) {
    let parts = structure.parts();
    assert!(!parts.is_empty());
    for (index, part) in parts.iter().enumerate() {
        assert!(part.header.start <= part.header.end && part.header.end == part.body.start);
        assert!(part.body.start <= part.body.end && part.body.end <= message.len());
        assert!(part.next as usize > index && part.next as usize <= parts.len());
        let ends = memchr::memchr_iter(b'\n', part.body_of(message)).count() as u64;
        assert_eq!(part.lines, ends);
        if let Some(parent) = part.parent.and_then(|parent| parts.get(parent as usize)) {
            assert!(parent.body.start <= part.header.start && part.body.end <= parent.body.end);
            assert!(parent.next >= part.next && parent.depth < part.depth);
        }
        if part.kind == Kind::Message {
            assert_eq!(structure.children(index as u32).count(), 1);
        }
        assert_eq!(
            part.decoded(message).len() as u64,
            part.decoded_size(message)
        );
    }
}

/// ENVELOPE, BODY and BODYSTRUCTURE are one well-formed IMAP value each.
pub fn imap(message: &[u8]) {
    let structure = Scanner::scan(message);
    let mut out = Vec::new();
    imap::envelope(message, &mut out);
    assert!(is_one_value(&out), "{:?}", String::from_utf8_lossy(&out));
    for write in [imap::body, imap::body_structure] {
        out.clear();
        write(&structure, message, &mut out);
        assert!(is_one_value(&out), "{:?}", String::from_utf8_lossy(&out));
    }
}

/// Whether octets are one IMAP list, string, number or atom and nothing more.
fn is_one_value(text: &[u8]) -> bool {
    let mut rest = text;
    let mut depth = 0usize;
    loop {
        match rest {
            [b'(', tail @ ..] => {
                depth += 1;
                rest = tail;
                continue;
            }
            [b')', tail @ ..] if depth > 0 => {
                depth -= 1;
                rest = tail;
            }
            [b' ', tail @ ..] if depth > 0 => {
                rest = tail;
                continue;
            }
            [b'"', tail @ ..] => {
                let Some(after) = after_quoted(tail) else {
                    return false;
                };
                rest = after;
            }
            [b'{', tail @ ..] => {
                let Some(after) = after_literal(tail) else {
                    return false;
                };
                rest = after;
            }
            _ => {
                let len = rest
                    .iter()
                    .take_while(|b| b.is_ascii_alphanumeric())
                    .count();
                if len == 0 {
                    return false;
                }
                rest = rest.get(len..).unwrap_or_default();
            }
        }
        if depth == 0 {
            return rest.is_empty();
        }
    }
}

fn after_quoted(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        rest = match rest {
            [b'"', tail @ ..] => return Some(tail),
            [b'\\', b'"' | b'\\', tail @ ..] => tail,
            [0 | b'\r' | b'\n' | b'\\' | 0x80.., ..] | [] => return None,
            [_, tail @ ..] => tail,
        };
    }
}

fn after_literal(rest: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(b'}', rest)?;
    let len: usize = std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()?;
    let rest = rest.get(end + 1..)?.strip_prefix(b"\r\n")?;
    if memchr::memchr(0, rest.get(..len)?).is_some() {
        None
    } else {
        rest.get(len..)
    }
}

/// Address lists: every address read can be written and read again.
pub fn addresses(data: &[u8]) {
    let list = AddressList::read(data, None);
    let mut fields = Written::new();
    let all: Vec<_> = list.mailboxes().collect();
    fields.addresses(
        FieldName::TO,
        all.iter().map(|m| (m.name.as_deref(), &m.address)),
    );
    let raw = fields.as_bytes();
    assert!(is_one_field(raw));
    let again = AddressList::read(raw.get(3..).unwrap_or_default(), None);
    let addresses: Vec<&Address> = again.mailboxes().map(|m| &m.address).collect();
    assert_eq!(
        addresses,
        all.iter().map(|m| &m.address).collect::<Vec<_>>()
    );
    for (span, _) in &list.defects {
        assert!(span.start <= span.end && span.end <= data.len());
    }
}

/// Texts of fields: encoded words, parameters, dates, ids, list fields, charsets.
pub fn texts(data: &[u8]) {
    let text = words::decode(data);
    let mut fields = Written::new();
    fields.text(FieldName::SUBJECT, &text);
    assert!(is_one_field(fields.as_bytes()));
    let unfolded = words::unfold(data);
    assert!(memchr::memchr2(b'\r', b'\n', &unfolded).is_none());
    if let Some(media) = MediaType::read(data) {
        let _ = (media.params.all(), media.params.octets("boundary"));
    }
    if let Some((_, params)) = media::disposition(data) {
        let _ = params.get("filename");
    }
    if let Ok((date, _)) = date::parse(data) {
        assert_eq!(date::parse(&date.to_bytes()).map(|(d, _)| d), Ok(date));
    }
    for id in ids::message_ids(data) {
        if let Ok(id) = std::str::from_utf8(id) {
            let _ = MessageId::from_text(id);
        }
    }
    let _ = (
        list_fields::ListId::read(data),
        list_fields::list_action(data),
    );
    let (label, octets) = data.split_at(data.len().min(12));
    let _ = Charset::for_label(label).decode(octets);
    for charset in [Charset::Utf7, Charset::Iso2022Kr, Charset::Ascii] {
        let _ = charset.decode(data);
    }
}

/// Transfer decoding gives the same in blocks of any size, and never grows.
pub fn transfer(data: &[u8]) {
    let (size, body) = split(data);
    for encoding in [Encoding::Base64, Encoding::QuotedPrintable] {
        let whole = encoding.decode(body);
        assert!(whole.len() <= body.len());
        let mut decoder = Decoder::new(encoding);
        let mut out = Vec::new();
        body.chunks(size)
            .for_each(|block| decoder.push(block, &mut out));
        decoder.finish(&mut out);
        assert_eq!(out, whole);
    }
}

/// Whatever text goes into a field stays in it, and every line end is CRLF.
pub fn building(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut fields = Written::new();
    fields
        .field(FieldName::TO)
        .words(&text)
        .glue(&text)
        .comment(&text)
        .phrase(&text)
        .param(&text, &text)
        .fold();
    assert!(is_one_field(fields.as_bytes()));
    let mut out = Vec::new();
    Received {
        helo: &text,
        reverse_name: Some(&text),
        client: Some(std::net::IpAddr::from([192, 0, 2, 1])),
        local_user: Some(&text),
        by: &text,
        with: With::Smtp,
        id: &text,
        tls: Some(TlsUsed {
            version: &text,
            cipher: &text,
        }),
        recipient: Some(&text),
        date: Date::utc(0),
    }
    .write_to(&mut out);
    assert!(is_one_field(&out));
    let body = Body::text(&text);
    assert_eq!(Crlf::convert(body.content()), body.content());
    let whole = body.into_message(fields);
    let structure = Scanner::scan(&whole);
    let read = structure
        .root()
        .map(|part| part.decoded(&whole))
        .unwrap_or_default();
    let mut expected = Crlf::convert(text.as_bytes());
    if !read.ends_with(&expected) && !expected.ends_with(b"\r\n") {
        expected.extend_from_slice(b"\r\n");
    }
    assert_eq!(read, expected);
}

/// Examining a whole message ends, whatever it is.
pub fn examined(data: &[u8]) {
    let _ = examine::examine(data);
}

fn is_one_field(bytes: &[u8]) -> bool {
    let Some(text) = bytes.strip_suffix(b"\r\n") else {
        return false;
    };
    if Crlf::convert(text) != text || memchr::memchr(0, text).is_some() {
        return false;
    }
    let mut lines = text
        .split(|b| *b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next().is_some_and(|line| line.len() <= LINE_HARD);
    first
        && lines.all(|line| {
            line.len() <= LINE_HARD
                && matches!(line.first(), Some(b' ' | b'\t'))
                && !line.trim_ascii().is_empty()
        })
}
