"""A while of `fuzz.py`, with its own seed: `./build.sh fuzz SECONDS [SEED]` goes on for longer."""

import fuzz
from harness import assert_unharmed

SECONDS = 15


def test_random_requests_change_nothing_that_holds(tmp_path):
    with fuzz.Quiet() as upstream, fuzz.lab(tmp_path, upstream) as lab:
        hunt = fuzz.Fuzz(lab, fuzz.DEFAULT_SEED)
        hunt.run(SECONDS)
        while hunt.sent < 10 * fuzz.BATCH:  # on a machine that is busy
            hunt.run(1)
        assert hunt.found == {}, "violations are told above, with the request of each"
        assert_unharmed(lab)
