"""The picture of a case, from its account: one axial slice, its outline and a panel a method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unoise_engine.errors import Environment
from unoise_engine.models.given import OnGrid, modality_of
from unoise_engine.results.account import Account
from unoise_engine.results.greys import Greys
from unoise_engine.results.overview import Overview
from unoise_engine.results.plain import PlainOverview
from unoise_engine.results.shown import shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Picture:
    """Collects the axial slice `k`, from 0 at the feet, of every result. Without matplotlib, unless it is `needed`, it
    is drawn in plainer print; else MissingExtra is raised."""

    def __init__(self, account: Account, segmentation: OnGrid, k: int, needed: bool = False):
        self.account, self.k = account, k
        ct = account.reading.ct
        self.hu = Greys.of(ct, modality_of(account.bundle.recipe))(account.view.apply(ct.voxels)[k])
        seen = self.hu, segmentation.slice(k) > 0, account.view.spacing_mm[1:]
        self.panels: Overview | PlainOverview
        try:
            self.panels = Overview(*seen)
        except Environment:  # no matplotlib, or no temporary folder for it
            if needed:
                raise
            self.panels = PlainOverview(*seen)

    def add(self, method: str, importance: OnGrid, verdict: str = "") -> None:
        """`verdict` says in a few words how the map does on this CT (explanation/proof.py)."""
        values = shown(self.account.scales[method], importance.slice(self.k), self.hu)
        self.panels.add(self.account.titles[method], values, verdict)

    def figure(self, case: str) -> Figure:
        assert isinstance(self.panels, Overview)  # noqa: S101 - it was needed
        return self.panels.figure(*self.words(case))

    def words(self, case: str) -> tuple[str, str, str]:
        """Title, note on the slice, and what is to be said below."""
        account, manifest = self.account, self.account.bundle.manifest
        title = f"{case[:60]}  -  model: {manifest.title}"
        note = f"axial slice {self.k + 1} of {account.slices} from the feet"
        return title, note, "\n".join([*account.warnings, *account.reading.notes, manifest.warning])
