"""Places of a patch, and which of them are measured, by hand."""

from typing import Any

import numpy as np
import pytest

from unoise_engine.explanation.lattice import Lattice, Refinement


@pytest.mark.parametrize(
    ("length", "patch", "stride", "lines"),
    [
        (11, 3, 4, [0, 4, 8]),
        (12, 3, 4, [0, 4, 8, 9]),  # the last one reaches the edge
        (5, 5, 2, [0]),
        (4, 9, 2, [0]),
    ],
)
def test_patches_reach_both_edges(length: Any, patch: Any, stride: Any, lines: Any) -> None:
    lattice = Lattice.every(stride, (length, 7), patch)
    assert lattice.lines[0].tolist() == lines and lattice.shape[0] == len(lines)


def test_a_value_belongs_to_the_middle_of_its_patch() -> None:
    lattice = Lattice.every(4, (11,), 3)
    spread = lattice.spread(np.array([0.0, 4.0, 0.0], np.float32), (11,))
    assert np.allclose(spread, [0, 0, 1, 2, 3, 4, 3, 2, 1, 0, 0])
    assert np.allclose(Lattice.every(2, (4,), 2).spread(np.array([0.0, 1.0]), (4,)), [0, 0.25, 0.75, 1])
    assert lattice.first_voxels(np.array([[2], [0]])).tolist() == [[8], [0]]


def measured(truth: Any, coarse: Any, tolerance: Any = 0.05, known: Any = None) -> Any:
    """Values of all places, and those that were asked for."""
    asked: list[tuple[int, ...]] = []
    known = np.full(truth.shape, np.nan) if known is None else known
    refinement, step = Refinement(known, coarse, tolerance), coarse
    while step:
        places = refinement.places(step)
        asked.extend(map(tuple, places.tolist()))
        known[tuple(places.T)] = truth[tuple(places.T)]
        step //= 2
    return refinement.values(), asked


def test_only_cells_that_vary_are_looked_into() -> None:
    truth = 100 + np.array([0.0, 7, 0, 0, 0, 1, 2, 3.5, 4])  # a place that differs alone is missed
    values, asked = measured(truth, 4)
    assert asked == [(0,), (4,), (8,), (6,), (5,), (7,)]
    assert values.tolist() == [100, 100, 100, 100, 100, 101, 102, 103.5, 104]


@pytest.mark.parametrize(("step", "looked"), [(0.09, False), (0.11, True)])
def test_so_much_of_the_range_is_too_little(step: Any, looked: Any) -> None:
    _, asked = measured(np.array([0, 0, step, step, 1.0]), 2, 0.1)
    assert ((1,) in asked) == looked and (3,) in asked


def test_a_step_of_one_asks_for_all_but_what_is_known() -> None:
    truth, known = np.arange(12.0).reshape(3, 4), np.full((3, 4), np.nan)
    known[0], known[2, 3] = -1, -2
    values, asked = measured(truth, 1, known=known)
    assert sorted(asked) == [(1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (2, 1), (2, 2)]
    assert (values[0] == -1).all() and values[2, 3] == -2 and np.array_equal(values[1], truth[1])


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_border_of_a_cell_belongs_to_it(axis: Any, turned: Any) -> None:
    """Cells of 2 x 2: where the first varies and its neighbour does not, the edge between is measured."""
    truth = np.zeros((5, 3))
    truth[0] = 1
    truth[2, 1] = 0.5  # on the edge
    truth[3, 1] = 0.7  # inside the flat cell
    truth = np.flip(truth, 0) if turned else truth
    truth = truth if axis == 0 else truth.T
    values, asked = measured(truth, 2)
    edge, inside = (2, 1), (1 if turned else 3, 1)
    edge, inside = (edge, inside) if axis == 0 else (edge[::-1], inside[::-1])
    assert edge in asked and values[edge] == 0.5 and inside not in asked and values[inside] == 0


def test_where_nothing_varies_nothing_more_is_asked() -> None:
    values, asked = measured(np.full((5, 5), 2.0), 4)
    assert len(asked) == 4 and (values == 2).all()


def test_a_line_of_cells_without_width() -> None:
    truth = np.array([[0.0, 0, 0, 1, 2]])
    values, asked = measured(truth, 2)
    assert asked == [(0, 0), (0, 2), (0, 4), (0, 3)] and np.array_equal(values, truth)
