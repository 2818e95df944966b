//! The attacks that the rules are made for, under a clock of our own, and their pass marks.

use std::net::IpAddr;

use events::{Account, Event, Kind, Secret, Service};

use super::judge::{Judge, Reason, Verdict};
use super::never::Never;
use crate::prefix::Prefix;

struct Stage {
    judge: Judge,
    never: Never,
    verdicts: Vec<(i64, Verdict)>,
}

fn ip(t: &str) -> IpAddr {
    t.parse().unwrap()
}

impl Stage {
    fn new() -> Stage {
        Stage {
            judge: Judge::new(7, 0x1234_5678),
            never: Never::new(&[], false),
            verdicts: Vec::new(),
        }
    }

    fn event(&mut self, now: i64, kind: Kind, address: IpAddr, login: &str, password: &str) {
        let event = Event {
            service: if matches!(kind, Kind::AuthFail | Kind::AuthOk) {
                Service::Submission
            } else {
                Service::Mx
            },
            kind,
            address,
            port: 40_000,
            account: (!login.is_empty()).then(|| Account::of(login)),
            secret: (!password.is_empty()).then(|| Secret::of(77, password.as_bytes())),
            session: 1,
            count: 1,
        };
        let verdicts = &mut self.verdicts;
        self.judge
            .event(now, &event, &self.never, &mut |v| verdicts.push((now, v)));
    }

    fn bans(&self) -> Vec<(i64, Prefix, Reason)> {
        self.verdicts
            .iter()
            .filter_map(|(t, v)| match v {
                Verdict::Ban { prefix, reason } => Some((*t, *prefix, *reason)),
                _ => None,
            })
            .collect()
    }

    fn banned(&self, address: IpAddr) -> bool {
        self.bans()
            .iter()
            .any(|(_, p, _)| p.covers(Prefix::host(address)))
    }
}

#[test]
fn one_address_a_thousand_tries_a_minute() {
    let mut s = Stage::new();
    for i in 0..1_000 {
        s.event(
            i / 17,
            Kind::AuthFail,
            ip("203.0.113.9"),
            "alice",
            &format!("guess{i}"),
        );
    }
    let (when, prefix, reason) = s.bans()[0];
    assert_eq!(
        (prefix.to_string().as_str(), reason),
        ("203.0.113.9", Reason::Guessing)
    );
    assert!(when <= 1, "{when}");
    assert!(
        s.bans().iter().all(|(_, p, _)| p.is_host()),
        "nobody beside it"
    );
}

#[test]
fn five_thousand_addresses_against_one_account() {
    // One try an hour each, for five hours. The owner logs in and mistypes now and then.
    let mut s = Stage::new();
    let owner = ip("198.51.100.77");
    for hour in 0..5i64 {
        for n in 0..5_000u32 {
            let a = IpAddr::from((0x2d00_0000u32 + n * 977).to_be_bytes());
            let now = hour * 3_600 + i64::from(n) * 7 / 10;
            s.event(now, Kind::AuthFail, a, "boss", &format!("g{hour}-{n}"));
        }
        let now = hour * 3_600 + 1_800;
        s.event(now, Kind::AuthFail, owner, "boss", "my-old-one");
        s.event(now + 5, Kind::AuthOk, owner, "boss", "");
    }
    let attacked = s.verdicts.iter().find_map(|(t, v)| match v {
        Verdict::Attacked { account, places } => Some((*t, *account, *places)),
        _ => None,
    });
    let (when, account, places) = attacked.expect("an alarm");
    assert!(when < 60, "told within a minute: {when}");
    assert_eq!(account, Account::of("boss").number());
    assert!(places >= 8);
    assert!(s.judge.is_attacked(4 * 3_600 + 1_800, account));
    assert!(!s.banned(owner), "the owner is not shut out");
    let alarms = s
        .verdicts
        .iter()
        .filter(|(_, v)| matches!(v, Verdict::Attacked { .. }))
        .count();
    assert!(alarms <= 5, "not a flood of alarms: {alarms}");
}

#[test]
fn low_and_slow_is_remembered() {
    let mut s = Stage::new();
    for hour in 0..60 {
        s.event(
            hour * 3_600,
            Kind::AuthFail,
            ip("203.0.113.9"),
            "alice",
            &format!("g{hour}"),
        );
    }
    assert!(
        s.banned(ip("203.0.113.9")),
        "one try an hour is found within 60 hours"
    );
}

#[test]
fn a_new_address_of_one_64_each_time() {
    let mut s = Stage::new();
    for i in 0..200u128 {
        let a = std::net::Ipv6Addr::from(0x2001_0db8_0001_0002u128 << 64 | (i * 7_919 + 1));
        s.event(
            i as i64,
            Kind::AuthFail,
            a.into(),
            &format!("u{}", i % 3),
            &format!("g{i}"),
        );
        if s.banned(a.into()) {
            assert!(i < 12, "{i}");
            assert_eq!(s.bans()[0].1.to_string(), "2001:db8:1:2::/64");
            return;
        }
    }
    panic!("never banned");
}

#[test]
fn a_new_64_of_one_48_each_time() {
    let mut s = Stage::new();
    for i in 0..400u128 {
        let a = std::net::Ipv6Addr::from(0x2001_0db8_0001u128 << 80 | i << 64 | 1);
        s.event(
            i as i64 * 3,
            Kind::AuthFail,
            a.into(),
            "alice",
            &format!("g{i}"),
        );
        if let Some((_, prefix, _)) = s.bans().last() {
            if prefix.length() == 48 {
                assert!(i < 120, "{i}");
                return;
            }
        }
    }
    panic!("the /48 was never banned");
}

#[test]
fn two_hundred_neighbours_twice_each() {
    let mut s = Stage::new();
    for round in 0..2i64 {
        for n in 0..200u8 {
            let now = round * 7_200 + i64::from(n) * 30;
            s.event(
                now,
                Kind::AuthFail,
                IpAddr::from([203, 0, 113, n]),
                "alice",
                &format!("g{round}-{n}"),
            );
        }
    }
    let bans = s.bans();
    assert!(
        bans.iter()
            .any(|(_, p, _)| p.to_string() == "203.0.113.0/24"),
        "{bans:?}"
    );
    // A neighbour who logs in well keeps the network open; he himself is not shut out.
    let mut s = Stage::new();
    s.event(0, Kind::AuthOk, ip("203.0.113.250"), "bob", "");
    for n in 0..200u8 {
        for g in 0..2 {
            s.event(
                i64::from(n),
                Kind::AuthFail,
                IpAddr::from([203, 0, 113, n]),
                "alice",
                &format!("{g}-{n}"),
            );
        }
    }
    assert!(!s.banned(ip("203.0.113.250")), "{:?}", s.bans());
}

#[test]
fn spraying_few_tries_at_many_accounts() {
    // From one address, one try at each account, slowly: 12 minutes between tries.
    let mut s = Stage::new();
    for i in 0..16 {
        s.event(
            i * 720,
            Kind::AuthFail,
            ip("203.0.113.9"),
            &format!("user{i}"),
            &format!("p{i}"),
        );
    }
    let bans = s.bans();
    assert!(bans.iter().any(|b| b.2 == Reason::Spraying), "{bans:?}");
    // One password from many addresses: told, and its users are found sooner.
    let mut s = Stage::new();
    for i in 0..60u32 {
        let a = IpAddr::from((0x2d00_0000u32 + i % 15 * 99_991).to_be_bytes());
        s.event(
            i64::from(i) * 20,
            Kind::AuthFail,
            a,
            &format!("user{i}"),
            "Winter2026!",
        );
    }
    assert!(
        s.verdicts
            .iter()
            .any(|(_, v)| matches!(v, Verdict::Sprayed { .. }))
    );
    assert!(!s.bans().is_empty());
}

#[test]
fn the_same_wrong_password_again_is_forgiven() {
    // A telephone with an old password asks every minute for three days.
    let mut s = Stage::new();
    for minute in 0..3 * 24 * 60 {
        s.event(
            minute * 60,
            Kind::AuthFail,
            ip("198.51.100.5"),
            "carol",
            "last-years",
        );
    }
    assert_eq!(s.bans(), []);
    // Two such behind one address, and a person who mistypes three times.
    for i in 0..600 {
        s.event(
            i * 60,
            Kind::AuthFail,
            ip("198.51.100.6"),
            ["d", "e"][i as usize % 2],
            "old",
        );
    }
    for i in 0..3 {
        s.event(
            50_000 + i * 9,
            Kind::AuthFail,
            ip("198.51.100.6"),
            "f",
            &format!("typo{i}"),
        );
    }
    assert_eq!(s.bans(), []);
}

#[test]
fn a_good_address_is_forgiven_but_not_everything() {
    let mut s = Stage::new();
    let office = ip("198.51.100.8");
    s.event(0, Kind::AuthOk, office, "gwen", "");
    for i in 0..20 {
        s.event(10 + i, Kind::AuthFail, office, "gwen", &format!("typo{i}"));
    }
    assert_eq!(s.bans(), [], "twenty mistakes at one's own account");
    for i in 0..100 {
        s.event(
            100 + i,
            Kind::AuthFail,
            office,
            &format!("x{i}"),
            &format!("g{i}"),
        );
    }
    assert!(s.banned(office), "guessing at others from there ends");
    // Eight days later the login no longer helps.
    let mut s = Stage::new();
    s.event(0, Kind::AuthOk, office, "gwen", "");
    for i in 0..6 {
        s.event(
            8 * 86_400 + i,
            Kind::AuthFail,
            office,
            "gwen",
            &format!("typo{i}"),
        );
    }
    assert!(s.banned(office));
}

#[test]
fn relay_probes() {
    let mut s = Stage::new();
    for i in 0..3 {
        s.event(i, Kind::RelayDenied, ip("203.0.113.9"), "", "");
    }
    assert_eq!(s.bans(), [], "a wrong setting");
    for i in 3..5 {
        s.event(i, Kind::RelayDenied, ip("203.0.113.9"), "", "");
    }
    assert_eq!(s.bans()[0].2, Reason::Relaying);
}

#[test]
fn harvesting_by_share_not_by_count() {
    let mut s = Stage::new();
    let mut asked = 0;
    for i in 0..200 {
        let kind = if i % 20 == 19 {
            Kind::RcptOk
        } else {
            Kind::RcptUnknown
        };
        s.event(i, kind, ip("203.0.113.9"), "", "");
        asked += 1;
        if !s.bans().is_empty() {
            break;
        }
    }
    assert_eq!(s.bans()[0].2, Reason::Harvesting);
    assert!(asked <= 20, "{asked}");
    // A list with a fifth of its subscribers gone sends a thousand times.
    let mut s = Stage::new();
    for i in 0..1_000 {
        let kind = if i % 5 == 0 {
            Kind::RcptUnknown
        } else {
            Kind::RcptOk
        };
        s.event(i, kind, ip("198.51.100.20"), "", "");
    }
    assert_eq!(s.bans(), []);
}

#[test]
fn connections_held_open_and_early_talkers() {
    let mut s = Stage::new();
    for i in 0..2_000 {
        s.event(i / 100, Kind::Slow, ip("203.0.113.9"), "", "");
    }
    assert_eq!(s.bans()[0].2, Reason::Misbehaving);
    assert!(s.bans()[0].0 <= 1);
    let mut s = Stage::new();
    for i in 0..4 {
        s.event(i, Kind::EarlyTalk, ip("203.0.113.9"), "", "");
    }
    assert!(s.banned(ip("203.0.113.9")));
    // Many connections and broken handshakes alone are not an attack.
    let mut s = Stage::new();
    for i in 0..5_000 {
        s.event(i, Kind::Connect, ip("198.51.100.30"), "", "");
    }
    for i in 0..20 {
        s.event(i * 60, Kind::TlsFail, ip("198.51.100.30"), "", "");
    }
    assert_eq!(s.bans(), []);
}

#[test]
fn who_is_never_banned_is_not_and_neither_is_his_network() {
    let mut s = Stage::new();
    s.never = Never::new(&["203.0.113.77".parse().unwrap()], false);
    for n in 0..200u8 {
        for g in 0..8 {
            s.event(
                i64::from(n),
                Kind::AuthFail,
                IpAddr::from([203, 0, 113, n]),
                "a",
                &format!("{g}{n}"),
            );
            s.event(
                i64::from(n),
                Kind::AuthFail,
                ip("127.0.0.1"),
                "a",
                &format!("{g}{n}"),
            );
        }
    }
    assert!(!s.banned(ip("203.0.113.77")) && !s.banned(ip("127.0.0.1")));
    assert!(s.banned(ip("203.0.113.78")), "the others one by one");
}

#[test]
fn memory_stays_bounded() {
    let mut s = Stage::new();
    s.judge = Judge::sized(7, 3, 10_000);
    for n in 0..50_000u32 {
        let a = IpAddr::from(n.wrapping_mul(2_654_435_761).to_be_bytes());
        if !a.is_loopback() {
            s.event(i64::from(n) / 1_000, Kind::TlsFail, a, "", "");
        }
    }
    let (tracked, forgotten) = s.judge.tracked();
    assert!(tracked <= 10_000 && forgotten > 0, "{tracked} {forgotten}");
}
