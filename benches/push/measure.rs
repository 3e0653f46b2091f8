//! One scenario for one server, from its start to its end.
//! Hands over what was measured. It must never measure while connections are still coming in.

use crate::crowd::{Crowd, Guests, Window};
use crate::peers::{Origin, Server};
use crate::report::Measured;
use crate::scenario::{Kind, Scenario};
use crate::server::{Running, Source};
use crate::source::Flow;
use crate::stage::Stage;
use crate::yardstick::cluster::PATIENCE;
use crate::{Failure, Plan, cores, process, scenario};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Before memory is looked at: what connecting took is given back by then.
const SETTLE: Duration = Duration::from_secs(2);

/// Seconds of events before those that count.
const WARM_UP: u64 = 1;
const WARM_UP_RATE: u64 = 10;

/// Seconds of events beside readers that stall: more than the ten that Rowcast gives them.
const STALL: u64 = 15;

/// Silence after which what has not arrived will not come, and how long it may take otherwise.
const SILENCE: Duration = Duration::from_secs(5);
const LATEST: Duration = Duration::from_secs(60);

/// Connections a second that every server takes at least.
const ENTRIES: usize = 200;

/// System calls are counted at a tenth of the rate, for counting makes each ten times as dear, and
/// so that nothing is written together; that many events.
const TRACED_EVENTS: u64 = 20;
const TRACED_SLOWER: u64 = 10;

/// A server with a crowd that is in.
pub struct Scene<'a> {
    pub stage: &'a Stage,
    pub plan: &'a Plan,
    pub scenario: &'a Scenario,
    pub running: Running,
    pub crowd: Crowd,
    pub source: Source,
    pub measured: Measured,
    /// The rooms of the connections that read.
    pub seats: Vec<u64>,
}

pub async fn measure(
    stage: &mut Stage,
    server: Server,
    scenario: &Scenario,
    plan: &Plan,
) -> Result<Measured, Failure> {
    stage
        .count_statements(scenario.kind == Kind::Avalanche)
        .await?;
    stage.clear(&server).await?;
    let mut scene = Scene::set(stage, server, scenario, plan).await?;
    let outcome = match scenario.kind {
        Kind::Idle => scene.idle().await,
        Kind::Burst(events) => scene.burst(events).await,
        Kind::Drops => scene.drops().await,
        Kind::Avalanche => scene.avalanche().await,
        _ => scene.steady().await,
    };
    let Scene {
        mut running,
        crowd,
        measured,
        ..
    } = scene;
    drop(crowd);
    running.stop().await?;
    outcome.map(|()| measured)
}

/// Waits until everybody is in and has all it missed.
pub async fn all_whole(
    crowd: &Crowd,
    running: &mut Running,
    all: usize,
    longest: Duration,
) -> Result<(), Failure> {
    let deadline = Instant::now() + longest;
    while crowd.whole() < all {
        running.check()?;
        if Instant::now() > deadline {
            let trouble = crowd.trouble().unwrap_or_default();
            return Err(format!("only {} of {all} are in. {trouble}", crowd.whole()).into());
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

impl<'a> Scene<'a> {
    /// Starts the server, lets everybody in, and looks at memory.
    async fn set(
        stage: &'a Stage,
        server: Server,
        scenario: &'a Scenario,
        plan: &'a Plan,
    ) -> Result<Self, Failure> {
        let as_it_comes = matches!(scenario.kind, Kind::Drops | Kind::Avalanche);
        let last_left = scenario.apart.then(cores::leave_last);
        let running = Running::start(stage, server, as_it_comes).await?;
        drop(last_left);
        let before = process::memory(running.pid()?)?;
        let seats = scenario.seats();
        let rowcast = server.origin == Origin::Rowcast;
        let crowd = Crowd::enter(Guests {
            address: running.address,
            protocol: server.protocol,
            greets: rowcast,
            resumes: rowcast && scenario.kind != Kind::Steady && scenario.kind != Kind::Idle,
            paths: stage.paths(&server, &seats),
            rooms: seats.clone(),
            stalled: scenario.stalled(),
        })?;
        let source = match server.origin {
            Origin::Floor => Source::Floor,
            _ => Source::Database(stage.writers(&server, scenario.writers).await?),
        };
        let mut scene = Self {
            stage,
            plan,
            scenario,
            running,
            crowd,
            source,
            measured: Measured::new(scenario, server.name),
            seats,
        };
        let began = Instant::now();
        let longest = PATIENCE + Duration::from_secs((scenario.connections / ENTRIES) as u64);
        all_whole(
            &scene.crowd,
            &mut scene.running,
            scenario.connections,
            longest,
        )
        .await?;
        let entering = began.elapsed().as_secs_f64();
        scene.measured.note("entering_seconds", json!(entering));
        sleep(SETTLE).await;
        let after = process::memory(scene.running.pid()?)?;
        let grown = after.rss.saturating_sub(before.rss) as f64;
        scene.measured.rss_bytes_per_connection = grown / scenario.connections as f64;
        scene.measured.rss_bytes = after.rss;
        scene.measured.pss_bytes = after.pss;
        Ok(scene)
    }

    pub fn flow(&self, count: u64, rate: u64) -> Flow {
        Flow {
            first: self.stage.number(count),
            count,
            rooms: self.scenario.rooms,
            rate,
            rows: self.scenario.rows,
        }
    }

    /// Begins to count what this flow brings; how many deliveries that is.
    pub fn expect(&self, flow: Flow) -> u64 {
        let window = Window {
            first: flow.first,
            count: flow.count,
            rooms: flow.rooms,
        };
        self.crowd.count(window);
        let apart = self
            .scenario
            .connections
            .checked_div(self.scenario.stalled());
        let reads = |number: usize| apart.is_none_or(|apart| number % apart != apart - 1);
        let seats = self.seats.iter().enumerate();
        let reading = seats.filter(|(number, _)| reads(*number));
        reading.map(|(_, room)| window.of_room(*room)).sum()
    }

    /// Waits until all has arrived, or what has not will not come.
    pub async fn arrived(&self, expected: u64) {
        let began = Instant::now();
        let (mut delivered, mut heard) = (0, began);
        while delivered < expected && heard.elapsed() < SILENCE && began.elapsed() < LATEST {
            sleep(Duration::from_millis(5)).await;
            let now = self.crowd.delivered();
            if now > delivered {
                (delivered, heard) = (now, Instant::now());
            }
        }
    }

    async fn idle(&mut self) -> Result<(), Failure> {
        let pid = self.running.pid()?;
        let (began, before) = (Instant::now(), process::cpu(pid)?);
        sleep(Duration::from_secs(self.plan.seconds)).await;
        self.measured.seconds = began.elapsed().as_secs_f64();
        self.measured.cpu_seconds = process::cpu(pid)? - before;
        let memory = process::memory(pid)?;
        self.measured.rss_bytes = memory.rss;
        self.measured.pss_bytes = memory.pss;
        let all = self.scenario.connections;
        all_whole(&self.crowd, &mut self.running, all, Duration::ZERO).await
    }

    pub async fn warm_up(&mut self) -> Result<(), Failure> {
        let rate = self.scenario.rate.max(WARM_UP_RATE);
        let flow = self.flow(rate * WARM_UP, rate);
        self.running.push(&self.source, flow).await
    }

    async fn steady(&mut self) -> Result<(), Failure> {
        let rate = self.scenario.rate;
        self.warm_up().await?;
        let seconds = match self.scenario.kind {
            // A reader that stalls is noticed after ten seconds.
            Kind::Stalled(_) => self.plan.seconds.max(STALL),
            _ => self.plan.seconds,
        };
        let flow = self.flow(rate * seconds, rate);
        self.window(flow).await?;
        let memory = process::memory(self.running.pid()?)?;
        self.measured.note("rss_bytes_after", json!(memory.rss));
        if self.scenario.traced {
            self.trace().await?;
        }
        Ok(())
    }

    /// Everybody drops at least once, and comes back for what was missed.
    async fn drops(&mut self) -> Result<(), Failure> {
        let rate = self.scenario.rate;
        self.warm_up().await?;
        self.crowd.drop_now_and_then(Some(scenario::DROPPING));
        let seconds = (scenario::DROPPING.every + scenario::DROPPING.away).as_secs();
        let flow = self.flow(rate * seconds.max(self.plan.seconds), rate);
        self.window(flow).await
    }

    async fn burst(&mut self, events: u64) -> Result<(), Failure> {
        self.warm_up().await?;
        let flow = self.flow(events, 0);
        self.window(flow).await
    }

    /// The events that count.
    pub async fn window(&mut self, flow: Flow) -> Result<(), Failure> {
        let pid = self.running.pid()?;
        let expected = self.expect(flow);
        let before = process::cpu(pid)?;
        let (began, began_at) = (Instant::now(), crate::crowd::now());
        self.running.push(&self.source, flow).await?;
        self.measured.seconds = began.elapsed().as_secs_f64();
        self.crowd.drop_now_and_then(None);
        self.arrived(expected).await;
        self.measured.cpu_seconds = process::cpu(pid)? - before;
        let (tally, happenings) = self.crowd.report().ok_or("the crowd has ended")?;
        self.measured.count(&tally, &happenings, expected);
        let until = (tally.last - began_at) as f64 / 1e6;
        self.measured.note("seconds_until_last", json!(until));
        self.measured.events_per_second = flow.count as f64 / until.max(self.measured.seconds);
        if tally.delivered > 0 {
            let micros = self.measured.cpu_seconds * 1e6;
            self.measured.cpu_us_per_message = Some(micros / tally.delivered as f64);
        }
        if let Some(trouble) = self.crowd.trouble() {
            self.measured.note("trouble", json!(trouble));
        }
        Ok(())
    }

    /// System calls, in a short window of their own.
    async fn trace(&mut self) -> Result<(), Failure> {
        let (slowly, few) = (
            (self.scenario.rate / TRACED_SLOWER).max(1),
            TRACED_EVENTS.min(self.scenario.rate),
        );
        let flow = self.flow(few, slowly);
        let expected = self.expect(flow);
        let pid = self.running.pid()?;
        let traced = async {
            self.running.push(&self.source, flow).await?;
            self.arrived(expected).await;
            Ok::<_, Failure>(())
        };
        let (calls, pushed) = process::system_calls(pid, traced).await?;
        pushed?;
        let (tally, _) = self.crowd.report().ok_or("the crowd has ended")?;
        if tally.delivered > 0 {
            let calls = calls.map(|calls| calls as f64 / tally.delivered as f64);
            self.measured.syscalls_per_message = calls;
        }
        Ok(())
    }
}
