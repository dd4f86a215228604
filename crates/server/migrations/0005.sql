-- One move of all apps to another image. What is stored of it as a whole, and its apps, each in a row of its own: a step changes few of them.
CREATE TABLE rollouts (
    id      TEXT PRIMARY KEY,
    open    INTEGER NOT NULL,           -- 1: something is left to do or to wait for
    version INTEGER NOT NULL,           -- compare-and-swap: every commit raises it by one
    body    TEXT NOT NULL               -- teal_core::upkeep::Rollout without its apps
) STRICT;
CREATE INDEX rollouts_open ON rollouts (id) WHERE open = 1;

CREATE TABLE rollout_apps (
    rollout TEXT NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
    place   INTEGER NOT NULL,           -- the order in which they begin
    body    TEXT NOT NULL,              -- teal_core::upkeep::Member; an app that is deleted stays part of what happened
    PRIMARY KEY (rollout, place)
) STRICT;

-- Apps that maintenance leaves alone until a date.
CREATE TABLE pins (
    app    TEXT PRIMARY KEY REFERENCES apps (id) ON DELETE CASCADE,
    until  INTEGER NOT NULL,
    author TEXT NOT NULL
) STRICT;
