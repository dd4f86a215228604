//! End-to-end tests only: real git, real processes, real mail.
