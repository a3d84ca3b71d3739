//! Migrations expand. Servers of the version before run on while the first one of this version brings
//! the tables on: what they read and write has to stay. A step that takes something away, or asks for
//! more than they know of, stands here with its reason.

use super::Fault;

const HERE: &str = "xtask/src/tidy/migrations.rs";

/// Why statements may do so that are for SQLite.
const ONE_PROCESS: &str =
    "a file has one process, and one of a version before refuses the file of a later version";

/// Every statement that contracts: its file, its text, and why it may.
const KNOWN: [(&str, &str, &str); 6] = [
    ("crates/sqlite/migrations/queue/0002_told.sql", "DROP TABLE event", ONE_PROCESS),
    ("crates/sqlite/migrations/queue/0002_told.sql", "ALTER TABLE event_told RENAME TO event", ONE_PROCESS),
    (
        "crates/sqlite/migrations/store/0002_ordered.sql",
        "ALTER TABLE provisioner DROP COLUMN claims",
        ONE_PROCESS,
    ),
    ("crates/sqlite/migrations/store/0002_ordered.sql", "DROP INDEX release_work_at", ONE_PROCESS),
    ("crates/sqlite/migrations/store/0002_ordered.sql", "DROP TABLE release_turn", ONE_PROCESS),
    (
        "crates/sqlite/migrations/store/0002_ordered.sql",
        "ALTER TABLE release_turns RENAME TO release_turn",
        ONE_PROCESS,
    ),
];

/// Whether a file is a step.
pub(super) fn is_step(path: &str) -> bool {
    path.contains("/migrations/") && path.ends_with(".sql")
}

/// The faults of these steps (path and text).
pub(super) fn faults(steps: &[(String, String)]) -> Vec<Fault> {
    faults_beside(steps, &KNOWN)
}

fn faults_beside(steps: &[(String, String)], known: &[(&str, &str, &str)]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut used = vec![false; known.len()];
    for (path, text) in steps {
        let statements = statements(text);
        for (line, statement) in &statements {
            let made = |table: &str| statements.iter().any(|(_, other)| makes(other, table));
            let Some(what) = contracts(statement, made) else { continue };
            match known.iter().position(|(file, text, _)| file == path && text == statement) {
                Some(place) => used[place] = true,
                None => faults.push(Fault::at(
                    path,
                    *line,
                    format!(
                        "{statement:?} {what}, which servers of the version before do not survive: do it in a \
                         release in which nobody needs that any more, and list it with its reason in {HERE}"
                    ),
                )),
            }
        }
    }
    for ((path, statement, _), _) in known.iter().zip(used).filter(|(_, used)| !used) {
        faults.push(Fault::of_file(
            HERE,
            format!("{path} does not say {statement:?} any more: remove the entry"),
        ));
    }
    faults
}

/// The statements of a script in one line each, without comments, and where they begin.
fn statements(script: &str) -> Vec<(usize, String)> {
    let mut statements = Vec::new();
    let (mut begins, mut words) = (1, Vec::new());
    for (index, line) in script.lines().enumerate() {
        let code = line.split("--").next().unwrap_or_default();
        let mut parts = code.split(';').peekable();
        while let Some(part) = parts.next() {
            if words.is_empty() {
                begins = index + 1;
            }
            words.extend(part.split_whitespace());
            if parts.peek().is_some() && !words.is_empty() {
                statements.push((begins, words.join(" ")));
                words.clear();
            }
        }
    }
    if !words.is_empty() {
        statements.push((begins, words.join(" ")));
    }
    statements
}

/// Whether a statement makes this table.
fn makes(statement: &str, table: &str) -> bool {
    let upper = statement.to_uppercase();
    let Some(rest) = upper.strip_prefix("CREATE TABLE ") else { return false };
    rest.trim_start_matches("IF NOT EXISTS ").split([' ', '(']).next() == Some(table)
}

/// What a statement does to servers that know nothing of it; none when they live on.
fn contracts(statement: &str, made: impl Fn(&str) -> bool) -> Option<&'static str> {
    let statement = statement.to_uppercase();
    let has = |words: &str| format!(" {statement} ").contains(&format!(" {words} "));
    let count = |words: &str| statement.matches(words).count();
    let table = |before: &str| {
        let rest = statement.split_once(before)?.1;
        Some(rest.trim_start().trim_start_matches("ONLY ").split([' ', '(']).next()?.to_owned())
    };
    let on_their_own = |before| table(before).is_some_and(|table| made(&table));
    match statement.split(' ').next()? {
        "DROP" => Some("takes away what there is"),
        "TRUNCATE" | "DELETE" => Some("takes rows away"),
        "CREATE" if has("CREATE UNIQUE INDEX") && !on_their_own(" ON ") => {
            Some("refuses rows that were taken")
        }
        "ALTER" if has("RENAME") => Some("gives what there is another name"),
        "ALTER" if has("DROP") => Some("takes away what there is"),
        "ALTER" if (has("ALTER COLUMN") && has("TYPE")) || has("SET NOT NULL") => Some("narrows a column"),
        "ALTER" if count(" NOT NULL") > count(" DEFAULT ") => {
            Some("asks for a column that they do not write")
        }
        "ALTER"
            if ["CONSTRAINT", "CHECK", "UNIQUE", "PRIMARY KEY", "FOREIGN KEY", "EXCLUDE"]
                .iter()
                .any(|kind| has(&format!("ADD {kind}"))) =>
        {
            Some("refuses rows that were taken")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "crates/a/migrations/b/0002_c.sql";

    fn judge(script: &str, known: &[(&str, &str, &str)]) -> Vec<String> {
        let steps = [(PATH.to_owned(), script.to_owned())];
        faults_beside(&steps, known).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_takes_something_away_or_asks_for_more_is_a_fault() {
        for statement in [
            "DROP TABLE a",
            "drop index a_b",
            "TRUNCATE a",
            "DELETE FROM a WHERE b = 1",
            "ALTER TABLE a RENAME TO b",
            "ALTER TABLE a RENAME COLUMN b TO c",
            "ALTER TABLE a DROP COLUMN b",
            "ALTER TABLE a DROP CONSTRAINT b",
            "ALTER TABLE a ALTER COLUMN b TYPE bigint",
            "ALTER TABLE a ALTER COLUMN b SET NOT NULL",
            "ALTER TABLE a ADD COLUMN b integer NOT NULL",
            "ALTER TABLE a ADD b integer NOT NULL DEFAULT 0, ADD c text NOT NULL",
            "ALTER TABLE a ADD CONSTRAINT b CHECK (c > 0)",
            "ALTER TABLE a ADD UNIQUE (b)",
            "CREATE UNIQUE INDEX a_b ON a (b)",
        ] {
            let script = format!("-- why\nCREATE TABLE z (y integer);\n\n{statement};\n");
            let found = judge(&script, &[]);
            assert!(
                found.len() == 1 && found[0].starts_with(&format!("{PATH}:4: ")),
                "{statement}: {found:?}"
            );
        }
    }

    #[test]
    fn what_adds_is_none() {
        let script = "CREATE TABLE a (b integer NOT NULL UNIQUE, c text); -- DROP TABLE a;\n\
                      CREATE UNIQUE INDEX a_c ON a (c);\nCREATE INDEX z_y ON z (y);\n\
                      ALTER TABLE z ADD COLUMN x integer;\nALTER TABLE z ADD COLUMN type text;\nALTER TABLE z\n    ADD COLUMN w integer NOT NULL DEFAULT 0;\n\
                      UPDATE z SET x = 1;\nINSERT INTO a VALUES (1, 'x')";
        assert_eq!(judge(script, &[]), [""; 0]);
    }

    #[test]
    fn what_is_known_passes_as_long_as_it_is_there() {
        let known = [(PATH, "DROP TABLE a", "so")];
        assert_eq!(judge("DROP\n  TABLE a;", &known), [""; 0]);
        assert_eq!(
            judge("CREATE TABLE a (b integer);", &known),
            [format!("{HERE}: {PATH} does not say \"DROP TABLE a\" any more: remove the entry")]
        );
    }

    #[test]
    fn steps_are_told_from_other_scripts() {
        assert!(is_step(PATH) && !is_step("crates/a/src/b.sql") && !is_step("crates/a/migrations/mod.rs"));
    }
}
