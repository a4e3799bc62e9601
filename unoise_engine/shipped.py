"""Where what came with the engine lies: `resources/` inside the wheel, Resources/ in a source tree."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def shipped(kind: str, pattern: str) -> dict[str, Path]:
    """Name -> path of what ships of a kind (models, recipes, label_names) and has a file matching `pattern`."""
    found: dict[str, Path] = {}
    for home in (PACKAGE.parent / "Resources" / kind.title().replace("_", ""), PACKAGE / "resources" / kind):
        for path in sorted(home.glob(pattern)):
            entry = path if path.parent == home else path.parent
            found[entry.stem if entry.is_file() else entry.name] = entry
    return found
