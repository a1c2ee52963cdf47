//! How a session begins: the version is agreed on, the role is asked for, the switch describes itself.

use super::errors::{code, error_text};
use super::multipart::Assembly;
use super::session::{Awaits, Outstanding, Session, VERSION, to_port};
use super::vocabulary::{Answer, CloseReason, Owner, Phase, RequestError, RoleSetting, SessionEvent};
use crate::southbound::{Description, Port, SessionRole};
use crate::types::DatapathId;
use crate::wire::openflow::{
    ErrorMessage, Features, Frame, Hello, Message, MultipartReplyBody, MultipartRequest, MultipartRequestBody,
    PortStatus, Role, RoleStatus, SwitchConfig,
};

/// `ofp_controller_role` (section 7.3.9).
mod role {
    pub(super) const MASTER: u32 = 2;
    pub(super) const SLAVE: u32 = 3;
}

/// What the handshake has gathered.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) datapath: Option<DatapathId>,
    description: Option<Description>,
    ports: Option<Vec<Port>>,
    /// Port changes that came before the session was up.
    pub(super) held: Vec<PortStatus>,
    /// The answer to the wish for a role is still awaited.
    role_awaited: bool,
}

/// Section 6.3.1: the bitmaps' common versions count; without a bitmap, the smaller of the two headers' versions.
fn common(hello: &Hello, version: u8) -> bool {
    match hello.versions {
        Some(bitmap) => bitmap & (1 << VERSION) != 0,
        None => version >= VERSION,
    }
}

/// `OpenFlow 1.0 (1), 1.5 (6)`: what a HELLO offers, in the words of a switch's settings.
fn offered(hello: &Hello, version: u8) -> String {
    let name = |version: u32| match version {
        1..=6 => format!("OpenFlow 1.{} ({version})", version - 1),
        _ => format!("wire version {version}"),
    };
    match hello.versions {
        Some(0) => "no version at all".into(),
        Some(bitmap) => (0..64).filter(|bit| bitmap & (1 << bit) != 0).map(name).collect::<Vec<String>>().join(", "),
        None => format!("{} at most", name(version.into())),
    }
}

impl Session {
    pub(super) fn take_hello(&mut self, hello: &Hello, version: u8, xid: u32) {
        if self.phase != Phase::Hello {
            return;
        }
        if common(hello, version) {
            self.phase = Phase::Features;
            return self.send(Message::FeaturesRequest);
        }
        let reason = CloseReason::NoCommonVersion { offered: offered(hello, version) };
        let error = ErrorMessage {
            error_type: code::HELLO_FAILED,
            code: code::HELLO_INCOMPATIBLE,
            data: reason.to_string().into_bytes(),
        };
        // In the peer's own version, so that it can read the text.
        self.push_frame(&Frame { version: version.clamp(1, VERSION), xid, message: Message::Error(error) });
        self.close(reason);
    }

    pub(super) fn take_features(&mut self, features: &Features) {
        if self.phase != Phase::Features {
            self.counters.late_answers += 1;
            return;
        }
        let datapath = DatapathId(features.datapath_id);
        self.gathered.datapath = Some(datapath);
        if features.auxiliary_id != 0 {
            self.phase = Phase::Auxiliary;
            self.events.push_back(SessionEvent::Auxiliary { datapath, auxiliary_id: features.auxiliary_id });
            return self.begin_echoes(datapath);
        }
        self.phase = Phase::Describe;
        self.send(Message::SetConfig(SwitchConfig { flags: 0, miss_send_len: self.settings.miss_send_len }));
        self.ask(Owner::Setup, Awaits::Barrier, Message::SetAsync(self.settings.asynchronous));
        if let RoleSetting::Master { generation } = self.settings.role {
            self.gathered.role_awaited = true;
            let wish = Role { role: role::MASTER, generation_id: generation };
            self.ask(Owner::Session, Awaits::RoleReply, Message::RoleRequest(wish));
        }
        for body in [MultipartRequestBody::Description, MultipartRequestBody::PortDescription] {
            let awaits = Awaits::Multipart(Box::new(Assembly::expecting(&body)));
            let request = Message::MultipartRequest(MultipartRequest { more: false, body });
            self.ask(Owner::Session, awaits, request);
        }
    }

    /// A request of the handshake's own.
    fn ask(&mut self, owner: Owner, awaits: Awaits, message: Message) {
        let xid = self.take_xid();
        self.outstanding.insert(xid, Outstanding { owner, awaits });
        self.send_as(xid, message);
    }

    pub(super) fn take_role(&mut self, xid: u32, granted: Role) {
        let asked = matches!(self.outstanding.get(&xid), Some(Outstanding { awaits: Awaits::RoleReply, .. }));
        if !asked {
            self.counters.late_answers += 1;
            return;
        }
        self.outstanding.remove(&xid);
        self.role = role_of(granted.role);
        self.gathered.role_awaited = false;
        self.rise();
    }

    /// The switch says that this controller's role was changed (EXT-191).
    pub(super) fn take_role_status(&mut self, status: RoleStatus) {
        let reason = match status.reason {
            0 => "another controller asked to be master",
            1 => "the switch's configuration changed",
            _ => "an experimenter's reason",
        };
        self.role = role_of(status.role);
        self.events.push_back(SessionEvent::RoleChanged { role: self.role, reason });
    }

    /// Without the role that was asked for because a newer master is known, this controller has no business here. A
    /// switch that knows no roles obeys everyone.
    pub(super) fn role_refused(&mut self, error: &ErrorMessage) {
        let RoleSetting::Master { generation } = self.settings.role else { return };
        if (error.error_type, error.code) == (code::ROLE_REQUEST_FAILED, code::STALE) {
            return self.close(CloseReason::StaleRole { generation });
        }
        let text = error_text(error.error_type, error.code);
        tracing::warn!(datapath = ?self.gathered.datapath, error = %text, "no role was given; the session goes on without");
        self.gathered.role_awaited = false;
        self.rise();
    }

    pub(super) fn handshake_refused(&mut self, error: &RequestError) {
        self.close(CloseReason::Handshake { why: format!("no description: {error}") });
    }

    pub(super) fn answered(&mut self, xid: u32, owner: Owner, body: MultipartReplyBody) {
        if owner != Owner::Session {
            return self.events.push_back(SessionEvent::Answered { xid, owner, answer: Answer::Multipart(body) });
        }
        match body {
            MultipartReplyBody::Description(d) => {
                self.gathered.description = Some(Description {
                    manufacturer: d.manufacturer,
                    hardware: d.hardware,
                    software: d.software,
                    serial: d.serial,
                    datapath: d.datapath,
                });
            }
            MultipartReplyBody::PortDescription(ports) => {
                // The description is newer than the changes that came before it.
                self.gathered.held.clear();
                self.gathered.ports = Some(ports.iter().map(to_port).collect());
            }
            _ => {}
        }
        self.rise();
    }

    /// The session is up once everything that was asked has been answered.
    fn rise(&mut self) {
        if self.phase == Phase::Describe
            && !self.gathered.role_awaited
            && let Gathered {
                datapath: Some(datapath), description: Some(description), ports: Some(ports), held, ..
            } = &mut self.gathered
        {
            let (datapath, description, ports) = (*datapath, std::mem::take(description), std::mem::take(ports));
            let held = std::mem::take(held);
            self.phase = Phase::Up;
            self.events.push_back(SessionEvent::Up { datapath, description, ports });
            self.events.extend(held.into_iter().map(SessionEvent::PortStatus));
            self.begin_echoes(datapath);
        }
    }
}

fn role_of(wire: u32) -> SessionRole {
    match wire {
        role::MASTER => SessionRole::Master,
        role::SLAVE => SessionRole::Slave,
        _ => SessionRole::Equal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_hello_offers_is_told_in_the_words_of_a_switch() {
        let text = |version, versions| offered(&Hello { versions }, version);
        assert_eq!(text(1, None), "OpenFlow 1.0 (1) at most");
        assert_eq!(text(1, Some(0b10)), "OpenFlow 1.0 (1)");
        assert_eq!(text(6, Some(0b110_0010)), "OpenFlow 1.0 (1), OpenFlow 1.4 (5), OpenFlow 1.5 (6)");
        assert_eq!(text(9, Some(0)), "no version at all");
        assert_eq!(text(0, None), "wire version 0 at most");
        assert_eq!(text(9, Some(1 << 63 | 1)), "wire version 0, wire version 63");
    }
}
