//! The stage: a throwaway PostgreSQL, with a database for Rowcast and one for the others, tokens, and
//! the numbers that events have got so far.
//! Hands over writers. It must never be the database of anybody else.

use crate::Failure;
use crate::peers::{Origin, Server};
use crate::source::Writers;
use crate::yardstick::cluster;
use rowcast::command::postgres::{Cluster, Mode, SUPERUSER};
use rowcast::migrate;
use std::cell::Cell;
use tokio_postgres::Client;

/// Connections of one user: what limits.connections_per_user allows.
const PER_USER: usize = 100;

pub struct Stage {
    cluster: Cluster,
    tokens: Vec<String>,
    /// The number of the next event: each is used once in a run.
    next: Cell<u64>,
    /// Whether the database counts statements; it does only where that is asked for.
    pub counts_statements: bool,
}

impl Stage {
    pub async fn build(connections: usize) -> Result<Self, Failure> {
        let cluster = cluster::start(true).await?;
        let tokens =
            (0..connections.div_ceil(PER_USER)).map(|user| cluster::token(&format!("u{user}")));
        let stage = Self {
            tokens: tokens.collect::<Result<_, _>>()?,
            cluster,
            next: Cell::new(1),
            counts_statements: false,
        };
        stage.fill("rowcast", include_str!("rowcast.sql")).await?;
        stage.fill("others", include_str!("notify.sql")).await?;
        Ok(stage)
    }

    async fn fill(&self, database: &str, sql: &str) -> Result<(), Failure> {
        let mut owner = cluster::create(&self.cluster, database).await?;
        if database == "rowcast" {
            migrate::run(&mut owner).await?;
        }
        owner.batch_execute(include_str!("bench.sql")).await?;
        owner.batch_execute(sql).await?;
        Ok(())
    }

    async fn client(&self, database: &str) -> Result<Client, Failure> {
        cluster::connect(&self.cluster, database).await
    }

    /// Has the database count statements, where its packages can; it restarts for that.
    pub async fn count_statements(&mut self, count: bool) -> Result<(), Failure> {
        if count == self.counts_statements {
            return Ok(());
        }
        let client = self.client("rowcast").await?;
        let can = "select from pg_available_extensions where name = 'pg_stat_statements'";
        if client.query_opt(can, &[]).await?.is_none() {
            return Ok(());
        }
        let set = match count {
            true => "alter system set shared_preload_libraries = 'pg_stat_statements'",
            false => "alter system reset shared_preload_libraries",
        };
        client.batch_execute(set).await?;
        drop(client);
        self.cluster.stop(Mode::Fast).await?;
        self.cluster.start_again().await?;
        if count {
            let create = "create extension if not exists pg_stat_statements schema public";
            self.client("rowcast").await?.batch_execute(create).await?;
        }
        self.counts_statements = count;
        Ok(())
    }

    /// PostgreSQL's.
    pub async fn version(&self) -> Result<String, Failure> {
        cluster::version(&self.cluster).await
    }

    /// Forgets the rows of earlier measurements, while nobody listens.
    pub async fn clear(&self, server: &Server) -> Result<(), Failure> {
        let client = self.client_of(server).await?;
        Ok(client
            .batch_execute("truncate bench.event; checkpoint")
            .await?)
    }

    /// Which database a server listens to.
    fn database_of(server: &Server) -> &'static str {
        match server.origin {
            Origin::Rowcast => "rowcast",
            _ => "others",
        }
    }

    /// A superuser's connection to the database of a server.
    pub async fn client_of(&self, server: &Server) -> Result<Client, Failure> {
        self.client(Self::database_of(server)).await
    }

    /// So many connections that write what a server is to push.
    pub async fn writers(&self, server: &Server, count: usize) -> Result<Writers, Failure> {
        let mut clients = Vec::new();
        for _ in 0..count {
            clients.push(self.client_of(server).await?);
        }
        Writers::prepare(clients).await
    }

    /// The URL that a server is given: peers reach sockets of TCP only.
    pub fn url(&self, server: &Server) -> Result<String, Failure> {
        match server.origin {
            Origin::Rowcast => Ok(self.cluster.url("rowcast", "rowcast_service")),
            _ => {
                let url = self.cluster.tcp_url("others", SUPERUSER, None);
                url.ok_or_else(|| "no database over TCP".into())
            }
        }
    }

    /// The path of each connection.
    pub fn paths(&self, server: &Server, seats: &[u64]) -> Vec<String> {
        let path = |(number, room): (usize, &u64)| {
            let token = &self.tokens[number / PER_USER];
            let room = format!("r{room}");
            server
                .path
                .replace("{token}", token)
                .replace("{room}", &room)
        };
        seats.iter().enumerate().map(path).collect()
    }

    /// Takes the numbers of so many events.
    pub fn number(&self, count: u64) -> u64 {
        self.next.replace(self.next.get() + count)
    }
}
