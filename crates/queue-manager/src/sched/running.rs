//! Deliveries under way, and until when each has to be answered.

use std::collections::{BTreeSet, HashMap};

use super::lane::Job;

/// All deliveries under way, by number.
#[derive(Debug, Default)]
pub(super) struct Running {
    jobs: HashMap<u64, (Job, u64)>,
    /// Moment in monotonic milliseconds and number, of each.
    overdue: BTreeSet<(u64, u64)>,
}

impl Running {
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Takes note of a delivery that has to be answered before `overdue_ms`.
    pub(super) fn insert(&mut self, number: u64, job: Job, overdue_ms: u64) {
        self.jobs.insert(number, (job, overdue_ms));
        self.overdue.insert((overdue_ms, number));
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.jobs.contains_key(&number)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Job> {
        self.jobs.get_mut(&number).map(|(job, _)| job)
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Job> {
        let (job, overdue_ms) = self.jobs.remove(&number)?;
        self.overdue.remove(&(overdue_ms, number));
        Some(job)
    }

    /// When the next delivery has had its time.
    pub(super) fn next_overdue(&self) -> Option<u64> {
        self.overdue.first().map(|(at, _)| *at)
    }

    /// A delivery that has had its time, if there is one; it stays under way.
    pub(super) fn pop_overdue(&mut self, now_ms: u64) -> Option<u64> {
        let &(at, number) = self.overdue.first()?;
        if at > now_ms {
            return None;
        }
        self.overdue.pop_first();
        Some(number)
    }
}
