//! Directories that a path with patterns means: those that are there, and those that are made
//! later.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use daemon::dir::Dir;

use super::follow::{FILES_MAX, Place};
use super::glob;

/// Directories below which others are looked for must have so many parts at least: nobody wants
/// `/` or `/var` to be open for reading because a log may appear there.
pub const BASE_PARTS: usize = 2;

/// A search for directories that are not there yet: a place with something below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seek(pub Place);

impl Seek {
    /// The directory that is there, below which the others are looked for.
    #[must_use]
    pub fn base(&self) -> &Path {
        &self.0.directory
    }

    /// What is looked for in a directory that was found. Its files are read from their beginning
    /// in any case: they are new.
    #[must_use]
    pub fn place(&self, directory: &Path) -> Place {
        Place {
            directory: directory.to_owned(),
            below: Vec::new(),
            ..self.0.clone()
        }
    }

    /// The directories there are now, at most [`FILES_MAX`]. Symbolic links are not followed.
    #[must_use]
    pub fn look(&self, base: &Dir) -> Vec<(PathBuf, Dir)> {
        let Ok(base) = base.try_clone() else {
            return Vec::new();
        };
        let mut found = vec![(self.base().to_owned(), base)];
        for part in &self.0.below {
            let mut next = Vec::new();
            for (path, dir) in found {
                let names = match glob::is_pattern(part.as_bytes()) {
                    true => dir.names().unwrap_or_default(),
                    false => vec![part.clone()],
                };
                let fit = |n: &&OsString| *n == part || glob::fits(part.as_bytes(), n.as_bytes());
                for name in names.iter().filter(fit) {
                    if next.len() >= FILES_MAX {
                        break;
                    }
                    if dir.status(name).is_ok_and(|s| s.is_dir) {
                        if let Ok(below) = dir.open_dir(name) {
                            next.push((path.join(name), below));
                        }
                    }
                }
            }
            found = next;
        }
        found
    }
}

/// The directories that a path with patterns means now, and behind them a place for those that may
/// be made later: there is one when a directory in the path has a pattern or is not there, and
/// what is there of it has [`BASE_PARTS`] parts.
#[must_use]
pub fn places(path: &str, jail: usize, tail: bool) -> Vec<Place> {
    let path = Path::new(path);
    let (Some(parent), Some(names)) = (path.parent(), path.file_name()) else {
        return Vec::new();
    };
    let parts: Vec<&OsStr> = parent
        .components()
        .filter_map(|c| match c {
            Component::Normal(part) => Some(part),
            _ => None,
        })
        .collect();
    let place = |directory: PathBuf| Place {
        directory,
        names: names.to_owned(),
        jail,
        tail,
        below: Vec::new(),
    };
    // What is there and plain.
    let mut base = PathBuf::from("/");
    let mut fixed = 0;
    for part in &parts {
        let next = base.join(part);
        if glob::is_pattern(part.as_bytes()) || !next.is_dir() {
            break;
        }
        base = next;
        fixed += 1;
    }
    let rest: Vec<OsString> = parts.iter().skip(fixed).map(|p| (*p).to_owned()).collect();
    if rest.is_empty() {
        return vec![place(base)];
    }
    let mut found = vec![base.clone()];
    for part in &rest {
        let mut next = Vec::new();
        for dir in found {
            if !glob::is_pattern(part.as_bytes()) {
                next.push(dir.join(part));
                continue;
            }
            let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
            next.extend(
                entries
                    .filter(|e| glob::fits(part.as_bytes(), e.file_name().as_bytes()))
                    .map(|e| e.path()),
            );
        }
        next.truncate(FILES_MAX);
        found = next;
    }
    let mut all: Vec<Place> = found
        .into_iter()
        .filter(|d| d.is_dir())
        .map(place)
        .collect();
    if fixed >= BASE_PARTS {
        all.push(Place {
            below: rest,
            ..place(base)
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_and_what_may_come() {
        let tmp = tempfile::tempdir().unwrap();
        let root = tmp.path();
        for d in ["a1/log", "a2/log", "b/log"] {
            std::fs::create_dir_all(root.join(d)).unwrap();
        }
        let of = |p: &str| {
            let all = places(root.join(p).to_str().unwrap(), 3, true);
            let (now, later): (Vec<Place>, Vec<Place>) =
                all.into_iter().partition(|p| p.below.is_empty());
            (now, later.into_iter().next().map(Seek))
        };
        let (now, seek) = of("a1/log/*.log");
        assert!(now.len() == 1 && seek.is_none());
        let (mut now, seek) = of("a*/log/*.log");
        now.sort_by(|a, b| a.directory.cmp(&b.directory));
        let directories: Vec<&Path> = now.iter().map(|p| p.directory.as_path()).collect();
        assert_eq!(directories, [root.join("a1/log"), root.join("a2/log")]);
        let seek = seek.unwrap();
        assert_eq!((seek.base(), seek.0.below.len()), (root, 2));
        assert_eq!(seek.look(&Dir::open(root).unwrap()).len(), 2);
        std::fs::create_dir_all(root.join("a3/log")).unwrap();
        std::os::unix::fs::symlink(root.join("b"), root.join("a4")).unwrap();
        let found = seek.look(&Dir::open(root).unwrap());
        assert!(found.iter().any(|(p, _)| *p == root.join("a3/log")));
        assert_eq!(found.len(), 3, "links are not followed");
        let (now, seek) = of("later/x.log");
        assert!(now.is_empty() && seek.unwrap().base() == root);
        // Not below the root, and not for a path that is none.
        assert_eq!(places("/nowhere-at-all/x/y.log", 0, false), []);
        assert_eq!(places("", 0, false), []);
    }
}
