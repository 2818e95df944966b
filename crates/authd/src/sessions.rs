//! The session processes that live, counted by user.

use std::collections::HashMap;

/// Who has sessions.
#[derive(Default)]
pub struct Sessions {
    by_pid: HashMap<u32, Box<str>>,
    by_user: HashMap<Box<str>, u32>,
}

impl Sessions {
    /// Whether one more of this user fits under both limits.
    pub fn has_room(&self, user: &str, in_all: u32, per_user: u32) -> bool {
        self.by_pid.len() < in_all as usize && self.of(user) < per_user
    }

    /// How many a user has.
    pub fn of(&self, user: &str) -> u32 {
        self.by_user.get(user).copied().unwrap_or(0)
    }

    /// A session process has been started.
    pub fn started(&mut self, pid: u32, user: &str) {
        // A pid comes back only after it was reaped.
        if self.by_pid.insert(pid, user.into()).is_none() {
            *self.by_user.entry(user.into()).or_default() += 1;
        }
    }

    /// A process has ended; gives its user if it was a session.
    pub fn ended(&mut self, pid: u32) -> Option<Box<str>> {
        let user = self.by_pid.remove(&pid)?;
        if let Some(count) = self.by_user.get_mut(&user) {
            *count -= 1;
            if *count == 0 {
                self.by_user.remove(&user);
            }
        }
        Some(user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_counts() {
        let mut sessions = Sessions::default();
        for pid in 1..=3 {
            assert!(sessions.has_room("al", 4, 3));
            sessions.started(pid, "al");
        }
        assert!(!sessions.has_room("al", 4, 3));
        assert!(sessions.has_room("bo", 4, 3));
        sessions.started(4, "bo");
        assert!(!sessions.has_room("bo", 4, 3));
        assert_eq!(sessions.ended(2).as_deref(), Some("al"));
        assert_eq!(sessions.ended(2), None);
        assert_eq!(sessions.of("al"), 2);
        assert!(sessions.has_room("al", 4, 3));
        for pid in [1, 3, 4] {
            sessions.ended(pid);
        }
        assert!(sessions.by_pid.is_empty() && sessions.by_user.is_empty());
    }
}
