"""What a program may ask the engine, and who answers it. See worker.py."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from unoise_engine.batch.about import About, about
from unoise_engine.batch.run import Request, explain_all
from unoise_engine.cli.guard import say
from unoise_engine.errors import Usage
from unoise_engine.evaluate.whatif.command import Kept
from unoise_engine.evaluate.whatif.command import Request as WhatIf
from unoise_engine.evaluate.whatif.command import run as what_if
from unoise_engine.evaluate.whatif.fills import FILLS
from unoise_engine.progress import progress
from unoise_engine.results.convert import Conversion, convert
from unoise_engine.strict_json import read_json
from unoise_engine.typed import read

LARGEST = 64 << 20  # bytes; a request holds paths, and the report of a run that is to be converted


@dataclass(frozen=True)
class Question:
    """One of these."""

    explain: Request | None = None
    convert: Conversion | None = None
    about: About | None = None
    whatif: WhatIf | None = None

    def __post_init__(self) -> None:
        if sum(getattr(self, f.name) is not None for f in fields(self)) != 1:
            raise ValueError(f"is no request: it must ask one of {', '.join(f.name for f in fields(self))}")


def question_from(content: bytes) -> Question:
    """Raises Usage for what is no request."""
    try:
        body = read_json(content, LARGEST)
    except ValueError as error:
        raise Usage("standard input", f"is no request ({error})", "send one JSON object, see worker.py") from None
    return read(Question, body, "standard input")


def answer(content: bytes, kept: Kept | None = None) -> int:
    """`kept` is what the questions before have left open."""
    question = question_from(content)
    if question.explain:
        return 1 if explain_all(question.explain, "json") else 0
    if question.whatif:
        return 1 if what_if(question.whatif, "json", kept) else 0
    if question.convert:
        convert(question.convert, progress("json"))
    if question.about:
        progress("json").event("about", **about(question.about), fills=FILLS)
    return 0


def answer_all(lines: Iterable[bytes]) -> int:
    """A question a line until there are no more. One that fails ends itself alone; after each comes the event
    "answered" with the code that it would have ended a process with."""
    kept = Kept()
    for line in lines:
        if not line.strip():
            continue
        try:
            code = answer(line, kept)
        except Exception as error:
            code = say(error, json_lines=True)
        progress("json").event("answered", code=code)
    return 0
