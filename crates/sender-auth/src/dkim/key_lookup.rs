//! The keys that the signatures of one message need: each name asked once, each answer read
//! once, whatever the number of signatures that use it.

use super::key_record::{KeyProblem, KeyRecord};
use crate::lookup::{Answer, Question};

/// Records of one name that are tried. RFC 6376 (3.6.2.2) leaves several undefined; a domain
/// that changes a key may show two for a while.
pub const KEYS_PER_NAME_MAX: usize = 4;

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFailure {
    /// The DNS gave no answer now.
    Unavailable,
    /// The name or the record does not exist.
    NotFound,
    /// There is a record, and this is wrong with it.
    Bad(KeyProblem),
}

#[derive(Debug)]
enum State {
    New,
    Asked,
    Known(Result<Vec<KeyRecord>, KeyFailure>),
}

/// The names, the questions and the answers.
#[derive(Debug, Default)]
pub struct KeyLookups {
    names: Vec<(String, State)>,
}

/// Which name of [`KeyLookups`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyNumber(usize);

impl KeyLookups {
    /// Registers the key of a selector (RFC 6376, 3.6.2.1).
    pub fn want(&mut self, selector: &str, domain: &str) -> KeyNumber {
        let name = format!("{selector}._domainkey.{domain}");
        let known = self.names.iter().position(|(known, _)| *known == name);
        KeyNumber(known.unwrap_or_else(|| {
            self.names.push((name, State::New));
            self.names.len() - 1
        }))
    }

    /// The next question.
    pub fn question(&mut self) -> Option<Question> {
        let (name, state) = self
            .names
            .iter_mut()
            .find(|(_, state)| matches!(state, State::New))?;
        *state = State::Asked;
        Some(Question::Txt(name.clone()))
    }

    /// Takes an answer. Ignored unless its question is under way.
    pub fn answer(&mut self, question: &Question, answer: &Answer) {
        let Question::Txt(asked) = question else {
            return;
        };
        let entry = self
            .names
            .iter_mut()
            .find(|(name, state)| name == asked && matches!(state, State::Asked));
        if let Some((_, state)) = entry {
            *state = State::Known(read(answer));
        }
    }

    /// Whether a question is under way or still to be put.
    pub fn waiting(&self) -> bool {
        self.names
            .iter()
            .any(|(_, state)| !matches!(state, State::Known(_)))
    }

    /// The keys of a name, at least one.
    ///
    /// # Errors
    /// See [`KeyFailure`]; [`KeyFailure::Unavailable`] also when the answer never came.
    pub fn get(&self, number: KeyNumber) -> Result<&[KeyRecord], KeyFailure> {
        match self.names.get(number.0) {
            Some((_, State::Known(Ok(keys)))) => Ok(keys),
            Some((_, State::Known(Err(failure)))) => Err(*failure),
            _ => Err(KeyFailure::Unavailable),
        }
    }
}

fn read(answer: &Answer) -> Result<Vec<KeyRecord>, KeyFailure> {
    if *answer == Answer::TempFail {
        return Err(KeyFailure::Unavailable);
    }
    let mut keys = Vec::new();
    let mut failure = KeyFailure::NotFound;
    for text in answer.texts().take(KEYS_PER_NAME_MAX) {
        match KeyRecord::parse(text) {
            Ok(key) => keys.push(key),
            // The first problem is the one to tell.
            Err(problem) if failure == KeyFailure::NotFound => failure = KeyFailure::Bad(problem),
            Err(_) => {}
        }
    }
    if keys.is_empty() {
        Err(failure)
    } else {
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::Record;
    use std::net::Ipv4Addr;

    const KEY: &[u8] = b"k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

    fn found(answer: Answer) -> Result<usize, KeyFailure> {
        let mut lookups = KeyLookups::default();
        let number = lookups.want("s", "d.example");
        assert_eq!(lookups.want("s", "d.example"), number);
        assert!(lookups.waiting());
        let question = lookups.question().unwrap();
        assert_eq!(question.name(), Some("s._domainkey.d.example"));
        assert_eq!(lookups.question(), None);
        lookups.answer(&Question::Txt("other".to_owned()), &answer);
        lookups.answer(&Question::A("s._domainkey.d.example".to_owned()), &answer);
        assert!(lookups.waiting());
        lookups.answer(&question, &answer);
        assert!(!lookups.waiting());
        lookups.answer(&question, &Answer::NxDomain);
        lookups.get(number).map(<[KeyRecord]>::len)
    }

    fn texts(texts: &[&[u8]]) -> Answer {
        Answer::Records(texts.iter().map(|t| Record::Txt(t.to_vec())).collect())
    }

    #[test]
    fn answers() {
        assert_eq!(found(Answer::TempFail), Err(KeyFailure::Unavailable));
        assert_eq!(found(Answer::NxDomain), Err(KeyFailure::NotFound));
        assert_eq!(found(Answer::NoData), Err(KeyFailure::NotFound));
        assert_eq!(found(texts(&[KEY])), Ok(1));
        assert_eq!(found(texts(&[b"v=spf1 -all", KEY])), Ok(1));
        assert_eq!(
            found(texts(&[b"k=ed25519; p=", b"x"])),
            Err(KeyFailure::Bad(KeyProblem::Revoked))
        );
        let wrong_type = Answer::Records(vec![Record::A(Ipv4Addr::LOCALHOST)]);
        assert_eq!(found(wrong_type), Err(KeyFailure::NotFound));
        let huge = vec![b'x'; 65_535];
        assert_eq!(
            found(texts(&[&huge])),
            Err(KeyFailure::Bad(KeyProblem::TooLong))
        );
    }

    #[test]
    fn keys_per_name_limit() {
        for (count, used) in [
            (KEYS_PER_NAME_MAX - 1, KEYS_PER_NAME_MAX - 1),
            (KEYS_PER_NAME_MAX, KEYS_PER_NAME_MAX),
            (KEYS_PER_NAME_MAX + 1, KEYS_PER_NAME_MAX),
            (4_000, KEYS_PER_NAME_MAX),
        ] {
            assert_eq!(found(texts(&vec![KEY; count])), Ok(used));
        }
    }
}
