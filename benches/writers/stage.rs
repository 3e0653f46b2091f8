//! The stage: a durable cluster, one database with a live service and one whose log has no doorbell,
//! and in each the same table once for each variant.
//! Hands over to whoever measures. It must never relax what makes a commit durable.

use crate::Failure;
use crate::yardstick::cluster::{self, PATIENCE, SECRET};
use crate::yardstick::machine::Machine;
use rowcast::app::{App, PartEnded, Socket};
use rowcast::command::postgres::{Cluster, SUPERUSER};
use rowcast::config::{RawSettings, Settings};
use rowcast::migrate;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

/// Who the subscriber is; nobody else's events reach it.
pub const PROBE: &str = "probe";

/// The same table for each variant: a key and two more indexes, as legacy tables have.
const TABLE: &str = "
create table shop.@ (
  order_id bigint generated always as identity primary key,
  user_id text not null,
  status text not null default 'new',
  amount numeric(10, 2) not null default 9.99,
  at timestamptz not null default clock_timestamp()
);
create index on shop.@ (user_id);
create index on shop.@ (status, at);
";

const ATTACHED: &str = "
select rowcast.attach('shop.@', 'insert', $$
  select 'order:created' as name, array['user:' || n.user_id] as rooms,
    json_build_object('orderId', n.order_id, 'at', n.at) as data
  from new_rows n
$$);
select rowcast.attach('shop.@', 'update', $$
  select 'order:status' as name, array['user:' || n.user_id] as rooms,
    json_build_object('orderId', n.order_id, 'status', n.status) as data
  from new_rows n
$$, 'lossy', null);
";

/// What people write by hand: a row trigger, the row's key and user as JSON.
const NOTIFYING: &str = "
create function shop.tell() returns trigger language plpgsql as $$
begin
  perform pg_notify('orders',
    json_build_object('orderId', new.order_id, 'userId', new.user_id, 'at', new.at)::text);
  return null;
end $$;
create trigger tell after insert or update on shop.notify for each row execute function shop.tell();
";

/// The least that keeps an event: a row of the same columns in one plain table that nobody reads. What
/// the application sees when it fails, how long it is kept and who is to be woken is nobody's.
const KEEPING: &str = "
create table shop.kept (
  id bigint generated always as identity primary key,
  xid xid8 not null default pg_current_xact_id(),
  at timestamptz not null default clock_timestamp(),
  channel text not null,
  name text not null,
  rooms text[] not null,
  data json
);
create index on shop.kept (xid);
create function shop.keep() returns trigger language plpgsql as $$
begin
  insert into shop.kept (channel, name, rooms, data)
  select 'shop.least', 'order:created', array['user:' || n.user_id],
    json_build_object('orderId', n.order_id, 'at', n.at) from new_rows n;
  return null;
end $$;
create trigger keep after insert on shop.least
  referencing new table as new_rows for each statement execute function shop.keep();
";

/// What one must not do: a write in a subtransaction for each statement.
const WRONG: &str = "
create function shop.log_in_a_block() returns trigger language plpgsql security definer as $$
begin
  begin
    insert into rowcast.event (channel, name, rooms, data)
    select 'shop.wrong', 'order:created', array['user:' || n.user_id],
      json_build_object('orderId', n.order_id) from new_rows n;
  exception when others then null;
  end;
  return null;
end $$;
create trigger log_in_a_block after insert on shop.wrong
  referencing new table as new_rows for each statement execute function shop.log_in_a_block();
";

const RULES: &str = "
create function shop.home_rooms(claims jsonb) returns text[] language sql stable
  as $$ select array['user:' || (claims ->> 'sub')] $$;
insert into rowcast.home_rule values ('shop.home_rooms(jsonb)');
";

/// Everything that a measurement needs.
pub struct Stage {
    /// `127.0.0.1:port` of the service.
    pub address: String,
    /// A token of [`PROBE`].
    pub token: String,
    cluster: Cluster,
    listener: JoinHandle<()>,
    stop: oneshot::Sender<()>,
    service: JoinHandle<Result<(), PartEnded>>,
}

/// The database with the service, and the one without a doorbell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    Served,
    Silent,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Place::Served => "served",
            Place::Silent => "silent",
        }
    }
}

impl Stage {
    pub async fn build() -> Result<Self, Failure> {
        let cluster = cluster::start(false).await?;
        for place in [Place::Served, Place::Silent] {
            fill(&cluster, place).await?;
        }
        let listener = listen_to_orders(&cluster).await?;
        let (address, stop, service) = serve(&cluster).await?;
        let token = cluster::token(PROBE)?;
        Ok(Self {
            address,
            token,
            cluster,
            listener,
            stop,
            service,
        })
    }

    pub fn url(&self, place: Place) -> String {
        self.cluster.url(place.name(), SUPERUSER)
    }

    pub async fn client(&self, place: Place) -> Result<Client, Failure> {
        cluster::connect(&self.cluster, place.name()).await
    }

    /// Has every flush take so much longer: whoever flushes sleeps first, with the lock that all the others
    /// wait for; those who come meanwhile are flushed with it.
    pub async fn delay_flushes(&self, micros: u32) -> Result<(), Failure> {
        let client = self.client(Place::Served).await?;
        for sql in [
            format!("alter system set commit_delay = {micros}"),
            "alter system set commit_siblings = 0".to_owned(),
            "select pg_reload_conf()".to_owned(),
        ] {
            client.batch_execute(&sql).await?;
        }
        Ok(())
    }

    /// pgbench lies beside the server's programs, or is missing.
    pub fn pgbench(&self) -> Result<PathBuf, Failure> {
        let program = self.cluster.bin_dir().join("pgbench");
        if program.exists() {
            return Ok(program);
        }
        let path = program.display();
        Err(format!(
            "{path} is missing; install it: Debian and Homebrew have it in postgresql, Fedora in \
             postgresql-contrib"
        )
        .into())
    }

    /// Machine, PostgreSQL, and how long the disk takes.
    pub async fn describe(&self) -> Result<String, Failure> {
        let machine = Machine::look()?;
        let version = cluster::version(&self.cluster).await?;
        Ok(format!(
            "{} cores ({}), PostgreSQL {version}, 8 kB to disk in {:.2} ms",
            machine.cores, machine.cpu, machine.disk_ms
        ))
    }

    pub async fn end(self) {
        drop(self.stop);
        self.listener.abort();
        let _ = tokio::time::timeout(PATIENCE, self.service).await;
    }
}

async fn fill(cluster: &Cluster, place: Place) -> Result<(), Failure> {
    let mut owner = cluster::create(cluster, place.name()).await?;
    migrate::run(&mut owner).await?;
    let mut sql = String::from(
        "create schema shop; grant usage on schema shop to rowcast_owner;
        alter role rowcast_service login;",
    );
    for table in ["none", "notify", "least", "rowcast", "wrong", "neighbour"] {
        sql += &TABLE.replace('@', table);
    }
    sql += NOTIFYING;
    sql += KEEPING;
    sql += WRONG;
    sql += RULES;
    sql += "grant usage on schema shop to rowcast_service;";
    sql += &ATTACHED.replace('@', "rowcast");
    if place == Place::Silent {
        sql += "alter table rowcast.event disable trigger user;";
    }
    owner.batch_execute(&sql).await?;
    Ok(())
}

/// Hand-written notifications have a reader too, or they would cost less than they do.
async fn listen_to_orders(cluster: &Cluster) -> Result<JoinHandle<()>, Failure> {
    let url = cluster.url(Place::Served.name(), SUPERUSER);
    let (client, mut connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
    let reading = tokio::spawn(async move {
        while let Some(Ok(_)) =
            std::future::poll_fn(|context| connection.poll_message(context)).await
        {}
    });
    client.batch_execute("listen orders").await?;
    Ok(tokio::spawn(async move {
        // The connection ends with its client.
        let _client = client;
        let _ = reading.await;
    }))
}

type Service = (
    String,
    oneshot::Sender<()>,
    JoinHandle<Result<(), PartEnded>>,
);

/// A service as it comes, with its defaults.
async fn serve(cluster: &Cluster) -> Result<Service, Failure> {
    let url = cluster.url(Place::Served.name(), "rowcast_service");
    let overrides = [
        ("database.url", url.as_str()),
        ("auth.hs256_secret", SECRET),
        ("http.listen", "127.0.0.1:0"),
        ("http.drain_ms", "1000"),
        ("http.spread_ms", "100"),
    ];
    let overrides = overrides.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let settings = Settings::check(RawSettings::load(None, std::iter::empty(), &overrides)?)?;
    let socket = Socket::bind(&settings.http.listen).await?;
    let address = socket.address();
    let app = App::open(settings, socket).await?;
    let gate = std::sync::Arc::clone(&app.gate);
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(app.run(async {
        let _ = stopped.await;
    }));
    let deadline = Instant::now() + PATIENCE;
    while let Err(trouble) = gate.pulse.check(&gate.settings.listener) {
        if Instant::now() > deadline {
            return Err(format!("the service is not ready: {trouble}").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok((address, stop, task))
}
