"""`python -m unoise_engine.worker`: the engine for a calling program, such as the 3D Slicer module.

One JSON object on standard input, which asks one thing; JSON lines on standard output (see progress.py):

    {"explain": {"inputs": ["ct.nrrd"], "out": "out", "options": {...}}}     fields as in run.Request
    {"convert": {...}}      results that exist, as DICOM: convert.Conversion
    {"whatif": {"inputs": [...], "regions": [...], "hide": {...}}}      whatif.command.Request
    {"about": {}}           which models, methods and formats there are: about.About

With --session there is a question a line until standard input closes, each answered before the next, and after each
comes {"event": "answered", "code": 0}. The model and the CT of a "whatif" stay open for the next one.

The event "alive" comes every 15 seconds, whatever else is said. A worker whose standard output nobody reads any more
ends, whatever it is at.

Slices count as arrays do: from 0 at the feet, the last one excluded. (--slices and pictures count from 1, as people.)
What is left out is as usual; what does not fit is refused before anything is read.
Needs no command-line package, so where numpy, SimpleITK and pydicom exist (Slicer brings them), onnxruntime and
protobuf are all that must be installed, and "about" needs neither.
"""

from __future__ import annotations

import sys

from unoise_engine.cli.guard import guarded
from unoise_engine.cli.heartbeat import heartbeat


def main() -> int:
    def work() -> int:
        with heartbeat():
            from unoise_engine.cli.question import answer, answer_all  # here: a missing package is told in a sentence

            # Bytes, not text: on Windows a pipe's default encoding is not UTF-8, and paths have umlauts.
            if "--session" in sys.argv[1:]:
                return answer_all(sys.stdin.buffer)
            return answer(sys.stdin.buffer.read())

    return guarded(work, json_lines=True, debug="--debug" in sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
