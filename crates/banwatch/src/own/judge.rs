//! The rules for mail.
//!
//! Every offence counts at once for the address and for the networks around it; each of these
//! levels has limits of its own, and the widest one that is passed is the one that is banned. A
//! wide level wants several different addresses besides, and is left alone while somebody in it
//! has lately logged in well or it holds an address that is never banned; a narrower level can
//! then still be.

use std::net::IpAddr;

use events::{Event, Kind, Service};

use super::account::{PLACES, SPRAYED, Seen, Windows};
use super::memory::{Memory, Weighed};
use super::never::Never;
use super::score::Score;
use crate::prefix::Prefix;

/// Networks remembered at once. At 96 octets each in the worst case.
pub const TRACKED_MAX: usize = 1_000_000;
/// Addresses remembered for a good login.
pub const GOOD_MAX: usize = 200_000;
/// Pairs of address and account whose last wrong passwords are remembered.
pub const MISTAKES_MAX: usize = 50_000;
/// Different wrong passwords remembered of such a pair.
pub const MISTAKES: usize = 4;

/// What an offence of a known-good address at a foreign account counts.
const GOOD_SHARE: f32 = 0.2;
/// What the same wrong password again counts in a burst. In the long run it counts nothing.
const AGAIN: f32 = 0.02;
/// How much more an attempt with a sprayed password counts.
const SPRAY_FACTOR: f32 = 3.0;
/// Recipients that do not exist before their share matters.
pub const HARVEST_MIN: u16 = 12;
/// The share of recipients that do not exist from which it is harvesting.
pub const HARVEST_SHARE: f32 = 0.6;
/// Different accounts tried in vain from one address or network before it is spraying.
pub const SPRAY_ACCOUNTS: f32 = 8.0;

/// The limits of one level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Prefix length.
    pub length: u8,
    /// Fast score (half-life 10 minutes) from which it is banned.
    pub fast: f32,
    /// Slow score (half-life 2 days) from which it is banned.
    pub slow: f32,
    /// Different addresses (in the two widest IPv6 levels: /64) that must have taken part.
    pub distinct: f32,
}

/// The levels of IPv4, narrow to wide.
pub const LEVELS_V4: [Level; 2] = [
    Level {
        length: 32,
        fast: 5.0,
        slow: 25.0,
        distinct: 0.0,
    },
    Level {
        length: 24,
        fast: 25.0,
        slow: 60.0,
        distinct: 6.0,
    },
];

/// The levels of IPv6, narrow to wide. A /64 is what one customer has at least.
pub const LEVELS_V6: [Level; 4] = [
    Level {
        length: 128,
        fast: 5.0,
        slow: 25.0,
        distinct: 0.0,
    },
    Level {
        length: 64,
        fast: 6.0,
        slow: 30.0,
        distinct: 1.5,
    },
    Level {
        length: 56,
        fast: 20.0,
        slow: 60.0,
        distinct: 3.5,
    },
    Level {
        length: 48,
        fast: 40.0,
        slow: 100.0,
        distinct: 6.0,
    },
];

/// Why a network is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Wrong passwords.
    Guessing,
    /// Few tries each at many accounts.
    Spraying,
    /// Too large a share of recipients that do not exist.
    Harvesting,
    /// Relay probes.
    Relaying,
    /// Talking before the greeting, nonsense, endless waiting.
    Misbehaving,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 5] = [
        Reason::Guessing,
        Reason::Spraying,
        Reason::Harvesting,
        Reason::Relaying,
        Reason::Misbehaving,
    ];

    /// The name of the jail in lists and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Guessing => "mail-guessing",
            Reason::Spraying => "mail-spraying",
            Reason::Harvesting => "mail-harvesting",
            Reason::Relaying => "mail-relaying",
            Reason::Misbehaving => "mail-misbehaving",
        }
    }
}

/// What follows from an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Ban this network.
    Ban {
        /// Whom.
        prefix: Prefix,
        /// For what.
        reason: Reason,
    },
    /// Somebody guesses at this account from many places. Its owner must not be locked out: the
    /// answer is to slow its logins down and to tell the admin.
    Attacked {
        /// The account's number.
        account: u64,
        /// From about how many networks in the last hour.
        places: u32,
    },
    /// One password is tried at many accounts.
    Sprayed {
        /// About how many accounts in the last hour.
        accounts: u32,
    },
}

/// A good login from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Good {
    /// Second of the last one.
    pub last: i64,
    /// The account's number, 0 for none.
    pub account: u64,
}

impl Weighed for Good {
    fn weight(&self, _: i64) -> f32 {
        self.last as f32
    }
}

#[derive(Clone, Copy, Debug)]
struct Mistakes {
    last: i64,
    secrets: [u64; MISTAKES],
}

impl Weighed for Mistakes {
    fn weight(&self, _: i64) -> f32 {
        self.last as f32
    }
}

/// The judge and all that it remembers.
#[derive(Debug)]
pub struct Judge {
    scores: Memory<Prefix, Score>,
    good: Memory<Prefix, Good>,
    mistakes: Memory<(Prefix, u64), Mistakes>,
    accounts: Windows,
    passwords: Windows,
    /// For how long a good login helps, in seconds.
    good_for: i64,
    key: u64,
}

fn levels(address: IpAddr) -> &'static [Level] {
    if address.is_ipv4() {
        &LEVELS_V4
    } else {
        &LEVELS_V6
    }
}

/// The network that stands for one customer: the address itself, in IPv6 its /64.
fn customer(prefix: Prefix) -> Prefix {
    if prefix.is_v4() {
        prefix
    } else {
        prefix.widen(64)
    }
}

/// What an event counts, now and in the long run; `None` when it is no offence.
fn offence(event: &Event) -> Option<(Reason, f32, f32)> {
    let mx = event.service == Service::Mx;
    Some(match event.kind {
        Kind::AuthFail => (Reason::Guessing, 1.0, 1.0),
        // A wrong setting relays once or twice; a probe goes on.
        Kind::RelayDenied => (Reason::Relaying, 1.5, 1.5),
        Kind::EarlyTalk => (Reason::Misbehaving, 1.5, 1.0),
        // Broken senders exist, and mail of theirs is wanted.
        Kind::Syntax => (Reason::Misbehaving, if mx { 0.3 } else { 0.6 }, 0.2),
        Kind::TlsFail => (Reason::Misbehaving, 0.1, 0.02),
        Kind::Slow => (Reason::Misbehaving, 0.5, 0.3),
        Kind::AuthOk | Kind::RcptOk | Kind::RcptUnknown | Kind::Connect => return None,
    })
}

impl Judge {
    /// A judge who remembers nothing. `good_days`: for how many days a good login helps. `key`
    /// is random: it decides how different things are counted, so that nobody can choose ones
    /// that are counted as one.
    #[must_use]
    pub fn new(good_days: u32, key: u64) -> Judge {
        Judge::sized(good_days, key, TRACKED_MAX)
    }

    /// As [`Judge::new`], for at most `tracked` networks.
    #[must_use]
    pub fn sized(good_days: u32, key: u64, tracked: usize) -> Judge {
        Judge {
            scores: Memory::new(tracked),
            good: Memory::new(GOOD_MAX),
            mistakes: Memory::new(MISTAKES_MAX),
            accounts: Windows::new(PLACES),
            passwords: Windows::new(SPRAYED),
            good_for: i64::from(good_days) * 86_400,
            key,
        }
    }

    /// One event at `now` (seconds since 1970). At most two verdicts are given to `out`.
    pub fn event(&mut self, now: i64, event: &Event, never: &Never, out: &mut dyn FnMut(Verdict)) {
        let host = Prefix::host(event.address);
        match event.kind {
            Kind::AuthOk => self.logged_in(now, host, event.account.map_or(0, |a| a.number())),
            Kind::RcptOk => {
                if let Some(s) = self.scores.get_mut(&customer(host)) {
                    s.recipient(now, true);
                } else {
                    self.scores
                        .entry(now, customer(host), || Score::new(now))
                        .recipient(now, true);
                }
            }
            Kind::RcptUnknown => self.unknown_recipient(now, host, never, out),
            Kind::Connect => {}
            _ => self.offended(now, host, event, never, out),
        }
    }

    /// A good login, seen now or read back from the state file.
    pub fn logged_in(&mut self, now: i64, host: Prefix, account: u64) {
        let good = Good { last: now, account };
        *self.good.entry(now, customer(host), || good) = good;
        for level in levels(host.address()).iter().skip(1) {
            *self.good.entry(now, host.widen(level.length), || good) = good;
        }
    }

    /// The last good login from a network, if it is recent enough to help.
    #[must_use]
    pub fn good(&self, now: i64, prefix: Prefix) -> Option<Good> {
        self.good
            .get(&prefix)
            .copied()
            .filter(|g| now - g.last <= self.good_for)
    }

    /// Customers with good logins, for the state file.
    pub fn all_good(&self, now: i64) -> impl Iterator<Item = (Prefix, Good)> + '_ {
        self.good
            .iter()
            .filter(move |(p, g)| **p == customer(**p) && now - g.last <= self.good_for)
            .filter(|(p, _)| {
                if p.is_v4() {
                    p.is_host()
                } else {
                    p.length() == 64
                }
            })
            .map(|(p, g)| (*p, *g))
    }

    /// Whether an account is being guessed at from many places now.
    #[must_use]
    pub fn is_attacked(&self, now: i64, account: u64) -> bool {
        self.accounts.is_hot(now, account)
    }

    fn unknown_recipient(
        &mut self,
        now: i64,
        host: Prefix,
        never: &Never,
        out: &mut dyn FnMut(Verdict),
    ) {
        let who = customer(host);
        let score = self.scores.entry(now, who, || Score::new(now));
        score.recipient(now, false);
        let (count, share) = score.unknown_share();
        if count >= HARVEST_MIN
            && share >= HARVEST_SHARE
            && never.forbids(who).is_none()
            && self.good(now, who).is_none()
        {
            if let Some(score) = self.scores.get_mut(&who) {
                score.answered();
            }
            out(Verdict::Ban {
                prefix: who,
                reason: Reason::Harvesting,
            });
        }
    }

    /// Whether this pair has failed with this password before; remembers it.
    fn same_mistake(&mut self, now: i64, who: Prefix, account: u64, secret: u64) -> bool {
        let none = Mistakes {
            last: now,
            secrets: [0; MISTAKES],
        };
        let m = self.mistakes.entry(now, (who, account), || none);
        m.last = now;
        if m.secrets.contains(&secret) {
            return true;
        }
        m.secrets.rotate_right(1);
        if let Some(first) = m.secrets.first_mut() {
            *first = secret;
        }
        false
    }

    fn offended(
        &mut self,
        now: i64,
        host: Prefix,
        event: &Event,
        never: &Never,
        out: &mut dyn FnMut(Verdict),
    ) {
        let Some((mut reason, mut fast, mut slow)) = offence(event) else {
            return;
        };
        let who = customer(host);
        let good = self.good(now, who);
        let mut account = event.account.map(|a| a.number());
        if event.kind == Kind::AuthFail {
            let place = host
                .widen(if host.is_v4() { 24 } else { 64 })
                .spread(self.key);
            let number = account.unwrap_or(0);
            let secret = event.secret.map_or(0, |s| s.number());
            if let Some(a) = account {
                if let Seen::Alarm(places) = self.accounts.failed(now, a, place) {
                    out(Verdict::Attacked { account: a, places });
                }
            }
            if secret != 0 {
                // Not the same mistake but the same guess: one password at many accounts.
                match self.passwords.failed(now, secret, mixed(number ^ self.key)) {
                    Seen::Alarm(accounts) => out(Verdict::Sprayed { accounts }),
                    Seen::Lasting => {
                        fast *= SPRAY_FACTOR;
                        slow *= SPRAY_FACTOR;
                    }
                    Seen::Quiet => {}
                }
                if self.same_mistake(now, who, number, secret) {
                    (fast, slow, account) = (AGAIN, 0.0, None);
                }
            }
            if let Some(good) = good {
                if account.is_none_or(|a| a == good.account) {
                    // The owner at his own door. A guesser behind the same address is held by
                    // the slowness of the password check.
                    (fast, slow) = (fast * GOOD_SHARE, 0.0);
                } else {
                    (fast, slow) = (fast * GOOD_SHARE, slow * GOOD_SHARE);
                }
                account = None;
            }
        } else if good.is_some() {
            (fast, slow) = (fast * GOOD_SHARE, slow * GOOD_SHARE);
        }
        let mut hit = None;
        for level in levels(host.address()) {
            let prefix = host.widen(level.length);
            let score = self.scores.entry(now, prefix, || Score::new(now));
            score.add(now, fast, slow);
            let counted = if level.length < 64 && !host.is_v4() {
                who
            } else {
                host
            };
            score.addresses.add(counted.spread(self.key));
            if let Some(a) = account {
                score.accounts.add(mixed(a ^ self.key));
            }
            let (f, s) = score.at(now);
            let sprays = score.accounts.count() >= SPRAY_ACCOUNTS;
            let wide = level.distinct > 0.0;
            if (f >= level.fast || s >= level.slow || (sprays && !wide))
                && score.addresses.count() >= level.distinct
                && never.forbids(prefix).is_none()
                && !(wide && self.good(now, prefix).is_some())
            {
                if sprays {
                    reason = Reason::Spraying;
                }
                hit = Some(prefix);
            }
        }
        if let Some(prefix) = hit {
            for level in levels(host.address()) {
                let inner = host.widen(level.length);
                if prefix.covers(inner) {
                    if let Some(score) = self.scores.get_mut(&inner) {
                        score.answered();
                    }
                }
            }
            out(Verdict::Ban { prefix, reason });
        }
    }

    /// Networks tracked now, and how many were forgotten for want of room.
    #[must_use]
    pub fn tracked(&self) -> (usize, u64) {
        (self.scores.len(), self.scores.forgotten())
    }

    /// Present scores of a network, fast and slow.
    #[must_use]
    pub fn score(&self, now: i64, prefix: Prefix) -> Option<(f32, f32)> {
        self.scores.get(&prefix).map(|s| s.at(now))
    }

    /// Drops what no longer matters. Called once an hour or so.
    pub fn tidy(&mut self, now: i64) {
        let good_for = self.good_for;
        self.scores
            .retain(|_, s| s.weight(now) > 0.02 || s.unknown_share().0 > 0);
        self.good.retain(|_, g| now - g.last <= good_for);
        self.mistakes.retain(|_, m| now - m.last <= 7 * 86_400);
    }
}

/// A number whose every bit depends on every bit of `n`.
fn mixed(n: u64) -> u64 {
    let n = (n ^ n >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let n = (n ^ n >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    n ^ n >> 32
}
