"""What a snapshot says of addresses is what an independent reader finds in the source files.

The reader is MaxMind's own for Python for MMDB files, and a bisection for lists. Addresses that only embed an IPv4
address (mapped, SIIT, NAT64, 6to4, Teredo) aren't asked for: Waybill judges them by that one, whatever a file's aliases say.
"""

import bisect
import csv
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


# How the names of the parts of Ukraine begin that are restricted
RESTRICTED = {"UA-43": ("crimea", "krym"), "UA-40": ("sevastopol",), "UA-14": ("donetsk",), "UA-09": ("luhansk",)}


def place(record):
    """The country that a record gives, with its part: of several a restricted one, else the first that has a code."""
    if not isinstance(record, dict):
        return None
    nested = record.get("country")
    candidates = (record.get("country_code"), nested.get("iso_code") if isinstance(nested, dict) else nested)
    country = next((code for code in candidates if isinstance(code, str) and code in CODES), None)
    if country is None:
        return None
    parts = list(filter(None, (part(country, *said) for said in said_of_parts(record))))
    return next((code for code in parts if code in RESTRICTED), parts[0] if parts else country)


def said_of_parts(record):
    """Texts that tell a part, each with whether it is there as a code."""
    for entry in record.get("subdivisions") or []:
        if isinstance(entry, str):
            yield entry, False
        elif isinstance(entry, dict):
            yield entry.get("iso_code", ""), True
            yield from ((name, False) for name in entry.get("names", {}).values())
    yield record.get("region_code", ""), True
    yield from ((record.get(name, ""), False) for name in ("region", "state1", "state2"))


def part(country, text, is_code):
    if not isinstance(text, str):
        return None
    words = text.lower().replace("'", "").split()
    for code, names in RESTRICTED.items():
        if country == "UA" and any(word.startswith(names) for word in words):
            return code
    code = text if text.startswith(f"{country}-") else f"{country}-{text}"
    short = code[3:].isalnum() and code[3:].isascii() and len(code) <= 6
    return code if short and (is_code or code == text or code in RESTRICTED) else None


def asn(record):
    if not isinstance(record, dict):
        return None
    said = record.get("autonomous_system_number") or record.get("asn")
    return int(said.removeprefix("AS")) if isinstance(said, str) else said or None


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


def test_a_feed(tmp_path):
    """RFC 8805: what each line says is what Python's reader of tables finds there, the smallest network first."""
    text = (
        "# prefix,country,region,city,postal\n203.0.113.0/25,UA,UA-43,Kerch,\n203.0.113.128/25,US,US-OR,\"Salem, Oregon\",97301\n"
        "192.0.2.0/24,JP\n198.51.100.0/24,SG,,,\n198.51.100.0/25,,,,\n2001:db8::/32,UA,Luhansk,,\n2001:db8:1::/48,RU,UA-43,,\n"
    )
    said = {}
    for prefix, *fields in csv.reader(line for line in text.splitlines() if not line.startswith("#")):
        country, region = (fields + ["", ""])[:2]
        said[ipaddress.ip_network(prefix)] = (country and part(country, region, False)) or country or None
    (tmp_path / "networks").mkdir()
    (tmp_path / "networks" / "feed.csv").write_text(text)
    addresses = [address for network in said for address in edges(network)]
    found = lookup(tmp_path, [{"name": "it", "file": "networks/feed.csv", "date": "2026-01-01T00:00:00Z"}], addresses)
    for address, row in zip(addresses, found, strict=True):
        around = [network for network in said if address in network]
        expected = said[max(around, key=lambda network: network.prefixlen)] if around else None
        assert row["places"].get("it") == expected, address


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
