//! The variables of builds and instances: what Teal gives every app, what users set, and whose word counts.
//!
//! Teal's identity of an instance always wins; a type's defaults never win over the user. Values of users are secret: nothing here prints one.

use super::detect::Variables;
use crate::release::{Kind, TASK};
use std::net::IpAddr;
use teal_core::{
    id::{AppId, DeploymentId, InstanceId},
    route::Colour,
    worker::{MAX_DELAY_S, Restart},
};

/// The longest name, in bytes.
pub const MAX_NAME: usize = 256;
/// The longest value, in bytes: the kernel refuses to start anything with a longer one.
pub const MAX_VALUE: usize = 128 * 1024 - MAX_NAME - 2;

/// Why a variable is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a name.
    #[error("`{name}` is not the name of a variable: letters, digits and `_`, not a digit first")]
    Name {
        /// What was given, shortened.
        name: String,
    },
    /// Not a value.
    #[error("the value of `{name}` {reason}")]
    Value {
        /// Whose value.
        name: String,
        /// What is wrong with it; never the value.
        reason: String,
    },
}

/// Is this a variable that a user may set?
///
/// # Errors
/// A sentence that names the variable, never its value.
pub fn check(name: &str, value: &str) -> Result<(), Error> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !first || !name.chars().all(legal) || name.len() > MAX_NAME {
        return Err(Error::Name { name: crate::log::harmless(&name.chars().take(80).collect::<String>()) });
    }
    let refuse = |reason: String| Err(Error::Value { name: name.to_owned(), reason });
    if value.contains('\0') {
        return refuse("holds a NUL character, which no process can be given; encode it, as base64".into());
    }
    if let Some(reason) = meaningless(name, value.trim()) {
        return refuse(reason);
    }
    if value.len() > MAX_VALUE {
        return refuse(format!("is longer than {MAX_VALUE} bytes; keep it in a file or a database"));
    }
    Ok(())
}

/// What is wrong with the value of a variable of CONTRACT that is no secret and takes few values.
fn meaningless(name: &str, value: &str) -> Option<String> {
    let wrong = match name {
        "CC_WORKER_RESTART" => Restart::named(value).is_none(),
        "CC_WORKER_RESTART_DELAY" => !value.parse::<u32>().is_ok_and(|seconds| seconds <= MAX_DELAY_S),
        TASK => !matches!(value, "true" | "false" | "1" | "0" | "yes" | "no" | "on" | "off"),
        _ => false,
    };
    let remedy = match name {
        "CC_WORKER_RESTART" => "must be always, on-failure or no".to_owned(),
        TASK => "must be true or false; what the task runs is CC_RUN_COMMAND".to_owned(),
        _ => format!("must be a number of seconds from 0 to {MAX_DELAY_S}"),
    };
    (wrong && !value.is_empty()).then_some(remedy)
}

/// Whose variables they are.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// The app.
    pub app: &'a AppId,
    /// Its name.
    pub name: &'a str,
    /// The deployment that made the environment, or whose build it is.
    pub deployment: &'a DeploymentId,
    /// What it runs: the full hash.
    pub commit: &'a str,
    /// The instance.
    pub instance: &'a InstanceId,
    /// Its type: some get variables of their own.
    pub kind: Kind,
    /// Its memory, in MiB.
    pub memory_mib: u64,
    /// For a build or for production.
    pub purpose: Purpose<'a>,
}

/// What an instance is for.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// A build: nothing listens.
    Build,
    /// It serves.
    Production {
        /// 0…n-1.
        number: u32,
        /// The place of its environment.
        colour: Colour,
        /// Where requests come from: proxies whose `X-Forwarded-For` may be believed.
        proxies: &'a [IpAddr],
    },
}

/// All variables of an instance: the type's defaults, then the user's, then Teal's.
///
/// `PORT`, `APP_HOME`, `HOME` and `PATH` depend on where it runs and are added by the runtime; a user's `PORT` and `APP_HOME` are dropped, for
/// the app has to listen where the router looks.
#[must_use]
pub fn variables(context: &Context<'_>, defaults: &Variables, user: &Variables) -> Variables {
    let mut all = defaults.clone();
    all.extend(user.iter().map(|(name, value)| (name.clone(), value.clone())));
    for runtimes in ["PORT", "APP_HOME"] {
        all.remove(runtimes);
    }
    if context.kind == Kind::Node {
        let own = all.remove("NODE_OPTIONS").unwrap_or_default();
        all.insert("NODE_OPTIONS".into(), node_options(&own, context.memory_mib));
    }
    if context.kind == Kind::Java {
        // Inside a sandbox Java sees the memory of the host.
        let own = all.remove("JDK_JAVA_OPTIONS").unwrap_or_default();
        all.insert("JDK_JAVA_OPTIONS".into(), java_options(&own, context.memory_mib));
    }
    all.extend(identity(context).into_iter().map(|(name, value)| (name.to_owned(), value)));
    all
}

fn identity(context: &Context<'_>) -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("APP_ID", context.app.to_string()),
        ("CC_APP_ID", context.app.to_string()),
        ("CC_APP_NAME", context.name.to_owned()),
        ("CC_DEPLOYMENT_ID", context.deployment.to_string()),
        ("CC_COMMIT_ID", context.commit.to_owned()),
        ("COMMIT_ID", context.commit.to_owned()),
        ("INSTANCE_ID", context.instance.to_string()),
        ("CC_PRETTY_INSTANCE_NAME", pretty(context.instance)),
    ];
    match context.purpose {
        Purpose::Build => {
            all.extend([("INSTANCE_TYPE", "build".into()), ("INSTANCE_NUMBER", "0".into())]);
        }
        Purpose::Production { number, colour, proxies } => {
            let proxies: Vec<_> = proxies.iter().map(ToString::to_string).collect();
            all.extend([
                ("INSTANCE_TYPE", "production".into()),
                ("INSTANCE_NUMBER", number.to_string()),
                ("CC_REVERSE_PROXY_IPS", proxies.join(",")),
                ("TEAL_COLOUR", colour.word().to_owned()),
            ]);
        }
    }
    all
}

/// Node's heap may take ¾ of the memory, unless the user chose otherwise.
fn node_options(own: &str, memory_mib: u64) -> String {
    if own.contains("max-old-space-size") || own.contains("max_old_space_size") {
        return own.to_owned();
    }
    format!("--max-old-space-size={} {own}", memory_mib * 3 / 4).trim_end().to_owned()
}

/// Java's heap may take ¾ of the memory, unless the user chose otherwise.
fn java_options(own: &str, memory_mib: u64) -> String {
    if own.contains("-Xmx") || own.contains("MaxRAM") {
        return own.to_owned();
    }
    format!("-Xmx{}m {own}", memory_mib * 3 / 4).trim_end().to_owned()
}

const MANNERS: [&str; 16] = [
    "calm", "brisk", "amber", "quiet", "bold", "gentle", "merry", "swift", "sunny", "sturdy", "keen",
    "mellow", "lucid", "plucky", "serene", "witty",
];
const BIRDS: [&str; 16] = [
    "heron", "wren", "teal", "curlew", "robin", "plover", "osprey", "finch", "swallow", "dipper", "lapwing",
    "kestrel", "grebe", "pipit", "starling", "avocet",
];

/// A name for people, always the same for the same instance.
#[must_use]
pub fn pretty(instance: &InstanceId) -> String {
    let sum = instance
        .as_str()
        .bytes()
        .fold(0x811c_9dc5_u32, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let pick = |words: &[&'static str; 16], shift: u32| words[(sum >> shift) as usize & 15];
    format!("{}-{}", pick(&MANNERS, 4), pick(&BIRDS, 12))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(kind: Kind, user: &[(&str, &str)], purpose: Purpose<'_>) -> Variables {
        let (app, deployment, instance) = ("app-1".parse(), "d-1".parse(), "e-1-0".parse());
        let context = Context {
            app: &app.expect("legal"),
            name: "shop",
            deployment: &deployment.expect("legal"),
            commit: "abc",
            instance: &instance.expect("legal"),
            kind,
            memory_mib: 512,
            purpose,
        };
        let user = user.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        variables(&context, &Variables::from([("DEFAULT".into(), "type".into())]), &user)
    }

    #[test]
    fn names_that_a_shell_would_not_take_are_refused_and_values_never_shown() {
        for bad in ["", "1A", "A-B", "A B", "É", "A=B", "A\n"] {
            assert!(check(bad, "x").is_err(), "{bad:?}");
        }
        for good in ["A", "_a1", "CC_RUN_COMMAND"] {
            assert_eq!(check(good, "any\nvalue"), Ok(()));
        }
        for (name, value) in
            [("CC_WORKER_RESTART", "sometimes"), ("CC_WORKER_RESTART_DELAY", "-1"), (TASK, "rake jobs")]
        {
            let told = check(name, value).expect_err("refused").to_string();
            assert!(told.contains(name) && told.contains("must be"), "{told}");
        }
        assert_eq!(check("CC_WORKER_RESTART", "on-failure"), Ok(()));
        let shown = check("SECRET", "s3cr\0et").expect_err("refused").to_string();
        assert!(!shown.contains("s3cr"), "{shown}");
    }

    #[test]
    fn teal_knows_best_who_an_instance_is_and_the_user_everything_else() {
        let proxies = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
        let purpose = Purpose::Production { number: 2, colour: Colour::Green, proxies: &proxies };
        let all = with(Kind::Linux, &[("COMMIT_ID", "forged"), ("DEFAULT", "mine"), ("PORT", "1")], purpose);
        assert_eq!(all["COMMIT_ID"], "abc");
        assert_eq!(all["DEFAULT"], "mine");
        assert_eq!(all["INSTANCE_NUMBER"], "2");
        assert_eq!(all["INSTANCE_TYPE"], "production");
        assert_eq!(all["CC_REVERSE_PROXY_IPS"], "10.0.0.1,10.0.0.2");
        assert_eq!(all["TEAL_COLOUR"], "green");
        assert!(!all.contains_key("PORT"), "the runtime's to say");
        assert!(!with(Kind::Linux, &[], Purpose::Build).contains_key("TEAL_COLOUR"));
    }

    #[test]
    fn node_gets_three_quarters_of_the_memory_unless_told_otherwise() {
        assert_eq!(with(Kind::Node, &[], Purpose::Build)["NODE_OPTIONS"], "--max-old-space-size=384");
        let own = with(Kind::Node, &[("NODE_OPTIONS", "--enable-source-maps")], Purpose::Build);
        assert_eq!(own["NODE_OPTIONS"], "--max-old-space-size=384 --enable-source-maps");
        let own = with(Kind::Node, &[("NODE_OPTIONS", "--max-old-space-size=99")], Purpose::Build);
        assert_eq!(own["NODE_OPTIONS"], "--max-old-space-size=99");
        assert!(!with(Kind::Python, &[], Purpose::Build).contains_key("NODE_OPTIONS"));
        assert_eq!(with(Kind::Java, &[], Purpose::Build)["JDK_JAVA_OPTIONS"], "-Xmx384m");
        let own = with(Kind::Java, &[("JDK_JAVA_OPTIONS", "-Xmx99m")], Purpose::Build);
        assert_eq!(own["JDK_JAVA_OPTIONS"], "-Xmx99m");
    }
}
