//! What the controller knows of each switch, declared or joined: its session, ports, last reading, and what was sent to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{Node, Topology};
use crate::plan::{DatapathPlan, Generation};
use crate::southbound::{Description, InstallCounts, Port, PortCounters, Reading, SessionRole, SessionStatus};
use crate::types::{DatapathId, PortNo};

/// One declared switch.
#[derive(Debug)]
pub(super) struct Switch {
    pub(super) node: Node,
    /// `Some` while a session stands.
    pub(super) session: Option<Session>,
    /// Last answer of this session to a collection, its port counters apart: whoever is shown them shares them.
    pub(super) reading: Option<Reading>,
    pub(super) counters: Arc<BTreeMap<PortNo, PortCounters>>,
    /// Plan last sent, kept across sessions: a switch that comes back is compared with it by its installer.
    pub(super) plan: Option<DatapathPlan>,
    /// Flows and groups of ours that it held when the session began, once that is known.
    pub(super) found: Option<usize>,
    /// It has confirmed a plan, in whichever session.
    confirmed: bool,
    /// It had confirmed a plan, and this session found nothing; until it confirms one again.
    pub(super) emptied: bool,
    /// A plan was sent in this session.
    pub(super) planned: bool,
    pub(super) wanted: Generation,
    pub(super) installed: Generation,
    pub(super) last_install: Option<InstallCounts>,
    pub(super) install_total: InstallCounts,
    pub(super) last_error: Option<String>,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) peer: String,
    pub(super) description: Arc<Description>,
    pub(super) ports: Arc<BTreeMap<PortNo, Port>>,
    /// What it last told of itself.
    pub(super) status: Option<Arc<SessionStatus>>,
    /// What this controller is to it, as far as that was told to people; `None`: nothing unusual was.
    pub(super) role: Option<SessionRole>,
}

impl Switch {
    pub(super) fn new(node: Node) -> Self {
        Self {
            node,
            session: None,
            reading: None,
            counters: Arc::default(),
            plan: None,
            found: None,
            confirmed: false,
            emptied: false,
            planned: false,
            wanted: 0,
            installed: 0,
            last_install: None,
            install_total: InstallCounts::default(),
            last_error: None,
        }
    }

    pub(super) fn connected(&self) -> bool {
        self.session.is_some()
    }

    /// Packets can be sent through it and heard from it: another controller is not in charge of it.
    pub(super) fn acts_for_us(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.role != Some(SessionRole::Slave))
    }

    pub(super) fn port_changed(&mut self, port: Port, removed: bool) {
        let Some(session) = &mut self.session else { return };
        let ports = Arc::make_mut(&mut session.ports);
        if removed {
            ports.remove(&port.number);
        } else {
            ports.insert(port.number, port);
        }
    }

    /// Nothing is under way: what the switch should have is confirmed, or nobody is there to confirm it.
    pub(super) fn settled(&self) -> bool {
        !self.planned || self.installed == self.wanted
    }

    pub(super) fn begin_session(&mut self, session: Session) {
        self.session = Some(session);
        self.take_reading(None);
        self.found = None;
        self.planned = false;
        self.installed = 0;
        self.install_total = InstallCounts::default();
        self.last_error = None;
    }

    pub(super) fn end_session(&mut self) {
        self.session = None;
        self.take_reading(None);
        self.found = None;
        self.emptied = false;
        self.planned = false;
        self.installed = 0;
    }

    pub(super) fn take_reading(&mut self, reading: Option<Reading>) {
        self.reading = reading;
        let ports = self.reading.as_mut().map(|reading| std::mem::take(&mut reading.ports));
        self.counters = Arc::new(ports.unwrap_or_default());
    }

    /// What this session began with.
    pub(super) fn found(&mut self, entries: usize) {
        self.found = Some(entries);
        self.emptied = entries == 0 && self.confirmed;
    }

    pub(super) fn confirm(&mut self, generation: Generation, counts: InstallCounts) {
        self.installed = self.installed.max(generation);
        (self.confirmed, self.emptied) = (true, false);
        self.last_install = Some(counts);
        self.install_total += counts;
        self.last_error = None;
    }
}

/// The declared switches by datapath id; those that join come later.
pub(super) fn declared(topology: &Topology) -> BTreeMap<DatapathId, Switch> {
    topology.nodes.iter().map(|node| (node.datapath, Switch::new(node.clone()))).collect()
}
