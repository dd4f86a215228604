-- The first shape of the store. Rows of the machine are kept whole as JSON (`body`), beside the few columns that are looked up by.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE apps (
    id       TEXT PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,
    version  INTEGER NOT NULL,          -- compare-and-swap: every commit of the machine raises it by one
    body     TEXT NOT NULL,             -- teal_core::deploy::App
    config   TEXT NOT NULL DEFAULT '{}',-- what differs from the default settings
    snapshot INTEGER NOT NULL DEFAULT 0 -- the newest number in `snapshots`
) STRICT;

CREATE TABLE deployments (
    id    TEXT PRIMARY KEY,
    app   TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    seq   INTEGER NOT NULL,
    ended INTEGER NOT NULL,             -- 1: it has its verdict and plan need not see it
    body  TEXT NOT NULL                 -- teal_core::deploy::Deployment
) STRICT;
CREATE INDEX deployments_by_app ON deployments (app, ended, seq);

CREATE TABLE environments (
    id   TEXT PRIMARY KEY,
    app  TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    gone INTEGER NOT NULL,
    body TEXT NOT NULL                  -- teal_core::deploy::Environment
) STRICT;
CREATE INDEX environments_by_app ON environments (app, gone);

-- Variables and settings as they were when a deployment took them. The variables are sealed with the key file.
CREATE TABLE snapshots (
    app       TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    number    INTEGER NOT NULL,
    variables BLOB NOT NULL,
    config    TEXT NOT NULL,
    PRIMARY KEY (app, number)
) STRICT;

-- Every transition leaves one row, written in the transaction that makes it: activity, timeline and audit log.
CREATE TABLE events (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    app         TEXT NOT NULL,
    at          INTEGER NOT NULL,
    kind        TEXT NOT NULL,
    deployment  TEXT,
    environment TEXT,
    author      TEXT,
    text        TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_app ON events (app, number);

-- Mail that is due, queued in the transaction that made it necessary. `id` is chosen from what it is about: never twice.
CREATE TABLE mails (
    id           TEXT PRIMARY KEY,
    recipient    TEXT NOT NULL,
    subject      TEXT NOT NULL,
    text         TEXT NOT NULL,
    html         TEXT NOT NULL,
    queued_at    INTEGER NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    next_attempt INTEGER NOT NULL,
    delivered_at INTEGER,
    given_up     INTEGER NOT NULL DEFAULT 0,
    error        TEXT
) STRICT;
CREATE INDEX mails_due ON mails (next_attempt) WHERE delivered_at IS NULL AND given_up = 0;

CREATE TABLE users (
    name  TEXT PRIMARY KEY,
    email TEXT
) STRICT;

CREATE TABLE tokens (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    user       TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    hash       BLOB NOT NULL,           -- SHA-256 of the secret, which has 256 random bits
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE keys (
    fingerprint TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    user        TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    openssh     TEXT NOT NULL
) STRICT;
