//! How an error is told to somebody who sees only text. Nothing here makes or handles one.

/// The error with its causes, in one line. Those that say what is said already are left out.
#[must_use]
pub fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.map(ToString::to_string).fold(error.to_string(), |text, cause| {
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the table cannot be read")]
    struct Outer(#[source] std::io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("not read: {0}")]
    struct Repeating(#[source] std::io::Error);

    #[test]
    fn what_is_said_already_is_not_said_again() {
        assert_eq!(in_full(&Repeating(std::io::Error::other("disk"))), "not read: disk");
    }

    #[test]
    fn causes_follow_in_order() {
        let error = Outer(std::io::Error::other("disk"));
        assert_eq!(in_full(&error), "the table cannot be read: disk");
        assert_eq!(in_full(&std::io::Error::other("alone")), "alone");
    }
}
