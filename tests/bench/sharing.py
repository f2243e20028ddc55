"""What `waybill sharing` names, honest or hiding: `./build.sh bench sharing [SEEDS]`.

For each seed (ten, or SEEDS) it makes the traffic of traffic.py and kinds.py, lets `waybill sharing` make daily rows of
it, and asks it about each day: what is named by then. It prints what of each kind is named and after how many days, then
the same for other values of each threshold. Then it measures 10,000,000 events. It fails where a promise is broken.

Environment: SWEEP=no leaves the other thresholds out, EVENTS=0 the measurement (or sets its number of events),
ROWS=FOLDER keeps the daily rows of each seed, for runs of one's own with --set, and takes those that it kept before.
"""

import collections
import copy
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from kinds import KINDS
from traffic import DAYS, START, Traffic, write_register

ROOT = Path(__file__).resolve().parents[2]
WAYBILL = Path(os.environ.get("WAYBILL", ROOT / "dist" / "waybill")).resolve()
SEEDS = 10
EVENTS = int(os.environ.get("EVENTS", "10000000"))
PROMISES = (300, 2_000_000_000)  # seconds, bytes, for 10,000,000 events
FIRST = DAYS - 30  # honest ones are counted over 30 days
# values beside the defaults, one threshold at a time
OTHERS = {
    "addresses_deviations": (2, 4), "addresses_days": (3, 5, 7), "addresses_networks": (25, 100),
    "addresses_systems": (0, 10, 20), "countries_requests": (10, 40, 80), "countries_percent": (0, 5),
    "countries_days": (3, 4, 6), "countries_most": (2, 5), "velocity_times": (1, 10, 30), "velocity_days": (2, 3, 4),
    "clients_programs": (6, 10), "clients_in_flight": (16, 24, 48), "clients_days": (3, 4),
}


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def moment(days):
    return f"{START + timedelta(days=days)}T00:00:00Z"


def sharing(*arguments):
    """The document of `waybill sharing --json`."""
    done = subprocess.run([WAYBILL, "sharing", *map(str, arguments), "--json"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"waybill sharing {' '.join(map(str, arguments))}: exit status {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


class Seed:
    """One seed's credentials, its register and its daily rows."""

    def __init__(self, number, folder):
        self.folder = folder / f"seed-{number}"
        self.register, self.rows, truth = (self.folder / name for name in ("register", "rows.jsonl", "truth.json"))
        if not truth.exists():
            self.make(number)
            truth.write_text(json.dumps(self.truth))
        self.truth = json.loads(truth.read_text())
        self.keys = self.truth["keys"]

    def make(self, number):
        traffic = Traffic(number, KINDS)
        write_register(self.register, traffic.keys)
        command = [WAYBILL, "sharing", "-", "--register", self.register, "--rows", self.rows, "--json"]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for day in range(DAYS):
            progress(f"seed {number}: day {day + 1} of {DAYS}")
            child.stdin.write("".join(line for _, line in traffic.day(day)))
        child.stdin.close()
        child.stdout.read()
        if child.wait():
            sys.exit(f"waybill sharing: exit status {child.returncode}")
        self.truth = traffic.truth()

    def without_systems(self):
        """The rows of a register that has no source of AS numbers."""
        path = self.folder / "without-systems.jsonl"
        with self.rows.open() as rows, path.open("w") as out:
            out.writelines(json.dumps(json.loads(row) | {"systems": None}) + "\n" for row in rows)
        return path

    def named(self, settings, days, rows=None):
        """For each credential, by kind of sign, the first of these days (as numbers of days gone by) that named it."""
        first = collections.defaultdict(dict)
        for day in days:
            arguments = [rows or self.rows, "--register", self.register, "--until", moment(day)]
            for name, value in settings.items():
                arguments += ["--set", f"{name}={value}"]
            for signal in sharing(*arguments)["signals"]:
                first[signal["customer"], signal["credential"]].setdefault(signal["finding"], day)
        return first


class Count:
    """How many of a kind are named."""

    def __init__(self):
        self.all = self.named = 0
        self.by_sign, self.after = collections.Counter(), []

    def add(self, key, first):
        """A hiding one counts as found from its onset on: what named it before would have been chance."""
        self.all += 1
        onset = key["onset"] or 0
        hits = {sign: day for sign, day in first.items() if key["group"] != "hiding" or day > onset}
        if hits:
            self.named += 1
            self.by_sign.update(hits.keys())
            self.after.append(min(hits.values()) - onset)

    def within(self, days):
        return sum(after <= days for after in self.after)


def counted(seeds, named):
    """The counts by (group, kind, strength), in the order of kinds.py."""
    counts = {tuple(row[:3]): Count() for row in KINDS}
    for seed, first in zip(seeds, named):
        for key in seed.keys:
            signs = first.get((key["customer"], key["credential"]), {})
            counts[key["group"], key["kind"], key["strength"]].add(key, signs)
    return counts


def ask(seeds, settings, days, systems=True):
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        def named(seed):
            return seed.named(settings, days, None if systems else seed.without_systems())
        return counted(seeds, pool.map(named, seeds))


def which(counts):
    """The honest kinds of which some are named."""
    return ", ".join(f"{kind} {count.named}" for (group, kind, _), count in counts.items()
                     if group == "honest" and count.named) or "-"


def signs(count):
    return ", ".join(f"{sign.removeprefix('sharing.')} {number}" for sign, number in count.by_sign.most_common()) or "-"


def print_kinds(counts):
    print("\n| honest | credentials | named in 30 days | by |\n|---|---:|---:|---|")
    for (group, kind, _), count in counts.items():
        if group == "honest":
            print(f"| {kind} | {count.all} | {count.named} | {signs(count)} |")
    print("\n| hiding | strength | credentials | found | days until then: median | 95 % | by |")
    print("|---|---|---:|---:|---:|---:|---|")
    for (group, kind, strength), count in counts.items():
        if group == "hiding":
            after = sorted(count.after)
            median = f"{statistics.median(after):g}" if after else "-"
            most = after[-(-95 * len(after) // 100) - 1] if after else "-"
            print(f"| {kind} | {strength} | {count.all} | {count.named} | {median} | {most} | {signs(count)} |")
    print("\n| counted apart | credentials | named | by |\n|---|---:|---:|---|")
    for (group, kind, _), count in counts.items():
        if group in ("silent", "exempt"):
            print(f"| {kind} | {count.all} | {count.named} | {signs(count)} |")


def honest(counts):
    chosen = [count for (group, _, _), count in counts.items() if group == "honest"]
    return sum(count.named for count in chosen), sum(count.all for count in chosen)


def print_others(seeds, days, defaults):
    columns = [(kind, strength) for group, kind, strength, _, _ in KINDS if group == "hiding"]
    found = sum(defaults["hiding", *column].named for column in columns)
    print(f"\nAt the defaults {honest(defaults)[0]} honest ones are named, and {found} of those that hide. With one other value:")
    print("\n| threshold | value | honest named | which | hiding found | more or fewer |\n|---|---:|---:|---|---:|---|")
    for name, values in OTHERS.items():
        for value in values:
            progress(f"{name}={value}")
            counts = ask(seeds, {name: value}, days)
            found = sum(counts["hiding", *column].named for column in columns)
            other = [(*column, counts["hiding", *column].named - defaults["hiding", *column].named) for column in columns]
            other = "; ".join(f"{kind}, {strength}: {more:+}" for kind, strength, more in other if more) or "-"
            print(f"| `{name}` | {value} | {honest(counts)[0]} | {which(counts)} | {found} | {other} |")


def broken(counts):
    """The promises that these counts break."""
    def of(kind, strength):
        return counts["hiding", kind, strength]

    named, number = honest(counts)
    allowed = max(1, 3 * number // 3_000)
    if named > allowed:
        yield f"honest: {named} of {number} named, at most {allowed} promised"
    tenfold = of("resold", "10 times")
    if tenfold.within(7) < 0.95 * tenfold.all:
        yield f"tenfold: {tenfold.within(7)} of {tenfold.all} within 7 days, 95 % promised"
    for kind, strength in (("leaked", "5 days"), ("leaked", "5 days, 20 to 40 requests"),
                           ("relay, marks passed on", "8 programs"), ("relay, marks passed on", "32 in flight")):
        count = of(kind, strength)
        if count.named < count.all:
            yield f"{kind}, {strength}: {count.named} of {count.all} found, all promised"
    if counts["exempt", "registered reseller", ""].named:
        yield f"registered resellers: {counts['exempt', 'registered reseller', ''].named} named, none promised"


def measure(folder):
    """Seconds and bytes for so many events, in gzip files as a rotation leaves them: one seed's, then the same under other
    names, since making each anew takes longer than reading them."""
    seed, files, keys, left = 1_000, [], [], EVENTS
    traffic = Traffic(seed, KINDS)
    days = [[line for _, line in traffic.day(day)] for day in range(DAYS)]
    while left > 0:
        other = seed + len(files)
        files.append(folder / f"{other}.jsonl.gz")
        with gzip.open(files[-1], "wt", compresslevel=1) as out:
            for lines in days:
                progress(f"{EVENTS - left:,} of {EVENTS:,} events")
                text = "".join(lines[:left]).replace(f"customer-{seed}-", f"customer-{other}-")
                out.write(text.replace(f"{seed:08x}0", f"{other:08x}0"))  # the numbers of the VMs
                left -= len(lines[:left])
        for key in map(copy.copy, traffic.keys):
            key.customer = key.customer.replace(f"-{seed}-", f"-{other}-")
            keys.append(key)
    write_register(folder / "register", keys)
    progress("measuring")
    started = time.monotonic()
    command = [WAYBILL, "sharing", *files, "--register", folder / "register", "--json"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    answer = json.load(child.stdout)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    seconds, memory = time.monotonic() - started, usage.ru_maxrss * 1024
    kept = child.returncode == 0 and seconds <= PROMISES[0] and memory <= PROMISES[1]
    progress("")
    print(f"\n{answer['looked_at']['events']:,} events of {answer['looked_at']['customers']:,} customers: {seconds:.0f} s "
          f"(promised {PROMISES[0]}), {memory / 1e6:.0f} MB (promised {PROMISES[1] / 1e6:.0f}), "
          f"{usage.ru_utime + usage.ru_stime:.0f} s of CPU{'' if kept else ': NOT KEPT'}")
    return kept


def main():
    number = int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS
    faults = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(os.environ.get("ROWS", temporary))
        seeds = [Seed(seed + 1, folder) for seed in range(number)]
        progress("asking about each day")
        counts = ask(seeds, {}, range(FIRST + 1, DAYS + 1))
        progress("")
        named, total = honest(counts)
        events = sum(seed.truth["counts"]["events"] for seed in seeds)
        print(f"{number} seeds, {events:,} events: of {total} honest credentials {named} are named in 30 days")
        print_kinds(counts)
        faults += broken(counts)
        # a signal lasts 14 days, so that two moments see all that was named from the second week on; but not when first
        weeks = (21, 35)
        blind = ask(seeds, {}, weeks, systems=False)
        print(f"\nWithout a source of AS numbers {honest(blind)[0]} honest ones are named: {which(blind)}.")
        if os.environ.get("SWEEP") != "no":
            print_others(seeds, weeks, ask(seeds, {}, weeks))
        if EVENTS and not measure(Path(temporary)):
            faults.append("the measurement")
    for fault in faults:
        print(f"NOT KEPT: {fault}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
