"""What a CT's answer looks like: rows, a table for people, and a folder with table, picture and report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from unoise_engine.errors import Environment
from unoise_engine.evaluate.tables import write_csv
from unoise_engine.evaluate.whatif.effects import WhatIf
from unoise_engine.evaluate.whatif.fills import FILLS
from unoise_engine.evaluate.whatif.picture import draw_strongest
from unoise_engine.evaluate.whatif.scene import Effect, Scene
from unoise_engine.evaluate.whatif.settings import HideSettings
from unoise_engine.files import new_file, new_folder, write_json
from unoise_engine.results.account import versions
from unoise_engine.typed import to_table
from unoise_engine.volume.write import cannot_write

EFFECTS, PICTURE, REPORT = "effects.csv", "strongest.png", "report.json"
SHOWN = 12  # rows of the table for people


def as_row(effect: Effect) -> dict[str, Any]:
    """Columns of effects.csv. `dice_lost` is 1 - dice; `beyond` belongs to pairs."""
    return {
        "hidden": effect.name,
        "dice": round(effect.dice, 6),
        "dice_lost": round(1 - effect.dice, 6),
        "ml_before": round(effect.before_ml, 4),
        "ml_after": round(effect.ml, 4),
        "ml_lost": round(effect.lost_ml, 4),
        "ml_new": round(effect.new_ml, 4),
        "hidden_ml": round(effect.hidden_ml, 4),
        "covers": round(effect.covers, 6),
        "beyond": "" if effect.beyond is None else round(effect.beyond, 6),
    }


def lines(found: WhatIf) -> Iterator[str]:
    """The table for people, the strongest first."""
    for kind, effects in (("structure", found.effects), ("pair", found.pairs)):
        if not effects:
            continue
        width = max(len(kind), *(len(one.name) for one in effects[:SHOWN]))
        yield f"  {kind:<{width}}   dice   ml after   ml lost   ml new   ml hidden   covers"
        for one in effects[:SHOWN]:
            amounts = f"{one.ml:8.1f}   {one.lost_ml:7.1f}   {one.new_ml:6.1f}   {one.hidden_ml:9.1f}"
            yield f"  {one.name:<{width}}  {one.dice:5.3f}   {amounts}   {one.covers:6.0%}"
        if len(effects) > SHOWN:
            least = effects[SHOWN].dice
            yield f"  and {len(effects) - SHOWN} more, dice {least:.3f} and above: {EFFECTS}"


def write_answer(
    folder: Path, found: WhatIf, notes: Sequence[str], scene: Scene, how: HideSettings, picture: bool, replace: bool
) -> list[str]:
    """FOLDER/effects.csv, strongest.png, report.json; whole or not at all. Returns sentences on what is missing.

    Raises Environment.
    """
    manifest, missing, files = scene.bundle.manifest, list[str](), {"effects": EFFECTS}
    name = folder.name
    try:
        with new_folder(folder, replace) as partial:
            rows = [as_row(one) for one in (*found.effects, *found.pairs)]
            write_csv(partial / EFFECTS, rows)
            if picture:
                title = f"{name}  -  model: {manifest.title}: {found.ml:.1f} ml of {manifest.organ} with nothing hidden"
                legend = f"hidden by {FILLS[how.fill]}"
                try:
                    with new_file(partial / PICTURE) as draft:
                        draw_strongest(
                            draft.path, found.seen, scene.view.spacing_mm[1:], title, legend, manifest.warning
                        )
                    files["picture"] = PICTURE
                except Environment as error:
                    missing.append(f"no picture: {error}")
            report = {
                "case": name,
                "warning": manifest.warning,
                "organ": {"name": manifest.organ, "volume_ml": round(found.ml, 3)},
                "notes": [*notes, *missing],
                "settings": {**to_table(how), "fill_means": FILLS[how.fill], "device": scene.bundle.device},
                "effects": rows,
                "files": files,
                "model": {"name": manifest.name, "title": manifest.title, "sha256": scene.bundle.hash},
                "versions": versions(),
            }
            write_json(partial / REPORT, report)
    except OSError as error:
        raise cannot_write(folder, error) from None
    return missing
