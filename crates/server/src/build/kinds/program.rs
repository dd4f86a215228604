//! Which of the programs that a build made is the app: one is found by itself, of several one is named.
//!
//! Programs are in `.teal/bin`, and `.teal/program` leads to the one that is started: the plan is made before anybody knows their names.

use crate::build::{
    detect::{Source, Start},
    script,
};

/// Where programs are put, relative to the app's directory.
pub(super) const DIRECTORY: &str = ".teal/bin";

/// How the app's program is found among those that were built.
pub(super) struct Choice<'a> {
    /// The variable that names one.
    pub(super) variable: &'static str,
    /// What it says.
    pub(super) wanted: Option<&'a str>,
    /// The program that is named as the package is: taken if there are several.
    pub(super) own: Option<String>,
    /// What to do if there is none.
    pub(super) none: &'static str,
}

impl Choice<'_> {
    /// The end of the stage `finish`; nothing is chosen where the user says what is started.
    pub(super) fn script(&self, source: &Source<'_>) -> String {
        if source.variable("CC_RUN_COMMAND").is_some() || super::procfile::web(source).is_some() {
            return String::new();
        }
        CHOOSE
            .replace("@VARIABLE@", self.variable)
            .replace("@WANTED@", &script::quote(self.wanted.unwrap_or_default()))
            .replace("@OWN@", &script::quote(self.own.as_deref().unwrap_or_default()))
            .replace("@NONE@", &script::quote(self.none))
    }
}

/// What starts it: the `Procfile`, or the program that was chosen.
pub(super) fn start(source: &Source<'_>) -> Start {
    Start::Script(super::procfile::web(source).unwrap_or_else(|| RUN.to_owned()))
}

const RUN: &str = r#"[ -e .teal/program ] || { echo 'The build chose no program because CC_RUN_COMMAND was set: set it again, or deploy without the build cache' >&2; exit 127; }
exec "$(realpath .teal/program)""#;

const CHOOSE: &str = r#"wanted=@WANTED@ own=@OWN@ chosen=
programs=()
for file in .teal/bin/*; do if [ -f "$file" ] && [ -x "$file" ]; then programs+=("${file##*/}"); fi; done
if [ -n "$wanted" ]; then
  for file in "$wanted" ".teal/bin/$wanted" "bin/$wanted"; do if [ -z "$chosen" ] && [ -f "$file" ] && [ -x "$file" ]; then chosen=$file; fi; done
  [ -n "$chosen" ] || { echo "@VARIABLE@=$wanted, but the build made no such program; there is: ${programs[*]:-none}" >&2; exit 1; }
elif [ ${#programs[@]} -eq 0 ]; then
  echo @NONE@ >&2; exit 1
elif [ ${#programs[@]} -eq 1 ]; then
  chosen=.teal/bin/${programs[0]}
elif [ -n "$own" ] && [ -x ".teal/bin/$own" ]; then
  chosen=.teal/bin/$own
  echo "Several programs were built (${programs[*]}): $own has the package's name; set @VARIABLE@ to start another one"
else
  echo "Several programs were built (${programs[*]}): set @VARIABLE@ to the one that is to be started" >&2; exit 1
fi
ln -sfn "../$chosen" .teal/program
echo "Starts the program ${chosen##*/}""#;
