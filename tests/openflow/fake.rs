//! A switch made of memory, and its wire to an agent.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use foreshadow::plan::DatapathPlan;
use foreshadow::southbound::openflow::state::{FlowKey, GroupEntry};
use foreshadow::southbound::openflow::{AgentSettings, SwitchAgent};
use foreshadow::southbound::{Command, Event};
use foreshadow::types::{DatapathId, MacAddr, PortNo, Timestamp};
use foreshadow::wire::openflow::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::mapping;

pub type Refusal = fn(&Message) -> Option<(u16, u16)>;

/// Obeys OpenFlow, remembers what it was sent, refuses what it is told to refuse.
#[derive(Debug)]
pub struct FakeSwitch {
    pub datapath: u64,
    /// Which auxiliary connection of it this is; 0 is the main one.
    pub auxiliary_id: u8,
    pub flows: BTreeMap<FlowKey, FlowStats>,
    pub groups: BTreeMap<u32, GroupEntry>,
    /// Every flow-mod, group-mod and barrier of this connection, in order.
    pub log: Vec<Message>,
    pub other: Vec<Message>,
    pub refuse: Refusal,
    /// Answers nothing while it is set.
    pub mute: bool,
    pub answers_barriers: bool,
    pub answers_flow_stats: bool,
    /// Knows ONF's bundles; otherwise it refuses them, as a switch does that never heard of them.
    pub takes_bundles: bool,
    pub asynchronous: AsyncConfig,
    /// Messages of the open bundle.
    bundle: Option<Vec<Frame>>,
    pub input: Vec<u8>,
    pub output: Vec<u8>,
}

impl FakeSwitch {
    pub fn new(datapath: u64) -> Self {
        let mut switch = Self {
            datapath,
            auxiliary_id: 0,
            flows: BTreeMap::new(),
            groups: BTreeMap::new(),
            log: Vec::new(),
            other: Vec::new(),
            refuse: |_| None,
            mute: false,
            answers_barriers: true,
            answers_flow_stats: true,
            takes_bundles: false,
            asynchronous: AsyncConfig::default(),
            bundle: None,
            input: Vec::new(),
            output: Vec::new(),
        };
        switch.reconnect();
        switch
    }

    /// A new connection: what is installed stays, what was being said is gone.
    pub fn reconnect(&mut self) {
        self.log.clear();
        self.other.clear();
        self.input.clear();
        self.output.clear();
        self.bundle = None;
        self.say(0, Message::Hello(Hello { versions: Some(0b1_0010) }));
    }

    pub fn say(&mut self, xid: u32, message: Message) {
        self.output.extend(Frame { version: 4, xid, message }.encode().expect("a test's message has a form"));
    }

    pub fn take(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while self.input.len() >= 4 {
            let length = usize::from(u16::from_be_bytes([self.input[2], self.input[3]]));
            if self.input.len() < length {
                break;
            }
            let raw: Vec<u8> = self.input.drain(..length).collect();
            let frame = Frame::decode(&raw).expect("the controller sends sound frames");
            if !self.mute {
                self.obey(frame);
            }
        }
    }

    fn obey(&mut self, frame: Frame) {
        let Frame { xid, message, .. } = frame;
        match &message {
            Message::FlowMod(_) | Message::GroupMod(_) | Message::BarrierRequest => self.log.push(message.clone()),
            _ => self.other.push(message.clone()),
        }
        if let Some((error_type, code)) = (self.refuse)(&message) {
            return self.say(xid, Message::Error(ErrorMessage { error_type, code, data: vec![0; 64] }));
        }
        match message {
            Message::Experimenter(experimenter) => self.experimenter(xid, experimenter),
            Message::SetAsync(config) => self.asynchronous = config,
            Message::RoleRequest(role) => self.say(xid, Message::RoleReply(role)),
            Message::EchoRequest(data) => self.say(xid, Message::EchoReply(data)),
            Message::FeaturesRequest => {
                let features = Features {
                    datapath_id: self.datapath,
                    n_buffers: 0,
                    n_tables: 254,
                    auxiliary_id: self.auxiliary_id,
                    capabilities: 0,
                    reserved: 0,
                };
                self.say(xid, Message::FeaturesReply(features));
            }
            Message::BarrierRequest if self.answers_barriers => self.say(xid, Message::BarrierReply),
            Message::FlowMod(flow) => self.flow_mod(flow),
            Message::GroupMod(group) => self.group_mod(xid, group),
            Message::MultipartRequest(request) => self.multipart(xid, request.body),
            _ => {}
        }
    }

    /// Bundles are logged by their controls; what is in them shows in `flows` and `groups`.
    fn experimenter(&mut self, xid: u32, experimenter: Experimenter) {
        if !self.takes_bundles {
            return self.say(xid, Message::Error(ErrorMessage { error_type: 1, code: 3, data: vec![0; 64] }));
        }
        self.log.push(Message::Experimenter(experimenter.clone()));
        match experimenter {
            Experimenter::BundleControl(control) => {
                let reply = BundleControl { control: control.control + 1, ..control.clone() };
                match control.control {
                    bundle_control::OPEN_REQUEST => self.bundle = Some(Vec::new()),
                    bundle_control::COMMIT_REQUEST if !self.commit() => {
                        let data = 0x4f4e_4600_u32.to_be_bytes().to_vec();
                        return self.say(xid, Message::Error(ErrorMessage { error_type: 0xffff, code: 2313, data }));
                    }
                    _ => self.bundle = None,
                }
                self.say(xid, Message::Experimenter(Experimenter::BundleControl(reply)));
            }
            Experimenter::BundleAdd(add) => {
                assert_eq!(add.message.xid, xid, "a bundle's message has the transaction id of its frame");
                self.bundle.as_mut().expect("a bundle is open").push(add.message);
            }
            _ => {}
        }
    }

    /// All or nothing; what is refused is named first, as Open vSwitch does.
    fn commit(&mut self) -> bool {
        let before = (self.flows.clone(), self.groups.clone());
        for Frame { xid, message, .. } in self.bundle.take().expect("a bundle is open") {
            let said = self.output.len();
            if let Some((error_type, code)) = (self.refuse)(&message) {
                self.say(xid, Message::Error(ErrorMessage { error_type, code, data: vec![0; 64] }));
            } else {
                match message {
                    Message::FlowMod(flow) => self.flow_mod(flow),
                    Message::GroupMod(group) => self.group_mod(xid, group),
                    other => panic!("not for a bundle: {other:?}"),
                }
            }
            if self.output.len() > said {
                (self.flows, self.groups) = before;
                return false;
            }
        }
        true
    }

    fn flow_mod(&mut self, flow: FlowMod) {
        let key = FlowKey { table: flow.table_id, priority: flow.priority, matching: flow.matching.canonical() };
        match flow.command {
            FlowModCommand::Add => {
                let stats = FlowStats {
                    table_id: flow.table_id,
                    duration_sec: 0,
                    duration_nsec: 0,
                    priority: flow.priority,
                    idle_timeout: flow.idle_timeout,
                    hard_timeout: flow.hard_timeout,
                    flags: flow.flags,
                    cookie: flow.cookie,
                    packet_count: 0,
                    byte_count: 0,
                    matching: flow.matching,
                    instructions: flow.instructions,
                };
                self.flows.insert(key, stats);
            }
            FlowModCommand::DeleteStrict
                if self.flows.get(&key).is_some_and(|held| held.cookie & flow.cookie_mask == flow.cookie) =>
            {
                self.flows.remove(&key);
            }
            _ => {}
        }
    }

    /// As Open vSwitch: groups that a bucket names must exist.
    fn group_mod(&mut self, xid: u32, group: GroupMod) {
        let missing = group.buckets.iter().flat_map(|bucket| &bucket.actions).any(|action| match action {
            Action::Group(id) => !self.groups.contains_key(id),
            _ => false,
        });
        let exists = self.groups.contains_key(&group.group_id);
        let code = match group.command {
            GroupModCommand::Add if exists => Some(0),
            GroupModCommand::Modify if !exists => Some(8),
            GroupModCommand::Add | GroupModCommand::Modify if missing => Some(1),
            _ => None,
        };
        if let Some(code) = code {
            return self.say(xid, Message::Error(ErrorMessage { error_type: 6, code, data: vec![0; 64] }));
        }
        match group.command {
            GroupModCommand::Delete => _ = self.groups.remove(&group.group_id),
            _ => {
                let entry = GroupEntry { group_type: group.group_type, buckets: group.buckets };
                self.groups.insert(group.group_id, entry);
            }
        }
    }

    /// Long answers come with one entry a part.
    fn multipart(&mut self, xid: u32, request: MultipartRequestBody) {
        let parts: Vec<MultipartReplyBody> = match request {
            MultipartRequestBody::Description => vec![MultipartReplyBody::Description(SwitchDescription {
                manufacturer: "memory".into(),
                ..SwitchDescription::default()
            })],
            MultipartRequestBody::PortDescription => {
                vec![MultipartReplyBody::PortDescription(vec![port_description(1)])]
            }
            MultipartRequestBody::PortStats(_) => vec![
                MultipartReplyBody::PortStats(vec![PortStats { port_no: 1, rx_packets: 5, ..PortStats::default() }]),
                MultipartReplyBody::PortStats(vec![PortStats { port_no: 2, rx_packets: 6, ..PortStats::default() }]),
            ],
            MultipartRequestBody::Flow(_) if !self.answers_flow_stats => return,
            MultipartRequestBody::Flow(flow) => {
                let wanted = self.flows.values().filter(|held| held.cookie & flow.cookie_mask == flow.cookie);
                let mut parts: Vec<_> = wanted.map(|held| MultipartReplyBody::Flow(vec![held.clone()])).collect();
                parts.push(MultipartReplyBody::Flow(Vec::new()));
                parts
            }
            MultipartRequestBody::GroupDescription => {
                let all = self.groups.iter().map(|(id, group)| GroupDescription {
                    group_type: group.group_type,
                    group_id: *id,
                    buckets: group.buckets.clone(),
                });
                vec![MultipartReplyBody::GroupDescription(all.collect())]
            }
            _ => return,
        };
        let last = parts.len() - 1;
        for (index, body) in parts.into_iter().enumerate() {
            self.say(xid, Message::MultipartReply(MultipartReply { more: index < last, body }));
        }
    }

    /// How many messages of this connection changed an entry.
    pub fn changes(&self) -> usize {
        self.log.iter().filter(|message| !matches!(message, Message::BarrierRequest)).count()
    }
}

pub fn port_description(number: u32) -> PortDescription {
    PortDescription {
        port_no: PortNo(number),
        hw_addr: MacAddr([2, 0, 0, 0, 0, 1]),
        name: format!("p{number}"),
        config: 0,
        state: port_bits::STATE_LIVE,
        current: 0,
        advertised: 0,
        supported: 0,
        peer: 0,
        current_speed_kbps: 10_000_000,
        max_speed_kbps: 0,
    }
}

/// An agent and a switch on one wire that cuts the bytes wherever its seed says.
#[derive(Debug)]
pub struct Pair {
    pub agent: SwitchAgent,
    pub switch: FakeSwitch,
    pub now: Timestamp,
    pub events: VecDeque<Event>,
    /// Round trips, and what comes with them.
    pub told: Vec<Event>,
    pub settings: AgentSettings,
    random: ChaCha8Rng,
}

pub const DATAPATH: DatapathId = DatapathId(0xd1);

impl Pair {
    pub fn new(settings: AgentSettings, seed: u64) -> Self {
        let now = Timestamp::from_secs(1_000);
        Self {
            agent: SwitchAgent::new(settings, mapping(), "peer".into(), now),
            switch: FakeSwitch::new(DATAPATH.0),
            now,
            events: VecDeque::new(),
            told: Vec::new(),
            settings,
            random: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// A pair whose handshake is done.
    pub fn up(seed: u64) -> Self {
        let mut pair = Self::new(AgentSettings::default(), seed);
        assert!(pair.begin(), "the switch tells what it holds");
        pair
    }

    /// The controller is killed and a new one accepts the switch's next connection; true if it could read what the
    /// switch holds.
    pub fn restart_controller(&mut self) -> bool {
        self.agent = SwitchAgent::new(self.settings, mapping(), "peer".into(), self.now);
        self.switch.reconnect();
        self.begin()
    }

    /// Every session begins with the handshake and a look at what the switch holds.
    fn begin(&mut self) -> bool {
        self.exchange();
        assert!(matches!(self.events.pop_front(), Some(Event::SwitchUp { datapath: DATAPATH, .. })));
        let found = matches!(self.events.front(), Some(Event::Found { datapath: DATAPATH, .. }));
        found && self.events.pop_front().is_some()
    }

    /// Carries bytes both ways until nobody has more to say.
    pub fn exchange(&mut self) {
        loop {
            let to_switch = self.agent.poll_output(self.now).unwrap_or_default();
            let to_agent = std::mem::take(&mut self.switch.output);
            for piece in self.cut(&to_switch) {
                self.switch.take(&piece);
            }
            for piece in self.cut(&to_agent) {
                self.agent.receive(&piece, self.now);
            }
            while let Some(event) = self.agent.poll_event() {
                match event {
                    // They come with every echo.
                    Event::RoundTrip { .. } | Event::SessionStatus { .. } => self.told.push(event),
                    event => self.events.push_back(event),
                }
            }
            if to_switch.is_empty() && to_agent.is_empty() {
                return;
            }
        }
    }

    fn cut(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut rest = bytes;
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let most = if self.random.random_bool(0.5) { 20 } else { 3_000 };
            let (piece, left) = rest.split_at(self.random.random_range(1..=most).min(rest.len()));
            pieces.push(piece.to_vec());
            rest = left;
        }
        pieces
    }

    /// Lets time pass to the next deadline, if it is not later than `span` from now.
    pub fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(deadline) = self.agent.next_deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.agent.tick(self.now);
            self.exchange();
        }
        self.now = end;
    }

    pub fn install(&mut self, generation: u64, plan: DatapathPlan) {
        self.agent.command(Command::Install { datapath: DATAPATH, generation, plan: Box::new(plan) }, self.now);
        self.exchange();
    }
}
