//! `<name>` in values: replaced by other options until nothing changes.

use std::collections::{BTreeSet, HashMap};

use super::ini::Section;
use super::store::{ConfError, VALUE_MAX};

/// How often one name may be put into one value.
pub const REPLACE_MAX: u32 = 25;
/// Most rounds over all options.
const ROUNDS_MAX: usize = 100;

/// Next `<name>` at or after `from`: start, end, name.
fn next_tag(value: &str, from: usize) -> Option<(usize, usize, &str)> {
    let bytes = value.as_bytes();
    let mut at = from;
    loop {
        let open = at + memchr::memchr(b'<', bytes.get(at..)?)?;
        let len = memchr::memchr3(b'<', b'>', b' ', bytes.get(open + 1..)?)?;
        let end = open + 1 + len;
        if len > 0 && bytes.get(end) == Some(&b'>') {
            return Some((open, end + 1, value.get(open + 1..end)?));
        }
        at = if bytes.get(end) == Some(&b'<') {
            end
        } else {
            end + 1
        };
    }
}

/// Replaces `<name>` in every value by the option of that name, or by what `more` knows.
/// Names nobody knows stay. With `family`, `name?family=FAMILY` goes before `name`; without,
/// options that have such variants are left for later.
///
/// # Errors
/// [`ConfError::Endless`] for a name that leads to itself; whatever `more` gives.
pub fn substitute(
    options: &Section,
    family: Option<&str>,
    more: &mut dyn FnMut(&str) -> Result<Option<String>, ConfError>,
) -> Result<Section, ConfError> {
    let ignore: BTreeSet<String> = if family.is_some() {
        BTreeSet::new()
    } else {
        options
            .keys()
            .filter_map(|k| k.split_once('?'))
            .map(|(n, _)| n.to_owned())
            .collect()
    };
    let mut tags = options.clone();
    let names: Vec<String> = options.keys().cloned().collect();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut counts: HashMap<&str, HashMap<String, u32>> = HashMap::new();
    for _ in 0..ROUNDS_MAX {
        let mut again = false;
        for tag in &names {
            if ignore.contains(tag) || done.contains(tag.as_str()) {
                continue;
            }
            let Some(mut value) = tags.get(tag).cloned() else {
                continue;
            };
            let mut changed = false;
            let count = counts.entry(tag).or_default();
            let mut from = 0;
            while let Some((start, end, name)) = next_tag(&value, from) {
                if ignore.contains(name) {
                    from = end;
                    continue;
                }
                let n = count.get(name).copied().unwrap_or(1);
                if name == tag || n > REPLACE_MAX || value.len() > VALUE_MAX {
                    return Err(ConfError::Endless(tag.clone()));
                }
                let conditional = family.and_then(|f| tags.get(&format!("{name}?family={f}")));
                let found = match conditional.or_else(|| tags.get(name)) {
                    Some(v) => Some(v.clone()),
                    None => more(name)?,
                };
                let Some(found) = found else {
                    from = end;
                    continue;
                };
                count.insert(name.to_owned(), n + 1);
                value = value.replace(&format!("<{name}>"), &found);
                changed = true;
                from = start;
            }
            if value.len() > VALUE_MAX {
                return Err(ConfError::Endless(tag.clone()));
            }
            let holds_more = value.contains('<');
            if changed {
                again |= next_tag(&value, 0).is_some();
                tags.insert(tag.clone(), value);
            }
            if !holds_more {
                done.insert(tag);
            }
        }
        if !again {
            return Ok(tags);
        }
    }
    Err(ConfError::Endless("<name>".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(list: &[(&str, &str)], family: Option<&str>) -> Result<Section, ConfError> {
        let s = list
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect();
        substitute(&s, family, &mut |n| {
            Ok((n == "extra").then(|| "E".to_owned()))
        })
    }

    #[test]
    fn replaced_until_nothing_changes() {
        let s = run(
            &[
                ("failregex", "^<pre> <HOST> <mdre-<mode>> <extra>"),
                ("pre", "<a>b"),
                ("a", "A"),
                ("mode", "x"),
                ("mdre-x", "X<a>"),
            ],
            None,
        )
        .unwrap();
        assert_eq!(s["failregex"], "^Ab <HOST> XA E");
    }

    #[test]
    fn families() {
        let list = [("ban", "set <t>"), ("t", "four"), ("t?family=inet6", "six")];
        assert_eq!(run(&list, Some("inet6")).unwrap()["ban"], "set six");
        assert_eq!(run(&list, Some("inet4")).unwrap()["ban"], "set four");
        assert_eq!(run(&list, None).unwrap()["ban"], "set <t>");
    }

    #[test]
    fn circles_are_found() {
        assert!(run(&[("a", "<a>")], None).is_err());
        assert!(run(&[("a", "<b>"), ("b", "<c>"), ("c", "<b>x")], None).is_err());
        assert!(run(&[("a", "<b><b>"), ("b", "<c><c>"), ("c", "c")], None).is_ok());
    }
}
