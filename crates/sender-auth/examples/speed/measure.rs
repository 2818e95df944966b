//! What the measuring examples share: CPU time, medians, a folder, and peers that measure
//! themselves.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The Python libraries' side.
pub const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/speed/peers.py");

/// CPU time of this process in seconds.
pub fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// The middle one; `None` of nothing.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The Python that has these modules.
pub fn python(modules: &str) -> Option<String> {
    let python = std::env::var("HIKYAKU_ORACLE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let probe = Command::new(&python)
        .args(["-c", &format!("import {modules}")])
        .stderr(Stdio::null())
        .status();
    probe.is_ok_and(|status| status.success()).then_some(python)
}

/// Runs a peer, which prints its CPU seconds, how much went well, and how much did not.
pub fn run(command: &mut Command) -> Result<f64, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text.split_whitespace();
    let time = words.next().and_then(|word| word.parse().ok());
    let (good, bad) = (words.next(), words.next());
    match time {
        Some(time) if bad == Some("0") => Ok(time),
        _ => Err(format!(
            "{good:?} good, {bad:?} bad, {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// A folder that goes away at the end.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes it.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
