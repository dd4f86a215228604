//! A platform in a directory of its own, with images that are manifests only, and apps that are pushed to it.

use super::router;
use crate::{
    config::Config,
    driver::Driver,
    images::fake::Maker,
    platform::{Platform, Principal, Push, Rights, Way},
    secrets::Key,
    store::{QueuedMail, Store},
    world::now,
};
use std::{
    collections::BTreeMap,
    fs,
    future::{Future, poll_fn},
    path::Path,
    pin::pin,
    process::Command,
    sync::Arc,
    task::Poll,
    time::Duration,
};
use teal_core::{
    api::{DeploymentView, MaintenanceView, NewApp},
    image::{MANIFEST, Manifest},
    time::Time,
    upkeep::{Rollout, patch::Every},
};
use teal_runtime::{
    any::Any,
    fake::{Behaviour, Fake},
};

/// Far beyond what any of these takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

pub(super) struct Rig {
    pub(super) platform: Platform,
    pub(super) store: Store,
    fake: Fake,
    /// Who makes images, and what apt has.
    pub(super) maker: Arc<Maker>,
    directory: tempfile::TempDir,
}

impl Rig {
    pub(super) fn new(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path().to_owned();
        let mut config = Config {
            data: data.clone(),
            mail_to: vec!["ops@example.test".into()],
            image: "debian-12".into(),
            ..Config::default()
        };
        config.maintenance.spread_s = 0;
        config.maintenance.check = Every::Off;
        change(&mut config);
        let store =
            Store::open(&data.join("store"), Key::open(&data.join("key")).expect("a key")).expect("opens");
        let logs = data.join("instances");
        fs::create_dir(&logs).expect("made");
        let fake = Fake::new(logs);
        router::serve(&data);
        let program = std::env::current_exe().expect("a program");
        let open = crate::start::world(Arc::new(config), store.clone(), Any::Fake(fake.clone()), program);
        let mut world = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(open))
            .expect("a world");
        let maker = Maker::new();
        world.images = world.images.made_by(Arc::clone(&maker));
        let platform = Platform::new(world.clone(), Driver::new(world), Vec::new());
        Self { platform, store, fake, maker, directory }
    }

    pub(super) fn who() -> Principal {
        Principal { user: "admin".into(), way: Way::Cli, rights: Rights::everything().into() }
    }

    pub(super) fn tomorrow(&self) -> String {
        crate::log::rfc3339(now().plus(86_400_000))
    }

    /// Makes an image. The newest is the one that is built on.
    pub(super) fn image(&self, version: &str, built: u64, packages: &[(&str, &str)]) {
        let manifest = Manifest {
            name: "debian-12".into(),
            version: version.into(),
            hash: "0".repeat(64),
            built: Time(built),
            kernel: "6.1".into(),
            agent: "0".repeat(64),
            packages: packages.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            security: [].into(),
        };
        let directory = self.directory.path().join("images").join(version);
        fs::create_dir_all(&directory).expect("made");
        fs::write(directory.join(MANIFEST), serde_json::to_vec(&manifest).expect("JSON")).expect("written");
    }

    pub(super) async fn create(&self, name: &str) {
        let settings = [("bake_s", 0), ("good_probes", 1), ("drain_s", 1), ("start_deadline_s", 200)];
        let config: BTreeMap<String, serde_json::Value> =
            settings.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let new = NewApp { name: name.into(), config };
        self.platform.create_app(&Self::who(), new).await.expect("made");
    }

    /// Pushes a commit of each app, and waits until all are live and at rest.
    pub(super) async fn deploy_all(&self, apps: &[String]) {
        for name in apps {
            if self.platform.find_app(name).await.is_err() {
                self.create(name).await;
            }
            let app = self.platform.find_app(name).await.expect("there");
            let commit = commit(&self.platform.repository(&app));
            let push = Push { commit, message: "One".into(), author: "Ada".into() };
            self.platform.push(&Self::who(), &app, push).await.expect("taken");
        }
        for name in apps {
            self.wait(&format!("{name} is live"), || async {
                let activity = self.activity(name).await;
                (activity.first().is_some_and(|newest| newest.state == "OK")).then_some(())
            })
            .await;
        }
    }

    /// Whatever is started or built of this app from now on breaks.
    pub(super) async fn breaks(&self, name: &str) {
        let app = self.platform.find_app(name).await.expect("there");
        self.fake.behave(app.as_str(), Behaviour { exits: Some(3), ..Behaviour::default() });
    }

    /// Its live environment, and the image that it runs on.
    pub(super) async fn live(&self, name: &str) -> (String, String) {
        let app = self.platform.find_app(name).await.expect("there");
        let rows = self.store.load(&app).await.expect("read").expect("there");
        let live = rows.live().expect("live");
        (live.id.to_string(), live.image.clone())
    }

    pub(super) async fn activity(&self, name: &str) -> Vec<DeploymentView> {
        let app = self.platform.find_app(name).await.expect("there");
        self.platform.activity(&app, 100).await.expect("read")
    }

    pub(super) async fn mails(&self) -> Vec<QueuedMail> {
        self.store.mails_due(crate::store::Carrier::Mail, Time(u64::MAX >> 2), 1000).await.expect("read")
    }

    pub(super) async fn newest(&self) -> Rollout {
        self.store.newest_rollout().await.expect("read").expect("a rollout")
    }

    pub(super) async fn newest_is_over(&self) -> bool {
        let newest = self.store.newest_rollout().await.expect("read");
        newest.is_some_and(|rollout| rollout.state.is_final())
    }

    pub(super) async fn pass(&self) {
        self.platform.upkeep().pass().await.expect("the store works");
    }

    /// One look that is dropped at its nth point of waiting; whether it got through before.
    pub(super) async fn pass_until(&self, points: u32) -> bool {
        dropped_at(points, self.platform.upkeep().pass()).await.is_some()
    }

    /// One look at the image that is dropped at its nth point of waiting; whether it got through before.
    pub(super) async fn patch_until(&self, points: u32) -> bool {
        dropped_at(points, self.platform.upkeep().patch()).await.is_some()
    }

    pub(super) async fn until(&self, wanted: impl Fn(&MaintenanceView) -> bool) -> MaintenanceView {
        self.wait("maintenance is so far", || async {
            Some(self.platform.maintenance().await.expect("a view")).filter(&wanted)
        })
        .await
    }

    pub(super) async fn wait<T, F: Future<Output = Option<T>>>(&self, what: &str, look: impl Fn() -> F) -> T {
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        match waited.await {
            Ok(found) => found,
            Err(_) => panic!("never: {what}: {:#?}", self.platform.maintenance().await),
        }
    }
}

/// Polls a look until its nth point of waiting, and drops it there.
async fn dropped_at<T>(points: u32, look: impl Future<Output = Result<T, crate::store::Error>>) -> Option<T> {
    let mut left = points;
    let mut look = pin!(look);
    poll_fn(|context| match look.as_mut().poll(context) {
        Poll::Ready(looked) => Poll::Ready(Some(looked.expect("the store works"))),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// A repository with one commit, which is the same whenever it is made.
fn commit(repository: &Path) -> String {
    let git = |arguments: &[&str], input: Option<&Path>| {
        let stdin =
            input.map_or_else(std::process::Stdio::null, |path| fs::File::open(path).expect("there").into());
        let git = Command::new("git")
            .arg("-C")
            .arg(repository)
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.test"])
            .args(arguments)
            .envs([("GIT_AUTHOR_DATE", "@1 +0000"), ("GIT_COMMITTER_DATE", "@1 +0000")])
            .stdin(stdin)
            .output()
            .expect("git runs");
        assert!(git.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&git.stderr));
        String::from_utf8_lossy(&git.stdout).trim().to_owned()
    };
    fs::create_dir_all(repository).expect("a directory");
    git(&["init", "-q", "--bare"], None);
    let file = repository.join("procfile.txt");
    fs::write(&file, "web: serve\n").expect("written");
    let blob = git(&["hash-object", "-w", "--stdin"], Some(&file));
    fs::write(&file, format!("100644 blob {blob}\tProcfile\n")).expect("written");
    let tree = git(&["mktree"], Some(&file));
    git(&["commit-tree", &tree, "-m", "One"], None)
}
