//! What is wrong with a file: all of it at once, each with its place.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::value::Position;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where; `None` when it concerns the file as a whole.
    pub at: Option<Position>,
    /// What was found and what was expected.
    pub text: String,
}

/// All that is wrong with one file, in the order of the lines; never empty.
///
/// Displays as one line each: `FILE:LINE:COLUMN: text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub list: Vec<Problem>,
}

impl Problems {
    /// One problem that concerns a file as a whole, e.g. that it can't be read.
    pub fn whole(file: &Path, text: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            list: vec![Problem {
                at: None,
                text: text.into(),
            }],
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index != 0 {
                f.write_str("\n")?;
            }
            match problem.at {
                Some(at) => write!(f, "{}:{at}: {}", self.file.display(), problem.text)?,
                None => write!(f, "{}: {}", self.file.display(), problem.text)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
