//! Groups: copies, weighted choice, fast failover.

use std::hash::Hasher;

use super::execute::Walk;
use super::table::WordHasher;
use super::{Switch, SwitchPort};
use crate::fabric::packet::{Packet, lane, number};
use crate::types::PortNo;
use crate::types::Timestamp;
use crate::wire::openflow::{Bucket, GroupType, MultipathAction, group, hash_fields, port};

/// Groups that watch groups: deeper than this a bucket counts as dead.
const WATCH_DEPTH_MAX: u32 = 8;

/// A group with its counters.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) group_type: GroupType,
    pub(super) buckets: std::sync::Arc<[Bucket]>,
    pub(super) created: Timestamp,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    /// Packets and bytes of each bucket.
    pub(super) bucket_counters: Vec<(u64, u64)>,
}

impl Switch {
    pub(super) fn run_group(&mut self, id: u32, packet: &Packet, walk: &mut Walk<'_>) {
        let Some(found) = self.groups.get(&id) else { return };
        let buckets = std::sync::Arc::clone(&found.buckets);
        let chosen: Vec<usize> = match found.group_type {
            GroupType::All => (0..buckets.len()).filter(|at| self.is_live(&buckets[*at], 0)).collect(),
            GroupType::Indirect => (0..buckets.len().min(1)).collect(),
            GroupType::FastFailover => {
                (0..buckets.len()).find(|at| self.is_watched_live(&buckets[*at], 0)).into_iter().collect()
            }
            GroupType::Select => self.select(id, &buckets, packet).into_iter().collect(),
        };
        if let Some(group) = self.groups.get_mut(&id) {
            group.packets += 1;
            group.bytes += u64::from(packet.length);
            for at in &chosen {
                if let Some((packets, bytes)) = group.bucket_counters.get_mut(*at) {
                    *packets += 1;
                    *bytes += u64::from(packet.length);
                }
            }
        }
        for at in chosen {
            // A bucket works on a copy: what it changes is gone behind the group.
            let mut copy = packet.clone();
            self.nested(walk, |switch, walk| switch.apply_set(&buckets[at].actions, &mut copy, walk));
        }
    }

    /// Chooses among the live buckets by weight, by the packet's addresses and ports.
    fn select(&self, id: u32, buckets: &[Bucket], packet: &Packet) -> Option<usize> {
        let weight_of = |bucket: &Bucket| if self.is_live(bucket, 0) { u64::from(bucket.weight) } else { 0 };
        let total: u64 = buckets.iter().map(weight_of).sum();
        if total == 0 {
            return None;
        }
        let seed = self.datapath.0 ^ u64::from(id).rotate_left(32);
        let mut rest = spread(hash_five_tuple(packet, seed), total);
        buckets.iter().position(|bucket| {
            let weight = weight_of(bucket);
            if rest < weight {
                return true;
            }
            rest -= weight;
            false
        })
    }

    /// A bucket that watches nothing is live.
    fn is_live(&self, bucket: &Bucket, depth: u32) -> bool {
        watches_nothing(bucket) || self.is_watched_live(bucket, depth)
    }

    fn is_watched_live(&self, bucket: &Bucket, depth: u32) -> bool {
        let port_lives = |port: PortNo| self.ports.get(&port).is_some_and(|port: &SwitchPort| port.up);
        let group_lives = |id: u32| {
            depth < WATCH_DEPTH_MAX
                && self
                    .groups
                    .get(&id)
                    .is_some_and(|group| group.buckets.iter().any(|bucket| self.is_live(bucket, depth + 1)))
        };
        (bucket.watch_port != port::ANY && port_lives(bucket.watch_port))
            || (bucket.watch_group != group::ANY && group_lives(bucket.watch_group))
    }
}

pub(super) fn watches_nothing(bucket: &Bucket) -> bool {
    bucket.watch_port == port::ANY && bucket.watch_group == group::ANY
}

/// `multipath` with `modulo_n`; other algorithms are refused with the flow.
pub(super) fn multipath(action: &MultipathAction, packet: &mut Packet) {
    let basis = u64::from(action.basis);
    let is_tcp = packet.lanes[lane::IP_PROTO] == number::TCP;
    let hash = match action.fields {
        hash_fields::ETH_SRC => mix([packet.lanes[lane::ETH_SRC], basis]),
        hash_fields::SYMMETRIC_L4 => {
            let macs = packet.lanes[lane::ETH_SRC] ^ packet.lanes[lane::ETH_DST];
            mix([symmetric(packet, is_tcp), macs, basis])
        }
        hash_fields::SYMMETRIC_L3L4 => mix([symmetric(packet, is_tcp), basis, 0]),
        _ => mix([symmetric(packet, true), basis, 0]),
    };
    packet.set(action.target, hash % (u64::from(action.max_link) + 1));
}

/// Addresses, protocol and (where wanted) ports, the same for both directions.
fn symmetric(packet: &Packet, with_ports: bool) -> u64 {
    let addresses = packet.lanes[lane::IP_SRC] ^ packet.lanes[lane::IP_DST];
    let sum = packet.lanes[lane::IP_SRC] + packet.lanes[lane::IP_DST];
    let (ports_xor, ports_sum) = if with_ports {
        let (source, destination) = (packet.lanes[lane::L4_SRC], packet.lanes[lane::L4_DST]);
        (source ^ destination, source + destination)
    } else {
        (0, 0)
    };
    mix([addresses, sum, packet.lanes[lane::IP_PROTO], ports_xor, ports_sum])
}

fn hash_five_tuple(packet: &Packet, seed: u64) -> u64 {
    mix([
        seed,
        packet.lanes[lane::IP_SRC] << 32 | packet.lanes[lane::IP_DST],
        packet.lanes[lane::IP_PROTO] << 32 | packet.lanes[lane::L4_SRC] << 16 | packet.lanes[lane::L4_DST],
    ])
}

/// Hashes words; finished by the mixer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), so that every bit counts.
fn mix<const N: usize>(words: [u64; N]) -> u64 {
    let mut hasher = WordHasher::default();
    for word in words {
        hasher.write_u64(word);
    }
    let mut value = hasher.finish();
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Maps a hash onto `0..n` evenly.
fn spread(hash: u64, n: u64) -> u64 {
    ((u128::from(hash) * u128::from(n)) >> 64) as u64
}
