use proptest::prelude::*;

use super::*;

/// 14 August 2005, 12:00 in central Europe.
const NOW: i64 = 1_124_013_600;
const RULE: &str = "CET-1CEST,M3.5.0,M10.5.0";

fn find(pattern: Option<&str>, line: &str) -> Option<(String, Option<f64>)> {
    let mut d = Detector::new(pattern, None, 2026).unwrap();
    let mut zone = Zone::posix(RULE).unwrap();
    let x = d.find(line, NOW, &mut zone, &mut Machine::default())?;
    Some((line[x.start..x.end].to_owned(), x.time))
}

#[track_caller]
fn check(pattern: Option<&str>, line: &str, date: &str, back: i64) {
    assert_eq!(
        find(pattern, line),
        Some((date.to_owned(), Some((NOW - back) as f64))),
        "{line}"
    );
}

#[test]
fn usual_formats() {
    for (line, date) in [
        ("Aug 14 11:59:59 mx sshd", "Aug 14 11:59:59"),
        (
            "Sun Aug 14 11:59:59.123 2005 x",
            "Sun Aug 14 11:59:59.123 2005",
        ),
        ("2005-08-14 11:59:59,123 x", "2005-08-14 11:59:59,123"),
        ("2005-08-14T09:59:59Z x", "2005-08-14T09:59:59Z"),
        (
            "2005-08-14T11:59:59.5+02:00 x",
            "2005-08-14T11:59:59.5+02:00",
        ),
        (
            "[14/Aug/2005:11:59:59 +0200] x",
            "14/Aug/2005:11:59:59 +0200",
        ),
        (
            "1.2.3.4 - - [14/Aug/2005:11:59:59 +0200] x",
            "14/Aug/2005:11:59:59 +0200",
        ),
        ("14/08/2005 11:59:59 x", "14/08/2005 11:59:59"),
        ("08/14/2005:11:59:59 x", "08/14/2005:11:59:59"),
        ("1124013599 x", "1124013599"),
        ("[1124013599] x", "1124013599"),
        ("11:59:59 x", "11:59:59"),
        ("<08/14/05@11:59:59> x", "<08/14/05@11:59:59>"),
        ("050814 11:59:59 x", "050814 11:59:59"),
        ("Aug 14, 2005 11:59:59 AM x", "Aug 14, 2005 11:59:59 AM"),
        ("Aug-14-05 11:59:59 x", "Aug-14-05 11:59:59"),
        ("20050814T115959 x", "20050814T115959"),
        ("CEST Aug 14 11:59:59 x", "CEST Aug 14 11:59:59"),
        ("@4000000042ff161f00000000 x", "@4000000042ff161f00000000"),
    ] {
        check(None, line, date, 1);
    }
}

#[test]
fn fractions_of_epoch_count() {
    let got = find(None, "audit(1124013599.123:45) x");
    assert_eq!(
        got,
        Some(("1124013599.123".to_owned(), Some(1_124_013_599.123)))
    );
}

#[test]
fn patterns_of_filters() {
    check(Some("{^LN-BEG}"), "Aug 14 11:59:59 x", "Aug 14 11:59:59", 1);
    assert_eq!(find(Some("{^LN-BEG}"), "the x Aug 14 11:59:59 x"), None);
    check(
        Some("^[^\\[]*\\[({DATE})\nx"),
        "a b [14/Aug/2005:11:59:59 +0200] z",
        "14/Aug/2005:11:59:59 +0200",
        1,
    );
    check(
        Some("^{DATE}"),
        "2005-08-14 11:59:59 x",
        "2005-08-14 11:59:59",
        1,
    );
    check(
        Some("{^LN-BEG}%b %d %Y %H:%M:%S"),
        "Aug 14 2005 11:59:59 x",
        "Aug 14 2005 11:59:59",
        1,
    );
    check(Some(r"^ts={EPOCH} "), "ts=1124013599 x", "ts=1124013599", 1);
    check(
        Some("{^LN-BEG}LEPOCH"),
        "1124013599000 x",
        "1124013599000",
        1,
    );
    check(
        Some("%d.%m.%y %I:%M:%S%p"),
        "14.08.05 11:59:59am x",
        "14.08.05 11:59:59am",
        1,
    );
    check(
        Some("%Y %j %H:%M:%S"),
        "2005 226 11:59:59 x",
        "2005 226 11:59:59",
        1,
    );
    assert_eq!(find(Some("{NONE}"), "x"), Some((String::new(), None)));
    for bad in ["%Q", "(", "%Y%Y"] {
        assert!(Detector::new(Some(bad), None, 2026).is_err(), "{bad}");
    }
}

#[test]
fn the_year_that_is_not_written() {
    // up to a day ahead is a matter of time zones, more is last year
    check(None, "Aug 15 11:59:59 x", "Aug 15 11:59:59", -86_399);
    check(
        None,
        "Aug 15 12:00:01 x",
        "Aug 15 12:00:01",
        364 * 86_400 - 1,
    );
    check(
        None,
        "Dec 31 12:00:00 x",
        "Dec 31 12:00:00",
        (226 * 86_400) - 3600,
    );
    check(None, "12:00:01 x", "12:00:01", 86_399);
    // 29 February 2004, in a year without one
    assert_eq!(
        find(None, "Feb 29 12:00:00 x").unwrap().1,
        Some(1_078_052_400.0)
    );
}

#[test]
fn no_such_time() {
    assert_eq!(find(None, "Feb 31 12:00:00 x").unwrap().1, None);
    assert_eq!(find(None, "2005-02-30 12:00:00 x").unwrap().1, None);
    assert_eq!(find(None, "nothing here"), None);
}

#[test]
fn a_log_keeps_its_format() {
    let mut d = Detector::new(None, None, 2026).unwrap();
    let mut zone = Zone::posix(RULE).unwrap();
    let mut m = Machine::default();
    for i in 0..50 {
        let line = format!("Aug 14 11:59:{:02} mx sshd[1]: at 2004-01-01 00:00:00", i);
        let x = d.find(&line, NOW, &mut zone, &mut m).unwrap();
        assert_eq!((x.start, x.end), (0, 15));
        assert_eq!(x.time, Some((NOW - 60 + i) as f64));
    }
}

#[test]
fn lines_of_one_second_share_the_answer() {
    let mut d = Detector::new(Some("{^LN-BEG}"), None, 2026).unwrap();
    let mut zone = Zone::posix(RULE).unwrap();
    let mut m = Machine::default();
    let first = d
        .find("Aug 14 11:59:59 mx a", NOW, &mut zone, &mut m)
        .unwrap();
    assert!(d.last.dated.is_some());
    assert_eq!(
        d.find("Aug 14 11:59:59 mx b", NOW, &mut zone, &mut m),
        Some(first)
    );
    // the same octets with more of a date behind them are another date
    let other = d
        .find("Aug 14 11:59:59 2004 mx b", NOW, &mut zone, &mut m)
        .unwrap();
    assert_eq!(other.end, 20);
    let other = d
        .find("Aug 14 11:59:59.25 mx b", NOW, &mut zone, &mut m)
        .unwrap();
    assert_eq!(other.end, 18);
}

#[test]
fn limits() {
    let list = |n: usize| {
        (0..n)
            .map(|i| format!("x{i} %H"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert!(Detector::new(Some(&list(PATTERNS_MAX)), None, 2026).is_ok());
    assert!(Detector::new(Some(&list(PATTERNS_MAX + 1)), None, 2026).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Any line: an answer with sound bounds; asked again the same.
    #[test]
    fn any_line(line in "([A-Za-z]{3} )?[0-9:/@\\[\\] ,.TZ+-]{0,24}\\PC{0,10}") {
        let mut d = Detector::new(None, None, 2026).unwrap();
        let mut zone = Zone::posix(RULE).unwrap();
        let mut m = Machine::default();
        if let Some(x) = d.find(&line, NOW, &mut zone, &mut m) {
            prop_assert!(line.get(x.start..x.end).is_some());
        }
        let _ = d.find(&line, NOW, &mut zone, &mut m);
    }

    #[test]
    fn any_pattern(pattern in "(%[A-Za-z]|[a-z{}()^$*|\\[\\] ]|Ex|\\{DATE\\}|\\{\\^LN-BEG\\}){0,10}") {
        let _ = Detector::new(Some(&pattern), None, 2026);
    }
}
