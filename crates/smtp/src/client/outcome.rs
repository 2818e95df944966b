//! What became of a recipient.

use std::sync::Arc;

use crate::types::{EnhancedCode, Reply, ReplyClass, StatusClass};

/// Most octets of the remote's words that are kept.
pub const WORDS_MAX: usize = 512;

/// How far a transaction had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Waiting for, or refused by, the greeting.
    Greeting,
    /// EHLO and HELO.
    Hello,
    /// STARTTLS.
    Tls,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA, before the first octet of content.
    Data,
    /// The content was being sent, the final dot was not.
    Body,
    /// The final dot was sent: the server may have taken the message.
    End,
}

/// What became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Place in [`super::Transaction::to`].
    pub recipient: usize,
    /// Delivered is success, deferred transient, failed permanent.
    pub class: StatusClass,
    /// The server's enhanced code, or one that says the same as far as it is known.
    pub status: EnhancedCode,
    /// The server's reply code; `None` when the server did not say this.
    pub code: Option<u16>,
    /// The server's words, code first, one line without control characters, at most
    /// [`WORDS_MAX`] octets; our own when `code` is `None`.
    pub words: Arc<str>,
    /// How far it had come.
    pub stage: Stage,
}

impl Outcome {
    /// True when another host of the same destination may be tried at once: a passing failure,
    /// and the message surely was not taken here (RFC 5321, 5.1).
    #[must_use]
    pub fn may_try_next_host(&self) -> bool {
        self.class == StatusClass::Transient && self.stage < Stage::End
    }
}

/// An outcome without its recipient: many recipients may share it.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    class: StatusClass,
    status: EnhancedCode,
    code: Option<u16>,
    words: Arc<str>,
    stage: Stage,
}

impl Verdict {
    /// What the server said. A permanent refusal before MAIL concerns the host and not the
    /// message: another host, or the same one later, may take it.
    pub(super) fn from_reply(reply: &Reply, stage: Stage) -> Self {
        let class = match reply.code().class() {
            ReplyClass::Positive => StatusClass::Success,
            ReplyClass::Permanent if stage >= Stage::Mail && !is_552_for_count(reply, stage) => {
                StatusClass::Permanent
            }
            // An intermediate reply where none belongs is the server's mistake.
            ReplyClass::Permanent | ReplyClass::Intermediate | ReplyClass::Transient => {
                StatusClass::Transient
            }
        };
        let status = match reply.enhanced() {
            Some(code) => EnhancedCode::new(class, code.subject(), code.detail()),
            None => EnhancedCode::new(class, 0, 0),
        };
        let words = reply.words(WORDS_MAX).into();
        Self {
            class,
            status,
            code: Some(reply.code().get()),
            words,
            stage,
        }
    }

    /// A passing failure that we state ourselves.
    pub(super) fn deferred(subject: u16, detail: u16, stage: Stage, words: &str) -> Self {
        let status = EnhancedCode::later(subject, detail);
        Self {
            class: StatusClass::Transient,
            status,
            code: None,
            words: words.into(),
            stage,
        }
    }

    /// A permanent failure that we state ourselves.
    pub(super) fn failed(subject: u16, detail: u16, stage: Stage, words: &str) -> Self {
        let status = EnhancedCode::never(subject, detail);
        Self {
            class: StatusClass::Permanent,
            status,
            code: None,
            words: words.into(),
            stage,
        }
    }

    pub(super) fn for_recipient(&self, recipient: usize) -> Outcome {
        Outcome {
            recipient,
            class: self.class,
            status: self.status,
            code: self.code,
            words: Arc::clone(&self.words),
            stage: self.stage,
        }
    }
}

/// QUIRK: some servers say 552 for too many recipients, which RFC 5321, 4.5.3.1.10 wants taken
/// as temporary. An enhanced code other than 5.5.3 says that something else is meant.
fn is_552_for_count(reply: &Reply, stage: Stage) -> bool {
    stage == Stage::Rcpt
        && reply.code().get() == 552
        && reply
            .enhanced()
            .is_none_or(|code| (code.subject(), code.detail()) == (5, 3))
}
