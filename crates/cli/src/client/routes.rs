//! The API's routes, each once. Names of methods say what is asked; nothing else in the CLI knows a path.

use super::{Client, segment};
use crate::error::Result;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use teal_core::{
    api::{
        Accepted, Action, AppView, AuditView, CertificateView, DeploymentView, FindingView, HookDeliveryView,
        HookView, KeyView, LogView, MadeHook, MaintenanceAction, MaintenanceRequest, MaintenanceView,
        MemberRequest, MemberView, MetricsView, NewApp, NewHook, NewToken, PinRequest, PinView, StatusView,
        TokenRequest, TokenView, UserRequest, UserView, VariableView, WhoAmI,
        image::{ImageBuildView, ImageCheckView, ImageDetails, ImageView},
    },
    id::DeploymentId,
    image::Change,
    role::Role,
    traffic::TrafficView,
};

impl Client {
    /// Who we are, and by which token: its id is the user's name for git over HTTP.
    pub(crate) fn whoami(&self) -> Result<WhoAmI> {
        self.get("whoami")
    }

    /// All apps.
    pub(crate) fn apps(&self) -> Result<Vec<AppView>> {
        self.get("apps")
    }

    /// Makes an app.
    pub(crate) fn create_app(&self, new: &NewApp) -> Result<AppView> {
        self.send("POST", "apps", new)
    }

    /// One app.
    pub(crate) fn app(&self, name: &str) -> Result<AppView> {
        self.get(&of(name, ""))
    }

    /// Deletes an app with everything that it has.
    pub(crate) fn delete_app(&self, name: &str) -> Result<Accepted> {
        self.remove(&of(name, ""))
    }

    /// What is head, live, spare and under way.
    pub(crate) fn status(&self, name: &str) -> Result<StatusView> {
        self.get(&of(name, "/status"))
    }

    /// The newest deployments first.
    pub(crate) fn activity(&self, name: &str, limit: u32) -> Result<Vec<DeploymentView>> {
        self.get(&of(name, &format!("/activity?limit={limit}")))
    }

    /// One deployment.
    pub(crate) fn deployment(&self, name: &str, deployment: &DeploymentId) -> Result<DeploymentView> {
        self.get(&of(name, &format!("/deployments/{}", segment(deployment.as_str()))))
    }

    /// Lines of a deployment's log after line `after`.
    pub(crate) fn log(&self, name: &str, deployment: &DeploymentId, after: u64) -> Result<Vec<LogView>> {
        self.get(&of(
            name,
            &format!("/deployments/{}/log?after={after}&limit=1000", segment(deployment.as_str())),
        ))
    }

    /// Everything that can be asked of an app besides a push.
    pub(crate) fn act(&self, name: &str, action: &Action) -> Result<Accepted> {
        self.send("POST", &of(name, "/actions"), action)
    }

    /// Variables, with their values only if asked for.
    pub(crate) fn variables(&self, name: &str, values: bool) -> Result<Vec<VariableView>> {
        self.get(&of(name, &format!("/variables?values={values}")))
    }

    /// Sets and removes variables.
    pub(crate) fn set_variables(
        &self,
        name: &str,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<Accepted> {
        self.send("PATCH", &of(name, "/variables"), changes)
    }

    /// The certificates of its host names.
    pub(crate) fn certificates(&self, name: &str) -> Result<Vec<CertificateView>> {
        self.get(&of(name, "/certificates"))
    }

    /// Adds and removes host names.
    pub(crate) fn set_domains(&self, name: &str, add: &[String], remove: &[String]) -> Result<Vec<String>> {
        self.send("PATCH", &of(name, "/domains"), &json!({ "add": add, "remove": remove }))
    }

    /// Settings.
    pub(crate) fn config(&self, name: &str) -> Result<BTreeMap<String, Value>> {
        self.get(&of(name, "/config"))
    }

    /// Changes settings; `null` goes back to the default.
    pub(crate) fn set_config(
        &self,
        name: &str,
        changes: &BTreeMap<String, Value>,
    ) -> Result<BTreeMap<String, Value>> {
        self.send("PATCH", &of(name, "/config"), changes)
    }

    /// What moves through one app, or through all: the answer comes after the second that it is about.
    pub(crate) fn traffic(&self, app: Option<&str>) -> Result<Vec<TrafficView>> {
        match app {
            Some(name) => self.get(&of(name, "/traffic")),
            None => self.get("traffic"),
        }
    }

    /// What an app did over the last hour, day or week.
    pub(crate) fn metrics(&self, app: &str, window: &str) -> Result<MetricsView> {
        self.get(&of(app, &format!("/metrics?window={}", segment(window))))
    }

    /// All users.
    pub(crate) fn users(&self) -> Result<Vec<UserView>> {
        self.get("users")
    }

    /// Adds a user, or changes the mail address or the role of one.
    pub(crate) fn set_user(&self, user: &UserRequest) -> Result<UserView> {
        self.send("POST", "users", user)
    }

    /// Who may do something with an app.
    pub(crate) fn members(&self, app: &str) -> Result<Vec<MemberView>> {
        self.get(&of(app, "/members"))
    }

    /// Gives a user a role in an app.
    pub(crate) fn set_member(&self, app: &str, user: &str, role: Role) -> Result<Vec<MemberView>> {
        self.send("PUT", &of(app, &format!("/members/{}", segment(user))), &MemberRequest { role })
    }

    /// What was asked for, the newest first.
    pub(crate) fn audit(&self, limit: u32) -> Result<Vec<AuditView>> {
        self.get(&format!("audit?limit={limit}"))
    }

    /// Removes a user.
    pub(crate) fn remove_user(&self, name: &str) -> Result<()> {
        self.delete(&format!("users/{}", segment(name)))
    }

    /// All tokens.
    pub(crate) fn tokens(&self) -> Result<Vec<TokenView>> {
        self.get("tokens")
    }

    /// Makes a token.
    pub(crate) fn create_token(&self, new: &TokenRequest) -> Result<NewToken> {
        self.send("POST", "tokens", new)
    }

    /// Ends a token.
    pub(crate) fn remove_token(&self, id: &str) -> Result<()> {
        self.delete(&format!("tokens/{}", segment(id)))
    }

    /// All SSH keys.
    pub(crate) fn keys(&self) -> Result<Vec<KeyView>> {
        self.get("keys")
    }

    /// Registers an SSH public key.
    pub(crate) fn add_key(&self, name: &str, key: &str) -> Result<KeyView> {
        self.send("POST", "keys", &json!({ "name": name, "key": key }))
    }

    /// Removes an SSH key.
    pub(crate) fn remove_key(&self, fingerprint: &str) -> Result<()> {
        self.delete(&format!("keys/{}", segment(fingerprint)))
    }

    /// Sends a test mail to whoever asks.
    pub(crate) fn test_mail(&self) -> Result<Accepted> {
        self.send("POST", "notify/test", &json!({}))
    }

    /// All webhooks.
    pub(crate) fn hooks(&self) -> Result<Vec<HookView>> {
        self.get("webhooks")
    }

    /// Makes a webhook.
    pub(crate) fn add_hook(&self, new: &NewHook) -> Result<MadeHook> {
        self.send("POST", "webhooks", new)
    }

    /// Removes a webhook.
    pub(crate) fn remove_hook(&self, id: &str) -> Result<()> {
        self.delete(&format!("webhooks/{}", segment(id)))
    }

    /// Posts a test to a webhook.
    pub(crate) fn test_hook(&self, id: &str) -> Result<Accepted> {
        self.send("POST", &format!("webhooks/{}/test", segment(id)), &json!({}))
    }

    /// The last deliveries of a webhook.
    pub(crate) fn hook_deliveries(&self, id: &str) -> Result<Vec<HookDeliveryView>> {
        self.get(&format!("webhooks/{}/deliveries", segment(id)))
    }

    /// All versions of images.
    pub(crate) fn images(&self) -> Result<Vec<ImageView>> {
        self.get("images")
    }

    /// One version with its packages.
    pub(crate) fn image(&self, version: &str) -> Result<ImageDetails> {
        self.get(&format!("images/{}", segment(version)))
    }

    /// How one version differs from another.
    pub(crate) fn image_diff(&self, version: &str, other: &str) -> Result<Vec<Change>> {
        self.get(&format!("images/{}/diff/{}", segment(version), segment(other)))
    }

    /// Removes a version.
    pub(crate) fn remove_image(&self, version: &str) -> Result<()> {
        self.delete(&format!("images/{}", segment(version)))
    }

    /// Begins to build an image.
    pub(crate) fn build_image(&self, name: &str) -> Result<ImageBuildView> {
        self.send("POST", "images", &json!({ "name": name }))
    }

    /// How far the build of an image is, with what it said after so many lines.
    pub(crate) fn image_build(&self, after: u64) -> Result<ImageBuildView> {
        self.get(&format!("images/build?after={after}"))
    }

    /// Ends the build that goes on.
    pub(crate) fn cancel_image_build(&self) -> Result<ImageBuildView> {
        self.remove("images/build")
    }

    /// What a rebuilt image would differ in.
    pub(crate) fn check_image(&self, name: &str) -> Result<ImageCheckView> {
        self.send("POST", "images/check", &json!({ "name": name }))
    }

    /// The image, the window, the newest rollout and the pins.
    pub(crate) fn maintenance(&self) -> Result<MaintenanceView> {
        self.get("maintenance")
    }

    /// Starts, resumes or ends a rollout.
    pub(crate) fn maintain(&self, action: MaintenanceAction) -> Result<MaintenanceView> {
        self.send("POST", "maintenance/actions", &MaintenanceRequest { action })
    }

    /// Leaves an app alone until a date.
    pub(crate) fn pin(&self, name: &str, until: &str) -> Result<PinView> {
        self.send("PUT", &of(name, "/pin"), &PinRequest { until: until.to_owned() })
    }

    /// Lets maintenance move it again.
    pub(crate) fn unpin(&self, name: &str) -> Result<Accepted> {
        self.remove(&of(name, "/pin"))
    }

    /// What the server's host can do.
    pub(crate) fn doctor(&self) -> Result<Vec<FindingView>> {
        self.get("doctor")
    }
}

fn of(app: &str, rest: &str) -> String {
    format!("apps/{}{rest}", segment(app))
}
