"""What a run was taught and is judged on, by content: no CT may do both, under whatever names.

cases.json in the run's folder keeps it, for the resumed run, for noise models of this utility and for runs that start
from its weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path

from unoise_engine.errors import CaseRefused, Environment, Usage
from unoise_engine.files import write_json
from unoise_engine.training.cases import Case
from unoise_engine.training.content import Content
from unoise_engine.training.progress import say
from unoise_engine.training.sources import Source
from unoise_engine.training.split import Split
from unoise_engine.training.unlabelled import read_file
from unoise_engine.volume.volume import Volume

FILE = "cases.json"
DOES = {"train": "learns", "val": "validates", "test": "tests"}
Contents = Mapping[str, Content]


def contents_of(cases: Iterable[Case]) -> dict[str, Content]:
    return {case.name: case.content for case in cases}


def taught_before(init: Path) -> dict[str, Content]:
    """What a run that gives its weights was taught, by names that no case of another run has."""
    return {f"{case} of {init.name}": content for case, content in read(init).items() if content.measures}


def readers(sources: Sequence[Source]) -> dict[str, Callable[[], Volume]]:
    """Case -> what reads its CT."""
    pairs = [pair for source in sources for pair in source.pairs]
    return {pair.case: partial(read_file, pair.ct) for pair in pairs}


def read_rest(known: Contents, cts: Mapping[str, Callable[[], Volume]]) -> dict[str, Content]:
    """Those cases too that are not read to learn or steer. One that cannot be read teaches and judges nothing."""
    found = dict(known)
    for case in cts.keys() - known.keys():
        with suppress(CaseRefused):
            found[case] = Content.of(cts[case]())
    return found


def refuse_leaks(split: Split, contents: Contents, runs: Iterable[Path] = ()) -> None:
    """Raises Usage if a CT, or slices of it, are in two parts of the split, or in another part of one of these runs.

    The same CT twice in one part is said.
    """
    taken: dict[str, list[tuple[str, str]]] = {}  # hash -> parts and cases
    for run in runs:
        for part, case, content in _parts(Split.read(run), read(run)):
            for one in content.slices:
                taken.setdefault(one, []).append((part, f"{case} of {run}"))
    for part, case, content in _parts(split, contents):
        for there, other in sorted({place for one in content.slices for place in taken.get(one, [])}):
            if there != part:
                what = f"{DOES[part]} and shows the same CT as {other}, which {DOES[there]}"
                raise Usage(f"case {case}", what, "leave one of them out")
            if other in contents:
                say(f"case {case} - shows the same CT as {other} - it counts double, leave one of them out")
        for one in content.slices:
            taken.setdefault(one, []).append((part, case))


def refuse_others(run: Path, contents: Contents) -> None:
    """Raises Usage if a case is another CT than when the run began."""
    before = read(run)
    for case, content in contents.items():
        if case in before and before[case].slices != content.slices:
            what = f"is another CT than when {run} was begun"
            raise Usage(f"case {case}", what, "bring that CT back, or train in another folder")


def write(run: Path, contents: Contents) -> None:
    plain = {case: asdict(content) | {"slices": sorted(content.slices)} for case, content in sorted(contents.items())}
    write_json(run / FILE, plain, replace=True)


def read(run: Path) -> dict[str, Content]:
    """Nothing for runs that kept none. Raises Environment."""
    path = run / FILE
    if not path.is_file():
        return {}
    try:
        table = json.loads(path.read_text("utf-8"))
        return {
            case: Content(
                frozenset(told["slices"]), {k: (float(a), float(b)) for k, (a, b) in told["measures"].items()}
            )
            for case, told in table.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise Environment(path, "is damaged", "bring it back as it was, or remove it") from None


def _parts(split: Split, contents: Contents) -> Iterable[tuple[str, str, Content]]:
    for part in DOES:
        for case in getattr(split, part):
            if case in contents:
                yield part, case, contents[case]
