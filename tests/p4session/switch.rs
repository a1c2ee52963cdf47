//! A P4Runtime switch made of memory: it answers calls as the specification says, remembers what was asked, and fails
//! where a test wants it to. Updates of a batch are carried out from the last to the first, as a switch may.

use std::collections::BTreeSet;

use foreshadow::southbound::p4runtime::{Answer, Call, CallError, EntityKey, P4State};
use foreshadow::wire::p4runtime::status::error;
use foreshadow::wire::p4runtime::v1;
use foreshadow::wire::p4runtime::v1::entity::Entity as Kind;
use foreshadow::wire::p4runtime::v1::get_forwarding_pipeline_config_request::ResponseType;
use foreshadow::wire::p4runtime::v1::set_forwarding_pipeline_config_request::Action;
use foreshadow::wire::p4runtime::v1::update::Type;
use tonic::Code;

use super::program::{GROUP_SIZE, HOPS, WAYS};

pub(crate) type Refuse = Box<dyn FnMut(&v1::Update) -> Option<v1::Error> + Send>;

pub(crate) struct MemorySwitch {
    pub(crate) version: &'static str,
    pub(crate) config: Option<v1::ForwardingPipelineConfig>,
    pub(crate) held: P4State,
    /// Told in every answer to a read, asked for or not.
    pub(crate) foreign: Vec<v1::Entity>,
    pub(crate) counters: Vec<v1::Entity>,
    /// Election id of the primary.
    pub(crate) primary: Option<u128>,
    pub(crate) reconciles: bool,
    /// What a refused reconciliation has saved: as BMv2 does, it takes nothing but COMMIT then.
    pub(crate) halfway: Option<v1::ForwardingPipelineConfig>,
    /// Errors of a batch come one an update.
    pub(crate) details: bool,
    /// Reads of more than one entity are refused.
    pub(crate) single_reads: bool,
    pub(crate) refuse: Refuse,
    pub(crate) pushes: Vec<Action>,
    /// Commits with nothing saved, which change nothing.
    pub(crate) empty_commits: usize,
    /// Batches that were carried out.
    pub(crate) writes: Vec<Vec<v1::Update>>,
    pub(crate) reads: Vec<usize>,
    /// Modifications that left a group without any of its members for a moment.
    pub(crate) emptied: usize,
}

impl Default for MemorySwitch {
    fn default() -> Self {
        Self {
            version: "1.5.0",
            config: None,
            held: P4State::new(),
            foreign: Vec::new(),
            counters: Vec::new(),
            primary: None,
            reconciles: false,
            halfway: None,
            details: true,
            single_reads: false,
            refuse: Box::new(|_| None),
            pushes: Vec::new(),
            empty_commits: 0,
            writes: Vec::new(),
            reads: Vec::new(),
            emptied: 0,
        }
    }
}

pub(crate) fn key(entity: &v1::Entity) -> EntityKey {
    let state: P4State = [entity.clone()].into_iter().collect();
    state.iter().next().expect("an entity that is state").0.clone()
}

fn id(election_id: Option<&v1::Uint128>) -> Option<u128> {
    election_id.map(|id| u128::from(id.high) << 64 | u128::from(id.low))
}

impl MemorySwitch {
    /// A switch that runs this program already.
    pub(crate) fn running(config: &foreshadow::southbound::p4runtime::pipeline::ForwardingConfig) -> Self {
        let config = v1::ForwardingPipelineConfig {
            p4info: Some(config.p4info.clone()),
            p4_device_config: config.device_config.clone(),
            cookie: Some(v1::forwarding_pipeline_config::Cookie { cookie: config.cookie }),
        };
        Self { config: Some(config), ..Self::default() }
    }

    /// Updates of all batches, in their order.
    pub(crate) fn written(&self) -> Vec<&v1::Update> {
        self.writes.iter().flatten().collect()
    }

    pub(crate) fn call(&mut self, call: Call) -> Result<Answer, CallError> {
        match call {
            Call::Capabilities(_) => {
                let p4runtime_api_version = self.version.to_owned();
                Ok(Answer::Capabilities(v1::CapabilitiesResponse { p4runtime_api_version, experimental: None }))
            }
            Call::GetPipeline(request) => {
                // As BMv2 does: what is only saved is told as if it ran.
                let Some(mut config) = self.halfway.clone().or_else(|| self.config.clone()) else {
                    return Err(CallError::new(Code::FailedPrecondition, "no program"));
                };
                if request.response_type() == ResponseType::CookieOnly {
                    config = v1::ForwardingPipelineConfig { cookie: config.cookie, ..Default::default() };
                }
                let answer = v1::GetForwardingPipelineConfigResponse { config: Some(config) };
                Ok(Answer::Pipeline(Box::new(answer)))
            }
            Call::SetPipeline(request) => {
                let is_empty = request.action() == Action::Commit && self.halfway.is_none();
                if is_empty && id(request.election_id.as_ref()) == self.primary {
                    self.empty_commits += 1;
                    return Err(CallError::new(Code::NotFound, "nothing is saved"));
                }
                self.pushes.push(request.action());
                match request.action() {
                    _ if id(request.election_id.as_ref()) != self.primary => {
                        Err(CallError::new(Code::PermissionDenied, "Not primary"))
                    }
                    Action::Commit => match self.halfway.take() {
                        Some(saved) => {
                            self.config = Some(saved);
                            Ok(Answer::PipelineSet)
                        }
                        None => Err(CallError::new(Code::NotFound, "nothing is saved")),
                    },
                    _ if self.halfway.is_some() => {
                        Err(CallError::new(Code::Unknown, "Error in first phase of device update"))
                    }
                    Action::ReconcileAndCommit if !self.reconciles => {
                        self.halfway = request.config;
                        Err(CallError::new(Code::Unknown, "Error when reconciling config"))
                    }
                    action => {
                        if action == Action::VerifyAndCommit {
                            self.held = P4State::new();
                        }
                        self.config = request.config;
                        Ok(Answer::PipelineSet)
                    }
                }
            }
            Call::Read(request) => self.read(&request),
            Call::Write(request) => self.write(request),
        }
    }

    fn read(&mut self, request: &v1::ReadRequest) -> Result<Answer, CallError> {
        self.reads.push(request.entities.len());
        if self.single_reads && request.entities.len() > 1 {
            return Err(CallError::new(Code::Unimplemented, "one entity a read"));
        }
        let mut answers = self.foreign.clone();
        for asked in &request.entities {
            let found = |held: &&v1::Entity| match (&asked.entity, &held.entity) {
                (Some(Kind::TableEntry(asked)), Some(Kind::TableEntry(held))) => {
                    asked.table_id == held.table_id && asked.is_default_action == held.is_default_action
                }
                (Some(Kind::CounterEntry(asked)), Some(Kind::CounterEntry(held))) => asked.index == held.index,
                (Some(asked), Some(held)) => std::mem::discriminant(asked) == std::mem::discriminant(held),
                _ => false,
            };
            answers.extend(self.held.iter().map(|(_, entity)| entity).filter(found).cloned());
            answers.extend(self.counters.iter().filter(found).cloned());
        }
        Ok(Answer::Entities(answers))
    }

    fn write(&mut self, request: v1::WriteRequest) -> Result<Answer, CallError> {
        if id(request.election_id.as_ref()) != self.primary {
            return Err(CallError::new(Code::PermissionDenied, "Not primary"));
        }
        self.writes.push(request.updates.clone());
        let mut errors = Vec::new();
        for update in request.updates.iter().rev() {
            errors.push((self.refuse)(update).or_else(|| self.update(update).err()).unwrap_or_default());
        }
        errors.reverse();
        if errors.iter().all(|error| error.canonical_code == 0) {
            return Ok(Answer::Written);
        }
        let updates = if self.details { errors } else { Vec::new() };
        Err(CallError { updates, ..CallError::new(Code::Unknown, "") })
    }

    fn update(&mut self, update: &v1::Update) -> Result<(), v1::Error> {
        let entity = update.entity.as_ref().expect("an entity");
        let key = key(entity);
        let there = key.always_there() || self.held.contains(&key);
        match update.r#type() {
            Type::Insert if there => Err(error(Code::AlreadyExists, "taken")),
            Type::Modify | Type::Delete if !there => Err(error(Code::NotFound, "nothing there")),
            Type::Delete if self.uses().contains(&key) => Err(error(Code::FailedPrecondition, "in use")),
            Type::Delete => {
                self.held.remove(&key);
                Ok(())
            }
            _ => {
                self.check(entity)?;
                self.watch(&key, entity);
                self.held.insert(entity.clone());
                Ok(())
            }
        }
    }

    fn uses(&self) -> BTreeSet<EntityKey> {
        self.held.references(|table| (table == HOPS).then_some(WAYS))
    }

    /// What an entity refers to must be there, and a group must not be too large.
    fn check(&self, entity: &v1::Entity) -> Result<(), v1::Error> {
        let alone: P4State = [entity.clone()].into_iter().collect();
        let missing = alone.references(|table| (table == HOPS).then_some(WAYS));
        if let Some(missing) = missing.iter().find(|key| !self.held.contains(key)) {
            return Err(error(Code::NotFound, format!("{missing:?} is not there")));
        }
        if let Some(Kind::ActionProfileGroup(group)) = &entity.entity {
            let size: i32 = group.members.iter().map(|member| member.weight).sum();
            if size > GROUP_SIZE {
                return Err(error(Code::ResourceExhausted, "Sum of member weights exceeds maximum group size"));
            }
        }
        Ok(())
    }

    fn watch(&mut self, key: &EntityKey, entity: &v1::Entity) {
        let EntityKey::Group { profile, group } = key else { return };
        let (Some(held), Some(Kind::ActionProfileGroup(now))) = (self.held.group(*profile, *group), &entity.entity)
        else {
            return;
        };
        let stays = |id: u32| now.members.iter().any(|member| member.member_id == id);
        self.emptied += usize::from(!held.members.iter().any(|member| stays(member.member_id)));
    }
}
