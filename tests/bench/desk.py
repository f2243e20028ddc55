"""How long the desk takes over a large log: `./build.sh bench desk`.

Makes a log of 1,000,000 events in the shipped format: a month of four workers and 1,000 customers, each event with the
digest of its VM's event before. Then `waybill report` reads it all, and `waybill event` looks for one of its last
events. Prints the time and the peak memory of each, and fails where a promise is broken.
"""

import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WAYBILL = Path(os.environ.get("WAYBILL", ROOT / "dist" / "waybill")).resolve()
EVENTS = int(os.environ.get("EVENTS", "1000000"))
VMS = 4
CUSTOMERS = 1_000
START = datetime(2026, 11, 1, tzinfo=timezone.utc)
PROMISES = {"report": (60, 1_000_000_000), "event": (5, 1_000_000_000)}  # seconds, bytes
COUNTRIES = ["SG"] * 60 + ["JP"] * 20 + ["DE"] * 10 + ["CN", "HK", "US", "BR", None]
# verdict, reason, findings, would_be; as often as in the list
DECISIONS = [("allow", None, [], None)] * 80 + [
    ("allow", None, [("network.hosting", "allow", "hosting (Amazon AWS)")], None),
    ("report", "geo.undeclared", [("geo.undeclared", "report", "CN isn't declared")], None),
    ("report", "geo.restricted", [("geo.restricted", "block", "CN is restricted")], "block"),
    ("report", "network.anonymizer", [("network.anonymizer", "reroute", "vpn")], "reroute"),
    ("reroute", "provider.restricted", [("provider.restricted", "reroute", "restricted")], None),
    ("block", "geo.restricted", [("geo.restricted", "block", "CN is restricted")], None),
    ("block", "customer.suspended", [("customer.suspended", "block", "suspended")], None),
    ("block", "identity.unknown", [("identity.unknown", "block", "in the register: none")], None),
    ("block", "chain.expired", [("chain.expired", "block", "by 30 s"), ("tag.spoofed", "report", "a tag")], None),
]
HOPS = [None] * 30 + [
    ("full", [("reseller-b.example", "c-1", "full", True)]),
    ("partial", [("reseller-c.example", "c-2", "full", True), ("reseller-b.example", "c-1", "partial", True)]),
    ("gateway", [("reseller-d.example", None, "full", False), ("reseller-b.example", "c-1", "partial", True)]),
]
# as the snapshot has none, or an earlier version wrote the event
SYSTEMS = [None, *range(64500, 64520), *[9506] * 10]
PROGRAMS = [None, {"sdk": "other", "os": "other"}] + [
    {"sdk": sdk, "version": "1.2", "os": os} for sdk in ("anthropic-python", "openai-node", "claude-code") for os in ("linux", "macos")
]


def events(number, seed=1, customers=CUSTOMERS, span=timedelta(days=30)):
    """Events as the node writes them, each with its text."""
    chance = random.Random(seed)
    names = [f"customer-{index}" for index in range(customers)]
    vms = [[f"{chance.getrandbits(64):016x}", 0, None] for _ in range(VMS)]
    for index in range(number):
        vm = chance.choice(vms)
        at = START + span * (index / number)
        verdict, reason, findings, would_be = chance.choice(DECISIONS)
        named = reason != "identity.unknown"
        chain, hops = chance.choice(HOPS) or (None, None)
        asn, software = chance.choice(SYSTEMS), chance.choice(PROGRAMS)
        event = {
            "schema": 1,
            "id": f"{vm[0]}-{vm[1]}",
            "time": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z",
            "node": "gateway.acme.example",
            "customer": names[min(int(chance.paretovariate(0.7)), customers) - 1] if named else None,
            "credential": {"source": "header x-api-key", "label": "production"} if named else None,
            "mode": "report" if would_be else "enforce",
            "verdict": verdict,
            "would_be": would_be,
            "route": "elsewhere" if verdict == "reroute" else None,
            "reason": reason,
            "findings": [{"code": code, "action": action, "evidence": text} for code, action, text in findings],
            "user": None,
            "origin": chance.choice(COUNTRIES),
            "address": "165.21.100.0/24",
            "network": None,
            **({"asn": asn} if asn else {}),
            **({"software": software} if software else {}),
            "chain": chain,
            **({"hops": [dict(zip(("node", "customer", "attest", "proven"), hop)) for hop in hops]} if hops else {}),
            "policy": "bbb4a5cc7f1dea48" if index < number * 0.7 else "0123456789abcdef",
            "snapshot": 1795781731 + index * 100 // number,
            "vm": vm[0],
            "seq": vm[1],
            "prev": vm[2],
        }
        text = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
        vm[1:] = [vm[1] + 1, hashlib.sha256(text.encode()).hexdigest()]
        yield event, text


def line(text, number):
    """A line of the shipped format."""
    beside = {"status": 200, "duration_ms": number % 900, "request_id": f"r-{number}", "provider_request_id": f"req_{number}",
              "method": "POST", "path": "/v1/messages"}
    return json.dumps({"event": text, **beside}, separators=(",", ":")) + "\n"


def measured(*arguments):
    """Seconds, the peak of memory in bytes, the exit status."""
    started = time.monotonic()
    process = subprocess.Popen([WAYBILL, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return time.monotonic() - started, usage.ru_maxrss * 1024, process.returncode


def main():
    with tempfile.TemporaryDirectory() as folder:
        log, page = Path(folder) / "events.jsonl", Path(folder) / "page.html"
        with log.open("w") as out:
            for number, (event, text) in enumerate(events(EVENTS)):
                out.write(line(text, number))
        print(f"a log of {EVENTS:,} events: {log.stat().st_size / 1e6:,.0f} MB")
        runs = {
            "report": measured("report", log, "-o", page, "--json", "--by", "reseller"),
            "event": measured("event", event["id"], log),
        }
        ok = True
        for verb, (seconds, memory, status) in runs.items():
            most_seconds, most_memory = PROMISES[verb]
            kept = status == 0 and seconds <= most_seconds and memory <= most_memory
            ok &= kept
            print(f"waybill {verb}: {seconds:.1f} s (promised {most_seconds}), {memory / 1e6:.0f} MB "
                  f"(promised {most_memory / 1e6:.0f}){'' if kept else f', exit status {status}: NOT KEPT'}")
        if page.exists():
            print(f"the page: {page.stat().st_size / 1e6:.2f} MB")
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
