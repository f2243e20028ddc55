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
    duration_ms UInt32,
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
