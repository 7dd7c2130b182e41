-- +goose Up

-- Who did what to whom, from where, and how it ended. Rows are added and, when
-- they are old enough, deleted; never changed.
CREATE TABLE audit (
    id          TEXT PRIMARY KEY,       -- UUIDv7: sorts in the order of writing
    at          BIGINT NOT NULL,
    action      TEXT NOT NULL,          -- a stable word: share.created
    actor_kind  TEXT NOT NULL,          -- user | operator | peer | visitor | system
    actor_id    TEXT NOT NULL,          -- of a user
    actor       TEXT NOT NULL,          -- the user's name, the peer's host
    object_kind TEXT NOT NULL,          -- what it was done to: share, user …
    object_id   TEXT NOT NULL,
    object      TEXT NOT NULL,          -- its name or path
    target      TEXT NOT NULL,          -- the address or host it was done towards
    origin      TEXT NOT NULL,          -- the client's address, cli, or '' for the server itself
    request     TEXT NOT NULL,          -- the request's id
    outcome     TEXT NOT NULL,          -- done | refused
    code        TEXT NOT NULL,          -- of a refusal
    details     TEXT NOT NULL           -- JSON
);
CREATE INDEX audit_by_time ON audit (at, id);
CREATE INDEX audit_by_object ON audit (object_id);

-- Whether the person may sign in; what they have and share stays.
ALTER TABLE users ADD COLUMN disabled BOOLEAN NOT NULL DEFAULT FALSE;

-- +goose Down
ALTER TABLE users DROP COLUMN disabled;
DROP TABLE audit;
