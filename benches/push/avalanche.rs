//! The server restarts under everybody: how long until the last is back and has all it missed.
//! Hands over what was measured. It must never count what the clients alone are to blame for: each
//! comes back when it was told to, or as the JavaScript client would.

use crate::Failure;
use crate::measure::{Scene, all_whole};
use crate::peers::Origin;
use crate::report;
use crate::server::Source;
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Seconds of events in all, before, during and after.
const SECONDS: u64 = 20;

/// Of those before the restart.
const BEFORE: Duration = Duration::from_secs(1);

/// How long the last may take.
const LONGEST: Duration = Duration::from_secs(60);

/// What the server asked the database for; what its listener asks for does not grow with those who
/// come back, and is left out.
const STATEMENTS: &str = "
select coalesce(sum(s.calls), 0)::bigint, coalesce(jsonb_object_agg(left(s.query, 60), s.calls), '{}')::text
from (
  select query, sum(calls) as calls from public.pg_stat_statements
  where userid = 'rowcast_service'::regrole
    and query !~* '(rowcast\\.(look|committed)|setval|pg_advisory|pg_locks|pg_notify|pg_backend_pid)'
    and query !~* '^(listen|notify|begin|commit|set|show)'
  group by query
) s";

impl Scene<'_> {
    pub async fn avalanche(&mut self) -> Result<(), Failure> {
        let rate = self.scenario.rate;
        self.warm_up().await?;
        let flow = self.flow(rate * SECONDS, rate);
        let expected = self.expect(flow);
        let asked = self.running.server.origin == Origin::Rowcast && self.stage.counts_statements;
        let database = self.stage.client_of(&self.running.server).await?;
        if asked {
            let reset = "select public.pg_stat_statements_reset()";
            database.batch_execute(reset).await?;
        }
        let Source::Database(writers) = &self.source else {
            return Err("the floor has nothing to restart for".into());
        };
        let (running, crowd, all) = (&mut self.running, &self.crowd, self.scenario.connections);
        let restart = async {
            sleep(BEFORE).await;
            let stopped = Instant::now();
            running.stop().await?;
            running.start_again().await?;
            let down = stopped.elapsed();
            all_whole(crowd, running, all, LONGEST).await?;
            Ok::<_, Failure>((down, stopped.elapsed()))
        };
        let (written, restarted) = tokio::join!(writers.write(flow), restart);
        written?;
        let (down, all_back) = restarted?;
        self.arrived(expected).await;
        if asked {
            let row = database.query_one(STATEMENTS, &[]).await?;
            let calls: i64 = row.try_get(0)?;
            self.measured.queries = u64::try_from(calls).ok();
            let which: serde_json::Value = serde_json::from_str(row.try_get(1)?)?;
            self.measured.note("statements", which);
        }
        self.measured.seconds = SECONDS as f64;
        self.measured.cpu_seconds = crate::process::cpu(self.running.pid()?)?;
        self.measured
            .note("down_seconds", json!(down.as_secs_f64()));
        self.measured
            .note("all_back_seconds", json!(all_back.as_secs_f64()));
        let (tally, happenings) = self.crowd.report().ok_or("the crowd has ended")?;
        self.measured.count(&tally, &happenings, expected);
        let back = report::latency(&happenings.back);
        self.measured.note("back_ms", json!(back));
        Ok(())
    }
}
