//! The legacy application: its tables, and writers that keep a ledger of what became of each of
//! their transactions. Hands the ledger over to the rig, which compares it with the tables.
//! It must never call a transaction committed that was not answered so, nor one undone whose COMMIT
//! was sent: that one is lost until somebody looks whether its rows are there.

use crate::support::reconcile::Truth;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_postgres::Client;

/// Rows that writers quarrel over, each heard by these rooms.
pub const ACCOUNTS: [&[&str]; 10] = [
    &["open:1"],
    &["open:2"],
    &["open:3"],
    &["staff:1"],
    &["open:1", "staff:1"],
    &["user:3"],
    &["user:5", "open:2"],
    &["*"],
    &["open:1", "open:2", "open:3"],
    &["staff:1", "user:5"],
];

/// Who hears how many entries of accounts there are, of those whose number leaves this remainder.
pub const TALLIES: [&[&str]; 5] = [
    &["open:1"],
    &["open:2", "user:5"],
    &["staff:1", "open:3"],
    &["user:3"],
    &["*"],
];

/// Two tables, each with a trigger, and rules of who may hear what. Every entry has a number of
/// its own, so the table tells which transactions were committed.
pub fn schema() -> String {
    let accounts: Vec<String> = ACCOUNTS
        .iter()
        .enumerate()
        .map(|(account, rooms)| format!("({account}, 0, '{{{}}}')", rooms.join(",")))
        .collect();
    let tallies: Vec<String> = TALLIES
        .iter()
        .enumerate()
        .map(|(tally, rooms)| format!("({tally}, '{{{}}}'::text[])", rooms.join(",")))
        .collect();
    format!(
        "create schema app; grant usage on schema app to rowcast_owner, lab_app; \
         create table app.account (account bigint primary key, version bigint not null, \
           rooms text[] not null) with (fillfactor = 50); \
         create table app.entry (number bigint primary key, account bigint, version bigint, \
           rooms text[] not null, xid xid8 not null default pg_current_xact_id()); \
         create table app.filler (id bigint primary key, \
           xid xid8 not null default pg_current_xact_id()); \
         create table app.marker (shown boolean not null); \
         insert into app.account values {}; \
         grant select, insert, update on app.account, app.entry to lab_app; \
         grant select on app.marker to lab_app; \
         grant select on app.entry to rowcast_owner; \
         create function app.tallies(p_keys jsonb[]) returns table (key jsonb, data json) \
           language sql stable as $$ \
             select k, json_build_object('tally', k -> 'tally', 'entries', c.entries) \
             from unnest(p_keys) k join (select number % {count} as tally, count(*) as entries \
               from app.entry where account is not null group by 1) c on c.tally = (k ->> 'tally')::bigint $$; \
         select rowcast.attach('app.account', 'update', $$ select 'account' as name, n.rooms, \
           json_build_object('event', format('account %s.%s', n.account, n.version), \
             'row', n.account, 'version', n.version) as data from new_rows n $$); \
         select rowcast.attach('app.entry', 'insert', $$ select 'entry' as name, n.rooms, \
           json_build_object('event', 'entry ' || n.number) as data, null as render from new_rows n \
           union all select 'tally', t.rooms, json_build_object('tally', t.tally), 'app.tallies' \
           from (values {tallies}) t (tally, rooms) \
           where t.tally in (select n.number % {count} from new_rows n \
             where n.account is not null) $$); \
         create function app.may_join(claims jsonb, room text) returns boolean language sql stable \
           as $$ select room like 'open:%' \
             or (room like 'staff:%' and coalesce(claims ->> 'role' = 'staff', false)) \
             or room = 'user:' || (claims ->> 'sub') $$; \
         create function app.nobody(claims jsonb, room text) returns boolean language sql stable \
           as 'select false'; \
         insert into rowcast.room_rule values ('open:*', 'app.may_join(jsonb,text)'), \
           ('staff:*', 'app.may_join(jsonb,text)'), ('user:*', 'app.may_join(jsonb,text)');",
        accounts.join(", "),
        count = TALLIES.len(),
        tallies = tallies.join(", ")
    )
}

/// Whether somebody of these rooms, without those that were lost, hears of a tally.
pub fn hears_tally(tally: i64, rooms: &BTreeSet<String>, lost: &BTreeSet<String>) -> bool {
    let place = usize::try_from(tally).expect("a remainder");
    let mut theirs = TALLIES[place].iter();
    theirs.any(|room| rooms.contains(*room) && !lost.contains(*room))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Committed,
    /// Rolled back, or ended before COMMIT was sent.
    Undone,
    /// COMMIT was sent, and no answer came.
    Lost,
}

/// One transaction from its writer's side.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// Entries that exist if it was committed.
    pub numbers: Vec<i64>,
    /// When COMMIT was sent.
    pub sent: Option<Instant>,
    pub settled: Instant,
    pub outcome: Outcome,
}

/// What all writers did.
#[derive(Default)]
pub struct Ledger {
    transactions: Mutex<Vec<Transaction>>,
    sent: Notify,
    committing: AtomicI64,
    numbers: AtomicI64,
    /// Pauses of the writers, in microseconds at most.
    pub pace: AtomicU64,
    pub closed: AtomicBool,
}

/// A transaction that has not been settled yet.
pub struct Open<'a> {
    ledger: &'a Ledger,
    numbers: Vec<i64>,
    sent: Option<Instant>,
}

impl Ledger {
    pub fn begin(&self) -> Open<'_> {
        Open {
            ledger: self,
            numbers: Vec::new(),
            sent: None,
        }
    }

    /// Numbers that nobody else gets; the first of them.
    pub fn draw(&self, count: i64) -> i64 {
        self.numbers.fetch_add(count, Ordering::Relaxed)
    }

    /// Ends when a COMMIT has been sent, and was not answered yet.
    pub async fn commit_sent(&self) {
        loop {
            let sent = self.sent.notified();
            if self.committing.load(Ordering::SeqCst) > 0 {
                return;
            }
            sent.await;
        }
    }

    /// How many transactions have sent COMMIT and got no answer for good.
    pub fn lost(&self) -> usize {
        let transactions = self.transactions.lock();
        let lost = transactions.iter().filter(|t| t.outcome == Outcome::Lost);
        lost.count()
    }

    pub fn transactions(&self) -> Vec<Transaction> {
        self.transactions.lock().clone()
    }
}

impl Open<'_> {
    pub fn holds(&mut self, number: i64) {
        self.numbers.push(number);
    }

    pub fn sends_commit(&mut self) {
        self.sent = Some(Instant::now());
        self.ledger.committing.fetch_add(1, Ordering::SeqCst);
        self.ledger.sent.notify_waiters();
    }

    pub fn settle(self, outcome: Outcome) {
        let transaction = Transaction {
            numbers: self.numbers,
            sent: self.sent,
            settled: Instant::now(),
            outcome,
        };
        let mut transactions = self.ledger.transactions.lock();
        if transaction.sent.is_some() {
            self.ledger.committing.fetch_sub(1, Ordering::SeqCst);
        }
        transactions.push(transaction);
    }

    /// What became of it: the answer to its last statement, which was COMMIT if one was sent.
    pub fn settle_by(self, answer: &Result<(), tokio_postgres::Error>) {
        let outcome = match (answer, self.sent) {
            (Ok(()), Some(_)) => Outcome::Committed,
            // An error too: who knows whether the server ended before or behind the commit.
            (Err(_), Some(_)) => Outcome::Lost,
            (_, None) => Outcome::Undone,
        };
        self.settle(outcome);
    }
}

/// A connection, however long the database is away; none once the ledger is closed.
pub async fn connected(url: &str, ledger: &Ledger) -> Option<Client> {
    loop {
        if ledger.closed.load(Ordering::Relaxed) {
            return None;
        }
        let patience = Duration::from_secs(2);
        match rowcast::database::connect_and_drive(url, patience).await {
            Ok(client) => return Some(client),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// One writer: transactions of one to four entries, some of them on several accounts, some undone
/// in part or wholly, all overlapping with those of the others.
pub async fn write(url: String, ledger: Arc<Ledger>, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    while let Some(client) = connected(&url, &ledger).await {
        while !ledger.closed.load(Ordering::Relaxed) && !client.is_closed() {
            let mut open = ledger.begin();
            let answer = transact(&client, &ledger, &mut open, &mut random).await;
            open.settle_by(&answer);
            pause(&ledger, &mut random).await;
        }
    }
}

/// Not waiting for anything: a pace that leaves the machine room for those who read.
async fn pause(ledger: &Ledger, random: &mut StdRng) {
    let most = ledger.pace.load(Ordering::Relaxed).max(1);
    tokio::time::sleep(Duration::from_micros(random.random_range(0..most))).await;
}

async fn transact(
    client: &Client,
    ledger: &Ledger,
    open: &mut Open<'_>,
    random: &mut StdRng,
) -> Result<(), tokio_postgres::Error> {
    client.batch_execute("begin").await?;
    // In this order: two that want each other's rows would wait for the deadlock detector.
    let mut accounts: Vec<usize> = (0..random.random_range(1..=3))
        .map(|_| random.random_range(0..ACCOUNTS.len()))
        .collect();
    accounts.sort_unstable();
    for account in accounts {
        let number = ledger.draw(1);
        let entry = entry(number, account, random);
        if random.random_bool(0.15) {
            let undone = format!("savepoint s; {entry}; rollback to s");
            client.batch_execute(&undone).await?;
        } else {
            open.holds(number);
            client.batch_execute(&entry).await?;
        }
        pause(ledger, random).await;
    }
    if random.random_bool(0.1) {
        return client.batch_execute("rollback").await;
    }
    open.sends_commit();
    client.batch_execute("commit").await
}

/// An entry for the next version of an account, heard by rooms of its own.
fn entry(number: i64, account: usize, random: &mut StdRng) -> String {
    let rooms = ACCOUNTS[random.random_range(0..ACCOUNTS.len())].join(",");
    format!(
        "with moved as (update app.account set version = version + 1 where account = {account} \
           returning account, version) \
         insert into app.entry (number, account, version, rooms) \
           select {number}, account, version, '{{{rooms}}}' from moved"
    )
}

/// The entries that are there.
pub struct Entries {
    pub numbers: BTreeSet<i64>,
    pub truth: Truth,
    /// The version of each account.
    pub rows: BTreeMap<i64, i64>,
    /// How many entries of accounts there are, by their remainder.
    pub tallies: BTreeMap<i64, i64>,
    /// The number of the entry that each event was committed with.
    pub with: BTreeMap<String, i64>,
    /// The marker was committed before: whoever reads this is not going to hear it.
    pub marked: bool,
}

/// Reads the tables and the bookmark in one statement, as a page does.
pub async fn page(client: &Client) -> Result<(String, Entries), tokio_postgres::Error> {
    // Text, whose protocol needs no plan and no types: these rows are many.
    let sql = "select rowcast.bookmark(), null, (select string_agg(shown::text, '') from app.marker), \
                 null, null union all \
               select null, number::text, account::text, version::text, rooms::text from app.entry";
    let mut entries = Entries {
        numbers: BTreeSet::new(),
        truth: Truth::new(),
        rows: BTreeMap::new(),
        tallies: BTreeMap::new(),
        with: BTreeMap::new(),
        marked: false,
    };
    let mut bookmark = String::new();
    for message in client.simple_query(sql).await? {
        let tokio_postgres::SimpleQueryMessage::Row(row) = message else {
            continue;
        };
        let Some(number) = row.get(1) else {
            bookmark = row.get(0).expect("a bookmark").to_owned();
            entries.marked = row.get(2).is_some();
            continue;
        };
        let rooms = row.get(4).expect("rooms").trim_matches(['{', '}']);
        let rooms = rooms
            .split(',')
            .map(|room| room.trim_matches('"').to_owned());
        entries
            .truth
            .insert(format!("entry {number}"), rooms.collect());
        let with: i64 = number.parse().expect("a number");
        entries.numbers.insert(with);
        entries.with.insert(format!("entry {number}"), with);
        if row.get(2).is_some() {
            let tally = with % TALLIES.len() as i64;
            *entries.tallies.entry(tally).or_default() += 1;
        }
        if let (Some(account), Some(version)) = (row.get(2), row.get(3)) {
            let place: usize = account.parse().expect("an account");
            let rooms = ACCOUNTS[place].iter().map(|room| (*room).to_owned());
            entries
                .truth
                .insert(format!("account {account}.{version}"), rooms.collect());
            entries
                .with
                .insert(format!("account {account}.{version}"), with);
            let version: i64 = version.parse().expect("a version");
            let newest = entries
                .rows
                .entry(account.parse().expect("a number"))
                .or_default();
            *newest = version.max(*newest);
        }
    }
    Ok((bookmark, entries))
}

/// What the ledger and the tables say of each other.
pub fn audit(transactions: &[Transaction], there: &BTreeSet<i64>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut known: BTreeSet<i64> = BTreeSet::new();
    for transaction in transactions {
        known.extend(&transaction.numbers);
        let kept = transaction
            .numbers
            .iter()
            .filter(|number| there.contains(number));
        let (kept, all) = (kept.count(), transaction.numbers.len());
        let right = match transaction.outcome {
            Outcome::Committed => kept == all,
            Outcome::Undone => kept == 0,
            Outcome::Lost => kept == 0 || kept == all,
        };
        if !right {
            wrong.push(format!(
                "{kept} of {all} entries are there of {transaction:?}"
            ));
        }
    }
    if let Some(number) = there.iter().find(|number| !known.contains(number)) {
        wrong.push(format!("entry {number} is in nobody's ledger"));
    }
    wrong
}
