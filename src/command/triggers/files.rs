//! A system's SQL files, and what they attach: the arguments of their `rowcast.attach` calls, which
//! the server evaluates without touching a table.
//! Hands over to `triggers` and `drift`. It must never run a statement of a file, but for those that
//! set its path, without which the names in it would be those of other tables.

use super::super::Failure;
use super::super::statements::{Call, Statement, split};
use super::{ask_theirs, begin_file, run_theirs};
use crate::database::describe_to_dba;
use std::path::Path;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error};

/// Every operation that a query can be attached to.
const OPERATIONS: [&str; 4] = ["insert", "update", "delete", "truncate"];

/// A file, split into statements.
#[derive(Debug)]
pub struct File {
    /// Its name within the directory.
    pub name: String,
    pub statements: Vec<Statement>,
}

/// The parameters of `rowcast.attach`, with what stands for one that a call leaves out.
const ATTACH: [(&str, &str); 5] = [
    ("p_table", "null"),
    ("p_operation", "null"),
    ("p_query", "null"),
    ("p_mode", "'lossy'"),
    ("p_reset_above", "10000"),
];

/// Those of `rowcast.detach`.
const DETACH: [(&str, &str); 2] = [("p_table", "null"), ("p_operation", "null")];

/// A call of `rowcast.attach` in a file (or, for `status` without files, in the database).
#[derive(Clone, Debug)]
pub struct Attach {
    /// `bookings.sql:12`.
    pub place: String,
    /// As the file has it.
    pub table: String,
    /// The table's oid; nothing if there is no such table.
    pub oid: Option<u32>,
    pub operation: String,
    pub query: String,
    pub mode: String,
    /// A statement with more events becomes one `reset` per room; none: never.
    pub reset_above: Option<i32>,
}

impl Attach {
    /// Whether it is on this table; the path of another file may make another one of the same name.
    fn is_on(&self, oid: Option<u32>, table: &str) -> bool {
        self.oid == oid && (oid.is_some() || self.table == table)
    }

    /// Whether both are of one table and operation: a table has one attachment for each.
    pub fn is_of(&self, other: &Self) -> bool {
        self.operation == other.operation && self.is_on(other.oid, &other.table)
    }

    /// What the functions in SQL behind `rowcast.attach` take, in their order: this table, and how.
    pub fn parameters<'a>(&'a self, oid: &'a u32) -> [&'a (dyn ToSql + Sync); 5] {
        [
            oid,
            &self.operation,
            &self.query,
            &self.mode,
            &self.reset_above,
        ]
    }
}

/// A call of `rowcast.detach` in a file.
#[derive(Debug)]
pub struct Detach {
    pub place: String,
    pub table: String,
    pub oid: Option<u32>,
    pub operations: Vec<String>,
}

/// What a file says about attachments.
#[derive(Debug)]
pub enum Order {
    Attach(Attach),
    Detach(Detach),
}

impl File {
    pub fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.name)
    }

    /// Names of the functions that it creates, as written.
    pub fn functions(&self) -> impl Iterator<Item = &str> {
        self.statements
            .iter()
            .filter_map(Statement::created_function)
    }

    /// Places of attach calls within something else, such as a `do` block.
    pub fn hidden_attaches(&self) -> impl Iterator<Item = String> {
        let hidden = |statement: &&Statement| {
            statement.text.contains("rowcast.attach(") && statement.call().is_none()
        };
        self.statements
            .iter()
            .filter(hidden)
            .map(|statement| self.place(statement.line))
    }
}

/// The `*.sql` files of a directory in the order in which they are applied.
///
/// # Errors
/// The directory, a file, a text that is never closed.
pub fn read(dir: &Path) -> Result<Vec<File>, Failure> {
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|error| failed(dir, error))? {
        let path = entry.map_err(|error| failed(dir, error))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if !name.ends_with(".sql") || name.starts_with('.') || !path.is_file() {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
        let statements = split(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        files.push(File {
            name: name.to_owned(),
            statements,
        });
    }
    if files.is_empty() {
        return Err(format!("{}: there is no *.sql file in it", dir.display()).into());
    }
    files.sort_by_key(|file| (rank(&file.name), file.name.clone()));
    Ok(files)
}

/// Where a file comes in the order: schema.sql first, access.sql last.
#[must_use]
pub fn rank(name: &str) -> u8 {
    match name {
        "schema.sql" => 0,
        "access.sql" => 2,
        _ => 1,
    }
}

/// What the files attach in the end: a later call replaces or removes an earlier one.
///
/// # Errors
/// The database, or arguments it can't evaluate.
pub async fn wanted(client: &Client, files: &[File]) -> Result<Vec<Attach>, Failure> {
    let mut wanted: Vec<Attach> = Vec::new();
    for file in files {
        begin_file(client).await?;
        for statement in &file.statements {
            match order(client, file, statement).await? {
                Some(Order::Attach(attach)) => {
                    wanted.retain(|earlier| !earlier.is_of(&attach));
                    wanted.push(attach);
                }
                Some(Order::Detach(detach)) => wanted.retain(|earlier| {
                    let gone = detach.operations.contains(&earlier.operation);
                    !(gone && earlier.is_on(detach.oid, &detach.table))
                }),
                None => {}
            }
        }
    }
    Ok(wanted)
}

/// What a statement says about attachments, if that is all it says. What it says about the path
/// holds for those after it.
///
/// # Errors
/// The database, or arguments it can't evaluate.
pub async fn order(
    client: &Client,
    file: &File,
    statement: &Statement,
) -> Result<Option<Order>, Failure> {
    let place = file.place(statement.line);
    if statement.sets_path() {
        let set = run_theirs(client, statement).await;
        set.map_err(|error| located(&place, statement, &error))?;
    }
    let Some(call) = statement.call() else {
        return Ok(None);
    };
    let parameters: &[(&str, &str)] = match call.function.as_str() {
        "attach" => &ATTACH,
        "detach" => &DETACH,
        _ => return Ok(None),
    };
    let sql = selecting(&call, parameters).map_err(|why| format!("{place}: {why}"))?;
    let row = ask_theirs(client, &sql, &[]).await;
    let row = row.map_err(|error| format!("{place}: {}", explain(&error)))?;
    let text = |index: usize| row.get::<_, Option<String>>(index);
    let given = |index, what| text(index).ok_or_else(|| format!("{place}: the {what} is null"));
    let table = given(0, "table")?;
    let oid = resolve(client, &table)
        .await
        .map_err(|error| format!("{place}: {error}"))?;
    if call.function == "detach" {
        let all = || OPERATIONS.map(str::to_owned).to_vec();
        let operations = text(1).map_or_else(all, |operation| vec![operation]);
        return Ok(Some(Order::Detach(Detach {
            place,
            table,
            oid,
            operations,
        })));
    }
    let (operation, query, mode) = (
        given(1, "operation")?,
        given(2, "query")?,
        given(3, "mode")?,
    );
    let number = |text: String| {
        text.parse()
            .map_err(|_| format!("{place}: {text}: no count"))
    };
    let reset_above = text(4).map(number).transpose()?;
    Ok(Some(Order::Attach(Attach {
        place,
        table,
        oid,
        operation,
        query,
        mode,
        reset_above,
    })))
}

/// A statement that evaluates the arguments in the order of the parameters.
fn selecting(call: &Call, parameters: &[(&str, &str)]) -> Result<String, String> {
    let absent = |(_, default): &(&str, &str)| format!("({default})::text");
    let mut columns: Vec<String> = parameters.iter().map(absent).collect();
    for (index, argument) in call.arguments.iter().enumerate() {
        let at = match &argument.name {
            Some(name) => parameters.iter().position(|(known, _)| known == name),
            None => (index < parameters.len()).then_some(index),
        };
        let at = at.ok_or_else(|| {
            let names: Vec<&str> = parameters.iter().map(|(name, _)| *name).collect();
            format!("rowcast.{} takes {}", call.function, names.join(", "))
        })?;
        columns[at] = format!("({})::text", argument.sql);
    }
    Ok(format!("select {}", columns.join(",\n")))
}

/// The oid of a table, without a lock on it.
///
/// # Errors
/// The database, or a text that can't be a table's name.
pub async fn resolve(client: &Client, table: &str) -> Result<Option<u32>, Failure> {
    let sql = "select pg_catalog.to_regclass($1::text)::oid";
    let row = ask_theirs(client, sql, &[&table]).await;
    Ok(row.map_err(|error| explain(&error))?.get(0))
}

/// An error of a statement with its place and all that the server said.
pub fn located(place: &str, statement: &Statement, error: &Error) -> String {
    let position = error.as_db_error().and_then(|db| match db.position() {
        Some(tokio_postgres::error::ErrorPosition::Original(position)) => Some(*position),
        _ => None,
    });
    let place = match (position, place.rsplit_once(':')) {
        (Some(position), Some((file, _))) => format!("{file}:{}", statement.line_of(position)),
        _ => place.to_owned(),
    };
    format!("{place}: {}", explain(error))
}

/// All that the server said.
pub fn explain(error: &Error) -> String {
    describe_to_dba(
        error,
        "`rowcast triggers` connects as a superuser, or as a member of rowcast_owner that inherits \
         its rights and owns the tables",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(sql: &str) -> Result<String, String> {
        let statements = split(sql).unwrap();
        selecting(&statements[0].call().unwrap(), &ATTACH)
    }

    #[test]
    fn arguments_find_their_parameters() {
        let sql = selected("select rowcast.attach('a', p_query => $$ x $$, p_operation := 'i')");
        assert_eq!(
            sql.unwrap(),
            "select ('a')::text,\n('i')::text,\n($$ x $$)::text,\n('lossy')::text,\n(10000)::text"
        );
        assert!(selected("select rowcast.attach('a', wrong => 1)").is_err());
        assert!(selected("select rowcast.attach(1, 2, 3, 4, 5, 6)").is_err());
    }

    #[test]
    fn schema_comes_first_and_access_last() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "b.sql",
            "access.sql",
            "a.sql",
            "zoo.sql",
            "schema.sql",
            "notes.md",
            ".x.sql",
        ] {
            std::fs::write(dir.path().join(name), "select 1;").unwrap();
        }
        let names: Vec<_> = read(dir.path())
            .unwrap()
            .into_iter()
            .map(|file| file.name)
            .collect();
        assert_eq!(
            names,
            ["schema.sql", "a.sql", "b.sql", "zoo.sql", "access.sql"]
        );
        let empty = tempfile::tempdir().unwrap();
        assert!(read(empty.path()).is_err());
        std::fs::write(empty.path().join("a.sql"), "select '").unwrap();
        let error = read(empty.path()).unwrap_err().to_string();
        assert!(
            error.contains("a.sql: line 1: a quoted text is never closed"),
            "{error}"
        );
    }
}
