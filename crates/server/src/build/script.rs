//! Small pieces of shell that plans are made of. They run inside an instance only; whatever comes from a file or a variable is quoted here.

use super::detect::Tool;

/// The text as one word of bash.
pub(super) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A script that fails with a sentence if one of these commands is not there.
pub(super) fn tools(tools: &[Tool]) -> Option<String> {
    if tools.is_empty() {
        return None;
    }
    let check = |tool: &Tool| {
        let message = format!("This app needs `{}`, which this server lacks: {}", tool.command, tool.remedy);
        format!("type -P {} >/dev/null || {{ echo {} >&2; lacking=1; }}\n", tool.command, quote(&message))
    };
    let checks: String = tools.iter().map(check).collect();
    Some(format!("lacking=\n{checks}[ -z \"$lacking\" ] || exit 127"))
}

/// The lines, each of which must succeed.
pub(super) fn lines<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    lines.into_iter().fold(String::from("set -e"), |all, line| all + "\n" + line)
}

/// Puts a directory of the app first in `PATH`. Relative to the working directory at the time that it runs: never an absolute path of today.
pub(super) fn first_in_path(directory: &str) -> String {
    format!("export PATH=\"$PWD/{directory}:$PATH\"\n")
}

/// Where tools are that the image lacks and the release keeps, relative to the app's directory.
pub(super) const KEPT_TOOLS: &str = ".teal/tools/node_modules/.bin";

/// Fetches a tool by npm into the release, unless it is there: scripts of the app call it by its name, also when it is started.
pub(super) fn keep_tool(command: &str, package: &str) -> String {
    let message = format!(
        "This app needs `{command}`, which this server lacks, and npm, which would fetch it: install the Debian package `npm`"
    );
    format!(
        "type -P {command} >/dev/null || {{ type -P npm >/dev/null || {{ echo {} >&2; exit 127; }}; npm install --prefix .teal/tools --no-save --no-package-lock --no-audit --no-fund --loglevel=error {}; }}",
        quote(&message),
        quote(package)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_leaves_nothing_to_the_shell() {
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's $HOME"), "'it'\\''s $HOME'");
    }
}
