//! The log is rotated while everything else goes on: leaves are filled, left and emptied, whether or
//! not somebody still lacks what was in them. Hands over whether a bookmark is behind what is left.
//! It must never ask the product for that: the application's own rows say what was committed.

use super::rig::{Needs, Rig};
use super::seat::Seat;
use super::strike::Fault;
use super::writers::schema;
use crate::support::database;
use crate::support::proxy::Way;
use rowcast::command::postgres::SUPERUSER;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_postgres::{Client, Error};

/// A log as small as can be, and hardly anything of it in the service's memory.
pub const SMALL_LOG: &str = "update rowcast.setting set keep_bytes = 1048576";
pub const SMALL_RING: (&str, &str) = ("ROWCAST__HUB__RING_BYTES", "65536");

/// An event that nobody hears and that fills a leaf: a fifth of `keep_bytes`, and hardly compressible.
/// None where the leaf is full, and somebody's look keeps all of them from being left: the more there
/// is, the longer that look takes.
const FILL: &str = "with filler as (select rowcast.emit('filler', 'filler', array['nobody:1'], \
      (select to_json(string_agg(replace(gen_random_uuid()::text, '-', ''), '')) from generate_series(1, 7000))) as id \
      where not (select rowcast.leaf_is_full(last_value, 209715) from rowcast.event_id_seq)) \
    insert into app.filler (id) select id from filler";

/// How a bookmark stands to what the log has forgotten. The application's rows and PostgreSQL's
/// catalog say so: none of the product's books, and none of its functions but the one that reads a
/// bookmark.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    /// Something was committed that the bookmark does not see, and the log has it no more.
    pub lacks: bool,
    /// Or that can't be told of it: a transaction was open that is older than something forgotten,
    /// and a leaf was emptied later than the bookmark was taken.
    pub is_in_doubt: bool,
}

pub async fn standing(client: &Client, bookmark: &str) -> Result<Standing, Error> {
    let sql = "with place as materialized (select (rowcast.parse_bookmark($1)).base), \
        forgotten as materialized ( \
          select n.xid from app.entry n where not exists \
            (select from rowcast.event e where e.xid = n.xid \
              and e.data ->> 'event' = 'entry ' || n.number) \
          union all select f.xid from app.filler f where not exists \
            (select from rowcast.event e where e.xid = f.xid and e.id = f.id)) \
        select exists (select from forgotten f where not pg_visible_in_snapshot(f.xid, place.base)), \
          pg_snapshot_xmin(place.base) <= (select xid from forgotten order by xid desc limit 1) \
          and exists (select from pg_inherits i join pg_class c on c.oid = i.inhrelid \
            where i.inhparent = 'rowcast.log'::regclass \
              and not pg_visible_in_snapshot(c.xmin::text::xid8, place.base)) \
        from place";
    let row = client.query_one(sql, &[&bookmark]).await?;
    Ok(Standing {
        lacks: row.get(0),
        is_in_doubt: row.get::<_, Option<bool>>(1).unwrap_or_default(),
    })
}

impl Rig {
    /// Fills a leaf and rotates, as a DBA would; whether one was emptied.
    async fn rotate(&self) -> bool {
        let client = self.superuser().await;
        // Where another fault strikes meanwhile, it is done again.
        if client.batch_execute(FILL).await.is_err() {
            return false;
        }
        let sql = "select forgotten is not null from rowcast.rotate_log()";
        let row = client.query_one(sql, &[]).await;
        row.is_ok_and(|row| row.get(0))
    }

    /// Until a leaf was emptied while others commit and read.
    pub async fn rotated(&self) {
        self.until("a leaf is emptied", async || self.rotate().await)
            .await;
    }

    /// Somebody is away until the log no longer has what they lack, and comes back. Before each rotation
    /// this is done.
    pub async fn bookmark_passed(&self, before_each: impl AsyncFn()) -> (usize, Arc<Seat>) {
        let places: Vec<usize> = (0..self.seats.len()).collect();
        let place = *self.turn(&places);
        let seat = Arc::clone(&self.seats[place]);
        seat.away.store(true, Ordering::SeqCst);
        seat.leaves();
        let mut bookmark = String::new();
        self.until("it is away", async || {
            let away_with = seat.known().away_with.clone();
            away_with.is_some_and(|with| {
                bookmark = with;
                true
            })
        })
        .await;
        self.until("its bookmark is passed", async || {
            before_each().await;
            self.rotate().await;
            let client = self.superuser().await;
            let standing = standing(&client, &bookmark).await;
            standing.unwrap_or_default().lacks
        })
        .await;
        seat.away.store(false, Ordering::SeqCst);
        (place, seat)
    }

    /// The same, and it has to be told.
    pub async fn passed(&self) {
        let gaps: Vec<u64> = self
            .seats
            .iter()
            .map(|s| s.gaps.load(Ordering::SeqCst))
            .collect();
        let (place, seat) = self.bookmark_passed(async || ()).await;
        let before = gaps[place];
        self.until("it is told of a gap", async || {
            seat.gaps.load(Ordering::SeqCst) > before
        })
        .await;
    }
}

/// A leaf that was filled beside an old transaction is emptied after it has ended. What the old one
/// wrote may have been in it; of a bookmark that was taken later, nothing was.
#[tokio::test]
async fn a_bookmark_from_beside_an_old_transaction_is_in_doubt() {
    let db = database().await;
    db.run(&schema()).await;
    db.run(SMALL_LOG).await;
    let (old, client) = (db.client(SUPERUSER).await, db.client(SUPERUSER).await);
    let begun = "begin; insert into app.entry values (1, null, null, '{*}')";
    old.batch_execute(begun).await.unwrap();
    client.batch_execute(FILL).await.unwrap();
    let beside = db.bookmark().await;
    old.batch_execute("rollback").await.unwrap();
    assert!(!standing(&client, &beside).await.unwrap().is_in_doubt);
    let rotated = "select forgotten is not null from rowcast.rotate_log()";
    while !db.ask::<bool>(rotated).await {
        client.batch_execute(FILL).await.unwrap();
    }
    let beside = standing(&client, &beside).await.unwrap();
    assert!(beside.is_in_doubt && !beside.lacks, "{beside:?}");
    let later = standing(&client, &db.bookmark().await).await.unwrap();
    assert!(!later.is_in_doubt && !later.lacks, "{later:?}");
}

/// Over a slow link a look takes longer than to fill a leaf, and holds all of them meanwhile: what
/// was filled without end kept the next look longer, until none came to its end.
#[tokio::test]
async fn behind_a_slow_link_the_log_stays_small() {
    let needs = Needs {
        sql: SMALL_LOG,
        settings: &[SMALL_RING],
        ..Needs::default()
    };
    let rig = Rig::start(needs, 1).await;
    rig.everybody_hears(10).await;
    rig.links
        .primary()
        .set(Way::Delay(Duration::from_millis(50)));
    for _ in 0..8 {
        rig.strike(Fault::Rotated).await;
    }
    let client = rig.superuser().await;
    let sql = "select sum(pg_total_relation_size(inhrelid))::bigint from pg_inherits \
               where inhparent = 'rowcast.log'::regclass";
    let bytes: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
    assert!(bytes < 8 << 20, "{bytes}");
    rig.links.primary().set(Way::Pass);
    rig.everybody_hears(10).await;
    rig.finish().await.assert_clean();
}
