//! Dialogues: what the server says, what we say, what becomes of the recipients.

use super::*;
use crate::types::StatusClass;

struct Talk {
    client: Client,
    out: Output,
    outcomes: Vec<Outcome>,
    actions: Vec<&'static str>,
}

fn tx(to: &[&str]) -> Transaction {
    Transaction {
        from: ReversePath::parse_bare("me@here.example").unwrap(),
        to: to.iter().map(|a| Mailbox::parse(a).unwrap()).collect(),
        size: 500,
        body: BodyKind::EightBitMime,
    }
}

impl Talk {
    fn new(tls: TlsUse, to: &[&str]) -> Self {
        let client = Client::new(Settings {
            hello: "here.example".into(),
            tls,
        });
        let mut talk = Self {
            client,
            out: Output::default(),
            outcomes: Vec::new(),
            actions: Vec::new(),
        };
        talk.begin(to);
        talk
    }

    fn begin(&mut self, to: &[&str]) {
        self.client.begin(tx(to), &mut self.out).unwrap();
    }

    /// The server says `text` (`~` for CR LF); gives what we say, in the same form.
    fn s(&mut self, text: &str) -> String {
        let text = text.replace('~', "\r\n") + "\r\n";
        self.client.input(text.as_bytes(), &mut self.out);
        self.said()
    }

    fn said(&mut self) -> String {
        for action in self.out.actions.drain(..) {
            self.actions.push(match action {
                Action::StartTls => "tls",
                Action::SendBody => "body",
                Action::Idle => "idle",
                Action::ReconnectClear => "clear",
                Action::Close => "close",
                Action::Outcome(outcome) => {
                    self.outcomes.push(outcome);
                    continue;
                }
            });
        }
        let said = String::from_utf8(std::mem::take(&mut self.out.bytes)).unwrap();
        said.trim_end().replace("\r\n", "~")
    }

    fn body(&mut self) {
        self.client.body_sent(&mut self.out);
    }

    /// `recipient class status stage next-host` of each outcome so far.
    fn outcomes(&mut self) -> Vec<String> {
        self.said();
        let line = |o: Outcome| {
            let next = if o.may_try_next_host() { " next" } else { "" };
            format!("{} {} {:?}{next}", o.recipient, o.status, o.stage)
        };
        self.outcomes.drain(..).map(line).collect()
    }

    fn actions(&mut self) -> String {
        self.said();
        self.actions.drain(..).collect::<Vec<_>>().join(" ")
    }
}

const ALL: &str = "250-there~250-PIPELINING~250-SIZE 1000~250-8BITMIME~250 STARTTLS";

#[test]
fn one_by_one() {
    let mut t = Talk::new(TlsUse::Never, &["a@x", "b@x"]);
    assert_eq!(t.s("220-hi~220 there"), "EHLO here.example");
    assert_eq!(t.s("250 there"), "MAIL FROM:<me@here.example>");
    assert_eq!(t.s("250 ok"), "RCPT TO:<a@x>");
    assert_eq!(t.s("250 ok"), "RCPT TO:<b@x>");
    assert_eq!(t.s("250 ok"), "DATA");
    assert_eq!(t.client.wait(), Some(Wait::DataStart));
    assert_eq!(t.s("354 go"), "");
    assert_eq!(t.actions(), "body");
    assert_eq!(t.client.wait(), Some(Wait::DataBlock));
    t.body();
    assert_eq!(t.client.wait(), Some(Wait::DataEnd));
    assert_eq!(t.s("250 2.6.0 queued as 1"), "");
    assert_eq!(t.outcomes(), ["0 2.6.0 End", "1 2.6.0 End"]);
    assert_eq!(t.actions(), "idle");
    assert_eq!(t.client.wait(), None);
    t.client.quit(&mut t.out);
    assert_eq!(t.said(), "QUIT");
    assert_eq!(t.s("221 bye"), "");
    assert_eq!(t.actions(), "close");
}

#[test]
fn all_at_once_with_parameters_and_again() {
    let mut t = Talk::new(TlsUse::Never, &["a@x"]);
    t.s("220 hi");
    let mail = "MAIL FROM:<me@here.example> SIZE=500 BODY=8BITMIME";
    assert_eq!(t.s(ALL), format!("{mail}~RCPT TO:<a@x>~DATA"));
    assert_eq!(t.s("250 ok~250 ok~354 go"), "");
    t.body();
    t.s("250 done");
    assert_eq!(t.outcomes(), ["0 2.0.0 End"]);
    t.begin(&["b@x"]);
    assert_eq!(t.said(), format!("{mail}~RCPT TO:<b@x>~DATA"));
    assert!(t.client.begin(tx(&["c@x"]), &mut t.out).is_err());
}

#[test]
fn hello_falls_back() {
    let mut t = Talk::new(TlsUse::May, &["a@x"]);
    t.s("220 hi");
    assert_eq!(t.s("502 what"), "HELO here.example");
    assert_eq!(t.s("250 there"), "MAIL FROM:<me@here.example>");
    let mut t = Talk::new(TlsUse::May, &["a@x"]);
    t.s("220 hi");
    t.s("500 what");
    t.s("550 no");
    assert_eq!(t.outcomes(), ["0 4.0.0 Hello next"]);
    assert_eq!(t.actions(), "close");
}

#[test]
fn tls() {
    let mut t = Talk::new(TlsUse::May, &["a@x"]);
    t.s("220 hi");
    assert_eq!(t.s(ALL), "STARTTLS");
    assert_eq!(t.s("220 go"), "");
    assert_eq!(
        (t.actions(), t.client.wait()),
        ("tls".into(), Some(Wait::Handshake))
    );
    t.client.tls_started(&mut t.out);
    assert_eq!(t.said(), "EHLO here.example");
    assert!(t.client.is_encrypted());
    assert_eq!(t.client.offers(), Offers::default());
    // What was offered in clear is forgotten; STARTTLS is not asked for again.
    assert_eq!(t.s("250-there~250 STARTTLS"), "MAIL FROM:<me@here.example>");
}

#[test]
fn tls_that_fails() {
    let start = |tls| {
        let mut t = Talk::new(tls, &["a@x"]);
        t.s("220 hi");
        t.s(ALL);
        t
    };
    let mut t = start(TlsUse::May);
    assert_eq!(t.s("454 not now").split('~').count(), 3);
    let mut t = start(TlsUse::Must);
    t.s("454 4.7.0 not now");
    assert_eq!(t.outcomes(), ["0 4.7.0 Tls next"]);
    let mut t = start(TlsUse::May);
    t.s("220 go");
    t.client.tls_failed("bad", &mut t.out);
    assert_eq!((t.actions(), t.outcomes().len()), ("tls clear".into(), 0));
    let mut t = start(TlsUse::Must);
    t.s("220 go");
    t.client.tls_failed("bad", &mut t.out);
    assert_eq!(t.outcomes(), ["0 4.7.5 Tls next"]);
    let mut t = Talk::new(TlsUse::Must, &["a@x"]);
    t.s("220 hi");
    assert_eq!(t.s("250 there"), "");
    assert_eq!(t.outcomes(), ["0 4.7.4 Tls next"]);
}

#[test]
fn response_injection() {
    let mut t = Talk::new(TlsUse::May, &["a@x"]);
    t.s("220 hi");
    t.s(ALL);
    assert_eq!(t.s("220 go~250-evil~250 PIPELINING"), "");
    assert_eq!(t.outcomes(), ["0 4.7.0 Tls next"]);
    assert!(t.client.is_closed());
    let mut t = Talk::new(TlsUse::May, &["a@x"]);
    t.s("220 hi");
    t.s(ALL);
    t.client.input(b"220 go\r\n2", &mut t.out);
    assert!(t.client.is_closed());
}

#[test]
fn refusals_by_stage() {
    for (replies, want) in [
        (&["554 go away"][..], "0 4.0.0 Greeting next"),
        (&["421 4.3.2 busy"], "0 4.3.2 Greeting next"),
        (&["220 hi", "421 busy"], "0 4.0.0 Hello next"),
        (&["220 hi", "450 busy"], "0 4.0.0 Hello next"),
        (&["220 hi", "250 x", "550 5.7.1 sender"], "0 5.7.1 Mail"),
        (&["220 hi", "250 x", "451 later"], "0 4.0.0 Mail next"),
        (&["220 hi", "250 x", "354 what"], "0 4.5.0 Mail next"),
        (
            &["220 hi", "250 x", "250 ok", "550 5.1.1 who"],
            "0 5.1.1 Rcpt",
        ),
        (
            &["220 hi", "250 x", "250 ok", "450 4.2.1 grey"],
            "0 4.2.1 Rcpt next",
        ),
        (
            &["220 hi", "250 x", "250 ok", "552 many"],
            "0 4.0.0 Rcpt next",
        ),
        (
            &["220 hi", "250 x", "250 ok", "552 5.5.3 many"],
            "0 4.5.3 Rcpt next",
        ),
        (
            &["220 hi", "250 x", "250 ok", "552 5.2.2 full"],
            "0 5.2.2 Rcpt",
        ),
        (
            &["220 hi", "250 x", "250 ok", "421 bye"],
            "0 4.0.0 Rcpt next",
        ),
        (
            &["220 hi", "250 x", "250 ok", "250 ok", "554 no"],
            "0 5.0.0 Data",
        ),
        (
            &["220 hi", "250 x", "250 ok", "250 ok", "451 no"],
            "0 4.0.0 Data next",
        ),
        (
            &["220 hi", "250 x", "250 ok", "250 ok", "250 what"],
            "0 4.5.0 Data next",
        ),
        (&["hello"], "0 4.5.0 Greeting next"),
        (&["220-a~221 b"], "0 4.5.0 Greeting next"),
    ] {
        let mut t = Talk::new(TlsUse::Never, &["a@x"]);
        for reply in replies {
            t.s(reply);
        }
        assert_eq!(t.outcomes(), [want], "{replies:?}");
    }
}

#[test]
fn refusals_at_the_end() {
    for (reply, want, action) in [
        ("550 5.7.1 spam", "0 5.7.1 End", "body idle"),
        ("451 4.7.1 later", "0 4.7.1 End", "body idle"),
        ("421 4.3.2 bye", "0 4.3.2 End", "body close"),
        ("354 what", "0 4.0.0 End", "body close"),
    ] {
        let mut t = Talk::new(TlsUse::Never, &["a@x"]);
        for line in ["220 hi", "250 x", "250 ok", "250 ok", "354 go"] {
            t.s(line);
        }
        t.body();
        t.s(reply);
        assert_eq!(
            (t.outcomes(), t.actions()),
            (vec![want.to_owned()], action.to_owned())
        );
    }
}

#[test]
fn some_recipients_refused() {
    for pipelining in [false, true] {
        let mut t = Talk::new(TlsUse::Never, &["a@x", "b@x", "c@x"]);
        t.s("220 hi");
        t.s(if pipelining {
            "250-x~250 PIPELINING"
        } else {
            "250 x"
        });
        for reply in ["250 ok", "250 ok", "550 5.1.1 b", "450 4.2.1 c", "354 go"] {
            t.s(reply);
        }
        assert_eq!(t.outcomes(), ["1 5.1.1 Rcpt", "2 4.2.1 Rcpt next"]);
        t.body();
        t.s("250 ok");
        assert_eq!(
            (t.outcomes(), t.actions()),
            (vec!["0 2.0.0 End".into()], "body idle".into())
        );
    }
}

#[test]
fn nobody_accepted() {
    let mut t = Talk::new(TlsUse::Never, &["a@x"]);
    t.s("220 hi");
    t.s("250 x");
    t.s("250 ok");
    assert_eq!(t.s("550 no"), "");
    assert_eq!(t.actions(), "idle");
    t.begin(&["b@x"]);
    assert_eq!(t.said(), "RSET");
    assert_eq!(t.s("250 ok"), "MAIL FROM:<me@here.example>");

    let mut t = Talk::new(TlsUse::Never, &["a@x"]);
    t.s("220 hi");
    t.s("250-x~250 PIPELINING");
    assert_eq!(t.s("250 ok~550 no~554 nobody"), "");
    assert_eq!(t.actions(), "idle");
    t.begin(&["b@x"]);
    assert_eq!(
        t.said(),
        "RSET~MAIL FROM:<me@here.example>~RCPT TO:<b@x>~DATA"
    );
    assert_eq!(t.outcomes(), ["0 5.0.0 Rcpt"]);
    // The server takes DATA though nobody was accepted: it gets nothing.
    assert_eq!(t.s("250 ok~250 ok~550 no~354 go"), ".");
    assert_eq!(t.s("250 ok"), "");
    assert_eq!(
        (t.outcomes(), t.actions()),
        (vec!["0 5.0.0 Rcpt".into()], "idle".into())
    );
}

#[test]
fn sender_refused_in_a_pipeline() {
    let mut t = Talk::new(TlsUse::Never, &["a@x", "b@x"]);
    t.s("220 hi");
    t.s("250-x~250 PIPELINING");
    assert_eq!(t.s("550 5.7.1 you~503 a~503 b~503 d"), "");
    assert_eq!(t.outcomes(), ["0 5.7.1 Mail", "1 5.7.1 Mail"]);
    assert_eq!(t.actions(), "idle");
}

#[test]
fn early_replies() {
    for (reply, want) in [
        ("552 5.3.4 big", "0 5.3.4 Body"),
        ("451 no", "0 4.0.0 Body next"),
        ("250 ok", "0 4.5.0 Body next"),
    ] {
        let mut t = Talk::new(TlsUse::Never, &["a@x"]);
        for line in ["220 hi", "250 x", "250 ok", "250 ok", "354 go", reply] {
            t.s(line);
        }
        assert_eq!(
            (t.outcomes(), t.actions()),
            (vec![want.to_owned()], "body close".to_owned())
        );
    }
}

#[test]
fn loss_and_silence() {
    let after = |n: usize| {
        let mut t = Talk::new(TlsUse::Never, &["a@x"]);
        for line in ["220 hi", "250 x", "250 ok", "250 ok", "354 go"]
            .iter()
            .take(n)
        {
            t.s(line);
        }
        t
    };
    for (n, want) in [
        (0, "Greeting"),
        (1, "Hello"),
        (2, "Mail"),
        (3, "Rcpt"),
        (4, "Data"),
        (5, "Body"),
    ] {
        let mut t = after(n);
        t.client.closed("", &mut t.out);
        assert_eq!(t.outcomes(), [format!("0 4.4.2 {want} next")]);
        let mut t = after(n);
        t.client.timeout(&mut t.out);
        assert_eq!(t.outcomes(), [format!("0 4.4.2 {want} next")]);
        assert!(t.client.is_closed());
    }
    let mut t = after(5);
    t.body();
    t.client.closed("reset", &mut t.out);
    t.said();
    assert_eq!(
        &*t.outcomes[0].words,
        "connection lost: reply to the end of the message: reset"
    );
    assert_eq!(
        (t.outcomes[0].class, t.outcomes[0].code),
        (StatusClass::Transient, None)
    );
    assert_eq!(t.outcomes(), ["0 4.4.2 End"]);
    let mut t = after(5);
    t.client.body_failed(&mut t.out);
    assert_eq!(t.outcomes(), ["0 4.3.0 Body next"]);
}

#[test]
fn too_big_is_not_even_tried() {
    let mut t = Talk::new(TlsUse::Never, &["a@x"]);
    t.s("220 hi");
    assert_eq!(t.s("250-x~250 SIZE 499"), "");
    assert_eq!(t.outcomes(), ["0 5.3.4 Mail"]);
    assert_eq!(t.actions(), "idle");
    for limit in [500, 501, 0] {
        let mut t = Talk::new(TlsUse::Never, &["a@x"]);
        t.s("220 hi");
        assert_eq!(
            t.s(&format!("250-x~250 SIZE {limit}")),
            "MAIL FROM:<me@here.example> SIZE=500"
        );
    }
}

#[test]
fn server_leaves_an_idle_connection() {
    let mut t = Talk::new(TlsUse::Never, &["a@x"]);
    for line in ["220 hi", "250 x", "550 no"] {
        t.s(line);
    }
    t.outcomes();
    t.s("421 4.4.2 bye");
    assert_eq!((t.actions(), t.outcomes().len()), ("idle close".into(), 0));
}

#[test]
fn words_are_clean() {
    let mut t = Talk::new(TlsUse::Never, &["a@x"]);
    for line in [
        "220 hi",
        "250 x",
        "550-5.7.1 \u{1b}[31mno\t~550 5.7.1 never",
    ] {
        t.s(line);
    }
    t.said();
    assert_eq!(&*t.outcomes[0].words, "550 5.7.1 ?[31mno? 5.7.1 never");
    assert_eq!(t.outcomes[0].code, Some(550));
}
