-- Waybill's log lines in DuckDB: the table. The questions are in questions.sql; docs/observability.md tells of both.
--
-- Run from the root of the repository. The macro reads files of lines, also with * in the name and compressed (.gz, .zst):
--   INSERT INTO events FROM lines('/var/log/waybill/events-*.jsonl.gz');
--
-- `event` is the text that the node wrote, so that `digest` can be compared with the next event's `prev`.
-- Without an event (`null`: Envoy answered before the node ran) `id`, `vm`, `node` and `verdict` are empty.

CREATE MACRO lines(files) AS TABLE
WITH read AS (
    SELECT * REPLACE (coalesce(event, '') AS event), CASE WHEN event IS NULL THEN '{}' ELSE event END::JSON AS e
    FROM read_json(files, format = 'newline_delimited', maximum_object_size = 1048576, columns = {
        event: 'VARCHAR', status: 'USMALLINT', duration_ms: 'UINTEGER', request_id: 'VARCHAR',
        provider_request_id: 'VARCHAR', method: 'VARCHAR', path: 'VARCHAR'})
), typed AS (
    SELECT *,
        from_json(e -> 'findings', '[{"code": "VARCHAR", "action": "VARCHAR", "evidence": "VARCHAR"}]') AS fired,
        from_json(e -> 'hops', '[{"node": "VARCHAR", "customer": "VARCHAR", "attest": "VARCHAR", "proven": "BOOLEAN"}]') AS carried
    FROM read
)
SELECT event, status, duration_ms, request_id, provider_request_id, method, path,
    sha256(event) AS digest,
    coalesce(e ->> 'id', '') AS id,
    (e ->> 'time')::TIMESTAMP AS time,
    coalesce(e ->> 'node', '') AS node,
    e ->> 'customer' AS customer,
    e ->> '$.credential.label' AS credential,
    coalesce(e ->> 'mode', '') AS mode,
    coalesce(e ->> 'verdict', '') AS verdict,
    e ->> 'would_be' AS would_be,
    e ->> 'reason' AS reason,
    e ->> 'origin' AS origin,
    e ->> 'address' AS address,
    e ->> 'network' AS network,
    (e ->> 'asn')::UINTEGER AS asn,
    e ->> '$.software.sdk' AS sdk,
    e ->> 'chain' AS chain,
    coalesce(e ->> 'policy', '') AS policy,
    coalesce((e ->> 'snapshot')::UBIGINT, 0) AS snapshot,
    coalesce(e ->> 'vm', '') AS vm,
    coalesce((e ->> 'seq')::UBIGINT, 0) AS seq,
    e ->> 'prev' AS prev,
    fired, carried,
    array_to_string([f.code || ' (' || f.action || '): ' || f.evidence FOR f IN fired], '; ') AS explained
FROM typed;

CREATE TABLE events AS FROM lines('dist/events.jsonl');

-- A row for each finding, and a row for each hop of a verified chain (`place` 1 is where the request began).
CREATE VIEW findings AS
    SELECT id, time, node, customer, origin, verdict, reason, f.code, f.action, f.evidence
    FROM (SELECT *, unnest(fired) AS f FROM events);

CREATE VIEW hops AS
    SELECT id, time, node, verdict, reason, place, h.node AS hop, h.customer AS hop_customer, h.attest, h.proven
    FROM (SELECT *, unnest(carried) AS h, unnest(range(1, len(carried) + 1)) AS place FROM events);
