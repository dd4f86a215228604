//! The HTTP API: axum routes over the platform, and the OpenAPI document.
