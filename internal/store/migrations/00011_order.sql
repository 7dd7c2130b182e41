-- +goose Up

-- Who was asked, as who asks calls them; '' where the share that is asked about
-- tells.
ALTER TABLE requests_received ADD COLUMN owner TEXT NOT NULL DEFAULT '';

-- The last that a server said about something, while an older message about it can
-- still arrive.
CREATE TABLE last_words (
    peer_host  TEXT NOT NULL,
    subject    TEXT NOT NULL,
    ends       BOOLEAN NOT NULL,        -- it took back what it is about
    said_at    BIGINT NOT NULL,         -- as its signature says
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (peer_host, subject)
);
CREATE INDEX last_words_by_expiry ON last_words (expires_at);

-- Its owner said yes to it, though it was asked for in the right of another share.
ALTER TABLE outgoing_shares ADD COLUMN granted BOOLEAN NOT NULL DEFAULT FALSE;

-- +goose Down
ALTER TABLE outgoing_shares DROP COLUMN granted;
DROP TABLE last_words;
ALTER TABLE requests_received DROP COLUMN owner;
