//! Whatever a channel does and whoever restarts: when it is quiet again, every shadow holds what its source holds.
//!
//! A short form runs always; `FORESHADOW_LONG=1` runs ten million operations.

use std::time::{Duration, Instant};

use rand::RngExt;

use foreshadow::replication::Config;

#[path = "replication/world.rs"]
mod world;

use world::{Harm, World};

const FIVE_PERCENT: Harm = Harm { lost: 0.05, repeated: 0.05, late: 0.05 };

/// Bounds from wide to very narrow, by the seed.
fn config(seed: u64) -> Config {
    let config = Config { audit_pass: Duration::from_secs(1), ..Config::default() };
    match seed % 4 {
        0 => config,
        1 => Config { ring_bytes_max: 4000, reorder_frames_max: 4, ..config },
        2 => Config { rate_bytes_per_s: 100_000, burst_bytes: 3000, silence: Duration::from_secs(2), ..config },
        _ => Config { frame_bytes_max: 400, batch: Duration::from_micros(100), ..config },
    }
}

/// So many operations with faults among them, then quiet; frames and bytes of both directions.
fn run(seed: u64, operations: u32, target: usize) -> (u64, u64) {
    let harm = if seed % 5 == 4 { Harm { lost: 0.3, repeated: 0.1, late: 0.3 } } else { FIVE_PERCENT };
    let mut world = World::new(seed, config(seed), harm);
    for operation in 0..operations {
        world.operate(target);
        if operation % 4 == 0 {
            let pause = world.random.random_range(0..200);
            world.pass(Duration::from_micros(pause));
        }
        // About three faults of each kind a run.
        match world.random.random_range(0..operations) {
            0..3 => world.black_out(Duration::from_secs(3)),
            3..6 => world.restart_source(),
            6..9 => world.restart_replica(),
            9..12 => world.pass(Duration::from_secs(4)),
            12..15 => {
                world.settle(Duration::from_secs(120));
                world.assert_equal(&format!("seed {seed}, operation {operation}"));
            }
            _ => {}
        }
    }
    world.settle(Duration::from_secs(120));
    world.assert_equal(&format!("seed {seed}"));
    assert!(world.connections() > 0);
    (world.frames, world.bytes)
}

#[test]
fn shadows_equal_their_source_after_every_run() {
    let long = std::env::var_os("FORESHADOW_LONG").is_some();
    let (seeds, operations, target) = if long { (200, 50_000, 2000) } else { (20, 3000, 400) };
    let begin = Instant::now();
    let (mut frames, mut bytes) = (0, 0);
    for seed in 0..seeds {
        let (more_frames, more_bytes) = run(seed, operations, target);
        (frames, bytes) = (frames + more_frames, bytes + more_bytes);
    }
    println!(
        "{} operations in {seeds} runs: {frames} frames, {bytes} bytes, {:.1} s",
        seeds * u64::from(operations),
        begin.elapsed().as_secs_f64()
    );
}

/// A table that spans many segments, told from nothing while it changes and the channel is bad.
#[test]
fn a_snapshot_of_many_segments_is_taken_while_connections_change() {
    let mut world = World::new(77, config(0), FIVE_PERCENT);
    world.black_out(Duration::from_secs(1));
    for _ in 0..20_000 {
        world.operate(4000);
    }
    for _ in 0..3 {
        world.restart_replica();
        for _ in 0..2000 {
            world.operate(4000);
            world.pass(Duration::from_micros(50));
        }
        world.settle(Duration::from_secs(60));
        world.assert_equal("after a snapshot");
    }
}
