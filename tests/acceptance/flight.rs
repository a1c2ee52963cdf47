//! Connections in flight while routers fail, and what the controller says of it.

use std::time::Duration;

use serde_json::Value;

use super::{HOSTS, PATIENCE, SERVERS, count, number};
use crate::fabric::{Controller, Fabric, Spec, Traffic, wait_for};

/// Load from three hosts.
#[derive(Debug)]
pub struct Flight {
    traffic: Vec<Traffic>,
}

impl Flight {
    /// `pace` is further options of the load.
    pub fn start(fabric: &Fabric, pace: &[&str]) -> Self {
        let client = |(place, host): (usize, &&str)| {
            let target = format!("{}:7000", SERVERS[place % 2].1);
            Traffic::start(fabric, host, &[&["flight", "--to", &target], pace].concat())
        };
        Self { traffic: HOSTS.iter().enumerate().map(client).collect() }
    }

    pub fn all(&mut self, command: &str) -> Vec<Value> {
        self.traffic.iter_mut().for_each(|traffic| traffic.tell(command));
        let kind = command.split(' ').next().unwrap();
        self.traffic.iter_mut().map(|traffic| traffic.until(kind, Duration::from_secs(60)).pop().unwrap()).collect()
    }

    pub fn open(&mut self, connections: u64) {
        let each = connections / HOSTS.len() as u64;
        let opened = self.all(&format!("open {each}"));
        assert!(opened.iter().all(|opened| count(opened, "refused") == 0), "{opened:?}");
    }

    /// Connections that were reset or stood still, and the longest exchange in milliseconds.
    pub fn check(&mut self) -> (u64, f64) {
        let checked = self.all("check");
        for one in checked.iter().filter(|one| count(one, "resets") + count(one, "stalls") + count(one, "other") > 0) {
            println!("  {one}");
        }
        let broken =
            checked.iter().map(|one| count(one, "resets") + count(one, "stalls") + count(one, "other")).sum::<u64>();
        let longest = checked.iter().map(|one| number(one, "longest_ms")).fold(0.0, f64::max);
        (broken, longest)
    }
}

pub fn failover(controller: &Controller, router: &str) -> Result<Value, String> {
    Ok(controller.rest.get(&format!("/api/v1/routers/{router}"))?["failover"].clone())
}

pub fn phase(controller: &Controller, router: &str, wanted: &str) {
    wait_for(&format!("{router} {wanted}"), Duration::from_secs(60), || {
        let state = failover(controller, router)?;
        if state["phase"] == wanted { Ok(()) } else { Err(state.to_string()) }
    });
}

/// Whoever would stand in holds a copy of every connection.
pub fn copied(controller: &Controller, spec: &Spec) {
    for router in spec.routers() {
        wait_for(&format!("copies of {router}'s connections"), PATIENCE, || {
            let state = failover(controller, &router)?;
            let ready = state["ready"].as_array().map_or(0, Vec::len);
            if ready == 3 { Ok(()) } else { Err(state.to_string()) }
        });
    }
}
