-- +goose Up

-- Addresses for e-mails that people want to have for theirs. Each was sent a link;
-- of its token only the hash is kept, and nothing once it was used or another was
-- sent. The old address is told of what became of it.
CREATE TABLE email_changes (
    id         TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    email      TEXT NOT NULL,
    old_email  TEXT NOT NULL,           -- '' when there was none
    token_hash TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    done_at    BIGINT NOT NULL,         -- when it was confirmed
    tell_at    BIGINT NOT NULL,         -- when the old address is told, or again; 0: it need not be
    attempts   BIGINT NOT NULL
);
CREATE INDEX email_changes_by_user ON email_changes (user_id, created_at);
CREATE INDEX email_changes_by_token ON email_changes (token_hash);
CREATE INDEX email_changes_to_tell ON email_changes (tell_at);

-- +goose Down
DROP TABLE email_changes;
