"""Makes the registers of the benchmarks, and has them compiled: real networks, made-up customers.

Everything follows from the numbers given, so each run has the same registers.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "envoy"))

import register_data  # noqa: E402

COUNTRIES = "US GB DE FR JP SG IN BR CA AU KR NL SE CH ES IT PL MX ZA AE".split()


@dataclass
class Compiled:
    """A snapshot, and what making it took."""

    path: Path
    seconds: float
    peak_megabytes: float

    @property
    def megabytes(self):
        return self.path.stat().st_size / 1e6


class Registers:
    """Compiles registers with one key, in a folder."""

    def __init__(self, folder, waybill):
        self.folder, self.waybill = folder, waybill
        self.key = folder / "key.jwk"
        self.key.write_text(self.run("keygen", "node"))
        self.trusted = self.run("keygen", "--trusted-key", self.key).strip()
        self.sources = register_data.prepare(ROOT / "dist" / "networks")

    def run(self, *arguments):
        return subprocess.run([self.waybill, *arguments], capture_output=True, text=True, check=True).stdout

    def compile(self, name, customers, sequence, suspended=(), screened_by="screening team", without=()):
        """A snapshot `<name>-<sequence>` of that many customers; `without` names network sources that are left out."""
        register = self.folder / f"{name}-{sequence}"
        register.mkdir()
        (register / "networks").symlink_to(ROOT / "dist" / "networks")
        sources = [source for source in self.sources if source["name"] not in without]
        (register / "register.json").write_text(json.dumps({"schema": 1, "networks": sources}))
        with (register / "customers.jsonl").open("w") as file:
            file.writelines(customer(number, number in suspended, screened_by) for number in range(customers))
        path = self.folder / f"{register.name}.snapshot"
        command = [self.waybill, "compile", register, "-o", path, "--sign-key", self.key, "--sequence", str(sequence)]
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{name}: compile ended with {process.returncode}")
        (register / "customers.jsonl").unlink()
        return Compiled(path, time.monotonic() - start, usage.ru_maxrss / 1024)


def secret(number):
    """A customer's credential; tests/modules/speed makes the same."""
    return f"wb_bench_{number:07}"


def customer(number, is_suspended, screened_by):
    """A line of customers.jsonl, with what a screened customer has. All declare the United States."""
    digest = hashlib.sha256(secret(number).encode()).hexdigest()
    month, day, other = number % 12 + 1, number % 28 + 1, COUNTRIES[1 + number % (len(COUNTRIES) - 1)]
    status = "suspended" if is_suspended else "active"
    return (
        f'{{"id":"c-{number:07}","status":"{status}",'
        f'"credentials":[{{"digest":"sha256:{digest}","label":"production"}}],'
        f'"screening":{{"status":"passed","at":"2026-{month:02}-{day:02}T09:00:00Z",'
        f'"until":"2099-{month:02}-{day:02}T09:00:00Z","by":"{screened_by}"}},'
        f'"ownership":"clear","declared":["US","{other}"],'
        f'"providers":{{"anthropic":{{"profile":"prof_{number:012x}"}}}}}}\n'
    )
