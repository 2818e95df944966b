//! The daemons' end of the pair.

use daemon::packet::Packets;

use crate::event::{ADVICE_LENGTH, Advice, Event};

/// Sends events, or drops and counts them: a daemon never waits for banwatch.
#[derive(Debug)]
pub struct Reporter {
    /// `None` where banwatch is not part of the house.
    packets: Option<Packets>,
    dropped: u32,
}

impl Reporter {
    /// Reports to this socket, if there is one.
    pub fn new(packets: Option<Packets>) -> Reporter {
        Reporter {
            packets,
            dropped: 0,
        }
    }

    /// Reports one event.
    pub fn report(&mut self, event: &Event) {
        let Some(packets) = &self.packets else { return };
        match packets.send(&event.encode(self.dropped), None) {
            Ok(()) => self.dropped = 0,
            Err(_) => self.dropped = self.dropped.saturating_add(1),
        }
    }

    /// What banwatch has said in answer, one piece at a time. Only authd asks.
    pub fn advice(&mut self) -> Option<Advice> {
        let mut octets = [0; ADVICE_LENGTH];
        let length = self.packets.as_ref()?.recv(&mut octets).ok()?.length;
        Advice::decode(octets.get(..length)?).ok()
    }

    /// Events that were dropped since the last one that got through.
    pub fn dropped(&self) -> u32 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EVENT_LENGTH, Kind, Service};

    #[test]
    fn a_full_socket_drops_and_the_count_comes_through() {
        let (ours, theirs) = Packets::pair().unwrap();
        let mut reporter = Reporter::new(Some(ours));
        let event = Event {
            service: Service::Mx,
            kind: Kind::Connect,
            address: "2001:db8::1".parse().unwrap(),
            port: 25,
            account: None,
            secret: None,
            session: 9,
            count: 1,
        };
        let mut sent = 0_u32;
        while reporter.dropped() == 0 {
            reporter.report(&event);
            sent += 1;
            assert!(sent < 1_000_000, "a socket without an end");
        }
        reporter.report(&event);
        assert_eq!(reporter.dropped(), 2);
        let mut buffer = [0; EVENT_LENGTH];
        while theirs.recv(&mut buffer).is_ok() {}
        reporter.report(&event);
        assert_eq!(theirs.recv(&mut buffer).unwrap().length, EVENT_LENGTH);
        assert_eq!(Event::decode(&buffer), Ok((event, 2)));
        assert_eq!(reporter.dropped(), 0);
        Reporter::new(None).report(&event);
    }
}
