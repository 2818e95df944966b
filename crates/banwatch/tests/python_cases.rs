//! Compares the matcher with recorded answers of Python's `re`.
//!
//! The cases are made from fail2ban's filters and samples, which are not part of this tree:
//! set `BANWATCH_CASES` to a file of `[[pattern, text, null | {group: value}], ...]`.

use std::collections::HashMap;

use banwatch::pattern::{Machine, Outcome, Pattern};

/// Pattern, text, the groups Python found.
type Case = (String, String, Option<HashMap<String, String>>);

#[test]
fn same_groups_as_python() {
    let Some(path) = std::env::var_os("BANWATCH_CASES") else {
        return;
    };
    let data = std::fs::read(path).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&data).unwrap();
    let mut patterns: HashMap<String, Pattern> = HashMap::new();
    let mut m = Machine::default();
    let mut wrong = 0;
    let total = cases.len();
    for (source, text, want) in cases {
        let p = patterns.entry(source.clone()).or_insert_with(|| {
            Pattern::new(&source, false).unwrap_or_else(|e| panic!("{e}: {source}"))
        });
        let got = match p.search(&text, &mut m) {
            Outcome::Match => Some(
                p.names()
                    .iter()
                    .enumerate()
                    .filter_map(|(i, n)| Some((n.clone()?, m.text(i, &text)?.to_owned())))
                    .collect::<HashMap<_, _>>(),
            ),
            Outcome::NoMatch => None,
            Outcome::GaveUp => panic!("gave up: {source} on {text}"),
        };
        let hit = p.required().is_empty()
            || p.required()
                .iter()
                .any(|l| memchr::memmem::find(text.as_bytes(), l).is_some());
        if got != want || (got.is_some() && !hit) {
            wrong += 1;
            if wrong < 5 {
                eprintln!("{source}\n  {text}\n  ours {got:?}\n  want {want:?}\n  hit {hit}");
            }
        }
    }
    assert_eq!(wrong, 0, "of {total}");
}
