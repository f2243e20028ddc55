#!/usr/bin/env python3
"""Prepares what the files in envoy/ need: the register of envoy/register with real network sources, a key, the signed
snapshot, and envoy/demo.yaml with that key in it; for three nodes in a row their keys, and envoy/chain.yaml with the
public halves in it; and a table of countries for Envoy's geoip filter. All of it goes into dist/:

    dist/register/                  the register that is compiled: change it, and run this with --compile
    dist/signing.jwk                the key, made once; whoever has it can let anybody in, so only you can read it
    dist/served/waybill.snapshot    what a node fetches; nothing else is in the folder that is served
    dist/demo.yaml                  envoy/demo.yaml, which trusts that key
    dist/chain.env                  the three nodes' private keys, made once: environment variables as a shell reads them
    dist/chain.yaml                 envoy/chain.yaml, whose registers have the public ones
    dist/{demo,chain}-module.yaml   both files with the dynamic module in place of the wasm filter
    dist/dbip-country-lite.mmdb     the countries that edge.yaml, transit.yaml and ingress.yaml look up

`./build.sh prepare` runs it. With --compile it only compiles dist/register again.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import geo_data
import hosts
import register_data
import yaml
from geo_data import ATTRIBUTION, DataError, write_atomically

ROOT = Path(__file__).resolve().parent.parent
WAYBILL = Path(os.environ.get("WAYBILL", ROOT / "dist" / "waybill")).resolve()
WRITTEN, REGISTER = ROOT / "envoy" / "register", ROOT / "dist" / "register"
KEY = ROOT / "dist" / "signing.jwk"
SNAPSHOT = ROOT / "dist" / "served" / "waybill.snapshot"
ENVOY_FILE, ENVOY_CONFIG = ROOT / "envoy" / "demo.yaml", ROOT / "dist" / "demo.yaml"
CHAIN_FILE, CHAIN_CONFIG = ROOT / "envoy" / "chain.yaml", ROOT / "dist" / "chain.yaml"
CHAIN_KEYS = ROOT / "dist" / "chain.env"
SIGNERS = {"WAYBILL_KEY_A": "acme.example", "WAYBILL_KEY_B": "reseller-b.example", "WAYBILL_KEY_C": "reseller-c.example"}


def main() -> None:
    try:
        if sys.argv[1:] == ["--compile"]:
            print(compile_register(), end="")
        else:
            print(prepare(), end="")
            print(ATTRIBUTION)
    except (DataError, OSError) as error:
        sys.exit(f"prepare.py: {error}")


def prepare() -> str:
    """Makes everything anew but the key; gives what the compiler says."""
    geo_data.prepare()
    write_register()
    make_key()
    said = compile_register()
    written = ENVOY_FILE.read_text()
    trusted, count = re.subn(r'("trusted_keys": )\[[^\]]*\]', rf'\1["{trusted_key()}"]', written)
    if count != 1:
        raise DataError(f"{ENVOY_FILE} has {count} places for `trusted_keys`, not one")
    write_atomically(ENVOY_CONFIG, trusted.encode())
    write_chain()
    for config in (ENVOY_CONFIG, CHAIN_CONFIG):
        write_for_the_module(config)
    return said


def write_chain() -> None:
    """The keys of the three nodes, and their public halves wherever a register names the node."""
    if not CHAIN_KEYS.is_file():
        write_private(CHAIN_KEYS, "".join(f"{variable}='{waybill('keygen').strip()}'\n" for variable in SIGNERS))
    text = CHAIN_FILE.read_text()
    for variable in SIGNERS:
        public = json.dumps(public_key(variable))
        entry = rf'("id": "{re.escape(SIGNERS[variable])}", "customer": .*"keys": )\[.*\]'
        text, count = re.subn(entry, rf"\1[{public}]", text)
        if count == 0:
            raise DataError(f"{CHAIN_FILE} has no register that names {SIGNERS[variable]}")
    write_atomically(CHAIN_CONFIG, text.encode())


def write_for_the_module(config: Path) -> None:
    document = hosts.as_module(yaml.safe_load(config.read_text()))
    head = f"# {config.name} for the dynamic module. ENVOY_DYNAMIC_MODULES_SEARCH_PATH has to name dist/.\n"
    text = head + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
    write_atomically(by_host(config, "module"), text.encode())


def by_host(config: Path, host: str) -> Path:
    """The file for that host: the wasm filter's, or the one beside it."""
    return config if host == "wasm" else config.with_stem(f"{config.stem}-{host}")


def chain_keys() -> dict[str, str]:
    """The private keys of the three nodes, by the variable that Envoy hands to each."""
    return dict(re.findall(r"^(\w+)='(.*)'$", CHAIN_KEYS.read_text(), re.MULTILINE))


def public_key(variable: str) -> dict[str, str]:
    """The public JWK of one of them."""
    return json.loads(waybill("keygen", "--public", "-", given=chain_keys()[variable]))


def write_register() -> None:
    """What people wrote, with the network sources in their folder and named in register.json."""
    sources = register_data.prepare(REGISTER / "networks")
    for file in WRITTEN.iterdir():
        shutil.copyfile(file, REGISTER / file.name)
    settings = json.loads((WRITTEN / "register.json").read_text()) | {"networks": sources}
    write_atomically(REGISTER / "register.json", (json.dumps(settings, indent=2) + "\n").encode())


def make_key() -> None:
    if not KEY.is_file():
        waybill("keygen", "-o", KEY)


def write_private(path: Path, text: str) -> None:
    """A new file that only its owner can read."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def trusted_key() -> str:
    return waybill("keygen", "--trusted-key", KEY).strip()


def compile_register() -> str:
    SNAPSHOT.parent.mkdir(exist_ok=True)
    return waybill("compile", REGISTER, "-o", SNAPSHOT, "--sign-key", KEY)


def short(argument: str | Path) -> str:
    """Paths as seen from the root, which is how messages then show them."""
    return os.path.relpath(argument, ROOT) if isinstance(argument, Path) and argument.is_absolute() else str(argument)


def waybill(*arguments: str | Path, given: str = "") -> str:
    """What the command line prints, with `given` on its standard input; a failure says why."""
    try:
        done = subprocess.run(
            [WAYBILL, *map(short, arguments)], cwd=ROOT, input=given, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise DataError(f"{WAYBILL}: {error.strerror}; `./build.sh` makes it") from None
    if done.returncode != 0:
        raise DataError(f"`waybill {arguments[0]}` failed:\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
