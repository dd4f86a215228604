//! Teal's control plane: git, builds, driver, API, console, mail.
