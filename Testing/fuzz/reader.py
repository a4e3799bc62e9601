"""Reads every case of a folder and prints a JSON line each; the process that is watched while it fuzzes."""

import json
import sys
import time
from pathlib import Path

from unoise_engine.ct.find import find_cases
from unoise_engine.errors import CaseRefused, Usage


def main(folder: Path) -> None:
    start = time.perf_counter()
    try:
        cases = find_cases([folder])
    except Usage as nothing:
        print(json.dumps({"case": "", "code": "USAGE", "said": str(nothing), "seconds": time.perf_counter() - start}))
        return
    print(json.dumps({"case": "", "code": "FOUND", "said": "", "seconds": time.perf_counter() - start}))
    for case in cases:
        start = time.perf_counter()
        try:
            code, said = "READ", str(case.read().ct.voxels.shape)
        except CaseRefused as error:
            code, said = error.code, str(error)
        took = time.perf_counter() - start
        print(json.dumps({"case": case.id, "code": code, "said": said, "seconds": took}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
