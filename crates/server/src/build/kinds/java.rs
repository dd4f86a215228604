//! Java, and what else becomes a jar: Maven or the Gradle wrapper, or a jar that is there already.
//!
//! The jar is found once it is built: only one with a `Main-Class` can be started.

use super::{Type, procfile};
use crate::build::{
    detect::{Draft, Error, Source, Start, Tool},
    script,
};

const NOT_IN_IMAGES: &str = "Teal's images have no Java yet; on a server that uses no image, install the Debian packages `default-jdk-headless` and `maven`";

const JAVA: Tool = Tool { command: "java", remedy: NOT_IN_IMAGES };
const MAVEN: Tool = Tool { command: "mvn", remedy: NOT_IN_IMAGES };

/// What is fetched goes to the build's cache, never to the home that Java believes in: that is the app's directory.
const MVN: &str =
    "mvn --batch-mode --no-transfer-progress -Dmaven.repo.local=\"$TEAL_CACHE/maven\" -DskipTests package";
const GRADLE: &str =
    "export GRADLE_USER_HOME=\"$TEAL_CACHE/gradle\"\nsh ./gradlew --no-daemon --console=plain assemble";

const RUN: &str =
    r#"exec java ${CC_EXTRA_JAVA_ARGS:-} -jar "$(realpath .teal/program.jar)" ${CC_JAR_ARGS:-}"#;

/// Quarkus puts its jar where no other one is; others leave one that can be started beside some that cannot.
const CHOOSE: &str = r#"jars=()
startable() { unzip -p "$1" META-INF/MANIFEST.MF 2>/dev/null | grep -q '^Main-Class:'; }
for file in target/quarkus-app/quarkus-run.jar build/quarkus-app/quarkus-run.jar; do if [ -f "$file" ]; then jars=("$file"); fi; done
if [ ${#jars[@]} -eq 0 ]; then
  for file in target/*.jar build/libs/*.jar; do
    case "$file" in *-sources.jar|*-javadoc.jar|*-tests.jar|*-plain.jar|*/original-*.jar) continue;; esac
    if [ -f "$file" ] && startable "$file"; then jars+=("$file"); fi
  done
fi
if [ ${#jars[@]} -eq 0 ]; then echo 'The build left no jar with a Main-Class in target or build/libs: set CC_JAR_PATH to the jar, or CC_RUN_COMMAND' >&2; exit 1; fi
if [ ${#jars[@]} -gt 1 ]; then echo "Several jars can be started (${jars[*]}): set CC_JAR_PATH to one of them" >&2; exit 1; fi
mkdir -p .teal
ln -sfn "../${jars[0]}" .teal/program.jar
echo "Starts ${jars[0]}""#;

pub(super) struct Java;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Builder {
    Maven,
    Gradle,
    None,
}

impl Type for Java {
    fn claims(&self, source: &Source<'_>) -> Option<String> {
        let file =
            ["pom.xml", "build.gradle", "build.gradle.kts"].into_iter().find(|file| source.files.has(file));
        let jar = || source.variable("CC_JAR_PATH").map(|_| "CC_JAR_PATH is set".to_owned());
        file.map(|file| format!("{file} is there")).or_else(jar)
    }

    fn draft(&self, source: &Source<'_>) -> Result<Draft, Error> {
        let builder = builder(source)?;
        let own = source.variable("CC_BUILD_COMMAND").is_some();
        let jar = source.folder("CC_JAR_PATH")?;
        let named = source.variable("CC_RUN_COMMAND").is_some() || procfile::web(source).is_some();
        let finish = match &jar {
            Some(jar) => Some(given(jar)),
            None if named || builder == Builder::None && !own => None,
            None => Some(script::lines([CHOOSE])),
        };
        let maven = builder == Builder::Maven && !own;
        Ok(Draft {
            tools: if maven { vec![JAVA, MAVEN] } else { vec![JAVA] },
            build: match builder {
                Builder::Maven => Some(script::lines([MVN])),
                Builder::Gradle => Some(script::lines([GRADLE])),
                Builder::None => None,
            },
            start: Some(start(source, finish.is_some())),
            finish,
            ..Draft::default()
        })
    }
}

fn builder(source: &Source<'_>) -> Result<Builder, Error> {
    if source.files.has("pom.xml") {
        return Ok(Builder::Maven);
    }
    let gradle = ["build.gradle", "build.gradle.kts"].into_iter().find(|file| source.files.has(file));
    match gradle {
        Some(file) if !source.files.has("gradlew") && source.variable("CC_BUILD_COMMAND").is_none() => Err(Error::Lacking {
            what: format!("{file} is there, but no gradlew, which brings the version of Gradle that the build needs"),
            remedy: "run `gradle wrapper` and commit gradlew and the folder gradle/wrapper, or set CC_BUILD_COMMAND".into(),
        }),
        Some(_) => Ok(Builder::Gradle),
        None => Ok(Builder::None),
    }
}

fn start(source: &Source<'_>, jar: bool) -> Start {
    match procfile::web(source) {
        Some(web) if source.variable("CC_JAR_PATH").is_none() => Start::Script(web),
        _ if jar || source.variable("CC_RUN_COMMAND").is_some() => Start::Script(RUN.into()),
        _ => Start::Lacking(Error::Lacking {
            what: "nothing says which jar this app is".into(),
            remedy: "set CC_JAR_PATH to the jar, add a pom.xml or build.gradle, or set CC_RUN_COMMAND".into(),
        }),
    }
}

/// The jar that `CC_JAR_PATH` names.
fn given(jar: &str) -> String {
    let message =
        format!("CC_JAR_PATH names {jar}, which is neither in the commit nor made by the build: correct it");
    let (path, link) = (script::quote(jar), script::quote(&format!("../{jar}")));
    script::lines([
        &format!("[ -f {path} ] || {{ echo {} >&2; exit 1; }}", script::quote(&message)),
        "mkdir -p .teal",
        &format!("ln -sfn {link} .teal/program.jar"),
    ])
}
