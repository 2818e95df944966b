//! Bytes to values and back. Every reader here survives any input: bounded memory, linear time.

mod command;
mod dot;
mod header;
mod line;
mod reply;
mod stuff;
mod xtext;

pub use command::{Command, CommandError, MailParams, SIZE_DIGITS_MAX};
pub use dot::{Defect, DotDecoder, DotStep};
pub(crate) use header::Seen;
pub use header::{HOPS_MAX, HeaderWatch, Missing};
pub use line::{COMMAND_LINE_MAX, DISCARD_MAX, LineReader, LineStep};
pub use reply::{REPLY_LINE_MAX, REPLY_LINES_MAX, REPLY_TEXT_MAX, ReplyError, ReplyParser};
pub use stuff::{BLOCK, DotEncoder};
pub use xtext::{XtextError, decode as xtext_decode, encode as xtext_encode};
