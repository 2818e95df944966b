//! Mail addresses as values that cannot be wrong, and the readers that make them from foreign text.
//!
//! [`Address`] is `local-part@domain` (RFC 5322 3.4.1, RFC 6531 3.3), [`Domain`] its right side,
//! [`LocalPart`] its left side without quoting. [`AddressList`] reads To, Cc and their kin;
//! [`RawList`] gives the same list as it is written.

mod domain;
pub(crate) mod lexer;
mod list;
mod raw;
mod spec;

pub use domain::{BadDomain, DOMAIN_MAX, Domain, LABEL_MAX};
pub use list::{AddressList, Entry, ListDefect, MAILBOXES_MAX, Mailbox};
pub use raw::{Defects, RawEntry, RawList, RawMailbox, WORDS_MAX};
pub use spec::{Address, BadAddress, LOCAL_MAX, LocalPart};

pub(crate) use spec::{is_atext, is_dot_atom};
