//! The TOML configuration file: the same names as the flags, checked whole.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use clap::{Args, Command};
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use crate::nearest::nearest;
use crate::outcome::WrongUsage;

/// A configuration file is written by hand: nobody writes as much.
const BYTES_MAX: u64 = 16 << 20;

/// A list of tables in the file, and the keys of each: what flags cannot say.
pub(crate) struct TableKeys {
    pub(crate) name: &'static str,
    pub(crate) keys: &'static [&'static str],
    /// Those of the keys that are lists of tables again.
    pub(crate) tables: &'static [Self],
}

/// The settings of a file, and the text they come from.
pub(crate) struct Loaded<T> {
    pub(crate) settings: T,
    name: String,
    text: String,
}

impl<T> Loaded<T> {
    /// What is wrong with the file, or with a part of it. Without a part it is the key at the top that `what` begins with,
    /// if there is one.
    pub(crate) fn wrong(&self, span: Option<Range<usize>>, what: &str) -> WrongUsage {
        let span = span.or_else(|| named_key(&self.text, what));
        located(&self.name, &self.text, span, what)
    }
}

/// Where the key stands that a sentence begins with: `threads is 0, …`.
fn named_key(text: &str, what: &str) -> Option<Range<usize>> {
    let word = what.split_ascii_whitespace().next()?;
    let name = word.strip_suffix(':').unwrap_or(word);
    let table = DeTable::parse(text).ok()?;
    let (key, _) = table.get_ref().get_key_value(name)?;
    Some(key.span())
}

fn located(name: &str, text: &str, span: Option<Range<usize>>, what: &str) -> WrongUsage {
    let place = span.map_or(String::new(), |span| format!(":{}", line(text, span.start)));
    WrongUsage(format!("{name}{place}: {what}"))
}

/// Reads the settings in the file at `path`.
///
/// # Errors
/// The file cannot be read. Or it is no TOML, has a key that is neither a flag of `T` nor one of `tables`, or a value
/// that is none: that is wrong usage, and told with the line and the key.
pub(crate) fn load<T>(path: &Path, tables: &[TableKeys]) -> Result<Loaded<T>>
where
    T: Args + DeserializeOwned,
{
    let name = path.display().to_string();
    let bytes = fs::metadata(path).map(|metadata| metadata.len());
    let text = match bytes {
        Ok(bytes) if bytes > BYTES_MAX => {
            let what = format!("{name} has {bytes} bytes: that is no configuration file");
            return Err(WrongUsage(what).into());
        }
        _ => {
            fs::read_to_string(path).with_context(|| format!("cannot read configuration {name}"))?
        }
    };
    let flags = T::augment_args(Command::new("forebay"));
    let flags: Vec<&str> = flags
        .get_arguments()
        .filter_map(|argument| argument.get_long())
        .filter(|flag| *flag != "config")
        .collect();
    let problem = |error: toml::de::Error| located(&name, &text, error.span(), error.message());
    let table = DeTable::parse(&text).map_err(problem)?;
    if let Some((span, what)) = unknown_key(table.get_ref(), &flags, tables) {
        return Err(located(&name, &text, Some(span), &what).into());
    }
    let settings = toml::from_str(&text).map_err(|error| {
        let place = error.span().map_or(0, |span| span.start);
        let what = match key_at(table.get_ref(), place) {
            Some(key) => format!("{key}: {}", in_words(&key, error.message())),
            None => error.message().to_owned(),
        };
        located(&name, &text, error.span(), &what)
    })?;
    Ok(Loaded {
        settings,
        name,
        text,
    })
}

/// The first key that means nothing.
fn unknown_key(
    table: &DeTable<'_>,
    flags: &[&str],
    tables: &[TableKeys],
) -> Option<(Range<usize>, String)> {
    let top: Vec<&str> = flags
        .iter()
        .copied()
        .chain(tables.iter().map(|table| table.name))
        .collect();
    let mut unknown = Vec::new();
    gather_unknown(table, &top, &mut unknown);
    gather_in_tables(table, tables, &mut unknown);
    // Tables are kept by name; people read from the top.
    unknown.into_iter().min_by_key(|(span, _)| span.start)
}

fn gather_in_tables(
    table: &DeTable<'_>,
    tables: &[TableKeys],
    unknown: &mut Vec<(Range<usize>, String)>,
) {
    for TableKeys { name, keys, tables } in tables {
        let list = table.get(*name).map(|value| value.get_ref());
        for entry in list
            .and_then(DeValue::as_array)
            .into_iter()
            .flat_map(|list| list.iter())
        {
            if let DeValue::Table(entry) = entry.get_ref() {
                gather_unknown(entry, keys, unknown);
                gather_in_tables(entry, tables, unknown);
            }
        }
    }
}

fn gather_unknown(table: &DeTable<'_>, known: &[&str], unknown: &mut Vec<(Range<usize>, String)>) {
    for key in table.keys() {
        let name = key.get_ref().as_ref();
        if !known.contains(&name) {
            let mut what = format!("unknown key \"{name}\"");
            if let Some(near) = nearest(name, known.iter().copied()) {
                what.push_str(&format!(": did you mean \"{near}\"?"));
            }
            unknown.push((key.span(), what));
        }
    }
}

/// The key of the value at a place, with those of the tables that it is in: `route.pin.exporter`.
fn key_at(table: &DeTable<'_>, place: usize) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let name = key.get_ref();
        let list = value.get_ref().as_array();
        let list = list.into_iter().flat_map(|list| list.iter());
        let mut parts = list.chain([value]);
        parts.find_map(|part| {
            let within = part.get_ref().as_table();
            match within.and_then(|table| key_at(table, place)) {
                Some(within) => Some(format!("{name}.{within}")),
                None => part.span().contains(&place).then(|| name.to_string()),
            }
        })
    })
}

/// What is said of a value of the wrong type, in words of configuration files.
fn in_words(key: &str, message: &str) -> String {
    match message {
        // Of an enumeration, whose names the help tells.
        "wanted string or table" => return "expected text in quotes, as for the flag".to_owned(),
        // Of std.
        "invalid socket address syntax" => {
            return "that is no address and port: write it as 192.0.2.1:2055 or [2001:db8::1]:2055"
                .to_owned();
        }
        _ => {}
    }
    let wrong = ["invalid type: ", "invalid value: ", "invalid length "];
    let rest = wrong.iter().find_map(|wrong| message.strip_prefix(wrong));
    let Some((found, expected)) = rest.and_then(|rest| rest.rsplit_once(", expected ")) else {
        return message.to_owned();
    };
    let expected = match expected {
        "a sequence" if found == "map" => return format!("write it in two brackets: [[{key}]]"),
        "usize" | "u64" | "u32" => "a whole number",
        "u16" => "a whole number up to 65535",
        "u8" => "a whole number up to 255",
        "a sequence" => "a list in brackets",
        "a boolean" => "true or false",
        other if other.starts_with("struct ") => "a table",
        other => other,
    };
    format!("expected {expected}, but found {found}")
}

fn line(text: &str, offset: usize) -> usize {
    let before = text.bytes().take(offset);
    before.filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::units::Size;

    #[derive(Debug, Default, Args, Deserialize)]
    #[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
    struct Raw {
        #[arg(long)]
        rotate_size: Option<Size>,
        #[arg(skip)]
        column: Vec<Column>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Column {
        name: String,
        #[serde(default)]
        #[expect(dead_code, reason = "what it would be is not asked")]
        width: u8,
    }

    fn load_text(text: &str) -> Result<Raw> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("c.toml");
        fs::write(&path, text).expect("a file");
        let keys = TableKeys {
            name: "column",
            keys: &["name", "part", "width"],
            tables: &[TableKeys {
                name: "part",
                keys: &["size"],
                tables: &[],
            }],
        };
        load(&path, &[keys]).map(|loaded| loaded.settings)
    }

    fn problem(text: &str) -> String {
        let error = load_text(text).expect_err(text);
        assert!(error.is::<WrongUsage>(), "{error}");
        let text = error.to_string();
        let (_folder, problem) = text.split_once("c.toml").expect("the file's name");
        problem.to_owned()
    }

    #[test]
    fn flags_are_keys() {
        let raw =
            load_text("rotate-size = '1MiB'\n[[column]]\nname = 'a'").expect("a configuration");
        assert_eq!(raw.rotate_size, Some(Size(1 << 20)));
        assert_eq!(raw.column[0].name, "a");
        assert_eq!(load_text("").expect("nothing set").rotate_size, None);
    }

    #[test]
    fn an_unknown_key_is_told_with_its_line_and_the_nearest() {
        assert_eq!(
            problem("# mine\n\nrotate-sise = '1MiB'\n"),
            ":3: unknown key \"rotate-sise\": did you mean \"rotate-size\"?"
        );
        assert_eq!(
            problem("[[column]]\nname = 'a'\n[[column]]\nnam = 'b'\n"),
            ":4: unknown key \"nam\": did you mean \"name\"?"
        );
        assert_eq!(
            problem("[[column]]\nname = 'a'\n[[column.part]]\nsize = 1\n[[column.part]]\nsise = 2"),
            ":6: unknown key \"sise\": did you mean \"size\"?"
        );
        assert_eq!(
            problem("[[column]]\nname = 'a'\npart = [\n1,\n{ sice = 2 }]"),
            ":5: unknown key \"sice\": did you mean \"size\"?"
        );
        assert_eq!(problem("config = 'x'"), ":1: unknown key \"config\"");
    }

    #[test]
    fn a_bad_value_is_told_with_its_line_and_key() {
        let text = problem("\nrotate-size = '1 parsec'");
        assert!(
            text.starts_with(":2: rotate-size: \"1 parsec\" is no size"),
            "{text}"
        );
        assert!(problem("rotate-size = ").starts_with(":1: "));
        for (text, expected) in [
            (
                "rotate-size = true",
                ":1: rotate-size: expected text in quotes, as for the flag, but found boolean `true`",
            ),
            (
                "\ncolumn = 5",
                ":2: column: expected a list in brackets, but found integer `5`",
            ),
            (
                "[[column]]\nname = 'a'\n[[column]]\nname = 5",
                ":4: column.name: expected a string, but found integer `5`",
            ),
            (
                "[[column]]\nname = 'a'\nwidth = 256",
                ":3: column.width: expected a whole number up to 255, but found integer `256`",
            ),
            (
                "[[column]]\nname = 'a'\nwidth = -1",
                ":3: column.width: expected a whole number up to 255, but found integer `-1`",
            ),
            (
                "\n[[column]]\nname = 'a'\n[[column]]\nwidth = 1",
                ":4: column: missing field `name`",
            ),
            (
                "column = [\n{ name = 'a' },\n7]",
                ":3: column: expected a table, but found integer `7`",
            ),
        ] {
            assert_eq!(problem(text), expected, "{text}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_no_wrong_usage() {
        let error = load::<Raw>(Path::new("/nowhere/c.toml"), &[])
            .map(drop)
            .expect_err("no file");
        assert!(!error.is::<WrongUsage>());
        assert!(error.to_string().contains("/nowhere/c.toml"));
    }
}
