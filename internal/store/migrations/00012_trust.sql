-- +goose Up

-- The best that a server was seen to sign by: '' | draft-cavage | rfc9421. It
-- never gets less by itself.
ALTER TABLE peers ADD COLUMN signs TEXT NOT NULL DEFAULT '';
UPDATE peers SET signs = 'draft-cavage' WHERE discovery LIKE '%"publicKeyPem"%';
UPDATE peers SET signs = 'rfc9421' WHERE host IN (SELECT host FROM peer_keys)
    OR (discovery LIKE '%"http-sig"%' OR discovery LIKE '%"http-request-signatures"%') AND (discovery LIKE '%"jwksUri"%' OR signs = '');

ALTER TABLE peer_keys ADD COLUMN form TEXT NOT NULL DEFAULT 'jwk'; -- jwk | pem: of a document, for draft-cavage

ALTER TABLE peer_rules ADD COLUMN cavage TEXT NOT NULL DEFAULT ''; -- yes | no | '': sign so to the host

-- +goose Down
ALTER TABLE peer_rules DROP COLUMN cavage;
ALTER TABLE peer_keys DROP COLUMN form;
ALTER TABLE peers DROP COLUMN signs;
