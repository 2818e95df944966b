//! Accounts of the system, from the text of passwd(5).

use config::Config;
use config::types::is_user_name;

use crate::table::Mailbox;

/// Lowest uid of a person's account. Lower ones belong to services and root.
pub const UID_MIN: u32 = 1_000;

/// Highest uid of a person's account (`UID_MAX` of login.defs(5)); leaves out `nobody`.
pub const UID_MAX: u32 = 60_000;

/// The mailboxes of the system's accounts: uid from [`UID_MIN`] to [`UID_MAX`], a gid other
/// than 0, an absolute home. Names are folded to lower case; where two accounts fold to one, the
/// one written in lower case goes first. Lines of another form are skipped: the system's own
/// programs skip them too.
pub fn mailboxes(text: &str, config: &Config) -> Vec<Mailbox> {
    let mut found: Vec<(bool, Mailbox)> = text
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let &[name, _, uid, gid, _, home, _] = fields.as_slice() else {
                return None;
            };
            let uid = uid
                .parse()
                .ok()
                .filter(|uid| (UID_MIN..=UID_MAX).contains(uid))?;
            let gid = gid.parse().ok().filter(|gid| *gid != 0)?;
            if !is_user_name(name) || name.contains('@') || !home.starts_with('/') {
                return None;
            }
            let folded = name.to_ascii_lowercase();
            let mailbox = Mailbox {
                maildir: config.users.maildir_of(home.as_ref()),
                home: home.into(),
                uid,
                gid,
                name: folded.as_str().into(),
            };
            Some((folded != name, mailbox))
        })
        .collect();
    found.sort_by_key(|(was_folded, _)| *was_folded);
    found.into_iter().map(|(_, mailbox)| mailbox).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn who_counts() {
        let text = "hostname = \"mail.example.org\"\ndomains = [\"example.org\"]\n";
        let config = Config::parse(text, Path::new("/etc/hikyaku/hikyaku.toml")).unwrap();
        let passwd = "root:x:0:0:root:/root:/bin/sh\nmail:x:8:8::/var/mail:\nlow:x:999:999::/h:\n\
                      Al:x:1000:1000:Al:/home/Al:/bin/sh\nal:x:1001:1001:al:/home/al:/bin/sh\n\
                      bo:x:60000:60000::/home/bo:/bin/sh\nhigh:x:60001:1::/h:\n\
                      nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n\
                      wheel:x:1002:0::/home/w:/bin/sh\nrel:x:1003:1003::home:/bin/sh\n+::::::\nshort:x:1004\n";
        let list = mailboxes(passwd, &config);
        let names: Vec<(&str, u32)> = list.iter().map(|m| (&*m.name, m.uid)).collect();
        assert_eq!(names, [("al", 1_001), ("bo", 60_000), ("al", 1_000)]);
        assert_eq!(list[0].maildir, Path::new("/home/al/Maildir"));
    }
}
