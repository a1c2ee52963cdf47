//! One copy of an owner's connections between two P4 switches: filled, compared and repaired by sweeps (docs/P4.md, "Records").
//!
//! ```text
//!          ┌────────────────────── differs twice ──────────────────────┐
//!          ▼                                                           │
//!  doubt (keeper) ─▶ replay (source) ─▶ digests ─same─▶ settled ─▶ digests, every so often
//!          ▲                               │ differs
//!          │                               ▼
//!          └── waits ◀── differs ── digests ◀── purge (keeper)
//! ```
//!
//! **Invariant**: a copy is ready only after a whole replay, and as long as it does not differ by more than what comes and goes
//! between two digests. What a router gets back has to be the same once, or so nearly after many rounds.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Replication;
use crate::southbound::{Command, Event};
use crate::types::{DatapathId, NodeIndex, Timestamp};

/// A difference is looked at again after so long: it may be a moment's.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// After a round that failed, doubled each time.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(16);
/// Without an answer for so long a round has failed: a replay of a full region takes seconds.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Connections that may differ while others come and go: so many, or one in so many.
const CHURN_MIN: u64 = 8;
const CHURN_PART: u64 = 50;
/// Replays after which a router that gets its own back is content with so much too.
const STRICT_REPLAYS: u64 = 5;

/// A switch in its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) node: NodeIndex,
    pub(super) datapath: DatapathId,
}

/// Number and digest of what a switch holds.
type Digest = (u64, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing is under way until then. `again`: the last comparison found a difference.
    Waiting {
        until: Timestamp,
        next: Next,
    },
    Doubting,
    Replaying,
    /// Two digests are on their way.
    Comparing {
        source: Option<Digest>,
        keeper: Option<Digest>,
        after: After,
    },
    Purging,
}

/// What a wait is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Round,
    Compare { again: bool },
}

/// What a comparison follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Replay,
    Purge,
    Rest { again: bool },
}

/// How a copy stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) ready: bool,
    /// Connections of the source and of the copy at the last comparison, and by how many they differ at least.
    pub(super) connections: u64,
    pub(super) copied: u64,
    pub(super) differing: u64,
    pub(super) compared: Option<Timestamp>,
    pub(super) replays: u64,
    /// Records of all replays.
    pub(super) emitted: u64,
    /// Copies that were forgotten because the source did not confirm them.
    pub(super) purged: u64,
    /// Rounds without an end.
    pub(super) failures: u64,
}

/// The copy that one switch keeps of what another holds of an owner.
#[derive(Clone, Debug, PartialEq)]
struct SweptCopy {
    owner: NodeIndex,
    source: End,
    keeper: End,
    step: Step,
    /// Since when an answer is awaited.
    asked: Timestamp,
    retry: Duration,
    /// Digests are compared so often while they are the same.
    interval: Duration,
    standing: Standing,
    error: Option<String>,
}

impl SweptCopy {
    /// Begins with a replay, at the next call of [`Self::poll`].
    fn new(owner: NodeIndex, source: End, keeper: End, interval: Duration, now: Timestamp) -> Self {
        Self {
            owner,
            source,
            keeper,
            step: Step::Waiting { until: now, next: Next::Round },
            asked: now,
            retry: RETRY_MIN,
            interval,
            standing: Standing::default(),
            error: None,
        }
    }

    /// A session of either end is gone, or new: what is known of the copy is not worth anything.
    fn begin_again(&mut self, now: Timestamp) {
        self.standing.ready = false;
        self.retry = RETRY_MIN;
        self.step = Step::Waiting { until: now, next: Next::Round };
    }

    /// What is to be sent now.
    fn poll(&mut self, now: Timestamp) -> Vec<Command> {
        match self.step {
            Step::Waiting { until, next } if now >= until => match next {
                Next::Round => self.doubt(now),
                Next::Compare { again } => self.compare(After::Rest { again }, now),
            },
            Step::Waiting { .. } => Vec::new(),
            _ if now >= self.asked + ANSWER_MAX => {
                self.fail(format!("no answer within {ANSWER_MAX:?}"), now);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// An answer of either switch; others are left alone.
    fn event(&mut self, event: &Event, now: Timestamp) -> Vec<Command> {
        let ends = [self.source.datapath, self.keeper.datapath];
        match *event {
            Event::CopiesSwept { datapath, owner, purged, copies } if self.is_keeper(datapath, owner) => {
                match (self.step, purged) {
                    (Step::Doubting, false) => self.replay(now),
                    (Step::Purging, true) => {
                        self.standing.purged += copies;
                        self.compare(After::Purge, now)
                    }
                    _ => Vec::new(),
                }
            }
            Event::ConnectionsReplayed { datapath, owner, shadow, sent, .. }
                if (datapath, owner, shadow) == (self.source.datapath, self.owner, self.keeper.node)
                    && self.step == Step::Replaying =>
            {
                self.standing.replays += 1;
                self.standing.emitted += sent;
                self.compare(After::Replay, now)
            }
            Event::ConnectionsDigest { datapath, owner, count, digest } if owner == self.owner => {
                self.digest(datapath, (count, digest), now)
            }
            Event::ConnectionsFailed { datapath, owner, ref error }
                if owner == self.owner && ends.contains(&datapath) && !matches!(self.step, Step::Waiting { .. }) =>
            {
                self.fail(error.clone(), now);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn is_keeper(&self, datapath: DatapathId, owner: NodeIndex) -> bool {
        (datapath, owner) == (self.keeper.datapath, self.owner)
    }

    fn doubt(&mut self, now: Timestamp) -> Vec<Command> {
        self.ask(Step::Doubting, now);
        vec![Command::SweepCopies { datapath: self.keeper.datapath, owner: self.owner, purge: false }]
    }

    fn replay(&mut self, now: Timestamp) -> Vec<Command> {
        self.ask(Step::Replaying, now);
        let (datapath, shadow) = (self.source.datapath, self.keeper.node);
        vec![Command::ReplayConnections { datapath, owner: self.owner, shadow }]
    }

    /// Both are asked at once: the less time between them, the less comes and goes.
    fn compare(&mut self, after: After, now: Timestamp) -> Vec<Command> {
        self.ask(Step::Comparing { source: None, keeper: None, after }, now);
        let ends = [self.source.datapath, self.keeper.datapath];
        ends.map(|datapath| Command::DigestConnections { datapath, owner: self.owner }).into()
    }

    fn ask(&mut self, step: Step, now: Timestamp) {
        self.step = step;
        self.asked = now;
    }

    fn digest(&mut self, datapath: DatapathId, found: Digest, now: Timestamp) -> Vec<Command> {
        let Step::Comparing { source, keeper, after } = &mut self.step else { return Vec::new() };
        if datapath == self.source.datapath {
            *source = Some(found);
        } else if datapath == self.keeper.datapath {
            *keeper = Some(found);
        }
        let (Some(source), Some(keeper), after) = (*source, *keeper, *after) else { return Vec::new() };
        self.compared(source, keeper, after, now)
    }

    fn compared(&mut self, source: Digest, keeper: Digest, after: After, now: Timestamp) -> Vec<Command> {
        // Equal numbers of different connections: one at least is another.
        let differing = if source == keeper { 0 } else { source.0.abs_diff(keeper.0).max(1) };
        let standing = &mut self.standing;
        (standing.connections, standing.copied, standing.differing) = (source.0, keeper.0, differing);
        standing.compared = Some(now);
        let strict = self.keeper.node == self.owner && standing.replays < STRICT_REPLAYS;
        let churn = if strict { 0 } else { CHURN_MIN.max(source.0 / CHURN_PART) };
        if after == After::Replay && differing > 0 {
            self.ask(Step::Purging, now);
            return vec![Command::SweepCopies { datapath: self.keeper.datapath, owner: self.owner, purge: true }];
        }
        let again = matches!(after, After::Rest { again: true });
        match after {
            _ if differing == 0 => standing.ready = true,
            After::Rest { .. } => standing.ready &= !again || differing <= churn,
            After::Replay | After::Purge => standing.ready = differing <= churn,
        }
        if standing.ready {
            self.retry = RETRY_MIN;
            self.error = None;
        }
        if differing == 0 {
            self.step = Step::Waiting { until: now + self.interval, next: Next::Compare { again: false } };
        } else if again {
            return self.doubt(now);
        } else if after == After::Purge && !standing.ready && !strict {
            self.fail(format!("{differing} connections differ after a replay"), now);
        } else {
            // It may be a moment's.
            let next = Next::Compare { again: after != After::Purge || !standing.ready };
            self.step = Step::Waiting { until: now + LOOK_AGAIN, next };
        }
        Vec::new()
    }

    /// It is tried again from the start, later and later.
    fn fail(&mut self, error: String, now: Timestamp) {
        self.standing.ready = false;
        self.standing.failures += 1;
        self.error = Some(error);
        self.step = Step::Waiting { until: now + self.retry, next: Next::Round };
        self.retry = (self.retry * 2).min(RETRY_MAX);
    }
}

/// All copies between P4 switches, by owner and keeper.
#[derive(Clone, Debug, Default)]
pub(super) struct Swept {
    copies: BTreeMap<(NodeIndex, NodeIndex), SweptCopy>,
}

impl Swept {
    /// From now on these are wanted: source and keeper of each. A copy whose source is another one now begins again.
    pub(super) fn arrange(
        &mut self,
        wanted: &BTreeMap<(NodeIndex, NodeIndex), (End, End)>,
        interval: Duration,
        now: Timestamp,
    ) {
        self.copies.retain(|key, copy| wanted.get(key) == Some(&(copy.source, copy.keeper)));
        for ((owner, node), (source, keeper)) in wanted {
            let new = || SweptCopy::new(*owner, *source, *keeper, interval, now);
            self.copies.entry((*owner, *node)).or_insert_with(new);
        }
    }

    /// A keeper has lost or forgotten what it was told; it is told again at once.
    pub(super) fn forget(&mut self, node: NodeIndex) {
        let of_it = |copy: &&mut SweptCopy| copy.keeper.node == node;
        self.copies.values_mut().filter(of_it).for_each(|copy| copy.begin_again(Timestamp::default()));
    }

    pub(super) fn poll(&mut self, now: Timestamp) -> Vec<Command> {
        self.copies.values_mut().flat_map(|copy| copy.poll(now)).collect()
    }

    pub(super) fn event(&mut self, event: &Event, now: Timestamp) -> Vec<Command> {
        self.copies.values_mut().flat_map(|copy| copy.event(event, now)).collect()
    }

    /// How each stands, and what went wrong with it last.
    pub(super) fn standings(&self) -> impl Iterator<Item = ((NodeIndex, NodeIndex), Standing, Option<&str>)> {
        self.copies.iter().map(|(key, copy)| (*key, copy.standing, copy.error.as_deref()))
    }
}

impl Replication {
    /// Copies between P4 switches whose holder can be asked. What is known of the others stays as it was.
    pub(super) fn arrange_swept(&mut self, now: Timestamp) {
        let mut wanted = BTreeMap::new();
        let end = |node: NodeIndex| Some(End { node, datapath: *self.datapaths.get(&node)? });
        for (owner, group) in self.groups.iter().filter(|(_, group)| group.swept && group.readable) {
            for (keeper, _) in group.keepers.iter().filter(|(_, possible)| possible.is_ok()) {
                if let (Some(source), Some(to)) = (end(group.holder), end(*keeper)) {
                    wanted.insert((*owner, *keeper), (source, to));
                }
            }
        }
        self.swept.arrange(&wanted, self.interval, now);
    }

    /// What was found goes to the pairs.
    pub(super) fn follow_swept(&mut self) {
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        for (key, standing, error) in self.swept.standings() {
            let Some(pair) = self.pairs.get_mut(&key).filter(|_| standing.compared.is_some()) else { continue };
            (pair.complete, pair.equal) = (standing.replays > 0, standing.ready);
            (pair.held, pair.copied) = (count(standing.connections), count(standing.copied));
            pair.divergence = if standing.ready { 0 } else { count(standing.differing) };
            pair.repaired = standing.purged;
            pair.compared_at = standing.compared;
            pair.error = error.map(str::to_owned);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: NodeIndex = NodeIndex(2);
    const SOURCE: End = End { node: OWNER, datapath: DatapathId(2) };
    const KEEPER: End = End { node: NodeIndex(3), datapath: DatapathId(3) };

    fn at(ms: u64) -> Timestamp {
        Timestamp(ms * 1_000)
    }

    fn due(copy: &SweptCopy) -> Timestamp {
        match copy.step {
            Step::Waiting { until, .. } => until,
            _ => copy.asked + ANSWER_MAX,
        }
    }

    fn doubt() -> Vec<Command> {
        vec![Command::SweepCopies { datapath: KEEPER.datapath, owner: OWNER, purge: false }]
    }

    fn purge() -> Vec<Command> {
        vec![Command::SweepCopies { datapath: KEEPER.datapath, owner: OWNER, purge: true }]
    }

    fn digests() -> Vec<Command> {
        [SOURCE, KEEPER].map(|end| Command::DigestConnections { datapath: end.datapath, owner: OWNER }).into()
    }

    fn swept(purged: bool, copies: u64) -> Event {
        Event::CopiesSwept { datapath: KEEPER.datapath, owner: OWNER, purged, copies }
    }

    fn replayed(sent: u64) -> Event {
        let (datapath, shadow) = (SOURCE.datapath, KEEPER.node);
        Event::ConnectionsReplayed { datapath, owner: OWNER, shadow, sent, count: sent, digest: 7 }
    }

    /// Both digests come, in either order.
    fn found(copy: &mut SweptCopy, source: Digest, keeper: Digest, now: Timestamp) -> Vec<Command> {
        let answer = |end: End, (count, digest)| Event::ConnectionsDigest {
            datapath: end.datapath,
            owner: OWNER,
            count,
            digest,
        };
        assert_eq!(copy.event(&answer(KEEPER, keeper), now), []);
        copy.event(&answer(SOURCE, source), now)
    }

    fn ready() -> SweptCopy {
        let mut copy = SweptCopy::new(OWNER, SOURCE, KEEPER, Duration::from_secs(5), at(0));
        assert_eq!(copy.poll(at(0)), doubt());
        let replay = Command::ReplayConnections { datapath: SOURCE.datapath, owner: OWNER, shadow: KEEPER.node };
        assert_eq!(copy.event(&swept(false, 0), at(1)), [replay]);
        assert_eq!(copy.event(&replayed(50), at(2)), digests());
        assert!(!copy.standing.ready);
        assert_eq!(found(&mut copy, (50, 7), (50, 7), at(3)), []);
        assert_eq!((copy.standing.ready, copy.standing.emitted), (true, 50));
        copy
    }

    #[test]
    fn ready_after_a_replay_and_compared_from_then_on() {
        let mut copy = ready();
        assert_eq!(due(&copy), at(5_003));
        assert_eq!(copy.poll(at(5_002)), []);
        assert_eq!(copy.poll(at(5_003)), digests());
        assert_eq!(found(&mut copy, (51, 8), (51, 8), at(5_004)), []);
        assert_eq!((due(&copy), copy.standing.ready), (at(10_004), true));
    }

    #[test]
    fn a_lasting_difference_is_repaired_and_what_is_too_much_goes() {
        let mut copy = ready();
        copy.poll(at(5_003));
        assert_eq!(found(&mut copy, (50, 7), (70, 9), at(5_004)), []);
        assert!(copy.standing.ready, "it may be a moment's");
        assert_eq!(copy.poll(at(6_004)), digests());
        assert_eq!(found(&mut copy, (50, 7), (70, 9), at(6_005)), doubt());
        assert_eq!((copy.standing.ready, copy.standing.differing), (false, 20));
        copy.event(&swept(false, 70), at(6_006));
        copy.event(&replayed(50), at(6_100));
        assert_eq!(found(&mut copy, (50, 7), (70, 9), at(6_101)), purge());
        assert_eq!(copy.event(&swept(true, 20), at(6_102)), digests());
        assert_eq!(found(&mut copy, (50, 7), (50, 7), at(6_103)), []);
        let standing = copy.standing;
        assert_eq!((standing.ready, standing.purged, standing.replays), (true, 20, 2));
    }

    #[test]
    fn connections_that_come_and_go_are_no_divergence() {
        let mut copy = ready();
        copy.poll(at(5_003));
        found(&mut copy, (1_000, 1), (1_015, 2), at(5_004));
        copy.poll(at(6_004));
        assert_eq!(found(&mut copy, (1_000, 1), (1_015, 2), at(6_005)), doubt(), "repaired all the same");
        assert!(copy.standing.ready);
    }

    #[test]
    fn failures_are_tried_again_later_and_later() {
        let failed =
            |datapath| Event::ConnectionsFailed { datapath, owner: OWNER, error: "a sweep is lost".to_owned() };
        let mut copy = SweptCopy::new(OWNER, SOURCE, KEEPER, Duration::from_secs(5), at(0));
        copy.poll(at(0));
        copy.event(&failed(KEEPER.datapath), at(10));
        assert_eq!((due(&copy), copy.error.as_deref()), (at(1_010), Some("a sweep is lost")));
        copy.event(&failed(KEEPER.datapath), at(11));
        assert_eq!(copy.standing.failures, 1, "nothing was asked");
        assert_eq!(copy.poll(at(1_010)), doubt());
        assert_eq!(copy.poll(at(61_010)), [], "no answer");
        assert_eq!((due(&copy), copy.standing.failures), (at(63_010), 2));
        copy.poll(at(63_010));
        copy.event(&failed(DatapathId(9)), at(63_011));
        assert_eq!(copy.standing.failures, 2, "of another switch");
        copy.event(&swept(false, 0), at(63_012));
        copy.event(&replayed(50), at(63_013));
        found(&mut copy, (50, 7), (20, 9), at(63_014));
        copy.event(&swept(true, 0), at(63_015));
        assert_eq!(found(&mut copy, (50, 7), (20, 9), at(63_016)), []);
        assert_eq!(copy.error.as_deref(), Some("30 connections differ after a replay"));
        assert!(!copy.standing.ready);
    }

    #[test]
    fn a_lost_session_begins_again() {
        let mut copy = ready();
        copy.begin_again(at(100));
        assert!(!copy.standing.ready);
        assert_eq!(copy.event(&replayed(3), at(101)), [], "an answer from before");
        assert_eq!(copy.poll(at(101)), doubt());
    }

    #[test]
    fn what_a_router_gets_back_has_to_be_the_same() {
        let own = End { node: OWNER, datapath: KEEPER.datapath };
        let mut copy = SweptCopy::new(OWNER, KEEPER, own, Duration::from_secs(5), at(0));
        let mut now = at(0);
        for round in 1..STRICT_REPLAYS {
            assert_eq!(copy.step, Step::Waiting { until: now, next: Next::Round }, "{round}");
            copy.poll(now);
            copy.step = Step::Comparing { source: None, keeper: None, after: After::Purge };
            copy.standing.replays = round;
            copy.compared((50, 7), (51, 8), After::Purge, now);
            assert!(!copy.standing.ready, "{round}");
            let again = Step::Waiting { until: now + LOOK_AGAIN, next: Next::Compare { again: true } };
            assert_eq!(copy.step, again);
            now = now + LOOK_AGAIN;
            assert_eq!(copy.compared((50, 7), (51, 8), After::Rest { again: true }, now).len(), 1, "another round");
            copy.begin_again(now);
        }
        copy.standing.replays = STRICT_REPLAYS;
        copy.compared((50, 7), (51, 8), After::Purge, now);
        assert!(copy.standing.ready, "it is only what comes and goes");
        copy.begin_again(now);
        copy.standing.replays = 1;
        copy.compared((50, 7), (50, 7), After::Replay, now);
        assert!(copy.standing.ready);
    }

    #[test]
    fn copies_follow_what_is_wanted() {
        let key = (OWNER, KEEPER.node);
        let (mut all, wanted) = (Swept::default(), BTreeMap::from([(key, (SOURCE, KEEPER))]));
        let every = Duration::from_secs(5);
        all.arrange(&wanted, every, at(0));
        assert_eq!(all.poll(at(0)), doubt());
        all.arrange(&wanted, every, at(1));
        assert_eq!(all.poll(at(1)), [], "it goes on");
        all.forget(KEEPER.node);
        assert_eq!(all.poll(at(2)), doubt());
        let other = End { node: NodeIndex(9), datapath: DatapathId(9) };
        all.arrange(&BTreeMap::from([(key, (other, KEEPER))]), every, at(3));
        assert_eq!(all.poll(at(3)), doubt(), "another carries the connections");
        assert_eq!(all.standings().next(), Some((key, Standing::default(), None)));
        all.arrange(&BTreeMap::new(), every, at(4));
        assert_eq!(all.standings().count(), 0);
    }
}
