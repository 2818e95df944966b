//! Who sends, and addresses as people write them.

use message::address::{Address, AddressList, Domain as WideDomain, LocalPart};
use message::build::{FieldName, Fields};
use nix::unistd::{User, getuid};
use smtp::types::{Host, Mailbox, ReversePath};

use crate::exit::{Exit, Failure};
use crate::header::Header;

/// The user who runs this program.
pub struct Person {
    name: String,
    full_name: Option<String>,
    domain: WideDomain,
}

impl Person {
    /// Asks the system who we are. `full_name` comes first, then the one in the passwd entry.
    ///
    /// # Errors
    /// 78 when the host's name is none.
    pub fn own(hostname: &str, full_name: Option<&str>) -> Result<Self, Failure> {
        let domain = WideDomain::new(hostname)
            .map_err(|_| Failure::new(Exit::Config, "the setting hostname is no domain name"))?;
        let uid = getuid();
        let user = User::from_uid(uid).ok().flatten();
        let name = user
            .as_ref()
            .map_or_else(|| format!("uid-{uid}"), |u| u.name.clone());
        let gecos = user
            .as_ref()
            .and_then(|u| u.gecos.to_str().ok().map(|g| real_name(g, &name)));
        let full_name = full_name
            .map(str::to_owned)
            .or(gecos)
            .filter(|n| !n.trim().is_empty());
        Ok(Self {
            name,
            full_name,
            domain,
        })
    }

    /// The envelope sender: what -f said, else the user at this host. `""` and `<>` are nobody.
    ///
    /// # Errors
    /// 64 when it is no address.
    pub fn sender(&self, given: Option<&str>) -> Result<ReversePath, Failure> {
        match given.map(str::trim) {
            Some("" | "<>") => Ok(ReversePath::Null),
            Some(text) => match &*self.list(text.as_bytes(), Exit::Usage)? {
                [one] => Ok(ReversePath::Mailbox(one.clone())),
                _ => Err(Failure::new(Exit::Usage, "-f wants one address")),
            },
            None => {
                let local = LocalPart::new(&self.name).map_err(|e| {
                    Failure::new(Exit::Usage, format!("your user name is no address: {e}"))
                })?;
                mailbox(&Address::from_parts(local, self.domain.clone())).map(ReversePath::Mailbox)
            }
        }
    }

    /// The recipients of the command line; each word may be a list.
    ///
    /// # Errors
    /// 64 when one is no address.
    pub fn recipients(&self, words: &[String]) -> Result<Vec<Mailbox>, Failure> {
        let mut all = Vec::new();
        for word in words {
            all.extend(self.list(word.as_bytes(), Exit::Usage)?);
        }
        Ok(all)
    }

    /// The recipients that the header names: of the Resent fields where there are any, else of
    /// To, Cc and Bcc.
    ///
    /// # Errors
    /// 65 when something there is no address.
    pub fn header_recipients(&self, header: &Header) -> Result<Vec<Mailbox>, Failure> {
        let resent = ["resent-to", "resent-cc", "resent-bcc"];
        let names = if resent.iter().any(|name| header.has(name)) {
            resent
        } else {
            ["to", "cc", "bcc"]
        };
        let mut all = Vec::new();
        for name in names {
            for body in header.bodies(name) {
                all.extend(self.list(body, Exit::Data)?);
            }
        }
        Ok(all)
    }

    /// The From field of a message that has none.
    pub fn author_field(&self, from: &ReversePath) -> Vec<u8> {
        let own = || {
            LocalPart::new(&self.name)
                .ok()
                .map(|l| Address::from_parts(l, self.domain.clone()))
        };
        let address = match from {
            ReversePath::Mailbox(mailbox) => Address::new(mailbox.as_str()).ok().or_else(own),
            ReversePath::Null => own(),
        };
        let mut fields = Fields::new();
        if let Some(address) = address {
            fields.addresses(FieldName::FROM, [(self.full_name.as_deref(), &address)]);
        }
        fields.into_bytes()
    }

    fn list(&self, text: &[u8], blame: Exit) -> Result<Vec<Mailbox>, Failure> {
        let list = AddressList::read(text, Some(&self.domain));
        if let Some((place, defect)) = list.defects.first() {
            let what = String::from_utf8_lossy(text.get(place.clone()).unwrap_or(text));
            let what: String = what.chars().filter(|c| !c.is_control()).take(100).collect();
            return Err(Failure::new(blame, format!("{what}: {defect}")));
        }
        list.mailboxes().map(|m| mailbox(&m.address)).collect()
    }
}

/// An address as SMTP takes it.
fn mailbox(address: &Address) -> Result<Mailbox, Failure> {
    let refuse =
        |why: &dyn std::fmt::Display| Failure::new(Exit::Data, format!("{address}: {why}"));
    let host = Host::parse(&address.domain.to_ascii()).map_err(|e| refuse(&e))?;
    if !address.local.as_str().is_ascii() {
        return Err(refuse(&"needs SMTPUTF8, which is not supported yet"));
    }
    Mailbox::new(address.local.as_str(), &host).map_err(|e| refuse(&e))
}

/// The first part of a GECOS field; `&` stands for the login name with a capital letter.
fn real_name(gecos: &str, login: &str) -> String {
    let name = gecos.split(',').next().unwrap_or("");
    let mut chars = login.chars();
    let capital: String = chars
        .next()
        .map(|c| c.to_ascii_uppercase())
        .into_iter()
        .chain(chars)
        .collect();
    name.replace('&', &capital)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Input;

    fn person() -> Person {
        Person {
            name: "al".into(),
            full_name: Some("Al, the \"one\"".into()),
            domain: WideDomain::new("h.example").unwrap(),
        }
    }

    fn texts(list: &[Mailbox]) -> Vec<&str> {
        list.iter().map(Mailbox::as_str).collect()
    }

    #[test]
    fn senders() {
        let p = person();
        for (given, want) in [
            (None, "al@h.example"),
            (Some(""), ""),
            (Some("<>"), ""),
            (Some("root"), "root@h.example"),
            (Some("<a@b.example>"), "a@b.example"),
            (Some("Joe <a@b.example>"), "a@b.example"),
        ] {
            assert_eq!(p.sender(given).unwrap().as_str(), want, "{given:?}");
        }
        assert_eq!(p.sender(Some("a@b, c@d")).unwrap_err().exit, Exit::Usage);
        assert_eq!(p.sender(Some("a b@c@d")).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn recipients() {
        let p = person();
        let list = p
            .recipients(&[
                "root,b@x.example".into(),
                "Joe <c@B\u{fc}cher.example>".into(),
            ])
            .unwrap();
        assert_eq!(
            texts(&list),
            ["root@h.example", "b@x.example", "c@xn--bcher-kva.example"]
        );
        assert!(p.recipients(&["\u{e9}@x.example".into()]).is_err());
    }

    #[test]
    fn header_recipients() {
        let p = person();
        let read = |text: &str| {
            let header = Header::read(&mut Input::new(text.as_bytes(), false)).unwrap();
            p.header_recipients(&header)
                .map(|l| texts(&l).join(" "))
                .map_err(|f| f.exit)
        };
        assert_eq!(
            read("To: a@x, Group: b@x,\n c;\nCc: \"d, e\" <f@x>\nBcc: g@x\n\n"),
            Ok("a@x b@x c@h.example f@x g@x".into())
        );
        assert_eq!(read("To: a@x\nResent-To: b@x\n\n"), Ok("b@x".into()));
        assert_eq!(read("To: undisclosed-recipients:;\n\n"), Ok(String::new()));
        assert_eq!(read("To: a@@x\n\n"), Err(Exit::Data));
    }

    #[test]
    fn from_field() {
        let p = person();
        let field =
            String::from_utf8(p.author_field(&ReversePath::parse_bare("a@b.example").unwrap()))
                .unwrap();
        assert_eq!(field, "From: \"Al, the \\\"one\\\"\" <a@b.example>\r\n");
        let nobody = Person {
            full_name: None,
            ..person()
        };
        assert_eq!(
            nobody.author_field(&ReversePath::Null),
            b"From: al@h.example\r\n"
        );
    }

    #[test]
    fn real_names() {
        assert_eq!(real_name("& Smith,Room 1,,", "joe"), "Joe Smith");
        assert_eq!(real_name("", "joe"), "");
    }
}
