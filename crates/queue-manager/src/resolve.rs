//! Where a recipient goes: the routing table's verdict, put into the scheduler's words.

use std::borrow::Cow;
use std::sync::Arc;

use config::types::{Host, HostPort};
use queue::reply::{Class, Status};
use routing::{Table, Verdict};

use crate::sched::{Hop, Resolve, Route};

/// Routes by the tables read at start.
#[derive(Debug)]
pub struct Tables {
    table: Table,
    relay: Option<Arc<Hop>>,
}

impl Tables {
    /// Takes the table and the host that takes all outgoing mail, if there is one.
    pub fn new(table: Table, relay: Option<&HostPort>) -> Self {
        let hop = |relay: &HostPort| {
            let name = match &relay.host {
                Host::Name(name) => name.clone(),
                Host::Address(address) => address.to_string(),
            };
            Arc::new(Hop::Host(name, relay.port))
        };
        Self {
            table,
            relay: relay.map(hop),
        }
    }
}

impl Resolve for Tables {
    fn resolve(&self, address: &str) -> Route {
        let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
        match self.table.lookup(&unquoted(local), domain) {
            Verdict::Local(mailbox) => Route::Local(Arc::from(&*mailbox.name)),
            Verdict::Remote(domain) => Route::Remote(match &self.relay {
                Some(relay) => Arc::clone(relay),
                None => Arc::new(Hop::Mx(domain.into_owned())),
            }),
            Verdict::UnknownUser => Route::Nowhere(Status::NO_SUCH_MAILBOX, "no such user here"),
            // 5.1.3: bad destination mailbox address syntax.
            Verdict::BadDomain => Route::Nowhere(
                Status::new(Class::Failed, 1, 3).unwrap_or(Status::FAILED),
                "not a domain name",
            ),
        }
    }
}

/// A local part without quotes and backslashes (RFC 5321, 4.1.2: both forms mean the same).
fn unquoted(local: &str) -> Cow<'_, str> {
    let Some(inner) = local
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return Cow::Borrowed(local);
    };
    let mut plain = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(ch) = chars.next() {
        plain.push(if ch == '\\' {
            chars.next().unwrap_or('\\')
        } else {
            ch
        });
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes() {
        for (given, plain) in [
            ("al", "al"),
            ("\"al\"", "al"),
            ("\"a\\\"b\"", "a\"b"),
            ("\"", "\""),
            ("\"\\\\\"", "\\"),
        ] {
            assert_eq!(unquoted(given), plain);
        }
    }
}
