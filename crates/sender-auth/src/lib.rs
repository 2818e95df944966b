//! SPF, DKIM, DMARC, ARC, SRS, BATV, MTA-STS, TLSRPT and DANE as pure state machines.
//!
//! Each mechanism takes bytes and answers and gives questions and a verdict; none knows a
//! socket, a file or the time of day. See `docs/sender-auth.md`.
#![forbid(unsafe_code)]

pub mod arc;
pub mod authres;
pub mod batv;
mod body_canon;
pub mod body_hash;
pub mod canon;
pub mod crypto;
pub mod dane;
pub mod dkim;
pub mod dmarc;
pub mod exercise;
pub mod exercise_policy;
mod folded;
pub mod header_block;
pub mod lookup;
pub mod mta_sts;
pub mod name;
pub mod pass;
pub mod policy_answer;
pub mod report;
pub mod secrets;
pub mod spf;
pub mod srs;
pub mod tag_list;
pub mod tls_sums;
pub mod tlsrpt;
