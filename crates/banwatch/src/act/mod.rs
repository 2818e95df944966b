//! The process that runs what fail2ban's `action.d` says beyond the firewall, and that may ask
//! the network: custom actions, `ignorecommand`, host names.
//!
//! * [`tag`], [`render`]: a command as the shell gets it; [`values`]: what belongs to one ban;
//! * [`plan`]: the commands of all jails, read from the configuration at start;
//! * [`wire`]: what watch may ask, and what is answered;
//! * [`line`]: whose turn it is: a command at a time for each jail; pure;
//! * [`child`]: one command at work; [`names`]: host names;
//! * [`serve`]: the loop.

pub mod child;
pub mod line;
pub mod names;
pub mod plan;
pub mod render;
pub mod serve;
pub mod tag;
pub mod values;
pub mod wire;
