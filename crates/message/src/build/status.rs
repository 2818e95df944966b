//! What a report says of a delivery: the action and the enhanced status code.

use std::fmt;

/// What was done for a recipient (RFC 3464 2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Could not be delivered, and will not be tried again.
    Failed,
    /// Not delivered yet; it will be tried again.
    Delayed,
    /// Delivered to the mailbox.
    Delivered,
    /// Handed to a host that does not report back.
    Relayed,
    /// Delivered and sent on to several addresses.
    Expanded,
}

impl Action {
    /// The word in the Action field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::Failed => "failed",
            Action::Delayed => "delayed",
            Action::Delivered => "delivered",
            Action::Relayed => "relayed",
            Action::Expanded => "expanded",
        }
    }
}

/// An enhanced status code, `class.subject.detail` (RFC 3463 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Status {
    class: u8,
    subject: u16,
    detail: u16,
}

/// The text is no status code: `2`, `4` or `5`, then two numbers of up to three digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadStatus;

impl fmt::Display for BadStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a status code is 2, 4 or 5 and two numbers of up to three digits, such as 5.1.1",
        )
    }
}

impl std::error::Error for BadStatus {}

impl Status {
    /// Checks three numbers: class 2, 4 or 5, the others up to 999.
    ///
    /// # Errors
    /// [`BadStatus`].
    pub const fn new(class: u8, subject: u16, detail: u16) -> Result<Status, BadStatus> {
        if matches!(class, 2 | 4 | 5) && subject <= 999 && detail <= 999 {
            Ok(Status {
                class,
                subject,
                detail,
            })
        } else {
            Err(BadStatus)
        }
    }

    /// Reads `5.1.1`.
    ///
    /// # Errors
    /// [`BadStatus`].
    pub fn parse(text: &str) -> Result<Status, BadStatus> {
        let number = |part: Option<&str>| {
            part.filter(|p| (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|p| p.parse::<u16>().ok())
                .ok_or(BadStatus)
        };
        let mut parts = text.split('.');
        let class = number(parts.next())?;
        let (subject, detail) = (number(parts.next())?, number(parts.next())?);
        if parts.next().is_some() {
            return Err(BadStatus);
        }
        Status::new(u8::try_from(class).map_err(|_| BadStatus)?, subject, detail)
    }

    /// 2, 4 or 5.
    pub const fn class(self) -> u8 {
        self.class
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}
