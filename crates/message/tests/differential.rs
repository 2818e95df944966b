//! Our readers against mailparse and mail-parser, on generated mails and on the traps of the field.
//!
//! On well-formed mail all three have to agree. Where they differ on the traps, `TRAPS` says who
//! is right and why; the test notices when one of the others changes its mind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use mail_parser::{MessageParser, MimeHeaders, PartType};
use mailparse::{MailHeaderMap, ParsedMail};
use message::address::AddressList;
use message::date;
use message::scan::{Fields, Kind, Scanner, Structure};
use message::transfer::Encoding;
use message::words;

#[path = "corpus/mod.rs"]
mod corpus;

const MAILS: u64 = 300;

/// mailparse leaves embedded messages as they are; so the walk stops there.
fn same_as_mailparse(
    structure: &Structure,
    index: u32,
    mail: &[u8],
    other: &ParsedMail<'_>,
    n: u64,
) {
    let part = &structure.parts()[index as usize];
    if part.kind == Kind::Multipart {
        let children: Vec<u32> = structure.children(index).map(|(child, _)| child).collect();
        assert_eq!(
            children.len(),
            other.subparts.len(),
            "mail {n} part {index}"
        );
        for (child, sub) in children.into_iter().zip(&other.subparts) {
            same_as_mailparse(structure, child, mail, sub, n);
        }
    } else {
        assert!(other.subparts.is_empty(), "mail {n} part {index}");
        let theirs = other.get_body_raw().unwrap();
        let ours = part.decoded(mail);
        if part.encoding == Encoding::QuotedPrintable {
            // mailparse makes every line end CRLF while it decodes; we keep what the mail has.
            let lf = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("\r\n", "\n");
            assert_eq!(lf(&ours), lf(&theirs), "mail {n} part {index}");
        } else {
            assert!(ours == theirs, "mail {n} part {index}");
        }
    }
    let media = part.media_type(mail);
    let mime = format!(
        "{}/{}",
        String::from_utf8_lossy(media.main),
        String::from_utf8_lossy(media.sub)
    );
    assert!(
        mime.eq_ignore_ascii_case(&other.ctype.mimetype),
        "mail {n} part {index}: {mime}"
    );
    for (name, value) in &other.ctype.params {
        assert_eq!(
            media.param(name).as_deref(),
            Some(value.as_str()),
            "mail {n} part {index} {name}"
        );
    }
}

#[test]
fn generated_mails_with_mailparse() {
    for n in 0..MAILS {
        let mail = corpus::mail(n);
        let structure = Scanner::scan(&mail);
        assert!(
            structure.parts().iter().all(|part| part.defects.is_empty()),
            "mail {n}"
        );
        let other = mailparse::parse_mail(&mail).unwrap();
        same_as_mailparse(&structure, 0, &mail, &other, n);
        let ours: Vec<_> = Fields::new(&mail).collect();
        assert_eq!(ours.len(), other.headers.len(), "mail {n}");
        for (field, header) in ours.iter().zip(&other.headers) {
            assert!(field.is(&header.get_key()), "mail {n} {}", header.get_key());
            assert_eq!(
                normal(&field.text()),
                normal(&header.get_value()),
                "mail {n} {}",
                header.get_key()
            );
        }
        let stamp = other.headers.get_first_value("Date").unwrap();
        let (ours, _) = date::parse(stamp.as_bytes()).unwrap();
        assert_eq!(
            ours.seconds(),
            mailparse::dateparse(&stamp).unwrap(),
            "mail {n}"
        );
    }
}

/// Unfolding keeps our white space as it stands; the others make one space of it.
fn normal(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Leaves of our tree in order, embedded messages descended.
fn leaves(structure: &Structure, mail: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    for part in structure
        .parts()
        .iter()
        .filter(|part| part.kind == Kind::Leaf)
    {
        let media = part.media_type(mail);
        let bytes = part.decoded(mail);
        if media.is("text", "*") {
            let charset = media.param("charset").unwrap_or_default().into_owned();
            let text = message::charset::Charset::for_label(charset.as_bytes())
                .decode(&bytes)
                .text
                .into_owned();
            out.push(("text".to_owned(), text.into_bytes()));
        } else {
            out.push(("data".to_owned(), bytes));
        }
    }
    out
}

fn their_leaves(message: &mail_parser::Message<'_>, index: u32, out: &mut Vec<(String, Vec<u8>)>) {
    let Some(part) = message.parts.get(index as usize) else {
        return;
    };
    match &part.body {
        PartType::Text(text) | PartType::Html(text) => {
            out.push(("text".to_owned(), text.as_bytes().to_vec()))
        }
        PartType::Binary(data) | PartType::InlineBinary(data) => {
            out.push(("data".to_owned(), data.to_vec()))
        }
        PartType::Message(inner) => their_leaves(inner, 0, out),
        PartType::Multipart(children) => {
            for child in children {
                their_leaves(message, *child, out);
            }
        }
    }
}

#[test]
fn generated_mails_with_mail_parser() {
    for n in 0..MAILS {
        let mail = corpus::mail(n);
        let structure = Scanner::scan(&mail);
        let other = MessageParser::default().parse(&mail).unwrap();
        let mut theirs = Vec::new();
        their_leaves(&other, 0, &mut theirs);
        let ours = leaves(&structure, &mail);
        assert_eq!(ours.len(), theirs.len(), "mail {n}");
        for (place, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert_eq!(ours.0, theirs.0, "mail {n} leaf {place}");
            assert!(
                ours.1 == theirs.1,
                "mail {n} leaf {place}:\n{:?}\n{:?}",
                String::from_utf8_lossy(&ours.1),
                String::from_utf8_lossy(&theirs.1)
            );
        }
        let subject = Fields::find(&mail, "Subject").unwrap();
        assert_eq!(
            Some(normal(&subject.text())),
            other.subject().map(normal),
            "mail {n}"
        );
        let from = Fields::find(&mail, "To").unwrap();
        let ours: Vec<(String, String)> = AddressList::read(from.value, None)
            .mailboxes()
            .map(|m| (m.name.clone().unwrap_or_default(), m.address.to_string()))
            .collect();
        let theirs: Vec<(String, String)> = other
            .to()
            .unwrap()
            .iter()
            .map(|a| {
                (
                    a.name().unwrap_or_default().to_owned(),
                    a.address().unwrap_or_default().to_owned(),
                )
            })
            .collect();
        assert_eq!(ours, theirs, "mail {n}");
        let attached = other
            .attachment(0)
            .and_then(|part| part.attachment_name().map(str::to_owned));
        if let Some(name) = attached {
            assert!(
                name == "飛脚.pdf" || name.starts_with("report"),
                "mail {n} {name}"
            );
        }
    }
}

/// What is looked at in a trap.
enum Look {
    Subject,
    Leaves,
    To,
    Name,
}

fn ours(mail: &[u8], look: &Look) -> String {
    match look {
        Look::Subject => Fields::find(mail, "Subject")
            .map_or("-".into(), |f| words::decode(f.value).into_owned()),
        Look::Leaves => {
            let structure = Scanner::scan(mail);
            let leaves = structure
                .parts()
                .iter()
                .filter(|part| part.kind == Kind::Leaf);
            leaves
                .map(|part| String::from_utf8_lossy(&part.decoded(mail)).into_owned())
                .collect::<Vec<_>>()
                .join("|")
        }
        Look::To => {
            let field = Fields::find(mail, "To").unwrap();
            let list = AddressList::read(field.value, None);
            let show = |m: &message::address::Mailbox| {
                format!("{}<{}>", m.name.clone().unwrap_or_default(), m.address)
            };
            list.mailboxes().map(show).collect::<Vec<_>>().join(" ")
        }
        Look::Name => {
            let structure = Scanner::scan(mail);
            let name = structure
                .root()
                .unwrap()
                .media_type(mail)
                .param("name")
                .map(|name| name.into_owned());
            name.unwrap_or_default()
        }
    }
}

fn mailparse_says(mail: &[u8], look: &Look) -> String {
    let Ok(parsed) = mailparse::parse_mail(mail) else {
        return "error".into();
    };
    match look {
        Look::Subject => parsed
            .headers
            .get_first_value("Subject")
            .unwrap_or("-".into()),
        Look::Leaves => {
            fn walk(part: &ParsedMail<'_>, out: &mut Vec<String>) {
                if part.subparts.is_empty() {
                    out.push(
                        part.get_body_raw()
                            .map_or("error".into(), |b| String::from_utf8_lossy(&b).into_owned()),
                    );
                }
                part.subparts.iter().for_each(|sub| walk(sub, out));
            }
            let mut out = Vec::new();
            walk(&parsed, &mut out);
            out.join("|")
        }
        Look::To => {
            let value = parsed.headers.get_first_header("To").unwrap();
            let Ok(list) = mailparse::addrparse_header(value) else {
                return "error".into();
            };
            let mut out = Vec::new();
            for entry in list.iter() {
                let singles = match entry {
                    mailparse::MailAddr::Single(single) => std::slice::from_ref(single),
                    mailparse::MailAddr::Group(group) => group.addrs.as_slice(),
                };
                out.extend(singles.iter().map(|m| {
                    format!("{}<{}>", m.display_name.clone().unwrap_or_default(), m.addr)
                }));
            }
            out.join(" ")
        }
        Look::Name => parsed.ctype.params.get("name").cloned().unwrap_or_default(),
    }
}

fn mail_parser_says(mail: &[u8], look: &Look) -> String {
    let Some(parsed) = MessageParser::default().parse(mail) else {
        return "error".into();
    };
    match look {
        Look::Subject => parsed.subject().unwrap_or("-").to_owned(),
        Look::Leaves => {
            let mut out = Vec::new();
            their_leaves(&parsed, 0, &mut out);
            out.iter()
                .map(|(_, b)| String::from_utf8_lossy(b).into_owned())
                .collect::<Vec<_>>()
                .join("|")
        }
        Look::To => {
            let Some(list) = parsed.to() else {
                return "-".into();
            };
            let show = |m: &mail_parser::Addr<'_>| {
                format!(
                    "{}<{}>",
                    m.name().unwrap_or_default(),
                    m.address().unwrap_or_default()
                )
            };
            list.iter().map(show).collect::<Vec<_>>().join(" ")
        }
        Look::Name => parsed
            .content_type()
            .and_then(|t| t.attribute("name"))
            .unwrap_or_default()
            .to_owned(),
    }
}

/// A trap: what it is, the mail, what to look at, and what ours, mailparse and mail-parser see.
type Trap = (&'static str, &'static [u8], Look, [&'static str; 3]);

const TRAPS: &[Trap] = &[
    ("a character split over two words is joined before it is decoded", b"Subject: =?utf-8?B?6aOb6A==?= =?utf-8?B?hJo=?=\r\n\r\n", Look::Subject, ["飛脚", "飛\u{fffd}\u{fffd}\u{fffd}", "飛\u{fffd}\u{fffd}\u{fffd}"]),
    ("the same in ISO-2022-JP", b"Subject: =?iso-2022-jp?B?GyRCSHQ=?=\r\n =?iso-2022-jp?B?NVMbKEI=?=\r\n\r\n", Look::Subject, ["飛脚", "飛5S", "飛5S"]),
    ("a language tag after the charset (RFC 2231 5)", b"Subject: =?utf-8*ja?B?6aOb6ISa?=\r\n\r\n", Look::Subject, ["飛脚", "=?utf-8*ja?B?6aOb6ISa?=", "飛脚"]),
    ("ISO-2022-KR", b"Subject: =?iso-2022-kr?B?GyQpQw5HUTFbDw==?=\r\n\r\n", Look::Subject, ["한글", "=?iso-2022-kr?B?GyQpQw5HUTFbDw==?=", "\u{fffd}"]),
    ("an unknown charset is guessed", b"Subject: =?x-none?Q?caf=C3=A9?=\r\n\r\n", Look::Subject, ["café", "=?x-none?Q?caf=C3=A9?=", "café"]),
    ("white space before the colon (RFC 5322 4.5)", b"Subject : x\r\n\r\n", Look::Subject, ["x", "-", "x"]),
    ("a header without line end and body", b"Subject: only", Look::Subject, ["only", "only", "-"]),
    ("an mbox line before the header", b"From a@b Sun Nov 22 07:12:30 2026\r\nSubject: x\r\n\r\n", Look::Subject, ["x", "x", "x"]),
    ("an encoded word inside a word", b"Subject: a=?utf-8?Q?b?=c\r\n\r\n", Look::Subject, ["abc", "a=?utf-8?Q?b?=c", "a b c"]),
    ("an inner boundary that begins with the outer one", b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/mixed; boundary=oi\r\n\r\n--oi\r\n\r\na\r\n--oi--\r\n--o\r\n\r\nb\r\n--o--\r\n", Look::Leaves, ["a|b", "|a||b", "a|b"]),
    ("an inner multipart that is not closed", b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\na\r\n--o\r\n\r\nb\r\n--o--\r\n", Look::Leaves, ["a|b", "a|b", "a\r\n--o\r\n\r\nb\r\n--o--\r\n"]),
    ("a line that only begins like a delimiter", b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\r\na\r\n--ox\r\nb\r\n--o--\r\n", Look::Leaves, ["a\r\n--ox\r\nb", "a|", "a"]),
    ("padding after a delimiter", b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o  \r\n\r\na\r\n--o-- \r\n", Look::Leaves, ["a", "a", "a"]),
    ("no final delimiter", b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\r\na\r\n", Look::Leaves, ["a\r\n", "a\r\n", "a\r\n"]),
    ("an embedded message", b"Content-Type: message/rfc822\r\n\r\nSubject: i\r\n\r\na", Look::Leaves, ["a", "Subject: i\r\n\r\na", "a"]),
    ("base64 with a stray character", b"Content-Type: application/x\r\nContent-Transfer-Encoding: base64\r\n\r\nYW!Jj\r\n", Look::Leaves, ["abc", "error", "YW!Jj\r\n"]),
    ("base64 without padding", b"Content-Type: application/x\r\nContent-Transfer-Encoding: base64\r\n\r\nYWI\r\n", Look::Leaves, ["ab", "error", ""]),
    ("a wrong quoted-printable escape", b"Content-Transfer-Encoding: quoted-printable\r\n\r\na=zz=3D\r\n", Look::Leaves, ["a=zz=\r\n", "a=zz=\r\n", "a=zz=\r\n"]),
    ("comments in an address", b"To: Pete(A nice chap) <pete(his account)@silly.test(his host)>\r\n\r\n", Look::To, ["Pete<pete@silly.test>", "Pete<pete(his account)@silly.test(his host)>", "Pete (A nice chap his account his host)<pete@silly.test>"]),
    ("a source route", b"To: <@a,@b:c@d>\r\n\r\n", Look::To, ["<c@d>", "<@a,@b:c@d>", "<@a,@b:c@d>"]),
    ("a quoted local part", b"To: \"a b\"@c\r\n\r\n", Look::To, ["<\"a b\"@c>", "error", "a b<@c>"]),
    ("a comma inside an encoded name", b"To: =?utf-8?Q?a=2Cb?= <x@y>\r\n\r\n", Look::To, ["a,b<x@y>", "a,b<x@y>", "a,b<x@y>"]),
    ("dots in a name without quotes", b"To: Joe Q. Public <j@p>\r\n\r\n", Look::To, ["Joe Q. Public<j@p>", "Joe Q. Public<j@p>", "Joe Q. Public<j@p>"]),
    ("a name in a comment", b"To: j@p (Joe)\r\n\r\n", Look::To, ["Joe<j@p>", "<j@p>", "Joe<j@p>"]),
    ("a group", b"To: G: a@b, c@d;, e@f\r\n\r\n", Look::To, ["<a@b> <c@d> <e@f>", "<a@b> <c@d> <, e@f>", "<a@b> <c@d> <e@f>"]),
    ("a semicolon between addresses", b"To: a@b; c@d\r\n\r\n", Look::To, ["<a@b> <c@d>", "<a@b> <c@d>", "<a@b> <c@d>"]),
    ("RFC 2231 pieces out of order", b"Content-Type: a/b; name*1=b; name*0=a\r\n\r\n", Look::Name, ["ab", "ab", "ab"]),
    ("RFC 2231 in ISO-2022-JP over two pieces", b"Content-Type: a/b; name*0*=iso-2022-jp''%1B$BHt; name*1*=5S%1B(B\r\n\r\n", Look::Name, ["飛脚", "飛脚", "飛5S\u{1b}"]),
    ("a name with a space and no quotes", b"Content-Type: a/b; name=two words.txt\r\n\r\n", Look::Name, ["two words.txt", "two words.txt", "two words.txt"]),
    ("an encoded word as a name", b"Content-Type: a/b; name=\"=?utf-8?B?6aOb6ISa?=\"\r\n\r\n", Look::Name, ["飛脚", "飛脚", "飛脚"]),
];

#[test]
fn traps() {
    let mut wrong = String::new();
    for (what, mail, look, expected) in TRAPS {
        let seen = [
            ours(mail, look),
            mailparse_says(mail, look),
            mail_parser_says(mail, look),
        ];
        if seen != *expected {
            wrong.push_str(&format!("{what}\n    {seen:?},\n"));
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
