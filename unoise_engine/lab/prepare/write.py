"""A collection to a folder of cases, one after the other, so that an interrupted run goes on where it was.

``<case>-ct.nii.gz`` and ``<case>-labels.nii.gz``; ``labels.json``; ``split.json``; ``prepared.json``, which says of
each case what it was made from (sha256), its spacing and patient, what was corrected, or why it was refused.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unoise_engine.errors import CaseRefused, Environment
from unoise_engine.files import refuse_strangers, remove, sha256, write_json
from unoise_engine.lab.prepare.item import Collection, Item, Labelled
from unoise_engine.volume.pairs import patient_of
from unoise_engine.volume.split import FILE as SPLIT
from unoise_engine.volume.split import draw_split
from unoise_engine.volume.write import cannot_write, write_volume

RECORD, NAMES = "prepared.json", "labels.json"


@dataclass(frozen=True)
class Shares:
    """Of the patients."""

    val: float = 0.15
    test: float = 0.15
    seed: int = 0


@dataclass
class Count:
    ok: int = 0
    kept: int = 0  # done by an earlier run
    refused: int = 0


def prepare(
    collection: Collection,
    out: Path,
    shares: Shares,
    advance: Callable[[float], None] = lambda amount: None,
    tell: Callable[[str, CaseRefused], None] | None = None,
) -> Count:
    """Reads and writes every case that its record does not call done; damaged ones are told and skipped.

    The split is drawn over the names of all cases, damaged ones too: mending one moves no other. Raises Usage for one
    patient only, Environment for a folder that cannot be written or was made from another source or with other choices.
    """
    told = tell or _say
    split = draw_split([i.case for i in collection.items], collection.patient, shares.val, shares.test, shares.seed)
    settings = {
        "source": collection.kind,
        **collection.settings,
        "organ": collection.organ,
        "patient": collection.patient,
        "split": {"val_share": shares.val, "test_share": shares.test, "seed": shares.seed},
    }
    for item in collection.items:
        for path in _names(item.case, out):
            refuse_strangers(path, contents=False)
    record = _begin(out, settings, [item.case for item in collection.items])
    for name in (RECORD, SPLIT, NAMES):
        refuse_strangers(out / name)
    count, good = Count(), []
    for item in collection.items:
        digest = _digest(item)
        if _is_done(item.case, record["cases"].get(item.case), digest, out):
            count.kept += 1
            good.append(item.case)
        else:
            record["cases"][item.case] = entry = _do(item, collection, out, told)
            entry["sha256"] = digest
            if entry["status"] == "ok":
                count.ok += 1
                good.append(item.case)
            else:
                count.refused += 1
            _write(out / RECORD, record)
        advance(1)
    _write(out / NAMES, collection.labels)
    _write(out / SPLIT, asdict(split.only(good)))
    return count


def _begin(out: Path, settings: dict[str, Any], cases: list[str]) -> dict[str, Any]:
    """The record to go on with. A split must not change under a training that has read it."""
    path = out / RECORD
    if not path.is_file():
        if (out / SPLIT).is_file():
            raise Environment(out / SPLIT, "belongs to data made otherwise", "choose another folder")
        return {"settings": settings, "found": cases, "cases": {}}
    try:
        record = json.loads(path.read_text("utf-8"))
        known, before = record["settings"], record["found"]
        record["cases"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise Environment(path, "is damaged", "choose another folder") from None
    if known != settings:
        raise Environment(out, f"was made with other choices ({path.name} has them)", "choose another folder")
    if before != cases:
        what = "was made from a source with other cases, and the split would change"
        raise Environment(out, what, "choose another folder")
    return record


def _do(item: Item, collection: Collection, out: Path, told: Callable[[str, CaseRefused], None]) -> dict[str, Any]:
    ct_file, label_file = _names(item.case, out)
    try:
        found = _guarded(item)
    except CaseRefused as error:
        told(item.case, error)
        remove(ct_file, label_file)  # of an earlier run, from a source that was good then
        return {"status": "refused", "code": error.code, "message": str(error)}
    write_volume(found.labels, label_file, replace=True)
    write_volume(found.ct, ct_file, replace=True)  # last: a CT on disk has its labels
    organ = found.labels.voxels == collection.labels[collection.organ]
    return {
        "status": "ok",
        "patient": patient_of(item.case, collection.patient),
        "spacing_mm": [round(mm, 4) for mm in found.ct.grid.spacing_mm],
        "size": list(found.ct.grid.size),
        "organ_ml": round(float(organ.sum()) * found.ct.grid.voxel_ml, 2),
        "bytes": [ct_file.stat().st_size, label_file.stat().st_size],
        **found.facts,
    }


def _guarded(item: Item) -> Labelled:
    """Whatever a damaged file leads to is a refusal of this case."""
    source = item.files[0] if item.files else item.case
    try:
        return item.read()
    except (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        what = f"cannot be read ({type(error).__name__})"
        raise CaseRefused("UNREADABLE", source, what, "download or export it again") from error


def _is_done(case: str, entry: dict[str, Any] | None, digest: str, out: Path) -> bool:
    """By its record: the same source, and files of the size they had."""
    if not entry or entry.get("status") != "ok" or entry.get("sha256") != digest:
        return False
    return [p.stat().st_size if p.is_file() else -1 for p in _names(case, out)] == entry.get("bytes")


def _names(case: str, out: Path) -> tuple[Path, Path]:
    return out / f"{case}-ct.nii.gz", out / f"{case}-labels.nii.gz"


def _digest(item: Item) -> str:
    """One sha256 over all files of a case; what cannot be read counts as empty, and is refused when read."""
    whole = hashlib.sha256()
    for path in item.files:
        try:
            whole.update(bytes.fromhex(sha256(path)))
        except OSError:
            whole.update(b"unreadable")
    return whole.hexdigest()


def _say(case: str, error: CaseRefused) -> None:
    print(f"CASE {case}: REFUSED {error.code}: {error}", file=sys.stderr)


def _write(path: Path, body: Any) -> None:
    try:
        write_json(path, body, replace=True)
    except OSError as error:
        raise cannot_write(path, error) from None
