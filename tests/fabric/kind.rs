//! Kinds of switch that a fabric is made of, and what each needs on the machine.

/// What a node of a fabric is. The topology file tells OpenFlow and P4Runtime apart; which P4Runtime target a node
/// runs on is no business of the controller, and only the harness knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Open vSwitch, by OpenFlow 1.3.
    OpenVSwitch,
    /// `simple_switch_grpc`, by P4Runtime.
    Bmv2,
    /// `foreshadow switch --protocol p4runtime`.
    Emulated,
}

/// Namespaces, links and load.
const BASE: [&str; 5] = ["ip", "unshare", "mount", "ethtool", "python3"];

impl Kind {
    /// By what name `FORESHADOW_REQUIRE` turns a skip into a failure.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenVSwitch => "ovs",
            Self::Bmv2 => "bmv2",
            Self::Emulated => "p4",
        }
    }

    pub fn speaks_p4(self) -> bool {
        self != Self::OpenVSwitch
    }

    /// Programs of a fabric with such switches.
    pub fn programs(self) -> Vec<&'static str> {
        let own: &[&str] = match self {
            Self::OpenVSwitch => &["ovs-vswitchd", "ovsdb-server", "ovs-ofctl"],
            Self::Bmv2 => &["simple_switch_grpc"],
            Self::Emulated => &[],
        };
        [&BASE, own].concat()
    }
}
