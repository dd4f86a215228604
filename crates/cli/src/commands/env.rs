//! `teal env`: an app's variables. Values are secrets: shown only when asked for, and best given on standard input.

use crate::{
    cli::{AppName, AppOption},
    context::Context,
    error::{Error, Result},
    out::harmless,
};
use clap::{Args, Subcommand};
use std::{collections::BTreeMap, io::Read, path::PathBuf};

/// The longest input, in bytes.
const MAX_INPUT: u64 = 4 * 1024 * 1024;

#[derive(Debug, Subcommand)]
pub(crate) enum EnvCommand {
    /// List the names; values only with --values.
    List(ListArgs),
    /// Set variables. `NAME` alone reads the value from standard input.
    Set(SetArgs),
    /// Remove variables.
    Unset(UnsetArgs),
    /// Set all variables of a file: lines of NAME=VALUE, or JSON.
    Import(ImportArgs),
    /// Print all variables with their values, as `teal env import` reads them.
    Export(ExportArgs),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Values are secrets: what is printed should not stay in a file that others read. With --json it is one list of {\"name\": …, \"value\": …}.

Examples:
  teal env export shop > shop.env
  teal env export shop --json | teal env import --app copy"
)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    app: AppName,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  teal env list shop --values")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    app: AppName,
    /// Show the values too.
    #[arg(long)]
    values: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "A value on the command line is seen by other users and kept by your shell: secrets go through standard input.

Examples:
  teal env set GREETING=hello LIMIT=10 --app shop
  pass show shop/db | teal env set DATABASE_PASSWORD"
)]
pub(crate) struct SetArgs {
    /// NAME=VALUE, or NAME to read its value from standard input.
    #[arg(value_name = "NAME[=VALUE]", required = true)]
    pairs: Vec<String>,
    #[command(flatten)]
    app: AppOption,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  teal env unset GREETING")]
pub(crate) struct UnsetArgs {
    /// Their names.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    app: AppOption,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Lines are NAME=VALUE; empty ones and those that begin with # are skipped; quotes around a whole value are taken off.
What begins with [ or { is JSON: a list of {\"name\": …, \"value\": …}, or an object of names and values.
Variables that the file does not name stay as they are. All of them change at once, and take effect with the next deployment or restart.

Examples:
  teal env import .env --app shop
  teal env export shop --json | teal env import --app copy"
)]
pub(crate) struct ImportArgs {
    /// The file; `-` is standard input.
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    #[command(flatten)]
    app: AppOption,
}

/// Does it.
pub(crate) fn run(context: &Context, command: EnvCommand) -> Result<()> {
    match command {
        EnvCommand::List(args) => show(context, &args.app, args.values),
        EnvCommand::Set(args) => change(context, &args.app, pairs(&args.pairs)?),
        EnvCommand::Unset(args) => {
            change(context, &args.app, args.names.into_iter().map(|name| (name, None)).collect())
        }
        EnvCommand::Import(args) => change(context, &args.app, parse(&input(&args.file)?)?),
        EnvCommand::Export(args) => show(context, &args.app, true),
    }
}

fn show(context: &Context, app: &AppName, values: bool) -> Result<()> {
    let variables = context.client()?.variables(&context.app(app.given())?, values)?;
    context.out.show(&variables, |_| {
        let line = |v: &teal_core::api::VariableView| match &v.value {
            Some(value) => format!("{}={}", harmless(&v.name), quoted(value)),
            None => harmless(&v.name),
        };
        variables.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}

/// A value as `teal env import` reads it back.
fn quoted(value: &str) -> String {
    let plain = !value.is_empty() && value.chars().all(|c| c.is_ascii_graphic() && !"\"'#\\".contains(c));
    if plain { value.to_owned() } else { serde_json::to_string(value).unwrap_or_default() }
}

fn change(context: &Context, app: &AppOption, changes: BTreeMap<String, Option<String>>) -> Result<()> {
    if changes.is_empty() {
        return Err(Error::usage("there is nothing to change").hint("give lines of NAME=VALUE"));
    }
    for name in changes.keys() {
        check(name)?;
    }
    let accepted = context.client()?.set_variables(&context.app(app.app.as_deref())?, &changes)?;
    context.out.show(&accepted, |_| harmless(&accepted.message))
}

fn check(name: &str) -> Result<()> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(legal) {
        return Ok(());
    }
    // What was typed as a name may be half a secret: only its beginning is repeated.
    let shown: String = harmless(name).chars().take(20).collect();
    Err(Error::usage(format!("`{shown}` is not the name of a variable"))
        .hint("letters, digits and `_`, and no digit first"))
}

fn pairs(given: &[String]) -> Result<BTreeMap<String, Option<String>>> {
    let unfinished = given.iter().filter(|pair| !pair.contains('=')).count();
    if unfinished > 1 {
        return Err(
            Error::usage("only one variable can be read from standard input").hint("use `teal env import`")
        );
    }
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), Some(value.to_owned()))),
        None => {
            let value = input(&PathBuf::from("-"))?;
            Ok((text.clone(), Some(value.strip_suffix('\n').unwrap_or(&value).to_owned())))
        }
    };
    given.iter().map(pair).collect()
}

fn input(file: &std::path::Path) -> Result<String> {
    let failed = |e: std::io::Error| Error::usage(format!("{} cannot be read: {e}", file.display()));
    let mut text = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin().lock().take(MAX_INPUT + 1).read_to_string(&mut text).map_err(failed)?;
    } else {
        std::fs::File::open(file)
            .and_then(|f| f.take(MAX_INPUT + 1).read_to_string(&mut text))
            .map_err(failed)?;
    }
    let fits = text.len() as u64 <= MAX_INPUT;
    if fits { Ok(text) } else { Err(Error::usage(format!("the input is longer than {MAX_INPUT} bytes"))) }
}

fn parse(text: &str) -> Result<BTreeMap<String, Option<String>>> {
    if text.trim_start().starts_with(['[', '{']) {
        return parse_json(text);
    }
    let mut changes = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').ok_or_else(|| {
            Error::usage(format!("line {} is not NAME=VALUE", number + 1))
                .hint("nothing was changed; mend it and try again")
        })?;
        changes.insert(name.trim().to_owned(), Some(unquoted(value.trim())));
    }
    Ok(changes)
}

/// What `teal env export --json` prints, or an object of names and values.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Json {
    List(Vec<Named>),
    Object(BTreeMap<String, String>),
}

#[derive(serde::Deserialize)]
struct Named {
    name: String,
    value: String,
}

fn parse_json(text: &str) -> Result<BTreeMap<String, Option<String>>> {
    // The parser's own words may repeat a value: only the place is told.
    let json: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        Error::usage(format!("the input is no JSON: line {}, column {}", error.line(), error.column()))
            .hint("nothing was changed; mend it and try again")
    })?;
    let json = serde_json::from_value(json).map_err(|_| {
        Error::usage("the JSON is neither a list of names with values nor an object of texts")
            .hint("`teal env export --json` prints the form that is read; every value is a text")
    })?;
    Ok(match json {
        Json::List(all) => all.into_iter().map(|one| (one.name, Some(one.value))).collect(),
        Json::Object(all) => all.into_iter().map(|(name, value)| (name, Some(value))).collect(),
    })
}

fn unquoted(value: &str) -> String {
    if let Ok(text) = serde_json::from_str::<String>(value) {
        return text;
    }
    let inner = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\''));
    inner.unwrap_or(value).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_variables_is_read_as_people_write_it() {
        let read = parse("# note\nA=1\n\nexport B='two words'\nC=\"line\\nbreak\"\nD=a=b\n").expect("reads");
        let value = |name: &str| read[name].clone().expect("set");
        assert_eq!(
            [value("A"), value("B"), value("C"), value("D")],
            ["1", "two words", "line\nbreak", "a=b"]
        );
    }

    #[test]
    fn what_list_prints_import_reads() {
        for value in ["plain", "two words", "a\"b", "line\nbreak", "", "#x"] {
            assert_eq!(unquoted(&quoted(value)), value);
        }
    }

    #[test]
    fn json_is_read_in_both_forms_and_never_repeated_in_an_error() {
        let list = r#" [{"name": "A", "value": "1"}, {"name": "B", "value": "line\nbreak"}]"#;
        let object = r#"{"A": "1", "B": "line\nbreak"}"#;
        assert_eq!(parse(list).expect("reads"), parse(object).expect("reads"));
        assert_eq!(parse(object).expect("reads")["B"].as_deref(), Some("line\nbreak"));
        for wrong in ["{\"A\": s3cret}", "{\"A\": 7}", "[\"s3cret\"]", "[{\"name\": \"A\"}]"] {
            let error = parse(wrong).expect_err("refused");
            assert!(!error.message.contains("s3cret") && error.message.contains("JSON"), "{}", error.message);
        }
    }

    #[test]
    fn a_wrong_line_is_named_and_not_repeated() {
        let error = parse("A=1\ns3cret\n").expect_err("refused");
        assert!(error.message.contains("line 2") && !error.message.contains("s3cret"));
        assert!(check("1A").is_err() && check("").is_err() && check("A_1").is_ok());
    }
}
