-- Roles. Until now everybody could do everything: those who are here still can.
ALTER TABLE users ADD COLUMN role TEXT NOT NULL DEFAULT 'none';
UPDATE users SET role = 'admin';

-- What a token may do at most: a role, some apps (ids as a JSON list; NULL: all), a time.
ALTER TABLE tokens ADD COLUMN role TEXT NOT NULL DEFAULT 'admin';
ALTER TABLE tokens ADD COLUMN apps TEXT;
ALTER TABLE tokens ADD COLUMN expires_at INTEGER;

-- Roles in single apps.
CREATE TABLE members (
    app  TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    role TEXT NOT NULL,
    PRIMARY KEY (app, user)
) STRICT;
CREATE INDEX members_by_user ON members (user);

-- Who asked for which change, and what the answer was. Bounded: the oldest go.
CREATE TABLE audit (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    user    TEXT,
    way     TEXT,
    address TEXT NOT NULL,
    request TEXT NOT NULL,
    status  INTEGER NOT NULL
) STRICT;
