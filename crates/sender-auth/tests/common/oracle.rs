//! Python libraries as a second opinion.

use super::NOW;
use data_encoding::BASE64;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A Python that answers questions about messages; tests/oracle/dkim_oracle.py has the form.
pub struct Oracle {
    zone: Value,
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Oracle {
    /// `None` without the modules, said on standard error; a failure when they are required.
    pub fn start(modules: &str, zone: Value) -> Option<Self> {
        let python =
            std::env::var("HIKYAKU_ORACLE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let probe = Command::new(&python)
            .args(["-c", &format!("import {modules}")])
            .stderr(Stdio::null())
            .status();
        if !probe.is_ok_and(|status| status.success()) {
            assert!(
                std::env::var_os("HIKYAKU_ORACLE_REQUIRED").is_none(),
                "{python} has not all of {modules}"
            );
            eprintln!("skipped: {python} has not all of {modules}");
            return None;
        }
        let mut child = Command::new(python)
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/oracle/dkim_oracle.py"
            ))
            .arg(NOW.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Some(Self {
            zone,
            to: child.stdin.take().unwrap(),
            from: BufReader::new(child.stdout.take().unwrap()),
            child,
        })
    }

    /// One question; `more` are further values for it.
    pub fn ask(&mut self, op: &str, message: &[u8], more: Value) -> Value {
        let mut question = json!({"op": op, "message": BASE64.encode(message), "zone": self.zone});
        for (key, value) in more.as_object().unwrap() {
            question[key] = value.clone();
        }
        writeln!(self.to, "{question}").unwrap();
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert!(
            answer.get("error").is_none(),
            "{op}: {answer}\n{}",
            String::from_utf8_lossy(message)
        );
        answer["result"].clone()
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
