//! `topology generate`: a fabric of a usual shape.

use clap::{Args, Subcommand};

use super::super::BadInput;
use super::OutArgs;
use crate::config::Comments;
use crate::config::generate::{Settings, Shape, Staged, generate};

#[derive(Debug, Args)]
pub(super) struct GenerateArgs {
    #[command(subcommand)]
    shape: ShapeArgs,
}

#[derive(Debug, Subcommand)]
enum ShapeArgs {
    /// Every leaf joined with every spine; staged unless --bridges is given
    LeafSpine {
        #[arg(long, value_name = "N", default_value_t = 4)]
        leaves: u32,
        #[arg(long, value_name = "N", default_value_t = 2)]
        spines: u32,
        #[command(flatten)]
        staged: StagedArgs,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Three tiers: pods of leaves and aggregation switches, planes of cores; staged unless --bridges is given
    Clos {
        #[arg(long, value_name = "N", default_value_t = 2)]
        pods: u32,
        /// In every pod
        #[arg(long, value_name = "N", default_value_t = 3)]
        leaves: u32,
        /// In every pod; each belongs to a plane of its own
        #[arg(long, value_name = "N", default_value_t = 2)]
        aggregations: u32,
        /// In every plane
        #[arg(long, value_name = "N", default_value_t = 2)]
        cores: u32,
        #[command(flatten)]
        staged: StagedArgs,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// A fat-tree of k-port switches; staged unless --bridges is given
    FatTree {
        /// Even, 2 to 64
        #[arg(short, value_name = "K", default_value_t = 4)]
        k: u32,
        #[command(flatten)]
        staged: StagedArgs,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// A chain of bridges
    Linear {
        #[arg(long, value_name = "N", default_value_t = 4)]
        switches: u32,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// A tree of bridges with hosts at its lowest level
    Tree {
        /// Levels of switches
        #[arg(long, value_name = "N", default_value_t = 3)]
        depth: u32,
        #[arg(long, value_name = "N", default_value_t = 2)]
        fanout: u32,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// A grid of bridges whose rows and columns are rings
    Torus {
        #[arg(long, value_name = "N", default_value_t = 3)]
        rows: u32,
        #[arg(long, value_name = "N", default_value_t = 3)]
        columns: u32,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Bridges joined at random, all reachable
    Mesh {
        #[arg(long, value_name = "N", default_value_t = 10)]
        switches: u32,
        /// In all; half as many again as switches if not given
        #[arg(long, value_name = "N")]
        links: Option<u32>,
        /// The same seed makes the same fabric
        #[arg(long, value_name = "N", default_value_t = 0)]
        seed: u64,
        #[command(flatten)]
        common: CommonArgs,
    },
}

#[derive(Debug, Args)]
struct CommonArgs {
    /// Hosts on every switch that takes some
    #[arg(long, value_name = "N", default_value_t = 1)]
    hosts: u32,
    /// One-way latency of every link
    #[arg(long, value_name = "US", default_value_t = 100)]
    latency_us: u32,
    /// Capacity of every link, bits a second
    #[arg(long, value_name = "BPS", default_value_t = 1_000_000_000)]
    capacity_bps: u64,
    #[command(flatten)]
    out: OutArgs,
}

#[derive(Debug, Args)]
struct StagedArgs {
    /// Routers, outside switches and servers above the fabric: the default
    #[arg(long, conflicts_with = "bridges")]
    staged: bool,
    /// Switches without a stage, nothing above them
    #[arg(long, conflicts_with_all = ["routers", "outside", "mirrors", "servers", "capacity_connections",
        "threshold_available", "mirror_latency_us"])]
    bridges: bool,
    /// First-stage routers
    #[arg(long, value_name = "N", default_value_t = 4)]
    routers: u32,
    /// Outside switches
    #[arg(long, value_name = "N", default_value_t = 2)]
    outside: u32,
    /// Mirror links of every router; 3 if not given, or what there are routers for
    #[arg(long, value_name = "N")]
    mirrors: Option<u32>,
    /// Servers on every outside switch
    #[arg(long, value_name = "N", default_value_t = 1)]
    servers: u32,
    /// Most connections of every router
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    capacity_connections: u32,
    /// Fewer available connections than this are a breach: a number, or percent of the capacity
    #[arg(long, value_name = "N|N%", default_value = "10%", value_parser = parse_threshold)]
    threshold_available: Threshold,
    /// One-way latency of every mirror link
    #[arg(long, value_name = "US", default_value_t = 100)]
    mirror_latency_us: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Threshold {
    Connections(u32),
    Percent(f64),
}

fn parse_threshold(text: &str) -> Result<Threshold, String> {
    let parsed = match text.strip_suffix('%') {
        Some(number) => number.trim().parse().ok().filter(|p| (0.0..=100.0).contains(p)).map(Threshold::Percent),
        None => text.parse().ok().map(Threshold::Connections),
    };
    parsed.ok_or_else(|| format!("expected connections such as 500, or percent such as 10%, came '{text}'"))
}

impl Threshold {
    /// As the file format reads it: percentages round up.
    fn of(self, capacity_connections: u32) -> u32 {
        match self {
            Self::Connections(connections) => connections,
            // The percentage is at most 100, so what comes fits again.
            Self::Percent(percent) => (f64::from(capacity_connections) * percent / 100.0).ceil() as u32,
        }
    }
}

impl StagedArgs {
    fn settings(&self) -> Option<Staged> {
        (!self.bridges).then(|| Staged {
            routers: self.routers,
            outside: self.outside,
            mirrors: self.mirrors.unwrap_or_else(|| self.routers.saturating_sub(1).min(3)),
            servers: self.servers,
            capacity_connections: self.capacity_connections,
            threshold_available: self.threshold_available.of(self.capacity_connections),
            mirror_latency_us: self.mirror_latency_us,
        })
    }
}

impl ShapeArgs {
    fn parts(&self) -> (Shape, &CommonArgs, Option<&StagedArgs>) {
        match *self {
            Self::LeafSpine { leaves, spines, ref staged, ref common } => {
                (Shape::LeafSpine { leaves, spines }, common, Some(staged))
            }
            Self::Clos { pods, leaves, aggregations, cores, ref staged, ref common } => {
                (Shape::Clos { pods, leaves, aggregations, cores }, common, Some(staged))
            }
            Self::FatTree { k, ref staged, ref common } => (Shape::FatTree { k }, common, Some(staged)),
            Self::Linear { switches, ref common } => (Shape::Linear { switches }, common, None),
            Self::Tree { depth, fanout, ref common } => (Shape::Tree { depth, fanout }, common, None),
            Self::Torus { rows, columns, ref common } => (Shape::Torus { rows, columns }, common, None),
            Self::Mesh { switches, links, seed, ref common } => {
                // So many that there are loops, and no more than there are pairs.
                let pairs = u64::from(switches) * u64::from(switches.saturating_sub(1)) / 2;
                let usual = u32::try_from(pairs.min(u64::from(switches) * 3 / 2)).unwrap_or(u32::MAX);
                (Shape::Mesh { switches, links: links.unwrap_or(usual), seed }, common, None)
            }
        }
    }
}

pub(super) fn run(args: &GenerateArgs) -> anyhow::Result<()> {
    let (shape, common, staged) = args.shape.parts();
    let settings = Settings {
        hosts: common.hosts,
        latency_us: common.latency_us,
        capacity_bps: common.capacity_bps,
        staged: staged.and_then(StagedArgs::settings),
    };
    let topology = generate(&shape, &settings).map_err(|error| BadInput(error.to_string()))?;
    let comments = Comments { header: vec![super::command_line(std::env::args())], ..Default::default() };
    super::write(&topology, &comments, common.out.out.as_deref())
}
