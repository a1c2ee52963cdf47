//! The links of the topology file, with the ports that were found for them.

use std::collections::{BTreeMap, BTreeSet};

use super::End;
use super::wires::{Wire, wire};
use crate::network::WiredLink;
use crate::types::{DatapathId, NodeIndex};

/// **Invariant**: `ends` and `wires` hold what `links` say, by end and by wire.
#[derive(Debug, Default)]
pub(super) struct Declared {
    /// In the file's order; ports are filled in as they are found.
    links: Vec<WiredLink>,
    datapaths: Vec<(DatapathId, DatapathId)>,
    /// Which of its ports the file itself leaves out.
    open: Vec<(bool, bool)>,
    of: BTreeMap<DatapathId, Vec<usize>>,
    /// Switches that have a link with ports left out.
    open_at: BTreeSet<DatapathId>,
    ends: BTreeSet<(End, usize)>,
    wires: BTreeSet<(Wire, usize)>,
}

impl Declared {
    pub(super) fn new(links: Vec<WiredLink>, datapaths: &BTreeMap<NodeIndex, DatapathId>) -> Self {
        let mut declared = Self::default();
        for link in links {
            let (Some(a), Some(b)) = (datapaths.get(&link.a), datapaths.get(&link.b)) else { continue };
            let number = declared.links.len();
            let open = (link.a_port.is_none(), link.b_port.is_none());
            if open.0 || open.1 {
                declared.open_at.extend([*a, *b]);
            }
            declared.of.entry(*a).or_default().push(number);
            declared.of.entry(*b).or_default().push(number);
            declared.datapaths.push((*a, *b));
            declared.open.push(open);
            declared.links.push(link);
            declared.enter(number);
        }
        declared
    }

    fn enter(&mut self, number: usize) {
        let (a, b) = self.datapaths[number];
        let link = &self.links[number];
        self.ends.extend(link.a_port.map(|port| ((a, port), number)));
        self.ends.extend(link.b_port.map(|port| ((b, port), number)));
        self.wires.extend(self.ends(number).map(|(a, b)| (wire(a, b), number)));
    }

    pub(super) fn links(&self) -> &[WiredLink] {
        &self.links
    }

    pub(super) fn ends(&self, number: usize) -> Option<(End, End)> {
        let ((a, b), link) = (self.datapaths[number], &self.links[number]);
        Some(((a, link.a_port?), (b, link.b_port?)))
    }

    /// Whether the file leaves a port of this link out.
    pub(super) fn is_open(&self, number: usize) -> bool {
        self.open[number].0 || self.open[number].1
    }

    pub(super) fn has_open(&self, datapath: DatapathId) -> bool {
        self.open_at.contains(&datapath)
    }

    /// Links that end at either switch, in the file's order.
    pub(super) fn links_of(&self, one: DatapathId, other: DatapathId) -> BTreeSet<usize> {
        [one, other].iter().filter_map(|datapath| self.of.get(datapath)).flatten().copied().collect()
    }

    /// The far ends of this switch's links, as far as their ports are known.
    pub(super) fn others(&self, datapath: DatapathId) -> impl Iterator<Item = End> {
        let links = self.of.get(&datapath).into_iter().flatten();
        links.filter_map(|number| self.ends(*number)).map(move |(a, b)| if a.0 == datapath { b } else { a })
    }

    pub(super) fn is_end(&self, end: End) -> bool {
        self.ends.range((end, 0)..=(end, usize::MAX)).any(|(_, number)| self.ends(*number).is_some())
    }

    pub(super) fn is_declared(&self, a: End, b: End) -> bool {
        let wire = wire(a, b);
        self.wires.range((wire, 0)..=(wire, usize::MAX)).next().is_some()
    }

    /// The first of these wires that this link can be.
    pub(super) fn fit(&self, number: usize, wires: &BTreeSet<Wire>) -> Option<(End, End)> {
        let ((a, b), (a_open, b_open), link) = (self.datapaths[number], self.open[number], &self.links[number]);
        let oriented = wires.iter().flat_map(|(x, y)| [(*x, *y), (*y, *x)]);
        let fits = oriented.filter(|(x, y)| {
            x.0 == a && y.0 == b && (a_open || link.a_port == Some(x.1)) && (b_open || link.b_port == Some(y.1))
        });
        fits.min()
    }

    /// The link was found to be this wire.
    pub(super) fn wire(&mut self, number: usize, a: End, b: End) {
        let before = (self.links[number].a_port, self.links[number].b_port);
        let (at_a, at_b) = self.datapaths[number];
        for end in [before.0.map(|port| (at_a, port)), before.1.map(|port| (at_b, port))].into_iter().flatten() {
            self.ends.remove(&(end, number));
        }
        if let Some((a, b)) = self.ends(number) {
            self.wires.remove(&(wire(a, b), number));
        }
        self.links[number].a_port = Some(a.1);
        self.links[number].b_port = Some(b.1);
        self.enter(number);
    }
}
