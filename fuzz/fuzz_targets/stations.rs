//! Whatever frames come in by edge ports, at most one reaction follows, and the tables agree.
#![no_main]

use foreshadow::network::bridge::Stations;
use foreshadow::plan::Place;
use foreshadow::types::{NodeIndex, PortNo, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frames: Vec<(u8, u8, Vec<u8>)>| {
    let mut stations = Stations::new();
    let mut now = Timestamp::from_secs(1);
    for (port, seconds, frame) in frames {
        now = now + std::time::Duration::from_secs(seconds.into());
        let place = Place { node: NodeIndex(1 + u16::from(port % 2)), port: PortNo(port.into()) };
        assert!(stations.packet_in(place, &frame, now).reactions.len() <= 1);
        stations.poll(now);
        assert!(stations.iter().map(|known| (&known.station, &known.place)).eq(stations.places().iter()));
    }
});
