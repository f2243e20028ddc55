"""A minute of everything at once on the module: ordinary requests, chains, replays and hostile requests, while snapshots and
configurations change. `./build.sh bench mixed MINUTES` goes on for longer.
"""

import shutil
import sys

import pytest

from harness import HOST, ROOT

sys.path.insert(0, str(ROOT / "tests" / "bench"))
import mixed  # noqa: E402

SECONDS = 60
pytestmark = [
    pytest.mark.skipif(HOST != "module", reason="the module's own: WAYBILL_HOST=module"),
    pytest.mark.skipif(not shutil.which("h2load"), reason="h2load is missing (Debian: nghttp2-client)"),
]


def test_a_minute_of_everything(tmp_path):
    outcome = mixed.run(tmp_path, SECONDS)
    assert outcome.is_well, outcome.table()
    assert all(kind.sent > SECONDS / 10 for kind in outcome.kinds.values()), outcome.table()
    assert all(count > SECONDS / 30 for count in outcome.changes.values()), outcome.table()
