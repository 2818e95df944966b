//! What goes back to queue-manager.

use std::collections::VecDeque;
use std::io;

use daemon::packet::Packets;
use queue::Status;
use queue::wire::RECIPIENTS_MAX;
use queue::wire::remote::{Answer, FromRemote, PEER_MAX, Scope};

/// One verdict for some recipients of one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What became of them.
    pub status: Status,
    /// What it was about.
    pub scope: Scope,
    /// `name[address]` of the host that said so; empty when none did.
    pub host: Box<str>,
    /// Its words or ours.
    pub text: Box<str>,
}

/// Answers on their way: gathered during one turn of the loop, so that recipients with the same
/// verdict share a packet, then sent in order; what the socket does not take waits.
#[derive(Debug, Default)]
pub struct Answers {
    gathered: Vec<(u64, Verdict, Vec<u32>)>,
    waiting: VecDeque<Vec<u8>>,
    spare: Vec<u8>,
}

impl Answers {
    /// The first packet of all: see `queue::wire`.
    pub fn hello(&mut self) {
        self.waiting.push_front(queue::wire::HELLO.to_vec());
    }

    /// The answer to the question whether we live.
    pub fn alive(&mut self) {
        self.waiting.push_back(queue::wire::PING.to_vec());
    }

    /// Adds one recipient's verdict.
    pub fn add(&mut self, number: u64, index: u32, verdict: &Verdict) {
        if let Some((last_number, last, indices)) = self.gathered.last_mut()
            && *last_number == number
            && last == verdict
            && indices.len() < RECIPIENTS_MAX
        {
            indices.push(index);
            return;
        }
        self.gathered.push((number, verdict.clone(), vec![index]));
    }

    /// Sends what it can. `true` when something waits for the socket to become writable.
    ///
    /// # Errors
    /// The socket's, when queue-manager's end has gone.
    pub fn flush(&mut self, packets: &Packets) -> io::Result<bool> {
        for (number, verdict, recipients) in std::mem::take(&mut self.gathered) {
            let mut packet = std::mem::take(&mut self.spare);
            let answer = FromRemote::Answer(Answer {
                number,
                status: verdict.status,
                scope: verdict.scope,
                host: &verdict.host,
                text: &verdict.text,
                recipients,
            });
            if let Err(error) = answer.encode(&mut packet) {
                // Every field is made to fit; without an answer the message is tried again.
                daemon::log::error("answer")
                    .val("number", number)
                    .val("error", error)
                    .send();
                continue;
            }
            if self.waiting.is_empty() {
                match packets.send(&packet, None) {
                    Ok(()) => {
                        self.spare = packet;
                        continue;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            self.waiting.push_back(packet);
        }
        while let Some(packet) = self.waiting.front() {
            match packets.send(packet, None) {
                Ok(()) => {
                    self.waiting.pop_front();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Whether everything has been sent.
    pub fn is_empty(&self) -> bool {
        self.gathered.is_empty() && self.waiting.is_empty()
    }
}

/// `name[address]` within [`PEER_MAX`].
pub fn peer(name: Option<&str>, address: std::net::IpAddr) -> Box<str> {
    let text = match name {
        Some(name) => format!("{name}[{address}]"),
        None => format!("[{address}]"),
    };
    debug_assert!(text.len() <= PEER_MAX);
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str) -> Verdict {
        Verdict {
            status: Status::DEFERRED,
            scope: Scope::Destination,
            host: "".into(),
            text: text.into(),
        }
    }

    fn received(packets: &Packets) -> Vec<(u64, String, Vec<u32>)> {
        let mut buffer = vec![0; queue::wire::PACKET_MAX];
        let mut list = Vec::new();
        while let Ok(packet) = packets.recv(&mut buffer) {
            let Ok(FromRemote::Answer(answer)) = FromRemote::decode(&buffer[..packet.length])
            else {
                panic!("not an answer");
            };
            list.push((answer.number, answer.text.to_owned(), answer.recipients));
        }
        list
    }

    #[test]
    fn equal_verdicts_share_a_packet_up_to_the_limit() {
        let (near, far) = Packets::pair().unwrap();
        let mut answers = Answers::default();
        for index in 0..RECIPIENTS_MAX as u32 + 1 {
            answers.add(7, index, &verdict("a"));
        }
        answers.add(8, 0, &verdict("a"));
        answers.add(8, 1, &verdict("b"));
        assert!(!answers.flush(&near).unwrap());
        let list = received(&far);
        let sizes: Vec<usize> = list
            .iter()
            .map(|(_, _, recipients)| recipients.len())
            .collect();
        assert_eq!(sizes, [RECIPIENTS_MAX, 1, 1, 1]);
        assert_eq!(list[3], (8, "b".to_owned(), vec![1]));
    }

    #[test]
    fn what_the_socket_does_not_take_waits_in_order() {
        let (near, far) = Packets::pair().unwrap();
        let mut answers = Answers::default();
        let mut sent = 0;
        while !answers.flush(&near).unwrap() {
            answers.add(sent, 0, &verdict(&"x".repeat(400)));
            sent += 1;
        }
        answers.add(sent, 0, &verdict("last"));
        assert!(answers.flush(&near).unwrap());
        let mut list = received(&far);
        while answers.flush(&near).unwrap() {
            list.extend(received(&far));
        }
        list.extend(received(&far));
        assert!(answers.is_empty());
        assert!(list.iter().map(|(number, _, _)| *number).eq(0..=sent));
        assert_eq!(list.last().unwrap().1, "last");
    }

    #[test]
    fn peers() {
        let address = "192.0.2.1".parse().unwrap();
        assert_eq!(&*peer(Some("mx.example"), address), "mx.example[192.0.2.1]");
        assert_eq!(&*peer(None, address), "[192.0.2.1]");
    }
}
