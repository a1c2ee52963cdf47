//! Paths through a ring of four switches, one link of it cut or not.

use super::*;
use serde_json::Value;

/// b1 - b2 - b3 - b4 - b1; port 1 leads back, port 2 on.
fn ring(cut: Option<usize>) -> Fixture {
    let names = ["b1", "b2", "b3", "b4"];
    let mut view = sample();
    view.switches = (1..).zip(names).map(|(index, name)| switch(name, index, Stage::Bridge, true)).collect();
    let link = |at: usize| LinkView {
        a: NodeId::new(names[at]),
        a_port: Some(PortNo(2)),
        b: NodeId::new(names[(at + 1) % 4]),
        b_port: Some(PortNo(1)),
        state: if cut == Some(at) { LinkState::Down } else { LinkState::Up },
        ..view.links[0].clone()
    };
    view.links = (0..4).map(|at| LinkView { kind: LinkKind::Data, ..link(at) }).collect();
    fixture(view)
}

/// The switches that each path comes to.
async fn ways(fixture: &Fixture, query: &str) -> Vec<Vec<String>> {
    let answer = ask(fixture, Method::GET, &format!("/api/v1/paths?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK);
    let links = |path: &Value| path["links"].as_array().expect("links").clone();
    let to = |link: &Value| link["to"]["switch"].as_str().expect("a name").to_owned();
    let paths = answer.json()["paths"].as_array().expect("paths").clone();
    paths.iter().map(|path| links(path).iter().map(to).collect()).collect()
}

#[tokio::test]
async fn a_ring_has_no_stages_and_the_answer_says_why() {
    let answer = ask(&ring(None), Method::GET, "/api/v1/stages").await.json();
    let stages: Vec<&str> =
        answer["switches"].as_array().expect("switches").iter().filter_map(|each| each["stage"].as_str()).collect();
    assert_eq!(stages, ["bridge"; 4]);
    assert!(answer["summary"].as_str().is_some_and(|why| why.len() > 20), "{answer}");
}

#[tokio::test]
async fn two_ways_around_a_ring_and_one_when_it_is_cut() {
    assert_eq!(ways(&ring(None), "from=b1&to=b2").await, [vec!["b2"], vec!["b4", "b3", "b2"]]);
    assert_eq!(ways(&ring(None), "from=b1&to=b2&max=1").await, [vec!["b2"]]);
    assert_eq!(ways(&ring(Some(0)), "from=b1&to=b2").await, [vec!["b4", "b3", "b2"]]);
    assert_eq!(ways(&ring(None), "from=b1&to=b1").await, Vec::<Vec<String>>::new());
}
