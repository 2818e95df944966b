//! `name[a=1, b="x, y"][c='z']`: how jails name filters and actions.

use super::ini::Section;
use super::store::ConfError;

fn wrong(text: &str) -> ConfError {
    ConfError::Value(
        text.chars().take(60).collect(),
        "options are not name=value".to_owned(),
    )
}

/// Splits `name[...]` into the name and its options.
///
/// # Errors
/// [`ConfError::Value`] when the brackets do not hold `name=value` pairs.
pub fn extract(text: &str) -> Result<(String, Section), ConfError> {
    let text = text.trim_end();
    let (name, mut rest) = match text.find('[') {
        None => return Ok((text.to_owned(), Section::new())),
        Some(at) => text.split_at(at),
    };
    if name.is_empty() {
        return Err(wrong(text));
    }
    rest = rest
        .get(1..)
        .and_then(|r| r.strip_suffix(']'))
        .ok_or_else(|| wrong(text))?;
    let mut out = Section::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok((name.to_owned(), out));
        }
        if let Some(r) = rest.strip_prefix(',') {
            rest = r;
            continue;
        }
        let (key, after) = rest.split_once('=').ok_or_else(|| wrong(rest))?;
        let good = |c: char| c.is_alphanumeric() || "_-.".contains(c);
        if key.is_empty() || !key.chars().all(good) {
            return Err(wrong(rest));
        }
        let quoted = |q: char| after.strip_prefix(q).and_then(|a| a.split_once(q));
        let (value, after) = match quoted('"').or_else(|| quoted('\'')) {
            Some(x) => x,
            None => after.split_at(after.find([',', ']']).unwrap_or(after.len())),
        };
        out.insert(key.to_owned(), value.trim().to_owned());
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(r) => r,
            None => match after.strip_prefix(']').map(str::trim_start) {
                Some(r) => r.strip_prefix('[').ok_or_else(|| wrong(rest))?,
                None if after.is_empty() => "",
                None => return Err(wrong(rest)),
            },
        };
    }
}

/// Splits a list of such definitions at white space outside of brackets and quotes.
#[must_use]
pub fn split(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut item = String::new();
    let (mut depth, mut quote) = (0u32, None);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if let Some(q) = quote {
            if c == q {
                quote = None;
            }
            item.push(c);
            continue;
        }
        match c {
            '"' | '\'' if depth > 0 => quote = Some(c),
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            c if depth == 0 && c.is_whitespace() => {
                while chars.next_if(|c| c.is_whitespace()).is_some() {}
                // white space before a bracket belongs to the same definition
                if chars.peek() != Some(&'[') && !item.is_empty() {
                    out.push(std::mem::take(&mut item));
                }
                continue;
            }
            _ => {}
        }
        item.push(c);
    }
    if !item.is_empty() {
        out.push(item);
    }
    out
}

/// Splits at commas, spaces and newlines, dropping what is empty.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', ',', '\n', '\t'])
        .map(str::trim)
        .filter(|w| !w.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn opts(text: &str) -> Vec<(String, String)> {
        extract(text).unwrap().1.into_iter().collect()
    }

    #[test]
    fn definitions() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(extract("sshd").unwrap().0, "sshd");
        assert_eq!(opts("sshd[mode=aggressive]"), [pair("mode", "aggressive")]);
        assert_eq!(
            opts("a[x=\"1, 2]\", y='\"' ][z=]"),
            [pair("x", "1, 2]"), pair("y", "\""), pair("z", "")]
        );
        assert_eq!(opts("a[]"), []);
        for bad in ["[x=1]", "a[x]", "a[x=1", "a[x=\"1\"2]", "a[x y=1]"] {
            assert!(extract(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists() {
        assert_eq!(
            split("a[x=\"1 2\",\n  y=3]\n  b [z=1]\nc"),
            ["a[x=\"1 2\",\n  y=3]", "b[z=1]", "c"]
        );
        assert_eq!(split(" \n "), Vec::<String>::new());
        assert_eq!(words("a, b\n c,,").collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn any_text(text in "[a\\[\\]='\", \n]{0,30}") {
            let _ = extract(&text);
            let _ = split(&text);
        }

        #[test]
        fn written_is_read(list in prop::collection::btree_map("[a-z]{1,5}", "[a-z ,\\]\\[]{0,8}", 0..5)) {
            let body: Vec<_> = list.iter().map(|(k, v)| format!("{k}=\"{v}\"")).collect();
            let (_, got) = extract(&format!("n[{}]", body.join(", "))).unwrap();
            let want: Section = list.into_iter().map(|(k, v)| (k, v.trim().to_owned())).collect();
            prop_assert_eq!(got, want);
        }
    }
}
