-- +goose Up

-- Invites our people send. The token is known by its hash alone.
CREATE TABLE invites (
    id          TEXT PRIMARY KEY,
    owner_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_hash  TEXT NOT NULL UNIQUE,
    email       TEXT NOT NULL,          -- whom it is for
    note        TEXT NOT NULL,
    pseudonym   BOOLEAN NOT NULL,       -- who accepts gets an identifier of its own
    given       TEXT NOT NULL,          -- the userID that was given out, once accepted
    accepted_by TEXT NOT NULL,          -- OCM Address, '' while nobody did
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    accepted_at BIGINT NOT NULL,
    revoked_at  BIGINT NOT NULL
);
CREATE INDEX invites_by_owner ON invites (owner_id, id);

-- Invites of others that our people accept.
CREATE TABLE acceptances (
    id         TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    peer_host  TEXT NOT NULL,
    token_hash TEXT NOT NULL,
    given      TEXT NOT NULL,           -- the userID we give out
    state      TEXT NOT NULL,           -- pending | accepted | halfway | unclear | failed
    reason     TEXT NOT NULL,
    contact_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (user_id, peer_host, token_hash)
);

-- The address books.
CREATE TABLE contacts (
    id         TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    address    TEXT NOT NULL,           -- OCM Address
    peer_host  TEXT NOT NULL,           -- its host
    name       TEXT NOT NULL,
    email      TEXT NOT NULL,
    source     TEXT NOT NULL,           -- invite | share | direct entry
    invited    BOOLEAN NOT NULL,        -- an invite was exchanged
    trusted    BOOLEAN NOT NULL,        -- shares are accepted by themselves
    blocked    BOOLEAN NOT NULL,
    labels     TEXT NOT NULL,           -- JSON array
    note       TEXT NOT NULL,
    given      TEXT NOT NULL,           -- the userID by which they know us, '' for the name
    gone_at    BIGINT NOT NULL,         -- their server said that they are no longer there
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (user_id, address)
);
CREATE INDEX contacts_by_address ON contacts (address);
CREATE INDEX contacts_by_host ON contacts (peer_host);

-- Identifiers given to one contact alone.
CREATE TABLE pseudonyms (
    identifier TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    peer_host  TEXT NOT NULL,           -- the one server it is for
    created_at BIGINT NOT NULL
);

-- What the operator decided about hosts.
CREATE TABLE peer_rules (
    pattern       TEXT PRIMARY KEY,     -- a host, *.domain, or *
    action        TEXT NOT NULL,        -- allow | deny | limit | ''
    must_sign     TEXT NOT NULL,        -- yes | no | ''
    must_exchange TEXT NOT NULL,
    must_invite   TEXT NOT NULL,
    note          TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL
);

-- Directory Services we read.
CREATE TABLE directories (
    url        TEXT PRIMARY KEY,
    public_key TEXT NOT NULL,           -- PEM or JWK
    federation TEXT NOT NULL,
    payload    TEXT NOT NULL,           -- the last good list
    servers    BIGINT NOT NULL,
    fetched_at BIGINT NOT NULL,
    tried_at   BIGINT NOT NULL,
    failure    TEXT NOT NULL,
    added_at   BIGINT NOT NULL
);

-- How requests were decided, for `weft explain`.
CREATE TABLE decisions (
    request TEXT PRIMARY KEY,
    at      BIGINT NOT NULL,
    method  TEXT NOT NULL,
    path    TEXT NOT NULL,
    origin  TEXT NOT NULL,              -- the client's address
    peer    TEXT NOT NULL,
    person  TEXT NOT NULL,
    status  BIGINT NOT NULL,
    code    TEXT NOT NULL,
    reason  TEXT NOT NULL,
    steps   TEXT NOT NULL               -- JSON
);
CREATE INDEX decisions_by_time ON decisions (at);

-- What people reported to the operator.
CREATE TABLE reports (
    id         TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL,
    share_id   TEXT NOT NULL,
    peer_host  TEXT NOT NULL,
    sender     TEXT NOT NULL,
    share_name TEXT NOT NULL,
    message    TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (user_id, share_id)
);
CREATE INDEX reports_by_peer ON reports (peer_host, id);

ALTER TABLE peers ADD COLUMN last_success BIGINT NOT NULL DEFAULT 0;
ALTER TABLE peers ADD COLUMN last_failure BIGINT NOT NULL DEFAULT 0;
ALTER TABLE peers ADD COLUMN failures BIGINT NOT NULL DEFAULT 0; -- in a row

ALTER TABLE peer_keys ADD COLUMN state TEXT NOT NULL DEFAULT 'trusted'; -- trusted | waiting | rejected

-- Why a share waits in quarantine, '' when it does not.
ALTER TABLE incoming_shares ADD COLUMN quarantine TEXT NOT NULL DEFAULT '';

-- The identifier the owner goes by at the recipient's, '' for the name.
ALTER TABLE outgoing_shares ADD COLUMN sender TEXT NOT NULL DEFAULT '';

CREATE INDEX outgoing_by_peer ON outgoing_shares (peer_host);

-- +goose Down
DROP INDEX outgoing_by_peer;
ALTER TABLE outgoing_shares DROP COLUMN sender;
ALTER TABLE incoming_shares DROP COLUMN quarantine;
ALTER TABLE peer_keys DROP COLUMN state;
ALTER TABLE peers DROP COLUMN failures;
ALTER TABLE peers DROP COLUMN last_failure;
ALTER TABLE peers DROP COLUMN last_success;
DROP TABLE reports;
DROP TABLE decisions;
DROP TABLE directories;
DROP TABLE peer_rules;
DROP TABLE pseudonyms;
DROP TABLE contacts;
DROP TABLE acceptances;
DROP TABLE invites;
