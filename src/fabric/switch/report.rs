//! Statistics and descriptions, as values of the multipart answers.

use super::{Refusal, Switch};
use crate::types::{PortNo, Timestamp};
use crate::wire::openflow::{
    AggregateStats, FlowStats, FlowStatsRequest, GroupDescription, GroupStats, PortDescription, PortStats, group, port,
};

impl Switch {
    /// In the order of table, then priority from the top, then age.
    pub fn flow_stats(&self, request: &FlowStatsRequest, now: Timestamp) -> Result<Vec<FlowStats>, Refusal> {
        let mut flows = self.requested_flows(request)?;
        flows.sort_by_key(|flow| (flow.table, std::cmp::Reverse(flow.priority), flow.serial));
        Ok(flows.into_iter().map(|flow| flow.stats(now)).collect())
    }

    pub fn aggregate(&self, request: &FlowStatsRequest) -> Result<AggregateStats, Refusal> {
        let mut sum = AggregateStats::default();
        for flow in self.requested_flows(request)? {
            sum.packet_count += flow.packets;
            sum.byte_count += flow.bytes;
            sum.flow_count += 1;
        }
        Ok(sum)
    }

    /// Statistics of one port, or of all for `ANY`.
    pub fn port_stats(&self, wanted: PortNo, now: Timestamp) -> Result<Vec<PortStats>, Refusal> {
        if wanted != port::ANY && !self.ports.contains_key(&wanted) {
            return Err(Refusal { error_type: 1, code: 11, reason: "port does not exist" });
        }
        let of_interest = self.ports.values().filter(|state| wanted == port::ANY || state.number == wanted);
        let stats = of_interest.map(|state| {
            let duration = now.since(state.created);
            PortStats {
                port_no: state.number.0,
                rx_packets: state.rx_packets,
                tx_packets: state.tx_packets,
                rx_bytes: state.rx_bytes,
                tx_bytes: state.tx_bytes,
                tx_dropped: state.tx_dropped,
                duration_sec: u32::try_from(duration.as_secs()).unwrap_or(u32::MAX),
                duration_nsec: duration.subsec_nanos(),
                ..PortStats::default()
            }
        });
        Ok(stats.collect())
    }

    pub fn port_descriptions(&self) -> Vec<PortDescription> {
        self.ports.values().map(super::SwitchPort::description).collect()
    }

    /// Statistics of one group, or of all for `OFPG_ALL`; nothing for a group that does not exist.
    pub fn group_stats(&self, wanted: u32, now: Timestamp) -> Vec<GroupStats> {
        let of_interest = self.groups.iter().filter(|(id, _)| wanted == group::ALL || **id == wanted);
        let stats = of_interest.map(|(id, group)| {
            let duration = now.since(group.created);
            GroupStats {
                group_id: *id,
                ref_count: 0,
                packet_count: group.packets,
                byte_count: group.bytes,
                duration_sec: u32::try_from(duration.as_secs()).unwrap_or(u32::MAX),
                duration_nsec: duration.subsec_nanos(),
                buckets: group.bucket_counters.clone(),
            }
        });
        stats.collect()
    }

    pub fn group_descriptions(&self) -> Vec<GroupDescription> {
        let describe = |(id, group): (&u32, &super::Group)| GroupDescription {
            group_type: group.group_type,
            group_id: *id,
            buckets: group.buckets.to_vec(),
        };
        self.groups.iter().map(describe).collect()
    }
}
