//! Authentication-Results (RFC 8601): what one host found out about a message, written for
//! those who read it behind that host.
//!
//! Whoever reads such a field must know that it is not forged: [`forged`] finds the fields
//! that claim to come from us and did not.

mod forged;
mod from_checks;
mod parse;
mod scan;
mod write;

pub use forged::{forged, without_forged};
pub use from_checks::{arc_result, dkim_results, dmarc_result, spf_result};
pub(crate) use parse::arc_instance as parse_instance;
pub use parse::{AuthResultsError, parse_arc};

/// Most results of one field.
pub const RESULTS_MAX: usize = 128;

/// Most properties of one result.
pub const PROPERTIES_MAX: usize = 64;

/// The content of one field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuthResults {
    /// Who made the checks, usually the host's name. Other strings are possible.
    pub authserv_id: String,
    /// The results; none of them is written as `none`.
    pub results: Vec<MethodResult>,
}

/// The result of one method, such as `dkim=pass header.d=example.org`.
///
/// The fields may hold anything: what can't stand in a header field is replaced when it is
/// written, so that a result never ends its field or begins another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MethodResult {
    /// `dkim`, `spf`, `dmarc`, `arc`, `iprev`, `auth`.
    pub method: String,
    /// The word for the result, in lower case.
    pub result: String,
    /// Text of `reason=`.
    pub reason: Option<String>,
    /// A comment for people, written after the result; not kept by [`AuthResults::parse`].
    pub comment: Option<String>,
    /// What the result is about.
    pub properties: Vec<Property>,
}

/// One property, such as `header.d=example.org`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// `smtp`, `header`, `body`, `policy`.
    pub ptype: String,
    /// The part of it.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl MethodResult {
    /// A result without anything else.
    pub fn new(method: &str, result: &str) -> Self {
        Self {
            method: method.to_owned(),
            result: result.to_owned(),
            ..Self::default()
        }
    }

    /// Adds a property.
    #[must_use]
    pub fn property(mut self, ptype: &str, name: &str, value: &str) -> Self {
        self.properties.push(Property {
            ptype: ptype.to_owned(),
            name: name.to_owned(),
            value: value.to_owned(),
        });
        self
    }

    /// Sets the reason.
    #[must_use]
    pub fn reason(mut self, reason: impl ToString) -> Self {
        self.reason = Some(reason.to_string());
        self
    }

    /// Sets the comment.
    #[must_use]
    pub fn comment(mut self, comment: impl ToString) -> Self {
        self.comment = Some(comment.to_string());
        self
    }

    /// The value of the first property of this name.
    pub fn get(&self, ptype: &str, name: &str) -> Option<&str> {
        self.properties
            .iter()
            .find(|p| p.ptype.eq_ignore_ascii_case(ptype) && p.name.eq_ignore_ascii_case(name))
            .map(|p| p.value.as_str())
    }
}
