//! The resolver by hand: a virtual clock, answers made here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dns::{
    Answer, Cache, Command, FAILURE_TTL, Key, Kind, LOOKUP_DEADLINE, Lookup, Name, Outcome,
    Question, Records, Resolver, Settings, Transmit, TransmitId, Transport, Trouble,
};
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record};

const SERVERS: [&str; 3] = ["192.0.2.1:53", "192.0.2.2:53", "192.0.2.3:53"];

struct World {
    resolver: Resolver,
    now: Instant,
    sent: Vec<Transmit>,
    closed: Vec<TransmitId>,
    answers: Vec<(Key, Arc<Answer>)>,
}

impl World {
    fn new(servers: usize, attempts: u32) -> Self {
        Self::bounded(servers, attempts, 100)
    }

    fn bounded(servers: usize, attempts: u32, in_flight: usize) -> Self {
        let mut settings = Settings::new(
            SERVERS
                .iter()
                .take(servers)
                .map(|text| text.parse().unwrap())
                .collect(),
        );
        settings.attempts = attempts;
        // No divisor of the deadline of all.
        settings.timeout = Duration::from_secs(4);
        let mut state = 7_u64;
        let random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state >> 32
        };
        Self {
            resolver: Resolver::with_bounds(
                settings,
                Box::new(random),
                Cache::default(),
                in_flight,
            ),
            now: Instant::now(),
            sent: Vec::new(),
            closed: Vec::new(),
            answers: Vec::new(),
        }
    }

    fn drain(&mut self) {
        while let Some(command) = self.resolver.poll() {
            match command {
                Command::Send(transmit) => self.sent.push(transmit),
                Command::Close(id) => self.closed.push(id),
                Command::Answered(key, answer) => self.answers.push((key, answer)),
            }
        }
    }

    fn ask(&mut self, owner: &str) -> Lookup {
        let lookup = self.resolver.query(&question(owner), self.now);
        self.drain();
        lookup
    }

    /// Lets time pass to the next deadline.
    fn wait(&mut self) {
        self.now = self
            .resolver
            .next_timeout()
            .expect("something is under way");
        self.resolver.on_timeout(self.now);
        self.drain();
    }

    fn reply(&mut self, index: usize, bytes: &[u8]) {
        let transmit = self.sent[index].clone();
        match transmit.transport {
            Transport::Udp => {
                self.resolver
                    .on_datagram(transmit.id, transmit.server, bytes, self.now)
            }
            Transport::Tcp => self.resolver.on_stream(transmit.id, bytes, self.now),
        }
        self.drain();
    }

    fn fail(&mut self, index: usize) {
        let id = self.sent[index].id;
        self.resolver.on_failed(id, self.now);
        self.drain();
    }

    fn outcome(&self) -> &Outcome {
        assert_eq!(self.answers.len(), 1, "{:?}", self.answers);
        &self.answers[0].1.outcome
    }
}

fn question(owner: &str) -> Question {
    Question::new(Name::parse(owner).unwrap(), Kind::A)
}

fn respond(transmit: &Transmit, change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let asked = Message::from_vec(&transmit.payload).unwrap();
    let mut reply = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
    reply.add_queries(asked.queries);
    change(&mut reply);
    reply.to_vec().unwrap()
}

fn good(transmit: &Transmit, ttl: u32) -> Vec<u8> {
    respond(transmit, |reply| {
        let owner = reply.queries[0].name.clone();
        reply.add_answer(Record::from_rdata(
            owner,
            ttl,
            RData::A(A("198.51.100.7".parse().unwrap())),
        ));
    })
}

fn code(transmit: &Transmit, code: ResponseCode) -> Vec<u8> {
    respond(transmit, |reply| reply.metadata.response_code = code)
}

#[test]
fn equal_questions_share_one_message() {
    let mut world = World::new(1, 1);
    let Lookup::Pending(first) = world.ask("h.example") else {
        panic!()
    };
    let Lookup::Pending(second) = world.ask("H.example") else {
        panic!()
    };
    assert_eq!(first, second);
    assert_eq!(world.sent.len(), 1);
    let bytes = good(&world.sent[0], 60);
    world.reply(0, &bytes);
    assert_eq!(world.answers.len(), 1);
    assert_eq!(world.closed, [world.sent[0].id]);
    assert!(matches!(world.ask("h.example"), Lookup::Ready(_)));
    world.now += Duration::from_secs(60);
    assert!(matches!(world.ask("h.example"), Lookup::Pending(_)));
}

#[test]
fn silence_goes_round_the_servers_and_ends() {
    let mut world = World::new(3, 2);
    world.ask("h.example");
    for _ in 0..6 {
        assert!(world.answers.is_empty());
        world.wait();
    }
    let servers: Vec<String> = world
        .sent
        .iter()
        .map(|sent| sent.server.to_string())
        .collect();
    assert_eq!(servers, [SERVERS, SERVERS].concat());
    assert_eq!(*world.outcome(), Outcome::Temporary(Trouble::Timeout));
    assert_eq!(world.closed.len(), 6, "every socket is closed at the end");
    assert_eq!(world.resolver.in_flight(), 0);
    assert_eq!(world.resolver.next_timeout(), None);
}

#[test]
fn ids_differ_from_message_to_message() {
    let mut world = World::new(3, 2);
    world.ask("h.example");
    for _ in 0..5 {
        world.wait();
    }
    let mut ids: Vec<&[u8]> = world.sent.iter().map(|sent| &sent.payload[..2]).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 6);
}

#[test]
fn the_deadline_of_all_is_kept() {
    let mut world = World::new(3, 5);
    let start = world.now;
    world.ask("h.example");
    while world.answers.is_empty() {
        world.wait();
    }
    assert_eq!(world.now - start, LOOKUP_DEADLINE);
}

#[test]
fn a_late_answer_is_an_answer() {
    let mut world = World::new(2, 1);
    world.ask("h.example");
    world.wait();
    assert_eq!(world.sent.len(), 2);
    let bytes = good(&world.sent[0], 60);
    world.reply(0, &bytes);
    assert!(matches!(world.outcome(), Outcome::Records(_)));
    assert_eq!(world.closed.len(), 2);
}

#[test]
fn a_failure_goes_on_at_once_and_that_server_is_not_asked_again() {
    let mut world = World::new(2, 2);
    world.ask("h.example");
    let bytes = code(&world.sent[0], ResponseCode::ServFail);
    world.reply(0, &bytes);
    assert_eq!(world.sent.len(), 2);
    world.wait();
    assert_eq!(world.sent[2].server, world.sent[1].server);
    let bytes = code(&world.sent[2], ResponseCode::Refused);
    world.reply(2, &bytes);
    assert_eq!(*world.outcome(), Outcome::Temporary(Trouble::ServerFailure));
}

#[test]
fn a_failure_is_remembered_for_a_moment() {
    let mut world = World::new(1, 1);
    world.ask("h.example");
    world.fail(0);
    assert_eq!(*world.outcome(), Outcome::Temporary(Trouble::Unreachable));
    assert!(matches!(world.ask("h.example"), Lookup::Ready(_)));
    world.now += FAILURE_TTL;
    assert!(matches!(world.ask("h.example"), Lookup::Pending(_)));
}

#[test]
fn a_datagram_from_elsewhere_is_dropped() {
    let mut world = World::new(1, 1);
    world.ask("h.example");
    let bytes = good(&world.sent[0], 60);
    let id = world.sent[0].id;
    let elsewhere: SocketAddr = "192.0.2.9:53".parse().unwrap();
    world.resolver.on_datagram(id, elsewhere, &bytes, world.now);
    world.drain();
    assert!(world.answers.is_empty());
    world.reply(0, &bytes);
    assert!(matches!(world.outcome(), Outcome::Records(_)));
    // After the end nothing counts any more.
    world.reply(0, &bytes);
    assert_eq!(world.answers.len(), 1);
}

#[test]
fn forgeries_up_to_the_bound() {
    for (count, sent) in [(31, 1), (32, 2), (33, 2)] {
        let mut world = World::new(1, 1);
        world.ask("h.example");
        let mut bytes = good(&world.sent[0], 60);
        bytes[0] ^= 1;
        for _ in 0..count {
            world.reply(0, &bytes);
        }
        assert_eq!(world.sent.len(), sent, "{count} forgeries");
        assert!(world.answers.is_empty());
        if sent == 2 {
            assert_eq!(world.sent[1].transport, Transport::Tcp);
            let bytes = good(&world.sent[1], 60);
            world.reply(1, &bytes);
            assert!(matches!(world.outcome(), Outcome::Records(_)));
        }
    }
}

#[test]
fn a_wrong_message_on_a_stream_ends_it() {
    let mut world = World::new(1, 1);
    world.ask("h.example");
    let bytes = respond(&world.sent[0], |reply| reply.metadata.truncation = true);
    world.reply(0, &bytes);
    assert_eq!(world.sent[1].transport, Transport::Tcp);
    let mut bytes = good(&world.sent[1], 60);
    bytes[1] ^= 1;
    world.reply(1, &bytes);
    assert_eq!(*world.outcome(), Outcome::Temporary(Trouble::Garbage));
}

#[test]
fn the_ad_bit_of_a_server_elsewhere_does_not_count() {
    let mut world = World::new(1, 1);
    world.ask("h.example");
    let asked = Message::from_vec(&world.sent[0].payload).unwrap();
    assert!(
        !asked.edns.as_ref().unwrap().flags().dnssec_ok,
        "not asked for what is not believed"
    );
    let bytes = respond(&world.sent[0], |reply| {
        reply.metadata.authentic_data = true;
        let owner = reply.queries[0].name.clone();
        reply.add_answer(Record::from_rdata(
            owner,
            9,
            RData::A(A("198.51.100.7".parse().unwrap())),
        ));
    });
    world.reply(0, &bytes);
    assert!(!world.answers[0].1.authentic);
}

#[test]
fn lookups_under_way_are_bounded() {
    for limit in [1, 2, 3] {
        let mut world = World::bounded(1, 1, limit);
        for index in 0..limit {
            assert!(matches!(
                world.ask(&format!("h{index}.example")),
                Lookup::Pending(_)
            ));
        }
        let Lookup::Ready(answer) = world.ask("more.example") else {
            panic!("over the limit")
        };
        assert_eq!(answer.outcome, Outcome::Temporary(Trouble::Overloaded));
        let bytes = good(&world.sent[0], 60);
        world.reply(0, &bytes);
        assert!(matches!(world.ask("more.example"), Lookup::Pending(_)));
    }
}

#[test]
fn a_time_to_live_with_the_top_bit_is_zero() {
    let mut world = World::new(1, 1);
    world.ask("h.example");
    let bytes = good(&world.sent[0], 0x8000_0001);
    world.reply(0, &bytes);
    assert!(matches!(world.outcome(), Outcome::Records(Records::A(_))));
    assert!(matches!(world.ask("h.example"), Lookup::Pending(_)));
}

#[test]
fn negative_answers_are_kept_only_with_an_soa() {
    let mut world = World::new(1, 1);
    world.ask("h.example");
    let bytes = code(&world.sent[0], ResponseCode::NXDomain);
    world.reply(0, &bytes);
    assert_eq!(*world.outcome(), Outcome::NxDomain);
    assert!(matches!(world.ask("h.example"), Lookup::Pending(_)));
}

#[test]
fn records_of_other_names_are_not_taken() {
    let mut world = World::new(1, 1);
    world.ask("h.example");
    let bytes = respond(&world.sent[0], |reply| {
        let other = hickory_proto::rr::Name::from_ascii("bank.example.").unwrap();
        reply.add_answer(Record::from_rdata(
            other,
            9,
            RData::A(A("198.51.100.7".parse().unwrap())),
        ));
    });
    world.reply(0, &bytes);
    assert_eq!(*world.outcome(), Outcome::NoData);
}
