use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// A jail of fail2ban's, beyond our own rules.
const JAIL: u16 = 7;

fn p(t: &str) -> Prefix {
    t.parse().unwrap()
}

#[test]
fn longer_each_time_and_forgotten_in_the_end() {
    let g = Growth {
        first: 100,
        factor: 3,
        most: 1_000,
    };
    assert_eq!(
        [1, 2, 3, 4, 60].map(|n| g.seconds(n)),
        [100, 300, 900, 1_000, 1_000]
    );
    let mut b = Book::default();
    let a = p("192.0.2.1");
    let first = b
        .ban(1_000, a, Some(g.seconds(b.count(a, 0) + 1)), 0, true)
        .unwrap();
    assert_eq!((first.until, first.count), (1_100, 1));
    assert_eq!(
        b.ban(1_050, a, Some(50), 0, true),
        None,
        "it stands that long already"
    );
    assert_eq!(b.standing(a).unwrap().0, a);
    assert_eq!(b.expired(1_099), None);
    assert_eq!(b.expired(1_100).unwrap().prefix, a);
    assert_eq!(b.expired(1_100), None);
    assert_eq!((b.standing_count(), b.count(a, 0)), (0, 1));
    let second = b
        .ban(1_200, a, Some(g.seconds(b.count(a, 0) + 1)), 0, true)
        .unwrap();
    assert_eq!((second.until, second.count), (1_500, 2));
    assert!(b.expired(1_500).is_some());
    assert_eq!(b.expired(1_500 + i64::from(REMEMBER_MIN) - 1), None);
    assert_eq!(b.count(a, 0), 2);
    assert_eq!(b.expired(1_500 + i64::from(REMEMBER_MIN)), None);
    assert_eq!((b.count(a, 0), b.records(), b.next_end()), (0, 0, None));
}

#[test]
fn wide_bans_meet_what_is_in_them_and_lifting_lifts() {
    let mut b = Book::default();
    let net = p("2001:db8::/64");
    b.ban(0, net, None, 0, true);
    assert!(b.standing(p("2001:db8::77")).is_some());
    assert!(b.standing(p("2001:db8:0:1::77")).is_none());
    assert_eq!(b.next_end(), None);
    assert!(b.lift(net, 0).is_some() && b.lift(net, 0).is_none());
    assert_eq!(b.standing_count(), 0);
    // A longer ban over a shorter one: the end of the shorter one means nothing.
    b.ban(0, p("10.0.0.1"), Some(10), 0, true);
    b.ban(5, p("10.0.0.1"), Some(100), 0, true);
    assert_eq!(b.expired(50), None);
    assert_eq!(b.standing_count(), 1);
    assert_eq!(b.expired(105).unwrap().ban.count, 2);
}

#[test]
fn each_jail_counts_its_own_and_our_rules_count_together() {
    let mut b = Book::default();
    let a = p("192.0.2.1");
    assert_eq!(b.ban(0, a, Some(10), JAIL, true).unwrap().count, 1);
    assert_eq!(b.ban(0, a, Some(5), JAIL + 1, true).unwrap().count, 1);
    assert_eq!(b.ban(0, a, Some(5), 0, true).unwrap().count, 1);
    assert_eq!(
        b.ban(1, a, Some(20), 1, true).unwrap().count,
        2,
        "another rule of ours"
    );
    assert_eq!(
        (b.records(), b.standing_count(), b.of(a).count()),
        (3, 3, 3)
    );
    assert_eq!(b.expired(5).unwrap().ban.jail, JAIL + 1);
    assert_eq!(
        b.expired(5),
        None,
        "the first ban of our rules was made longer"
    );
    assert_eq!(
        b.ban(6, a, Some(4), JAIL, true),
        None,
        "it stands that long"
    );
    assert_eq!(b.ban(6, a, Some(50), JAIL + 1, true).unwrap().count, 2);
    assert_eq!(b.lift(a, JAIL).unwrap().count, 1);
    assert_eq!(
        (b.count(a, JAIL), b.count(a, JAIL + 1), b.count(a, 4)),
        (0, 2, 2)
    );
    b.forget(a);
    assert_eq!((b.records(), b.standing_count()), (0, 0));
    assert!(b.standing(a).is_none());
    while b.expired(i64::from(u32::MAX)).is_some() {}
    assert_eq!(b.next_end(), None);
}

#[test]
fn a_full_book_lets_go_of_what_is_only_remembered() {
    const MOST: usize = 64;
    let mut b = Book::sized(MOST);
    let who = |n: usize| Prefix::host((u32::try_from(n).unwrap()).to_be_bytes().into());
    let past = Ban {
        since: 1,
        until: 2,
        count: 1,
        jail: JAIL,
        enforced: true,
        stands: false,
    };
    for n in 0..MOST - 1 {
        b.restore(who(n), past);
    }
    assert_eq!(b.records(), MOST - 1);
    b.ban(10, who(MOST), None, JAIL, true);
    assert_eq!((b.records(), b.standing_count()), (MOST, 1));
    b.ban(10, who(MOST + 1), None, JAIL, true);
    assert_eq!((b.records(), b.standing_count()), (2, 2));
    assert!(b.get(who(MOST), JAIL).is_some() && b.get(who(5), JAIL).is_none());
}

#[test]
fn a_record_is_small() {
    assert_eq!(std::mem::size_of::<Kept>(), 36);
}

#[derive(Clone, Debug)]
enum Step {
    Ban(u8, u16, Option<i64>),
    Lift(u8, u16),
    Forget(u8),
    Pass(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let jail = || prop_oneof![0u16..3, 6u16..9];
    prop_oneof![
        4 => (0u8..24, jail(), prop::option::weighted(0.9, 1i64..200_000))
            .prop_map(|(n, j, t)| Step::Ban(n, j, t)),
        2 => (0u8..24, jail()).prop_map(|(n, j)| Step::Lift(n, j)),
        1 => (0u8..24).prop_map(Step::Forget),
        2 => (1i64..400_000).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Against a plain map that is searched from end to end.
    #[test]
    fn as_a_plain_map(steps in prop::collection::vec(step(), 1..120)) {
        let who = |n: u8| Prefix::new([10, 0, n / 8, n].into(), 24 + n % 9).unwrap();
        let mut book = Book::default();
        let mut plain: HashMap<(Prefix, u16), Ban> = HashMap::new();
        let mut now = 1_000;
        for s in steps {
            match s {
                Step::Ban(n, jail, time) => {
                    let made = book.ban(now, who(n), time, jail, true);
                    let old = plain.get(&(who(n), account(jail))).copied();
                    let until = time.map_or(i64::MAX, |t| now + t);
                    let stays = old.is_some_and(|b| b.stands && b.until >= until);
                    prop_assert_eq!(made.is_none(), stays);
                    if let Some(ban) = made {
                        prop_assert_eq!(ban.count, old.map_or(0, |b| b.count) + 1);
                        plain.insert((who(n), account(jail)), ban);
                    }
                }
                Step::Lift(n, jail) => {
                    let key = (who(n), account(jail));
                    let stood = plain.get(&key).is_some_and(|b| b.stands);
                    prop_assert_eq!(book.lift(who(n), jail).is_some(), stood);
                    if stood {
                        plain.remove(&key);
                    }
                }
                Step::Forget(n) => {
                    book.forget(who(n));
                    plain.retain(|(p, _), _| *p != who(n));
                }
                Step::Pass(time) => {
                    now += time;
                    while let Some(ended) = book.expired(now) {
                        prop_assert!(ended.ban.until <= now);
                    }
                    for b in plain.values_mut() {
                        b.stands &= b.until > now;
                    }
                    plain.retain(|(p, _), b| {
                        b.stands || i64::from(Kept::new(*p, *b).due()) > now
                    });
                }
            }
            prop_assert_eq!(book.records(), plain.len());
            prop_assert_eq!(book.standing_count(), plain.values().filter(|b| b.stands).count());
            for ((prefix, jail), ban) in &plain {
                prop_assert_eq!(book.get(*prefix, *jail), Some(*ban));
            }
            prop_assert_eq!(book.iter().count(), plain.len());
        }
    }
}
