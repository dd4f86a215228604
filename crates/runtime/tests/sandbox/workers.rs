//! Workers run when told to, and after a stop none of them does.

use crate::rig::{PATIENCE, Rig, done};
use std::time::{Duration, Instant};
use teal_runtime::Runtime;

/// Leaves children in sessions of their own, as a careless daemon does.
const CARELESS: &str = "echo works; (setsid sleep 4711 &); (setsid setsid sleep 4711 &); exec sleep 4711";

#[tokio::test(flavor = "multi_thread")]
async fn after_a_stop_nothing_of_a_worker_is_left() {
    let Some(rig) = Rig::new() else { return };
    let mut spec = rig.python("e-1-0");
    spec.workers = vec![CARELESS.into(), "trap '' TERM; echo deaf; while :; do sleep 4711; done".into()];
    done(rig.sandbox.ensure(&spec).await);
    rig.until_listening(&spec.id).await;
    assert_eq!(rig.count(&spec.id, "4711"), 0, "workers wait until they are told");
    done(rig.sandbox.singletons(&spec.id, true).await);
    done(rig.sandbox.singletons(&spec.id, true).await);
    rig.until_line(&spec.id, "works").await;
    rig.until_line(&spec.id, "deaf").await;
    let end = Instant::now() + PATIENCE;
    while rig.count(&spec.id, "4711") < 4 {
        assert!(Instant::now() < end, "all four sleepers run");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    done(rig.sandbox.singletons(&spec.id, false).await);
    assert_eq!(rig.count(&spec.id, "4711"), 0, "acknowledged means ended");
    rig.until_listening(&spec.id).await;
    done(rig.sandbox.singletons(&spec.id, true).await);
    rig.until_line_count(&spec.id, "works", 2).await;
    done(rig.sandbox.stop(&spec.id, Duration::from_secs(1)).await);
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ends_starts_again() {
    let Some(rig) = Rig::new() else { return };
    let mut spec = rig.python("e-1-0");
    spec.workers = vec!["echo once more; exit 3".into()];
    done(rig.sandbox.ensure(&spec).await);
    done(rig.sandbox.singletons(&spec.id, true).await);
    rig.until_line_count(&spec.id, "once more", 2).await;
    rig.until_line(&spec.id, "The worker ended with exit code 3; it starts again in 1 s").await;
    done(rig.sandbox.singletons(&spec.id, false).await);
    rig.close().await;
}
