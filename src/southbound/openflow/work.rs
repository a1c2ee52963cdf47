//! A difference on its way to a switch, as steps: one by one between barriers, or as bundles.

use std::collections::{HashMap, VecDeque};

use super::difference::{Change, Difference};
use super::install::Wanted;
use crate::types::Timestamp;

/// Changes between two barriers that are waited for, and in one bundle. It bounds what one refusal leaves in doubt and,
/// with the output's high water, the memory that a large plan takes on its way.
pub(super) const BATCH_MAX: usize = 2_000;
/// Refusals quoted in one report; the rest is counted.
const QUOTED_MAX: usize = 4;

#[derive(Debug)]
pub(super) enum Step {
    Change(Change),
    /// A barrier that is not waited for.
    Order,
    /// A barrier that is.
    Settle,
    /// Opens a bundle, which takes the changes up to its commit.
    Open,
    Commit,
}

/// An answer without which nothing goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Awaited {
    pub(super) xid: u32,
    pub(super) deadline: Timestamp,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Barrier,
    Opened,
    Committed,
}

impl What {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Barrier => "a barrier",
            Self::Opened => "the opening of a bundle",
            Self::Committed => "the commit of a bundle",
        }
    }
}

#[derive(Debug)]
pub(super) struct Work {
    pub(super) target: Wanted,
    pub(super) make: VecDeque<Step>,
    pub(super) remove: VecDeque<Step>,
    pub(super) in_flight: HashMap<u32, Change>,
    pub(super) awaited: Option<Awaited>,
    /// The bundle that changes go to.
    pub(super) bundle: Option<u32>,
    refused: Vec<String>,
    pub(super) refused_count: usize,
}

impl Work {
    pub(super) fn new(target: Wanted, difference: Difference, bundled: bool) -> Self {
        let (make, remove) = if bundled {
            (bundles(difference), VecDeque::new())
        } else {
            (steps(difference.make), steps(difference.remove))
        };
        Self {
            target,
            make,
            remove,
            in_flight: HashMap::new(),
            awaited: None,
            bundle: None,
            refused: Vec::new(),
            refused_count: 0,
        }
    }

    pub(super) fn awaits(&self, xid: u32) -> Option<What> {
        self.awaited.filter(|awaited| awaited.xid == xid).map(|awaited| awaited.what)
    }

    pub(super) fn refuse(&mut self, change: &Change, error: &impl std::fmt::Display) {
        self.refused_count += 1;
        if self.refused.len() < QUOTED_MAX {
            self.refused.push(format!("{change}: {error}"));
        }
    }

    pub(super) fn report(&self) -> String {
        let more = self.refused_count - self.refused.len();
        let quoted = self.refused.join("; ");
        if more == 0 { quoted } else { format!("{quoted}; and {more} more") }
    }
}

/// Levels kept apart by barriers; one that is waited for at the end and after every [`BATCH_MAX`] changes.
fn steps(levels: Vec<Vec<Change>>) -> VecDeque<Step> {
    let mut steps = VecDeque::new();
    let mut since_settled = 0;
    for level in levels {
        if since_settled > 0 {
            steps.push_back(Step::Order);
        }
        for change in level {
            if since_settled == BATCH_MAX {
                steps.push_back(Step::Settle);
                since_settled = 0;
            }
            steps.push_back(Step::Change(change));
            since_settled += 1;
        }
    }
    if since_settled > 0 {
        steps.push_back(Step::Settle);
    }
    steps
}

/// Everything in the order of its levels, in bundles that are ordered themselves: each is settled before the next, so
/// that what is taken away goes with, or after, what replaces it.
fn bundles(difference: Difference) -> VecDeque<Step> {
    let mut steps = VecDeque::new();
    let mut changes = difference.make.into_iter().chain(difference.remove).flatten().peekable();
    while changes.peek().is_some() {
        steps.push_back(Step::Open);
        steps.extend(changes.by_ref().take(BATCH_MAX).map(Step::Change));
        steps.extend([Step::Commit, Step::Settle]);
    }
    steps
}
