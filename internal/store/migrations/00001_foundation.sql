-- Portable between SQLite and PostgreSQL: text ids, times in Unix milliseconds
-- (0: never), booleans, no vendor functions.

-- +goose Up
CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE users (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL,
    name_key      TEXT NOT NULL UNIQUE, -- folded for comparison
    display_name  TEXT NOT NULL,
    email         TEXT NOT NULL,
    role          TEXT NOT NULL,        -- user | admin
    password_hash TEXT NOT NULL,        -- PHC string, '' when there is none
    quota         BIGINT NOT NULL,      -- bytes, -1: none
    created_at    BIGINT NOT NULL
);

-- Sessions and app passwords: secrets of high entropy, kept as SHA-256.
CREATE TABLE credentials (
    id           TEXT PRIMARY KEY,
    user_id      TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind         TEXT NOT NULL,         -- session | app
    label        TEXT NOT NULL,
    hash         TEXT NOT NULL UNIQUE,  -- hex
    created_at   BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL
);
CREATE INDEX credentials_by_user ON credentials (user_id);

CREATE TABLE groups (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    name_key     TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    created_at   BIGINT NOT NULL
);

CREATE TABLE group_members (
    group_id TEXT NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    user_id  TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX group_members_by_user ON group_members (user_id);

-- The server's own keys; the private part is sealed.
CREATE TABLE signing_keys (
    kid        TEXT PRIMARY KEY,
    private    BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    retired_at BIGINT NOT NULL
);

-- Shares we send. id is the providerId: unique per share and never reused.
CREATE TABLE outgoing_shares (
    id             TEXT PRIMARY KEY,
    owner_id       TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    path           TEXT NOT NULL,       -- in the owner's home; follows moves
    name           TEXT NOT NULL,
    message        TEXT NOT NULL,
    resource_type  TEXT NOT NULL,       -- file | folder
    share_type     TEXT NOT NULL,       -- user | group
    share_with     TEXT NOT NULL,       -- OCM Address
    peer_host      TEXT NOT NULL,
    permissions    TEXT NOT NULL,       -- "read,write,share"
    must_exchange  BOOLEAN NOT NULL,
    must_mfa       BOOLEAN NOT NULL,
    secret_hash    TEXT NOT NULL UNIQUE,
    expires_at     BIGINT NOT NULL,
    state          TEXT NOT NULL,       -- pending | delivered | accepted | declined | failed | ended
    state_reason   TEXT NOT NULL,
    recipient_name TEXT NOT NULL,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL
);
CREATE INDEX outgoing_by_owner ON outgoing_shares (owner_id, path);
CREATE INDEX outgoing_by_expiry ON outgoing_shares (expires_at);

-- Shares sent to us, one row a share; incoming_members says what each person
-- it reaches made of it.
CREATE TABLE incoming_shares (
    id                TEXT PRIMARY KEY,
    peer_host         TEXT NOT NULL,
    provider_id       TEXT NOT NULL,
    share_type        TEXT NOT NULL,
    share_with        TEXT NOT NULL,
    group_id          TEXT NOT NULL,    -- '' for a user's
    resource_type     TEXT NOT NULL,
    name              TEXT NOT NULL,
    description       TEXT NOT NULL,
    owner             TEXT NOT NULL,
    owner_name        TEXT NOT NULL,
    sender            TEXT NOT NULL,
    sender_name       TEXT NOT NULL,
    uri               TEXT NOT NULL,    -- absolute, an id, or '' for the 1.0 form
    secret            BYTEA NOT NULL,   -- sealed
    permissions       TEXT NOT NULL,
    must_exchange     BOOLEAN NOT NULL,
    must_mfa          BOOLEAN NOT NULL,
    expires_at        BIGINT NOT NULL,
    ended_at          BIGINT NOT NULL,
    ended_reason      TEXT NOT NULL,
    unavailable_since BIGINT NOT NULL,
    unavailable_why   TEXT NOT NULL,
    created_at        BIGINT NOT NULL,
    UNIQUE (peer_host, provider_id)
);
CREATE INDEX incoming_by_group ON incoming_shares (group_id);
CREATE INDEX incoming_by_expiry ON incoming_shares (expires_at);

CREATE TABLE incoming_members (
    share_id   TEXT NOT NULL REFERENCES incoming_shares (id) ON DELETE CASCADE,
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    state      TEXT NOT NULL,           -- pending | accepted | declined | left
    mount_name TEXT NOT NULL,           -- under "Shared with me", '' unless accepted
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (share_id, user_id)
);
CREATE INDEX incoming_members_by_user ON incoming_members (user_id, state);

-- Messages to peers. Rows leave when delivered; the dead stay to be resent.
CREATE TABLE outbox (
    id         TEXT PRIMARY KEY,        -- UUIDv7: sorts in the order of writing
    peer_host  TEXT NOT NULL,
    order_key  TEXT NOT NULL,           -- messages of one key are delivered in order
    kind       TEXT NOT NULL,
    payload    BYTEA NOT NULL,          -- sealed
    state      TEXT NOT NULL,           -- pending | dead
    attempts   BIGINT NOT NULL,
    next_at    BIGINT NOT NULL,
    last_error TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX outbox_due ON outbox (state, next_at);
CREATE INDEX outbox_by_key ON outbox (order_key, id);

-- Signatures seen on the token endpoint within their time of freshness.
CREATE TABLE seen_signatures (
    hash       TEXT PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX seen_signatures_by_expiry ON seen_signatures (expires_at);

CREATE TABLE peers (
    host           TEXT PRIMARY KEY,
    discovery      TEXT NOT NULL,
    discovered_at  BIGINT NOT NULL,
    jwks           TEXT NOT NULL,
    jwks_at        BIGINT NOT NULL,
    first_seen     BIGINT NOT NULL,
    failing_since  BIGINT NOT NULL,
    failure        TEXT NOT NULL
);

CREATE TABLE peer_keys (
    host       TEXT NOT NULL,
    kid        TEXT NOT NULL,
    thumbprint TEXT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL,
    PRIMARY KEY (host, kid, thumbprint)
);

CREATE TABLE dav_props (
    space TEXT NOT NULL,
    path  TEXT NOT NULL,
    ns    TEXT NOT NULL,
    name  TEXT NOT NULL,
    lang  TEXT NOT NULL,
    value TEXT NOT NULL,                -- inner XML
    PRIMARY KEY (space, path, ns, name)
);

CREATE TABLE dav_locks (
    token      TEXT PRIMARY KEY,
    space      TEXT NOT NULL,
    path       TEXT NOT NULL,
    infinite   BOOLEAN NOT NULL,
    exclusive  BOOLEAN NOT NULL,
    owner      TEXT NOT NULL,           -- inner XML
    principal  TEXT NOT NULL,           -- who holds it
    expires_at BIGINT NOT NULL
);
CREATE INDEX dav_locks_by_path ON dav_locks (space, path);

-- A move in progress: written before the rename, removed with the rows that
-- follow it, so that a crash in between is finished at the next start.
CREATE TABLE moves (
    id         TEXT PRIMARY KEY,
    space      TEXT NOT NULL,
    from_path  TEXT NOT NULL,
    to_path    TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- +goose Down
DROP TABLE moves;
DROP TABLE dav_locks;
DROP TABLE dav_props;
DROP TABLE peer_keys;
DROP TABLE peers;
DROP TABLE seen_signatures;
DROP TABLE outbox;
DROP TABLE incoming_members;
DROP TABLE incoming_shares;
DROP TABLE outgoing_shares;
DROP TABLE signing_keys;
DROP TABLE group_members;
DROP TABLE groups;
DROP TABLE credentials;
DROP TABLE users;
DROP TABLE settings;
