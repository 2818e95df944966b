//! The half that may change the firewall. It sees no log line and no event: only networks, sets
//! and times, and it checks the never-ban list for itself.
//!
//! * [`wire`]: what watch may ask of it, and what it answers;
//! * [`netlink`]: the octets of netlink messages, [`nft`]: those of nftables; both pure;
//! * [`firewall`]: our table in the kernel;
//! * [`ipset`], [`sets`], [`iptables`], [`long`]: the same where the kernel has no nftables;
//! * [`table`]: whichever of the two there is;
//! * [`addresses`], [`sessions`]: who is never banned: the host itself, admins at work;
//! * [`serve`]: the loop.

pub mod addresses;
pub mod firewall;
pub mod ipset;
pub mod iptables;
pub mod long;
pub mod netlink;
pub mod nft;
pub mod serve;
pub mod sessions;
pub mod sets;
pub mod table;
pub mod wire;
