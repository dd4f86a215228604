//! What an environment's instances are to be: from the release, the snapshot of variables and settings, and the facts that CONTRACT injects.

use super::{
    World, broke,
    check::{Health, TCP},
    unknown,
};
use crate::{
    appconfig::{AppConfig, HealthKind, PORT},
    probe,
    release::{self, Release},
    store::Variables,
};
use teal_core::{
    deploy::{Environment, Outcome, Rows, Stage},
    domain,
};
use teal_runtime::{InstanceSpec, Limits};

impl World {
    /// The specification of one instance; the same whenever it is asked for.
    pub(super) async fn spec(
        &self,
        rows: &Rows,
        environment: &Environment,
        number: u32,
    ) -> Result<InstanceSpec, Outcome> {
        let (release, facts) = self.facts(rows, environment).await?;
        Ok(release::run_spec(&release, &facts, number))
    }

    /// The release of an environment, and what the environment adds to it.
    pub(super) async fn facts(
        &self,
        rows: &Rows,
        environment: &Environment,
    ) -> Result<(Release, release::Environment), Outcome> {
        let release = self.release_of(environment)?;
        let (variables, config) = self.snapshot(rows, environment, &release).await?;
        let image = self.images.of(&environment.image);
        let facts = release::Environment {
            id: environment.id.clone(),
            app: rows.app.id.clone(),
            name: rows.app.name.clone(),
            deployment: environment.deployment.clone(),
            commit: environment.commit.id.clone(),
            colour: environment.colour,
            variables,
            tcp_port: config.tcp_instance_port,
            image: image.map_err(|error| broke(Stage::Start, &error.to_string()))?,
            limits: limits(&config),
            proxies: Vec::new(),
            server: self.builder.server().to_owned(),
        };
        Ok((release, facts))
    }

    fn release_of(&self, environment: &Environment) -> Result<Release, Outcome> {
        match self.releases.get(&environment.release) {
            Ok(Some(release)) => Ok(release),
            Ok(None) => {
                let message = "the release is not there any more: push the commit again, or redeploy it from the activity";
                Err(broke(Stage::Start, message))
            }
            Err(error) => Err(unknown("release", &error)),
        }
    }

    /// What healthy means for it.
    pub(super) async fn health(&self, rows: &Rows, environment: &Environment) -> Result<Health, Outcome> {
        let (variables, config) = self.snapshot(rows, environment, &self.release_of(environment)?).await?;
        Ok(Health {
            questions: questions(&config, &variables),
            host: domain::first(&rows.app.domains).map_or("localhost", domain::host).into(),
            strict: config.strict_health,
            good: rows.app.settings.good_probes.max(1),
            port: PORT,
            tcp_port: config.tcp_instance_port.unwrap_or(PORT),
            patience: probe::PATIENCE * self.runtime.slowness(),
        })
    }

    async fn snapshot(
        &self,
        rows: &Rows,
        environment: &Environment,
        release: &Release,
    ) -> Result<(Variables, AppConfig), Outcome> {
        match self.store.snapshot(&rows.app.id, environment.config).await {
            Ok(Some((variables, overrides))) => {
                let manifest = &release.meta.manifest;
                let config = manifest.settings_below(&overrides).map_err(|why| broke(Stage::Start, &why))?;
                Ok((manifest.variables_below(&variables), config))
            }
            Ok(None) => Err(broke(
                Stage::Start,
                "the variables of this environment are not kept any more: push or redeploy again",
            )),
            Err(error) => Err(unknown("variables", &error)),
        }
    }
}

fn limits(config: &AppConfig) -> Limits {
    Limits {
        memory_mib: config.memory_mib,
        cpu_milli: config.cpu_milli,
        pids: config.pids,
        disk_mib: config.disk_mib,
    }
}

/// What every instance is asked: its paths, unless it speaks no HTTP; and its port for streams, if it has one of its own or nothing else.
fn questions(config: &AppConfig, variables: &Variables) -> Vec<String> {
    let http = config.health == HealthKind::Http;
    let mut questions = if http { paths(variables) } else { Vec::new() };
    if !http || config.tcp_instance_port.is_some() {
        questions.push(TCP.to_owned());
    }
    questions
}

/// Every path that must answer well: `CC_HEALTH_CHECK_PATH`, `CC_HEALTH_CHECK_PATH_0…_N`, else `/`.
fn paths(variables: &Variables) -> Vec<String> {
    let numbered = |name: &str| {
        name.strip_prefix("CC_HEALTH_CHECK_PATH_").is_some_and(|n| n.chars().all(|c| c.is_ascii_digit()))
    };
    let chosen = variables.iter().filter(|(name, _)| *name == "CC_HEALTH_CHECK_PATH" || numbered(name));
    let mut paths: Vec<String> =
        chosen.map(|(_, path)| format!("/{}", path.trim_start_matches('/'))).collect();
    if paths.is_empty() {
        paths.push("/".into());
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_of_its_own_for_streams_is_asked_beside_the_paths() {
        let of = |health, tcp_instance_port| {
            let config = AppConfig { health, tcp_instance_port, ..AppConfig::default() };
            questions(&config, &Variables::new())
        };
        assert_eq!(of(HealthKind::Http, None), ["/"]);
        assert_eq!(of(HealthKind::Http, Some(5432)), ["/", TCP]);
        assert_eq!(of(HealthKind::Tcp, None), [TCP]);
        assert_eq!(of(HealthKind::Tcp, Some(5432)), [TCP]);
    }

    #[test]
    fn every_named_path_is_checked() {
        let of = |names: &[(&str, &str)]| {
            paths(&names.iter().map(|(n, p)| (n.to_string(), p.to_string())).collect())
        };
        assert_eq!(of(&[]), ["/"]);
        let all = of(&[
            ("CC_HEALTH_CHECK_PATH", "/a"),
            ("CC_HEALTH_CHECK_PATH_0", "b"),
            ("CC_HEALTH_CHECK_PATH_12", "/c"),
            ("CC_HEALTH_CHECK_PATH_X", "/d"),
        ]);
        assert_eq!(all, ["/a", "/b", "/c"]);
    }
}
