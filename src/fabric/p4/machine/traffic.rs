//! What happens to a packet between pipelines: clones, digests, resubmission, multicast, recirculation, emission.
//!
//! ```text
//!   frame ─▶ parser ─▶ ingress ─┬─▶ egress ─▶ deparser ─▶ port
//!             ▲ ▲        │      │     │ ▲         │
//!             │ └resubmit┘      └─────┼─┘         │
//!             │         clone, multicast          │
//!             └────────────recirculate────────────┘
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use super::execute::{DROP_PORT, Engine, scope};
use super::packet::Packet;
use super::parse::{deparse, parse};
use super::{Emission, Machine};
use crate::fabric::p4::program::Program;
use crate::fabric::p4::program::calculation::FieldList;
use crate::types::{PortNo, Timestamp};

/// Most passes through a pipeline that one frame can cause: a program that recirculates for ever is cut off here.
const PASSES_MAX: usize = 1 << 14;
/// Most packets of one frame that wait for a pipeline; BMv2's queue is as long. What is more is dropped.
const WAITING_MAX: usize = 1024;
/// Packets that are kept to be used again.
const POOL_MAX: usize = 64;

/// What a program sees in `instance_type`.
mod instance {
    pub(super) const NORMAL: u128 = 0;
    pub(super) const INGRESS_CLONE: u128 = 1;
    pub(super) const EGRESS_CLONE: u128 = 2;
    pub(super) const RECIRCULATED: u128 = 4;
    pub(super) const REPLICATED: u128 = 5;
    pub(super) const RESUBMITTED: u128 = 6;
}

enum Work {
    Ingress(Packet),
    Egress(Packet, u128),
}

/// Copies the fields of a list, which keeps them over a copy's new beginning.
fn keep(program: &Program, list: u128, from: &Packet, to: &mut Packet) {
    use crate::fabric::p4::program::expression::Data;
    let list = program.field_lists.iter().find(|known| known.id == list);
    for element in list.into_iter().flat_map(|list| &list.elements) {
        if let Data::Field(field) = element {
            to.cells[*field] = from.cells[*field];
        }
    }
}

impl Machine {
    /// Processes one frame and everything that follows from it. Frames that come in at a port that is down, or is none of
    /// the switch, are dropped.
    pub fn receive(&mut self, port: PortNo, frame: &[u8], now: Timestamp) -> Vec<Emission> {
        let mut out = Vec::new();
        if !self.is_up(port) {
            return out;
        }
        self.arrays.now = now;
        let program = Arc::clone(&self.program);
        let mut packet = self.fresh(&program);
        packet.frame.extend_from_slice(frame);
        packet.length = frame.len() as u128;
        packet.ingress_length = frame.len();
        let standard = &program.standard;
        packet.set(&program.layout, standard.ingress_port, u128::from(port.0));
        packet.set(&program.layout, standard.packet_length, frame.len() as u128);
        packet.set(&program.layout, standard.instance_type, instance::NORMAL);
        packet.set_known(&program.layout, standard.ingress_time, u128::from(self.arrays.clock()));
        let mut waiting = VecDeque::from([Work::Ingress(packet)]);
        let mut passes = 0;
        while let Some(work) = waiting.pop_front() {
            passes += 1;
            let packet = match work {
                _ if passes > PASSES_MAX => break,
                Work::Ingress(packet) => self.ingress(&program, packet, &mut waiting, &mut out),
                Work::Egress(packet, port) => self.egress(&program, packet, port, &mut waiting, &mut out),
            };
            if self.pool.len() < POOL_MAX {
                self.pool.extend(packet);
            }
            waiting.truncate(WAITING_MAX);
        }
        out
    }

    fn fresh(&mut self, program: &Program) -> Packet {
        match self.pool.pop() {
            Some(mut packet) => {
                packet.reset(&program.layout);
                packet
            }
            None => Packet::new(&program.layout),
        }
    }

    /// Another packet with everything that this one has.
    fn duplicate(&mut self, program: &Program, packet: &Packet) -> Packet {
        let mut copy = self.fresh(program);
        copy.copy_from(packet);
        copy
    }

    /// A packet with the same frame, or another one, before its parser.
    fn begin_again(&mut self, program: &Program, frame: &[u8], ingress_length: usize) -> Packet {
        let mut copy = self.fresh(program);
        copy.frame.extend_from_slice(frame);
        copy.length = frame.len() as u128;
        copy.ingress_length = ingress_length;
        copy
    }

    fn engine<'m>(&'m mut self, program: &'m Program) -> Engine<'m> {
        Engine {
            program,
            tables: &mut self.tables,
            profiles: &self.profiles,
            arrays: &mut self.arrays,
            bits: &mut self.bits,
        }
    }

    /// Gives the packet back when it is used up.
    fn ingress(
        &mut self,
        program: &Program,
        mut packet: Packet,
        waiting: &mut VecDeque<Work>,
        out: &mut Vec<Emission>,
    ) -> Option<Packet> {
        let (layout, standard) = (&program.layout, &program.standard);
        let ingress_port = packet.cells[standard.ingress_port];
        let (error, is_wrong) = parse(program, &mut self.arrays, &mut self.bits, &mut packet);
        packet.set_known(layout, standard.parser_error, error);
        packet.set_known(layout, standard.checksum_error, u128::from(is_wrong));
        packet.exits = false;
        self.engine(program).run(&mut packet, program.flow.ingress);
        packet.exits = false;
        if packet.is_lost {
            return Some(packet);
        }
        let requests = std::mem::take(&mut packet.requests);
        if let Some((session, list)) = requests.clone {
            self.clone_from_ingress(program, &packet, ingress_port, session, list, waiting);
        }
        if let Some(list) = requests.digest {
            self.digest(program, &packet, list, out);
        }
        if let Some(list) = requests.resubmit.filter(|list| *list != 0) {
            let mut again = self.begin_again(program, &packet.frame, packet.ingress_length);
            keep(program, list, &packet, &mut again);
            again.set(layout, standard.instance_type, instance::RESUBMITTED);
            again.set(layout, standard.packet_length, packet.frame.len() as u128);
            waiting.push_back(Work::Ingress(again));
            return Some(packet);
        }
        let group = standard.multicast.map_or(0, |field| packet.cells[field]);
        if group != 0 {
            packet.set(layout, standard.instance_type, instance::REPLICATED);
            self.replicate(program, &packet, group, waiting);
            return Some(packet);
        }
        let port = packet.cells[standard.egress_spec];
        if port == DROP_PORT {
            return Some(packet);
        }
        packet.set(layout, standard.instance_type, instance::NORMAL);
        self.enqueue(program, packet, port, waiting);
        None
    }

    fn enqueue(&mut self, program: &Program, mut packet: Packet, port: u128, waiting: &mut VecDeque<Work>) {
        packet.set_known(&program.layout, program.standard.enqueued, u128::from(self.arrays.clock()));
        waiting.push_back(Work::Egress(packet, port));
    }

    fn replicate(&mut self, program: &Program, packet: &Packet, group: u128, waiting: &mut VecDeque<Work>) {
        let group = u16::try_from(group).ok().and_then(|group| self.multicast.get(&group)).cloned();
        for replica in group.unwrap_or_default() {
            let mut copy = self.duplicate(program, packet);
            copy.set_known(&program.layout, program.standard.instance, u128::from(replica.instance));
            self.enqueue(program, copy, u128::from(replica.port.0), waiting);
        }
    }

    /// Sends copies to a clone session's ports.
    fn mirror(&mut self, program: &Program, copy: Packet, session: u128, waiting: &mut VecDeque<Work>) {
        let session = u16::try_from(session).ok().and_then(|session| self.clones.get(&session)).cloned();
        let session = session.unwrap_or_default();
        for replica in &session.replicas {
            let mut copy = self.duplicate(program, &copy);
            if session.length_bytes > 0 {
                copy.length_max = session.length_bytes as usize;
            }
            copy.set_known(&program.layout, program.standard.instance, u128::from(replica.instance));
            self.enqueue(program, copy, u128::from(replica.port.0), waiting);
        }
        self.pool.push(copy);
    }

    /// A clone begins as the frame came in: it is parsed again, and has of the metadata only what is kept.
    fn clone_from_ingress(
        &mut self,
        program: &Program,
        packet: &Packet,
        ingress_port: u128,
        session: u128,
        list: u128,
        waiting: &mut VecDeque<Work>,
    ) {
        let is_known = u16::try_from(session).is_ok_and(|session| self.clones.contains_key(&session));
        if !is_known {
            return;
        }
        let mut copy = self.begin_again(program, &packet.frame, packet.ingress_length);
        copy.set(&program.layout, program.standard.ingress_port, ingress_port);
        parse(program, &mut self.arrays, &mut self.bits, &mut copy);
        copy.reset_metadata(&program.layout);
        keep(program, list, packet, &mut copy);
        copy.set(&program.layout, program.standard.instance_type, instance::INGRESS_CLONE);
        self.mirror(program, copy, session, waiting);
    }

    fn digest(&self, program: &Program, packet: &Packet, list: u128, out: &mut Vec<Emission>) {
        let Some(FieldList { name, elements, .. }) = program.digests.iter().find(|known| known.id == list) else {
            return;
        };
        let scope = scope(program, &self.arrays, packet, &[]);
        let values = elements.iter().map(|element| scope.data(element)).collect();
        out.push(Emission::Digest { name: Arc::clone(name), values });
    }

    fn egress(
        &mut self,
        program: &Program,
        mut packet: Packet,
        port: u128,
        waiting: &mut VecDeque<Work>,
        out: &mut Vec<Emission>,
    ) -> Option<Packet> {
        let (layout, standard) = (&program.layout, &program.standard);
        packet.set_known(layout, standard.egress_time, u128::from(self.arrays.clock()));
        packet.set(layout, standard.egress_port, port);
        // Anything but the port that drops.
        packet.set(layout, standard.egress_spec, DROP_PORT + 1);
        packet.set(layout, standard.packet_length, packet.length);
        packet.exits = false;
        self.engine(program).run(&mut packet, program.flow.egress);
        if packet.is_lost {
            return Some(packet);
        }
        let requests = std::mem::take(&mut packet.requests);
        if let Some((session, list)) = requests.clone {
            let mut copy = self.duplicate(program, &packet);
            copy.reset_metadata(layout);
            keep(program, list, &packet, &mut copy);
            copy.set(layout, standard.instance_type, instance::EGRESS_CLONE);
            self.mirror(program, copy, session, waiting);
        }
        if packet.cells[standard.egress_spec] == DROP_PORT {
            return Some(packet);
        }
        let mut frame = deparse(program, &self.arrays, &mut packet, &mut self.bits);
        if let Some(list) = requests.recirculate.filter(|list| *list != 0) {
            let mut again = self.begin_again(program, &frame, frame.len());
            keep(program, list, &packet, &mut again);
            again.set(layout, standard.instance_type, instance::RECIRCULATED);
            again.set(layout, standard.packet_length, frame.len() as u128);
            waiting.push_back(Work::Ingress(again));
            return Some(packet);
        }
        frame.truncate(packet.length_max);
        let port = u32::try_from(port).map(PortNo);
        if let Some(port) = port.ok().filter(|port| self.is_up(*port)) {
            out.push(Emission::Frame { port, bytes: frame });
        }
        Some(packet)
    }
}
