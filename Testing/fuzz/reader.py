"""Reads every case of a folder and prints a JSON line each; the process that is watched while it fuzzes.

Seconds are the processor's, so that a busy machine is not taken for a hang; waiting for ever meets the round's limit.
"""

import json
import sys
import time
from pathlib import Path

from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.volume.find import find_cases


def main(folder: Path) -> None:
    start = time.process_time()
    try:
        cases = find_cases([folder])
    except Usage as nothing:
        print(json.dumps({"case": "", "code": "USAGE", "said": str(nothing), "seconds": time.process_time() - start}))
        return
    print(json.dumps({"case": "", "code": "FOUND", "said": "", "seconds": time.process_time() - start}))
    for case in cases:
        start = time.process_time()
        try:
            code, said = "READ", str(case.read().ct.voxels.shape)
        except CaseRefused as error:
            code, said = error.code, str(error)
        took = time.process_time() - start
        print(json.dumps({"case": case.id, "code": code, "said": said, "seconds": took}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
