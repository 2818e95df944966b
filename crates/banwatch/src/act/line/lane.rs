//! One jail: what it holds, what waits, and what follows a command.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use daemon::log;

use super::{KNOWN_MAX, WAITING_MAX};
use crate::act::plan::{ActionPlan, JailPlan, Verb};
use crate::act::values::{Family, Values, Who};

#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) time: i64,
    pub(super) bantime: i64,
    pub(super) count: u32,
    pub(super) failures: u32,
    pub(super) epoch: u32,
}

impl Known {
    pub(super) fn values(self, who: &Who) -> Values {
        let mut v = Values::of(who.clone(), self.time, self.bantime);
        v.count = self.count;
        v.failures[0] = self.failures;
        v
    }
}

/// What waits in a jail.
#[derive(Debug)]
pub(super) enum Todo {
    Deed(Verb, Box<Values>),
    /// A ban of before the restart, or for one action again.
    Again(Who, Option<usize>),
    Flush,
    Stop,
}

/// What follows when a command has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing.
    Done,
    /// If it failed, see what is broken.
    Mend,
    /// This was the check; then that verb again.
    Checked(Verb),
    /// This was the repair.
    Repaired(Verb),
    /// This was the check after it.
    Rechecked(Verb),
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) action: usize,
    pub(super) verb: Verb,
    pub(super) family: Family,
    pub(super) values: Rc<Values>,
    pub(super) then: Then,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) plan: JailPlan,
    pub(super) known: HashMap<Who, Known>,
    pub(super) todo: VecDeque<Todo>,
    pub(super) deeds: usize,
    pub(super) steps: VecDeque<Step>,
    pub(super) running: Option<(u64, Step)>,
    /// By action and family: started; holds bans.
    pub(super) state: Vec<[(bool, bool); 2]>,
    pub(super) dropped: u64,
    pub(super) total: u64,
}

impl Lane {
    pub(super) fn new(plan: JailPlan, now: i64) -> Lane {
        let mut lane = Lane {
            known: HashMap::new(),
            todo: VecDeque::new(),
            deeds: 0,
            steps: VecDeque::new(),
            running: None,
            state: vec![[(false, false); 2]; plan.actions.len()],
            dropped: 0,
            total: 0,
            plan,
        };
        let nobody = Rc::new(Values::of(Who::Id("".into()), now, 0));
        for n in 0..lane.plan.actions.len() {
            if !lane.plan.actions.get(n).is_some_and(|a| a.on_demand) {
                for family in Family::ALL {
                    lane.add(n, Verb::Start, family, &nobody, Then::Done);
                }
            }
        }
        lane
    }

    pub(super) fn add(
        &mut self,
        action: usize,
        verb: Verb,
        family: Family,
        values: &Rc<Values>,
        then: Then,
    ) {
        self.steps.push_back(Step {
            action,
            verb,
            family,
            values: Rc::clone(values),
            then,
        });
    }

    pub(super) fn know(&mut self, v: &Values, epoch: u32) {
        let known = Known {
            time: v.time,
            bantime: v.bantime,
            count: v.count,
            failures: v.failures[0],
            epoch,
        };
        if self.known.insert(v.who.clone(), known).is_none() {
            self.total += 1;
        }
    }

    /// `false`: dropped.
    pub(super) fn ban(&mut self, v: Box<Values>, epoch: u32) -> bool {
        let new = !self.known.contains_key(&v.who);
        if self.deeds >= WAITING_MAX || (new && self.known.len() >= KNOWN_MAX) {
            return false;
        }
        self.know(&v, epoch);
        self.deeds += 1;
        let verb = if new { Verb::Ban } else { Verb::Reban };
        self.todo.push_back(Todo::Deed(verb, v));
        true
    }

    /// `false`: dropped.
    pub(super) fn stands(&mut self, v: &Values, epoch: u32) -> bool {
        if let Some(k) = self.known.get_mut(&v.who) {
            k.epoch = epoch;
            return true;
        }
        if self.known.len() >= KNOWN_MAX {
            return false;
        }
        self.know(v, epoch);
        self.todo.push_back(Todo::Again(v.who.clone(), None));
        true
    }

    pub(super) fn prolong(&mut self, v: Box<Values>, epoch: u32) {
        if self.known.contains_key(&v.who) && self.deeds < WAITING_MAX {
            self.know(&v, epoch);
            self.deeds += 1;
            self.todo.push_back(Todo::Deed(Verb::Prolong, v));
        }
    }

    pub(super) fn unban(&mut self, who: &Who) {
        if let Some(k) = self.known.remove(who) {
            let v = Box::new(k.values(who));
            self.todo.push_back(Todo::Deed(Verb::Unban, v));
        }
    }

    /// The next step; what waits is taken apart as far as needed.
    pub(super) fn step(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.steps.pop_front() {
                return Some(step);
            }
            match self.todo.pop_front()? {
                Todo::Deed(verb, v) => {
                    if verb != Verb::Unban {
                        self.deeds = self.deeds.saturating_sub(1);
                    }
                    self.deed(verb, v, None);
                }
                Todo::Again(who, action) => {
                    // Lifted meanwhile: then there is nothing to make again.
                    if let Some(k) = self.known.get(&who) {
                        let mut v = k.values(&who);
                        v.restored = true;
                        let verb = match action {
                            Some(_) => Verb::Reban,
                            None => Verb::Ban,
                        };
                        self.deed(verb, Box::new(v), action);
                    }
                }
                Todo::Flush => self.flush(),
                Todo::Stop => self.stop(),
            }
        }
    }

    pub(super) fn deed(&mut self, verb: Verb, v: Box<Values>, only: Option<usize>) {
        let family = v.who.family();
        let values = Rc::new(*v);
        for n in 0..self.plan.actions.len() {
            if only.is_some_and(|o| o != n) {
                continue;
            }
            let Some(a) = self.plan.actions.get(n) else {
                continue;
            };
            let (on_demand, skips) = (a.on_demand, a.norestored && values.restored);
            let state = self.state_of(n, family);
            match verb {
                Verb::Unban if !state.1 => continue,
                Verb::Unban => {}
                _ if skips && only.is_none() => continue,
                _ if on_demand && !state.0 => {
                    self.add(n, Verb::Start, family, &values, Then::Done);
                }
                _ => {}
            }
            let verb = match verb {
                Verb::Reban if !self.has(n, Verb::Reban, family) => Verb::Ban,
                other => other,
            };
            self.add(n, verb, family, &values, Then::Mend);
        }
    }

    pub(super) fn has(&self, action: usize, verb: Verb, family: Family) -> bool {
        let action = self.plan.actions.get(action);
        action.is_some_and(|a| a.command(verb, family).is_some())
    }

    pub(super) fn state_of(&self, action: usize, family: Family) -> (bool, bool) {
        let state = self.state.get(action).and_then(|s| s.get(family as usize));
        state.copied().unwrap_or_default()
    }

    pub(super) fn set(
        &mut self,
        action: usize,
        family: Family,
        change: impl Fn(&mut (bool, bool)),
    ) {
        let state = self.state.get_mut(action);
        if let Some(s) = state.and_then(|s| s.get_mut(family as usize)) {
            change(s);
        }
    }

    /// All bans of this jail are over.
    pub(super) fn flush(&mut self) {
        let known: Vec<(Who, Known)> = self.known.drain().collect();
        let nobody = Rc::new(Values::of(Who::Id("".into()), 0, 0));
        for n in 0..self.plan.actions.len() {
            for family in Family::ALL {
                if !self.state_of(n, family).1 {
                    continue;
                }
                if self.has(n, Verb::Flush, family) {
                    self.add(n, Verb::Flush, family, &nobody, Then::Mend);
                } else if self.has(n, Verb::Unban, family) {
                    for (who, k) in known.iter().filter(|(w, _)| w.family() == family) {
                        let values = Rc::new(k.values(who));
                        self.add(n, Verb::Unban, family, &values, Then::Mend);
                    }
                }
            }
        }
    }

    pub(super) fn stop(&mut self) {
        let nobody = Rc::new(Values::of(Who::Id("".into()), 0, 0));
        for n in (0..self.plan.actions.len()).rev() {
            for family in Family::ALL {
                if self.state_of(n, family).0 {
                    self.add(n, Verb::Stop, family, &nobody, Then::Done);
                }
            }
        }
    }

    /// Notes how a step has ended, and puts what follows in front of everything else.
    pub(super) fn ended(&mut self, step: Step, good: bool) {
        let (n, family) = (step.action, step.family);
        let alike = |a: &ActionPlan| a.alike(step.verb);
        let alike = self.plan.actions.get(n).is_some_and(alike);
        match step.verb {
            Verb::Start if good => self.set(n, family, |s| s.0 = true),
            Verb::Stop => self.set(n, family, |s| *s = (false, false)),
            Verb::Ban | Verb::Reban if good => self.set(n, family, |s| *s = (true, true)),
            Verb::Flush if good => self.set(n, family, |s| s.1 = false),
            _ => {}
        }
        let both = matches!(
            step.verb,
            Verb::Start | Verb::Stop | Verb::Flush | Verb::Check
        );
        if both && alike {
            // The other family's command would be the same one once more.
            let other = match family {
                Family::Inet4 => Family::Inet6,
                Family::Inet6 => Family::Inet4,
            };
            let mut done = false;
            self.steps.retain(|s| {
                let same = s.action == n && s.verb == step.verb && s.family == other;
                done |= same;
                !same
            });
            match step.verb {
                Verb::Start if done && good => self.set(n, other, |s| s.0 = true),
                Verb::Stop if done => self.set(n, other, |s| *s = (false, false)),
                Verb::Flush if done && good => self.set(n, other, |s| s.1 = false),
                _ => {}
            }
        }
        let next = |verb, then| Step {
            verb,
            then,
            ..step.clone()
        };
        let mut follow = Vec::new();
        match step.then {
            Then::Done => {}
            Then::Mend if good => {}
            Then::Mend if self.has(n, Verb::Check, family) => {
                follow.push(next(Verb::Check, Then::Checked(step.verb)));
            }
            // Once more: the reason may have been a moment's.
            Then::Mend => follow.push(next(step.verb, Then::Done)),
            Then::Checked(verb) | Then::Rechecked(verb) if good => {
                follow.push(next(verb, Then::Done));
            }
            Then::Checked(verb) => {
                let ends = matches!(verb, Verb::Unban | Verb::Flush);
                let mends = self.plan.actions.get(n).is_some_and(|a| a.repair_on_unban);
                if ends && !mends {
                    self.broken(n, "can't be lifted");
                } else if self.has(n, Verb::Repair, family) {
                    follow.push(next(Verb::Repair, Then::Repaired(verb)));
                } else {
                    follow.push(next(Verb::Stop, Then::Done));
                    follow.push(next(Verb::Start, Then::Repaired(verb)));
                }
            }
            Then::Repaired(verb) if good => {
                self.set(n, family, |s| s.0 = true);
                follow.push(next(Verb::Check, Then::Rechecked(verb)));
                // What it held is gone with what was broken.
                let again: Vec<Who> = self
                    .known
                    .keys()
                    .filter(|w| w.family() == family && **w != step.values.who)
                    .cloned()
                    .collect();
                self.todo
                    .extend(again.into_iter().map(|w| Todo::Again(w, Some(n))));
            }
            Then::Repaired(_) | Then::Rechecked(_) => self.broken(n, "can't be mended"),
        }
        for s in follow.into_iter().rev() {
            self.steps.push_front(s);
        }
    }

    pub(super) fn broken(&self, action: usize, state: &str) {
        let label = self.plan.actions.get(action).map(|a| a.label.as_str());
        log::error("action")
            .kv("jail", &self.plan.name)
            .kv("action", label.unwrap_or(""))
            .kv("state", state)
            .send();
    }
}
