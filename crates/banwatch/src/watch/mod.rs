//! The half that watches and decides. It may not change the firewall, has no network, and is
//! nobody's user but its own.
//!
//! * [`settings`]: the table `[ban]`;
//! * [`desk`]: where what is seen becomes a decision; pure;
//! * [`jails`]: fail2ban's jails at work on lines; pure;
//! * [`control`]: what `hikyaku ban` and `fail2ban-client` may ask; pure;
//! * [`outbox`]: packets to fire that wait for room;
//! * [`walls`]: what it keeps when it is confined;
//! * [`serve`]: the loop.

pub mod control;
pub mod desk;
pub mod jails;
pub mod outbox;
pub mod serve;
pub mod settings;
pub mod walls;
