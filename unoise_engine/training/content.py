"""What a CT is known again by, and what was measured of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from unoise_engine.explanation.scan import Scan
from unoise_engine.models.scope import Range
from unoise_engine.volume.contents import slice_hashes
from unoise_engine.volume.volume import Volume


@dataclass(frozen=True)
class Content:
    """`measures` are the least and the most of each, by the names of `Scope`; none for a CT that only judges."""

    slices: frozenset[str] = frozenset()  # hashes
    measures: Mapping[str, Range] = field(default_factory=dict)

    @staticmethod
    def of(ct: Volume, organ_ml: float | None = None) -> Content:
        """Of a CT in HU; with the organ's volume, that is of one that teaches, it is measured too."""
        if organ_ml is None:
            return Content(slice_hashes(ct))
        scan = Scan.of(ct)
        told = {"organ_ml": (organ_ml, organ_ml), **(asdict(scan) if scan else {})}
        return Content(slice_hashes(ct), {name: value for name, value in told.items() if isinstance(value, tuple)})
