"""docs/snapshot.md is enough to write a reader: here is one, which shares nothing with the compiler.

It reads what `waybill compile` wrote, and finds in it what the register's own files say, the network sources as
MaxMind's reader has them.
"""

import base64
import bisect
import hashlib
import ipaddress
import json
import struct
from datetime import datetime, timezone

import maxminddb
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from test_networks import ROOT, asn, edges, networks, place, run

CREDENTIAL, CERTIFICATE, CLAIM, ID = range(4)
DIVIDED = 0xFFFFFF
SEQUENCE, CREATED = 7, 1_795_000_000


class Refused(Exception):
    """The file is none to be trusted, or breaks the format."""


def require(holds, why):
    if not holds:
        raise Refused(why)


# === a reader of docs/snapshot.md ===


class Snapshot:
    def __init__(self, file, trusted):
        self.preamble = Preamble(file, trusted)
        self.read_head(file)
        self.sources = [source["name"] for source in self.contents["sources"]]
        self.countries = [source["name"] for source in self.contents["sources"] if "role" in source]
        self.runs = {kind: self.read_runs(kind, size) for kind, size in ((1, 4), (2, 8), (3, 16))}

    def read_head(self, file):
        head = file[256 : 256 + self.preamble.head_size]
        require(hashlib.sha256(head).digest() == self.preamble.head_digest, "head")
        (size,) = struct.unpack_from("<I", head)
        self.contents = json.loads(head[4 : 4 + size])
        self.pages = {kind: [] for kind in range(6)}
        at, last = 256 + len(head), 0
        for kind, size, rows, digest in struct.iter_unpack("<BII32s", head[4 + size :]):
            page = file[at : at + size]
            require(hashlib.sha256(page).digest() == digest, "page")
            require(kind >= last and size <= 512 << 10, "order or size of pages")
            self.pages[kind].append((page, rows))
            at, last = at + size, kind
        require(at == len(file) == self.preamble.file_size, "size")

    def customer(self, kind, name):
        """The record that a credential (its bytes) or another name leads to, or None."""
        key = hashlib.sha256(name if kind == CREDENTIAL else bytes([kind]) + name).digest()[:16]
        pages = self.pages[5]
        bits = len(pages).bit_length() - 1
        place = int.from_bytes(key) >> (128 - bits - 2)
        page, rows = pages[place >> 2]
        buckets = self.buckets(page)
        require(sum(struct.unpack_from("<I", bucket)[0] for bucket in buckets if bucket) == rows, "number of rows")
        bucket = buckets[place & 3]
        (count,) = struct.unpack_from("<I", bucket or bytes(4))
        for row_key, at in struct.iter_unpack("<16sI", bucket[4 : 4 + count * 20]):
            if row_key == key:
                said, record = Record(bucket, at, self.preamble.version).customer()
                return record if said == kind else None
        return None

    @staticmethod
    def buckets(page):
        if not page:
            return [b""] * 4
        sizes = struct.unpack_from("<4I", page)
        require(16 + sum(sizes) == len(page), "buckets")
        ends = [16 + sum(sizes[: number + 1]) for number in range(4)]
        return [page[end - size : end] for end, size in zip(ends, sizes)]

    def address(self, address):
        """What each source of countries says, the autonomous system, and the lists."""
        address = embedded(address)
        if address.version == 4:
            facts = self.run(1, int(address))
        else:
            facts = self.run(2, int(address) >> 64)
            if facts == DIVIDED:
                facts = self.run(3, int(address))
        if facts is None:
            return {}, None, []
        page, row = divmod(facts, self.pages[0][0][1])
        width = 6 + 2 * len(self.countries)
        asn, list_set, *places = struct.unpack_from(f"<IH{len(self.countries)}H", self.pages[0][page][0], row * width)
        said = zip(self.countries, places)
        lists = self.contents["list_sets"][list_set - 1] if list_set else []
        return (
            {name: self.contents["places"][place - 1] for name, place in said if place},
            asn or None,
            [self.sources[number] for number in lists],
        )

    def read_runs(self, kind, size):
        """Where runs begin, and their facts."""
        rows = [row for page, _ in self.pages[kind] for row in struct.iter_unpack(f"<{size}s3s", page)]
        firsts, facts = ([int.from_bytes(number, "little") for number in column] for column in (zip(*rows) if rows else ((), ())))
        require(all(one < other for one, other in zip(firsts, firsts[1:])), "order of runs")
        return firsts, facts

    def run(self, kind, key):
        """The facts of the last run that begins at the key or before."""
        firsts, facts = self.runs[kind]
        at = bisect.bisect_right(firsts, key)
        return facts[at - 1] if at else None


class Preamble:
    def __init__(self, file, trusted):
        require(len(file) >= 256 and file[:8] == b"WAYBILL\n", "no snapshot")
        version, self.head_size, self.file_size, self.sequence, self.created = struct.unpack_from("<5Q", file, 8)
        self.head_digest, key = struct.unpack_from("<32s32s", file, 48)
        require(version in (1, 2, 3), "version")
        self.version = version
        require(key in trusted, "key")
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(file[192:256], file[:192])
        except InvalidSignature:
            raise Refused("signature") from None
        require(self.head_size <= 8 << 20, "head's size")


def embedded(address):
    """The IPv4 address that an IPv6 one embeds, by which it is judged; else itself."""
    bits = int(address)
    if address.version == 6 and bits not in (0, 1):
        if bits >> 32 in (0, 0xFFFF, 0xFFFF_0000, 0x64_FF9B << 64):
            return ipaddress.IPv4Address(bits & 0xFFFFFFFF)
        if bits >> 112 == 0x2002:
            return ipaddress.IPv4Address(bits >> 80 & 0xFFFFFFFF)
        if bits >> 96 == 0x20010000:
            return ipaddress.IPv4Address(~bits & 0xFFFFFFFF)
    return address


class Record:
    """One customer under one of its names."""

    def __init__(self, bucket, at, version):
        self.data, self.at, self.version = bucket, at, version

    def bytes(self, count):
        require(self.at + count <= len(self.data), "record")
        self.at += count
        return self.data[self.at - count : self.at]

    def byte(self):
        return self.bytes(1)[0]

    def number(self):
        number, shift = 0, 0
        while True:
            byte = self.byte()
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    def text(self):
        return self.bytes(self.number()).decode()

    def common(self):
        begin, number = self.at, self.number()
        if number % 2 == 0:
            return self.bytes(number // 2).decode()
        require(number // 2 < begin, "a text that is no other's")
        other = Record(self.data, number // 2, self.version)
        size = other.number()
        require(size % 2 == 0, "a text that refers on")
        return other.bytes(size // 2).decode()

    def time(self):
        return datetime.fromtimestamp(self.number(), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    def many(self, read):
        return [read() for _ in range(self.number())]

    def network(self):
        prefix, family = self.byte(), self.byte()
        return str(ipaddress.ip_network((self.bytes(4 if family == 4 else 16), prefix)))

    def customer(self):
        it, kind = {}, self.byte()
        if kind == CREDENTIAL:
            flags = self.byte()
            it["credential"] = {
                "label": self.common() if flags & 1 else None,
                "expires": self.time() if flags & 2 else None,
                "networks": self.many(self.network) if flags & 4 else [],
            }
        it["id"] = self.text()
        flags = self.byte() if self.version == 1 else self.number()
        require(flags < (512 if self.version == 3 else 256), "a flag without a meaning")
        it["kind"] = "reseller" if flags & 1 else "customer"
        it["status"] = "suspended" if flags & 2 else "active"
        it["vouches_for_users"] = bool(flags & 4)
        it["ownership"] = ("clear", "restricted", "unresolved")[flags >> 6 & 3]
        it["screening"] = self.screening() if flags & 8 else None
        it["agreement"] = self.agreement() if flags & 16 else None
        it["residency"] = self.bytes(2).decode() if flags & 32 else None
        it["declared"] = self.many(lambda: self.bytes(2).decode())
        it["providers"] = dict(self.many(self.provider))
        it["overrides"] = self.many(self.override)
        it["signals"] = self.many(self.signal) if flags & 256 else []
        return kind, it

    def screening(self):
        flags = self.byte()
        return {
            "status": ("passed", "pending", "refused")[flags >> 3],
            "at": self.time() if flags & 1 else None,
            "until": self.time() if flags & 2 else None,
            "by": self.common() if flags & 4 else None,
        }

    def agreement(self):
        flags = self.byte()
        return {"id": self.text(), "accepted": self.time(), "until": self.time() if flags & 1 else None}

    def provider(self):
        name, flags = self.common(), self.byte()
        status = ("unrestricted", "pending", "restricted", "banned")[flags & 3]
        profile = self.text() if flags & 128 else None
        reason = self.common() if flags & 4 else None
        opened = self.time() if flags & 8 else None
        expires = self.time() if flags & 16 else None
        details = {"reason": reason, "opened": opened, "expires": expires}
        details = {name: value for name, value in details.items() if value is not None}
        return name, {"enforcement": {"status": status, **details} if details else status, "profile": profile}

    def override(self):
        finding, action = self.common(), self.byte()
        action = {"reroute": self.common()} if action == 2 else ("allow", "report", None, "block")[action]
        return {"finding": finding, "action": action, "author": self.common(), "until": self.time()}

    def signal(self):
        return {"finding": self.common(), "until": self.time(), "evidence": self.common()}


# === a register, and what is to be found ===


def digest(key):
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


FULL = {
    "id": "c-1042",
    "credentials": [
        digest("one"),
        {
            "digest": digest("two"),
            "label": "Straße ✓",
            "expires": "2027-01-31T00:00:01Z",
            "networks": ["203.0.113.0/24", "2001:db8::/33", "0.0.0.0/0"],
        },
    ],
    "mtls": ["spiffe://acme/c-1042", "c-1042.acme.example"],
    "jwt": ["one"],  # the same word as a credential: another kind of name, another key
    "screening": {"status": "passed", "at": "2026-01-15T00:00:00Z", "until": "2099-12-31T23:59:59Z", "by": "Jo Officer"},
    "agreement": {"id": "terms-3", "accepted": "1970-01-01T00:00:00Z", "until": "2030-01-01T00:00:00Z"},
    "ownership": "clear",
    "declared": ["SG", "JP", "DE"],
    "vouches_for_users": True,
    "residency": "EU",
    "providers": {
        "anthropic": {"profile": "uprof_" + "x" * 200, "enforcement": "banned"},
        "google": {
            "enforcement": {
                "status": "restricted",
                "reason": "unsupported_region",
                "opened": "2026-11-01T00:00:00Z",
                "expires": "2027-01-01T00:00:00Z",
            }
        },
        "openai": {"enforcement": "unrestricted"},
    },
    "overrides": [
        {"finding": "geo.undeclared", "action": "allow", "author": "Jo Officer", "until": "2027-06-30T00:00:00Z"},
        {"finding": "geo.restricted", "action": {"reroute": "fallback"}, "author": "Jo", "until": "2027-06-30T00:00:00Z"},
        {"finding": "geo.unknown", "action": "block", "author": "Jo", "until": "2027-06-30T00:00:00Z"},
        {"finding": "network.hosting", "action": "report", "author": "Jo", "until": "2027-06-30T00:00:00Z"},
    ],
}
RESELLER = {
    "id": "rb-77",
    "kind": "reseller",
    "status": "suspended",
    "credentials": [digest("reseller")],
    "screening": {"status": "refused"},
    "ownership": "restricted",
}
BARE = {"id": "bare", "credentials": [digest("bare")]}
MANY = [
    {"id": f"m-{i}", "credentials": [digest(f"key-{i}")], "screening": {"status": "pending", "by": "x" * (i % 300)}}
    if i % 300
    else {"id": f"m-{i}", "credentials": [digest(f"key-{i}")]}
    for i in range(3_000)
]
SHARED = {
    "id": "shared",
    "credentials": [
        {"digest": digest("shared one"), "label": "production"},
        {"digest": digest("shared two"), "label": "production", "networks": ["203.0.113.0/24"]},
        {"digest": digest("shared three"), "label": "ci"},
        digest("shared four"),
    ],
    "mtls": ["spiffe://acme/shared"],
    "jwt": ["shared"],
}
SIGNALS = [  # in the order of the file
    ("production", "sharing.addresses", "2026-12-10T00:00:00Z", "412 networks a day, usually 38"),
    (None, "sharing.clients", "2026-12-11T00:00:00Z", "9 programs in an hour"),
    ("production", "sharing.countries", "2001-01-01T00:00:00Z", "5 countries a day"),  # ended: the node sees to that
    (None, "relay.suspected", "2026-12-12T00:00:00Z", "2 of 3 kinds of signs"),
]
NODE = {
    "id": "reseller-b.example",
    "customer": "rb-77",
    "screening": {"status": "passed"},
    "keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "exp": 1_900_000_000}],
}
LISTS = {  # 2001:db8:0:1::/64 is divided; the last address of all ends a list
    "tor": (["192.0.2.7/32", "2001:db8:0:1::5/128", "2001:db8:0:1:8000::/65"], {"class": "tor"}),
    "cloud": (["192.0.2.0/24", "2001:db8::/32", "255.255.255.255/32"], {"class": "hosting"}),
}
TABLES = {
    "country": ("GeoLite2-Country-Test", {}),
    "city": ("GeoIP2-City-Test", {"role": "hints"}),
    "asn": ("GeoLite2-ASN-Test", {"gives": "asn"}),
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The compiled register's bytes, and the public key that signed them."""
    register = tmp_path_factory.mktemp("register")
    networks = register / "networks"
    networks.mkdir()
    sources = []
    for name, (stem, says) in TABLES.items():
        networks.joinpath(f"{name}.mmdb").symlink_to(ROOT / "tests/data/mmdb" / f"{stem}.mmdb")
        sources.append({"name": name, "file": f"networks/{name}.mmdb", "date": "2026-09-01T00:00:00Z", "origin": "MaxMind", **says})
    for name, (lines, says) in LISTS.items():
        networks.joinpath(f"{name}.txt").write_text("\n".join(lines))
        sources.append({"name": name, "file": f"networks/{name}.txt", "date": "2026-09-02T00:00:00Z", **says})
    documents = {
        "register.json": {"schema": 1, "networks": sources, "regions": {"set": "anthropic-api-179"}},
        "customers.json": {"customers": [FULL, RESELLER, BARE, SHARED, *MANY]},
        "nodes.json": {"nodes": [NODE]},
        "sharing.json": {
            "signals": [
                {"customer": "shared", "since": "2000-01-01T00:00:00Z", **dict(zip(("credential", "finding", "until", "evidence"), signal))}
                for signal in SIGNALS
            ]
        },
    }
    for name, document in documents.items():
        register.joinpath(name).write_text(json.dumps(document))
    key, snapshot = register.parent / "signing.jwk", register.parent / "waybill.snapshot"
    key.write_bytes(run("keygen"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", str(CREATED))
        run("compile", register, "-o", snapshot, "--sign-key", key, "--sequence", str(SEQUENCE))
    public = base64.b64decode(run("keygen", "--trusted-key", key))
    return snapshot.read_bytes(), public


@pytest.fixture(scope="module")
def snapshot(compiled):
    file, key = compiled
    return Snapshot(file, {key})


def expected(customer, name=None, signals=()):
    """What a customer of the register is in the snapshot, under one of its credentials or another name."""
    it = {
        "id": customer["id"],
        "kind": customer.get("kind", "customer"),
        "status": customer.get("status", "active"),
        "vouches_for_users": customer.get("vouches_for_users", False),
        "ownership": customer.get("ownership", "unresolved"),
        "screening": with_nulls(customer.get("screening"), ("at", "until", "by")),
        "agreement": customer.get("agreement"),
        "residency": customer.get("residency"),
        "declared": customer.get("declared", []),
        "providers": {name: with_nulls(entry, ["profile"]) for name, entry in customer.get("providers", {}).items()},
        "overrides": customer.get("overrides", []),
        "signals": [{"finding": SIGNALS[n][1], "until": SIGNALS[n][2], "evidence": SIGNALS[n][3]} for n in signals],
    }
    if name is not None:
        entry = name if isinstance(name, dict) else {}
        it["credential"] = {"label": entry.get("label"), "expires": entry.get("expires"), "networks": entry.get("networks", [])}
    return it


def with_nulls(entry, members):
    return entry and dict.fromkeys(members) | entry


def test_preamble_and_head(snapshot):
    assert (snapshot.preamble.sequence, snapshot.preamble.created) == (SEQUENCE, CREATED)
    contents = snapshot.contents
    assert contents["regions"]["set"] == "anthropic-api-179" and "SG" in contents["regions"]["supported"]
    assert (contents["customers"], contents["nodes"]) == (4 + len(MANY), 1)
    assert contents["keys"] == 2 + 2 + 1 + 2 + 1 + 6 + len(MANY)  # the reseller's id too: it runs a node
    assert sorted(file["file"] for file in contents["files"]) == sorted(
        ["customers.json", "nodes.json", "register.json", "sharing.json"]
        + [f"networks/{name}.mmdb" for name in TABLES]
        + [f"networks/{name}.txt" for name in LISTS]
    )
    assert [(source["name"], source.get("role"), source.get("class")) for source in contents["sources"]] == [
        ("country", "decides", None),
        ("city", "hints", None),
        ("asn", None, None),
        ("tor", None, "tor"),
        ("cloud", None, "hosting"),
    ]
    [(nodes, rows)] = snapshot.pages[4]
    assert rows == 1 and json.loads(nodes)[0]["keys"] == NODE["keys"]


def test_customers(snapshot):
    assert len(snapshot.pages[5]) > 8, "too few buckets to show that the right one is looked in"
    one, two = FULL["credentials"]
    assert snapshot.customer(CREDENTIAL, b"one") == expected(FULL, one)
    assert snapshot.customer(CREDENTIAL, b"two") == expected(FULL, two)
    for kind, names in ((CERTIFICATE, FULL["mtls"]), (CLAIM, FULL["jwt"])):
        for name in names:
            assert snapshot.customer(kind, name.encode()) == expected(FULL)
    assert snapshot.customer(CREDENTIAL, b"reseller") == expected(RESELLER, digest("reseller"))
    assert snapshot.customer(ID, b"rb-77") == expected(RESELLER)
    assert snapshot.customer(CREDENTIAL, b"bare") == expected(BARE, digest("bare"))
    for i, customer in enumerate(MANY):
        assert snapshot.customer(CREDENTIAL, f"key-{i}".encode()) == expected(customer, digest(f"key-{i}"))


def test_signals(snapshot):
    """Each record has those signals only that are about callers by its name."""
    assert snapshot.preamble.version == 3
    one, two, three, four = SHARED["credentials"]
    assert snapshot.customer(CREDENTIAL, b"shared one") == expected(SHARED, one, (0, 2, 3))
    assert snapshot.customer(CREDENTIAL, b"shared two") == expected(SHARED, two, (3,))  # bound to networks
    assert snapshot.customer(CREDENTIAL, b"shared three") == expected(SHARED, three, (3,))
    assert snapshot.customer(CREDENTIAL, b"shared four") == expected(SHARED, four, (1, 3))
    assert snapshot.customer(CLAIM, b"shared") == expected(SHARED, signals=(1, 3))
    assert snapshot.customer(CERTIFICATE, b"spiffe://acme/shared") == expected(SHARED, signals=(3,))


def test_without_signals_it_is_version_2(tmp_path):
    """So a node of before reads it, whether or not there is a sharing.json."""
    register, snapshot, key = tmp_path / "register", tmp_path / "snapshot", tmp_path / "signing.jwk"
    register.mkdir()
    register.joinpath("customers.json").write_text(json.dumps({"customers": [BARE]}))
    key.write_bytes(run("keygen"))
    times = {"since": "2026-11-20T00:00:00Z", "until": "2026-12-04T00:00:00Z"}
    suspected = {"customer": "bare", "finding": "relay.suspected", **times, "evidence": "2 of 3 kinds of signs"}
    for signals, version in ((None, 2), ([], 2), ([suspected], 3)):
        if signals is not None:
            register.joinpath("sharing.json").write_text(json.dumps({"signals": signals}))
        run("compile", register, "-o", snapshot, "--sign-key", key, "--sequence", "1")
        file = snapshot.read_bytes()
        assert Preamble(file, {file[80:112]}).version == version


def test_version_1_is_read_too():
    """What the last Waybill that wrote version 1 made of FULL, RESELLER, BARE and two more."""
    data = ROOT / "tests/data/snapshots"
    file = (data / "version-1.snapshot").read_bytes()
    before = Snapshot(file, {file[80:112]})
    assert before.preamble.version == 1
    customers = {customer["id"]: customer for customer in json.loads((data / "register/customers.json").read_bytes())["customers"]}
    assert [customers[known["id"]] for known in (FULL, RESELLER, BARE)] == [FULL, RESELLER, BARE]
    assert before.customer(CREDENTIAL, b"two") == expected(FULL, FULL["credentials"][1])
    for name, customer in (("reseller", RESELLER), ("bare", BARE), ("vouching", customers["vouching"]), ("owned", customers["owned"])):
        assert before.customer(CREDENTIAL, name.encode()) == expected(customer, digest(name))
    assert before.customer(ID, b"rb-77") == expected(RESELLER)


def test_nobody_is_found_by_another_name(snapshot):
    assert snapshot.customer(ID, b"c-1042") is None  # runs no node
    assert snapshot.customer(CREDENTIAL, b"three") is None
    assert snapshot.customer(CERTIFICATE, b"one") is None
    # the bytes whose SHA-256 is the key of a claim
    assert snapshot.customer(CREDENTIAL, bytes([CLAIM]) + b"one") is None


def test_addresses(snapshot):
    readers = {name: maxminddb.open_database(ROOT / "tests/data/mmdb" / f"{stem}.mmdb") for name, (stem, _) in TABLES.items()}
    lists = {name: [ipaddress.ip_network(line) for line in lines] for name, (lines, _) in LISTS.items()}
    known = [network for reader in readers.values() for network in networks(reader)]
    addresses = {address for network in known + sum(lists.values(), []) for address in edges(network)}
    assert len(addresses) > 2_500
    hits = 0
    for address in addresses:
        judged = embedded(address)
        said = {name: place(readers[name].get(judged)) for name in ("country", "city")}
        on = [name for name, members in lists.items() if any(judged in member for member in members)]
        wanted = {name: country for name, country in said.items() if country}, asn(readers["asn"].get(judged)), on
        assert snapshot.address(address) == wanted, address
        hits += any(wanted)
    assert hits > 1_000


def test_embedded_addresses(snapshot):
    tor = snapshot.address(ipaddress.ip_address("192.0.2.7"))
    assert tor[2] == ["tor", "cloud"]
    for text in ("::ffff:192.0.2.7", "::192.0.2.7", "2002:c000:207::1", "2001:0:0:0:0:0:3fff:fdf8", "64:ff9b::192.0.2.7", "::ffff:0:192.0.2.7"):
        assert snapshot.address(ipaddress.ip_address(text)) == tor, text


def test_what_was_altered_is_refused(compiled):
    file, key = compiled
    size = Snapshot(file, {key}).preamble.head_size
    for at, why in ((0, "no snapshot"), (9, "version"), (32, "signature"), (150, "signature"), (200, "signature"), (300, "head")):
        check_refused(flipped(file, at), key, why)
    for at in (256 + size, len(file) - 1):
        check_refused(flipped(file, at), key, "page")
    check_refused(file[:-1], key, "page")
    check_refused(file + b"\0", key, "size")
    check_refused(file, b"\0" * 32, "key")


def flipped(file, at):
    return file[:at] + bytes([file[at] ^ 1]) + file[at + 1 :]


def check_refused(file, key, why):
    with pytest.raises(Refused, match=why):
        Snapshot(file, {key})
