//! Which of a host's apt sources an image is made from: those of its recipe's suites, and nothing else that the host may install from.
//!
//! Pure: the files' texts come in, one text in the newer format (deb822) goes out. Unknown options of a source are kept.

use std::fmt::Write;

/// The host's sources of these suites. `files` are names and texts; what a name ends in tells the format. Empty: the host has none of them.
pub(super) fn select(files: &[(String, String)], suites: &[&str]) -> String {
    let mut all = Vec::new();
    for (name, text) in files {
        if name.ends_with(".sources") {
            all.extend(paragraphs(text));
        } else {
            all.extend(text.lines().filter_map(one_line));
        }
    }
    let wanted = all.into_iter().filter_map(|source| narrow(source, suites));
    wanted.map(|source| render(&source)).collect::<Vec<_>>().join("\n")
}

/// A source as its fields, in order.
type Fields = Vec<(String, String)>;

fn paragraphs(text: &str) -> Vec<Fields> {
    let mut all = vec![Fields::new()];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some(current) = all.last_mut() else { break };
        if line.trim().is_empty() {
            all.push(Fields::new());
        } else if line.starts_with([' ', '\t']) {
            // A field goes on: a key that is given in the file itself, or a long list.
            if let Some((_, value)) = current.last_mut() {
                let _ = write!(value, "\n{line}");
            }
        } else if let Some((name, value)) = line.split_once(':') {
            current.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    all.retain(|fields| !fields.is_empty());
    all
}

/// `deb [arch=amd64 signed-by=/a.gpg] http://… suite component…`
fn one_line(line: &str) -> Option<Fields> {
    let rest = line.split('#').next()?.trim().strip_prefix("deb")?;
    let mut rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let mut fields: Fields = vec![("Types".to_owned(), "deb".to_owned())];
    if let Some(after) = rest.strip_prefix('[') {
        let (options, behind) = after.split_once(']')?;
        fields.extend(options.split_whitespace().filter_map(option));
        rest = behind.trim_start();
    }
    let mut words = rest.split_whitespace();
    fields.push(("URIs".to_owned(), words.next()?.to_owned()));
    fields.push(("Suites".to_owned(), words.next()?.to_owned()));
    let components = words.collect::<Vec<_>>().join(" ");
    if !components.is_empty() {
        fields.push(("Components".to_owned(), components));
    }
    Some(fields)
}

/// An option of the older format under its name in the newer one.
fn option(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let name = match name {
        "arch" => "Architectures".to_owned(),
        "lang" => "Languages".to_owned(),
        "target" => "Targets".to_owned(),
        other => titled(other),
    };
    Some((name, value.replace(',', " ")))
}

/// `signed-by` as `Signed-By`.
fn titled(name: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_uppercase().collect::<String>() + letters.as_str())
    };
    name.split('-').filter_map(word).collect::<Vec<_>>().join("-")
}

fn value<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// Only what is wanted of a source; `None`: nothing is.
fn narrow(mut fields: Fields, suites: &[&str]) -> Option<Fields> {
    let off = value(&fields, "Enabled")
        .is_some_and(|v| matches!(v.to_ascii_lowercase().as_str(), "no" | "false" | "0"));
    let binary = value(&fields, "Types")?.split_whitespace().any(|kind| kind == "deb");
    let kept: Vec<&str> =
        value(&fields, "Suites")?.split_whitespace().filter(|s| suites.contains(s)).collect();
    if off || !binary || kept.is_empty() {
        return None;
    }
    let kept = kept.join(" ");
    for (name, value) in &mut fields {
        if name.eq_ignore_ascii_case("Suites") {
            value.clone_from(&kept);
        } else if name.eq_ignore_ascii_case("Types") {
            "deb".clone_into(value);
        }
    }
    Some(fields)
}

fn render(fields: &Fields) -> String {
    fields.iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUITES: &[&str] = &["bookworm", "bookworm-security"];

    fn of(name: &str, text: &str) -> String {
        select(&[(name.to_owned(), text.to_owned())], SUITES)
    }

    #[test]
    fn only_the_suites_of_the_recipe_are_taken() {
        let text = "# first\nTypes: deb deb-src\nURIs: http://mirror.test/debian\nSuites: bookworm bookworm-backports\nComponents: main\n\
                    Signed-By:\n -----BEGIN\n .\n -----END\n\nTypes: deb\nURIs: http://other.test\nSuites: nodistro\nComponents: main\n\n\
                    Types: deb\nEnabled: no\nURIs: http://off.test\nSuites: bookworm\n\nTypes: deb-src\nURIs: http://src.test\nSuites: bookworm\n";
        let taken = "Types: deb\nURIs: http://mirror.test/debian\nSuites: bookworm\nComponents: main\nSigned-By: \n -----BEGIN\n .\n -----END\n";
        assert_eq!(of("a.sources", text), taken);
    }

    #[test]
    fn the_older_format_is_told_in_the_newer_one() {
        let text = "deb [arch=amd64,i386 signed-by=/k.gpg check-valid-until=no] http://m.test/d bookworm-security main contrib # why\n\
                    deb-src http://m.test/d bookworm main\ndeb http://m.test/x stable main\ndebug http://m.test bookworm main\n";
        let taken = "Types: deb\nArchitectures: amd64 i386\nSigned-By: /k.gpg\nCheck-Valid-Until: no\nURIs: http://m.test/d\n\
                     Suites: bookworm-security\nComponents: main contrib\n";
        assert_eq!(of("sources.list", text), taken);
    }

    #[test]
    fn a_host_without_the_suites_has_none() {
        assert_eq!(
            of("a.list", "deb http://m.test trixie main\n\nrubbish\ndeb [broken http://m.test bookworm\n"),
            ""
        );
    }
}
