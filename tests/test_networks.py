"""What a snapshot says of addresses is what an independent reader finds in the source files.

The reader is MaxMind's own for Python for MMDB files, and a bisection for lists. Addresses that only embed an IPv4
address (mapped, SIIT, NAT64, 6to4, Teredo) aren't asked for: Waybill judges them by that one, whatever a file's aliases say.
"""

import bisect
import ipaddress
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import maxminddb
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "envoy"))
import register_data  # noqa: E402

WAYBILL = Path(os.environ.get("WAYBILL", ROOT / "dist" / "waybill")).resolve()
OFFICIAL = sorted((ROOT / "tests" / "data" / "mmdb").glob("*.mmdb"))
REGIONS = json.loads((ROOT / "data" / "regions.json").read_text())
CODES = {*REGIONS["iso3166_1_alpha2"], "XK"}
EMBEDDING = [ipaddress.ip_network(text) for text in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "2001::/32", "2002::/16")]
ADDRESSES = 1_000_000


class Refused(Exception):
    """The register doesn't compile."""


def lookup(directory, sources, addresses):
    """Compiles a register with these sources, and looks addresses up in the snapshot. The files are there already."""
    (directory / "register.json").write_text(json.dumps({"schema": 1, "networks": sources}))
    (directory / "customers.json").write_text('{"customers": []}')
    key, snapshot = directory / ".key", directory / ".snapshot"
    key.write_bytes(run("keygen"))
    run("compile", directory, "-o", snapshot, "--sign-key", key)
    lines = run("inspect", snapshot, "--address", "-", text="\n".join(map(str, addresses))).splitlines()
    answers = [json.loads(line) for line in lines]
    for answer in answers:
        answer["places"] = {said["source"]: said["place"] for said in answer["places"]}
        answer["lists"] = [said["source"] for said in answer["lists"]]
    return answers


def run(*arguments, text=""):
    done = subprocess.run([WAYBILL, *arguments], input=text.encode(), capture_output=True)
    if done.returncode:
        raise Refused(done.stderr.decode())
    return done.stdout


def place(record):
    """The country that a record gives, with its part."""
    if not isinstance(record, dict):
        return None
    country, part = record.get("country_code"), None
    if country is None:
        country = record.get("country", {}).get("iso_code")
        part = (record.get("subdivisions") or [{}])[0].get("iso_code")
    if country not in CODES:
        return None
    return f"{country}-{part}" if part and len(part) <= 3 else country


def asn(record):
    return (record.get("autonomous_system_number") or None) if isinstance(record, dict) else None


def embeds(address):
    return address.version == 6 and any(address in network for network in EMBEDDING)


@pytest.mark.parametrize("says, value", [({}, place), ({"gives": "asn"}, asn)], ids=["country", "asn"])
@pytest.mark.parametrize("path", OFFICIAL, ids=lambda path: path.stem)
def test_official_databases(path, says, value, tmp_path):
    expected = {}
    try:
        with maxminddb.open_database(path) as reader:
            for network in networks(reader):
                for address in edges(network):
                    if not embeds(address) and not (address.version == 6 and reader.metadata().ip_version == 4):
                        expected[address] = value(reader.get(address))
    except (maxminddb.InvalidDatabaseError, UnicodeDecodeError):
        expected = None  # the other reader decodes whole records, so it may refuse what Waybill needn't look at
    (tmp_path / "networks").mkdir()
    (tmp_path / "networks" / "it.mmdb").write_bytes(path.read_bytes())
    source = {"name": "it", "file": "networks/it.mmdb", "date": "2026-01-01T00:00:00Z", **says}
    try:
        found = lookup(tmp_path, [source], expected or ["192.0.2.1"])
    except Refused as refusal:
        assert expected is None or not any(expected.values()), refusal
        return
    if expected is not None:
        assert [(row["places"].get("it") if value is place else row["asn"]) for row in found] == list(expected.values())


def networks(reader):
    try:
        return [network for network, _ in reader]
    except ValueError:  # the other reader can't walk a file whose IPv4 half is a single leaf, but answers for addresses
        return [ipaddress.ip_network(text) for text in ("0.0.0.0/0", "::/64", "::/1", "8000::/1")]


def edges(network):
    """Its first and last addresses, and those just outside."""
    first, last = int(network.network_address), int(network.broadcast_address)
    kind = type(network.network_address)
    inside = {first, first + (last - first) // 2, last}
    return [kind(at) for at in sorted(inside | {first - 1, last + 1}) if 0 <= at < 2**network.max_prefixlen]


def test_a_million_addresses(tmp_path):
    (tmp_path / "networks").symlink_to(register_data.TARGET)
    sources = register_data.prepare(register_data.TARGET)
    tables = {s["name"]: s for s in sources if "class" not in s}
    readers = {name: maxminddb.open_database(tmp_path / s["file"], maxminddb.MODE_MMAP_EXT) for name, s in tables.items()}
    lists = read_lists([(s["name"], tmp_path / s["file"]) for s in sources if "class" in s])
    addresses = sample(readers, lists)
    found = lookup(tmp_path, sources, addresses)
    assert len(found) == len(addresses)
    hits = 0
    for address, row in zip(addresses, found):
        expected = {"address": str(address), "places": {}, "asn": None}
        for name, reader in readers.items():
            record = reader.get(address)
            if tables[name].get("gives") == "asn":
                expected["asn"] = asn(record)
            elif country := place(record):
                expected["places"][name] = country
        expected["lists"] = listed(lists, address)
        hits += bool(expected["places"])
        assert {key: row[key] for key in expected} == expected
    assert hits > ADDRESSES / 2


def sample(readers, lists):
    """Addresses of both families, the same ones each time: anywhere, in known networks, and at their edges."""
    dice = random.Random(20261121)
    known = [network for network, _ in readers["user-country"] if network.version == 6]
    addresses = [ipaddress.IPv4Address(dice.getrandbits(32)) for _ in range(ADDRESSES // 2)]
    for kind, (firsts, lasts, _) in lists.items():
        for first, last in dice.sample(list(zip(firsts, lasts)), 10_000):
            addresses += [kind(at) for at in (first, last, last + 1)]
    while len(addresses) < ADDRESSES:
        network = dice.choice(known)
        first, last = int(network.network_address), int(network.broadcast_address)
        addresses.append(ipaddress.IPv6Address(dice.choice([first, last, last + 1, *(dice.randint(first, last) for _ in range(5))])))
    return [address for address in addresses if not embeds(address)]


def read_lists(files):
    """For each family: first and last addresses, sorted, and the list that each is on. No address is on two."""
    networks = [
        (network.version, network, name)
        for name, path in files
        for network in (ipaddress.ip_network(line) for line in path.read_text().splitlines() if not line.startswith("#"))
    ]
    lists = {ipaddress.IPv4Address: ([], [], []), ipaddress.IPv6Address: ([], [], [])}
    for _, network, name in sorted(networks):
        firsts, lasts, names = lists[type(network.network_address)]
        assert not lasts or lasts[-1] < int(network.network_address)
        firsts.append(int(network.network_address))
        lasts.append(int(network.broadcast_address))
        names.append(name)
    return lists


def listed(lists, address):
    firsts, lasts, names = lists[type(address)]
    at = bisect.bisect_right(firsts, int(address)) - 1
    return [names[at]] if at >= 0 and int(address) <= lasts[at] else []
