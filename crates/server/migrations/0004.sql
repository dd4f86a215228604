-- Whoever counts looks at all apps every few seconds: what is over or gone stays unread, however long the history grows.
ALTER TABLE deployments ADD COLUMN outcome TEXT NOT NULL DEFAULT 'ok'; -- how it ended, once it has; `ok` until then
UPDATE deployments SET outcome = coalesce(json_extract(body, '$.end.end'), 'ok');
CREATE INDEX deployments_by_outcome ON deployments (ended, outcome);
CREATE INDEX environments_here ON environments (id) WHERE gone = 0;
