//! From a commit's tree to a sealed release.
