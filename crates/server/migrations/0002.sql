-- The account at each certificate authority, by its directory. The credentials are sealed with the key file.
CREATE TABLE acme_accounts (
    directory   TEXT PRIMARY KEY,
    credentials BLOB NOT NULL
) STRICT;

-- One row per name: the certificate in use, the order under way, and how the last attempts went. What state a name is in is computed.
CREATE TABLE certificates (
    name            TEXT PRIMARY KEY,
    chain           TEXT,                       -- PEM, the certificate itself first; NULL until there is one
    key             BLOB,                       -- its private key, sealed
    issuer          TEXT,                       -- the directory of the authority; NULL: this server made it, until a real one is there
    not_before      INTEGER,
    not_after       INTEGER,
    renew_at        INTEGER,
    look_at         INTEGER,                    -- when the authority is asked again whether it wants an earlier renewal; NULL: never
    order_directory TEXT,                       -- the order under way, kept before anything is asked of it
    order_url       TEXT,
    order_key       BLOB,                       -- the key of the certificate to come, sealed
    attempts        INTEGER NOT NULL DEFAULT 0, -- failed ones in a row
    next_attempt    INTEGER,
    problem         TEXT,
    remedy          TEXT
) STRICT;
