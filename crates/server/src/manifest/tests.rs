//! With files as people write them.

use super::*;
use std::collections::BTreeMap;

struct Tree(BTreeMap<&'static str, &'static str>);

impl Files for Tree {
    fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    fn read(&self, path: &str) -> Option<String> {
        self.0.get(path).map(|text| (*text).to_owned())
    }

    fn top(&self) -> Vec<String> {
        Vec::new()
    }
}

fn read(file: &'static str, text: &'static str) -> Result<Manifest, Error> {
    Manifest::read(&Tree(BTreeMap::from([(file, text)])))
}

fn owner(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

const WHOLE: &str = r#"
type = "python"

[build]
command = "make"
before = "a"
after = "b"

[run]
command = "python3 app.py"
before = "c"

[health]
paths = ["/up", "/db"]
strict = true

[release]
command = "python3 migrate.py"

[worker]
commands = ["python3 mails.py", "python3 queue.py"]
restart = "always"
restart_delay_s = 5

[instance]
memory_mib = 256

[app]
bake_s = 120
instances = 2
hold = true

[variables]
GREETING = "hello"
"#;

#[test]
fn what_concerns_the_app_as_a_whole_is_told_from_the_rest() {
    let manifest = read(FILE, WHOLE).expect("read");
    let config = manifest.settings_below(&Overrides::from([("instances".into(), 5.into())])).expect("legal");
    assert_eq!((config.bake_s, config.instances, config.hold), (120, 5, true));
    assert!(manifest.concerns_app());
    let domains = read(FILE, "domains = [\"Shop.Example.org\", \"example.org/shop/\"]").expect("read");
    assert_eq!(domains.domains, ["shop.example.org", "example.org/shop"]);
    assert!(domains.concerns_app());
    let less = read(FILE, "[instance]\nmemory_mib = 64\n[run]\ntask = true\nfailed = \"x\"\n").expect("read");
    assert!(!less.concerns_app());
    assert_eq!(less.variables, owner(&[("CC_RUN_FAILED_HOOK", "x"), ("CC_TASK", "true")]));
}

#[test]
fn every_key_becomes_the_variable_or_setting_that_an_owner_would_set() {
    let manifest = read(FILE, WHOLE).expect("read");
    let expected = owner(&[
        ("CC_BUILD_COMMAND", "make"),
        ("CC_HEALTH_CHECK_PATH_0", "/up"),
        ("CC_HEALTH_CHECK_PATH_1", "/db"),
        ("CC_POST_BUILD_HOOK", "b"),
        ("CC_PRE_BUILD_HOOK", "a"),
        ("CC_PRE_RUN_HOOK", "c"),
        ("CC_RELEASE_COMMAND", "python3 migrate.py"),
        ("CC_RUN_COMMAND", "python3 app.py"),
        ("CC_WORKER_COMMAND_0", "python3 mails.py"),
        ("CC_WORKER_COMMAND_1", "python3 queue.py"),
        ("CC_WORKER_RESTART", "always"),
        ("CC_WORKER_RESTART_DELAY", "5"),
        ("GREETING", "hello"),
    ]);
    assert_eq!(manifest.variables, expected);
    assert_eq!(manifest.kind(), Some("python"));
    let config = manifest.settings_below(&Overrides::new()).expect("legal");
    assert_eq!((config.memory_mib, config.strict_health), (256, true));
    assert_eq!(read(FILE, "").expect("read"), Manifest::default());
    assert!(read(FILE, "").expect("read").is_empty() && !manifest.is_empty());
}

#[test]
fn what_the_owner_set_wins_and_a_list_is_replaced_as_a_whole() {
    let manifest = read(FILE, WHOLE).expect("read");
    let own = owner(&[("GREETING", "mine"), ("CC_WORKER_COMMAND", "one"), ("OTHER", "x")]);
    let all = manifest.variables_below(&own);
    assert_eq!((all["GREETING"].as_str(), all["OTHER"].as_str()), ("mine", "x"));
    let workers: Vec<_> = all.keys().filter(|name| name.starts_with("CC_WORKER_COMMAND")).collect();
    assert_eq!(workers, ["CC_WORKER_COMMAND"]);
    assert_eq!(all["CC_HEALTH_CHECK_PATH_1"], "/db");
    let config = manifest.settings_below(&Overrides::from([("memory_mib".into(), 512.into())]));
    assert_eq!(config.expect("legal").memory_mib, 512);
    let notes = manifest.notes(&own).join("\n");
    assert!(
        notes.contains("take the place of CC_WORKER_COMMAND_0, CC_WORKER_COMMAND_1, GREETING"),
        "{notes}"
    );
    assert!(!notes.contains("hello") && !notes.contains("mine"), "{notes}");
}

#[test]
fn a_mistake_is_told_with_its_line_and_column() {
    for (text, place, named) in [
        ("type = \"python\"\n\n[helth]\n", "line 3, column 2", "helth"),
        ("[worker]\nrestart = \"sometimes\"\n", "line 2, column 11", "always, on-failure or no"),
        ("[worker]\nrestart_delay_s = -1\n", "line 2, column 19", "-1"),
        ("[instance]\n  memory_mib = 3\n", "line 2, column 16", "from 16 to"),
        ("[variables]\nÄ = \"x\"\n", "line 2, column 1", ""),
        ("[variables]\n\"A-B\" = \"x\"\n", "line 2, column 9", "`A-B` is not the name"),
        ("[variables]\nAPP_FOLDER = \"x\"\n", "line 2, column 14", "teal env set"),
        ("[run]\ncommand = \"a\"\n[variables]\nCC_RUN_COMMAND = \"b\"\n", "line 4, column 18", "another key"),
        ("[health]\nkind = \"udp\"\n", "line 2, column 8", "udp"),
        ("[app]\nbake_s = 100000\n", "line 2, column 10", "from 0 to"),
        ("[app]\nbake = 1\n", "line 2, column 1", "bake_s"),
        ("[app]\nhold = 1\n", "line 2, column 8", "boolean"),
        ("domains = [\"shop.test\", \"shop test\"]\n", "line 1, column 25", "`shop test`"),
        ("a = \n", "line 1", ""),
    ] {
        let told = read(FILE, text).expect_err(text).to_string();
        assert!(told.contains(place) && told.contains(named), "{text}: {told}");
    }
}

#[test]
fn crons_are_read_line_by_line() {
    let text = r#"["*/5 * * * * $ROOT/often.sh --quiet", "@daily echo good  morning"]"#;
    let manifest = read(CRONS, text).expect("read");
    let told: Vec<_> =
        manifest.crons.iter().map(|cron| format!("{} → {}", cron.schedule, cron.command)).collect();
    assert_eq!(told, ["*/5 * * * * → $ROOT/often.sh --quiet", "@daily → echo good  morning"]);
    for (text, named) in [
        ("{}", "a list of texts"),
        ("[", "line 1 column 1"),
        ("[\"* * * * *\"]", "entry 1: after 5 field(s)"),
        ("[\"@daily x\", \"61 * * * * x\"]", "entry 2: the minute `61`"),
    ] {
        let told = read(CRONS, text).expect_err(text).to_string();
        assert!(told.starts_with("clevercloud/cron.json cannot be used") && told.contains(named), "{told}");
    }
}
