//! What the database has, beside what the files want: attachments, triggers on every leaf, and the
//! source of their functions. Hands its findings over to `status`, which prints them.
//! It must never take a lock that a writer could wait for.

use super::super::Failure;
use super::files::{Attach, explain};
use std::fmt;
use tokio_postgres::{Client, Error, Row, Transaction};

const LEAVES: &str = include_str!("leaves.sql");

const ATTACHED: &str = "select mode, query, function_name, reset_above from rowcast.attached \
    where relation::oid = $1 and operation = $2";

const IN_DATABASE: &str = "select a.relation::oid, a.operation, a.query, a.mode, \
    case when c.oid is null then 'oid ' || a.relation::oid::text \
    else format('%I.%I', n.nspname, c.relname) end, c.oid is not null, a.reset_above \
    from rowcast.attached a left join pg_class c on c.oid = a.relation \
    left join pg_namespace n on n.oid = c.relnamespace order by 5, 2";

/// The function as it is; whether it runs as its author, with a safe path, for the right owner; and
/// who could forge events by it.
const FUNCTION: &str = "select prosrc, prosecdef and proowner = 'rowcast_owner'::regrole \
    and coalesce('search_path=pg_catalog, pg_temp' = any (proconfig), false), \
    (select string_agg(distinct case when grantee = 0 then 'public' else grantee::regrole::text end, \
      ', ') from aclexplode(coalesce(proacl, acldefault('f', proowner))) \
      where grantee = 0 or not pg_has_role(grantee, 'rowcast_owner', 'member')) \
    from pg_proc where oid = to_regprocedure($1 || '()')";

/// The function as `rowcast.attach` would make it: with temporary tables, in a transaction that is
/// rolled back.
const EXPECTED: &str = "select rowcast.trigger_source(c.oid, $2, $3, $4, $5, \
    rowcast.check_query(c.oid, $2, $3), c.relname::text, \
    rowcast.trigger_function_name(c.oid, $2)), rowcast.trigger_function_name(c.oid, $2) \
    from pg_class c where c.oid = $1";

/// In the order of how much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Ok,
    /// Hand-written, and there are no files to compare it with.
    ByHand,
    /// In the database, in no file.
    Foreign,
    Disabled,
    Changed,
    Missing,
    /// The query does not work any more.
    Broken,
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Ok => "ok",
            Self::ByHand => "by hand",
            Self::Foreign => "foreign",
            Self::Disabled => "disabled",
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Broken => "broken",
        })
    }
}

/// One line of `triggers status`.
#[derive(Debug)]
pub struct Status {
    pub table: String,
    pub operation: String,
    pub state: State,
    /// Why, and what else is to be known.
    pub notes: Vec<String>,
    /// Whether `rowcast.attached` knows it.
    pub attached: bool,
}

impl Status {
    pub fn new(table: &str, operation: &str) -> Self {
        let (table, operation) = (table.to_owned(), operation.to_owned());
        Self {
            table,
            operation,
            state: State::Ok,
            notes: Vec::new(),
            attached: false,
        }
    }

    pub fn find(&mut self, state: State, note: impl Into<String>) {
        self.state = self.state.max(state);
        self.notes.push(note.into());
    }

    pub fn is_drift(&self) -> bool {
        !matches!(self.state, State::Ok | State::ByHand)
    }

    /// The notes as the end of a sentence.
    pub fn remarks(&self) -> String {
        let notes = self.notes.join("; ");
        if notes.is_empty() {
            notes
        } else {
            format!(" ({notes})")
        }
    }
}

/// What is attached, as if a file said so.
///
/// # Errors
/// The database.
pub async fn in_database(client: &Client) -> Result<Vec<Attach>, Failure> {
    let attach = |row: &Row| Attach {
        place: "rowcast.attached".to_owned(),
        oid: row.get::<_, bool>(5).then(|| row.get(0)),
        table: row.get(4),
        operation: row.get(1),
        query: row.get(2),
        mode: row.get(3),
        reset_above: row.get(6),
    };
    Ok(client
        .query(IN_DATABASE, &[])
        .await?
        .iter()
        .map(attach)
        .collect())
}

/// Compares one attachment with the database.
///
/// # Errors
/// The database.
pub async fn inspect(client: &mut Client, attach: &Attach) -> Result<Status, Failure> {
    let mut status = Status::new(&attach.table, &attach.operation);
    let Some(oid) = attach.oid else {
        status.find(State::Missing, "there is no such table");
        return Ok(status);
    };
    let mut transaction = client.transaction().await?;
    transaction
        .batch_execute("set local lock_timeout = '2s'")
        .await?;
    let known = transaction
        .query_opt(ATTACHED, &[&oid, &attach.operation])
        .await?;
    let expected = expected(&mut transaction, oid, attach).await?;
    if let Err(error) = &expected {
        status.find(State::Broken, explain(error));
    }
    match known {
        None => status.find(
            State::Missing,
            format!("not attached as {} has it", attach.place),
        ),
        Some(row) => {
            status.attached = true;
            for (what, same) in [
                ("mode", attach.mode == row.get::<_, &str>(0)),
                ("query", attach.query == row.get::<_, &str>(1)),
                ("reset_above", attach.reset_above == row.get(3)),
            ] {
                if !same {
                    let note = format!("{what} differs from {}", attach.place);
                    status.find(State::Changed, note);
                }
            }
            let name: String = row.get(2);
            compare_function(&transaction, &mut status, &name, expected.ok()).await?;
            let leaves = transaction
                .query(LEAVES, &[&oid, &attach.operation, &name])
                .await?;
            compare_triggers(&mut status, &leaves);
        }
    }
    transaction.rollback().await?;
    Ok(status)
}

/// Source and name of the function that belongs to a query, or why there can't be one.
async fn expected(
    transaction: &mut Transaction<'_>,
    oid: u32,
    attach: &Attach,
) -> Result<Result<(String, String), Error>, Failure> {
    let attempt = transaction.savepoint("expected").await?;
    let row = attempt.query_one(EXPECTED, &attach.parameters(&oid)).await;
    attempt.rollback().await?;
    Ok(row.map(|row| (row.get(0), row.get(1))))
}

async fn compare_function(
    transaction: &Transaction<'_>,
    status: &mut Status,
    name: &str,
    expected: Option<(String, String)>,
) -> Result<(), Failure> {
    let Some(function) = transaction.query_opt(FUNCTION, &[&name]).await? else {
        status.find(State::Missing, format!("there is no function {name}"));
        return Ok(());
    };
    if !function.get::<_, bool>(1) {
        status.find(
            State::Changed,
            format!("{name} has another owner or other settings"),
        );
    }
    if let Some(whoever) = function.get::<_, Option<&str>>(2) {
        status.find(
            State::Changed,
            format!("{name} may be executed by {whoever}, who could forge events"),
        );
    }
    let Some((source, expected_name)) = expected else {
        return Ok(());
    };
    if name != expected_name {
        status.find(
            State::Changed,
            format!("{name} is another attachment's too: apply gives it one of its own"),
        );
    } else if status.state == State::Ok && body(&source) != Some(function.get(0)) {
        // Where mode or query differ, so does the source, and nothing more is to be said.
        status.find(
            State::Changed,
            format!(
                "{name} was edited, or made by another version, for other types of columns or under \
                 another name of the table: apply makes it anew"
            ),
        );
    }
    Ok(())
}

/// What `create function` stores of the text it is given.
fn body(source: &str) -> Option<&str> {
    let (_, rest) = source.split_once("$body$")?;
    Some(rest.rsplit_once("$body$")?.0)
}

fn compare_triggers(status: &mut Status, leaves: &[Row]) {
    let (mut missing, mut changed, mut disabled, mut unkeyed) = (vec![], vec![], vec![], vec![]);
    let (mut left_behind, mut elsewhere) = (vec![], vec![]);
    for leaf in leaves {
        let relation: &str = leaf.get("relation");
        let is = |column| leaf.get::<_, Option<bool>>(column).unwrap_or(false);
        if is("left_behind") {
            left_behind.push(relation);
            continue;
        }
        if is("elsewhere") {
            elsewhere.push(relation);
            continue;
        }
        if !is("present") || !is("ours") {
            missing.push(relation);
        } else if !is("sound") {
            changed.push(relation);
        } else if !is("enabled") {
            disabled.push(relation);
        }
        if !is("keyed") {
            unkeyed.push(relation);
        }
    }
    let operation = status.operation.clone();
    let edited = format!(": drop trigger _900_rowcast_{operation}, then apply");
    let foreign = " is foreign, so that writes through its parent fail";
    for (state, before, tables, behind) in [
        (State::Broken, "", elsewhere, foreign),
        (State::Changed, "left behind on ", left_behind, ""),
        (State::Missing, "missing on ", missing, ""),
        (
            State::Changed,
            "the trigger was edited on ",
            changed,
            &edited,
        ),
        (State::Disabled, "disabled on ", disabled, ""),
    ] {
        if !tables.is_empty() {
            status.find(state, format!("{before}{}{behind}", listed(&tables)));
        }
    }
    if !unkeyed.is_empty() && matches!(&*operation, "update" | "delete") {
        let note = format!("no primary key on {}", listed(&unkeyed));
        status.notes.push(note);
    }
}

/// A thousand partitions make no line that anybody reads.
fn listed(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    let more = names.len().saturating_sub(SHOWN);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 {
        shown
    } else {
        format!("{shown} and {more} more")
    }
}

/// What is attached and not wanted.
///
/// # Errors
/// The database.
pub async fn foreign(client: &Client, wanted: &[Attach]) -> Result<Vec<Status>, Failure> {
    let mut found = Vec::new();
    for attach in in_database(client).await? {
        if !wanted.iter().any(|other| other.is_of(&attach)) {
            let mut status = Status::new(&attach.table, &attach.operation);
            let number = attach.table.trim_start_matches("oid ");
            status.find(
                State::Foreign,
                match attach.oid {
                    Some(_) => "attached, in no file".to_owned(),
                    None => format!("table dropped; select rowcast.detach({number}) forgets it"),
                },
            );
            found.push(status);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_what_stands_between_the_outer_tags() {
        assert_eq!(body("create as $body$\nbegin\n$body$\n"), Some("\nbegin\n"));
        assert_eq!(body("$body$ a $body$ b $body$"), Some(" a $body$ b "));
        assert_eq!(body("nothing"), None);
    }

    #[test]
    fn the_worst_state_wins_and_long_lists_end() {
        let mut status = Status::new("a", "insert");
        status.find(State::Missing, "x");
        status.find(State::Disabled, "y");
        assert_eq!(
            (status.state, status.remarks().as_str()),
            (State::Missing, " (x; y)")
        );
        assert_eq!(listed(&["a"; 5]), "a, a, a, a, a");
        assert_eq!(listed(&["a"; 7]), "a, a, a, a, a and 2 more");
    }
}
