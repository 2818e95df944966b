//! What watch may ask of act, and what act answers: packets of at most 64 KiB over a pair.
//!
//! A packet is an operation (1 octet) and fields. Numbers are big end first; a text is its length
//! (2 octets) and UTF-8. Whoever reads believes nothing: a length that does not fit, a network
//! that is none, or an octet too many, and the packet is refused as a whole.

use std::net::IpAddr;

use super::values::{GROUPS_MAX, TEXT_MAX, Values, WHO_MAX, Who};
use crate::prefix::Prefix;

/// Longest name of a jail, in octets.
pub const JAIL_MAX: usize = 255;
/// Longest host name, in octets.
pub const NAME_MAX: usize = crate::f2b::filter::HOST_MAX;
/// Most addresses of a name.
pub const ADDRESSES_MAX: usize = 64;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Run the jail's actions for this ban.
    Ban(String, Box<Values>),
    /// This ban has become longer.
    Prolong(String, Box<Values>),
    /// This ban is over.
    Unban(String, Who),
    /// All bans of this jail are over.
    Flush(String),
    /// What stands follows; act answers nothing.
    Begin,
    /// This ban stands. It is made if it is not known here.
    Stands(String, Box<Values>),
    /// That was all: what was not named is over.
    End,
    /// The addresses of a name, please.
    Resolve(u32, String),
    /// Does the jail's `ignorecommand` say that this one is never banned?
    Ignore(u32, String, Box<Values>),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// I have just begun: what stands?
    Need,
    /// The addresses of a name; none when it has none or nobody knows.
    Addresses(u32, Vec<IpAddr>),
    /// Whether it is to be ignored.
    Ignored(u32, bool),
    /// Numbers that only grow: commands run, failed, killed for lack of time, bans dropped.
    Counts([u64; 4]),
}

/// The octets are not what watch or act write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("malformed packet")
    }
}

impl std::error::Error for Malformed {}

struct Out(Vec<u8>);

impl Out {
    fn begin(operation: u8) -> Out {
        Out(vec![operation])
    }

    fn text(&mut self, text: &str) -> &mut Out {
        let n = u16::try_from(text.len()).unwrap_or(0);
        self.0.extend(n.to_be_bytes());
        self.0
            .extend(text.as_bytes().get(..usize::from(n)).unwrap_or(&[]));
        self
    }

    fn address(&mut self, ip: IpAddr) -> &mut Out {
        self.0.extend(Prefix::host(ip).encode());
        self
    }

    fn who(&mut self, who: &Who) -> &mut Out {
        match who {
            Who::Net(p) => {
                self.0.push(b'n');
                self.0.extend(p.encode());
            }
            Who::Id(text) => {
                self.0.push(b'i');
                self.text(text);
            }
        }
        self
    }

    fn values(&mut self, v: &Values) -> &mut Out {
        self.who(&v.who);
        match v.address {
            Some(ip) => {
                self.0.push(1);
                self.address(ip);
            }
            None => self.0.push(0),
        }
        self.0.extend(v.time.to_be_bytes());
        self.0.extend(v.bantime.to_be_bytes());
        self.0.extend(v.count.to_be_bytes());
        self.0.push(u8::from(v.restored));
        for n in v.failures {
            self.0.extend(n.to_be_bytes());
        }
        for n in v.jail {
            self.0.extend(n.to_be_bytes());
        }
        for l in &v.lines {
            self.text(l);
        }
        self.0.push(u8::try_from(v.groups.len()).unwrap_or(0));
        for (name, value) in v.groups.iter().take(usize::from(u8::MAX)) {
            self.text(name).text(value);
        }
        self
    }
}

struct In<'a>(&'a [u8]);

impl In<'_> {
    fn octets<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.octets().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.octets().map(u64::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, Malformed> {
        self.octets().map(i64::from_be_bytes)
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.octets()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Malformed),
        }
    }

    fn text(&mut self, max: usize) -> Result<String, Malformed> {
        let n = usize::from(u16::from_be_bytes(self.octets()?));
        if n > max {
            return Err(Malformed);
        }
        let (head, rest) = self.0.split_at_checked(n).ok_or(Malformed)?;
        self.0 = rest;
        String::from_utf8(head.to_vec()).map_err(|_| Malformed)
    }

    fn net(&mut self) -> Result<Prefix, Malformed> {
        Prefix::decode(&self.octets()?).ok_or(Malformed)
    }

    fn address(&mut self) -> Result<IpAddr, Malformed> {
        let net = self.net()?;
        net.is_host().then(|| net.address()).ok_or(Malformed)
    }

    fn who(&mut self) -> Result<Who, Malformed> {
        match self.octets()? {
            [b'n'] => self.net().map(Who::Net),
            [b'i'] => {
                let text = self.text(WHO_MAX)?;
                match text.is_empty() {
                    true => Err(Malformed),
                    false => Ok(Who::Id(text.into())),
                }
            }
            _ => Err(Malformed),
        }
    }

    fn values(&mut self) -> Result<Box<Values>, Malformed> {
        let who = self.who()?;
        let address = match self.flag()? {
            true => Some(self.address()?),
            false => None,
        };
        let (time, bantime) = (self.i64()?, self.i64()?);
        let count = self.u32()?;
        let restored = self.flag()?;
        let failures = [self.u32()?, self.u32()?, self.u32()?];
        let jail = [self.u64()?, self.u64()?, self.u64()?, self.u64()?];
        let mut text = || self.text(TEXT_MAX);
        let lines = [text()?, text()?, text()?];
        let [groups] = self.octets()?;
        if usize::from(groups) > GROUPS_MAX {
            return Err(Malformed);
        }
        let mut v = Values {
            who,
            address,
            time,
            bantime,
            count,
            restored,
            failures,
            jail,
            lines,
            groups: Default::default(),
        };
        for _ in 0..groups {
            let name = self.text(super::tag::GROUP_MAX)?;
            // In order and each once, so that there is one way to write it.
            if v.groups
                .last_key_value()
                .is_some_and(|(last, _)| *last >= name)
            {
                return Err(Malformed);
            }
            let value = self.text(WHO_MAX)?;
            v.groups.insert(name, value);
        }
        Ok(Box::new(v))
    }

    fn jail(&mut self) -> Result<String, Malformed> {
        self.text(JAIL_MAX)
    }

    fn end<T>(self, value: T) -> Result<T, Malformed> {
        match self.0.is_empty() {
            true => Ok(value),
            false => Err(Malformed),
        }
    }
}

impl Request {
    /// The octets. Callers have bounded the values ([`Values::bound`]).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out;
        match self {
            Request::Ban(jail, v) | Request::Prolong(jail, v) | Request::Stands(jail, v) => {
                out = Out::begin(match self {
                    Request::Ban(..) => b'B',
                    Request::Prolong(..) => b'P',
                    _ => b'S',
                });
                out.text(jail).values(v);
            }
            Request::Unban(jail, who) => {
                out = Out::begin(b'U');
                out.text(jail).who(who);
            }
            Request::Flush(jail) => {
                out = Out::begin(b'F');
                out.text(jail);
            }
            Request::Begin => out = Out::begin(b'A'),
            Request::End => out = Out::begin(b'Z'),
            Request::Resolve(number, name) => {
                out = Out::begin(b'R');
                out.0.extend(number.to_be_bytes());
                out.text(name);
            }
            Request::Ignore(number, jail, v) => {
                out = Out::begin(b'I');
                out.0.extend(number.to_be_bytes());
                out.text(jail).values(v);
            }
        }
        out.0
    }

    /// Reads a question.
    ///
    /// # Errors
    /// [`Malformed`] for anything that [`Request::encode`] does not make.
    pub fn decode(octets: &[u8]) -> Result<Request, Malformed> {
        let mut r = In(octets);
        let request = match r.octets()? {
            [b'B'] => Request::Ban(r.jail()?, r.values()?),
            [b'P'] => Request::Prolong(r.jail()?, r.values()?),
            [b'S'] => Request::Stands(r.jail()?, r.values()?),
            [b'U'] => Request::Unban(r.jail()?, r.who()?),
            [b'F'] => Request::Flush(r.jail()?),
            [b'A'] => Request::Begin,
            [b'Z'] => Request::End,
            [b'R'] => Request::Resolve(r.u32()?, r.text(NAME_MAX)?),
            [b'I'] => Request::Ignore(r.u32()?, r.jail()?, r.values()?),
            _ => return Err(Malformed),
        };
        r.end(request)
    }
}

impl Answer {
    /// The octets. Addresses beyond [`ADDRESSES_MAX`] are left out.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out;
        match self {
            Answer::Need => out = Out::begin(b'n'),
            Answer::Addresses(number, all) => {
                out = Out::begin(b'a');
                out.0.extend(number.to_be_bytes());
                for ip in all.iter().take(ADDRESSES_MAX) {
                    out.address(*ip);
                }
            }
            Answer::Ignored(number, ignored) => {
                out = Out::begin(b'i');
                out.0.extend(number.to_be_bytes());
                out.0.push(u8::from(*ignored));
            }
            Answer::Counts(counts) => {
                out = Out::begin(b'c');
                out.0.extend(counts.iter().flat_map(|n| n.to_be_bytes()));
            }
        }
        out.0
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// [`Malformed`] for anything that [`Answer::encode`] does not make.
    pub fn decode(octets: &[u8]) -> Result<Answer, Malformed> {
        let mut r = In(octets);
        let answer = match r.octets()? {
            [b'n'] => Answer::Need,
            [b'a'] => {
                let number = r.u32()?;
                let mut all = Vec::new();
                while !r.0.is_empty() {
                    if all.len() >= ADDRESSES_MAX {
                        return Err(Malformed);
                    }
                    all.push(r.address()?);
                }
                Answer::Addresses(number, all)
            }
            [b'i'] => Answer::Ignored(r.u32()?, r.flag()?),
            [b'c'] => Answer::Counts([r.u64()?, r.u64()?, r.u64()?, r.u64()?]),
            _ => return Err(Malformed),
        };
        r.end(answer)
    }
}

/// For fuzzing: reads octets both ways and checks that what was read is written back the same.
///
/// # Panics
/// When it is not.
pub fn exercise(octets: &[u8]) {
    if let Ok(r) = Request::decode(octets) {
        assert!(r.encode() == octets, "request");
    }
    if let Ok(a) = Answer::decode(octets) {
        assert!(a.encode() == octets, "answer");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prefix::tests::any_prefix;

    fn any_who() -> impl Strategy<Value = Who> {
        prop_oneof![
            any_prefix().prop_map(Who::Net),
            "\\PC{1,20}".prop_map(|t| Who::Id(t.into())),
        ]
    }

    fn any_values() -> impl Strategy<Value = Values> {
        let numbers = (any::<i64>(), any::<i64>(), any::<u32>(), any::<bool>());
        let groups = prop::collection::btree_map("[a-z]{1,8}", "\\PC{0,12}", 0..4);
        let lines = ("\\PC{0,20}", "\\PC{0,20}", "\\PC{0,20}");
        (
            any_who(),
            any::<Option<[u8; 4]>>(),
            numbers,
            any::<[u32; 3]>(),
            any::<[u64; 4]>(),
            lines,
            groups,
        )
            .prop_map(
                |(who, ip, (time, bantime, count, restored), failures, jail, l, groups)| Values {
                    who,
                    address: ip.map(IpAddr::from),
                    time,
                    bantime,
                    count,
                    restored,
                    failures,
                    jail,
                    lines: [l.0, l.1, l.2],
                    groups,
                },
            )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn written_is_read(v in any_values(), jail in "[a-z]{0,9}", n: u32, counts: [u64; 4], ips: Vec<[u8; 4]>) {
            let b = || Box::new(v.clone());
            for r in [
                Request::Ban(jail.clone(), b()), Request::Prolong(jail.clone(), b()), Request::Stands(jail.clone(), b()),
                Request::Unban(jail.clone(), v.who.clone()), Request::Flush(jail.clone()), Request::Begin, Request::End,
                Request::Resolve(n, jail.clone()), Request::Ignore(n, jail.clone(), b()),
            ] {
                let octets = r.encode();
                prop_assert_eq!(Request::decode(&octets), Ok(r));
                for cut in 0..octets.len() {
                    prop_assert!(Request::decode(&octets[..cut]).is_err());
                }
            }
            let ips: Vec<IpAddr> = ips.into_iter().take(ADDRESSES_MAX).map(IpAddr::from).collect();
            for a in [Answer::Need, Answer::Addresses(n, ips), Answer::Ignored(n, true), Answer::Counts(counts)] {
                prop_assert_eq!(Answer::decode(&a.encode()), Ok(a));
            }
        }

        #[test]
        fn octets_are_refused_or_read_back(mut octets in prop::collection::vec(any::<u8>(), 1..90), op in 0usize..13) {
            if let (Some(first), Some(op)) = (octets.first_mut(), b"BPSUFAZRInaic".get(op)) {
                *first = *op;
            }
            exercise(&octets);
        }
    }

    #[test]
    fn limits() {
        let who = Who::Net("192.0.2.1".parse().unwrap());
        let jail = |n: usize| Request::Unban("j".repeat(n), who.clone()).encode();
        let name = |n: usize| Request::Resolve(1, "n".repeat(n)).encode();
        let lines = |n: usize| {
            let mut v = Values::of(who.clone(), 1, 1);
            v.lines = [0; 3].map(|_| "x".repeat(n));
            Request::Ban("j".to_owned(), Box::new(v)).encode()
        };
        let all = |n: usize| {
            let one = Prefix::host([192, 0, 2, 1].into()).encode();
            [&[b'a', 0, 0, 0, 1][..], &one.repeat(n)].concat()
        };
        for (n, good) in [(0, true), (1, true), (2, false)] {
            assert_eq!(Request::decode(&jail(JAIL_MAX - 1 + n)).is_ok(), good);
            assert_eq!(Request::decode(&name(NAME_MAX - 1 + n)).is_ok(), good);
            assert_eq!(Request::decode(&lines(TEXT_MAX - 1 + n)).is_ok(), good);
            assert_eq!(Answer::decode(&all(ADDRESSES_MAX - 1 + n)).is_ok(), good);
        }
        // The longest that there is fits into a packet.
        let mut v = Values::of(Who::Id("x".repeat(9_999).into()), 1, 1);
        v.lines = [0; 3].map(|_| "x".repeat(99_999));
        for i in 0..99 {
            v.groups.insert(format!("{i:064}"), "x".repeat(9_999));
        }
        v.bound();
        let octets = Request::Ban("j".repeat(JAIL_MAX), Box::new(v)).encode();
        assert!(
            octets.len() <= daemon::packet::PACKET_MAX,
            "{}",
            octets.len()
        );
        assert!(Request::decode(&octets).is_ok());
    }
}
