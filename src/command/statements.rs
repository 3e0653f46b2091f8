//! SQL text as statements, by the rules of PostgreSQL's own scanner: quotes, dollar quotes, nested
//! comments, parentheses and `begin atomic` bodies. Hands over to `triggers`.
//! It must never understand more SQL than that: what a statement means is the server's business.

/// One statement of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Line of its first word, from 1.
    pub line: usize,
    /// Comments before it, as written.
    pub comment: String,
    /// From its first word to its last, without the semicolon.
    pub text: String,
}

/// Something was opened that the file never closes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what} is never closed")]
pub struct Unclosed {
    pub line: usize,
    pub what: &'static str,
}

/// A statement that is nothing but `select rowcast.attach(…)` or another function of `rowcast`.
#[derive(Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// Its name, without the schema.
    pub function: String,
    pub arguments: Vec<Argument<'a>>,
}

/// An argument as written, and its name if it was passed by name.
#[derive(Debug, PartialEq, Eq)]
pub struct Argument<'a> {
    pub name: Option<String>,
    pub sql: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Word,
    /// An identifier in double quotes.
    Quoted,
    Literal,
    Symbol,
    Comment,
}

#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    kind: Kind,
    start: usize,
    text: &'a str,
}

impl Token<'_> {
    fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Symbol) && self.text.eq_ignore_ascii_case(text)
    }

    fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// What it names, folded as PostgreSQL folds it.
    fn identifier(&self) -> Option<String> {
        match self.kind {
            Kind::Word => Some(self.text.to_ascii_lowercase()),
            Kind::Quoted => Some(self.text[1..self.text.len() - 1].replace("\"\"", "\"")),
            _ => None,
        }
    }
}

/// Splits a file at the semicolons between its statements.
///
/// # Errors
/// A quote or comment that is never closed.
pub fn split(sql: &str) -> Result<Vec<Statement>, Unclosed> {
    let mut statements = Vec::new();
    let mut comment_start = None;
    let mut words: Vec<Token> = Vec::new();
    let (mut parentheses, mut blocks) = (0_usize, 0_usize);
    for token in scan(sql)? {
        if token.kind == Kind::Comment {
            if words.is_empty() && comment_start.is_none() {
                comment_start = Some(token.start);
            }
            continue;
        }
        if token.is(";") && parentheses == 0 && blocks == 0 {
            statements.extend(statement(sql, comment_start.take(), &words));
            words.clear();
            continue;
        }
        if token.is("(") {
            parentheses += 1;
        } else if token.is(")") {
            parentheses = parentheses.saturating_sub(1);
        } else if parentheses == 0 && creates_routine(&words) {
            // As psql has it: a body in standard SQL holds semicolons of its own.
            if token.is("begin") || (blocks > 0 && token.is("case")) {
                blocks += 1;
            } else if token.is("end") {
                blocks = blocks.saturating_sub(1);
            }
        }
        words.push(token);
    }
    statements.extend(statement(sql, comment_start, &words));
    Ok(statements)
}

fn statement(sql: &str, comment: Option<usize>, words: &[Token]) -> Option<Statement> {
    let (first, last) = (words.first()?, words.last()?);
    Some(Statement {
        line: line_of(sql, first.start),
        comment: comment
            .map_or("", |start| sql[start..first.start].trim_end())
            .to_owned(),
        text: sql[first.start..last.end()].to_owned(),
    })
}

fn creates_routine(words: &[Token]) -> bool {
    let mut rest = words.iter();
    if !rest.next().is_some_and(|word| word.is("create")) {
        return false;
    }
    let kind = rest.find(|word| !word.is("or") && !word.is("replace"));
    kind.is_some_and(|word| word.is("function") || word.is("procedure"))
}

/// Line of a byte, from 1.
fn line_of(sql: &str, at: usize) -> usize {
    sql.as_bytes()[..at]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

impl Statement {
    /// Without comments; empty where it cannot be scanned by itself, which [`split`] has excluded.
    fn tokens(&self) -> Vec<Token<'_>> {
        let mut tokens = scan(&self.text).unwrap_or_default();
        tokens.retain(|token| token.kind != Kind::Comment);
        tokens
    }

    /// Its first words in lower case, as far as they are words.
    #[must_use]
    pub fn begins(&self, words: &[&str]) -> bool {
        let tokens = self.tokens();
        tokens.len() >= words.len() && tokens.iter().zip(words).all(|(token, word)| token.is(word))
    }

    /// Whether this word, or symbol, is anywhere in it.
    #[must_use]
    pub fn says(&self, word: &str) -> bool {
        self.tokens().iter().any(|token| token.is(word))
    }

    /// Whether it changes where this session looks for names from now on.
    #[must_use]
    pub fn sets_path(&self) -> bool {
        let ways: [&[&str]; 5] = [
            &["set", "search_path"],
            &["set", "session", "search_path"],
            &["set", "schema"],
            &["set", "session", "schema"],
            &["reset", "search_path"],
        ];
        ways.into_iter().any(|words| self.begins(words))
    }

    /// The whole of it with its comments, as a script has it.
    #[must_use]
    pub fn source(&self) -> String {
        let comment = if self.comment.is_empty() { "" } else { "\n" };
        format!("{}{comment}{};\n", self.comment, self.text)
    }

    /// The line of a character that the server counts from 1.
    #[must_use]
    pub fn line_of(&self, position: u32) -> usize {
        let before = self.text.chars().take(position.saturating_sub(1) as usize);
        self.line + before.filter(|character| *character == '\n').count()
    }

    /// If it is nothing but a call of a function in schema `rowcast`, that call.
    #[must_use]
    pub fn call(&self) -> Option<Call<'_>> {
        let tokens = self.tokens();
        let [select, schema, dot, function, open, inside @ .., close] = &tokens[..] else {
            return None;
        };
        let shaped = select.is("select") && dot.is(".") && open.is("(") && close.is(")");
        if !shaped || schema.identifier()? != "rowcast" {
            return None;
        }
        let mut arguments = Vec::new();
        let (mut depth, mut from) = (0_usize, 0);
        for (index, token) in inside.iter().enumerate() {
            match token.text {
                "(" | "[" if token.kind == Kind::Symbol => depth += 1,
                // The parenthesis that opened the call is closed before the end: more follows.
                ")" | "]" if token.kind == Kind::Symbol => depth = depth.checked_sub(1)?,
                "," if token.kind == Kind::Symbol && depth == 0 => {
                    arguments.push(self.argument(&inside[from..index])?);
                    from = index + 1;
                }
                _ => {}
            }
        }
        if !inside.is_empty() {
            arguments.push(self.argument(&inside[from..])?);
        }
        Some(Call {
            function: function.identifier()?,
            arguments,
        })
    }

    fn argument(&self, tokens: &[Token]) -> Option<Argument<'_>> {
        let (name, value) = match tokens {
            [name, a, b, value @ ..] if (a.is("=") && b.is(">")) || (a.is(":") && b.is("=")) => {
                (Some(name.identifier()?), value)
            }
            value => (None, value),
        };
        let sql = &self.text[value.first()?.start..value.last()?.end()];
        Some(Argument { name, sql })
    }

    /// If it creates a function, that function's name as written.
    #[must_use]
    pub fn created_function(&self) -> Option<&str> {
        let tokens = self.tokens();
        let words = if self.begins(&["create", "or", "replace", "function"]) {
            4
        } else {
            2
        };
        if words == 2 && !self.begins(&["create", "function"]) {
            return None;
        }
        let last = match &tokens[words..] {
            [_, dot, name, ..] if dot.is(".") => name,
            [name, ..] => name,
            [] => return None,
        };
        Some(&self.text[tokens[words].start..last.end()])
    }
}

fn scan(sql: &str) -> Result<Vec<Token<'_>>, Unclosed> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = sql[at..].chars().next() {
        // A byte order mark is what some editors begin a file with.
        if first.is_ascii_whitespace() || first == '\u{feff}' || first == '\u{b}' {
            at += first.len_utf8();
            continue;
        }
        let unclosed = |what| Unclosed {
            line: line_of(sql, at),
            what,
        };
        let rest = &sql[at..];
        let (kind, length) = token(rest).map_err(unclosed)?;
        tokens.push(Token {
            kind,
            start: at,
            text: &rest[..length],
        });
        at += length;
    }
    Ok(tokens)
}

/// Kind and length of the token that a text begins with.
fn token(rest: &str) -> Result<(Kind, usize), &'static str> {
    let bytes = rest.as_bytes();
    let second = bytes.get(1).copied();
    Ok(match bytes[0] {
        b'-' if second == Some(b'-') => (Kind::Comment, rest.find('\n').unwrap_or(rest.len())),
        b'/' if second == Some(b'*') => (Kind::Comment, comment(bytes).ok_or("a comment")?),
        b'\'' => (
            Kind::Literal,
            quoted(bytes, 1, b'\'', false).ok_or("a quoted text")?,
        ),
        b'e' | b'E' if second == Some(b'\'') => (
            Kind::Literal,
            quoted(bytes, 2, b'\'', true).ok_or("a quoted text")?,
        ),
        b'"' => (
            Kind::Quoted,
            quoted(bytes, 1, b'"', false).ok_or("a quoted name")?,
        ),
        b'$' => match dollar_tag(rest) {
            Some(tag) => {
                let body = rest[tag.len()..].find(tag).ok_or("a dollar-quoted text")?;
                (Kind::Literal, body + 2 * tag.len())
            }
            None => (Kind::Symbol, 1),
        },
        byte if begins_name(byte) => {
            let end = bytes.iter().position(|byte| !continues_name(*byte));
            (Kind::Word, end.unwrap_or(bytes.len()))
        }
        // Digits hold their letters, or 1e$$ would begin a quote.
        byte if byte.is_ascii_digit() => {
            let end = bytes
                .iter()
                .position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'.');
            (Kind::Literal, end.unwrap_or(bytes.len()))
        }
        _ => (Kind::Symbol, 1),
    })
}

fn begins_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn continues_name(byte: u8) -> bool {
    begins_name(byte) || byte.is_ascii_digit() || byte == b'$'
}

/// Length up to the closing quote; a doubled one stands for itself.
fn quoted(bytes: &[u8], from: usize, quote: u8, backslashes: bool) -> Option<usize> {
    let mut at = from;
    loop {
        match *bytes.get(at)? {
            b'\\' if backslashes => at += 2,
            byte if byte == quote && bytes.get(at + 1) == Some(&quote) => at += 2,
            byte if byte == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
}

fn comment(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        match (*bytes.get(at)?, bytes.get(at + 1)) {
            (b'/', Some(b'*')) => (at, depth) = (at + 2, depth + 1),
            (b'*', Some(b'/')) => {
                (at, depth) = (at + 2, depth - 1);
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += 1,
        }
    }
}

/// `$$` or `$tag$`, if the text begins with one.
fn dollar_tag(rest: &str) -> Option<&str> {
    let end = rest[1..].find('$')? + 1;
    let tag = &rest.as_bytes()[1..end];
    let named = tag.first().is_none_or(|byte| begins_name(*byte));
    let whole = tag.iter().all(|byte| continues_name(*byte));
    (named && whole).then(|| &rest[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<String> {
        split(sql)
            .unwrap()
            .into_iter()
            .map(|statement| statement.text)
            .collect()
    }

    fn only(sql: &str) -> Statement {
        let mut statements = split(sql).unwrap();
        assert_eq!(statements.len(), 1, "{statements:?}");
        statements.remove(0)
    }

    #[test]
    fn semicolons_split() {
        assert_eq!(
            texts("select 1; select 2 ;;\n; select 3"),
            ["select 1", "select 2", "select 3"]
        );
        assert!(texts("").is_empty() && texts(" ;; -- nothing\n/* nor here */").is_empty());
        assert_eq!(
            texts("\u{feff}select 1;\r\nselect 'é;ü'"),
            ["select 1", "select 'é;ü'"]
        );
    }

    #[test]
    fn quotes_hide_semicolons() {
        for one in [
            "select ';'",
            "select 'it''s; fine', ';'",
            r"select '\', ';'",
            r"select E'\';', e'\\'';'",
            r#"select ";" as "a"";b""#,
            r#"select U&'\0441;', U&"d;a", b'1', x'f;', n';'"#,
            "select $$;$$, $a$ $$ ; $b$ ; $a$",
            "select $ä1$;$ä1$",
            "select $a$ ; $A$ ; $a$",
            "select a$b$, 1",
            "select $1, 1",
            "create rule r as on insert to t do also (insert into a values (1); delete from b)",
        ] {
            assert_eq!(texts(&format!("{one};{one}")), [one, one]);
        }
        assert_eq!(texts("select a$b;c$b$d"), ["select a$b", "c$b$d"]);
        assert_eq!(
            texts("select name'x'; select true'\\'; x"),
            ["select name'x'", "select true'\\'", "x"]
        );
    }

    #[test]
    fn comments_hide_semicolons_and_quotes() {
        let sql =
            "-- it's; one\nselect 1 -- ;'\n, 2 /* ; /* ' */ ; */;\n/* b */ -- c\n\n select 3;";
        let statements = split(sql).unwrap();
        assert_eq!(statements.len(), 2);
        assert_eq!(statements[0].text, "select 1 -- ;'\n, 2");
        assert_eq!(
            (statements[0].comment.as_str(), statements[0].line),
            ("-- it's; one", 2)
        );
        assert_eq!(
            (statements[1].comment.as_str(), statements[1].line),
            ("/* b */ -- c", 6)
        );
        assert_eq!(
            texts("select 1 - -1; select 2*/**/3"),
            ["select 1 - -1", "select 2*/**/3"]
        );
        assert_eq!(texts("select '--'; select 1"), ["select '--'", "select 1"]);
    }

    #[test]
    fn bodies_in_standard_sql_are_one_statement() {
        let body = "create or replace function f() returns int begin atomic select 1; \
                    select case when true then 1 end; end";
        assert_eq!(texts(&format!("{body}; select 2")), [body, "select 2"]);
        let procedure = "create procedure p() begin atomic insert into a values (1); end";
        assert_eq!(
            texts(&format!("{procedure}; begin; end; x")),
            [procedure, "begin", "end", "x"]
        );
    }

    #[test]
    fn what_is_never_closed_is_named() {
        for (sql, line, what) in [
            ("select 1;\nselect 'a;\n", 2, "a quoted text"),
            ("\n\nselect E'\\'", 3, "a quoted text"),
            ("select \"a", 1, "a quoted name"),
            ("/* /* */", 1, "a comment"),
            ("select $$ $a$", 1, "a dollar-quoted text"),
        ] {
            assert_eq!(split(sql), Err(Unclosed { line, what }), "{sql}");
        }
    }

    #[test]
    fn calls_are_recognised() {
        let statement = only(
            "SELECT /* x */ Rowcast . \"attach\" ('lab.a', 'in,s' || f(1, 2), $$ select (1), ')' $$,\
             p_mode => 'strict')",
        );
        let call = statement.call().unwrap();
        assert_eq!(call.function, "attach");
        let found: Vec<_> = call
            .arguments
            .iter()
            .map(|a| (a.name.as_deref(), a.sql))
            .collect();
        assert_eq!(
            found,
            [
                (None, "'lab.a'"),
                (None, "'in,s' || f(1, 2)"),
                (None, "$$ select (1), ')' $$"),
                (Some("p_mode"), "'strict'")
            ]
        );
        assert_eq!(
            only("select rowcast.bookmark()").call().unwrap().arguments,
            []
        );
        assert_eq!(
            only("select rowcast.x(array[1, 2], 3)")
                .call()
                .unwrap()
                .arguments
                .len(),
            2
        );
        for other in [
            "select rowcast.attach('a', 'b'), rowcast.attach('c', 'd')",
            "select rowcast.attach('a') as x",
            "select other.attach('a')",
            "select rowcast.attach('a') from (select 1)",
            "select rowcast.attach('a',)",
            "select 1",
        ] {
            assert_eq!(only(other).call(), None, "{other}");
        }
    }

    #[test]
    fn what_sets_the_path_is_recognised() {
        for sql in [
            "set search_path = a, b",
            "SET /* so */ Search_Path to a",
            "set session search_path to default",
            "set schema 'a'",
            "reset search_path",
        ] {
            assert!(only(sql).sets_path(), "{sql}");
        }
        // What holds for the transaction alone is over with the statement.
        for sql in [
            "set local search_path = a",
            "set role a",
            "select set_config('a', 'b', false)",
        ] {
            assert!(!only(sql).sets_path(), "{sql}");
        }
    }

    #[test]
    fn functions_are_recognised() {
        let named = |sql: &str| only(sql).created_function().map(str::to_owned);
        assert_eq!(
            named("create function f() returns int").as_deref(),
            Some("f")
        );
        let qualified = "CREATE or replace /**/ FUNCTION a . \"B c\"(int) returns int";
        assert_eq!(named(qualified).as_deref(), Some("a . \"B c\""));
        assert_eq!(named("create or replace view f as select 1"), None);
        assert_eq!(named("create function"), None);
    }

    #[test]
    fn lines_of_errors_count_characters() {
        let statement = only("-- é\nselect 'é'\n  , wrong\n");
        assert_eq!((statement.line_of(1), statement.line_of(16)), (2, 3));
        assert!(statement.begins(&["select"]) && !statement.begins(&["select", "x"]));
    }
}
