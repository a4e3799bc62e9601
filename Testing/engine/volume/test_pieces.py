"""The largest of a mask's pieces."""

import numpy as np

from unoise_engine.volume.pieces import largest_piece


def test_the_largest_piece() -> None:
    mask = np.zeros((3, 8, 8), bool)
    mask[:, 1:4, 1:4] = mask[1, 4:6, 4:6] = True  # the second touches the first by a corner alone
    wanted = mask.copy()
    wanted[1, 4:6, 4:6] = False
    assert np.array_equal(largest_piece(mask), wanted)
    assert not largest_piece(np.zeros((2, 4, 4), bool)).any()
    assert largest_piece(np.ones((2, 4, 4), bool)).all()
