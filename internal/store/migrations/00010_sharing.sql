-- +goose Up

-- Whether the message that brought it was signed: 'signed', 'unsigned', or ''
-- where that was not kept.
ALTER TABLE incoming_shares ADD COLUMN proof TEXT NOT NULL DEFAULT '';
ALTER TABLE requests_received ADD COLUMN proof TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE requests_received DROP COLUMN proof;
ALTER TABLE incoming_shares DROP COLUMN proof;
