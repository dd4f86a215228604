-- Release commands that were begun: at most one per deployment, written before it is started, so that none ever runs twice.
CREATE TABLE release_commands (
    deployment TEXT PRIMARY KEY,
    app        TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    boot       TEXT NOT NULL,           -- the kernel's id of the boot in which it was begun
    begun      INTEGER NOT NULL,
    ended      INTEGER,                 -- NULL: it runs, or nobody saw its end
    failure    TEXT                     -- NULL with an end: it succeeded
) STRICT;
CREATE INDEX release_commands_app ON release_commands (app, deployment);
