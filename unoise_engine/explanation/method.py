"""What an explanation method is: items in, one importance map an item out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from unoise_engine.explanation.target import Target
from unoise_engine.models.segmenter import Segmenter

if TYPE_CHECKING:
    from unoise_engine.explanation.items import Items

# So many items' worth of work was done; a method may add a `note` for whoever watches. It may raise
# progress.Enough: a method that gets better step by step then keeps what there is.
Advance = Callable[..., None]


def silent(_: float, note: str = "") -> None:
    """An `Advance` that tells nobody."""


class Method(Protocol):
    """A way to explain: a frozen dataclass whose fields are its parameters, which check themselves (Usage).

    `ends`, where there are any, say in a few words what 0 and the largest value mean, for the colour bar. A method that
    takes many passes has `places(*size)`, about how many an item of that size takes.
    """

    name: ClassVar[str]  # in options, files and reports
    title: ClassVar[str]  # for people
    about: ClassVar[str]  # one sentence: what the map shows
    unit: ClassVar[str]  # of the map's values, as short as a legend has room for
    needs: ClassVar[str]  # what the segmenter must be able to answer (models/segmenter.py); empty: any will do
    chosen: ClassVar[bool]  # whether it is used where nobody chooses

    def __call__(self, model: Segmenter, x: np.ndarray, target: Target, advance: Advance) -> np.ndarray:
        """Items x (k, c, *s) and what of the prediction is asked about -> maps (k, *s) float32.

        Larger means more important; magnitudes are kept, so that items can be compared. Finite everywhere. An item on
        which the model finds nothing gets zeros from methods that ask about what was found. `advance` is called with
        1.0 in sum for each item.
        """
        ...


@runtime_checkable
class ByCT(Protocol):
    """A method that shares its time among the items of a CT. `limit_of_ct(rank)` is that time in seconds, `limit(rank)`
    that of items by themselves."""

    def of_ct(self, model: Segmenter, items: Items, advance: Advance) -> tuple[Iterator[np.ndarray], dict[str, Any]]:
        """The maps (*s) of all items, and what a report tells of how they were made."""
        ...

    def limit_of_ct(self, rank: int) -> float: ...

    def limit(self, rank: int) -> float: ...


def longest_s(method: Method, size: tuple[int, ...], pass_s: float, items: int | None = None) -> float | None:
    """About how many seconds a method of many passes takes for so many items of a CT, of that size, or for one by
    itself: at most, as passes that look at a part of it cost less. None for other methods."""
    places = getattr(method, "places", None)
    if places is None:
        return None
    limit = inf
    if isinstance(method, ByCT):
        limit = (method.limit if items is None else method.limit_of_ct)(len(size))
    return float(min(places(*size) * pass_s * (1 if items is None else items), limit))
