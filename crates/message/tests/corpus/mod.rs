//! Generated mails of many kinds, the same ones for the same number.
#![allow(dead_code)]

use std::fmt::Write;

use data_encoding::BASE64;

/// A small generator of numbers (xorshift64*), enough to vary texts.
pub struct Dice(u64);

impl Dice {
    /// For mail number `n`.
    pub fn new(n: u64) -> Dice {
        Dice(n.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }

    fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }
}

const WORDS: &[&str] = &[
    "meeting", "invoice", "the", "report", "of", "Tuesday", "and", "delivery", "we", "have",
    "received", "your", "order", "number", "please", "find", "attached", "a", "question", "about",
    "server", "mail", "queue", "for",
];
const NAMES: &[(&str, &str)] = &[
    ("Alice Example", "alice@example.org"),
    ("\"Doe, John\"", "john.doe@example.com"),
    ("=?utf-8?Q?J=C3=BCrgen_M=C3=BCller?=", "juergen@example.de"),
    ("=?iso-2022-jp?B?GyRCOjRGIxsoQg==?=", "sato@example.jp"),
    ("=?UTF-8?B?5L2Q6Jek?=", "sato@mail.example.jp"),
    ("Bob", "bob+tag@sub.example.net"),
];
const SUBJECTS: &[&str] = &[
    "Re: [list] Weekly report",
    "=?utf-8?Q?Gr=C3=BC=C3=9Fe_aus_M=C3=BCnchen?=",
    "=?ISO-2022-JP?B?GyRCSHQ1UyRHJDkbKEI=?=",
    "=?UTF-8?B?6aOb6ISa44Gu44OG44K544OI?=\r\n =?UTF-8?B?44Oh44O844Or?=",
    "Invoice 2026-11 for a rather long list of things that makes this\r\n subject go over two lines",
    "=?Shift_JIS?B?lPKLcg==?=",
];
const JAPANESE: &str = "飛脚は、江戸時代に手紙や荷物を運んだ人々である。今日の郵便の元となった。";

fn text(dice: &mut Dice, lines: usize, eol: &str) -> String {
    let mut out = String::new();
    for _ in 0..lines {
        for place in 0..4 + dice.below(9) {
            if place > 0 {
                out.push(' ');
            }
            out.push_str(dice.pick(WORDS));
        }
        out.push_str(eol);
    }
    out
}

fn base64(dice: &mut Dice, octets: usize, eol: &str) -> String {
    let data: Vec<u8> = (0..octets).map(|_| dice.below(256) as u8).collect();
    let mut out = String::with_capacity(octets / 3 * 4 + octets / 38);
    for chunk in data.chunks(57) {
        BASE64.encode_append(chunk, &mut out);
        out.push_str(eol);
    }
    out
}

fn quoted_printable(text: &str, eol: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut column = 0;
        for octet in line.bytes() {
            if column > 70 {
                out.push('=');
                out.push_str(eol);
                column = 0;
            }
            if octet.is_ascii() && octet != b'=' {
                out.push(char::from(octet));
                column += 1;
            } else {
                let _ = write!(out, "={octet:02X}");
                column += 3;
            }
        }
        out.push_str(eol);
    }
    out
}

fn header(dice: &mut Dice, n: u64, eol: &str) -> String {
    let mut out = String::new();
    for hop in 0..1 + dice.below(5) {
        let _ = write!(
            out,
            "Received: from relay{hop}.example.net (relay{hop}.example.net [192.0.2.{}]){eol}\tby mx{hop}.example.org with ESMTPS id {n:x}{hop}{eol}\tfor <bob@example.org>; Sun, 22 Nov 2026 07:12:{:02} +0000{eol}",
            dice.below(250),
            dice.below(60)
        );
    }
    if dice.below(2) == 0 {
        let signature = base64(dice, 256, &format!("{eol}\t")).trim_end().to_owned();
        let _ = write!(
            out,
            "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org;{eol}\ts=sel; h=from:to:subject:date:message-id;{eol}\tb={signature}{eol}"
        );
    }
    let (name, address) = NAMES[dice.below(NAMES.len())];
    let _ = write!(out, "From: {name} <{address}>{eol}To: ");
    for place in 0..1 + dice.below(4) {
        let (name, address) = NAMES[dice.below(NAMES.len())];
        let _ = write!(
            out,
            "{}{name} <{address}>",
            if place > 0 {
                format!(",{eol}\t")
            } else {
                String::new()
            }
        );
    }
    let _ = write!(
        out,
        "{eol}Subject: {}{eol}",
        dice.pick(SUBJECTS).replace("\r\n", eol)
    );
    let _ = write!(
        out,
        "Date: Sun, {} Nov 2026 07:12:30 +0900{eol}Message-ID: <{n}.mail@example.org>{eol}",
        1 + dice.below(28)
    );
    if dice.below(2) == 0 {
        let _ = write!(
            out,
            "References: <a{n}@example.org>{eol} <b{n}@example.org>{eol}X-Mailer: Mailer {}.0{eol}",
            dice.below(9)
        );
    }
    out.push_str("MIME-Version: 1.0");
    out.push_str(eol);
    out
}

/// One entity: Content fields, empty line, content.
fn entity(dice: &mut Dice, kind: usize, depth: usize, n: u64, eol: &str) -> String {
    let lines = 1 + dice.below(30);
    let octets = 200 + dice.below(38_500);
    match kind {
        0 => format!("{eol}{}", text(dice, lines, eol)),
        1 => format!(
            "Content-Type: text/plain; charset=utf-8{eol}Content-Transfer-Encoding: quoted-printable{eol}{eol}{}",
            quoted_printable(
                &format!("{}Grüße = ja\n{JAPANESE}\n", text(dice, lines, "\n")),
                eol
            )
        ),
        2 => {
            let (body, _, _) = encoding_rs::ISO_2022_JP.encode(JAPANESE);
            let body = String::from_utf8_lossy(&body).into_owned();
            format!(
                "Content-Type: text/plain; charset=ISO-2022-JP{eol}Content-Transfer-Encoding: 7bit{eol}{eol}{}",
                format!("{body}{eol}").repeat(lines)
            )
        }
        3 => format!(
            "Content-Type: application/pdf; name=\"report {n}.pdf\"{eol}Content-Transfer-Encoding: base64{eol}Content-Disposition: attachment;{eol} filename*=utf-8''%E9%A3%9B%E8%84%9A.pdf{eol}{eol}{}",
            base64(dice, octets, eol)
        ),
        4 => format!(
            "Content-Type: text/html; charset=\"utf-8\"{eol}Content-Transfer-Encoding: 8bit{eol}{eol}<html><p>{JAPANESE}</p>{eol}{}</html>{eol}",
            text(dice, lines, eol)
        ),
        5 => format!(
            "Content-Type: message/rfc822{eol}{eol}{}{}",
            header(dice, n, eol),
            entity(dice, if depth > 3 { 0 } else { 6 }, depth + 1, n, eol)
        ),
        _ => {
            let subtype = ["mixed", "alternative", "related", "mixed"][dice.below(4)];
            let boundary = format!(
                "{}{n}.{depth}",
                ["----=_Part_", "=_", "b", "Apple-Mail=_"][dice.below(4)]
            );
            let mut out = format!(
                "Content-Type: multipart/{subtype};{eol}\tboundary=\"{boundary}\"{eol}{eol}"
            );
            if dice.below(2) == 0 {
                let _ = write!(out, "This is a multi-part message in MIME format.{eol}");
            }
            for _ in 0..1 + dice.below(4) {
                let kind = match dice.below(10) {
                    9 if depth < 4 => 6,
                    8 if depth < 4 => 5,
                    other => other % 5,
                };
                let _ = write!(
                    out,
                    "--{boundary}{eol}{}{eol}",
                    entity(dice, kind, depth + 1, n, eol)
                );
            }
            let _ = write!(out, "--{boundary}--{eol}");
            out
        }
    }
}

/// Mail number `n`: LF line ends in every fifth, CRLF in the others.
pub fn mail(n: u64) -> Vec<u8> {
    let mut dice = Dice::new(n + 1);
    for _ in 0..4 {
        dice.below(2);
    }
    let eol = if n % 5 == 4 { "\n" } else { "\r\n" };
    let mut out = header(&mut dice, n, eol);
    let kind = [0, 1, 2, 4, 6, 6, 6, 6, 0, 5][dice.below(10)];
    out.push_str(&entity(&mut dice, kind, 0, n, eol));
    out.into_bytes()
}
