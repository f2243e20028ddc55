-- Ten questions to the events of a fleet, in SQL that both ClickHouse (clickhouse.sql) and DuckDB (duckdb.sql) answer alike.
-- Change what stands in quotes. The answers that need the register (who owns whom, whose screening ends) are the desk's:
-- `waybill screen`, `waybill due`, `waybill replay`.

-- 1. Why was this request decided so? By the event's id, or by Envoy's or the provider's id of the request.
SELECT time, id, node, customer, verdict, reason, status, explained
FROM events
WHERE id = 'ID' OR request_id = 'ID' OR provider_request_id = 'ID'
ORDER BY time, id;

-- 2. Which customers come from countries that they haven't declared?
SELECT customer, origin, count(*) AS requests, max(time) AS latest
FROM findings
WHERE code = 'geo.undeclared'
GROUP BY customer, origin
ORDER BY requests DESC, customer, origin;

-- 3. What would enforce mode have refused or sent elsewhere?
SELECT node, customer, would_be, reason, count(*) AS requests, max(time) AS latest
FROM events
WHERE would_be IN ('block', 'reroute')
GROUP BY node, customer, would_be, reason
ORDER BY requests DESC, node, customer NULLS LAST, reason;

-- 4. The period for the auditor, day by day. Requests that Envoy answered by itself, such as malformed ones, have no event
-- and aren't counted.
SELECT CAST(time AS DATE) AS day,
    count(*) AS requests,
    sum(CASE WHEN verdict = 'allow' THEN 1 ELSE 0 END) AS allowed,
    sum(CASE WHEN verdict = 'report' THEN 1 ELSE 0 END) AS reported,
    sum(CASE WHEN verdict = 'reroute' THEN 1 ELSE 0 END) AS rerouted,
    sum(CASE WHEN verdict = 'block' THEN 1 ELSE 0 END) AS refused,
    count(DISTINCT customer) AS customers
FROM events
WHERE id <> '' AND time >= '2026-01-01' AND time < '2100-01-01'
GROUP BY day
ORDER BY day;

-- 5. Whom did we refuse, and why?
SELECT customer, reason, count(*) AS requests, min(time) AS first, max(time) AS latest
FROM events
WHERE verdict = 'block'
GROUP BY customer, reason
ORDER BY requests DESC, customer NULLS LAST, reason;

-- 6. Who calls from these countries? Those whom a region set that restricts them would refuse by address; owners are another matter.
SELECT origin, customer, count(*) AS requests, sum(CASE WHEN verdict = 'block' THEN 1 ELSE 0 END) AS refused
FROM events
WHERE origin IN ('HK', 'MO')
GROUP BY origin, customer
ORDER BY origin, requests DESC, customer NULLS LAST;

-- 7. Where do requests come from?
SELECT origin, count(*) AS requests, count(DISTINCT customer) AS customers,
    sum(CASE WHEN verdict = 'block' THEN 1 ELSE 0 END) AS refused
FROM events
WHERE id <> ''
GROUP BY origin
ORDER BY requests DESC, origin NULLS LAST;

-- 8. Which policies and snapshots were in force, where and how long?
SELECT node, mode, policy, snapshot, count(*) AS requests, min(time) AS first, max(time) AS latest
FROM events
WHERE id <> ''
GROUP BY node, mode, policy, snapshot
ORDER BY node, first, policy, snapshot;

-- 9. For a provider or a transit node: the reseller that signed, its traffic, its weakest chain, and hops that it couldn't prove.
SELECT node, signer, count(*) AS requests,
    sum(CASE WHEN verdict = 'block' THEN 1 ELSE 0 END) AS refused,
    CASE min(worth) WHEN 1 THEN 'gateway' WHEN 2 THEN 'partial' ELSE 'full' END AS weakest,
    sum(unproven) AS unproven_hops
FROM (
    SELECT h.id AS id, max(h.node) AS node, max(h.verdict) AS verdict,
        max(CASE WHEN h.place = l.length THEN h.hop ELSE '' END) AS signer,
        min(CASE h.attest WHEN 'gateway' THEN 1 WHEN 'partial' THEN 2 ELSE 3 END) AS worth,
        sum(CASE WHEN h.proven THEN 0 ELSE 1 END) AS unproven
    FROM hops AS h
    JOIN (SELECT id, max(place) AS length FROM hops GROUP BY id) AS l ON l.id = h.id
    GROUP BY h.id
) AS chains
GROUP BY node, signer
ORDER BY node, requests DESC, signer;

-- 10. Is the log complete? Of each VM: numbers that are missing, lines that came twice, and events whose successor has another
-- digest than theirs. Each 0: nothing is missing or altered but, perhaps, the VM's last events. Streams that are still open
-- have no line yet. `first` above 0: the log begins later than the VM.
SELECT vm, max(node) AS node, sum(events) AS events, max(first) AS first, max(last) AS last,
    sum(missing) AS missing, sum(doubled) AS doubled, sum(altered) AS altered
FROM (
    SELECT vm, max(node) AS node, count(*) AS events, min(seq) AS first, max(seq) AS last,
        max(seq) + 1 - min(seq) - count(DISTINCT seq) AS missing, count(*) - count(DISTINCT seq) AS doubled, 0 AS altered
    FROM events
    WHERE id <> ''
    GROUP BY vm
    UNION ALL
    SELECT a.vm AS vm, '' AS node, 0 AS events, 0 AS first, 0 AS last, 0 AS missing, 0 AS doubled, count(DISTINCT a.seq) AS altered
    FROM events AS a
    JOIN events AS b ON b.vm = a.vm AND b.seq = a.seq + 1
    WHERE a.id <> '' AND b.id <> '' AND b.prev <> a.digest
    GROUP BY a.vm
) AS counted
GROUP BY vm
ORDER BY vm;
