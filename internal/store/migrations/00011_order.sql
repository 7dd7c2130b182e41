-- +goose Up

-- Who was asked, as who asks calls them; '' where the share that is asked about
-- tells.
ALTER TABLE requests_received ADD COLUMN owner TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE requests_received DROP COLUMN owner;
