//! SPF, DKIM, DMARC, ARC, SRS, BATV, MTA-STS, TLSRPT and DANE as pure state machines.
#![forbid(unsafe_code)]
