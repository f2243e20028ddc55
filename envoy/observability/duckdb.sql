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
    e ->> '$.credential.source' AS source,
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

-- The daily rows that `waybill sharing` reads: of a customer, a credential's label and a day of UTC. As JSON Lines:
--   COPY (FROM sharing_days('2026-11-27', '2026-11-28')) TO 'sharing-days.jsonl' (FORMAT json);
-- The second day isn't included. An event that was loaded twice counts once, with its longest duration, and a request counts for the day
-- it began on. Left out: events without a customer, and those whose credential is a certificate or a chain.
CREATE MACRO sharing_days(since, until) AS TABLE
WITH once AS (
    SELECT DISTINCT ON (id) time::DATE AS day, customer, credential, epoch_ms(time) AS begun, duration_ms, address, asn,
        CASE WHEN coalesce(network, '') NOT IN ('hosting', 'proxy', 'vpn', 'tor') THEN origin END AS origin,
        CASE WHEN network = 'hosting' AND address IS NOT NULL THEN sdk END AS program
    FROM events
    WHERE id <> '' AND customer IS NOT NULL AND source <> 'chain' AND source NOT LIKE 'mtls %'
        AND time >= since::DATE AND time < until::DATE
    ORDER BY id, duration_ms DESC NULLS LAST
), sat_at AS ( -- by the programs that people sit at: `people` of data/client-software.json
    SELECT * FROM once WHERE program IN (
        'claude-code', 'codex-cli', 'gemini-cli', 'cursor', 'cline', 'roo-code', 'continue', 'aider',
        'zed', 'librechat', 'open-webui', 'cherry-studio', 'opencode')
), flights AS ( -- one more where a request begins, one less where it ends, and at the same millisecond ends come first
    SELECT day, customer, credential, sum(step) OVER (PARTITION BY day, customer, credential, address, program ORDER BY moment, step) AS in_flight
    FROM (
        SELECT *, begun AS moment, 1 AS step FROM sat_at WHERE duration_ms > 0
        UNION ALL
        SELECT *, begun + duration_ms AS moment, -1 AS step FROM sat_at WHERE duration_ms > 0
    )
), parts AS (
    SELECT day, customer, credential, count(*) AS events, count(DISTINCT address) AS networks, nullif(count(DISTINCT asn), 0) AS systems
    FROM once
    GROUP BY day, customer, credential
    UNION ALL BY NAME
    SELECT day, customer, credential, origin AS country, count(*) AS requests,
        list_sort(list(DISTINCT (begun // 60000 % 1440)::USMALLINT)) AS minutes
    FROM once
    WHERE origin IS NOT NULL
    GROUP BY day, customer, credential, origin
    UNION ALL BY NAME
    SELECT day, customer, credential, count(DISTINCT program) AS programs, count(*) FILTER (duration_ms IS NULL) AS without_duration
    FROM sat_at
    GROUP BY day, customer, credential, address, begun // 3600000
    UNION ALL BY NAME
    SELECT day, customer, credential, max(in_flight) AS in_flight FROM flights GROUP BY day, customer, credential
)
SELECT day, customer, credential, sum(events)::UBIGINT AS events, sum(networks)::UBIGINT AS networks, sum(systems)::UBIGINT AS systems,
    coalesce(map_from_entries(list({'k': country, 'v': requests} ORDER BY country) FILTER (country IS NOT NULL)), MAP {}) AS countries,
    coalesce(map_from_entries(list({'k': country, 'v': minutes} ORDER BY country) FILTER (country IS NOT NULL)), MAP {}) AS minutes,
    coalesce(max(programs), 0)::UBIGINT AS programs, coalesce(max(in_flight), 0)::UBIGINT AS in_flight,
    coalesce(sum(without_duration), 0)::UBIGINT AS without_duration
FROM parts
GROUP BY day, customer, credential
ORDER BY day, customer, credential NULLS FIRST;
