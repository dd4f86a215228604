//! Git over SSH and HTTP, both through the git binary and the same hook code.
