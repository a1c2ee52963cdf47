//! Cookies: who made an entry, and what its counters mean.
//!
//! ```text
//!  63            48 47 46          40 39                       32 31            16 15             0
//! +----------------+--+--------------+---------------------------+----------------+----------------+
//! | 'F' 'S'        | L| zeros        | purpose                   | detail         | detail         |
//! +----------------+--+--------------+---------------------------+----------------+----------------+
//! ```
//!
//! `L` is set on what a switch learned by itself; reconciliation compares and deletes only entries without it.

use crate::southbound::openflow::CookieSpace;
use crate::types::NodeIndex;

/// `FS` in the top 16 bits.
pub const MAGIC: u64 = 0x4653 << 48;
const MAGIC_MASK: u64 = 0xffff << 48;
/// Set where the switch itself made the entry.
pub const LEARNED: u64 = 1 << 47;
/// Magic, learned bit and purpose.
pub const PURPOSE_MASK: u64 = MAGIC_MASK | LEARNED | PURPOSE_BITS;
const PURPOSE_BITS: u64 = 0xff << 32;

/// What a plan installs.
pub const INSTALLED: CookieSpace = CookieSpace { value: MAGIC, mask: MAGIC_MASK | LEARNED };

/// Entries whose counters are not read.
pub const PLAIN: u64 = MAGIC;
/// Packets that chose a router; the details are service and router.
pub const CHOSEN: u64 = MAGIC | 1 << 32;
/// Connections admitted.
pub const ADMITTED: u64 = MAGIC | 2 << 32;
/// Connections refused.
pub const REFUSED: u64 = MAGIC | 3 << 32;
/// Packets of no known connection.
pub const UNKNOWN: u64 = MAGIC | 4 << 32;

/// Learned: a connection; the low detail is the shard whose limit it counts against.
pub const CONNECTION: u64 = MAGIC | LEARNED | 1 << 32;
/// Learned: a connection that saw a FIN or RST.
pub const CLOSING: u64 = MAGIC | LEARNED | 2 << 32;
/// Learned: a connection whose refusal has been counted; the low detail is a shard.
pub const REMEMBERED: u64 = MAGIC | LEARNED | 3 << 32;

/// Learned or written: a copy of another router's connection; the low detail is its owner.
pub const COPY: u64 = MAGIC | LEARNED | 4 << 32;
/// Learned: a connection of which a packet was mirrored lately.
pub const SAMPLED: u64 = MAGIC | LEARNED | 5 << 32;
/// Of whatever a switch learned.
pub const LEARNED_MASK: u64 = MAGIC_MASK | LEARNED;

/// Entry that counts what one service gives to one router.
pub fn chosen(service: u16, router: NodeIndex) -> u64 {
    CHOSEN | u64::from(service) << 16 | u64::from(router.0)
}

/// The service and router of a [`chosen`] cookie.
pub fn chosen_parts(cookie: u64) -> Option<(u16, NodeIndex)> {
    let detail = |shift: u32| u16::try_from(cookie >> shift & 0xffff).expect("masked to 16 bits");
    (cookie & PURPOSE_MASK == CHOSEN).then(|| (detail(16), NodeIndex(detail(0))))
}
