//! Filters and actions: files with `[Definition]` and `[Init]`, adjusted by a jail.

use std::path::Path;

use super::ini::Section;
use super::store::{ConfError, Loader, Store};
use super::tags::substitute;

/// Options of a filter that mean something to us.
pub const FILTER_OPTIONS: [&str; 7] = [
    "usedns",
    "prefregex",
    "ignoreregex",
    "failregex",
    "maxlines",
    "datepattern",
    "journalmatch",
];

/// Options of an action that hold commands or change how they are run.
pub const ACTION_OPTIONS: [&str; 14] = [
    "actionstart",
    "actionstart_on_demand",
    "actionstop",
    "actionflush",
    "actionreload",
    "actioncheck",
    "actionrepair",
    "actionrepair_on_unban",
    "actionban",
    "actionprolong",
    "actionreban",
    "actionunban",
    "norestored",
    "timeout",
];

/// Most lines that `maxlines` may hold back.
pub const LINES_MAX: usize = 1000;
/// Most patterns in one list of a filter.
pub const PATTERNS_MAX: usize = 1000;

/// A filter with everything put in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterConf {
    /// `failregex`, one a line.
    pub failregex: Vec<String>,
    /// `ignoreregex`, one a line.
    pub ignoreregex: Vec<String>,
    /// `prefregex`.
    pub prefregex: Option<String>,
    /// `maxlines`, 1 when not given.
    pub maxlines: usize,
    /// `datepattern`, one or more lines.
    pub datepattern: Option<String>,
    /// `journalmatch`, one set of fields a line.
    pub journalmatch: Vec<String>,
    /// `usedns` of the filter itself.
    pub usedns: Option<String>,
}

/// `[Definition]` and `[Init]` put together: the wanted options, then those of `[Init]`,
/// then what the jail says, with all names replaced. With `all`, every option of
/// `[Definition]` is there too.
///
/// # Errors
/// [`ConfError::Absent`] without a `[Definition]`; what substitution gives.
pub fn combine(
    store: &Store,
    wanted: &[&str],
    jail: &Section,
    own: &Section,
    family: Option<&str>,
    all: bool,
) -> Result<Section, ConfError> {
    combine_but(store, wanted, jail, own, family, all, &[])
}

/// As [`combine`], where `<name>` of these names stays, unless the options themselves have a
/// value for it: it belongs to one ban.
///
/// # Errors
/// As [`combine`].
pub fn combine_but(
    store: &Store,
    wanted: &[&str],
    jail: &Section,
    own: &Section,
    family: Option<&str>,
    all: bool,
    later: &[&str],
) -> Result<Section, ConfError> {
    let Some(definition) = store.section("Definition") else {
        return Err(ConfError::Absent("[Definition]".to_owned()));
    };
    let mut vars = jail.clone();
    vars.extend(own.iter().map(|(k, v)| (k.clone(), v.clone())));
    let mut out = Section::new();
    for name in wanted {
        if !vars.contains_key(*name) {
            if let Some(v) = store.get("Definition", name, &vars)? {
                out.insert((*name).to_owned(), v);
            }
        }
    }
    if all {
        for name in definition.keys() {
            if !out.contains_key(name) {
                if let Some(v) = store.get("Definition", name, &Section::new())? {
                    out.insert(name.clone(), v);
                }
            }
        }
    }
    let mut init = own.clone();
    if let Some(section) = store.section("Init") {
        for name in section.keys() {
            let Some(value) = store.get("Init", name, &Section::new())? else {
                continue;
            };
            if !name.starts_with("known/") {
                init.insert(format!("known/{name}"), value.clone());
            }
            init.entry(name.clone()).or_insert(value);
        }
    }
    out.extend(init);
    substitute(&out, family, &mut |name| match later.contains(&name) {
        true => Ok(None),
        false => store.get_ex("Definition", name, &vars),
    })
}

impl FilterConf {
    /// Takes the options of a filter apart.
    ///
    /// # Errors
    /// [`ConfError::Value`] for a `maxlines` that is no number from 1 to [`LINES_MAX`] and for
    /// lists longer than [`PATTERNS_MAX`].
    pub fn from_options(options: &Section) -> Result<FilterConf, ConfError> {
        let list = |name: &str| -> Result<Vec<String>, ConfError> {
            let value = options.get(name).map(String::as_str).unwrap_or("");
            let list: Vec<String> = value
                .split('\n')
                .filter(|l| !l.is_empty())
                .map(str::to_owned)
                .collect();
            if list.len() > PATTERNS_MAX {
                return Err(ConfError::Value(
                    name.to_owned(),
                    "too many lines".to_owned(),
                ));
            }
            Ok(list)
        };
        let text = |name: &str| options.get(name).filter(|v| !v.is_empty()).cloned();
        let maxlines = match text("maxlines") {
            None => 1,
            Some(v) => v
                .parse()
                .ok()
                .filter(|n| (1..=LINES_MAX).contains(n))
                .ok_or_else(|| {
                    ConfError::Value(
                        "maxlines".to_owned(),
                        format!("{v} is not 1 to {LINES_MAX}"),
                    )
                })?,
        };
        Ok(FilterConf {
            failregex: list("failregex")?,
            ignoreregex: list("ignoreregex")?,
            prefregex: text("prefregex"),
            maxlines,
            datepattern: text("datepattern"),
            journalmatch: list("journalmatch")?,
            usedns: text("usedns"),
        })
    }

    /// Reads `BASE.conf` and what belongs to it (`BASE` is `DIR/filter.d/NAME`); `own` are the
    /// options in brackets behind the filter's name.
    ///
    /// # Errors
    /// [`ConfError`] of the files and of the options.
    pub fn read(
        loader: &mut Loader<'_>,
        base: &Path,
        own: &Section,
    ) -> Result<FilterConf, ConfError> {
        let store = loader.load(base)?;
        let options = combine(&store, &FILTER_OPTIONS, &Section::new(), own, None, false)?;
        FilterConf::from_options(&options)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;

    const COMMON: &str = "[DEFAULT]\nlogtype = file\n_daemon = \\S*\n__prefix_line = <lt_<logtype>/__prefix_line>\ndatepattern = <lt_<logtype>/datepattern>\n[lt_file]\n__prefix_line = F<_daemon>:\ndatepattern = {^LN-BEG}\n[lt_journal]\n__prefix_line = J%(__name__)s\ndatepattern = %(lt_file/datepattern)s\n";
    const FILTER: &str = "[INCLUDES]\nbefore = common.conf\n[Definition]\n_daemon = x\n__prefix_line = %(known/__prefix_line)s+\nprefregex = ^%(__prefix_line)s<F-CONTENT>.+</F-CONTENT>$\nfailregex = ^a <HOST>\n  <mdre-<mode>>\nmdre-one = ^one <HOST>\nmdre-two =\nmode = one\nignoreregex =\n[Init]\nmaxlines = 3\n";

    fn read(own: &[(&str, &str)]) -> Result<FilterConf, ConfError> {
        let files: BTreeMap<PathBuf, String> = [
            (PathBuf::from("/e/filter.d/common.conf"), COMMON.to_owned()),
            (PathBuf::from("/e/filter.d/t.conf"), FILTER.to_owned()),
        ]
        .into();
        let own = own
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect();
        FilterConf::read(&mut Loader::new(&files), Path::new("/e/filter.d/t"), &own)
    }

    #[test]
    fn modes_sections_and_init() {
        let f = read(&[]).unwrap();
        assert_eq!(f.failregex, ["^a <HOST>", "^one <HOST>"]);
        assert_eq!(
            f.prefregex.as_deref(),
            Some("^Fx:+<F-CONTENT>.+</F-CONTENT>$")
        );
        assert_eq!(f.datepattern.as_deref(), Some("{^LN-BEG}"));
        assert_eq!(f.maxlines, 3);
        let f = read(&[("mode", "two"), ("logtype", "journal"), ("maxlines", "1")]).unwrap();
        assert_eq!(f.failregex, ["^a <HOST>"]);
        assert_eq!(
            f.prefregex.as_deref(),
            Some("^Jlt_journal+<F-CONTENT>.+</F-CONTENT>$")
        );
        assert_eq!(f.maxlines, 1);
    }

    #[test]
    fn maxlines_is_bounded() {
        for (n, good) in [("0", false), ("1000", true), ("1001", false), ("x", false)] {
            assert_eq!(read(&[("maxlines", n)]).is_ok(), good, "{n}");
        }
    }
}
