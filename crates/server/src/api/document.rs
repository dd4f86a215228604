//! The OpenAPI document: made from the routes themselves, served at `/api/openapi.json`, checked in as `docs/openapi.json`.

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use std::sync::Arc;
use utoipa::openapi::{
    Info, OpenApi, Paths, SecurityRequirement,
    security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
};

/// What the document says before any route.
pub(super) fn preface() -> OpenApi {
    let mut info = Info::new("Teal", env!("CARGO_PKG_VERSION"));
    info.description = Some(
        "Blue/green deployment for everything a team runs. Unknown fields are refused; errors are `ErrorView`.".into(),
    );
    let mut document = OpenApi::new(info, Paths::new());
    let components = document.components.get_or_insert_default();
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("teal_…").build();
    components.add_security_scheme("token", SecurityScheme::Http(token));
    let session = ApiKeyValue::with_description(
        "teal_session",
        "The console's session; a change needs the header `X-CSRF-Token` too.",
    );
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(session)));
    let either = ["token", "session"].map(|name| SecurityRequirement::new::<_, [&str; 0], &str>(name, []));
    document.security = Some(either.into());
    document
}

/// The whole document, as it is served and checked in.
#[must_use]
pub fn document() -> String {
    render(&super::routes().into_openapi())
}

/// As text, with a newline at its end.
pub(super) fn render(document: &OpenApi) -> String {
    let text = document.to_pretty_json();
    text.map_or_else(|error| format!("{{\"error\": \"{error}\"}}\n"), |text| text + "\n")
}

pub(super) async fn serve(text: Arc<str>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECKED_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

    #[test]
    fn the_document_that_is_checked_in_is_the_one_that_is_served() {
        let made = document();
        if std::env::var_os("TEAL_WRITE_OPENAPI").is_some() {
            std::fs::write(CHECKED_IN, &made).expect("written");
        }
        let kept = std::fs::read_to_string(CHECKED_IN).unwrap_or_default();
        assert!(
            made == kept,
            "docs/openapi.json is out of date; TEAL_WRITE_OPENAPI=1 cargo test -p teal-server document writes it"
        );
    }

    #[test]
    fn every_operation_says_what_it_does_and_how_it_fails() {
        let document: serde_json::Value = serde_json::from_str(&document()).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        assert!(paths.len() >= 18, "{} paths", paths.len());
        for (path, operations) in paths {
            assert!(path.starts_with("/api/v1/"), "{path}");
            for (method, operation) in operations.as_object().expect("operations") {
                let summary = operation["summary"].as_str().or(operation["description"].as_str());
                assert!(summary.is_some_and(|text| !text.is_empty()), "{method} {path}");
                let failure = &operation["responses"]["default"]["content"]["application/json"]["schema"];
                assert_eq!(failure["$ref"], "#/components/schemas/ErrorView", "{method} {path}");
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let text = document();
        let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let references =
            text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next());
        for name in references {
            assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
        }
    }
}
