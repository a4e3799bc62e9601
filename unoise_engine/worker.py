"""`python -m unoise_engine.worker`: the explain command for a calling program, such as the 3D Slicer module.

One JSON object on standard input, with the fields of `run.Request`, or of `convert.Conversion` to write results that
exist as DICOM; JSON lines on standard output (see progress.py).
Needs no command-line package, so where numpy, SimpleITK and pydicom exist (Slicer brings them), onnxruntime and
protobuf are all that must be installed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from unoise_engine.batch.run import Request, explain_all
from unoise_engine.cli.guard import guarded
from unoise_engine.errors import Usage
from unoise_engine.progress import progress
from unoise_engine.results.convert import Conversion, convert


def request_from(text: str) -> Request | Conversion:
    """Raises Usage for text that is no request."""
    try:
        body: dict[str, Any] = json.loads(text)
        if "results" in body:
            return _conversion(body)
        body["inputs"] = tuple(Path(p) for p in body["inputs"])
        body["out"] = Path(body["out"])
        for name in ("methods", "slices"):
            if body.get(name) is not None:
                body[name] = tuple(body[name])
        return Request(**body)
    except (ValueError, KeyError, TypeError) as error:
        raise Usage(
            "standard input", f"is no request ({error})", "send one JSON object as run.Request describes"
        ) from None


def _conversion(body: dict[str, Any]) -> Conversion:
    results = {str(name): Path(path) for name, path in body.pop("results").items()}
    dicom = tuple(Path(path) for path in body.pop("dicom"))
    return Conversion(Path(body.pop("ct")), results, dicom, dict(body.pop("report")), Path(body.pop("out")), **body)


def answer(text: str) -> int:
    request = request_from(text)
    if isinstance(request, Request):
        return 1 if explain_all(request, "json") else 0
    convert(request, progress("json"))
    return 0


def main() -> int:
    debug = "--debug" in sys.argv[1:]
    # Bytes, not text: on Windows a pipe's default encoding is not UTF-8, and paths have umlauts.
    return guarded(lambda: answer(sys.stdin.buffer.read().decode("utf-8")), json_lines=True, debug=debug)


if __name__ == "__main__":
    sys.exit(main())
