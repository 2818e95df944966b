//! What the server's EHLO reply offers.

use crate::types::Reply;

/// Extensions that this client can use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// 8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// SIZE (RFC 1870): the largest message in octets, 0 for "no fixed limit". A limit that is
    /// no number counts as 0.
    pub size: Option<u64>,
}

impl Offers {
    /// Reads the lines behind the first one, which is a greeting.
    #[must_use]
    pub fn read(reply: &Reply) -> Self {
        let mut offers = Self::default();
        for line in reply.lines().skip(1) {
            let mut words = line.split_ascii_whitespace();
            let Some(keyword) = words.next() else {
                continue;
            };
            if keyword.eq_ignore_ascii_case("PIPELINING") {
                offers.pipelining = true;
            } else if keyword.eq_ignore_ascii_case("STARTTLS") {
                offers.starttls = true;
            } else if keyword.eq_ignore_ascii_case("8BITMIME") {
                offers.eight_bit = true;
            } else if keyword.eq_ignore_ascii_case("SIZE") {
                offers.size = Some(words.next().and_then(|n| n.parse().ok()).unwrap_or(0));
            }
        }
        offers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ReplyCode;

    #[test]
    fn reads_keywords() {
        let read = |text: &str| Offers::read(&Reply::new(ReplyCode::new(250).unwrap(), text));
        assert_eq!(read("pipelining"), Offers::default());
        let all = read("host hi\npipelining\nSTARTTLS\n8BITMIME\nSIZE 1000\nX-FOO\n\nAUTH PLAIN");
        assert_eq!(
            all,
            Offers {
                pipelining: true,
                starttls: true,
                eight_bit: true,
                size: Some(1000)
            }
        );
        assert_eq!(read("h\nSIZE").size, Some(0));
        assert_eq!(read("h\nSIZE lots").size, Some(0));
    }
}
