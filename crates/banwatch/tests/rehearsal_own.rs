//! Attacks that our daemons report, under a clock of our own: those that hold connections, and
//! what all of them cost in memory. The others stand beside the rules (own/rehearsals.rs).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{IpAddr, Ipv6Addr};

use banwatch::own::judge::{Judge, Reason, Verdict};
use banwatch::own::never::Never;
use banwatch::prefix::Prefix;
use events::{Account, Event, Kind, Secret, Service};

fn event(kind: Kind, address: IpAddr, account: Option<&str>, secret: u64) -> Event {
    Event {
        service: Service::Submission,
        kind,
        address,
        port: 40_000,
        account: account.map(Account::of),
        secret: (secret > 0).then(|| Secret::of(7, &secret.to_le_bytes())),
        session: 1,
        count: 1,
    }
}

/// After how long smtpd cuts off whoever has not ended a command (settings: `command_timeout`).
const PATIENCE: i64 = 300;

/// Clients that give one octet each ten seconds: no command ever ends, so smtpd's clock runs out
/// `PATIENCE` after the last whole line, whatever came meanwhile, and they come again.
fn dribble(connections: usize) -> Option<(i64, Prefix, Reason)> {
    let slow: IpAddr = "203.0.113.9".parse().unwrap();
    let (mut judge, never) = (Judge::new(7, 1), Never::new(&[], false));
    let mut ban = None;
    // (when the last command ended, octets since then)
    let mut open = vec![(0i64, 0u32); connections];
    for now in (0..12 * 3_600).step_by(10) {
        for (since, octets) in &mut open {
            *octets += 1;
            if now - *since < PATIENCE {
                continue;
            }
            assert!(*octets >= 30, "it was never silent");
            (*since, *octets) = (now, 0);
            judge.event(now, &event(Kind::Slow, slow, None, 0), &never, &mut |v| {
                if let Verdict::Ban { prefix, reason } = v {
                    ban.get_or_insert((now, prefix, reason));
                }
            });
        }
    }
    ban
}

#[test]
fn one_octet_each_ten_seconds() {
    let slow = Prefix::host("203.0.113.9".parse().unwrap());
    // Enough of them to matter: shut out when they are cut off for the first time.
    assert_eq!(dribble(20), Some((PATIENCE, slow, Reason::Misbehaving)));
    // A single one costs nothing worth a hurry; it is not forgotten either.
    let (when, prefix, _) = dribble(1).expect("banned within half a day");
    assert!(prefix == slow && when <= 8 * 3_600, "{when}");
    // A user on a bad line who is cut off twice a day is not.
    let (mut judge, never) = (Judge::new(7, 1), Never::new(&[], false));
    let mut bans = 0;
    for half_day in 0..60 {
        let now = half_day * 43_200;
        judge.event(
            now,
            &event(Kind::Slow, slow.address(), None, 0),
            &never,
            &mut |v| {
                bans += u32::from(matches!(v, Verdict::Ban { .. }));
            },
        );
    }
    assert_eq!(bans, 0);
}

/// Two thousand connections from one address, held open as long as they may: the first that are
/// cut off shut out the rest, all in one second.
#[test]
fn two_thousand_connections_held_open() {
    let holder: IpAddr = "203.0.113.9".parse().unwrap();
    let (mut judge, never) = (Judge::new(7, 1), Never::new(&[], false));
    let mut needed = None;
    for n in 0..2_000 {
        judge.event(
            0,
            &event(Kind::Connect, holder, None, 0),
            &never,
            &mut |v| panic!("connecting alone: {v:?}"),
        );
        let _ = n;
    }
    for n in 1..=2_000u32 {
        judge.event(
            PATIENCE,
            &event(Kind::Slow, holder, None, 0),
            &never,
            &mut |v| {
                if matches!(v, Verdict::Ban { .. }) {
                    needed.get_or_insert(n);
                }
            },
        );
    }
    assert!(needed.unwrap() <= 11, "{needed:?}");
}

/// Every attack of the list at once, each from places that never come again: what is remembered
/// does not grow beyond its bound, and whoever is banned is one of them.
#[test]
fn memory_is_bounded_under_all_of_them_at_once() {
    const ROOM: usize = 4_000;
    let (mut judge, never) = (Judge::sized(7, 1, ROOM), Never::new(&[], false));
    let good: IpAddr = "198.51.100.9".parse().unwrap();
    judge.event(
        0,
        &event(Kind::AuthOk, good, Some("gwen"), 0),
        &never,
        &mut |_| {},
    );
    let mut most = 0;
    for n in 0..12_000u32 {
        let now = i64::from(n) / 500;
        let v4 = IpAddr::from((0x2d00_0000 + n.wrapping_mul(7_919) % 0x0100_0000).to_be_bytes());
        let v6 = Ipv6Addr::from(0x2001_0db8u128 << 96 | u128::from(n) << 64 | u128::from(n));
        let user = format!("user{n}");
        for e in [
            event(Kind::AuthFail, v4, Some("boss"), u64::from(n) + 1),
            event(Kind::AuthFail, v6.into(), Some(&user), u64::from(n) + 1),
            event(Kind::RelayDenied, v4, None, 0),
            event(Kind::RcptUnknown, v6.into(), None, 0),
            event(Kind::Slow, v4, None, 0),
        ] {
            judge.event(now, &e, &never, &mut |v| {
                if let Verdict::Ban { prefix, .. } = v {
                    assert!(!prefix.covers(Prefix::host(good)), "{prefix}");
                }
            });
        }
        most = most.max(judge.tracked().0);
    }
    assert!(most <= ROOM, "{most}");
    assert!(judge.tracked().1 > 0, "something was forgotten, and told");
}
