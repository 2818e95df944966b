//! Logs that are turned, emptied, copied, and made later.

use std::io::Write;

use super::*;

struct Bench {
    tmp: tempfile::TempDir,
    logs: Logs,
    lines: Vec<String>,
}

impl Bench {
    fn new(names: &str, positions: Positions, before: &[(&str, &str)]) -> Bench {
        let tmp = tempfile::tempdir().unwrap();
        Bench::at(tmp, names, positions, before)
    }

    fn at(
        tmp: tempfile::TempDir,
        names: &str,
        positions: Positions,
        before: &[(&str, &str)],
    ) -> Bench {
        for (name, text) in before {
            std::fs::write(tmp.path().join(name), text).unwrap();
        }
        let path = tmp.path().join(names);
        let places = places(path.to_str().unwrap(), 0, false);
        let mut logs = Logs::new(places, positions).unwrap();
        logs.open_all(&mut |_| 0);
        let mut b = Bench {
            tmp,
            logs,
            lines: Vec::new(),
        };
        b.turn();
        b
    }

    fn turn(&mut self) -> Vec<String> {
        self.logs.notified(&mut |_| 0);
        self.logs.seek(&mut |_| 0);
        let lines = &mut self.lines;
        while self
            .logs
            .read(&mut |_, l| lines.push(String::from_utf8_lossy(l).into_owned()))
        {}
        std::mem::take(lines)
    }

    fn append(&self, name: &str, text: &str) {
        let path = self.tmp.path().join(name);
        let mut f = File::options()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        f.write_all(text.as_bytes()).unwrap();
    }
}

#[test]
fn rotation_by_rename_loses_nothing() {
    let mut b = Bench::new("a.log", Positions::new(), &[("a.log", "")]);
    b.append("a.log", "1\n2\nha");
    assert_eq!(b.turn(), ["1", "2"]);
    let mut old = File::options()
        .append(true)
        .open(b.tmp.path().join("a.log"))
        .unwrap();
    std::fs::rename(b.tmp.path().join("a.log"), b.tmp.path().join("a.log.1")).unwrap();
    b.append("a.log", "new\n");
    // The daemon has not noticed yet and writes to the old file.
    old.write_all(b"lf\n").unwrap();
    let mut all = b.turn();
    all.sort();
    assert_eq!(all, ["half", "new"]);
    old.write_all(b"late\n").unwrap();
    assert_eq!(b.turn(), ["late"]);
    b.append("a.log", "more\n");
    assert_eq!(b.turn(), ["more"]);
    assert!(b.logs.is_waiting());
}

#[test]
fn copytruncate_and_globs() {
    let mut b = Bench::new(
        "*.log",
        Positions::new(),
        &[("a.log", "x\n"), ("b.txt", "no\n"), ("old.log.gz", "no\n")],
    );
    b.append("a.log", "1\n");
    assert_eq!(b.turn(), ["1"]);
    std::fs::copy(b.tmp.path().join("a.log"), b.tmp.path().join("a.1")).unwrap();
    std::fs::write(b.tmp.path().join("a.log"), "").unwrap();
    b.turn();
    b.append("a.log", "after\n");
    assert_eq!(b.turn(), ["after"]);
    b.append("later.log", "from the start\n");
    b.append("b.txt", "no\n");
    assert_eq!(b.turn(), ["from the start"]);
    assert_eq!(b.logs.files().len(), 2);
}

#[test]
fn positions_are_kept() {
    let mut b = Bench::new("a.log", Positions::new(), &[("a.log", "1\n2\nha")]);
    let mut positions = Positions::new();
    b.logs.tick(&mut |path, id, offset| {
        positions.insert(path.to_owned(), (id, offset));
    });
    assert_eq!(
        positions.values().next().unwrap().1,
        4,
        "a line that is not whole is read again"
    );
    let Bench { tmp, .. } = b;
    std::fs::OpenOptions::new()
        .append(true)
        .open(tmp.path().join("a.log"))
        .unwrap()
        .write_all(b"lf\n")
        .unwrap();
    let path = tmp.path().join("a.log");
    let places = places(path.to_str().unwrap(), 0, false);
    let mut logs = Logs::new(places, positions).unwrap();
    logs.open_all(&mut |_| 0);
    let mut lines = Vec::new();
    logs.read(&mut |_, l| lines.push(String::from_utf8_lossy(l).into_owned()));
    assert_eq!(lines, ["half"]);
}

#[test]
fn many_lines_during_rotation() {
    let mut b = Bench::new("a.log", Positions::new(), &[("a.log", "")]);
    let mut want = 0;
    let mut got = 0;
    for round in 0..5 {
        let mut writer = File::options()
            .append(true)
            .open(b.tmp.path().join("a.log"))
            .unwrap();
        for i in 0..2_000 {
            writeln!(writer, "{round} {i}").unwrap();
            want += 1;
            if i == 1_000 {
                std::fs::rename(
                    b.tmp.path().join("a.log"),
                    b.tmp.path().join(format!("a.log.{round}")),
                )
                .unwrap();
                b.append("a.log", "");
            }
            if i % 333 == 0 {
                got += b.turn().len();
            }
        }
        drop(writer);
        got += b.turn().len();
    }
    assert_eq!(got, want);
}

#[test]
fn a_file_that_outgrew_its_old_size_is_known_by_its_octets() {
    let mut b = Bench::new("a.log", Positions::new(), &[("a.log", "")]);
    b.append("a.log", "one\ntwo\n");
    assert_eq!(b.turn(), ["one", "two"]);
    // Emptied and written anew, beyond the old size, before anybody looked.
    std::fs::write(b.tmp.path().join("a.log"), "three\nfour\nfive\n").unwrap();
    assert_eq!(b.turn(), ["three", "four", "five"]);
    // Its writer does not append: behind the emptying there is a hole.
    let f = File::options()
        .write(true)
        .open(b.tmp.path().join("a.log"))
        .unwrap();
    f.set_len(0).unwrap();
    f.write_all_at(b"six\n", "three\nfour\nfive\n".len() as u64)
        .unwrap();
    assert_eq!(b.turn(), ["six"]);
}

#[test]
fn what_only_the_copy_has_is_read_from_the_copy() {
    let mut b = Bench::new("a.log", Positions::new(), &[("a.log", "")]);
    // An older copy that is none of this file's.
    b.append("a.log.2", "other text\nand more of it\n");
    b.append("a.log", "1\n2\nha");
    assert_eq!(b.turn(), ["1", "2"]);
    b.append("a.log", "lf\n4\n");
    let path = b.tmp.path().join("a.log");
    std::fs::copy(&path, b.tmp.path().join("a.log.1")).unwrap();
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(0)
        .unwrap();
    b.append("a.log", "5\n");
    assert_eq!(b.turn(), ["half", "4", "5"]);
    // A copy that is followed itself is not read twice.
    let mut b = Bench::new("*.log", Positions::new(), &[("a.log", "x\n")]);
    b.append("a.log", "1\n");
    assert_eq!(b.turn(), ["1"]);
    std::fs::rename(b.tmp.path().join("a.log"), b.tmp.path().join("a.log.log")).unwrap();
    b.append("a.log.log", "2\n");
    b.append("a.log", "3\n");
    let mut all = b.turn();
    all.sort();
    assert_eq!(all, ["2", "3"]);
}

#[test]
fn directories_made_later_are_found() {
    let tmp = tempfile::tempdir().unwrap();
    std::fs::create_dir(tmp.path().join("old")).unwrap();
    let mut b = Bench::at(tmp, "*/sub/e*.log", Positions::new(), &[]);
    let dir = |b: &Bench, name: &str| {
        std::fs::create_dir_all(b.tmp.path().join(name)).unwrap();
    };
    assert_eq!(b.turn(), [""; 0]);
    dir(&b, "site/sub");
    dir(&b, "site/other");
    b.append("site/sub/e.log", "1\n");
    b.append("site/other/e.log", "no\n");
    b.append("site/sub/x.log", "no\n");
    assert_eq!(b.turn(), ["1"], "from its beginning, at once");
    // Deeper down nothing is told: found within so many calls.
    dir(&b, "old/sub");
    b.append("old/sub/e2.log", "2\n");
    let later: Vec<String> = (0..SEEK_EVERY).flat_map(|_| b.turn()).collect();
    assert_eq!(later, ["2"]);
    b.append("site/sub/e.log", "3\n");
    std::fs::rename(
        b.tmp.path().join("site/sub/e.log"),
        b.tmp.path().join("site/sub/e.log.1"),
    )
    .unwrap();
    b.append("site/sub/e.log", "4\n");
    let mut all = b.turn();
    all.extend(b.turn());
    all.sort();
    assert_eq!(all, ["3", "4"]);
    // Removed and made again.
    std::fs::remove_dir_all(b.tmp.path().join("site")).unwrap();
    b.turn();
    dir(&b, "site/sub");
    b.append("site/sub/e.log", "5\n");
    assert_eq!(b.turn(), ["5"]);
    assert!(b.logs.is_waiting());
}
