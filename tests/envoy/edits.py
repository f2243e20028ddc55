"""Random edits of the shipped files: `./build.sh edits SECONDS [SEED]`, and for a while in the tests.

Each edited file that Envoy accepts is played in a real Envoy, and read by `waybill check`. What must hold: where a request without
a credential, from a restricted country, or to the account API reaches the provider with the operator's key, `check` has refused
that file. What an edit gives up in so many words (report mode, other actions, both lists of networks changed alike) isn't held
against it. The same seed gives the same files. A violation is told with its edits, and its file is kept.

The figures at the end also count what `check` refuses although nothing went through: it proves ways, so it refuses more than
these requests show; but a file whose edits are all `HARMLESS` must pass.
"""

import argparse
import collections
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from alterations import HARMLESS, edited
from fuzz import Quiet
from harness import ENVOY, ROOT, tail
from shipped import PROVIDERS_OWN
from ways import FILES, Playground, World, yaml_of

DEFAULT_SEED = 20261127
BATCH = 24  # files in one Envoy
FIGURES = [
    "edited", "ended Envoy", "refused by Envoy", "accepted", "requests", "let through", "let through, and refused by check",
    "refused by check, nothing went through", "passed, nothing went through",
]  # fmt: skip


class Hunt:
    """Plays batches of edited files; `found` has the violations."""

    def __init__(self, folder, world, seed, keep=None):
        self.folder, self.world, self.keep = folder, world, keep
        self.chance, self.number = random.Random(seed), 0
        self.promises = None  # of each shipped listener, what it holds
        self.count = collections.Counter()
        self.strict, self.rejected, self.let = collections.Counter(), collections.Counter(), collections.Counter()
        self.found, self.too_strict, self.examples = [], [], {}

    def run(self, seconds, most=None):
        end = time.monotonic() + seconds
        while time.monotonic() < end and (most is None or self.count["accepted"] < most):
            self.batch()
        return self.found

    def batch(self):
        files = []
        while len(files) < BATCH:
            self.number += 1
            file = edited(self.chance, self.world, self.number)
            if file.edits:
                files.append(file)
        self.count["edited"] += len(files)
        self.playing(files, self.number)

    def playing(self, files, tag):
        """All in one Envoy; where it doesn't start, in two, and so on; where it can't read a file, without that."""
        sound = [self.world.written(name, f"s{at}x{tag}") for at, name in enumerate(FILES)]
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        playground = Playground(folder, self.world, [*sound, *files])
        try:
            playground.__enter__()
        except AssertionError:
            if len(files) == 1:
                self.count["ended Envoy"] += 1
                self.rejected["Envoy ends: " + files[0].told[0].partition(":")[0]] += 1
                return
            half = len(files) // 2
            self.playing(files[:half], tag)
            self.playing(files[half:], tag)
            return
        try:
            if not playground.open:
                readable = [file for file in files if self.is_read(file)]
                assert len(readable) < len(files), tail(playground.log)
                return self.playing(readable, tag)
            playground.wait_for_snapshots()
            base = [played for file in sound for _, played in self.played(playground, file)]
            held = {(played.door.name, played.probe.promise) for played in base} - {(played.door.name, played.breaks()) for played in base}
            if self.promises is None:
                self.promises = held
            assert held == self.promises, f"the shipped files don't hold what they held before: {held ^ self.promises}"
            for file in files:
                self.judge(playground, file)
            assert not playground.harm(), playground.harm()
        finally:
            playground.__exit__()

    def is_read(self, file):
        """Whether Envoy takes it alone: one resource that isn't valid by its schema spoils all others of the same file."""
        path = self.world.folder / "alone.yaml"
        path.write_text(yaml_of(file.document))
        done = subprocess.run([ENVOY, "--mode", "validate", "--log-level", "error", "-c", path], capture_output=True, text=True, cwd=ROOT)
        if done.returncode != 0:
            self.count["refused by Envoy"] += 1
            self.rejected[file.edits[0].__name__] += 1
        return done.returncode == 0

    def played(self, playground, file):
        for name, played in playground.play(file):
            self.count["requests"] += 1
            yield name, played

    def judge(self, playground, file):
        if reason := playground.refused(file):
            self.count["refused by Envoy"] += 1
            self.rejected[file.edits[0].__name__] += 1
            file.reason = reason
            return
        self.count["accepted"] += 1
        through = []
        for name, played in self.played(playground, file):
            promise = played.breaks()
            if played.door.name in PROVIDERS_OWN and not file.has_node(name):
                continue  # no key is put in there, so that nothing says whose way it is
            if promise and promise not in file.waived and (played.door.name, promise) in self.promises:
                through.append(f"{name}: {played.told()} ({promise})")
                self.let[promise] += 1
        status, text = self.world.checked(file)
        if status not in (0, 1):
            self.violation(file, [f"check exits {status}"], text)
        elif through:
            self.count["let through"] += 1
            if status == 0:
                self.violation(file, through, text)
            else:
                self.count["let through, and refused by check"] += 1
        elif status == 1:
            self.count["refused by check, nothing went through"] += 1
            for edit in {edit.__name__ for edit in file.edits} if len(set(file.edits)) == 1 else []:
                self.strict[edit] += 1
                self.examples.setdefault(edit, []).append((file.name, file.told, errors(text)))
            if set(file.edits) <= set(HARMLESS):
                self.too_strict.append((file.told, text))
                print(f"TOO STRICT {file.name}: {file.told}\n    {errors(text)}", flush=True)
        else:
            self.count["passed, nothing went through"] += 1

    def violation(self, file, through, text):
        self.found.append((file.told, through))
        print(
            f"VIOLATION {file.name} (file {self.number}): " + "; ".join(file.told)[:1500] + "".join(f"\n    {each}" for each in through), flush=True
        )
        if self.keep:
            self.keep.mkdir(exist_ok=True)
            (self.keep / f"{len(self.found)}.yaml").write_text((self.world.folder / "file.yaml").read_text())
            (self.keep / f"{len(self.found)}.txt").write_text("\n".join([*file.told, *through, text]))

    def figures(self):
        lines = [f"{name}: {self.count[name]:,}" for name in FIGURES]
        lines.append(f"violations: {len(self.found)}; harmless, but refused: {len(self.too_strict)}")
        lines.append("promises broken: " + ", ".join(f"{name} {count}" for name, count in self.let.most_common()))
        lines.append(
            "refused though nothing went through, of files with one kind of edit: "
            + ", ".join(f"{name} {count}" for name, count in self.strict.most_common())
        )
        lines.append("refused by Envoy, by the first edit: " + ", ".join(f"{name} {count}" for name, count in self.rejected.most_common()))
        return "\n".join(lines)


def errors(text):
    """The mistakes that `check` tells, without its notes and its help."""
    return "\n    ".join(line for line in text.splitlines() if ": note: " not in line and not line.startswith("  "))[:1500]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("seconds", type=float)
    parser.add_argument("seed", type=int, nargs="?", default=DEFAULT_SEED)
    parser.add_argument("--files", type=int, help="end after so many that Envoy accepted")
    parser.add_argument("--keep", type=Path, help="a folder for the files of violations")
    parser.add_argument("--strict", action="store_true", help="tell each file with one kind of edit that is refused though nothing went through")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder, Quiet() as upstream:
        hunt, start = Hunt(Path(folder), World(Path(folder), upstream), arguments.seed, arguments.keep), time.monotonic()
        end = start + arguments.seconds
        while time.monotonic() < end and (not arguments.files or hunt.count["accepted"] < arguments.files):
            hunt.run(min(30, end - time.monotonic()), arguments.files)
            print(f"{hunt.count['accepted']:,} files accepted in {time.monotonic() - start:.0f} s, {len(hunt.found)} violations", flush=True)
        print(hunt.figures())
        for examples in hunt.examples.values() if arguments.strict else []:
            for name, told, text in examples:
                print(f"REFUSED {name}: {told}\n    {text}")
    sys.exit(1 if hunt.found or hunt.too_strict else 0)


if __name__ == "__main__":
    main()
