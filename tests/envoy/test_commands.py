"""The commands in the comments of envoy/ do what they say, in a tree that has only what `./build.sh prepare` makes.

The tree is a copy with free ports: the demo needs the same ones. Nothing else of a command is changed. `./build.sh` is left
out, and in place of Docker each service's command is run.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess

import pytest
import yaml

from harness import ENVOY, FILTER, ROOT, START_SECONDS, WAYBILL, tail, until
from test_sdk import free_port

PORTS = ("9901", "9902", "10000", "10001", "10002", "10010", "10011", "10012", "10013", "18080")
SERVERS = re.compile(r"provider\.py|envoy -c")  # they go on until they are ended


def commands(text):
    """The lines of the comments that are indented by three, each with those that continue it; then those in brackets."""
    comments = "\n".join(re.findall(r"^ *#(.*)$", text, re.MULTILINE)).replace("\\\n", "")
    indented = re.findall(r"^ {3}(\S.*)$", comments, re.MULTILINE)
    yield from (line for line in indented if not re.match(r"\d\. ", line) and "──>" not in line)
    yield from re.findall(r"\((printf [^)]*)\)", comments)


MODULE = WAYBILL.with_name("libwaybill.so")
FILES = [str(path.relative_to(ROOT / "envoy")) for path in sorted((ROOT / "envoy").rglob("*")) if path.suffix in (".yaml", ".conf")]
WITH_COMMANDS = [name for name in FILES if list(commands((ROOT / "envoy" / name).read_text()))]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The root of a repository after `./build.sh prepare`, with free ports in place of each fixed one."""
    root = tmp_path_factory.mktemp("tree")
    for path in ("dist", ".build"):
        (root / path).mkdir()
    (root / ".build" / "envoy").symlink_to(ENVOY)  # as build.sh does it
    (root / "dist" / "waybill").symlink_to(WAYBILL)
    (root / "dist" / "waybill.wasm").symlink_to(FILTER)
    if MODULE.exists():
        (root / "dist" / "libwaybill.so").symlink_to(MODULE)
    shutil.copytree(ROOT / "envoy", root / "envoy", ignore=shutil.ignore_patterns("__pycache__"))
    ports = {port: str(free_port()) for port in PORTS}
    for path in [root / "envoy" / name for name in FILES] + list((root / "envoy").glob("*.py")):
        path.write_text(with_ports(path.read_text(), ports))
    prepared = subprocess.run([ROOT / ".build/venv/bin/python", "envoy/prepare.py"], cwd=root, capture_output=True, text=True)
    assert prepared.returncode == 0, prepared.stderr
    for folder in (root, *root.parents):  # nginx's workers aren't root
        if folder.stat().st_uid == os.getuid() and str(folder).startswith(str(tmp_path_factory.getbasetemp().parent)):
            folder.chmod(0o755)
    yield root


def with_ports(text, ports):
    return re.sub(r"\b(" + "|".join(PORTS) + r")\b", lambda found: ports[found[0]], text)


@pytest.mark.parametrize("name", WITH_COMMANDS)
def test_commands(tree, name):
    """In their order. What they answer shows that they did it."""
    text = (tree / "envoy" / name).read_text()
    found = list(commands(text))
    if "libwaybill.so" in text and not MODULE.exists():
        pytest.skip("dist/libwaybill.so is missing")
    if any(line.startswith("nginx") for line in found) and not shutil.which("nginx"):
        pytest.skip("nginx isn't installed")
    with contextlib.ExitStack() as running:
        running.callback(end_nginx, tree)
        for line in found:
            if line.startswith("docker compose"):
                for service in yaml.safe_load(text)["services"].values():
                    serve(running, tree, as_here(service))
            elif SERVERS.search(line):
                serve(running, tree, line.partition(" #")[0].rstrip("& "))
            elif not line.startswith("./build.sh "):
                ends_well(tree, text, line)


def as_here(service):
    """A container's command, with its environment."""
    command = " ".join(service["command"]).replace("python ", "python3 ").replace("envoy -c", ".build/envoy -c")
    return f"set -a; . envoy/{service['env_file']}; {command}" if "env_file" in service else command


def serve(running, tree, command):
    """A command that doesn't end by itself, in a group of its own, so that its children end with it."""
    log = running.enter_context((tree / "log").open("a"))
    process = subprocess.Popen(["bash", "-c", command], cwd=tree, stdout=log, stderr=log, start_new_session=True)
    running.callback(end, process, command)


def end(process, command):
    assert process.poll() is None, f"`{command}` ended by itself, with {process.returncode}"
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(10)


def end_nginx(tree):
    """One that a failed test has left."""
    with contextlib.suppress(FileNotFoundError):
        os.kill(int((tree / "dist" / "nginx.pid").read_text()), signal.SIGTERM)


def ends_well(tree, text, command):
    if not command.startswith("curl"):
        status, output = run(tree, command)
        assert status == 0, (command, tail(tree / "log"))
        if command.startswith("printf"):
            assert f'"sha256:{output.split()[0].decode()}"' in text, "the digest of the example's key"
        return
    until(START_SECONDS, f"an answer to {command}", lambda: re.match(rb"HTTP/1.1 20[06] ", run(tree, command)[1]), tree / "log")


def run(tree, command):
    """Into files: nginx goes on in the background, and would keep a pipe open."""
    with (tree / "answer").open("w+b") as answer, (tree / "log").open("a") as log:
        ended = subprocess.run(["bash", "-c", command], cwd=tree, stdout=answer, stderr=log, timeout=START_SECONDS)
        answer.seek(0)
        return ended.returncode, answer.read()


def test_which_commands_there_are():
    """Else a comment in another form would not be tried."""
    found = {name: [line.split()[0] for line in commands((ROOT / "envoy" / name).read_text())] for name in WITH_COMMANDS}
    check = [".build/envoy", "dist/waybill"]
    assert found == {
        "chain.yaml": ["./build.sh", "python3", "(set", "curl"],
        "demo.yaml": ["./build.sh", "python3", ".build/envoy", "curl"],
        "docker-compose.yaml": ["./build.sh", "docker", "curl"],
        "ecds.yaml": ["dist/waybill"],
        "edge.yaml": [*check, "printf"],
        "ingress.yaml": check,
        "module.yaml": ["ENVOY_DYNAMIC_MODULES_SEARCH_PATH=dist", "dist/waybill"],
        "nginx.conf": ["./build.sh", "nginx", "curl", "nginx"],
        "snapshot.yaml": check,
        "steps/2-report.yaml": ["printf"],
        "transit.yaml": ['WAYBILL_SIGNING_KEY="$(dist/waybill', "dist/waybill", "printf"],
    }
