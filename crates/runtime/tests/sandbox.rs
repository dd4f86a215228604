//! Sandboxes on the real kernel. Needs root, namespaces, `nft`, loop devices and python3; skipped loudly without root.
//!
//! Every test has its own data directory, subtree, pool and table, and looks at the end that nothing of it is left on the host.

#[path = "sandbox/rig.rs"]
mod rig;

use rig::{Rig, done};
use teal_runtime::{Runtime, State};

#[tokio::test(flavor = "multi_thread")]
async fn a_python_app_starts_answers_and_leaves_nothing() {
    let Some(rig) = Rig::new() else { return };
    let spec = rig.python("e-1-0");
    let started = std::time::Instant::now();
    let inspection = done(rig.sandbox.ensure(&spec).await);
    println!("ensure: {:?}", started.elapsed());
    println!("{inspection:?}");
    rig.until(&spec.id, |state| matches!(state, State::Running { listening } if !listening.is_empty())).await;
    println!("listening: {:?}", started.elapsed());
    rig.close().await;
}
