"""How far occlusion that was stopped early is from the finished map of the same CT, and what it says of that itself.

python Testing/benchmarks/anytime_error.py CT [--bundle B] [--places 20 40 100 ...]

Time is counted in places tried, so the answer does not depend on the machine; what a place takes is said too. RMS over
the slices with organ, of the finished maps' range. The finished maps take some 1000 places a slice: minutes a CT.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np

from unoise_engine.explanation import search
from unoise_engine.explanation.items import OfCT
from unoise_engine.explanation.method import silent
from unoise_engine.explanation.occlusion import Occlusion
from unoise_engine.explanation.search import Search
from unoise_engine.explanation.segment import segment
from unoise_engine.models.bundles import DEFAULT_BUNDLE, load_bundle
from unoise_engine.models.given import given_of
from unoise_engine.volume.read import read_image


def main() -> None:
    """A line a number of places."""
    words = argparse.ArgumentParser()
    words.add_argument("ct", type=Path)
    words.add_argument("--bundle", default=DEFAULT_BUNDLE)
    words.add_argument("--places", type=int, nargs="+", default=[10, 20, 40, 60, 100, 150, 250], help="a slice")
    asked = words.parse_args()
    bundle = load_bundle(asked.bundle, "cpu")
    given = given_of(read_image(asked.ct), bundle.recipe)
    items = OfCT(given, segment(bundle, given))
    shown = [k for k in range(len(items)) if items.organ(k).any()]

    def searched(places: float) -> Search:
        found = Search(bundle, items, lambda image, organ: Occlusion().sketch(bundle, image, organ), places, silent)
        with patch.object(search, "time") as clock:
            clock.monotonic = lambda: float(found.places)
            found.run()
        return found

    def maps(found: Search) -> np.ndarray:
        return np.stack([found.map(k) for k in shown])

    started = time.perf_counter()
    finished = searched(np.inf)
    each = (time.perf_counter() - started) / finished.places
    truth = maps(finished)
    print(
        f"{len(shown)} slices with organ, {finished.places / len(shown):.0f} places each, {1000 * each:.1f} ms a place"
    )
    for places in asked.places:
        found = searched(float(places * len(shown)))
        error = np.sqrt(((maps(found) - truth) ** 2).mean((1, 2))) / np.ptp(truth)
        print(
            f"{places} places a slice: {len(found.sketches)} slices looked at, RMS {np.sqrt((error**2).mean()):.2%} "
            f"(worst slice {error.max():.1%}), said {found.error:.2%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
