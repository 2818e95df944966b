//! Several configuration files as one: includes, `.local`, `known/`, `%(name)s`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::ini::{Ini, IniError, Section};

/// Deepest nesting of `%(name)s` and of includes.
pub const NESTING_MAX: usize = 10;
/// Longest value after substitution, in octets.
pub const VALUE_MAX: usize = 256 * 1024;
/// Most files read for one configuration, includes counted each time.
pub const FILES_MAX: usize = 2_000;

/// Why a configuration can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfError {
    /// A file can't be read.
    Read(PathBuf, String),
    /// A file is not in the format.
    Syntax(PathBuf, IniError),
    /// `%(name)s` of a name that does not exist.
    Missing {
        /// The name asked for.
        name: String,
        /// The option whose value asks for it.
        option: String,
    },
    /// A `%` that is neither `%%` nor `%(name)s`.
    Percent {
        /// The option whose value has it.
        option: String,
    },
    /// Substitution that goes round or grows beyond [`VALUE_MAX`].
    Endless(String),
    /// A section or option that has to be there is not.
    Absent(String),
    /// A value that can't be understood or taken over: option and reason.
    Value(String, String),
}

impl std::fmt::Display for ConfError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConfError::Read(p, e) => write!(f, "{}: {e}", p.display()),
            ConfError::Syntax(p, e) => write!(f, "{}: {e}", p.display()),
            ConfError::Missing { name, option } => {
                write!(f, "option {option}: there is no %({name})s")
            }
            ConfError::Percent { option } => {
                write!(f, "option {option}: % must be followed by % or (name)s")
            }
            ConfError::Endless(o) => write!(f, "option {o}: substitution does not end"),
            ConfError::Absent(what) => write!(f, "{what} is missing"),
            ConfError::Value(o, why) => write!(f, "option {o}: {why}"),
        }
    }
}

impl std::error::Error for ConfError {}

/// Where files come from: the disk, or a table in tests and fuzzing.
pub trait Files {
    /// Text of a file, or none when there is no such file.
    ///
    /// # Errors
    /// [`ConfError::Read`] when it is there but can't be read.
    fn read(&self, path: &Path) -> Result<Option<String>, ConfError>;
    /// Files of a directory with this extension, sorted by name; none when it does not exist.
    fn list(&self, dir: &Path, extension: &str) -> Vec<PathBuf>;
}

/// The files of the host.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> Result<Option<String>, ConfError> {
        let fail = |e: String| ConfError::Read(path.to_owned(), e);
        let bytes = match std::fs::read(path) {
            Ok(b) => b,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(fail(e.to_string())),
        };
        String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| fail("not UTF-8".to_owned()))
    }

    fn list(&self, dir: &Path, extension: &str) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(dir) else {
            return Vec::new();
        };
        let mut found: Vec<PathBuf> = entries
            .filter_map(|e| e.ok().map(|e| e.path()))
            .filter(|p| p.extension().is_some_and(|x| x == extension))
            .filter(|p| {
                !p.file_name()
                    .is_some_and(|n| n.to_string_lossy().starts_with('.'))
            })
            .collect();
        found.sort();
        found
    }
}

impl Files for BTreeMap<PathBuf, String> {
    fn read(&self, path: &Path) -> Result<Option<String>, ConfError> {
        Ok(self.get(path).cloned())
    }

    fn list(&self, dir: &Path, extension: &str) -> Vec<PathBuf> {
        self.keys()
            .filter(|p| p.parent() == Some(dir) && p.extension().is_some_and(|x| x == extension))
            .cloned()
            .collect()
    }
}

/// Reads files once, however many configurations include them.
pub struct Loader<'f> {
    files: &'f dyn Files,
    cache: HashMap<PathBuf, Option<Rc<Ini>>>,
}

impl<'f> Loader<'f> {
    /// A loader over `files`.
    pub fn new(files: &'f dyn Files) -> Self {
        Loader {
            files,
            cache: HashMap::new(),
        }
    }

    fn ini(&mut self, path: &Path) -> Result<Option<Rc<Ini>>, ConfError> {
        if let Some(hit) = self.cache.get(path) {
            return Ok(hit.clone());
        }
        let ini = match self.files.read(path)? {
            None => None,
            Some(text) => Some(Rc::new(
                Ini::parse(&text).map_err(|e| ConfError::Syntax(path.to_owned(), e))?,
            )),
        };
        self.cache.insert(path.to_owned(), ini.clone());
        Ok(ini)
    }

    /// Reads `BASE.conf`, `BASE.d/*.conf`, `BASE.local`, `BASE.d/*.local`, with what each includes.
    ///
    /// # Errors
    /// [`ConfError::Absent`] when none of them exists; what the files themselves give.
    pub fn load(&mut self, base: &Path) -> Result<Store, ConfError> {
        let with = |end: &str| {
            let mut s = base.as_os_str().to_owned();
            s.push(end);
            PathBuf::from(s)
        };
        let dir = with(".d");
        let mut files = vec![with(".conf")];
        files.extend(self.files.list(&dir, "conf"));
        files.push(with(".local"));
        files.extend(self.files.list(&dir, "local"));
        let mut order = Vec::new();
        self.expand(&files, &mut Vec::new(), &mut order)?;
        if order.is_empty() {
            return Err(ConfError::Absent(with(".conf").display().to_string()));
        }
        let mut store = Store::default();
        for path in order {
            if let Some(ini) = self.ini(&path)? {
                store.merge(&ini);
            }
        }
        Ok(store)
    }

    /// Reads one file as it stands, with what it includes.
    ///
    /// # Errors
    /// As [`Loader::load`].
    pub fn load_file(&mut self, path: &Path) -> Result<Store, ConfError> {
        let mut order = Vec::new();
        self.expand(&[path.to_owned()], &mut Vec::new(), &mut order)?;
        if order.is_empty() {
            return Err(ConfError::Absent(path.display().to_string()));
        }
        let mut store = Store::default();
        for path in order {
            if let Some(ini) = self.ini(&path)? {
                store.merge(&ini);
            }
        }
        Ok(store)
    }

    /// Appends the files in the order in which they count, includes before and after.
    fn expand(
        &mut self,
        files: &[PathBuf],
        above: &mut Vec<PathBuf>,
        order: &mut Vec<PathBuf>,
    ) -> Result<(), ConfError> {
        let mut all: Vec<PathBuf> = Vec::new();
        for f in files {
            all.push(f.clone());
            let local = f.with_extension("local");
            if !files.contains(&local) {
                all.push(local);
            }
        }
        for file in all {
            let Some(ini) = self.ini(&file)? else {
                continue;
            };
            if order.len() >= FILES_MAX {
                return Err(ConfError::Endless("INCLUDES".to_owned()));
            }
            let (before, after) = self.includes(&ini, &file)?;
            above.push(file.clone());
            if above.len() <= NESTING_MAX {
                self.expand_named(&before, above, order)?;
            }
            order.push(file.clone());
            if above.len() <= NESTING_MAX {
                self.expand_named(&after, above, order)?;
            }
            above.pop();
        }
        Ok(())
    }

    fn expand_named(
        &mut self,
        names: &[PathBuf],
        above: &mut Vec<PathBuf>,
        order: &mut Vec<PathBuf>,
    ) -> Result<(), ConfError> {
        for n in names {
            if !above.contains(n) {
                self.expand(std::slice::from_ref(n), above, order)?;
            }
        }
        Ok(())
    }

    fn includes(&self, ini: &Ini, file: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), ConfError> {
        if ini.section("INCLUDES").is_none() {
            return Ok((Vec::new(), Vec::new()));
        }
        let mut one = Store::default();
        one.merge(ini);
        let dir = file.parent().unwrap_or(Path::new(""));
        let list = |option: &str| -> Result<Vec<PathBuf>, ConfError> {
            let value = one
                .get("INCLUDES", option, &Section::new())?
                .unwrap_or_default();
            Ok(value
                .split('\n')
                .filter(|l| !l.is_empty())
                .map(|l| normal(&dir.join(l)))
                .collect())
        };
        Ok((list("before")?, list("after")?))
    }
}

/// Takes `.` and `..` out of a path as far as names go.
fn normal(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut out = PathBuf::new();
    for c in path.components() {
        match c {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(out.components().next_back(), Some(Component::Normal(_))) =>
            {
                out.pop();
            }
            c => out.push(c),
        }
    }
    out
}

/// A configuration put together from its files.
#[derive(Clone, Debug, Default)]
pub struct Store {
    defaults: Section,
    sections: Vec<(String, Section)>,
    /// What a section held before a later file overrode it.
    known: HashMap<String, Section>,
}

impl Store {
    /// Lays a file over what is there.
    pub fn merge(&mut self, ini: &Ini) {
        self.defaults
            .extend(ini.defaults.iter().map(|(k, v)| (k.clone(), v.clone())));
        for (name, section) in &ini.sections {
            // [Init?family=inet6]: the options become `name?family=inet6` of [Init]
            let (name, suffix) = match name.find('?') {
                Some(at) if at > 0 => name.split_at(at),
                _ => (name.as_str(), ""),
            };
            let options = section
                .iter()
                .map(|(k, v)| (format!("{k}{suffix}"), v.clone()));
            match self.sections.iter_mut().find(|s| s.0 == name) {
                None => self.sections.push((name.to_owned(), options.collect())),
                Some((_, old)) => {
                    let known = self.known.entry(name.to_owned()).or_default();
                    for (k, v) in options {
                        if let Some(previous) = old.insert(k.clone(), v) {
                            known.insert(k, previous);
                        }
                    }
                }
            }
        }
    }

    /// Names of the sections in the order in which they first appeared.
    pub fn section_names(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().map(|s| s.0.as_str())
    }

    /// A section's own options, without those of `[DEFAULT]`.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|s| s.0 == name).map(|s| &s.1)
    }

    /// `[DEFAULT]`.
    #[must_use]
    pub fn defaults(&self) -> &Section {
        &self.defaults
    }

    /// Sets an option of `[DEFAULT]`.
    pub fn set_default(&mut self, name: &str, value: &str) {
        self.defaults.insert(name.to_owned(), value.to_owned());
    }

    /// Adds options to a section, replacing those of the same name.
    pub fn merge_section(&mut self, name: &str, options: impl Iterator<Item = (String, String)>) {
        let at = match self.sections.iter().position(|s| s.0 == name) {
            Some(i) => i,
            None => {
                self.sections.push((name.to_owned(), Section::new()));
                self.sections.len() - 1
            }
        };
        if let Some(s) = self.sections.get_mut(at) {
            s.1.extend(options);
        }
    }

    /// An option's value with `%(name)s` put in; `vars` come before the section, and the section
    /// before `[DEFAULT]`. None when there is no such section or option.
    ///
    /// # Errors
    /// [`ConfError::Missing`], [`ConfError::Percent`], [`ConfError::Endless`].
    pub fn get(
        &self,
        section: &str,
        option: &str,
        vars: &Section,
    ) -> Result<Option<String>, ConfError> {
        let own = match self.section(section) {
            Some(s) => Some(s),
            None if section == "DEFAULT" => None,
            None => return Ok(None),
        };
        let option = option.to_lowercase();
        let scope = Scope {
            store: self,
            section,
            own,
            vars,
        };
        let Some(raw) = scope.raw(&option) else {
            return Ok(None);
        };
        let mut out = String::new();
        scope.interpolate(&option, raw, 1, &mut out)?;
        Ok(Some(out))
    }

    /// As [`Store::get`], where `option` may name a section: `lt_file/datepattern`.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn get_ex(
        &self,
        section: &str,
        option: &str,
        vars: &Section,
    ) -> Result<Option<String>, ConfError> {
        if let Some((named, opt)) = option.split_once('/') {
            let word = |s: &str| {
                !s.is_empty() && s.chars().all(|c| c.is_alphanumeric() || "_-".contains(c))
            };
            if word(named) && !opt.is_empty() {
                let found = if named.eq_ignore_ascii_case("known") {
                    let known = self
                        .known
                        .get(section)
                        .filter(|k| k.contains_key(opt) || self.defaults.contains_key(opt));
                    match known {
                        Some(k) => {
                            let scope = Scope {
                                store: self,
                                section,
                                own: Some(k),
                                vars: &EMPTY,
                            };
                            let mut out = String::new();
                            match scope.raw(opt) {
                                Some(raw) => {
                                    scope.interpolate(opt, raw, 1, &mut out)?;
                                    Some(out)
                                }
                                None => None,
                            }
                        }
                        None => self.get(section, opt, &EMPTY)?,
                    }
                } else if named.eq_ignore_ascii_case("default") {
                    self.get("DEFAULT", opt, &EMPTY)?
                } else {
                    self.get(named, opt, &EMPTY)?
                };
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
        self.get(section, option, vars)
    }
}

static EMPTY: Section = Section::new();

struct Scope<'a> {
    store: &'a Store,
    section: &'a str,
    own: Option<&'a Section>,
    vars: &'a Section,
}

impl<'a> Scope<'a> {
    fn raw(&self, option: &str) -> Option<&'a str> {
        if option == "__name__" {
            return Some(self.section);
        }
        let found = self
            .vars
            .get(option)
            .or_else(|| self.own.and_then(|s| s.get(option)))
            .or_else(|| self.store.defaults.get(option));
        match found {
            Some(v) => Some(v),
            None => self.named(option),
        }
    }

    /// `section/option`, `known/option`, `default/option`.
    fn named(&self, option: &str) -> Option<&'a str> {
        let (section, opt) = option.split_once('/')?;
        let store = self.store;
        let found = match section.to_ascii_lowercase().as_str() {
            "default" => None,
            "known" => store.known.get(self.section).and_then(|s| s.get(opt)),
            _ => {
                let s = store
                    .sections
                    .iter()
                    .find(|s| s.0.eq_ignore_ascii_case(section))?;
                s.1.get(opt)
            }
        };
        found
            .or_else(|| store.defaults.get(opt))
            .map(String::as_str)
    }

    fn interpolate(
        &self,
        option: &str,
        raw: &str,
        depth: usize,
        out: &mut String,
    ) -> Result<(), ConfError> {
        if depth > NESTING_MAX {
            return Err(ConfError::Endless(option.to_owned()));
        }
        let mut rest = raw;
        while let Some(at) = rest.find('%') {
            out.push_str(rest.get(..at).unwrap_or(""));
            rest = rest.get(at + 1..).unwrap_or("");
            if let Some(r) = rest.strip_prefix('%') {
                out.push('%');
                rest = r;
                continue;
            }
            let name = rest.strip_prefix('(').and_then(|r| r.split_once(")s"));
            let Some((name, after)) = name.filter(|(n, _)| !n.contains(')')) else {
                return Err(ConfError::Percent {
                    option: option.to_owned(),
                });
            };
            let name = name.to_lowercase();
            let Some(value) = self.raw(&name) else {
                return Err(ConfError::Missing {
                    name,
                    option: option.to_owned(),
                });
            };
            if value.contains('%') {
                self.interpolate(option, value, depth + 1, out)?;
            } else {
                out.push_str(value);
            }
            if out.len() > VALUE_MAX {
                return Err(ConfError::Endless(option.to_owned()));
            }
            rest = after;
        }
        out.push_str(rest);
        if out.len() > VALUE_MAX {
            return Err(ConfError::Endless(option.to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> BTreeMap<PathBuf, String> {
        list.iter()
            .map(|(p, t)| (PathBuf::from(p), (*t).to_owned()))
            .collect()
    }

    fn get(s: &Store, section: &str, option: &str) -> String {
        s.get_ex(section, option, &Section::new()).unwrap().unwrap()
    }

    #[test]
    fn order_of_files() {
        let f = files(&[
            (
                "/e/jail.conf",
                "[INCLUDES]\nbefore = b.conf\nafter = a.conf\n[DEFAULT]\nx=conf\n[j]\ny=conf\n",
            ),
            ("/e/b.conf", "[DEFAULT]\nx=before\nb=1\n"),
            ("/e/b.local", "[DEFAULT]\nb=2\n"),
            ("/e/a.conf", "[j]\nz=after\n"),
            ("/e/jail.d/1.conf", "[j]\ny=d\n"),
            ("/e/jail.local", "[j]\ny=%(known/y)s,local\n"),
            ("/e/jail.d/1.local", "[DEFAULT]\nx=dlocal\n"),
        ]);
        let s = Loader::new(&f).load(Path::new("/e/jail")).unwrap();
        assert_eq!(get(&s, "j", "x"), "dlocal");
        assert_eq!(get(&s, "j", "y"), "d,local");
        assert_eq!(get(&s, "j", "z"), "after");
        assert_eq!(get(&s, "j", "b"), "2");
    }

    #[test]
    fn interpolation() {
        let f = files(&[(
            "/e/f.conf",
            "[DEFAULT]\nd = D\n[lt_file]\np = P%(d)s\n[Definition]\na = %(b)s %% %(lt_file/p)s %(__name__)s\nb = <%(D)s>\nbad = %(none)s\nloop = %(loop)s\npc = 5% x\n",
        )]);
        let s = Loader::new(&f).load(Path::new("/e/f")).unwrap();
        assert_eq!(get(&s, "Definition", "a"), "<D> % PD Definition");
        assert_eq!(get(&s, "Definition", "lt_file/p"), "PD");
        let fail = |o| s.get("Definition", o, &Section::new()).unwrap_err();
        assert!(matches!(fail("bad"), ConfError::Missing { .. }));
        assert!(matches!(fail("loop"), ConfError::Endless(_)));
        assert!(matches!(fail("pc"), ConfError::Percent { .. }));
        let vars = Section::from([("d".to_owned(), "V".to_owned())]);
        assert_eq!(s.get("Definition", "b", &vars).unwrap().unwrap(), "<V>");
    }

    #[test]
    fn growth_is_bounded() {
        let mut text = String::from("[a]\nx0 = 0123456789\n");
        for i in 1..9 {
            let last = format!("%(x{})s", i - 1);
            text.push_str(&format!("x{i} = {}\n", last.repeat(8)));
        }
        let f = files(&[("/e/f.conf", &text)]);
        let s = Loader::new(&f).load(Path::new("/e/f")).unwrap();
        assert!(s.get("a", "x3", &Section::new()).is_ok());
        assert!(matches!(
            s.get("a", "x8", &Section::new()),
            Err(ConfError::Endless(_))
        ));
    }

    #[test]
    fn include_loops_end() {
        let f = files(&[
            ("/e/a.conf", "[INCLUDES]\nbefore = b.conf\n[x]\na=1\n"),
            ("/e/b.conf", "[INCLUDES]\nbefore = a.conf\n[x]\nb=1\n"),
        ]);
        let s = Loader::new(&f).load(Path::new("/e/a")).unwrap();
        assert_eq!(get(&s, "x", "b"), "1");
        assert!(Loader::new(&f).load(Path::new("/e/none")).is_err());
    }
}
