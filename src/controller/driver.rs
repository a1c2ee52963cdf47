//! Drives the controller: turns sockets and clocks into inputs, sends what it answers, publishes what may be seen.
//!
//! The same task serves `run`, where cycles follow the wall clock, and the demo, where each cycle is asked for at a
//! virtual time and awaited until the switches have confirmed what was decided in it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::feed::Feed;
use super::recording::Recorder;
use super::view::View;
use super::{Controller, Input, Output};
use crate::southbound::{Clock, Command, Event, WallClock};
use crate::types::Timestamp;

/// A lockstep cycle that switches have not confirmed by then goes on without them; real time, not virtual.
const LOCKSTEP_PATIENCE: Duration = Duration::from_secs(5);

/// Making a view takes time that grows with the fabric. This many times as long as the last one took passes before the
/// next is made, so that views take at most a small part of the loop's time however fast a large fabric changes.
const VIEW_PAUSES: u32 = 10;

/// What makes cycles happen.
#[derive(Debug)]
pub enum Clockwork {
    /// One cycle every interval of the wall clock.
    Wall(Duration),
    /// One cycle for every step asked for, at the step's time.
    Lockstep(mpsc::Receiver<Step>),
}

/// One cycle of a virtual clock.
#[derive(Debug)]
pub struct Step {
    pub now: Timestamp,
    /// Told once the cycle is decided and every connected switch has confirmed its plan.
    pub done: oneshot::Sender<()>,
}

/// Where a controller's outputs go.
#[derive(Debug)]
pub struct Publisher {
    pub view: watch::Sender<Arc<View>>,
    pub feed: Feed,
    /// Keeps every input, where the run is recorded.
    pub recorder: Option<Recorder>,
}

/// Sends commands towards the switches; never waits (see `southbound`: a session that cannot keep up is closed).
pub trait Switchboard: Send {
    fn send(&mut self, command: Command);
}

/// The wall clock, as a timestamp.
pub fn wall_clock() -> Timestamp {
    WallClock::default().now()
}

/// Runs until `shutdown`; switches keep what they hold and go on forwarding.
pub async fn run(
    mut controller: Controller,
    mut events: mpsc::Receiver<Event>,
    mut switchboard: impl Switchboard,
    clockwork: Clockwork,
    publisher: Publisher,
    shutdown: CancellationToken,
) {
    let mut pacer = Pacer::new(clockwork);
    let mut window = Window::new(publisher);
    loop {
        let shown = window.due;
        let input = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            // Before events: a switch that floods the queue must not hold up the cycle of all.
            step = pacer.next(controller.next_deadline()) => match step {
                Some(input) => input,
                None => return,
            },
            () = until(shown) => {
                window.show(&controller, pacer.now());
                continue;
            }
            event = events.recv() => match event {
                Some(event) => Input::Event(event),
                None => return,
            },
        };
        let now = pacer.now();
        let gave_up = input == Input::GiveUp;
        if let Some(recorder) = &mut window.publisher.recorder {
            recorder.input(&input, now);
        }
        let output = controller.handle(input, now);
        if let Some(recorder) = &mut window.publisher.recorder {
            recorder.output(&output, &controller);
        }
        dispatch(output, &mut controller, &mut switchboard, &mut window, now);
        if pacer.is_awaited() && (gave_up || controller.settled()) {
            // Whoever asked for a cycle sees what came of it.
            if window.due.is_some() {
                window.show(&controller, now);
            }
            pacer.settle();
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Where the outside looks in: views are made when something changed, and not too often.
#[derive(Debug)]
struct Window {
    publisher: Publisher,
    not_before: Instant,
    /// When a change that nobody has seen yet is shown.
    due: Option<Instant>,
}

impl Window {
    fn new(publisher: Publisher) -> Self {
        Self { publisher, not_before: Instant::now(), due: None }
    }

    fn changed(&mut self, controller: &Controller, now: Timestamp) {
        if self.not_before <= Instant::now() {
            self.show(controller, now);
        } else {
            self.due = Some(self.not_before);
        }
    }

    fn show(&mut self, controller: &Controller, now: Timestamp) {
        let began = Instant::now();
        self.publisher.view.send_replace(Arc::new(controller.view(now)));
        self.not_before = Instant::now() + began.elapsed() * VIEW_PAUSES;
        self.due = None;
    }
}

fn dispatch(
    output: Output,
    controller: &mut Controller,
    switchboard: &mut impl Switchboard,
    window: &mut Window,
    now: Timestamp,
) {
    for command in output.commands {
        switchboard.send(command);
    }
    for notice in output.notices {
        tracing::info!(
            kind = notice.kind,
            node = notice.node.as_ref().map(tracing::field::display),
            "{}",
            notice.message
        );
        window.publisher.feed.push(now, notice.kind, notice.node, notice.message);
    }
    if output.view_changed {
        window.changed(controller, now);
    }
}

/// Decides when the next cycle is due and what time it is.
#[derive(Debug)]
enum Pacer {
    /// The clock is steady: a time of day that is set anew does not reach the controller.
    Wall(tokio::time::Interval, WallClock),
    Lockstep {
        steps: mpsc::Receiver<Step>,
        now: Timestamp,
        waiting: Option<(oneshot::Sender<()>, Instant)>,
    },
}

impl Pacer {
    fn new(clockwork: Clockwork) -> Self {
        match clockwork {
            Clockwork::Wall(cycle) => {
                let mut interval = tokio::time::interval(cycle);
                interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
                Self::Wall(interval, WallClock::default())
            }
            Clockwork::Lockstep(steps) => Self::Lockstep { steps, now: Timestamp::default(), waiting: None },
        }
    }

    fn now(&self) -> Timestamp {
        match self {
            Self::Wall(_, clock) => clock.now(),
            Self::Lockstep { now, .. } => *now,
        }
    }

    /// The next cycle, the controller's own deadline (in lockstep the next cycle comes before it), or the end of the wait for one that is not confirmed; `None` when nobody asks any more.
    async fn next(&mut self, deadline: Option<Timestamp>) -> Option<Input> {
        match self {
            Self::Wall(interval, clock) => {
                let now = clock.now();
                let due = async {
                    match deadline {
                        Some(deadline) => tokio::time::sleep(deadline.since(now)).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    _ = interval.tick() => Some(Input::Tick),
                    () = due => Some(Input::Due),
                }
            }
            Self::Lockstep { waiting: Some((_, patience)), .. } => {
                tokio::time::sleep_until(*patience).await;
                Some(Input::GiveUp)
            }
            Self::Lockstep { steps, now, waiting } => {
                let step = steps.recv().await?;
                *now = step.now;
                *waiting = Some((step.done, Instant::now() + LOCKSTEP_PATIENCE));
                Some(Input::Tick)
            }
        }
    }

    /// Somebody waits for the end of a cycle.
    fn is_awaited(&self) -> bool {
        matches!(self, Self::Lockstep { waiting: Some(_), .. })
    }

    fn settle(&mut self) {
        if let Self::Lockstep { waiting, .. } = self
            && let Some((done, _)) = waiting.take()
        {
            // The asker may have left; then there is nobody to tell.
            let _ = done.send(());
        }
    }
}
