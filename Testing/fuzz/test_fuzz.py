"""G20: one round with a fixed seed; `make fuzz` does as many as fit into its minutes."""

import sys

import pytest

from Testing.fuzz.headers import fuzz


@pytest.mark.skipif(sys.platform == "win32", reason="limits memory with setrlimit")
def test_G20_a_round_of_damaged_headers():
    tried, wrong, codes = fuzz(seconds=60, seed=20, rounds=1)
    assert wrong == []
    assert tried == 60 and codes["READ"] >= 1 and sum(codes.values()) - codes["READ"] > 20
