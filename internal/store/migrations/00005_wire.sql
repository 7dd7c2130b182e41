-- +goose Up

-- What went over the wire to and from other servers, with secrets masked.
CREATE TABLE wire (
    id             TEXT PRIMARY KEY,    -- the request's id for what came in
    at             BIGINT NOT NULL,
    direction      TEXT NOT NULL,       -- in | out
    peer           TEXT NOT NULL,
    operation      TEXT NOT NULL,       -- what it was for
    method         TEXT NOT NULL,
    url            TEXT NOT NULL,
    header         TEXT NOT NULL,
    body           TEXT NOT NULL,
    signature_base TEXT NOT NULL,       -- '' when it was not signed
    status         BIGINT NOT NULL,     -- 0: no answer
    answer_header  TEXT NOT NULL,
    answer         TEXT NOT NULL,
    micros         BIGINT NOT NULL,
    fault          TEXT NOT NULL        -- '' when all went well
);
CREATE INDEX wire_by_time ON wire (at);
CREATE INDEX wire_by_peer ON wire (peer, at);

ALTER TABLE peer_rules ADD COLUMN wire TEXT NOT NULL DEFAULT ''; -- yes | no | ''

-- +goose Down
ALTER TABLE peer_rules DROP COLUMN wire;
DROP TABLE wire;
