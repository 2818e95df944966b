//! Dates of the standards, of the wild, and refused ones.

use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Result<String, BadDate> {
    parse(text.as_bytes()).map(|(date, _)| date.to_string())
}

fn defects(text: &str) -> DateDefects {
    parse(text.as_bytes()).unwrap().1
}

#[test]
fn rfc_5322_examples() {
    for (text, seconds, offset) in [
        ("Fri, 21 Nov 1997 09:55:06 -0600", 880_127_706, -360),
        ("Tue, 1 Jul 2003 10:52:37 +0200", 1_057_049_557, 120),
        ("Thu, 13 Feb 1969 23:32:54 -0330", -27_723_426, -210),
        ("Mon, 24 Nov 1997 14:22:01 -0800", 880_410_121, -480),
        (
            "Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n               -0330 (Newfoundland Time)",
            -27_723_480,
            -210,
        ),
    ] {
        let (date, defects) = parse(text.as_bytes()).unwrap();
        assert_eq!((date.seconds(), date.offset()), (seconds, offset), "{text}");
        assert!(defects.is_empty(), "{text} {defects:?}");
    }
    assert_eq!(
        read("21 Nov 97 09:55:06 GMT").unwrap(),
        "Fri, 21 Nov 1997 09:55:06 +0000"
    );
}

#[test]
fn other_forms() {
    let expected = "Sun, 22 Nov 2026 07:12:30 +0000";
    for text in [
        "Sun Nov 22 07:12:30 2026",
        "Sunday, 22-Nov-26 07:12:30 GMT",
        "2026-11-22T07:12:30Z",
        "2026-11-22 07:12:30 +0000",
        "2026-11-22T07:12:30.123+00:00",
        "Sun, 22 Nov 2026 07:12:30 +0000 (UTC)",
        "Sun, 22 Nov 2026 07:12:30 -0000",
        "22 November 2026 7:12:30 AM UT",
        "Sun,22 Nov 2026 07:12:30 GMT+00:00",
        "Sun, 22 Nov 2026 07:12:30 Z",
    ] {
        assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
    }
    assert_eq!(
        read("22 Nov 2026 12:00:00 am GMT").unwrap(),
        "Sun, 22 Nov 2026 00:00:00 +0000"
    );
    assert_eq!(
        read("22 Nov 2026 16:12:30 JST").unwrap(),
        "Sun, 22 Nov 2026 16:12:30 +0900"
    );
}

#[test]
fn forgiven() {
    assert!(defects("Mon, 22 Nov 2026 07:12:30 +0000").wrong_weekday);
    assert!(defects("22 Nov 126 07:12:30 +0000").short_year);
    assert!(defects("22 Nov 2026 07:12:30").no_zone);
    assert!(defects("22 Nov 2026 07:12:30 XYZ").unknown_zone);
    assert!(defects("22 Nov 2026 07:12:30 +2400").unknown_zone);
    assert!(defects("22 Nov 2026 07:12:30 A").unknown_zone);
    assert!(defects("22 Nov 2026 07:12:30 PST").named_zone);
    assert!(defects("31 Dec 2016 23:59:60 +0000").leap_second);
    assert!(defects("Nov 22 2026 07:12:30 +0000").odd_form);
}

#[test]
fn refused() {
    for (text, why) in [
        ("", BadDate::Empty),
        (" (only a comment) ", BadDate::Empty),
        ("31 Feb 2026 00:00 +0000", BadDate::DayOutOfRange),
        ("29 Feb 2025 00:00 +0000", BadDate::DayOutOfRange),
        ("0 Jan 2026 00:00 +0000", BadDate::DayOutOfRange),
        ("31 Feb 2026 25:61 +0000", BadDate::DayOutOfRange),
        ("1 Feb 2026 25:00 +0000", BadDate::TimeOutOfRange),
        ("1 Feb 2026 00:60 +0000", BadDate::TimeOutOfRange),
        ("1 Feb 2026 00:00:61 +0000", BadDate::TimeOutOfRange),
        ("1 Feb 1899 00:00 +0000", BadDate::YearOutOfRange),
        ("1 Feb 10000 00:00 +0000", BadDate::YearOutOfRange),
        ("1 2026 00:00 +0000", BadDate::NoMonth),
        ("Feb 2026 00:00 +0000", BadDate::NoDay),
        ("1 Feb 00:00 +0000", BadDate::NoYear),
        ("1 Feb 2026", BadDate::NoTime),
        ("1/2/2026 00:00 +0000", BadDate::NoMonth),
        ("1 Feb 2026 00:00 \u{e9}", BadDate::Garbage),
        ("1 Feb 2026 1 00:00", BadDate::Garbage),
    ] {
        assert_eq!(read(text), Err(why), "{text}");
    }
    let sized =
        |n: usize| parse(format!("1 Feb 2026 00:00 +0000{}", " ".repeat(n - 22)).as_bytes()).err();
    assert_eq!(
        (
            sized(DATE_TEXT_MAX - 1),
            sized(DATE_TEXT_MAX),
            sized(DATE_TEXT_MAX + 1)
        ),
        (None, None, Some(BadDate::TooLong))
    );
}

proptest! {
    #[test]
    fn written_dates_are_read_back(seconds in -2_200_000_000i64..250_000_000_000, offset in -OFFSET_MAX..=OFFSET_MAX) {
        let date = Date::new(seconds, offset);
        prop_assert_eq!(parse(&date.to_bytes()), Ok((date, DateDefects::default())));
    }

    #[test]
    fn any_text(text in "[0-9A-Za-z:+,() /.-]{0,50}", octets in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = (parse(text.as_bytes()), parse(&octets));
    }
}
