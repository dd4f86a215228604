-- Whoever is told of events by HTTP. The address is sealed with the secret: many addresses are secrets themselves.
CREATE TABLE hooks (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    app        TEXT REFERENCES apps (id) ON DELETE CASCADE, -- NULL: all apps
    events     TEXT NOT NULL,           -- a JSON list of words; an empty one is all of them
    format     TEXT NOT NULL,
    sealed     BLOB NOT NULL,           -- address and secret
    author     TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- One outbox, two carriers: what a webhook delivers is a row beside the mails. `recipient` is the app's name then, `subject` the event, `text` the body.
ALTER TABLE mails ADD COLUMN hook TEXT REFERENCES hooks (id) ON DELETE CASCADE; -- NULL: a mail
ALTER TABLE mails ADD COLUMN said TEXT;                                         -- what whoever took it said
CREATE INDEX mails_of_hooks ON mails (hook, id) WHERE hook IS NOT NULL;
