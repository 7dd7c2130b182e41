-- +goose Up

-- The profile an operator sets for a host, '' to read it off its document.
ALTER TABLE peer_rules ADD COLUMN profile TEXT NOT NULL DEFAULT '';

-- The sealed sharedSecret of a share to a server that wants to read it in
-- notifications; empty for all others, of which the hash alone is kept.
ALTER TABLE outgoing_shares ADD COLUMN secret BYTEA NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE outgoing_shares DROP COLUMN secret;
ALTER TABLE peer_rules DROP COLUMN profile;
