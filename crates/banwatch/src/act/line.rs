//! Whose turn it is. One command at a time for each jail, in the order in which things happened;
//! jails don't wait for one another. Pure: what to run comes out, how it ended goes in.
//!
//! | of an action | when |
//! |---|---|
//! | `actionstart` | at the beginning, or before the first ban of a family (`actionstart_on_demand`) |
//! | `actionban` | for each ban; not for bans of before a restart when it says `norestored` |
//! | `actionprolong` | when a ban becomes longer |
//! | `actionunban` | when it is over |
//! | `actionflush` | instead of many `actionunban` |
//! | `actionstop` | at the end, last action first |
//! | `actioncheck` | after a command has failed. When it fails too, `actionrepair`, or else `actionstop` and `actionstart`; then the failed command once more, and the other bans again |

mod lane;

use std::collections::{HashMap, VecDeque};

use daemon::log;

use self::lane::{Known, Lane, Then, Todo};
use super::plan::{JailPlan, Verb};
use super::render::{Command, is_plain};
use super::tag::Tag;
use super::values::{Family, Values, Who};
use super::wire::Request;

/// Bans of one jail that may wait for their commands. Beyond this they are dropped and counted;
/// what ends a ban is never dropped.
pub const WAITING_MAX: usize = 1_000;
/// Bans of one jail that are known here. Beyond this new ones are dropped and counted.
pub const KNOWN_MAX: usize = 100_000;
/// Commands that run at once, questions of `ignorecommand` not counted.
pub const RUNNING_MAX: usize = 16;
/// Questions of `ignorecommand` that are asked at once.
pub const ASKING_MAX: usize = 4;
/// Questions that may wait. Beyond this the answer is "no": who floods is not ignored for it.
pub const QUESTIONS_MAX: usize = 256;

/// A command to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Comes back with [`Lines::ended`].
    pub number: u64,
    /// Jail.
    pub jail: String,
    /// Action and option, for the log.
    pub what: String,
    /// What the shell is to run.
    pub text: String,
    /// Its variables.
    pub variables: Vec<(String, String)>,
    /// The variable that wants the host name of this address.
    pub host: Option<(String, std::net::IpAddr)>,
    /// Seconds that it may take.
    pub timeout: u32,
}

/// Numbers that only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Commands run.
    pub run: u64,
    /// Of these failed.
    pub failed: u64,
    /// Of these killed for lack of time.
    pub timeouts: u64,
    /// Bans dropped.
    pub dropped: u64,
}

#[derive(Debug)]
struct Question {
    number: u32,
    lane: usize,
    values: Box<Values>,
}

/// All jails.
#[derive(Debug)]
pub struct Lines {
    lanes: Vec<Lane>,
    names: HashMap<String, usize>,
    /// The lane that is looked at first.
    first: usize,
    number: u64,
    running: usize,
    epoch: u32,
    questions: VecDeque<Question>,
    asking: HashMap<u64, u32>,
    /// Answers for watch.
    pub answers: Vec<(u32, bool)>,
    /// Numbers.
    pub counts: Counts,
    stopping: bool,
}

impl Lines {
    /// Jails with something to run; `now` is the second of the beginning.
    #[must_use]
    pub fn new(plans: Vec<JailPlan>, now: i64) -> Lines {
        let names = plans
            .iter()
            .enumerate()
            .map(|(n, p)| (p.name.clone(), n))
            .collect();
        let lanes = plans.into_iter().map(|p| Lane::new(p, now)).collect();
        Lines {
            lanes,
            names,
            first: 0,
            number: 0,
            running: 0,
            epoch: 0,
            questions: VecDeque::new(),
            asking: HashMap::new(),
            answers: Vec::new(),
            counts: Counts::default(),
            stopping: false,
        }
    }

    fn lane(&mut self, jail: &str) -> Option<&mut Lane> {
        let lane = self.names.get(jail).and_then(|n| self.lanes.get_mut(*n));
        if lane.is_none() {
            log::warning("action")
                .kv("jail", jail)
                .kv("state", "no such jail")
                .send();
        }
        lane
    }

    /// Takes a question of watch's. [`Request::Resolve`] is not for here.
    pub fn request(&mut self, request: Request) {
        if self.stopping {
            return;
        }
        let epoch = self.epoch;
        match request {
            Request::Ban(jail, v) => {
                if self.lane(&jail).is_some_and(|l| !l.ban(v, epoch)) {
                    self.dropped(&jail);
                }
            }
            Request::Stands(jail, v) => {
                if self.lane(&jail).is_some_and(|l| !l.stands(&v, epoch)) {
                    self.dropped(&jail);
                }
            }
            Request::Prolong(jail, v) => {
                if let Some(l) = self.lane(&jail) {
                    l.prolong(v, epoch);
                }
            }
            Request::Unban(jail, who) => {
                if let Some(l) = self.lane(&jail) {
                    l.unban(&who);
                }
            }
            Request::Flush(jail) => {
                if let Some(l) = self.lane(&jail) {
                    l.todo.push_back(Todo::Flush);
                }
            }
            Request::Begin => self.epoch = self.epoch.wrapping_add(1),
            Request::End => {
                for l in &mut self.lanes {
                    let over = |k: &Known| k.epoch != epoch;
                    let gone: Vec<Who> = l
                        .known
                        .iter()
                        .filter(|(_, k)| over(k))
                        .map(|(w, _)| w.clone())
                        .collect();
                    for who in gone {
                        l.unban(&who);
                    }
                }
            }
            Request::Ignore(number, jail, values) => {
                let lane = self.names.get(&jail).copied();
                let asks = lane
                    .and_then(|n| self.lanes.get(n))
                    .is_some_and(|l| l.plan.ignore.is_some());
                match lane {
                    Some(lane) if asks && self.questions.len() < QUESTIONS_MAX => {
                        self.questions.push_back(Question {
                            number,
                            lane,
                            values,
                        });
                    }
                    _ => self.answers.push((number, false)),
                }
            }
            Request::Resolve(..) => {}
        }
    }

    fn dropped(&mut self, jail: &str) {
        self.counts.dropped += 1;
        let Some(l) = self.lane(jail) else { return };
        l.dropped += 1;
        // Said when it begins, and now and then while it goes on.
        if l.dropped.is_power_of_two() {
            let count = l.dropped;
            log::warning("action")
                .kv("jail", jail)
                .kv("state", "too many bans wait for their commands")
                .val("dropped", count)
                .send();
        }
    }

    /// The next command, while there is room for one more.
    pub fn next_work(&mut self) -> Option<Work> {
        if self.asking.len() < ASKING_MAX {
            while let Some(q) = self.questions.pop_front() {
                if let Some(work) = self.question(&q) {
                    return Some(work);
                }
                self.answers.push((q.number, false));
            }
        }
        let count = self.lanes.len();
        if self.running >= RUNNING_MAX {
            return None;
        }
        for n in 0..count {
            let at = (self.first + n) % count;
            let Some(lane) = self.lanes.get_mut(at) else {
                continue;
            };
            if lane.running.is_some() {
                continue;
            }
            while let Some(step) = lane.step() {
                let Some(plan) = lane.plan.actions.get(step.action) else {
                    continue;
                };
                let Some(command) = plan.command(step.verb, step.family) else {
                    lane.ended(step, true);
                    continue;
                };
                self.number += 1;
                let what = format!("{} {}", plan.label, step.verb.option());
                let jail = &lane.plan.name;
                let mut values = Values::clone(&step.values);
                values.jail[0] = lane.known.len() as u64;
                values.jail[1] = values.jail[1].max(lane.total);
                let family = step.family;
                let Some(work) = work(
                    self.number,
                    jail,
                    &what,
                    command,
                    &values,
                    family,
                    plan.timeout,
                ) else {
                    self.counts.failed += 1;
                    continue;
                };
                lane.running = Some((self.number, step));
                self.running += 1;
                self.counts.run += 1;
                self.first = (at + 1) % count;
                return Some(work);
            }
        }
        None
    }

    fn question(&mut self, q: &Question) -> Option<Work> {
        let plan = &self.lanes.get(q.lane)?.plan;
        let command = plan.ignore.as_ref()?;
        self.number += 1;
        let family = q.values.who.family();
        let timeout = super::plan::TIMEOUT;
        let work = work(
            self.number,
            &plan.name,
            "ignorecommand",
            command,
            &q.values,
            family,
            timeout,
        )?;
        self.asking.insert(self.number, q.number);
        self.counts.run += 1;
        Some(work)
    }

    /// A command has ended: its exit code, or none when it was killed or never ran.
    pub fn ended(&mut self, number: u64, code: Option<u8>, late: bool) {
        self.counts.timeouts += u64::from(late);
        if let Some(question) = self.asking.remove(&number) {
            // 0: ignore; 1: don't; anything else is a failure, and no reason to ignore anybody.
            self.counts.failed += u64::from(!matches!(code, Some(0 | 1)));
            self.answers.push((question, code == Some(0)));
            return;
        }
        let good = code == Some(0);
        let at = |l: &Lane| l.running.as_ref().is_some_and(|(n, _)| *n == number);
        let Some(lane) = self.lanes.iter_mut().find(|l| at(l)) else {
            return;
        };
        let Some((_, mut step)) = lane.running.take() else {
            return;
        };
        // What took too long once will do so again, and others wait. At the end nothing is mended.
        let again = lane.has(step.action, Verb::Check, step.family);
        if self.stopping || (late && !again) {
            step.then = Then::Done;
        }
        self.running = self.running.saturating_sub(1);
        self.counts.failed += u64::from(!good);
        lane.ended(step, good);
    }

    /// Ends it: what waits is forgotten, what stands is lifted, the actions are stopped.
    pub fn stop(&mut self) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        self.questions.clear();
        for l in &mut self.lanes {
            l.todo.clear();
            l.deeds = 0;
            // What a step in this jail's row is for is gone; one that runs is waited for.
            l.steps.clear();
            l.todo.push_back(Todo::Flush);
            l.todo.push_back(Todo::Stop);
        }
    }

    /// There is no time left: bans that are still to be lifted stay, the actions are stopped.
    pub fn hurry(&mut self) {
        for l in &mut self.lanes {
            let left = l.todo.iter().any(|t| matches!(t, Todo::Stop));
            let unbans = l.steps.iter().filter(|s| s.verb == Verb::Unban).count() + l.known.len();
            if unbans > 0 {
                log::warning("action")
                    .kv("jail", &l.plan.name)
                    .kv("state", "no time to lift all bans")
                    .val("left", unbans)
                    .send();
            }
            l.known.clear();
            l.steps.retain(|s| s.verb == Verb::Stop);
            l.todo.clear();
            if left {
                l.todo.push_back(Todo::Stop);
            }
        }
    }

    /// Whether nothing runs and nothing waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let idle = |l: &Lane| l.running.is_none() && l.steps.is_empty() && l.todo.is_empty();
        self.asking.is_empty() && self.questions.is_empty() && self.lanes.iter().all(idle)
    }
}

/// What to run; `None`, with a line in the log, when a value is not plain where it has to be.
fn work(
    number: u64,
    jail: &str,
    what: &str,
    command: &Command,
    values: &Values,
    family: Family,
    timeout: u32,
) -> Option<Work> {
    let value = |tag: &Tag| match tag {
        Tag::Family => family.as_str().to_owned(),
        other => values.get(other),
    };
    if let Some(tag) = command.plain().iter().find(|t| !is_plain(&value(t))) {
        log::warning("action")
            .kv("jail", jail)
            .kv("what", what)
            .kv("state", "not run: the value of a tag is not plain")
            .kv("tag", tag.name())
            .send();
        return None;
    }
    let variables = command.tags().iter().map(|t| (t.variable(), value(t)));
    let asks = command.tags().contains(&Tag::IpHost);
    let address = match (&values.who, values.address) {
        (_, Some(ip)) => Some(ip),
        (Who::Net(p), None) => Some(p.address()),
        (Who::Id(_), None) => None,
    };
    Some(Work {
        number,
        jail: jail.to_owned(),
        what: what.to_owned(),
        text: command.text(&mut |t| value(t)),
        variables: variables.collect(),
        host: address
            .filter(|_| asks)
            .map(|ip| (Tag::IpHost.variable(), ip)),
        timeout,
    })
}

#[cfg(test)]
mod tests;
