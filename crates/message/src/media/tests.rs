//! Types and parameters of the standards and of the wild.

use super::*;
use crate::build;
use proptest::prelude::*;

fn get(value: &str, name: &str) -> Option<String> {
    MediaType::read(value.as_bytes())?
        .param(name)
        .map(Cow::into_owned)
}

#[test]
fn types_and_plain_parameters() {
    let mime =
        MediaType::read(b" Text / HTML (x) ; Charset=\"utf-8\"\r\n\t;format=flowed").unwrap();
    assert!(mime.is("text", "html") && mime.is("TEXT", "*"));
    assert_eq!(mime.param("CHARSET").as_deref(), Some("utf-8"));
    assert_eq!(mime.param("format").as_deref(), Some("flowed"));
    for (value, name, expected) in [
        (
            "text/plain; charset=us-ascii (Plain text)",
            "charset",
            Some("us-ascii"),
        ),
        (
            "multipart/mixed; boundary=\"a\\\"b\"",
            "boundary",
            Some("a\"b"),
        ),
        (
            "multipart/mixed; boundary=a/b=c?d",
            "boundary",
            Some("a/b=c?d"),
        ),
        (
            "a/b; name=two words.txt; x=y",
            "name",
            Some("two words.txt"),
        ),
        ("a/b;;; x ; =z; y=1", "y", Some("1")),
        ("a/b; name=\"open", "name", Some("open")),
        ("a/b; name==?utf-8?B?6aOb6ISa?=", "name", Some("飛脚")),
        ("a/b", "name", None),
        ("a/b; charset", "charset", None),
    ] {
        assert_eq!(get(value, name).as_deref(), expected, "{value}");
    }
    for bad in ["", "text", "/plain", "text/", ";"] {
        assert_eq!(MediaType::read(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn rfc_2231() {
    for (value, expected) in [
        (
            "message/external-body; URL*0=\"ftp://\"; URL*1=\"cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar\"",
            "ftp://cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar",
        ),
        (
            "a/b; url*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A",
            "This is ***fun***",
        ),
        (
            "a/b; url*0*=us-ascii'en'This%20is%20even%20more%20; url*1*=%2A%2A%2Afun%2A%2A%2A%20; url*2=\"isn't it!\"",
            "This is even more ***fun*** isn't it!",
        ),
        ("a/b; url*1=b; url*0=a", "ab"),
        ("a/b; url=old; url*=utf-8''%E9%A3%9B", "飛"),
        ("a/b; url*0*=iso-2022-jp''%1B$BHt; url*1*=5S%1B(B", "飛脚"),
        ("a/b; url*=%zz", "%zz"),
    ] {
        assert_eq!(get(value, "url").as_deref(), Some(expected), "{value}");
    }
    let all = MediaType::read(b"a/b; X=1; y*0=2; Y*1=3; z=4")
        .unwrap()
        .params
        .all();
    let all: Vec<(&str, &str)> = all.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(all, [("x", "1"), ("y", "23"), ("z", "4")]);
}

#[test]
fn limit() {
    let count = |n: usize| Params::new(";a=b".repeat(n).as_bytes()).raw().count();
    assert_eq!(
        (
            count(PARAMS_MAX - 1),
            count(PARAMS_MAX),
            count(PARAMS_MAX + 1)
        ),
        (PARAMS_MAX - 1, PARAMS_MAX, PARAMS_MAX)
    );
}

proptest! {
    #[test]
    fn what_we_write_we_read(value in "\\PC{0,120}") {
        let value = value.replace(['\u{2028}', '\u{2029}'], "");
        let mut fields = build::Fields::new();
        fields.field(build::FieldName::CONTENT_TYPE).words("a/b").param("name", &value).param("z", "1");
        let body = fields.as_bytes().strip_prefix(b"Content-Type:").unwrap();
        let read = MediaType::read(body).unwrap();
        let expected = if value.contains("=?") && value.is_ascii() { words::decode(value.as_bytes()).into_owned() } else { value };
        prop_assert_eq!(read.param("name").map(Cow::into_owned), Some(expected));
        prop_assert_eq!(read.param("z").map(Cow::into_owned), Some("1".to_owned()));
    }

    #[test]
    fn any_octets(value in proptest::collection::vec(any::<u8>(), 0..120)) {
        if let Some(read) = MediaType::read(&value) {
            let _ = read.params.all();
        }
    }
}
