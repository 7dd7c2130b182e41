-- +goose Up

-- What people deleted and can have back. The files are in the home's trash
-- folder, under the id.
CREATE TABLE trash (
    id         TEXT PRIMARY KEY,     -- of the move that brought it here
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    path       TEXT NOT NULL,        -- where it was
    folder     BOOLEAN NOT NULL,
    size       BIGINT NOT NULL,      -- bytes of all files in it
    deleted_at BIGINT NOT NULL,
    purged     BOOLEAN NOT NULL      -- gone for its owner, not yet from the disk
);
CREATE INDEX trash_by_user ON trash (user_id, purged, deleted_at);
CREATE INDEX trash_by_time ON trash (purged, deleted_at);

-- Uploads that may be interrupted and resumed. The bytes are in a file named by
-- the id; its length is the offset.
CREATE TABLE uploads (
    id           TEXT PRIMARY KEY,
    user_id      TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    path         TEXT NOT NULL,      -- where the file will stand
    length       BIGINT NOT NULL,
    match_tag    TEXT NOT NULL,      -- If-Match
    none_match   TEXT NOT NULL,      -- If-None-Match
    content_type TEXT NOT NULL,
    modified_at  BIGINT NOT NULL,    -- the file's own time, 0: when it is complete
    created_at   BIGINT NOT NULL,
    touched_at   BIGINT NOT NULL,    -- when bytes last came
    completed_at BIGINT NOT NULL     -- 0: not yet
);
CREATE INDEX uploads_by_user ON uploads (user_id);
CREATE INDEX uploads_by_time ON uploads (touched_at);

-- +goose Down
DROP TABLE uploads;
DROP TABLE trash;
