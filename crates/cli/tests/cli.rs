//! What people see of the command line: help, errors, exit codes. Each case is a transcript; run with `TRYCMD=overwrite` to accept changes.

#[test]
fn transcripts() {
    trycmd::TestCases::new()
        // Nobody's real credentials or configuration must be seen here, and nothing is ever reached.
        .env("HOME", "/nonexistent")
        .env("XDG_CONFIG_HOME", "")
        .env("TEAL_URL", "")
        .env("NO_COLOR", "1")
        .env("COLUMNS", "100")
        .case("tests/cmd/*.trycmd");
}
