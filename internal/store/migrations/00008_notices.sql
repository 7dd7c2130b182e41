-- +goose Up

-- What happened that a person should know of. Kind and parameters, so that pages
-- and e-mails can say it in the person's language.
CREATE TABLE notices (
    id      TEXT PRIMARY KEY,           -- UUIDv7: sorts by the latest time
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,              -- what it is about: the same again is folded into one
    params  TEXT NOT NULL,              -- JSON
    request TEXT NOT NULL,              -- id of the request that it came of, '' when there is none
    times   BIGINT NOT NULL,            -- how often it happened
    since   BIGINT NOT NULL,            -- the first time
    at      BIGINT NOT NULL,            -- the latest
    read_at BIGINT NOT NULL,
    mail_id TEXT NOT NULL               -- the e-mail that is to tell of it, '' for none
);
CREATE INDEX notices_by_user ON notices (user_id, read_at, id);
CREATE INDEX notices_by_subject ON notices (user_id, subject, kind, read_at);
CREATE INDEX notices_by_time ON notices (at);
CREATE INDEX notices_by_mail ON notices (mail_id);

-- E-mails that are to be sent. Rows leave when they are; the dead stay a while.
CREATE TABLE mails (
    id         TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind       TEXT NOT NULL,           -- at-once | daily
    state      TEXT NOT NULL,           -- pending | dead
    attempts   BIGINT NOT NULL,
    next_at    BIGINT NOT NULL,
    last_error TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX mails_due ON mails (state, next_at);
CREATE INDEX mails_by_user ON mails (user_id);

ALTER TABLE users ADD COLUMN mail TEXT NOT NULL DEFAULT '';        -- never | at-once | daily, '' as configured
ALTER TABLE users ADD COLUMN mailed_at BIGINT NOT NULL DEFAULT 0;  -- when the last e-mail left

-- The address that a session was begun from.
ALTER TABLE credentials ADD COLUMN begun_from TEXT NOT NULL DEFAULT '';

-- The end of the share that its people were told of beforehand.
ALTER TABLE outgoing_shares ADD COLUMN warned_for BIGINT NOT NULL DEFAULT 0;
ALTER TABLE incoming_shares ADD COLUMN warned_for BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE incoming_shares DROP COLUMN warned_for;
ALTER TABLE outgoing_shares DROP COLUMN warned_for;
ALTER TABLE credentials DROP COLUMN begun_from;
ALTER TABLE users DROP COLUMN mailed_at;
ALTER TABLE users DROP COLUMN mail;
DROP TABLE mails;
DROP TABLE notices;
