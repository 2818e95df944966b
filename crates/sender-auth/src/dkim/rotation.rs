//! The keys of one domain and how one follows another.
//!
//! A new key is *next* until its record is seen in the DNS; then it becomes *current* and signs,
//! and the one before it becomes *old*: it signs no more, but its record has to stay until no
//! mail that it signed is under way. RSA and Ed25519 keys change independently, so that a
//! domain can sign with one of each.
//!
//! ```text
//! prepare -> next --(record seen, switch)--> current --(another is switched)--> old -> retire
//! ```

use super::key_record::{KeyProblem, KeyRecord};
use crate::crypto::{Algorithm, PublicKey};
use crate::lookup::Answer;
use crate::name::ascii_name;
use std::fmt;
use std::fmt::Write as _;

/// Most keys of one ring.
pub const KEYS_MAX: usize = 64;

/// How long an old key's record has to stay, in seconds: a week is longer than any queue
/// holds a message.
pub const OLD_KEPT: i64 = 7 * 86_400;

/// What a key does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Made; signs nothing yet.
    Next,
    /// Signs.
    Current,
    /// Signs no more; its record stays for a while.
    Old,
}

impl Stage {
    /// The word in a ring's file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Current => "current",
            Self::Old => "old",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One key of a ring; the secret itself is elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingKey {
    /// Its name in the DNS, and the name of its file.
    pub selector: String,
    /// What it signs with.
    pub algorithm: Algorithm,
    /// What it does now.
    pub stage: Stage,
    /// Since when, in seconds since 1970 UTC.
    pub since: i64,
}

/// Why a ring was not changed or read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RingError {
    /// The selector is no name in a file and in the DNS.
    Selector(String),
    /// A key of this selector is or was there.
    Taken(String),
    /// A next key of this kind waits already; its selector.
    Waiting(String),
    /// No next key of this selector.
    NotNext(String),
    /// More than [`KEYS_MAX`].
    Full,
    /// A line of the file is not `selector algorithm stage since`; its number.
    Line(usize),
    /// Two current or two next keys of one kind.
    Twice(Stage, Algorithm),
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Selector(selector) => write!(f, "{selector:?} can't be a selector"),
            Self::Taken(selector) => write!(f, "selector {selector} was used before"),
            Self::Waiting(selector) => {
                write!(f, "key {selector} waits already to become current")
            }
            Self::NotNext(selector) => write!(f, "{selector} is not a next key"),
            Self::Full => write!(f, "more than {KEYS_MAX} keys"),
            Self::Line(number) => write!(
                f,
                "line {number}: expected \"SELECTOR ALGORITHM STAGE SECONDS\""
            ),
            Self::Twice(stage, algorithm) => write!(f, "two {stage} keys of type {algorithm}"),
        }
    }
}

impl std::error::Error for RingError {}

/// The keys of one domain, in the order in which they were made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyRing {
    keys: Vec<RingKey>,
}

impl KeyRing {
    /// Reads a ring's file; empty lines and lines that begin with `#` don't count.
    ///
    /// # Errors
    /// See [`RingError`].
    pub fn parse(text: &str) -> Result<Self, RingError> {
        let mut ring = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = parse_line(line).ok_or(RingError::Line(number))?;
            ring.add(key)?;
        }
        Ok(ring)
    }

    /// The text of the file.
    pub fn to_text(&self) -> String {
        let mut text = String::from("# selector algorithm stage since\n");
        for key in &self.keys {
            let _ = writeln!(
                text,
                "{} {} {} {}",
                key.selector, key.algorithm, key.stage, key.since
            );
        }
        text
    }

    /// All keys.
    pub fn keys(&self) -> &[RingKey] {
        &self.keys
    }

    /// The keys that sign.
    pub fn signing(&self) -> impl Iterator<Item = &RingKey> {
        self.keys.iter().filter(|key| key.stage == Stage::Current)
    }

    fn find(&self, stage: Stage, algorithm: Algorithm) -> Option<&RingKey> {
        self.keys
            .iter()
            .find(|key| key.stage == stage && key.algorithm == algorithm)
    }

    fn add(&mut self, key: RingKey) -> Result<(), RingError> {
        if self.keys.len() == KEYS_MAX {
            return Err(RingError::Full);
        }
        if self.keys.iter().any(|known| known.selector == key.selector) {
            return Err(RingError::Taken(key.selector));
        }
        if key.stage != Stage::Old && self.find(key.stage, key.algorithm).is_some() {
            return Err(RingError::Twice(key.stage, key.algorithm));
        }
        self.keys.push(key);
        Ok(())
    }

    /// Takes a new key in. It signs after [`KeyRing::switch`].
    ///
    /// # Errors
    /// [`RingError::Selector`], [`RingError::Taken`], [`RingError::Waiting`],
    /// [`RingError::Full`].
    pub fn prepare(
        &mut self,
        selector: &str,
        algorithm: Algorithm,
        now: i64,
    ) -> Result<(), RingError> {
        let selector = ascii_name(selector.as_bytes())
            .ok_or_else(|| RingError::Selector(selector.to_owned()))?;
        if let Some(waiting) = self.find(Stage::Next, algorithm) {
            return Err(RingError::Waiting(waiting.selector.clone()));
        }
        self.add(RingKey {
            selector,
            algorithm,
            stage: Stage::Next,
            since: now,
        })
    }

    /// Makes the next key of this selector current, and the current one of its kind old. To be
    /// called when its record was seen ([`Published::Same`]).
    ///
    /// # Errors
    /// [`RingError::NotNext`].
    pub fn switch(&mut self, selector: &str, now: i64) -> Result<(), RingError> {
        let not_next = || RingError::NotNext(selector.to_owned());
        let next = self
            .keys
            .iter()
            .find(|key| key.selector == selector && key.stage == Stage::Next)
            .ok_or_else(not_next)?;
        let algorithm = next.algorithm;
        for key in &mut self.keys {
            let stage = match key.stage {
                Stage::Current if key.algorithm == algorithm => Stage::Old,
                Stage::Next if key.selector == selector => Stage::Current,
                _ => continue,
            };
            key.stage = stage;
            key.since = now;
        }
        Ok(())
    }

    /// Old keys whose time is over: their records can be taken out of the DNS.
    pub fn retired(&self, now: i64) -> impl Iterator<Item = &RingKey> {
        self.keys
            .iter()
            .filter(move |key| key.stage == Stage::Old && now.saturating_sub(key.since) >= OLD_KEPT)
    }
}

fn parse_line(line: &str) -> Option<RingKey> {
    let mut words = line.split_whitespace();
    let selector = ascii_name(words.next()?.as_bytes())?;
    let word = words.next()?;
    let algorithm = [Algorithm::RsaSha256, Algorithm::Ed25519Sha256]
        .into_iter()
        .find(|known| known.as_str() == word)?;
    let word = words.next()?;
    let stage = [Stage::Next, Stage::Current, Stage::Old]
        .into_iter()
        .find(|known| known.as_str() == word)?;
    let since = words.next()?.parse().ok()?;
    words.next().is_none().then_some(RingKey {
        selector,
        algorithm,
        stage,
        since,
    })
}

/// What the DNS shows of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// Its record.
    Same,
    /// A record of another key.
    Different,
    /// A record that gives no key.
    Bad(KeyProblem),
    /// Several records, one of which is the right one: a verifier may take another.
    Several,
    /// Nothing.
    Missing,
    /// No answer now.
    Unavailable,
}

impl Published {
    /// One word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "published",
            Self::Different => "different",
            Self::Bad(_) => "broken",
            Self::Several => "several",
            Self::Missing => "missing",
            Self::Unavailable => "unavailable",
        }
    }

    /// Holds the answer to the question for a key's record against the key.
    pub fn judge(key: &PublicKey, answer: &Answer) -> Self {
        if *answer == Answer::TempFail {
            return Self::Unavailable;
        }
        let mut records = answer.texts().map(KeyRecord::parse);
        let Some(first) = records.next() else {
            return Self::Missing;
        };
        let same = |record: &Result<KeyRecord, KeyProblem>| {
            record.as_ref().is_ok_and(|record| record.key == *key)
        };
        let others: Vec<_> = records.collect();
        match (same(&first), others.is_empty()) {
            (true, true) => Self::Same,
            (false, true) => match first {
                Ok(_) => Self::Different,
                Err(problem) => Self::Bad(problem),
            },
            (true, false) => Self::Several,
            (false, false) if others.iter().any(same) => Self::Several,
            (false, false) => Self::Different,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SigningKey;
    use crate::lookup::Record;

    const ED: Algorithm = Algorithm::Ed25519Sha256;
    const RSA: Algorithm = Algorithm::RsaSha256;

    fn stages(ring: &KeyRing) -> Vec<(&str, &str)> {
        let stages = ring.keys().iter();
        stages
            .map(|k| (k.selector.as_str(), k.stage.as_str()))
            .collect()
    }

    #[test]
    fn one_key_follows_another() {
        let mut ring = KeyRing::default();
        ring.prepare("a", ED, 1).unwrap();
        assert_eq!(ring.signing().count(), 0);
        assert_eq!(
            ring.prepare("b", ED, 1),
            Err(RingError::Waiting("a".to_owned()))
        );
        ring.prepare("r", RSA, 1).unwrap();
        ring.switch("a", 2).unwrap();
        assert_eq!(stages(&ring), [("a", "current"), ("r", "next")]);
        assert_eq!(ring.switch("a", 3), Err(RingError::NotNext("a".to_owned())));
        ring.switch("r", 3).unwrap();
        ring.prepare("B", ED, 4).unwrap();
        assert_eq!(
            ring.prepare("a", RSA, 4),
            Err(RingError::Taken("a".to_owned()))
        );
        ring.switch("b", 5).unwrap();
        assert_eq!(
            stages(&ring),
            [("a", "old"), ("r", "current"), ("b", "current")]
        );
        assert_eq!(ring.signing().count(), 2);
        assert_eq!(ring.retired(5 + OLD_KEPT - 1).count(), 0);
        assert_eq!(ring.retired(5 + OLD_KEPT).count(), 1);
        assert_eq!(KeyRing::parse(&ring.to_text()).unwrap(), ring);
        assert!(ring.prepare("a/../b", RSA, 6).is_err());
    }

    #[test]
    fn refuses_files() {
        for (text, error) in [
            ("a", RingError::Line(1)),
            ("# x\n\na rsa-sha256 current", RingError::Line(3)),
            ("a rsa-sha1 current 1", RingError::Line(1)),
            ("a rsa-sha256 present 1", RingError::Line(1)),
            ("a rsa-sha256 current 1 x", RingError::Line(1)),
            ("../a rsa-sha256 current 1", RingError::Line(1)),
            (
                "a rsa-sha256 current 1\na rsa-sha256 old 1",
                RingError::Taken("a".to_owned()),
            ),
            (
                "a rsa-sha256 current 1\nb rsa-sha256 current 1",
                RingError::Twice(Stage::Current, RSA),
            ),
        ] {
            assert_eq!(KeyRing::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn keys_limit() {
        for (count, good) in [
            (KEYS_MAX - 1, true),
            (KEYS_MAX, true),
            (KEYS_MAX + 1, false),
        ] {
            let text: String = (0..count)
                .map(|n| format!("k{n} rsa-sha256 old 1\n"))
                .collect();
            assert_eq!(KeyRing::parse(&text).is_ok(), good);
        }
    }

    #[test]
    fn judges_records() {
        let key = |byte| SigningKey::from_ed25519_seed(&[byte; 32]).unwrap().public();
        let text = |byte| Record::Txt(KeyRecord::new(key(byte)).to_text().into_bytes());
        let bad = Record::Txt(b"v=DKIM1; k=ed25519; p=".to_vec());
        for (answer, expected) in [
            (Answer::TempFail, Published::Unavailable),
            (Answer::NxDomain, Published::Missing),
            (Answer::NoData, Published::Missing),
            (Answer::Records(vec![text(1)]), Published::Same),
            (Answer::Records(vec![text(2)]), Published::Different),
            (Answer::Records(vec![text(2), text(1)]), Published::Several),
            (
                Answer::Records(vec![text(1), bad.clone()]),
                Published::Several,
            ),
            (
                Answer::Records(vec![text(2), text(3)]),
                Published::Different,
            ),
            (
                Answer::Records(vec![bad.clone()]),
                Published::Bad(KeyProblem::Revoked),
            ),
        ] {
            assert_eq!(Published::judge(&key(1), &answer), expected);
        }
    }
}
