//! Triggers that tell, or call what schema `rowcast` offers, and belong to no attachment: what the
//! files make by their own `create trigger`, and what nobody's file explains.
//! Hands its findings over to `apply`, `status` and `triggers`.
//! It must never touch a trigger whose function no file makes.

use super::super::{Failure, one_line};
use super::drift::{State, Status};
use super::files::{File, explain};
use crate::database::Patience;
use tokio_postgres::{Client, Row};

const BY_HAND: &str = include_str!("by_hand.sql");

/// One of them.
#[derive(Debug)]
pub struct Trigger {
    relation: String,
    name: String,
    function: String,
    operations: String,
    /// Its function is one of schema `rowcast`.
    ours: bool,
    /// Its function is one that the files create.
    pub known: bool,
    /// Its function is one that schema `rowcast` offers for triggers by hand.
    offered: bool,
    enabled: bool,
    /// The statement that drops it.
    drop: String,
}

/// All that there are; those of the application's tables come before those that fire at commit.
///
/// # Errors
/// The database.
pub async fn all(client: &Client, files: &[File]) -> Result<Vec<Trigger>, Failure> {
    let functions: Vec<&str> = files.iter().flat_map(File::functions).collect();
    let trigger = |row: &Row| Trigger {
        relation: row.get("relation"),
        name: row.get("trigger"),
        function: row.get("function"),
        operations: row.get("operations"),
        ours: row.get("ours"),
        known: row.get("known"),
        offered: row.get("offered"),
        enabled: row.get("enabled"),
        drop: row.get("drop"),
    };
    let rows = client.query(BY_HAND, &[&functions]).await?;
    Ok(rows.iter().map(trigger).collect())
}

impl Trigger {
    /// `shop.orders insert (trigger _900_told)`.
    pub fn what(&self) -> String {
        let Self {
            relation,
            operations,
            name,
            ..
        } = self;
        one_line(&format!("{relation} {operations} (trigger {name})"))
    }

    /// It is one that the files count on, and does not fire.
    pub fn is_off(&self) -> bool {
        (self.known || self.offered) && !self.enabled
    }

    /// Drops it.
    ///
    /// # Errors
    /// The database, or a lock that was never free.
    pub async fn drop(&self, client: &mut Client, patience: &Patience) -> Result<(), Failure> {
        let what = self.what();
        let done = patience.hold(client, &what, async |transaction| {
            transaction.batch_execute(&self.drop).await?;
            Ok(((), true))
        });
        Ok(done
            .await
            .map_err(|error| format!("{what}: {}", explain(&error)))?)
    }

    /// What there is to say about it, if anything.
    pub fn status(&self, without_files: bool) -> Option<Status> {
        let Self { name, function, .. } = self;
        let mut status = Status::new(&self.relation, &self.operations);
        if self.is_off() {
            status.find(State::Disabled, format!("trigger {name} is disabled"));
        } else if self.known || self.offered {
            return None;
        } else if self.ours {
            let left = "left behind by an attachment";
            status.find(
                State::Foreign,
                format!("trigger {name} calls {function}, {left}"),
            );
        } else {
            let state = if without_files {
                State::ByHand
            } else {
                State::Foreign
            };
            status.find(state, format!("trigger {name} calls {function}"));
        }
        Some(status)
    }
}
