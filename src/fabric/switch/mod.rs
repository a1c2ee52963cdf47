//! A pure OpenFlow 1.3 switch with the Nicira extensions of Open vSwitch that the data path uses.
//!
//! Nothing is sent from here: packets, control messages and the passing of time go in, [`Effect`]s come out. What the
//! switch does where OpenFlow leaves room is what Open vSwitch 3.1 does (ovs-actions(7), ovs-fields(7)); what it does
//! not implement (IPv6 addresses, meters, queues, NAT, ALG, tunnels) it refuses with the error that Open vSwitch would use.

mod conntrack;
mod control;
mod execute;
mod flow;
mod group;
mod learn;
mod report;
mod table;
#[cfg(test)]
mod tests;
mod validate;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::fabric::packet::{Packet, lane};
use crate::types::{DatapathId, MacAddr, PortNo, Timestamp};
use crate::wire::openflow::{FlowRemoved, PacketIn, PortDescription, PortStatus, flow_flags, port_bits, port_reason};
use conntrack::Conntrack;
pub use conntrack::state as ct_state;
use flow::Flow;
use group::Group;
use table::{FlowId, Table, WordMap};

/// Tables 0 to 253 exist, as in Open vSwitch.
pub const TABLES: u8 = 254;

/// What comes out of a switch.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "short-lived values of which most are the large one")]
pub enum Effect {
    Transmit { port: PortNo, packet: Packet },
    PacketIn(PacketIn),
    FlowRemoved(FlowRemoved),
    PortStatus(PortStatus),
}

/// Why a control message was refused: the type and code of the OpenFlow error to answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("OpenFlow error {error_type}/{code}: {reason}")]
pub struct Refusal {
    pub error_type: u16,
    pub code: u16,
    pub reason: &'static str,
}

/// A port with its counters.
#[derive(Clone, Debug)]
pub struct SwitchPort {
    pub number: PortNo,
    pub mac: MacAddr,
    pub name: String,
    pub up: bool,
    pub speed_kbps: u32,
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub tx_dropped: u64,
    pub created: Timestamp,
}

impl SwitchPort {
    pub fn new(number: PortNo, mac: MacAddr, name: &str) -> Self {
        Self {
            number,
            mac,
            name: name.to_owned(),
            up: true,
            speed_kbps: 10_000_000,
            rx_packets: 0,
            tx_packets: 0,
            rx_bytes: 0,
            tx_bytes: 0,
            tx_dropped: 0,
            created: Timestamp::default(),
        }
    }

    pub fn description(&self) -> PortDescription {
        PortDescription {
            port_no: self.number,
            hw_addr: self.mac,
            name: self.name.clone(),
            config: 0,
            state: if self.up { port_bits::STATE_LIVE } else { port_bits::STATE_LINK_DOWN },
            current: 0,
            advertised: 0,
            supported: 0,
            peer: 0,
            current_speed_kbps: self.speed_kbps,
            max_speed_kbps: self.speed_kbps,
        }
    }
}

/// The switch.
#[derive(Debug)]
pub struct Switch {
    datapath: DatapathId,
    ports: BTreeMap<PortNo, SwitchPort>,
    tables: Vec<Table>,
    flows: Vec<Option<Flow>>,
    free: Vec<FlowId>,
    groups: BTreeMap<u32, Group>,
    conntrack: Conntrack,
    /// Flows of each table and cookie: what a `learn` limit counts.
    by_cookie: WordMap<(u8, u64), u32>,
    /// Deadlines to look at; a flow that was used since is put back with its new one.
    deadlines: BinaryHeap<Reverse<(Timestamp, FlowId, u64)>>,
    next_serial: u64,
}

impl Switch {
    pub fn new(datapath: DatapathId, ports: impl IntoIterator<Item = SwitchPort>) -> Self {
        Self {
            datapath,
            ports: ports.into_iter().map(|port| (port.number, port)).collect(),
            tables: (0..TABLES).map(|_| Table::default()).collect(),
            flows: Vec::new(),
            free: Vec::new(),
            groups: BTreeMap::new(),
            conntrack: Conntrack::default(),
            by_cookie: WordMap::default(),
            deadlines: BinaryHeap::new(),
            next_serial: 1,
        }
    }

    pub fn datapath(&self) -> DatapathId {
        self.datapath
    }

    pub fn ports(&self) -> impl Iterator<Item = &SwitchPort> {
        self.ports.values()
    }

    /// Number of flows installed, learned ones included.
    pub fn flow_count(&self) -> usize {
        self.flows.len() - self.free.len()
    }

    /// Number of connections that the tracker knows.
    pub fn tracked(&self) -> usize {
        self.conntrack.len()
    }

    /// A packet arrives on a port.
    pub fn receive(&mut self, port: PortNo, mut packet: Packet, now: Timestamp, out: &mut Vec<Effect>) {
        self.advance(now, out);
        let Some(state) = self.ports.get_mut(&port).filter(|state| state.up) else { return };
        state.rx_packets += 1;
        state.rx_bytes += u64::from(packet.length);
        packet.lanes[lane::IN_PORT] = u64::from(port.0);
        self.pipeline(packet, now, out);
    }

    /// Time has come to `now`: entries whose time is over leave.
    pub fn advance(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        while let Some(Reverse((at, id, serial))) = self.deadlines.peek().copied() {
            if at > now {
                break;
            }
            self.deadlines.pop();
            let Some(flow) = self.flow(id).filter(|flow| flow.serial == serial) else { continue };
            match flow.deadline() {
                // An entry that ended while nothing happened ended then, not when somebody looked.
                Some((deadline, reason)) if deadline <= now => self.remove_flow(id, reason, deadline, out),
                Some((deadline, _)) => self.deadlines.push(Reverse((deadline, id, serial))),
                None => {}
            }
        }
    }

    /// A packet that was sent did not fit the queue behind the port.
    pub fn count_dropped(&mut self, port: PortNo) {
        if let Some(state) = self.ports.get_mut(&port) {
            state.tx_dropped += 1;
        }
    }

    /// Takes a port up or down, as its cable would.
    pub fn set_port(&mut self, port: PortNo, up: bool, out: &mut Vec<Effect>) {
        if let Some(state) = self.ports.get_mut(&port).filter(|state| state.up != up) {
            state.up = up;
            let port = state.description();
            out.push(Effect::PortStatus(PortStatus { reason: port_reason::MODIFY, port }));
        }
    }

    fn flow(&self, id: FlowId) -> Option<&Flow> {
        self.flows.get(id as usize)?.as_ref()
    }

    fn flow_mut(&mut self, id: FlowId) -> Option<&mut Flow> {
        self.flows.get_mut(id as usize)?.as_mut()
    }

    fn flow_ids(&self) -> impl Iterator<Item = (FlowId, &Flow)> {
        self.flows.iter().enumerate().filter_map(|(id, flow)| Some((id as FlowId, flow.as_ref()?)))
    }

    /// Puts a flow into its table; there must be none of the same pattern and priority.
    fn insert_flow(&mut self, mut flow: Flow) {
        flow.serial = self.next_serial;
        self.next_serial += 1;
        let id = self.free.pop().unwrap_or_else(|| {
            self.flows.push(None);
            (self.flows.len() - 1) as FlowId
        });
        self.tables[usize::from(flow.table)].insert(&flow.pattern, flow.priority, id);
        *self.by_cookie.entry((flow.table, flow.cookie)).or_default() += 1;
        if let Some((deadline, _)) = flow.deadline() {
            self.deadlines.push(Reverse((deadline, id, flow.serial)));
        }
        self.flows[id as usize] = Some(flow);
    }

    fn remove_flow(&mut self, id: FlowId, reason: u8, now: Timestamp, out: &mut Vec<Effect>) {
        let Some(flow) = self.flows.get_mut(id as usize).and_then(Option::take) else { return };
        self.free.push(id);
        self.tables[usize::from(flow.table)].remove(&flow.pattern, flow.priority);
        self.forget_cookie(flow.table, flow.cookie);
        if flow.flags & flow_flags::SEND_FLOW_REM != 0 {
            out.push(Effect::FlowRemoved(flow.removed(reason, now)));
        }
    }

    fn forget_cookie(&mut self, table: u8, cookie: u64) {
        if let Some(count) = self.by_cookie.get_mut(&(table, cookie)) {
            *count -= 1;
            if *count == 0 {
                self.by_cookie.remove(&(table, cookie));
            }
        }
    }
}
