//! The fuzz targets' functions on random octets and on damaged mails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use message::exercise;
use proptest::prelude::*;

#[path = "corpus/mod.rs"]
mod corpus;

const ALL: [fn(&[u8]); 7] = [
    exercise::scan,
    exercise::imap,
    exercise::addresses,
    exercise::texts,
    exercise::transfer,
    exercise::building,
    exercise::examined,
];

/// Pieces that mean something to one of the readers.
const PIECES: &[&str] = &[
    "=?utf-8?B?6aOb6A==?=",
    "=?iso-2022-jp?Q?",
    "?=",
    "=",
    "=\r\n",
    "\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    "<",
    ">",
    "@",
    ",",
    ";",
    ":",
    "\"",
    "\\",
    "(",
    ")",
    "[",
    "]",
    ".",
    "a",
    "b@c",
    "--b",
    "--b--",
    "Content-Type: multipart/mixed; boundary=b\r\n",
    "Content-Type: message/rfc822\r\n",
    "name*0*=utf-8''%E9",
    "; x=",
    "Sun, 22 Nov 2026 07:12:30 +0000",
    "31 Feb",
    "12:61",
    "\u{0}",
    "é",
    "飛",
    "\u{2028}",
    "\x1b$B",
    "+ZeV-",
    "To: ",
    "From: ",
    "Date: ",
    "Content-Transfer-Encoding: base64\r\n",
    "YWJj",
    "NO",
];

proptest! {

    #[test]
    fn random_octets(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        ALL.iter().for_each(|run| run(&data));
    }

    #[test]
    fn random_pieces(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..40)) {
        let data = pieces.concat();
        ALL.iter().for_each(|run| run(data.as_bytes()));
    }

    #[test]
    fn damaged_mails(n in 0u64..200, cut in 0usize..4_000, from in 0usize..4_000, octet in any::<u8>()) {
        let mut mail = corpus::mail(n);
        mail.truncate(6_000);
        let at = cut % mail.len();
        mail[at] = octet;
        let from = from % mail.len();
        let to = (from + 40).min(mail.len());
        mail.drain(from..to);
        exercise::scan(&mail);
        exercise::imap(&mail);
        exercise::examined(&mail);
    }
}
