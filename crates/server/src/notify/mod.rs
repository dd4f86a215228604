//! Mail: an outbox that is retried until delivered.
