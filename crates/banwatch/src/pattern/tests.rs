use proptest::prelude::*;

use super::*;

fn find(pattern: &str, text: &str) -> Option<Vec<Option<String>>> {
    let p = Pattern::new(pattern, false).unwrap();
    let mut m = Machine::default();
    match p.search(text, &mut m) {
        Outcome::Match => Some(
            (0..p.names().len())
                .map(|g| m.text(g, text).map(str::to_owned))
                .collect(),
        ),
        Outcome::NoMatch => None,
        Outcome::GaveUp => panic!("gave up: {pattern}"),
    }
}

#[track_caller]
fn check(pattern: &str, text: &str, want: &[Option<&str>]) {
    let got = find(pattern, text);
    let want = (!want.is_empty()).then(|| {
        want.iter()
            .map(|x| x.map(str::to_owned))
            .collect::<Vec<_>>()
    });
    assert_eq!(got, want, "{pattern} on {text:?}");
}

/// Answers taken from CPython 3.11's `re.search`.
#[test]
fn as_python() {
    check("a|ab", "ab", &[Some("a")]);
    check("(a+?)(a*)", "aaa", &[Some("aaa"), Some("a"), Some("aa")]);
    check("^a$", "a\n", &[Some("a")]);
    check("^a$", "a\n\n", &[]);
    check(r"a\Z", "a\n", &[]);
    check(
        r"(?P<q>['\x22])(.*?)(?P=q)",
        "x 'a\"b' y",
        &[Some("'a\"b'"), Some("'"), Some("a\"b")],
    );
    check(r"(?:(x)|y)(?(1)A|B)", "yA xB yB", &[Some("yB"), None]);
    check(r"(?:(x)|y)(?(1)A|B)", "xB xA", &[Some("xA"), Some("x")]);
    check(r"(?<=:)\d+", "1:22", &[Some("22")]);
    check(r"(?<!:)\b\d+", ":1 22", &[Some("22")]);
    check(r"x(?!y).", "xy xz", &[Some("xz")]);
    check(r"(?=(a+))a*b\1", "aaab a", &[]);
    check(r"(?=(a+))", "baaabac", &[Some(""), Some("aaa")]);
    check(r"(?>a+)ab", "aaab", &[]);
    check(r"a++b", "aab", &[Some("aab")]);
    check(r"a*+ab", "aab", &[]);
    check(r"(a|b)*", "abx", &[Some("ab"), Some("b")]);
    check(r"(?:a?)*?b", "aab", &[Some("aab")]);
    check(r"(?:a*)*b", "aaac", &[]);
    check(r"(?i)straße", "STRAßE", &[Some("STRAßE")]);
    check(r"(?i:x)y", "Xy XY", &[Some("Xy")]);
    check(r"[]a]+", "x]a]", &[Some("]a]")]);
    check(r"[^]a]+", "]xy]", &[Some("xy")]);
    check(r"[\w.-]+", " a-b.c ", &[Some("a-b.c")]);
    check(r"[[&~]+", "x[&~", &[Some("[&~")]);
    check(r"\<x\>", "a<x>", &[Some("<x>")]);
    check(r"a{,2}b", "aaab", &[Some("aab")]);
    check(r"a{x}", "a{x}", &[Some("a{x}")]);
    check(r"(?:ab){2,3}?", "ababab", &[Some("abab")]);
    check(r"\S+", "\u{a0}é\u{2003}", &[Some("é")]);
    check(r".+", "é\nx", &[Some("é")]);
    check(r"(é{2})", "ééé", &[Some("éé"), Some("éé")]);
    check(r"\x41\u00e9\t", "Aé\t", &[Some("Aé\t")]);
    check("(?x) a b # note\n c", "abc", &[Some("abc")]);
    // A text by which every match begins, found again where it was no match.
    check("(?:ab)(c)", "ab aab abd abc", &[Some("abc"), Some("c")]);
    check("éa+b", "é éaab", &[Some("éaab")]);
    check(r"(a)?b(?(1)c)", "abd bd", &[Some("b"), None]);
}

#[test]
fn what_python_refuses_is_refused() {
    for bad in [
        "(",
        ")",
        "a)",
        "[a",
        "*a",
        "a**",
        r"\q",
        "(?P<a>x)(?P<a>y)",
        "(?P=a)",
        r"\1",
        "(?<=a+)b",
        "(?(1)a)",
        "[z-a]",
        "a{3,2}",
        "(?z)",
        "(?P<1a>x)",
        r"\x4",
        "\\",
    ] {
        assert!(Pattern::new(bad, false).is_err(), "{bad}");
    }
}

#[test]
fn limits() {
    assert!(Pattern::new(&"a".repeat(PATTERN_MAX), false).is_ok());
    assert_eq!(
        Pattern::new(&"a".repeat(PATTERN_MAX + 1), false).err(),
        Some(PatternError::TooLarge)
    );
    let nest = |n: usize| format!("{}a{}", "(".repeat(n), ")".repeat(n));
    assert!(Pattern::new(&nest(DEPTH_MAX - 1), false).is_ok());
    assert!(Pattern::new(&nest(DEPTH_MAX), false).is_err());
    assert!(Pattern::new("a{1000}", false).is_ok());
    assert!(Pattern::new("a{1001}", false).is_err());
    assert!(Pattern::new("(?:(?:(?:ab){100}c){100}d){100}", false).is_err());
}

/// A bomb is answered by the linear engine, exactly.
#[test]
fn bombs_are_answered_in_linear_time() {
    let p = Pattern::new(r"^(a+)+(b?)$", false).unwrap();
    let mut m = Machine::default();
    let text = "a".repeat(5000);
    assert_eq!(p.search(&format!("{text}c"), &mut m), Outcome::NoMatch);
    assert_eq!(p.search(&text, &mut m), Outcome::Match);
    assert_eq!(m.span(2), Some((5000, 5000)));
}

/// One that only backtracking can decide is given up, in bounded time, or decided by the
/// generous pattern.
#[test]
fn bombs_beyond_regex_are_bounded() {
    let p = Pattern::new(r"^(?:(a+)+)+\1(?!x)b$", false).unwrap();
    assert!(!p.is_plain());
    let mut m = Machine::default();
    assert_eq!(p.search(&"a".repeat(3000), &mut m), Outcome::NoMatch);
    assert_eq!(
        p.search(&format!("{}xb", "a".repeat(3000)), &mut m),
        Outcome::GaveUp
    );
}

#[test]
fn the_budget_is_exact() {
    let p = Pattern::new("^(?:ab)*c", false).unwrap();
    let mut m = Machine::default();
    let program = program::compile(&p.node, 1).unwrap();
    let text = format!("{}c", "ab".repeat(50));
    let need = (1..10_000)
        .find(|&n| m.search(&program, &text, 0, n) == Found::Yes)
        .unwrap();
    assert_eq!(m.search(&program, &text, 0, need - 1), Found::Exhausted);
    assert_eq!(m.search(&program, &text, 0, need + 1), Found::Yes);
}

#[test]
fn seen_covers_what_was_read() {
    let p = Pattern::new(r"^(?:\w{3} )?\d\d(?:\.\d+)?(?=\b|\W|$)", false).unwrap();
    let mut m = Machine::default();
    for text in ["12 mx1 sshd", "12.5 mx1", "Nov 12: x", "12"] {
        assert_eq!(p.search(text, &mut m), Outcome::Match);
        let (seen, span) = (m.seen(), m.span(0));
        for tail in ["", "0", "a", " "] {
            if seen < text.len() {
                let other = format!("{}{tail}", &text[..=seen]);
                assert_eq!(p.search(&other, &mut m), Outcome::Match);
                assert_eq!(m.span(0), span, "{text} {other}");
            }
        }
    }
}

fn small_pattern() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just("[ab]".to_owned()),
        Just("[^a]".to_owned()),
        Just(".".to_owned()),
        Just(r"\b".to_owned()),
        Just("é".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|v| v.concat()),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("(?:{a}|{b})")),
            inner.clone().prop_map(|a| format!("({a})")),
            (
                inner.clone(),
                prop::sample::select(vec!["?", "??", "{1,2}", "+?", "+", "{2}"])
            )
                .prop_map(|(a, q)| format!("(?:{a}){q}")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Our matcher and `regex` agree on the match for patterns both understand.
    #[test]
    fn agrees_with_regex(pattern in small_pattern(), text in "[abé \n]{0,12}") {
        let p = Pattern::new(&pattern, false).unwrap();
        prop_assume!(p.is_plain());
        let mut m = Machine::default();
        let ours = p.search(&text, &mut m);
        if ours != Outcome::GaveUp {
            let theirs = p.regex().unwrap().find(&text).map(|x| (x.start(), x.end()));
            prop_assert_eq!((ours == Outcome::Match).then(|| m.span(0)).flatten(), theirs);
        }
    }

    /// A line without any of the required texts never matches.
    #[test]
    fn required_is_required(pattern in "[ab(c|)?*+d]{1,14}", text in "[abcd]{0,10}") {
        if let Ok(p) = Pattern::new(&pattern, false) {
            let mut m = Machine::default();
            if p.search(&text, &mut m) == Outcome::Match && !p.required().is_empty() {
                let hit = p.required().iter().any(|l| {
                    memchr::memmem::find(text.as_bytes(), l).is_some()
                });
                prop_assert!(hit, "{:?} {:?} {:?}", pattern, text, p.required());
            }
        }
    }

    /// Any text as a pattern, any text as a line: an answer, never a panic.
    #[test]
    fn anything_goes(pattern in r"[ab.*+?()\[\]^$\\|{},0-9<>=!:P\-é]{0,30}", text in "\\PC{0,30}") {
        if let Ok(p) = Pattern::new(&pattern, false) {
            let mut m = Machine::default();
            let _ = p.search_within(&text, 0, 2_000, 2_000, &mut m);
            if let Some(r) = p.regex() {
                let _ = r.is_match(&text);
            }
        }
    }
}
