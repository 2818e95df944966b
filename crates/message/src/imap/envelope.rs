//! ENVELOPE (RFC 3501 7.4.2).
//!
//! ```text
//! envelope = "(" date SP subject SP from SP sender SP reply-to SP to SP cc SP bcc SP in-reply-to SP message-id ")"
//! address  = "(" name SP adl SP mailbox SP host ")"
//! ```

use super::string::{nstring, string};
use crate::address::{RawEntry, RawList, RawMailbox};
use crate::scan::{Fields, RawField};

/// Address fields in the envelope's order.
const ADDRESSES: [&str; 6] = ["From", "Sender", "Reply-To", "To", "Cc", "Bcc"];

/// Most fields of one name whose addresses are shown; the grammar allows one (RFC 5322 3.6).
pub const ADDRESS_FIELDS_MAX: usize = 100;

/// The fields of one header that the envelope shows.
#[derive(Default)]
struct Found<'a> {
    date: Option<RawField<'a>>,
    subject: Option<RawField<'a>>,
    in_reply_to: Option<RawField<'a>>,
    message_id: Option<RawField<'a>>,
    lists: [Vec<RawField<'a>>; 6],
}

impl<'a> Found<'a> {
    fn read(header: &'a [u8]) -> Found<'a> {
        let mut found = Found::default();
        for field in Fields::new(header) {
            // One look at the length spares most names a comparison with ten others.
            let slot = match field.name.len() {
                4 if field.is("Date") => &mut found.date,
                7 if field.is("Subject") => &mut found.subject,
                11 if field.is("In-Reply-To") => &mut found.in_reply_to,
                10 if field.is("Message-ID") => &mut found.message_id,
                2 | 3 | 4 | 6 | 8 => {
                    if let Some(at) = ADDRESSES.iter().position(|name| field.is(name))
                        && let Some(list) = found.lists.get_mut(at)
                        && list.len() < ADDRESS_FIELDS_MAX
                    {
                        list.push(field);
                    }
                    continue;
                }
                _ => continue,
            };
            slot.get_or_insert(field);
        }
        found
    }
}

/// Writes the ENVELOPE of a header block (or of a message, of which only the header is read).
///
/// Texts are unfolded and otherwise as they stand; encoded words are the client's to decode. A
/// field that occurs more than once counts the first time, address fields each time. Sender and
/// Reply-To take the value of From when they are absent or empty.
pub fn envelope(header: &[u8], out: &mut Vec<u8>) {
    let found = Found::read(header);
    out.push(b'(');
    text(out, found.date);
    out.push(b' ');
    text(out, found.subject);
    let mut lists = found.lists.iter().map(|fields| address_list(fields));
    let from = lists.next().unwrap_or_default();
    let sender = lists.next().unwrap_or_default();
    let reply_to = lists.next().unwrap_or_default();
    let or_from = |list: Vec<u8>| if list.is_empty() { from.clone() } else { list };
    let (sender, reply_to) = (or_from(sender), or_from(reply_to));
    for list in [from, sender, reply_to].into_iter().chain(lists) {
        out.push(b' ');
        if list.is_empty() {
            out.extend_from_slice(b"NIL");
        } else {
            out.push(b'(');
            out.extend_from_slice(&list);
            out.push(b')');
        }
    }
    out.push(b' ');
    text(out, found.in_reply_to);
    out.push(b' ');
    text(out, found.message_id);
    out.push(b')');
}

fn text(out: &mut Vec<u8>, field: Option<RawField<'_>>) {
    nstring(out, field.as_ref().map(RawField::unfolded).as_deref());
}

/// All addresses of some fields, each in parentheses; empty when there is none.
fn address_list(fields: &[RawField<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields {
        for entry in RawList::new(field.value) {
            match entry {
                RawEntry::Mailbox(mailbox) => address(&mut out, &mailbox),
                RawEntry::GroupStart(name) => {
                    out.extend_from_slice(b"(NIL NIL ");
                    string(&mut out, &name);
                    out.extend_from_slice(b" NIL)");
                }
                RawEntry::GroupEnd => out.extend_from_slice(b"(NIL NIL NIL NIL)"),
            }
        }
    }
    out
}

fn address(out: &mut Vec<u8>, mailbox: &RawMailbox<'_>) {
    out.push(b'(');
    let name = mailbox.name.as_deref().or(mailbox.comment.as_deref());
    nstring(out, name.filter(|name| !name.is_empty()));
    out.push(b' ');
    nstring(out, mailbox.route.as_deref());
    out.push(b' ');
    string(out, &mailbox.local);
    out.push(b' ');
    // NIL as host would mean that a group begins or ends.
    string(out, mailbox.domain.as_deref().unwrap_or_default());
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(header: &str) -> String {
        let mut out = Vec::new();
        envelope(header.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rfc_3501_section_8() {
        let header = "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nFrom: Terry Gray <gray@cac.washington.edu>\r\n\
            Subject: IMAP4rev1 WG mtg summary and minutes\r\nTo: imap@cac.washington.edu\r\n\
            cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n\
            Message-Id: <B27397-0100000@cac.washington.edu>\r\nMIME-Version: 1.0\r\n\r\n";
        assert_eq!(
            wire(header),
            "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and minutes\" \
            ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
            ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
            ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
            ((NIL NIL \"imap\" \"cac.washington.edu\")) \
            ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL \
            \"<B27397-0100000@cac.washington.edu>\")"
        );
    }

    #[test]
    fn corners() {
        assert_eq!(wire(""), "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
        assert_eq!(
            wire(
                "From:\nSubject:\n a\n b\nTo: G: x@y, root;\nSender: \nReply-To: r@s (Name)\nTo: <@r,@s:t@u>\n"
            ),
            "(NIL \"a b\" NIL NIL ((\"Name\" NIL \"r\" \"s\")) ((NIL NIL \"G\" NIL)(NIL NIL \"x\" \"y\")(NIL NIL \"root\" \"\")\
            (NIL NIL NIL NIL)(NIL \"@r,@s\" \"t\" \"u\")) NIL NIL NIL NIL)"
        );
        assert_eq!(
            wire("Subject: é\n"),
            "(NIL {2}\r\né NIL NIL NIL NIL NIL NIL NIL NIL)"
        );
    }
}
