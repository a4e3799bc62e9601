"""Results of engine versions that kept no inventory: their own records say what was written."""

from __future__ import annotations

from pathlib import Path

from unoise_engine.batch.ledger import LEDGER
from unoise_engine.batch.records import RECORD, read_record
from unoise_engine.batch.summary import FILES
from unoise_engine.files import GROWS, INVENTORY, note


def adopt(out: Path) -> None:
    """Gives such a folder its inventories: of each case that has a record, with the hashes written there, and of the
    books beside them. What was changed since does not fit its hash, and so stays. Raises OSError."""
    if (out / INVENTORY).exists() or not (out / LEDGER).is_file():
        return
    found = False
    for folder in sorted(path.parent for path in out.glob(f"*/{RECORD}")):
        record = read_record(folder)
        if record is None or (folder / INVENTORY).exists():
            continue
        note(folder, {RECORD: GROWS, **{name: entry.sha256 for name, entry in record.outputs.items()}})
        found = True
    if found:
        note(out, dict.fromkeys((name for name in (LEDGER, *FILES) if (out / name).is_file()), GROWS))
