//! Address lists as values: what `sendmail -t`, lists and filters work with.

use std::fmt;
use std::ops::Range;

use super::raw::{RawEntry, RawList, RawMailbox};
use super::{Address, BadAddress, Domain, LocalPart};
use crate::words;

/// Most mailboxes read of one list; the rest is reported as [`ListDefect::TooMany`].
pub const MAILBOXES_MAX: usize = 10_000;

/// An address with the name shown for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mailbox {
    /// The display name, encoded words decoded; from a comment in old mail.
    pub name: Option<String>,
    /// The address.
    pub address: Address,
}

/// One entry of an address list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// A mailbox by itself.
    Mailbox(Mailbox),
    /// A group; empty in `undisclosed-recipients:;`.
    Group {
        /// Its name, decoded.
        name: String,
        /// Its members.
        members: Vec<Mailbox>,
    },
}

/// Something in a list that is no usable address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListDefect {
    /// The entry is no address; it is left out of the list.
    Bad(BadAddress),
    /// No domain, and none was given to complete it; left out.
    NoDomain,
    /// The entry is not valid UTF-8; left out.
    NotUtf8,
    /// White space or garbage inside the address; left out, as joining the pieces would be a guess.
    Spaced,
    /// The address was read though something around it is wrong: garbage, an open quote or
    /// bracket, a missing comma or missing angle brackets.
    Untidy,
    /// More than [`MAILBOXES_MAX`] mailboxes; the rest was not read.
    TooMany,
}

impl fmt::Display for ListDefect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListDefect::Bad(bad) => bad.fmt(f),
            ListDefect::NoDomain => f.write_str("the address has no domain"),
            ListDefect::NotUtf8 => f.write_str("the address is not UTF-8"),
            ListDefect::Spaced => f.write_str("there is white space or garbage inside the address"),
            ListDefect::Untidy => f.write_str("something around the address is wrong"),
            ListDefect::TooMany => f.write_str("there are more than 10000 addresses"),
        }
    }
}

/// The usable entries of a list, and what was wrong with the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressList {
    /// Entries in their order.
    pub entries: Vec<Entry>,
    /// Defects, each with the place in the input that it concerns.
    pub defects: Vec<(Range<usize>, ListDefect)>,
}

impl AddressList {
    /// Reads the raw body of an address field, folds and comments included.
    ///
    /// `complete` is the domain for addresses without one (`root`), as local programs write them;
    /// in mail from elsewhere it is `None`. Time is linear in the input; nothing is refused as a
    /// whole.
    pub fn read(body: &[u8], complete: Option<&Domain>) -> AddressList {
        let mut list = AddressList::default();
        let mut group: Option<(String, Vec<Mailbox>)> = None;
        let mut count = 0;
        for entry in RawList::new(body) {
            match entry {
                RawEntry::GroupStart(name) => {
                    group = Some((words::decode(&name).into_owned(), Vec::new()))
                }
                RawEntry::GroupEnd => {
                    if let Some((name, members)) = group.take() {
                        list.entries.push(Entry::Group { name, members });
                    }
                }
                RawEntry::Mailbox(raw) => {
                    count += 1;
                    if count > MAILBOXES_MAX {
                        list.defects
                            .push((raw.span.start..body.len(), ListDefect::TooMany));
                        break;
                    }
                    match mailbox(&raw, complete) {
                        Ok(mailbox) => {
                            if untidy(&raw) {
                                list.defects.push((raw.span, ListDefect::Untidy));
                            }
                            match &mut group {
                                Some((_, members)) => members.push(mailbox),
                                None => list.entries.push(Entry::Mailbox(mailbox)),
                            }
                        }
                        Err(defect) => list.defects.push((raw.span, defect)),
                    }
                }
            }
        }
        if let Some((name, members)) = group {
            list.entries.push(Entry::Group { name, members });
        }
        list
    }

    /// All mailboxes, those in groups too.
    pub fn mailboxes(&self) -> impl Iterator<Item = &Mailbox> {
        self.entries.iter().flat_map(|entry| match entry {
            Entry::Mailbox(mailbox) => std::slice::from_ref(mailbox),
            Entry::Group { members, .. } => members.as_slice(),
        })
    }
}

impl RawMailbox<'_> {
    /// The address of this mailbox as a checked value; see [`AddressList::read`] for `complete`.
    ///
    /// # Errors
    /// Why it is none.
    pub fn address(&self, complete: Option<&Domain>) -> Result<Address, ListDefect> {
        if self.defects.spaced {
            return Err(ListDefect::Spaced);
        }
        let local = std::str::from_utf8(&self.local).map_err(|_| ListDefect::NotUtf8)?;
        let local = LocalPart::new(local).map_err(ListDefect::Bad)?;
        let domain = match (&self.domain, complete) {
            (Some(domain), _) => {
                let domain = std::str::from_utf8(domain).map_err(|_| ListDefect::NotUtf8)?;
                Domain::new(domain).map_err(|bad| ListDefect::Bad(BadAddress::Domain(bad)))?
            }
            (None, Some(domain)) => domain.clone(),
            (None, None) => return Err(ListDefect::NoDomain),
        };
        Ok(Address::from_parts(local, domain))
    }

    /// The name to show: the phrase, else the comment; decoded, `None` when empty.
    pub fn display_name(&self) -> Option<String> {
        let raw = self.name.as_deref().or(self.comment.as_deref())?;
        let name = words::decode(raw);
        let name = name.trim();
        if name.is_empty() {
            None
        } else {
            Some(name.to_owned())
        }
    }
}

fn mailbox(raw: &RawMailbox<'_>, complete: Option<&Domain>) -> Result<Mailbox, ListDefect> {
    let address = raw.address(complete)?;
    Ok(Mailbox {
        name: raw.display_name(),
        address,
    })
}

fn untidy(raw: &RawMailbox<'_>) -> bool {
    let d = raw.defects;
    d.garbage || d.unclosed || d.no_comma || d.bare_phrase
}

#[cfg(test)]
mod tests {
    use super::super::raw::WORDS_MAX;
    use super::*;
    use crate::build::{FieldName, Fields};
    use proptest::prelude::*;

    fn shown(body: &str) -> String {
        let list = AddressList::read(body.as_bytes(), None);
        let mailbox = |m: &Mailbox| match &m.name {
            Some(name) => format!("{name}={}", m.address),
            None => m.address.to_string(),
        };
        let mut out: Vec<String> = list
            .entries
            .iter()
            .map(|entry| match entry {
                Entry::Mailbox(m) => mailbox(m),
                Entry::Group { name, members } => {
                    format!(
                        "{name}:{}",
                        members.iter().map(mailbox).collect::<Vec<_>>().join("+")
                    )
                }
            })
            .collect();
        out.extend(
            list.defects
                .iter()
                .map(|(_, defect)| format!("!{defect:?}")),
        );
        out.join(" | ")
    }

    #[test]
    fn rfc_5322_appendix_a() {
        for (body, expected) in [
            (
                "John Doe <jdoe@machine.example>",
                "John Doe=jdoe@machine.example",
            ),
            (
                "\"Joe Q. Public\" <john.q.public@example.com>",
                "Joe Q. Public=john.q.public@example.com",
            ),
            (
                "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
                "Mary Smith=mary@x.test | jdoe@example.org | Who?=one@y.test",
            ),
            (
                "<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
                "boss@nil.test | Giant; \"Big\" Box=sysservices@example.net",
            ),
            (
                "A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
                "A Group:Ed Jones=c@a.test+joe@where.test+John=jdoe@one.test",
            ),
            ("Undisclosed recipients:;", "Undisclosed recipients:"),
            (
                "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
                "Pete=pete@silly.test",
            ),
            (
                "A Group(Some people)\r\n     :Chris Jones <c@(Chris's host.)public.example>,\r\n         joe@example.org,\r\n  John <jdoe@one.test> (my dear friend); (the end of the group)",
                "A Group:Chris Jones=c@public.example+joe@example.org+John=jdoe@one.test",
            ),
            (
                "(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;",
                "Hidden recipients:",
            ),
            (
                "Joe Q. Public <john.q.public@example.com>",
                "Joe Q. Public=john.q.public@example.com",
            ),
            (
                "Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
                "Mary Smith=mary@example.net | jdoe@test.example",
            ),
            (
                "John Doe <jdoe@machine(comment).  example>",
                "John Doe=jdoe@machine.example",
            ),
        ] {
            assert_eq!(shown(body), expected, "{body}");
        }
    }

    #[test]
    fn names() {
        for (body, expected) in [
            ("a@b.example (Full Name)", "Full Name=a@b.example"),
            ("=?utf-8?Q?a=2Cb?= <x@y>", "a,b=x@y"),
            (
                "=?iso-2022-jp?B?GyRCSHQ=?= =?iso-2022-jp?B?NVMbKEI=?= <a@b>",
                "飛脚=a@b",
            ),
            ("\"=?utf-8?B?6aOb6ISa?=\" <a@b>", "飛脚=a@b"),
            ("\"\" <a@b>", "a@b"),
            ("用户 <用户@例え.jp>", "用户=用户@例え.jp"),
            ("\"very odd\"@b.example", "\"very odd\"@b.example"),
            ("\"a\".b@c", "a.b@c"),
            ("a@[192.0.2.1]", "a@[192.0.2.1]"),
            ("X <a@[IPv6:2001:db8::1]>", "X=a@[IPv6:2001:db8::1]"),
        ] {
            assert_eq!(shown(body), expected, "{body}");
        }
    }

    #[test]
    fn bad_ones_do_not_spoil_good_ones() {
        for (body, expected) in [
            ("root, a@b", "a@b | !NoDomain"),
            ("a@b; c@d", "a@b | c@d"),
            ("a@b c@d", "a@b | c@d | !Untidy"),
            ("a b@c", "a=b@c | !Untidy"),
            ("<a b@c>, d@e", "d@e | !Spaced"),
            ("<a@b, c@d", "a@b | c@d | !Untidy"),
            ("\"open <a@b>, c@d", "open=a@b | c@d | !Untidy | !Untidy"),
            ("a@b..c, d@e", "d@e | !Bad(Domain(Label))"),
            ("<>, d@e", "d@e | !Bad(EmptyLocal)"),
            ("@b, d@e", "d@e | !Bad(EmptyLocal)"),
            ("<@b>, d@e", "d@e | !Bad(EmptyLocal)"),
            ("a@, d@e", "d@e | !Bad(Domain(Empty))"),
            ("G: a@b", "G:a@b"),
            ("G: a@b; , c@d", "G:a@b | c@d"),
            (
                "a\u{1}@b, <a\u{1}b@c>, x\u{1} <d@e>",
                "x=d@e | !Spaced | !Spaced | !Untidy",
            ),
            ("<a@b c>, <a@b (c)>", "c=a@b | !Spaced"),
            ("", ""),
            (",,;:", "!Bad(EmptyLocal)"),
        ] {
            assert_eq!(shown(body), expected, "{body}");
        }
        let local = Domain::new("here.example").unwrap();
        let list = AddressList::read(b"root, \"a b\", x@y", Some(&local));
        let all: Vec<String> = list.mailboxes().map(|m| m.address.to_string()).collect();
        assert_eq!(all, ["root@here.example", "\"a b\"@here.example", "x@y"]);
    }

    #[test]
    fn limit() {
        let count = |n: usize| {
            let list = AddressList::read("a@b,".repeat(n).as_bytes(), None);
            (list.entries.len(), list.defects.len())
        };
        assert_eq!(count(MAILBOXES_MAX - 1), (MAILBOXES_MAX - 1, 0));
        assert_eq!(count(MAILBOXES_MAX), (MAILBOXES_MAX, 0));
        assert_eq!(count(MAILBOXES_MAX + 1), (MAILBOXES_MAX, 1));
    }

    #[test]
    fn words_limit() {
        let read = |n: usize| shown(&format!("{}<a@b>, c@d", "w ".repeat(n)));
        let names = |n: usize| format!("{}=a@b | c@d", "w ".repeat(n).trim());
        assert_eq!(read(WORDS_MAX - 1), names(WORDS_MAX - 1));
        assert_eq!(read(WORDS_MAX), names(WORDS_MAX));
        assert_eq!(
            read(WORDS_MAX + 1),
            format!("{} | !Untidy", names(WORDS_MAX))
        );
        let local = |n: usize| shown(&format!("<{}x@b>, c@d", "w.".repeat(n / 2)));
        assert_eq!(local(WORDS_MAX), "c@d | !Spaced");
    }

    fn any_address() -> impl Strategy<Value = Address> {
        let domain = prop_oneof![
            Just("example.org"),
            Just("例え.jp"),
            Just("[192.0.2.1]"),
            Just("[IPv6:::1]")
        ];
        ("\\PC{1,20}", domain).prop_map(|(local, domain)| {
            Address::from_parts(
                LocalPart::new(&local.replace(['\u{2028}', '\u{2029}'], "x")).unwrap(),
                Domain::new(domain).unwrap(),
            )
        })
    }

    proptest! {
        #[test]
        fn written_lists_are_read_back(list in proptest::collection::vec((any_address(), "[ -~é飛\u{1F4EC}]{0,30}"), 1..8)) {
            let list: Vec<(Address, String)> = list;
            let mut fields = Fields::new();
            fields.addresses(FieldName::TO, list.iter().map(|(address, name)| (Some(name.as_str()), address)));
            let body = fields.as_bytes().strip_prefix(b"To:").unwrap();
            let read = AddressList::read(body, None);
            prop_assert_eq!(&read.defects, &[]);
            let back: Vec<(Address, String)> = read
                .mailboxes()
                .map(|m| (m.address.clone(), m.name.clone().unwrap_or_default()))
                .collect();
            let expected: Vec<(Address, String)> = list
                .into_iter()
                .map(|(address, name)| {
                    (address, name.trim().to_owned())
                })
                .collect();
            prop_assert_eq!(back, expected);
        }

        #[test]
        fn any_octets(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = AddressList::read(&body, None);
        }

        #[test]
        fn address_like_octets(body in "[a@.,;:<>()\"\\\\\\[\\] \r\n=?]{0,60}") {
            let list = AddressList::read(body.as_bytes(), None);
            for mailbox in list.mailboxes() {
                let text = mailbox.address.to_string();
                prop_assert_eq!(Address::new(&text), Ok(mailbox.address.clone()), "{}", text);
            }
        }
    }
}
