"""What all tests share: the environment's two paths, the upstream, the certificates, Envoy's log on failure.

Run by `ENVOY=<path of the Envoy binary> WAYBILL=dist/waybill python -m pytest tests/envoy`, from the
repository's root, after a build (`./build.sh test` does all of it).
"""

import contextlib
import os

import pytest

import harness
import wire


def pytest_configure():
    """Without Envoy or a build every test would fail with the same error: say it once, at the start."""
    if not os.access(harness.ENVOY, os.X_OK):
        raise pytest.UsageError(f"ENVOY={harness.ENVOY!r} is not a program: set it to the path of the Envoy binary")
    missing = [str(path) for path in (harness.WAYBILL, harness.FILTER) if not path.exists()]
    if missing:
        raise pytest.UsageError(f"missing: {', '.join(missing)}; run ./build.sh build, or set WAYBILL to dist/waybill")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Shows what the running Envoys logged under the failure of a test."""
    report = yield
    if report.failed:
        for envoy in harness.Envoy.running:
            report.sections.append((f"end of {envoy.log}", harness.tail(envoy.log)))
    return report


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return wire.Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def upstream():
    with wire.Upstream() as server:
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def start(upstream, certificates, tmp_path_factory):
    """Starts an Envoy for the tests of one file, given its nodes, and ends it after them."""
    with contextlib.ExitStack() as stack:

        def start(*nodes, **options):
            folder = tmp_path_factory.mktemp("envoy")
            return stack.enter_context(harness.Lab(folder, nodes, upstream, certificates, **options))

        yield start
