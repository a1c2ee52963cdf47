//! The parts of a data path that tables of a P4 program can play, by form (docs/FORMATS.md, "Pipeline mapping").

/// What a program does as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// Every stage, with pins and connection slots: what `p4/fabric.p4` is written for.
    Fabric,
    /// A router by destination address alone, with WCMP groups: third stage without pins.
    Routing,
}

impl Form {
    pub const NAMES: &str = "fabric or routing";

    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "fabric" => Some(Self::Fabric),
            "routing" => Some(Self::Routing),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Fabric => "fabric",
            Self::Routing => "routing",
        }
    }

    /// The parts of the form, required ones and others.
    pub fn parts(self) -> &'static [PartSpec] {
        match self {
            Self::Fabric => FABRIC,
            Self::Routing => ROUTING,
        }
    }
}

impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What a table needs to play a part.
#[derive(Clone, Copy, Debug)]
pub struct PartSpec {
    pub name: &'static str,
    pub required: bool,
    pub place: Place,
    pub keys: &'static [KeySpec],
    pub actions: &'static [ActionSpec],
    /// Its entries refer to groups of an action selector; a group has to hold weights that add up to this.
    pub selector: Option<u32>,
    /// Its entries count packets.
    pub counter: bool,
}

/// Where a part's actions are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Entries,
    /// The default action of a table.
    Default,
    Both,
}

#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    pub name: &'static str,
    pub required: bool,
    /// Least width.
    pub width_bits: u32,
    pub kind: KeyKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// A value; ternary and optional fields take it too.
    Exact,
    Lpm,
}

#[derive(Clone, Copy, Debug)]
pub struct ActionSpec {
    pub name: &'static str,
    pub required: bool,
    /// Name and least width in bits.
    pub params: &'static [(&'static str, u32)],
}

/// Weights of a choice add up to this.
pub const CHOICE_WEIGHTS: u32 = 256;

const fn exact(name: &'static str, width_bits: u32) -> KeySpec {
    KeySpec { name, required: true, width_bits, kind: KeyKind::Exact }
}

const fn maybe(name: &'static str, width_bits: u32) -> KeySpec {
    KeySpec { required: false, ..exact(name, width_bits) }
}

const fn lpm(name: &'static str, width_bits: u32) -> KeySpec {
    KeySpec { kind: KeyKind::Lpm, ..exact(name, width_bits) }
}

const fn action(name: &'static str, params: &'static [(&'static str, u32)]) -> ActionSpec {
    ActionSpec { name, required: true, params }
}

const fn part(name: &'static str, keys: &'static [KeySpec], actions: &'static [ActionSpec]) -> PartSpec {
    PartSpec { name, required: true, place: Place::Entries, keys, actions, selector: None, counter: false }
}

const fn selected(
    name: &'static str,
    keys: &'static [KeySpec],
    actions: &'static [ActionSpec],
    weights: u32,
) -> PartSpec {
    PartSpec { selector: Some(weights), ..part(name, keys, actions) }
}

/// `stay` does nothing: where it is mapped, every group whose ports are watched has such a member too, for targets that
/// bear no group without members. Packets that meet it look again in the table of the same name with `_again`.
const SEND: &[ActionSpec] = &[action("send", &[("port", 9)]), ActionSpec { required: false, ..action("stay", &[]) }];
const NODE: &[KeySpec] = &[exact("node", 16)];

const FABRIC: &[PartSpec] = &[
    PartSpec { place: Place::Default, ..part("node", &[], &[action("become", &[("node", 16), ("role", 8)])]) },
    PartSpec { place: Place::Both, ..part("ports", &[exact("port", 9)], &[action("kind", &[("kind", 8)])]) },
    part("gateways", &[exact("target", 32)], &[action("answer", &[])]),
    part(
        "routes",
        &[lpm("destination", 32)],
        &[
            action("deliver", &[("mac", 48), ("port", 9)]),
            action("to_node", &[("node", 16)]),
            action("to_set", &[("set", 16)]),
            action("serve", &[("service", 16)]),
            action("refuse", &[]),
        ],
    ),
    selected("sets", &[exact("set", 16)], &[action("to_node", &[("node", 16)])], 2),
    selected("choice", &[exact("service", 16)], &[action("choose", &[("router", 16)])], CHOICE_WEIGHTS),
    PartSpec { counter: true, ..part("chosen", &[exact("service", 16), exact("router", 16)], &[action("count", &[])]) },
    part("indirection", &[exact("router", 16)], &[action("means", &[("node", 16)])]),
    selected("next_hops", NODE, SEND, 2),
    PartSpec { required: false, ..selected("next_hops_again", NODE, SEND, 2) },
    selected("fallbacks", NODE, SEND, 2),
    PartSpec { required: false, ..selected("fallbacks_again", NODE, SEND, 2) },
    selected("last_resorts", NODE, SEND, 2),
    part(
        "owners",
        NODE,
        &[action(
            "hold",
            &[
                ("region", 32),
                ("mask", 32),
                ("capacity", 32),
                ("idle_ms", 32),
                ("closing_ms", 32),
                ("half_open_ms", 32),
                ("session", 16),
                ("parts", 32),
                ("part", 32),
                ("places", 8),
            ],
        )],
    ),
    PartSpec { required: false, ..part("stands_in", NODE, &[action("instead", &[])]) },
    PartSpec {
        required: false,
        ..part("replicas", &[exact("port", 9), exact("node", 16)], &[action("take", &[("stream", 32)])])
    },
];

const ROUTING: &[PartSpec] = &[
    part(
        "routes",
        &[maybe("vrf", 1), lpm("destination", 32)],
        &[
            action("to_next_hop", &[("next_hop", 16)]),
            action("to_group", &[("group", 16)]),
            ActionSpec { required: false, ..action("refuse", &[]) },
        ],
    ),
    selected("groups", &[exact("group", 16)], &[action("to_next_hop", &[("next_hop", 16)])], CHOICE_WEIGHTS),
    part("next_hops", &[exact("next_hop", 16)], &[action("through", &[("interface", 16), ("neighbour", 16)])]),
    part("neighbours", &[exact("interface", 16), exact("neighbour", 16)], &[action("is", &[("mac", 48)])]),
    part("interfaces", &[exact("interface", 16)], &[action("leave", &[("port", 9), ("mac", 48)])]),
    PartSpec { required: false, ..part("admit", &[exact("mac", 48)], &[action("admit", &[])]) },
    part("punt", &[exact("ether_type", 16)], &[action("trap", &[])]),
];
