//! Whose mailbox is this address, whose is this login.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use config::Config;
use config::types::domain_name;

use crate::fold::Folded;

/// A local user who has mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// His name in the users table or the system, lower case: `al` or `al@example.org`.
    pub name: Box<str>,
    /// Whom his files belong to; never 0.
    pub uid: u32,
    /// The group of his files; never 0.
    pub gid: u32,
    /// His home, absolute.
    pub home: PathBuf,
    /// His Maildir, absolute.
    pub maildir: PathBuf,
}

/// Where an address goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Into this mailbox.
    Local(&'a Mailbox),
    /// To another host: the domain in lower case and A-labels without trailing dot, or an
    /// address literal as it was given.
    Remote(Cow<'a, str>),
    /// The domain is ours and nobody of that name is here: 550 5.1.1.
    UnknownUser,
    /// This is no domain name: 501 5.1.3.
    BadDomain,
}

/// Everything there is to know about local addresses. Immutable; reload builds a new one.
#[derive(Clone, Debug)]
pub struct Table {
    domains: HashSet<Box<str>>,
    mailboxes: Vec<Mailbox>,
    by_name: HashMap<Box<str>, usize>,
    postmaster: Option<usize>,
}

impl Table {
    /// Puts a table together. Where two mailboxes have one name the first one wins, so pass the
    /// users table before the system's accounts.
    ///
    /// The mailbox of `postmaster` is the first that exists of: the setting `postmaster`, the
    /// user `postmaster`, the first mailbox of the list.
    pub fn new(config: &Config, mailboxes: impl IntoIterator<Item = Mailbox>) -> Self {
        let mut table = Self {
            domains: HashSet::new(),
            mailboxes: Vec::new(),
            by_name: HashMap::new(),
            postmaster: None,
        };
        // Mail from programs of this host is sent as user@hostname, and its bounces have to
        // come back somewhere.
        table.domains.insert(config.hostname.as_str().into());
        table
            .domains
            .extend(config.domains.iter().map(|name| name.as_str().into()));
        for mailbox in mailboxes {
            let index = table.mailboxes.len();
            if !table.by_name.contains_key(&mailbox.name) {
                table.by_name.insert(mailbox.name.clone(), index);
                table.mailboxes.push(mailbox);
            }
        }
        let named = config
            .postmaster
            .as_deref()
            .and_then(|name| table.by_name.get(name));
        table.postmaster = named
            .or_else(|| table.by_name.get(POSTMASTER))
            .copied()
            .or((!table.mailboxes.is_empty()).then_some(0));
        table
    }

    /// Where an address goes. `local_part` without quotes and backslashes (RFC 5321, 4.1.2
    /// wants both forms to mean the same), `domain` as it was written; an empty domain is ours.
    ///
    /// Compares without regard to ASCII case. Tried in turn: `local@domain`, `local`, both
    /// again without `+extension`, then `postmaster` and `root`. Allocates only for domains
    /// that are not ASCII or, when remote, not lower case.
    pub fn lookup<'a>(&'a self, local_part: &str, domain: &'a str) -> Verdict<'a> {
        let domain = match self.domain(domain) {
            Place::Here(domain) => domain,
            Place::Elsewhere(domain) => return Verdict::Remote(domain),
            Place::Nowhere => return Verdict::BadDomain,
        };
        if let Some(mailbox) = self.exact(local_part, &domain) {
            return Verdict::Local(mailbox);
        }
        let base = match local_part.split_once('+') {
            Some((base, _)) if !base.is_empty() => base,
            _ => local_part,
        };
        if base.len() != local_part.len() {
            if let Some(mailbox) = self.exact(base, &domain) {
                return Verdict::Local(mailbox);
            }
        }
        if base.eq_ignore_ascii_case(POSTMASTER) || base.eq_ignore_ascii_case("root") {
            if let Some(mailbox) = self.postmaster() {
                return Verdict::Local(mailbox);
            }
        }
        Verdict::UnknownUser
    }

    /// The mailbox a login name belongs to: `al`, or `al@example.org` for a user of that name or
    /// for the user `al` when the domain is ours. No extension, no postmaster.
    pub fn login(&self, login: &str) -> Option<&Mailbox> {
        match login.rsplit_once('@') {
            None => self.mailbox(login),
            Some((local, domain)) if !local.is_empty() && !domain.is_empty() => {
                match self.domain(domain) {
                    Place::Here(domain) => self.exact(local, &domain),
                    _ => None,
                }
            }
            Some(_) => None,
        }
    }

    /// The mailbox of a name, without regard to ASCII case.
    pub fn mailbox(&self, name: &str) -> Option<&Mailbox> {
        let name = Folded::new(&[name])?;
        self.at(*self.by_name.get(name.as_str())?)
    }

    /// The mailbox of mail for postmaster and root; `None` only when there is no mailbox at all.
    pub fn postmaster(&self) -> Option<&Mailbox> {
        self.at(self.postmaster?)
    }

    /// Whether mail for a domain is delivered here.
    pub fn is_local(&self, domain: &str) -> bool {
        matches!(self.domain(domain), Place::Here(_))
    }

    /// All mailboxes, users of the table first, in the order of their lines.
    pub fn mailboxes(&self) -> &[Mailbox] {
        &self.mailboxes
    }

    fn at(&self, index: usize) -> Option<&Mailbox> {
        self.mailboxes.get(index)
    }

    fn exact(&self, local: &str, domain: &str) -> Option<&Mailbox> {
        if let Some(full) = Folded::new(&[local, "@", domain]) {
            if let Some(&index) = self.by_name.get(full.as_str()) {
                return self.at(index);
            }
        }
        // A quoted local part may hold an `@`: it must not name a user of another domain.
        if local.contains('@') {
            return None;
        }
        self.mailbox(local)
    }

    fn domain<'a>(&self, written: &'a str) -> Place<'a> {
        if written.is_empty() {
            return Place::Here(Cow::Borrowed(""));
        }
        if written.starts_with('[') {
            return Place::Elsewhere(Cow::Borrowed(written));
        }
        let bare = written.strip_suffix('.').unwrap_or(written);
        if bare.is_ascii() {
            if let Some(folded) = Folded::new(&[bare]) {
                if self.domains.contains(folded.as_str()) {
                    return Place::Here(Cow::Borrowed(bare));
                }
            }
        }
        match domain_name(bare) {
            Err(_) => Place::Nowhere,
            Ok(name) if self.domains.contains(name.as_str()) => Place::Here(Cow::Owned(name)),
            Ok(name) if name == bare => Place::Elsewhere(Cow::Borrowed(bare)),
            Ok(name) => Place::Elsewhere(Cow::Owned(name)),
        }
    }
}

/// The one local part that exists in every domain (RFC 5321, 4.5.1).
const POSTMASTER: &str = "postmaster";

enum Place<'a> {
    Here(Cow<'a, str>),
    Elsewhere(Cow<'a, str>),
    Nowhere,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    fn config(more: &str) -> Config {
        let text = format!(
            "hostname = \"mail.example.org\"\ndomains = [\"example.org\", \"bücher.example\"]\n{more}"
        );
        Config::parse(&text, Path::new("/etc/hikyaku/hikyaku.toml")).unwrap()
    }

    fn mailbox(name: &str, uid: u32) -> Mailbox {
        Mailbox {
            name: name.into(),
            uid,
            gid: uid,
            home: format!("/home/{name}").into(),
            maildir: format!("/home/{name}/Maildir").into(),
        }
    }

    fn table() -> Table {
        let names = [
            "al",
            "bo",
            "bo@xn--bcher-kva.example",
            "cy@example.org",
            "di+x",
        ];
        Table::new(
            &config(""),
            names
                .iter()
                .zip(1_000..)
                .map(|(name, uid)| mailbox(name, uid)),
        )
    }

    fn name<'a>(verdict: &'a Verdict<'a>) -> &'a str {
        match verdict {
            Verdict::Local(mailbox) => &mailbox.name,
            Verdict::Remote(_) => "remote",
            Verdict::UnknownUser => "unknown",
            Verdict::BadDomain => "bad",
        }
    }

    #[test]
    fn addresses_and_their_fate() {
        let table = table();
        for (address, fate) in [
            ("al@example.org", "al"),
            ("AL@Example.ORG", "al"),
            ("al@example.org.", "al"),
            ("al@mail.example.org", "al"),
            ("al@bücher.example", "al"),
            ("al@BÜCHER.example", "al"),
            ("al@XN--BCHER-KVA.example", "al"),
            ("bo@example.org", "bo"),
            ("bo@bücher.example", "bo@xn--bcher-kva.example"),
            ("bo@xn--bcher-kva.example.", "bo@xn--bcher-kva.example"),
            ("cy@example.org", "cy@example.org"),
            ("cy@mail.example.org", "unknown"),
            ("al+lists@example.org", "al"),
            ("cy+a+b@example.org", "cy@example.org"),
            ("di+x@example.org", "di+x"),
            ("di@example.org", "unknown"),
            ("di+y@example.org", "unknown"),
            ("+al@example.org", "unknown"),
            ("al+@example.org", "al"),
            ("postmaster@example.org", "al"),
            ("PostMaster@bücher.example", "al"),
            ("postmaster@mail.example.org", "al"),
            ("postmaster+x@example.org", "al"),
            ("postmaster@", "al"),
            ("root@example.org", "al"),
            ("al@", "al"),
            ("nobody@example.org", "unknown"),
            ("@example.org", "unknown"),
            ("al@sub.example.org", "remote"),
            ("al@example.com", "remote"),
            ("al@[192.0.2.1]", "remote"),
            ("postmaster@example.com", "remote"),
            ("al@a..b", "bad"),
            ("al@.", "bad"),
            ("al@exam ple.org", "bad"),
            ("cy@example.org@example.org", "unknown"),
            ("cy@example.org@mail.example.org", "unknown"),
            ("al%example.com@example.org", "unknown"),
            ("example.com!al@example.org", "unknown"),
        ] {
            let (local, domain) = address.rsplit_once('@').unwrap();
            assert_eq!(name(&table.lookup(local, domain)), fate, "{address}");
        }
    }

    #[test]
    fn remote_domains_have_one_form() {
        let table = table();
        for (domain, form) in [
            ("Example.COM.", "example.com"),
            ("example.com", "example.com"),
            ("例え.jp", "xn--r8jz45g.jp"),
            ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
        ] {
            assert_eq!(
                table.lookup("x", domain),
                Verdict::Remote(form.into()),
                "{domain}"
            );
        }
        assert!(matches!(
            table.lookup("x", "example.com"),
            Verdict::Remote(Cow::Borrowed(_))
        ));
    }

    #[test]
    fn logins() {
        let table = table();
        for (login, who) in [
            ("al", Some("al")),
            ("AL", Some("al")),
            ("al@example.org", Some("al")),
            ("al@mail.example.org", Some("al")),
            ("bo@BÜCHER.example", Some("bo@xn--bcher-kva.example")),
            ("cy@example.org", Some("cy@example.org")),
            ("cy", None),
            ("al+x", None),
            ("postmaster", None),
            ("root", None),
            ("al@example.com", None),
            ("al@", None),
            ("@example.org", None),
            ("", None),
        ] {
            assert_eq!(table.login(login).map(|m| &*m.name), who, "{login}");
        }
    }

    #[test]
    fn whose_is_postmaster() {
        let pick = |more: &str, names: &[&str]| {
            let list = names.iter().map(|name| mailbox(name, 1_000));
            let table = Table::new(&config(more), list);
            table.postmaster().map(|m| m.name.to_string())
        };
        assert_eq!(
            pick("postmaster = \"bo\"", &["al", "bo", "postmaster"]).as_deref(),
            Some("bo")
        );
        assert_eq!(
            pick("", &["al", "bo", "postmaster"]).as_deref(),
            Some("postmaster")
        );
        assert_eq!(pick("", &["al", "bo"]).as_deref(), Some("al"));
        assert_eq!(pick("postmaster = \"zz\"", &["al"]).as_deref(), Some("al"));
        assert_eq!(pick("", &[]), None);
    }

    #[test]
    fn a_user_named_root_is_a_user() {
        let list = ["al", "root"].map(|name| mailbox(name, 1_000));
        let table = Table::new(&config(""), list);
        assert_eq!(name(&table.lookup("root", "example.org")), "root");
    }

    #[test]
    fn the_first_of_one_name_wins() {
        let table = Table::new(&config(""), [mailbox("al", 1_000), mailbox("al", 2_000)]);
        assert_eq!(table.mailbox("al").map(|m| m.uid), Some(1_000));
        assert_eq!(table.mailboxes().len(), 1);
    }

    proptest! {
        #[test]
        fn any_address_is_survived(local in "\\PC{0,400}", domain in "\\PC{0,400}") {
            let table = table();
            if let Verdict::Remote(form) = table.lookup(&local, &domain) {
                // A remote form is stable and never one of ours.
                prop_assert!(!table.is_local(&form));
                if !form.starts_with('[') {
                    prop_assert_eq!(table.lookup(&local, &form), Verdict::Remote(form.clone()));
                }
            }
            let _ = table.login(&local);
        }

        #[test]
        fn case_never_matters(local in "[a-dA-D+xX]{0,6}", upper: bool) {
            let table = table();
            let other = if upper { local.to_uppercase() } else { local.to_lowercase() };
            prop_assert_eq!(table.lookup(&local, "example.org"), table.lookup(&other, "EXAMPLE.org"));
        }
    }
}
