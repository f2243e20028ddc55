-- Waybill's log lines in ClickHouse: the table. The questions are in questions.sql; docs/observability.md tells of both.
--
-- A line is loaded as it is, and the columns are read from its event:
--   clickhouse-client --query 'INSERT INTO events FORMAT JSONEachRow' < events.jsonl
--
-- `event` is the text that the node wrote, so that `digest` can be compared with the next event's `prev`.
-- Without an event (`null`: Envoy answered before the node ran) `id`, `vm`, `node` and `verdict` are empty.

CREATE TABLE events (
    event String,
    status UInt16,
    duration_ms Nullable(UInt32),
    request_id Nullable(String),
    provider_request_id Nullable(String),
    method Nullable(String),
    path Nullable(String),
    digest String MATERIALIZED lower(hex(SHA256(event))),
    id String MATERIALIZED JSONExtractString(event, 'id'),
    time DateTime64(3, 'UTC') MATERIALIZED parseDateTime64BestEffortOrZero(JSONExtractString(event, 'time'), 3, 'UTC'),
    node LowCardinality(String) MATERIALIZED JSONExtractString(event, 'node'),
    customer Nullable(String) MATERIALIZED JSONExtract(event, 'customer', 'Nullable(String)'),
    credential Nullable(String) MATERIALIZED JSONExtract(event, 'credential', 'label', 'Nullable(String)'),
    source Nullable(String) MATERIALIZED JSONExtract(event, 'credential', 'source', 'Nullable(String)'),
    mode LowCardinality(String) MATERIALIZED JSONExtractString(event, 'mode'),
    verdict LowCardinality(String) MATERIALIZED JSONExtractString(event, 'verdict'),
    would_be Nullable(String) MATERIALIZED JSONExtract(event, 'would_be', 'Nullable(String)'),
    reason Nullable(String) MATERIALIZED JSONExtract(event, 'reason', 'Nullable(String)'),
    origin Nullable(String) MATERIALIZED JSONExtract(event, 'origin', 'Nullable(String)'),
    address Nullable(String) MATERIALIZED JSONExtract(event, 'address', 'Nullable(String)'),
    network Nullable(String) MATERIALIZED JSONExtract(event, 'network', 'Nullable(String)'),
    asn Nullable(UInt32) MATERIALIZED JSONExtract(event, 'asn', 'Nullable(UInt32)'),
    sdk Nullable(String) MATERIALIZED JSONExtract(event, 'software', 'sdk', 'Nullable(String)'),
    chain Nullable(String) MATERIALIZED JSONExtract(event, 'chain', 'Nullable(String)'),
    policy String MATERIALIZED JSONExtractString(event, 'policy'),
    snapshot UInt64 MATERIALIZED JSONExtractUInt(event, 'snapshot'),
    vm String MATERIALIZED JSONExtractString(event, 'vm'),
    seq UInt64 MATERIALIZED JSONExtractUInt(event, 'seq'),
    prev Nullable(String) MATERIALIZED JSONExtract(event, 'prev', 'Nullable(String)'),
    fired Array(Tuple(code String, action String, evidence String))
        MATERIALIZED JSONExtract(event, 'findings', 'Array(Tuple(code String, action String, evidence String))'),
    carried Array(Tuple(node String, customer Nullable(String), attest String, proven Bool))
        MATERIALIZED JSONExtract(event, 'hops', 'Array(Tuple(node String, customer Nullable(String), attest String, proven Bool))'),
    explained String MATERIALIZED arrayStringConcat(arrayMap(f -> concat(f.1, ' (', f.2, '): ', f.3), fired), '; ')
) ENGINE = MergeTree ORDER BY (time, vm, seq) PARTITION BY toYYYYMM(time);

-- A row for each finding, and a row for each hop of a verified chain (`place` 1 is where the request began).
CREATE VIEW findings AS
    SELECT id, time, node, customer, origin, verdict, reason, f.1 AS code, f.2 AS action, f.3 AS evidence
    FROM events ARRAY JOIN fired AS f;

CREATE VIEW hops AS
    SELECT id, time, node, verdict, reason, place, h.1 AS hop, h.2 AS hop_customer, h.3 AS attest, h.4 AS proven
    FROM events ARRAY JOIN carried AS h, arrayEnumerate(carried) AS place;

-- The daily rows that `waybill sharing` reads: of a customer, a credential's label and a day of UTC. As JSON Lines:
--   SELECT * FROM sharing_days(since = '2026-11-27', until = '2026-11-28') FORMAT JSONEachRow
-- `until` isn't included. An event that was loaded twice counts once, with its longest duration, and a request counts for the day
-- it began on. Left out: events without a customer, and those whose credential is a certificate or a chain.
CREATE VIEW sharing_days AS
WITH once AS (
    SELECT toDate(time) AS day, customer, credential, toUnixTimestamp64Milli(time) AS begun, duration_ms, address, asn,
        if(network IN ('hosting', 'proxy', 'vpn', 'tor'), NULL, origin) AS origin,
        if(network = 'hosting' AND address IS NOT NULL, sdk, NULL) AS program
    FROM events
    WHERE id <> '' AND customer IS NOT NULL AND source <> 'chain' AND source NOT LIKE 'mtls %'
        AND time >= toDateTime64({since:Date}, 3, 'UTC') AND time < toDateTime64({until:Date}, 3, 'UTC')
    ORDER BY duration_ms DESC NULLS LAST
    LIMIT 1 BY id
), sat_at AS ( -- by the programs that people sit at: `people` of data/client-software.json
    SELECT * FROM once WHERE program IN (
        'claude-code', 'codex-cli', 'gemini-cli', 'cursor', 'cline', 'roo-code', 'continue', 'aider',
        'zed', 'librechat', 'open-webui', 'cherry-studio', 'opencode')
), parts AS (
    SELECT day, customer, credential, count() AS events, uniqExact(address) AS networks,
        count(asn) AS announced, uniqExact(asn) AS systems,
        '' AS country, 0 AS requests, [] AS minutes, 0 AS programs, 0 AS in_flight, 0 AS without_duration
    FROM once
    GROUP BY day, customer, credential
    UNION ALL
    SELECT day, customer, credential, 0, 0, 0, 0,
        assumeNotNull(origin), count(), arraySort(groupUniqArray(intDiv(begun, 60000) % 1440)), 0, 0, 0
    FROM once
    WHERE origin IS NOT NULL
    GROUP BY day, customer, credential, origin
    UNION ALL
    SELECT day, customer, credential, 0, 0, 0, 0, '', 0, [], uniqExact(program), 0, countIf(duration_ms IS NULL)
    FROM sat_at
    GROUP BY day, customer, credential, address, intDiv(begun, 3600000)
    UNION ALL
    -- In flight: one more where a request begins, one less where it ends, and at the same millisecond ends come first.
    SELECT day, customer, credential, 0, 0, 0, 0, '', 0, [], 0,
        arrayMax(arrayCumSum(arrayMap(step -> step.2, arraySort(arrayConcat(
            groupArray((begun, 1)), groupArray((begun + assumeNotNull(duration_ms), -1))))))), 0
    FROM sat_at
    WHERE duration_ms > 0
    GROUP BY day, customer, credential, address, program
)
SELECT day, customer, credential, sum(p.events) AS events, sum(p.networks) AS networks,
    if(sum(p.announced) = 0, NULL, sum(p.systems)) AS systems,
    CAST(arraySort(groupArrayIf((p.country, p.requests), p.country <> '')), 'Map(String, UInt64)') AS countries,
    CAST(arraySort(groupArrayIf((p.country, p.minutes), p.country <> '')), 'Map(String, Array(UInt16))') AS minutes,
    max(p.programs) AS programs, max(p.in_flight) AS in_flight, sum(p.without_duration) AS without_duration
FROM parts AS p
GROUP BY day, customer, credential
ORDER BY day, customer, credential NULLS FIRST;
