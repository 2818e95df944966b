//! What a jail with actions of its own keeps of those who fail in it, to tell the actions:
//! lines, how many, and what the filter's groups matched.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;

use crate::act::values::{Values, Who};

/// Octets of lines kept for one jail; those of who failed first go first.
pub const OCTETS_MAX: usize = 1 << 20;
/// Longest line kept, in octets.
pub const LINE_MAX: usize = 1_000;
/// Lines kept of one who fails, if the jail's `maxmatches` says no less.
pub const LINES_MAX: usize = 50;

/// Of one who failed.
#[derive(Clone, Debug, Default)]
struct One {
    lines: VecDeque<Box<str>>,
    /// Of these, so many came since the last ban.
    fresh: usize,
    failures: u32,
    all: u32,
    groups: BTreeMap<String, String>,
    address: Option<IpAddr>,
    octets: usize,
}

/// All of one jail.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    all: HashMap<Who, One>,
    order: VecDeque<Who>,
    octets: usize,
    lines_max: usize,
}

/// What one is charged in memory besides its lines.
const OVERHEAD: usize = 200;

impl Kept {
    /// Keeps so many lines of each (`maxmatches`).
    #[must_use]
    pub fn new(maxmatches: u32) -> Kept {
        Kept {
            lines_max: usize::try_from(maxmatches)
                .unwrap_or(LINES_MAX)
                .min(LINES_MAX),
            ..Kept::default()
        }
    }

    /// Who failed with this line.
    pub fn failed(
        &mut self,
        who: &Who,
        line: &str,
        address: Option<IpAddr>,
        groups: BTreeMap<String, String>,
    ) {
        if !self.all.contains_key(who) {
            self.order.push_back(who.clone());
            self.octets += OVERHEAD;
        }
        let one = self.all.entry(who.clone()).or_default();
        one.failures = one.failures.saturating_add(1);
        one.all = one.all.saturating_add(1);
        one.groups = groups;
        one.address = address;
        if self.lines_max > 0 {
            let mut text = line.to_owned();
            crate::act::values::cut(&mut text, LINE_MAX);
            one.octets += text.len();
            self.octets += text.len();
            one.lines.push_back(text.into());
            one.fresh += 1;
            while one.lines.len() > self.lines_max {
                if let Some(l) = one.lines.pop_front() {
                    one.octets -= l.len();
                    self.octets -= l.len();
                }
            }
            one.fresh = one.fresh.min(one.lines.len());
        }
        while self.octets > OCTETS_MAX {
            let Some(first) = self.order.pop_front() else {
                break;
            };
            if let Some(one) = self.all.remove(&first) {
                self.octets = self.octets.saturating_sub(one.octets + OVERHEAD);
            }
        }
    }

    /// Fills in what is known of who is banned.
    pub fn fill(&self, v: &mut Values) {
        let Some(one) = self.all.get(&v.who) else {
            return;
        };
        v.failures = [one.failures, 0, one.all];
        let old = one.lines.len() - one.fresh;
        v.lines[0] = join(one.lines.iter().skip(old));
        v.lines[2] = join(one.lines.iter());
        v.groups.clone_from(&one.groups);
        v.address = one.address;
    }

    /// The lines and failures kept of one, for what other jails add.
    #[must_use]
    pub fn of(&self, who: &Who) -> Option<(String, u32)> {
        let one = self.all.get(who)?;
        Some((join(one.lines.iter()), one.all))
    }

    /// A new count begins: it was banned.
    pub fn banned(&mut self, who: &Who) {
        if let Some(one) = self.all.get_mut(who) {
            one.failures = 0;
            one.fresh = 0;
        }
    }
}

fn join<'a>(lines: impl Iterator<Item = &'a Box<str>>) -> String {
    let all: Vec<&str> = lines.map(|l| &**l).collect();
    all.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(n: u32) -> Who {
        Who::Id(n.to_string().into())
    }

    #[test]
    fn lines_since_the_last_ban_and_before() {
        let mut k = Kept::new(3);
        for n in 1..=4 {
            k.failed(&who(1), &format!("line {n}"), None, BTreeMap::new());
        }
        let mut v = Values::of(who(1), 0, 1);
        k.fill(&mut v);
        assert_eq!(v.failures, [4, 0, 4]);
        assert_eq!(v.lines[0], "line 2\nline 3\nline 4");
        k.banned(&who(1));
        let groups = BTreeMap::from([("user".to_owned(), "x".to_owned())]);
        k.failed(&who(1), "line 5", Some([1, 2, 3, 4].into()), groups);
        k.fill(&mut v);
        assert_eq!((v.failures, v.lines[0].as_str()), ([1, 0, 5], "line 5"));
        assert_eq!(v.lines[2], "line 3\nline 4\nline 5");
        assert_eq!(v.groups["user"], "x");
        assert_eq!(k.of(&who(1)).unwrap().1, 5);
        assert!(k.of(&who(2)).is_none());
    }

    #[test]
    fn memory_is_bounded() {
        let mut k = Kept::new(u32::MAX);
        for n in 0..200_000 {
            k.failed(
                &who(n % 50_000),
                &"x".repeat(LINE_MAX + 1),
                None,
                BTreeMap::new(),
            );
            assert!(k.octets <= OCTETS_MAX);
        }
        let real: usize = k
            .all
            .values()
            .map(|o| o.lines.iter().map(|l| l.len()).sum::<usize>())
            .sum();
        assert_eq!(k.octets, real + k.all.len() * OVERHEAD);
        assert!(k.all.len() < 2_000 && k.order.len() == k.all.len());
        let mut k = Kept::new(u32::MAX);
        for n in 0..LINES_MAX + 1 {
            k.failed(&who(1), &n.to_string(), None, BTreeMap::new());
        }
        assert_eq!(k.of(&who(1)).unwrap().0.lines().count(), LINES_MAX);
        let mut none = Kept::new(0);
        none.failed(&who(1), "x", None, BTreeMap::new());
        assert_eq!(none.of(&who(1)).unwrap(), (String::new(), 1));
    }
}
