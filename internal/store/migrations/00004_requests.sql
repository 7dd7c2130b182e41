-- +goose Up

-- What our people ask of others: a share, or to include someone in one.
CREATE TABLE requests_sent (
    id            TEXT PRIMARY KEY,
    user_id       TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind          TEXT NOT NULL,        -- share | reshare
    peer_host     TEXT NOT NULL,
    owner         TEXT NOT NULL,        -- OCM Address of who is asked
    share_with    TEXT NOT NULL,        -- who is to receive it
    share_id      TEXT NOT NULL,        -- the resource as named; the providerId for a reshare
    name          TEXT NOT NULL,        -- as people know it
    resource_type TEXT NOT NULL,
    permissions   TEXT NOT NULL,
    message       TEXT NOT NULL,
    state         TEXT NOT NULL,        -- pending | asked | granted | refused | ignored | failed | withdrawn
    state_reason  TEXT NOT NULL,
    answer_id     TEXT NOT NULL,        -- providerId of the new share, if the answer told it
    answer_token  BYTEA NOT NULL,       -- sealed
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL
);
CREATE INDEX requests_sent_by_user ON requests_sent (user_id, state);
CREATE INDEX requests_sent_by_resource ON requests_sent (peer_host, share_id);

-- What others ask of our people.
CREATE TABLE requests_received (
    id            TEXT PRIMARY KEY,
    owner_id      TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind          TEXT NOT NULL,        -- share | reshare
    asker         TEXT NOT NULL,        -- OCM Address
    peer_host     TEXT NOT NULL,        -- its host
    share_with    TEXT NOT NULL,        -- who is to receive it
    share_id      TEXT NOT NULL,        -- the resource as named; the providerId for a reshare
    path          TEXT NOT NULL,        -- in the owner's home, '' when it is not clear
    parent        TEXT NOT NULL,        -- the share that a reshare is about
    new_id        TEXT NOT NULL,        -- providerId of the share when it is granted
    resource_type TEXT NOT NULL,
    permissions   TEXT NOT NULL,
    message       TEXT NOT NULL,
    times         BIGINT NOT NULL,      -- how often it was asked
    state         TEXT NOT NULL,        -- open | granted | refused | ignored | lapsed
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL
);
CREATE INDEX requests_received_by_owner ON requests_received (owner_id, state);
CREATE INDEX requests_received_by_asker ON requests_received (asker, state);

-- The share in whose right this one was asked for, '' for the owner's own idea.
ALTER TABLE outgoing_shares ADD COLUMN parent TEXT NOT NULL DEFAULT '';
-- Only for servers with the code flow, because the parent is.
ALTER TABLE outgoing_shares ADD COLUMN needs_exchange BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX outgoing_by_parent ON outgoing_shares (parent);

-- +goose Down
DROP INDEX outgoing_by_parent;
ALTER TABLE outgoing_shares DROP COLUMN needs_exchange;
ALTER TABLE outgoing_shares DROP COLUMN parent;
DROP TABLE requests_received;
DROP TABLE requests_sent;
