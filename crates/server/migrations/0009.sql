-- What each app did, step by step, in three rings of a fixed number of places: an hour by 10 s, a day by 2 min, a week by 15 min. Old steps are written over.
CREATE TABLE samples (
    app    TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    window INTEGER NOT NULL,            -- 0: hour, 1: day, 2: week
    place  INTEGER NOT NULL,            -- the step's number modulo the ring's length
    step   INTEGER NOT NULL,            -- the instant that it begins at, divided by its length
    body   TEXT NOT NULL,               -- teal_core::sample::Sampled
    PRIMARY KEY (app, window, place)
) STRICT, WITHOUT ROWID;

-- What users noticed of each switch.
CREATE TABLE switches (
    deployment TEXT PRIMARY KEY REFERENCES deployments (id) ON DELETE CASCADE,
    body       TEXT NOT NULL            -- teal_core::api::SwitchView
) STRICT;
