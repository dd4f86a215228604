//! Apt with the host's sources and keys but a state of its own: what an image would be made of is asked here, and the host's lists and packages
//! are never touched.

use super::{
    Error,
    packages::{self, Planned},
    recipe::Recipe,
    sources,
    stop::Stop,
    tool::Tool,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Where a host keeps its sources.
const ETC: &str = "/etc/apt";

/// More files or bytes than these are no list of sources.
const MAX_FILES: usize = 200;
const MAX_FILE: u64 = 1024 * 1024;

/// Settings of the host's apt that say how a mirror is reached and trusted: whatever else it is told is about the host itself.
const KEPT: [&str; 9] = [
    "acquire::http",
    "acquire::https",
    "acquire::ftp",
    "acquire::check-",
    "acquire::force",
    "acquire::retries",
    "acquire::max-",
    "acquire::min-",
    "acquire::allow",
];

/// An apt of an image's own, in a directory of its own.
#[derive(Debug)]
pub(super) struct Apt {
    home: PathBuf,
    recipe: &'static Recipe,
    stop: Stop,
}

impl Apt {
    /// Prepares the directory.
    pub(super) fn prepare(home: PathBuf, recipe: &'static Recipe, stop: &Stop) -> Result<Self, Error> {
        let chosen = sources::select(&host_sources()?, recipe.suites);
        if chosen.is_empty() {
            return Err(Error::NoSource(recipe.suite.to_owned()));
        }
        for directory in ["state/lists/partial", "cache/archives/partial", "etc", "log"] {
            let path = home.join(directory);
            fs::create_dir_all(&path).map_err(Error::io("make", &path))?;
        }
        let settings = kept(&Tool::new("apt-config", stop).args(&["dump", "Acquire"]).answer()?);
        let apt = Self { home, recipe, stop: stop.clone() };
        apt.write("state/status", "")?;
        apt.write("etc/image.sources", &chosen)?;
        apt.write("settings.conf", &settings)?;
        apt.write("apt.conf", &(settings + &apt.own()))?;
        Ok(apt)
    }

    /// The sources, as mmdebstrap takes them.
    pub(super) fn sources(&self) -> PathBuf {
        self.home.join("etc/image.sources")
    }

    /// What of the host's settings applies to any apt that makes this image.
    pub(super) fn settings(&self) -> PathBuf {
        self.home.join("settings.conf")
    }

    /// Fetches the lists.
    pub(super) fn update(&self, say: &dyn Fn(&str)) -> Result<(), Error> {
        self.tool("apt-get").args(&["--quiet", "--error-on=any", "update"]).run(say)
    }

    /// Everything that would be installed now: the system and, last, the kernel's package.
    pub(super) fn plan(&self) -> Result<Vec<Planned>, Error> {
        let simulate = ["--simulate", "--quiet", "install"];
        let system =
            self.tool("apt-get").args(&simulate).arg("?essential").args(self.recipe.packages).answer()?;
        let kernel = self.tool("apt-get").args(&simulate).arg(self.recipe.kernel).answer()?;
        let mut all = packages::planned(&system);
        let image = |planned: &Planned| {
            planned.name.starts_with("linux-image-") && planned.name != self.recipe.kernel
        };
        let kernel = packages::planned(&kernel).into_iter().find(image);
        all.push(kernel.ok_or_else(|| Error::Kernel("there is no package of it".to_owned()))?);
        Ok(all)
    }

    /// Fetches a package's file into this directory, checked as apt checks it, and answers where it is.
    pub(super) fn download(&self, package: &Planned, into: &Path) -> Result<PathBuf, Error> {
        fs::create_dir_all(into).map_err(Error::io("make", into))?;
        let wanted = format!("{}={}", package.name, package.version);
        self.tool("apt-get")
            .args(&["--quiet", "download", &wanted])
            .directory(into.to_owned())
            .run(&|_| ())?;
        let mut files =
            fs::read_dir(into).map_err(Error::io("read", into))?.flatten().map(|entry| entry.path());
        let found = files.find(|path| path.extension().is_some_and(|ending| ending == "deb"));
        found.ok_or_else(|| Error::Kernel("apt did not bring its package".to_owned()))
    }

    fn tool(&self, program: &str) -> Tool {
        Tool::new(program, &self.stop).env("APT_CONFIG", self.home.join("apt.conf"))
    }

    /// Its own settings: nothing of the host's state is read, nothing of it written.
    fn own(&self) -> String {
        let home = self.home.display();
        // The last line: without it apt counts itself among what is essential.
        format!(
            "Dir::State \"{home}/state\";\nDir::State::status \"{home}/state/status\";\nDir::Cache \"{home}/cache\";\nDir::Log \"{home}/log\";\n\
             Dir::Etc::SourceList \"/dev/null\";\nDir::Etc::SourceParts \"{home}/etc\";\n\
             Dir::Etc::Preferences \"/dev/null\";\nDir::Etc::PreferencesParts \"/dev/null\";\n\
             Acquire::Languages \"none\";\nAPT::Install-Recommends \"false\";\nAPT::Sandbox::User \"root\";\n\
             #clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n\
             pkgCacheGen::ForceEssential \",\";\n"
        )
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.home.join(name);
        fs::write(&path, text).map_err(Error::io("write", &path))
    }
}

/// The host's sources, by name; what apt itself would not read is left out.
fn host_sources() -> Result<Vec<(String, String)>, Error> {
    let etc = Path::new(ETC);
    let parts = etc.join("sources.list.d");
    let mut paths = vec![etc.join("sources.list")];
    match fs::read_dir(&parts) {
        Ok(entries) => paths.extend(entries.flatten().map(|entry| entry.path()).take(MAX_FILES)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io("read", &parts)(error)),
    }
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "list" || ending == "sources"));
    paths.sort();
    let small =
        |path: &PathBuf| fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() <= MAX_FILE);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        Ok((path.to_string_lossy().into_owned(), text))
    };
    paths.into_iter().filter(small).map(read).collect()
}

/// Of what `apt-config dump` says, the settings that matter.
fn kept(dump: &str) -> String {
    let matters = |line: &&str| {
        let line = line.to_ascii_lowercase();
        KEPT.iter().any(|kept| line.starts_with(kept)) && !line.ends_with("\"\";")
    };
    dump.lines().filter(matters).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_how_a_mirror_is_reached_is_taken_from_the_host() {
        let dump = "Acquire \"\";\nAcquire::http \"\";\nAcquire::http::Proxy \"http://p.test:1\";\nAcquire::Check-Valid-Until \"false\";\n\
                    Acquire::cdrom::mount \"/media/cdrom/\";\nAcquire::Languages:: \"de\";\nAcquire::IndexTargets::deb::x \"y\";\n";
        assert_eq!(
            kept(dump),
            "Acquire::http::Proxy \"http://p.test:1\";\nAcquire::Check-Valid-Until \"false\";\n"
        );
    }
}
