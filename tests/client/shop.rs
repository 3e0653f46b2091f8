//! A table that changes all the time, and what was committed of it: every version of every item up
//! to the last is one event. Hands the truth over to the reconciliation.
//! It must never leave a transaction open when it is asked for the truth.

use crate::support::Database;
use crate::support::reconcile::Truth;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

pub const ITEMS: i64 = 40;
const WRITERS: u64 = 3;

/// Shelves that everybody may watch, with items on each, and a call that shows some of them.
const SCHEMA: &str = "
    create schema shop;
    grant usage on schema shop to rowcast_owner, lab_app;
    create table shop.item (item bigint primary key, version bigint not null, shelf text not null)
      with (fillfactor = 50);
    insert into shop.item select n, 0, 'shelf:' || n % 4 from generate_series(1, 40) n;
    grant select, update on shop.item to lab_app;
    grant select on shop.item to rowcast_owner;
    select rowcast.attach('shop.item', 'update', $$
      select 'item:changed' as name, array[n.shelf] as rooms,
        json_build_object('item', n.item, 'version', n.version) as data from new_rows n $$);
    create function shop.may_join(claims jsonb, room text) returns boolean language sql stable
      as $$ select true $$;
    insert into rowcast.room_rule values ('shelf:*', 'shop.may_join(jsonb,text)');
    create function shop.items(shelves text[]) returns jsonb language sql stable as $$
      select jsonb_object_agg(i.item, i.version) from shop.item i where i.shelf = any (shelves) $$;
    insert into rowcast.callable (name, function) values ('shop_items', 'shop.items(text[])');";

/// Writers at work.
pub struct Shop {
    closed: Arc<AtomicBool>,
    changes: Arc<AtomicU64>,
    writers: Vec<JoinHandle<()>>,
}

pub async fn prepare(db: &Database) {
    db.run(SCHEMA).await;
}

impl Shop {
    /// Opens it: about so many changes a second, if the machine has the time.
    pub async fn open(db: &Database, seed: u64, rate: u64) -> Self {
        let mut shop = Self {
            closed: Arc::default(),
            changes: Arc::default(),
            writers: Vec::new(),
        };
        // Two items a transaction on average, between two pauses of half the length on average.
        let pause = Duration::from_secs(1).mul_f64(4.0 * WRITERS as f64 / rate as f64);
        for writer in 0..WRITERS {
            let (closed, changes) = (Arc::clone(&shop.closed), Arc::clone(&shop.changes));
            let client = db.legacy().await;
            let mut random = StdRng::seed_from_u64(seed + writer);
            shop.writers.push(tokio::spawn(async move {
                while !closed.load(Ordering::Relaxed) {
                    let done = change(&client, &mut random).await;
                    changes.fetch_add(done, Ordering::Relaxed);
                    tokio::time::sleep(pause.mul_f64(random.random())).await;
                }
            }));
        }
        shop
    }

    /// How many changes were committed so far.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Closes it once every transaction has ended.
    pub async fn close(self) -> u64 {
        self.closed.store(true, Ordering::Relaxed);
        for writer in self.writers {
            writer.await.expect("a writer has no reason to fail");
        }
        self.changes.load(Ordering::Relaxed)
    }
}

/// One transaction on one to three items, overlapping with others; one in ten is undone.
async fn change(client: &Client, random: &mut StdRng) -> u64 {
    // In this order: two that want each other's rows would wait for the deadlock detector.
    let mut items: Vec<i64> = (0..random.random_range(1..=3))
        .map(|_| random.random_range(1..=ITEMS))
        .collect();
    items.sort_unstable();
    items.dedup();
    let undone = random.random_bool(0.1);
    let mut sql = String::from("begin;");
    for item in &items {
        sql += &format!("update shop.item set version = version + 1 where item = {item};");
    }
    sql += if undone { "rollback" } else { "commit" };
    client.batch_execute(&sql).await.expect("a change");
    if undone { 0 } else { items.len() as u64 }
}

/// The event of an item's version, by a name of its own.
pub fn event(item: i64, version: i64) -> String {
    format!("{item}.{version}")
}

/// What was committed, and the version of each item.
pub async fn truth(db: &Database) -> (Truth, BTreeMap<i64, i64>) {
    let rows = db.superuser().await;
    let rows = rows.query("select item, version, shelf from shop.item", &[]);
    let (mut truth, mut versions) = (Truth::new(), BTreeMap::new());
    for row in rows.await.expect("the shop") {
        let (item, last, shelf): (i64, i64, String) = (row.get(0), row.get(1), row.get(2));
        versions.insert(item, last);
        for version in 1..=last {
            truth.insert(event(item, version), [shelf.clone()].into());
        }
    }
    (truth, versions)
}
