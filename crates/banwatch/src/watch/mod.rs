//! The half that watches and decides. It may not change the firewall, has no network, and is
//! nobody's user but its own.
//!
//! * [`settings`]: the table `[ban]`;
//! * [`desk`]: where what is seen becomes a decision; pure;
//! * [`jails`]: fail2ban's jails at work on lines, [`bench`]: one violation; [`kept`]: what of it their own actions want to
//!   know; [`acts`]: what act is told and asked; pure;
//! * [`control`]: what `hikyaku ban` and `fail2ban-client` may ask, [`verbs`]: of one jail; pure;
//! * [`outbox`], [`errands`]: packets to fire and to act that wait for room;
//! * [`walls`]: what it keeps when it is confined;
//! * [`serve`]: the loop.

pub mod acts;
pub mod bench;
pub mod control;
pub mod desk;
pub mod errands;
pub mod jails;
pub mod kept;
pub mod outbox;
pub mod serve;
pub mod settings;
pub mod verbs;
pub mod walls;
