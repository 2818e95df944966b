//! The scanner against known structures, against itself with the input cut, and at its limits.

use proptest::prelude::*;

use super::*;

/// The tree in one line: type or kind, body in quotes, line count, defects.
fn tree(message: &str) -> String {
    let structure = Scanner::scan(message.as_bytes());
    fn one(structure: &Structure, index: u32, message: &str, out: &mut String) {
        let part = &structure.parts()[index as usize];
        for defect in part.defects.iter() {
            out.push_str(&format!("!{defect:?} "));
        }
        match part.kind {
            Kind::Leaf => {
                out.push_str(&format!("{:?}/{}", &message[part.body.clone()], part.lines))
            }
            kind => {
                out.push_str(if kind == Kind::Multipart { "M(" } else { "R(" });
                for (place, (child, _)) in structure.children(index).enumerate() {
                    if place > 0 {
                        out.push_str(", ");
                    }
                    one(structure, child, message, out);
                }
                out.push(')');
            }
        }
    }
    let mut out = String::new();
    one(&structure, 0, message, &mut out);
    out
}

#[test]
fn simple_messages() {
    assert_eq!(tree("A: b\r\n\r\nbody\r\nmore"), "\"body\\r\\nmore\"/1");
    assert_eq!(tree("A: b\n\n"), "\"\"/0");
    assert_eq!(tree("A: b"), "!NoEmptyLine \"\"/0");
    assert_eq!(tree(""), "!NoEmptyLine \"\"/0");
    assert_eq!(tree("\r\nbody"), "\"body\"/0");
    assert_eq!(tree("From x y\nA: b\n\nz\n"), "!NotAField \"z\\n\"/1");
    let structure =
        Scanner::scan(b"A: b\r\nContent-Type: text/html;\r\n charset=x\r\nB: c\r\n\r\nx");
    let part = structure.root().unwrap();
    assert_eq!(
        (part.header_lines, part.header.clone(), part.body.clone()),
        (5, 0..52, 52..53)
    );
    assert!(
        part.media_type(b"A: b\r\nContent-Type: text/html;\r\n charset=x\r\nB: c\r\n\r\nx")
            .is("text", "html")
    );
}

#[test]
fn multiparts() {
    let m = |body: &str| {
        tree(&format!(
            "Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n{body}"
        ))
    };
    assert_eq!(
        m("pre\r\n--b\r\n\r\none\r\n--b\r\nX: y\r\n\r\ntwo\r\n\r\n--b--\r\nepilogue"),
        "M(\"one\"/0, \"two\\r\\n\"/1)"
    );
    assert_eq!(m("--b\n\none\n--b--"), "M(\"one\"/0)");
    // The line end before the delimiter belongs to it, also when nothing else is there.
    assert_eq!(m("--b\r\n\r\n--b--\r\n"), "M(\"\"/0)");
    assert_eq!(m("--b\r\n\r\n\r\n--b--\r\n"), "M(\"\"/0)");
    assert_eq!(m("--b\r\n--b--\r\n"), "M(!NoEmptyLine \"\"/0)");
    assert_eq!(
        m("--b\r\nX: y\r\n--b\r\n\r\nz"),
        "!Unclosed M(!NoEmptyLine \"\"/0, \"z\"/0)"
    );
    assert_eq!(m("--b"), "!Unclosed M(!NoEmptyLine \"\"/0)");
    assert_eq!(m("nothing"), "!NoParts M()");
    // Padding, and lines that only begin like a delimiter.
    assert_eq!(
        m("--b \t\r\n\r\n--bb\r\n --b\r\n--b--x\r\n--b-- \r\n"),
        "M(\"--bb\\r\\n --b\\r\\n--b--x\"/2)"
    );
    // After the final delimiter the boundary means nothing.
    assert_eq!(m("--b\r\n\r\nx\r\n--b--\r\n--b\r\n\r\ny\r\n"), "M(\"x\"/0)");
}

#[test]
fn boundary_traps() {
    // An inner boundary that begins with the outer one.
    let inner = "--o\r\nContent-Type: multipart/alternative; boundary=oi\r\n\r\n--oi\r\n\r\na\r\n--oi\r\n\r\nb\r\n--oi--\r\n";
    let head = "Content-Type: multipart/mixed; boundary=o\r\n\r\n";
    assert_eq!(
        tree(&format!("{head}{inner}--o\r\n\r\nc\r\n--o--\r\n")),
        "M(M(\"a\"/0, \"b\"/0), \"c\"/0)"
    );
    // An inner multipart left open.
    let open = "--o\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n--i\r\n\r\na\r\n";
    assert_eq!(
        tree(&format!("{head}{open}--o\r\n\r\nc\r\n--o--\r\n")),
        "M(!Unclosed M(\"a\"/0), \"c\"/0)"
    );
    // The same boundary on both levels: the inner one is open, so it wins.
    let same =
        "--o\r\nContent-Type: multipart/alternative; boundary=o\r\n\r\n--o\r\n\r\na\r\n--o--\r\n";
    assert_eq!(tree(&format!("{head}{same}--o--\r\n")), "M(M(\"a\"/0))");
    // Boundaries quoted, escaped, in RFC 2231 pieces, with trailing space.
    for boundary in [
        "\"a b\"",
        "\"a\\ b\"",
        "\"a b \"",
        "a*; boundary*0=\"a \"; boundary*1=b",
    ] {
        let text = format!(
            "Content-Type: multipart/mixed; boundary={boundary}\r\n\r\n--a b\r\n\r\nx\r\n--a b--"
        );
        assert_eq!(tree(&text), "M(\"x\"/0)", "{boundary}");
    }
    assert_eq!(
        tree("Content-Type: multipart/mixed\r\n\r\n--b\r\n"),
        "!NoBoundary \"--b\\r\\n\"/1"
    );
}

#[test]
fn embedded_messages() {
    assert_eq!(
        tree("Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nbody\r\n"),
        "R(\"body\\r\\n\"/1)"
    );
    assert_eq!(
        tree("Content-Type: message/rfc822\r\n\r\nSubject: in"),
        "R(!NoEmptyLine \"\"/0)"
    );
    assert_eq!(
        tree("Content-Type: message/rfc822"),
        "!NoEmptyLine R(!NoEmptyLine \"\"/0)"
    );
    assert_eq!(
        tree("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ=="),
        "!EncodedContainer \"YQ==\"/0"
    );
    let digest = "Content-Type: multipart/digest; boundary=d\r\n\r\n--d\r\n\r\nSubject: a\r\n\r\none\r\n\
                  --d\r\nContent-Type: text/plain\r\n\r\ntwo\r\n--d--\r\n";
    assert_eq!(tree(digest), "M(R(\"one\"/0), \"two\"/0)");
    // A multipart inside a message inside a multipart.
    let deep = "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: message/rfc822\n\n\
                Content-Type: multipart/mixed; boundary=i\n\n--i\n\nx\n--i--\n--o\n\ny\n--o--\n";
    assert_eq!(tree(deep), "M(R(M(\"x\"/0)), \"y\"/0)");
    let structure = Scanner::scan(deep.as_bytes());
    let body = |numbers: &[u32]| {
        structure
            .section(numbers)
            .map(|at| &deep[structure.parts()[at as usize].body.clone()])
    };
    assert_eq!(body(&[1, 1]), Some("x"));
    assert_eq!(body(&[2]), Some("y"));
    assert_eq!(structure.section(&[1]), Some(1));
    assert_eq!(structure.section(&[]), Some(0));
    for missing in [&[0][..], &[3], &[2, 1], &[1, 2], &[1, 1, 1]] {
        assert_eq!(structure.section(missing), None, "{missing:?}");
    }
    let plain = Scanner::scan(b"A: b\n\nx");
    assert_eq!(
        (
            plain.section(&[1]),
            plain.section(&[2]),
            plain.section(&[1, 1])
        ),
        (Some(0), None, None)
    );
}

#[test]
fn repeated_and_bad_fields() {
    assert_eq!(
        tree(
            "Content-Type: text/plain\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        ),
        "!Repeated \"--b\\r\\n\"/1"
    );
    assert_eq!(
        tree("Content-Type: nonsense\r\n\r\n"),
        "!BadContentType \"\"/0"
    );
    assert_eq!(
        tree("content-transfer-encoding : x-uue\r\n\r\n"),
        "!UnknownEncoding \"\"/0"
    );
    assert_eq!(
        tree("Content-Type : multipart/mixed;\r\n\tboundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--"),
        "M(\"x\"/0)"
    );
}

fn nested(depth: usize) -> String {
    let mut text = String::new();
    for level in 0..depth {
        text.push_str(&format!(
            "Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"
        ));
    }
    text.push_str("\r\nx");
    text
}

#[test]
fn depth_limit() {
    let deepest = |n: usize| {
        let structure = Scanner::scan(nested(n).as_bytes());
        let last = structure.parts().last().unwrap().clone();
        (
            structure.parts().len(),
            last.kind == Kind::Leaf,
            last.defects.has(Defect::TooDeep),
        )
    };
    assert_eq!(deepest(DEPTH_MAX - 1), (DEPTH_MAX, true, false));
    assert_eq!(deepest(DEPTH_MAX), (DEPTH_MAX + 1, true, false));
    assert_eq!(deepest(DEPTH_MAX + 1), (DEPTH_MAX + 1, true, true));
    assert_eq!(deepest(DEPTH_MAX * 40), (DEPTH_MAX + 1, true, true));
    let messages = "Content-Type: message/rfc822\r\n\r\n".repeat(100_000);
    assert_eq!(
        Scanner::scan(messages.as_bytes()).parts().len(),
        DEPTH_MAX + 1
    );
}

#[test]
fn parts_limit() {
    let with = |n: usize| {
        let text = format!(
            "Content-Type: multipart/mixed; boundary=b\n\n{}--b--\n",
            "--b\n\nx\n".repeat(n)
        );
        let structure = Scanner::scan(text.as_bytes());
        let last = structure.parts().last().unwrap();
        (
            structure.parts().len(),
            last.defects.has(Defect::TooManyParts),
            last.body.len() > 1,
        )
    };
    assert_eq!(with(PARTS_MAX - 2), (PARTS_MAX - 1, false, false));
    assert_eq!(with(PARTS_MAX - 1), (PARTS_MAX, false, false));
    assert_eq!(with(PARTS_MAX), (PARTS_MAX, true, true));
    assert_eq!(with(PARTS_MAX * 3), (PARTS_MAX, true, true));
}

#[test]
fn boundary_and_field_limits() {
    let with = |n: usize, pad: usize| {
        let boundary = "x".repeat(n);
        let text = format!(
            "Content-Type: multipart/mixed; boundary={boundary}\n\n--{boundary}{}\n\ny\n",
            " ".repeat(pad)
        );
        Scanner::scan(text.as_bytes()).parts().len()
    };
    assert_eq!(
        [
            with(BOUNDARY_MAX - 1, 0),
            with(BOUNDARY_MAX, 0),
            with(BOUNDARY_MAX + 1, 0)
        ],
        [2, 2, 1]
    );
    let pad = DELIMITER_MAX - 2 - 10;
    assert_eq!(
        [with(10, pad - 1), with(10, pad), with(10, pad + 1)],
        [2, 2, 1]
    );
    let with = |n: usize| {
        let head = "Content-Type:";
        let value = format!("multipart/mixed; x=\"{}\"; boundary=b", "y".repeat(n - 33));
        assert_eq!(value.len(), n);
        Scanner::scan(format!("{head}{value}\n\n--b\n\ny\n").as_bytes())
            .parts()
            .len()
    };
    assert_eq!([with(FIELD_KEEP_MAX - 1), with(FIELD_KEEP_MAX)], [2, 2]);
    assert_eq!(with(FIELD_KEEP_MAX + 1), 1);
}

fn in_blocks(text: &[u8], size: usize) -> Structure {
    let mut scanner = Scanner::new();
    for block in text.chunks(size) {
        scanner.feed(block);
    }
    scanner.finish()
}

#[test]
fn long_lines_in_any_blocks() {
    for n in [
        DELIMITER_MAX - 10,
        DELIMITER_MAX - 3,
        DELIMITER_MAX,
        DELIMITER_MAX + 3,
        FIELD_KEEP_MAX - 30,
        FIELD_KEEP_MAX + 5,
        FIELD_KEEP_MAX * 2 + 9,
    ] {
        let x = "x".repeat(n);
        let text = format!(
            "{x}: y\nContent-Type: multipart/mixed; boundary=b; x={x}\r\n\r\n--{x}\r\n--b{}\r\n{x}\r\nContent-Type: a/b\r\n \r\n--b--\n",
            " ".repeat(n)
        );
        let whole = Scanner::scan(text.as_bytes());
        for size in [1, 7, 64, 263, 267, 268, 269, 4_096, 16_384, 40_000] {
            assert_eq!(in_blocks(text.as_bytes(), size), whole, "{n} {size}");
        }
    }
}

/// Pieces that mean something to the scanner, so that random joins meet its corners.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("Content-Type: multipart/mixed; boundary=b\r\n"),
        Just("Content-Type: multipart/digest;\n boundary=\"bb\"\n"),
        Just("Content-Type: message/rfc822\n"),
        Just("content-transfer-encoding: base64\r\n"),
        Just("\r\n"),
        Just("\n"),
        Just("\r"),
        Just("--b\r\n"),
        Just("--b\n"),
        Just("--b--\r\n"),
        Just("--bb\n"),
        Just("--bb--"),
        Just("-"),
        Just("--"),
        Just(" "),
        Just("text"),
        Just("A: b\r\n"),
        Just("no field\n"),
    ];
    proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {

    #[test]
    fn blocks_make_no_difference(text in pieces(), size in 1usize..20) {
        let whole = Scanner::scan(text.as_bytes());
        prop_assert_eq!(&in_blocks(text.as_bytes(), size), &whole);
        prop_assert_eq!(&in_blocks(text.as_bytes(), 1), &whole);
    }

    #[test]
    fn every_cut_in_two(text in pieces()) {
        let whole = Scanner::scan(text.as_bytes());
        for cut in 0..=text.len() {
            let (a, b) = text.as_bytes().split_at(cut);
            let mut scanner = Scanner::new();
            scanner.feed(a);
            scanner.feed(b);
            prop_assert_eq!(&scanner.finish(), &whole, "{}", cut);
        }
    }

    #[test]
    fn ranges_are_sound(text in pieces()) {
        let structure = Scanner::scan(text.as_bytes());
        let parts = structure.parts();
        prop_assert!(!parts.is_empty());
        for (index, part) in parts.iter().enumerate() {
            prop_assert!(part.header.start <= part.header.end && part.header.end == part.body.start);
            prop_assert!(part.body.start <= part.body.end && part.body.end <= text.len());
            prop_assert!(part.next as usize > index && part.next as usize <= parts.len());
            let body = &text.as_bytes()[part.body.clone()];
            prop_assert_eq!(part.lines, body.iter().filter(|b| **b == b'\n').count() as u64);
            let header = &text.as_bytes()[part.header.clone()];
            prop_assert_eq!(u64::from(part.header_lines), {
                let ends = header.iter().filter(|b| **b == b'\n').count();
                (ends + usize::from(!header.is_empty() && !header.ends_with(b"\n"))) as u64
            });
            match part.parent {
                None => prop_assert_eq!(index, 0),
                Some(parent) => {
                    let parent = &parts[parent as usize];
                    prop_assert!(parent.body.start <= part.header.start && part.body.end <= parent.body.end);
                    prop_assert!(parent.next >= part.next);
                }
            }
            if part.kind == Kind::Message {
                prop_assert_eq!(structure.children(index as u32).count(), 1);
            }
        }
        let mut audit = Audit::new();
        audit.push(text.as_bytes());
    }
}

#[test]
fn an_embedded_message_without_a_body() {
    let text = "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nA: b\r\n\r\n--b\r\n\r\nContent-Type: message/rfc822\r\n\r\n--b--\r\n";
    let structure = Scanner::scan(text.as_bytes());
    let shown: Vec<(&str, &str)> = structure
        .parts()
        .iter()
        .skip(1)
        .map(|part| (&text[part.header.clone()], &text[part.body.clone()]))
        .collect();
    let inner = "Content-Type: message/rfc822\r\n";
    assert_eq!(
        shown,
        [
            ("\r\n", "A: b\r\n"),
            ("A: b\r\n", ""),
            ("\r\n", inner),
            (inner, ""),
            ("", "")
        ]
    );
    for size in 1..30 {
        assert_eq!(in_blocks(text.as_bytes(), size), structure);
    }
}

#[test]
fn a_part_without_a_body_at_the_end_of_two_multiparts() {
    let head = "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n";
    for (rest, header) in [
        ("--o--\r\n", ""),
        ("X: y\r\n\r\n--o--\r\n", "X: y\r\n"),
        ("X: y\r\n--o--\r\n", "X: y"),
    ] {
        let text = format!("{head}{rest}");
        let structure = Scanner::scan(text.as_bytes());
        let [_, inner, last] = structure.parts() else {
            panic!()
        };
        assert_eq!(
            (&text[last.header.clone()], &text[last.body.clone()]),
            (header, "")
        );
        assert_eq!(last.body.end, inner.body.end, "{rest}");
    }
}
