//! Who writes to a switch: the election of a primary among controllers (P4Runtime, sections 5.3, 5.4 and 16.2), as a machine.

use tonic::Code;

use crate::southbound::SessionRole;
use crate::wire::p4runtime::v1;

/// How this controller stands with the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The election id was sent, and nothing came back yet.
    Asked,
    Primary,
    Backup {
        /// Highest election id that the switch has seen, where it told; `others` says whether its owner is there.
        highest: Option<u128>,
        others: bool,
    },
}

impl Standing {
    /// The role under the name other protocols have for it.
    pub fn role(self) -> SessionRole {
        match self {
            Self::Asked => SessionRole::Equal,
            Self::Primary => SessionRole::Master,
            Self::Backup { .. } => SessionRole::Slave,
        }
    }

    /// How it came about, for people.
    pub fn reason(self) -> String {
        match self {
            Self::Asked => "nobody was elected yet".to_owned(),
            Self::Primary => "this controller's election id is the highest".to_owned(),
            Self::Backup { highest: Some(highest), others: true } => format!("election id {highest} is primary"),
            Self::Backup { highest: None, others: true } => "another controller is primary".to_owned(),
            Self::Backup { others: false, .. } => {
                "a higher election id was seen before, and its owner is gone: nobody is primary".to_owned()
            }
        }
    }
}

/// Why an arbitration message means nothing here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArbitrationError {
    #[error("arbitration for device {came}; expected device {expected}")]
    Device { came: u64, expected: u64 },
    #[error("arbitration for role '{came}'; expected role '{expected}'")]
    Role { came: String, expected: String },
    /// The switch refuses the election.
    #[error("{} '{message}'", crate::wire::p4runtime::status::name(*.code))]
    Refused { code: Code, message: String },
}

/// The machine. Only what the switch says makes a primary.
#[derive(Clone, Debug)]
pub struct Arbitration {
    device: u64,
    election_id: u128,
    role: Option<String>,
    standing: Standing,
}

impl Arbitration {
    pub fn new(device: u64, election_id: u128, role: Option<String>) -> Self {
        // The empty name is the default role's.
        let role = role.filter(|name| !name.is_empty());
        Self { device, election_id, role, standing: Standing::Asked }
    }

    /// What is sent first on a stream.
    pub fn request(&self) -> v1::MasterArbitrationUpdate {
        v1::MasterArbitrationUpdate {
            device_id: self.device,
            role: self.role.clone().map(|name| v1::Role { name, ..v1::Role::default() }),
            election_id: Some(to_message(self.election_id)),
            status: None,
        }
    }

    pub fn standing(&self) -> Standing {
        self.standing
    }

    pub fn is_primary(&self) -> bool {
        self.standing == Standing::Primary
    }

    pub fn device(&self) -> u64 {
        self.device
    }

    pub fn election_id(&self) -> u128 {
        self.election_id
    }

    /// The name of the role as requests carry it.
    pub fn role(&self) -> String {
        self.role.clone().unwrap_or_default()
    }

    /// Takes what the switch says; the standing afterwards, if it is another one.
    ///
    /// # Errors
    /// The message is not about this controller's role on this device, or refuses it.
    pub fn take(&mut self, update: &v1::MasterArbitrationUpdate) -> Result<Option<Standing>, ArbitrationError> {
        if update.device_id != self.device {
            return Err(ArbitrationError::Device { came: update.device_id, expected: self.device });
        }
        let role = update.role.as_ref().map(|role| role.name.clone()).unwrap_or_default();
        // BMv2 knows no roles and answers as if for the default one.
        if !role.is_empty() && role != self.role() {
            return Err(ArbitrationError::Role { came: role, expected: self.role() });
        }
        let highest = update.election_id.as_ref().map(from_message);
        let (code, message) = match &update.status {
            Some(status) => (Code::from_i32(status.code), status.message.as_str()),
            // A message whose fields are all zero may be left out.
            None if highest == Some(self.election_id) => (Code::Ok, ""),
            None => (Code::AlreadyExists, ""),
        };
        let standing = match code {
            Code::Ok => Standing::Primary,
            Code::AlreadyExists => Standing::Backup { highest, others: true },
            Code::NotFound => Standing::Backup { highest, others: false },
            code => return Err(ArbitrationError::Refused { code, message: message.to_owned() }),
        };
        let changed = self.standing != standing;
        self.standing = standing;
        Ok(changed.then_some(standing))
    }

    /// A write was refused because somebody else is primary; the switch's own word for it is on its way.
    pub fn denied(&mut self) {
        self.standing = Standing::Backup { highest: None, others: true };
    }
}

pub(super) fn to_message(id: u128) -> v1::Uint128 {
    let half = |shift: u32| u64::try_from(id >> shift & u128::from(u64::MAX)).unwrap_or_default();
    v1::Uint128 { high: half(64), low: half(0) }
}

fn from_message(id: &v1::Uint128) -> u128 {
    u128::from(id.high) << 64 | u128::from(id.low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::p4runtime::rpc;

    fn update(device_id: u64, code: Option<Code>, highest: Option<u128>) -> v1::MasterArbitrationUpdate {
        let status = code.map(|code| rpc::Status { code: code as i32, ..rpc::Status::default() });
        v1::MasterArbitrationUpdate { device_id, role: None, election_id: highest.map(to_message), status }
    }

    /// Every answer in every standing.
    #[test]
    fn only_what_the_switch_says_makes_a_primary() {
        let other = (1 << 64) + 7;
        let backup = |highest, others| Standing::Backup { highest, others };
        let answers = [
            (update(1, Some(Code::Ok), Some(5)), Ok(Standing::Primary)),
            (update(1, None, Some(5)), Ok(Standing::Primary)),
            (update(1, None, Some(6)), Ok(backup(Some(6), true))),
            (update(1, None, None), Ok(backup(None, true))),
            (update(1, Some(Code::AlreadyExists), Some(other)), Ok(backup(Some(other), true))),
            (update(1, Some(Code::NotFound), Some(other)), Ok(backup(Some(other), false))),
            (update(2, Some(Code::Ok), Some(5)), Err(ArbitrationError::Device { came: 2, expected: 1 })),
            (
                update(1, Some(Code::InvalidArgument), None),
                Err(ArbitrationError::Refused { code: Code::InvalidArgument, message: String::new() }),
            ),
        ];
        for before in [Standing::Asked, Standing::Primary, backup(None, true), backup(Some(other), false)] {
            for (answer, expected) in &answers {
                let mut arbitration = Arbitration { standing: before, ..Arbitration::new(1, 5, None) };
                let changed = arbitration.take(answer);
                match expected {
                    Ok(standing) => {
                        assert_eq!(changed, Ok((before != *standing).then_some(*standing)), "{before:?} {answer:?}");
                        assert_eq!(arbitration.standing(), *standing);
                    }
                    Err(error) => {
                        assert_eq!(changed.as_ref(), Err(error));
                        assert_eq!(arbitration.standing(), before, "an answer that means nothing changes nothing");
                    }
                }
            }
        }
    }

    #[test]
    fn roles_have_names_and_election_ids_two_halves() {
        let mut arbitration = Arbitration::new(3, (2 << 64) + 1, Some("routing".into()));
        let request = arbitration.request();
        assert_eq!(request.election_id, Some(v1::Uint128 { high: 2, low: 1 }));
        assert_eq!(request.role.map(|role| role.name), Some("routing".into()));
        let mut foreign = update(3, Some(Code::Ok), None);
        foreign.role = Some(v1::Role { name: "other".into(), ..v1::Role::default() });
        let error = ArbitrationError::Role { came: "other".into(), expected: "routing".into() };
        assert_eq!(arbitration.take(&foreign), Err(error));
        assert_eq!(arbitration.take(&update(3, Some(Code::Ok), None)), Ok(Some(Standing::Primary)));
        assert_eq!(Arbitration::new(1, 1, Some(String::new())).request().role, None);
    }
}
