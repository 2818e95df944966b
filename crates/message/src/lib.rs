//! RFC 5322 and MIME: a zero-copy scanner, addresses, encoded words, and building of messages and reports.
//!
//! Everything here is a pure function of its arguments: no socket, file, clock, thread or random
//! source. Times come in as seconds since 1970 UTC, unique strings come in from the caller.
//!
//! * [`build`]: writes header fields, multiparts and delivery reports, octet-exact with CRLF.
//! * [`address`]: addresses and address lists as types (RFC 5322, 6532, RFC 5321 paths).
//! * [`ids`], [`list_fields`]: Message-ID and its kin, and the fields of mailing lists.
//! * [`imap`]: ENVELOPE, BODY and BODYSTRUCTURE as wire text.
//! * [`examine`]: what is wrong with a message, for people.
//! * [`words`], [`charset`], [`transfer`]: from encoded octets to text and data.
//! * [`scan`]: where everything in a message is: fields, parts, line counts.
//! * [`media`]: media types and parameters (RFC 2045, 2231).
//! * [`date`]: RFC 5322 dates, written strictly and read leniently with named defects.
//!
//! ```
//! use message::address::AddressList;
//! use message::build::{Body, FieldName, Fields};
//! use message::scan::{Fields as Header, Scanner};
//!
//! let to = AddressList::read("佐藤 <sato@example.jp>".as_bytes(), None);
//! let mut head = Fields::new();
//! head.addresses(FieldName::TO, to.mailboxes().map(|m| (m.name.as_deref(), &m.address)));
//! head.text(FieldName::SUBJECT, "Grüße\r\nBcc: nobody@example.org");
//! let mail = Body::text("Hello\n").into_message(head);
//!
//! let subject = Header::find(&mail, "Subject").map(|field| field.text().into_owned());
//! assert_eq!(subject.as_deref(), Some("Grüße??Bcc: nobody@example.org"));
//! let structure = Scanner::scan(&mail);
//! assert_eq!(structure.parts()[0].decoded(&mail), b"Hello\r\n");
//! ```
//!
//! The subsystem's page is `docs/message.md`.
#![forbid(unsafe_code)]

pub mod address;
pub mod build;
pub mod charset;
pub mod date;
pub mod examine;
pub mod exercise;
pub mod ids;
pub mod imap;
pub mod list_fields;
pub mod media;
pub mod scan;
pub mod transfer;
pub mod words;
