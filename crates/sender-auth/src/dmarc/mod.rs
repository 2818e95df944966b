//! DMARC (RFC 7489, and the tree walk of its successor): does what SPF and DKIM proved belong to
//! the author's domain, and what does that domain want done if not?
//!
//! * [`Dmarc`] is a [`Check`](crate::lookup::Check) over the author's domain and the verdicts of
//!   SPF and DKIM; it finds the policy and ends with a [`DmarcVerdict`].
//! * [`DmarcRecord`] is what a domain publishes.
//! * [`SuffixList`] is the public suffix list, for hosts that find the organizational domain with
//!   it ([`Method::Suffixes`]); without one the tree is walked ([`Method::TreeWalk`]).
//! * Reports about what was found: the module `report`.

mod check;
mod record;
mod suffix;
mod verdict;

pub use check::{Dmarc, DmarcRequest, Method, WALK_MAX, author_domain};
pub use record::{
    Alignment, DmarcRecord, DmarcRecordError, MAILBOXES_MAX, Policy, RECORD_MAX, ReportUri,
    is_dmarc, permits_reports, report_permission_name,
};
pub use suffix::{RULES_MAX, SuffixList};
pub use verdict::{AuthorProblem, Disposition, DmarcResult, DmarcVerdict, Found};
