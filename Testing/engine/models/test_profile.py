"""Work in a pass, counted by hand: the test net is one convolution of 5 x 5."""

from typing import Any

import numpy as np
import pytest

from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.profile import counted, profiled


def test_two_operations_for_each_pixel_and_weight(tiny_bundle: Any) -> None:
    bundle = load_bundle(tiny_bundle, "cpu")
    small, large = ({"slices": np.ones((n, 1, 16, 24), np.float32)} for n in (1, 3))
    one = 2 * 16 * 24 * 25
    assert counted(bundle, "unoise", small) == one and counted(bundle, "unoise", small, large) == pytest.approx(2 * one)


def test_the_slowest_node_comes_first(tiny_bundle: Any) -> None:
    bundle = load_bundle(tiny_bundle, "cpu")
    nodes = profiled(bundle, "unoise", {"slices": np.ones((2, 1, 16, 24), np.float32)}, runs=3)
    assert {node.op for node in nodes} >= {"Mul"} and any("Conv" in node.op for node in nodes)
    assert [n.seconds for n in nodes] == sorted((n.seconds for n in nodes), reverse=True)
    assert all(node.out[0] == 2 and node.out[-2:] == (16, 24) for node in nodes) and 1e-7 < nodes[0].seconds < 0.1
