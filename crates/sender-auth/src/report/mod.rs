//! Reports about DMARC: aggregate reports made, read and summed up (RFC 7489, 7.2 and
//! appendix C), failure reports read (RFC 6591).
//!
//! Everything here comes from strangers: archives are unpacked up to [`UNPACKED_MAX`], the XML is
//! read by a parser that knows no entities but the five of the language, and lists are bounded.

mod aggregate;
mod failure;
mod read;
mod summary;
mod unpack;
mod write;
mod xml;

pub use aggregate::{
    AggregateReport, DkimAuth, KINDS_MAX, PublishedPolicy, Reason, Row, SpfAuth, Tally,
};
pub use failure::{FIELDS_MAX, FailureReport, FailureReportError};
pub use read::{LIST_MAX, ROWS_MAX, ReportError, TEXT_MAX};
pub use summary::{SOURCES_MAX, Source, Summary};
pub use unpack::{UNPACKED_MAX, UnpackError, unpack};
pub use xml::{DEPTH_MAX, XmlError};
