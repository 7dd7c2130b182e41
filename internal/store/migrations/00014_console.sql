-- Indexes for the operator's lists, so that they stay quick where there is much.

-- +goose Up

-- Records by who acted, by action, by request. (Those of one thing have theirs.)
CREATE INDEX audit_by_actor ON audit (LOWER(actor), at);
CREATE INDEX audit_by_action ON audit (action, at);
CREATE INDEX audit_by_request ON audit (request);
-- By the host of the target: what stands behind its last @.
CREATE INDEX audit_by_host ON audit (SUBSTR(target, LENGTH(RTRIM(target, REPLACE(target, '@', ''))) + 1), at);

-- Counted without their payloads: how many wait for whom, and since when.
DROP INDEX outbox_due;
CREATE INDEX outbox_due ON outbox (state, next_at, created_at);
CREATE INDEX outbox_by_peer ON outbox (peer_host, id, state, attempts);

DROP INDEX outgoing_by_peer;
CREATE INDEX outgoing_by_peer ON outgoing_shares (peer_host, state);
CREATE INDEX incoming_by_peer ON incoming_shares (peer_host, ended_at);

-- +goose Down
DROP INDEX incoming_by_peer;
DROP INDEX outgoing_by_peer;
CREATE INDEX outgoing_by_peer ON outgoing_shares (peer_host);
DROP INDEX outbox_by_peer;
DROP INDEX outbox_due;
CREATE INDEX outbox_due ON outbox (state, next_at);
DROP INDEX audit_by_host;
DROP INDEX audit_by_request;
DROP INDEX audit_by_action;
DROP INDEX audit_by_actor;
