//! Teal's data plane: every socket that users reach.
