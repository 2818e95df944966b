//! A whole configuration as it is understood, and by name what can't be taken over and why.
//! banwatch logs it at start; `hikyaku check` prints it.

use std::path::Path;

use super::jail_conf::{JailConf, read_jails};
use super::store::{ConfError, Loader};
use super::watch::Watch;
use crate::act::plan::{Host, JailPlan};
use crate::date::Zone;

/// Something that can't be taken over, or not as one may expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The jail.
    pub jail: String,
    /// What of it: `jail`, `filter NAME`, `action NAME`, `ignorecommand`.
    pub what: String,
    /// Why not, with the file where it is known.
    pub why: String,
    /// The jail does not run at all.
    pub grave: bool,
}

impl std::fmt::Display for Remark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "jail {}: ", self.jail)?;
        if self.what != "jail" {
            write!(f, "{}: ", self.what)?;
        }
        f.write_str(&self.why)
    }
}

/// A configuration directory as it is understood.
#[derive(Debug, Default)]
pub struct Report {
    /// The jails that are switched on and can be used, with what is run for them.
    pub jails: Vec<(JailConf, JailPlan)>,
    /// What can't be taken over.
    pub remarks: Vec<Remark>,
}

impl Report {
    /// Reads a configuration directory such as `/etc/fail2ban`. `host` is this host's full name.
    ///
    /// # Errors
    /// [`ConfError`] when `jail.conf` itself can't be read.
    pub fn read(loader: &mut Loader<'_>, dir: &Path, host: &str) -> Result<Report, ConfError> {
        let host = Host(host.to_owned());
        let mut report = Report::default();
        for (name, conf) in read_jails(loader, dir)? {
            let remark = |what: String, why: String, grave| Remark {
                jail: name.clone(),
                what,
                why,
                grave,
            };
            let conf = match conf {
                Ok(conf) => conf,
                Err(e) => {
                    let it = remark("jail".to_owned(), e.to_string(), true);
                    report.remarks.push(it);
                    continue;
                }
            };
            let (plan, refused) = JailPlan::read(loader, dir, &conf, &host);
            for (what, why) in refused {
                report
                    .remarks
                    .push(remark(what, format!("not run: {why}"), false));
            }
            let native = conf.actions.iter().any(|a| a.native.is_some());
            if !native && plan.actions.is_empty() {
                let why = "it has no action that can be taken over, so it only decides";
                report
                    .remarks
                    .push(remark("action".to_owned(), why.to_owned(), false));
            }
            report.jails.push((conf, plan));
        }
        Ok(report)
    }

    /// What of the filters can't be taken over: each is compiled once.
    #[must_use]
    pub fn filters(&self, now: i64) -> Vec<Remark> {
        let mut remarks = Vec::new();
        for (conf, _) in &self.jails {
            let mut watch = Watch::new(Zone::system(), now);
            let timezone = conf.logtimezone.as_deref();
            let dated = !conf.reads_journal();
            if let Err(e) = watch.add(&conf.filter, conf.usedns, timezone, dated) {
                remarks.push(Remark {
                    jail: conf.name.clone(),
                    what: format!("filter {}", conf.filter_name),
                    why: e.to_string(),
                    grave: true,
                });
            }
        }
        remarks
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn each_thing_by_name() {
        let files: BTreeMap<PathBuf, String> = [
            (
                "/e/jail.conf",
                "[DEFAULT]\nenabled = true\nlogpath = /l\nfailregex = ^<HOST>$\naction = nftables\n[good]\n[number]\nmaxretry = x\n[pattern]\nfailregex = ^(<HOST>$\n[python]\naction = smtp.py\n[eval]\naction = nftables\n  own\n",
            ),
            ("/e/action.d/own.conf", "[Definition]\nactionban = eval <matches>\n"),
        ]
        .map(|(p, t)| (PathBuf::from(p), t.to_owned()))
        .into();
        let mut loader = Loader::new(&files);
        let report = Report::read(&mut loader, Path::new("/e"), "a.example").unwrap();
        let mut all = report.remarks.clone();
        all.extend(report.filters(0));
        let said: Vec<String> = all.iter().map(Remark::to_string).collect();
        for (n, part) in [
            "jail number: option maxretry: x is no number",
            "jail python: action smtp.py: not run:",
            "jail python: action: it has no action",
            "jail eval: action own: not run: actionban: <matches> would be read",
            "jail pattern: filter : failregex can't be taken over",
        ]
        .iter()
        .enumerate()
        {
            assert!(said[n].starts_with(part), "{said:?}");
        }
        assert_eq!(said.len(), 5);
        assert_eq!(all.iter().filter(|r| r.grave).count(), 2);
        let names: Vec<&str> = report.jails.iter().map(|j| j.0.name.as_str()).collect();
        assert_eq!(names, ["good", "pattern", "python", "eval"]);
    }
}
