"""onnxruntime, imported here and nowhere else in the engine, with its telemetry off.

On Linux and macOS the environment variable that the package sets (see unoise_engine/__init__.py) keeps onnxruntime from
ever starting its telemetry. On Windows, where it gives its events to the system, only the call below turns it off.
Neither helps a program on Linux or macOS that imported onnxruntime before the engine: the report of its start is on its
way. Such a program must set ORT_DISABLE_TELEMETRY=1 itself.
"""

import sys

from unoise_engine.errors import Environment


def _does_not_load(error: Exception) -> Environment:
    cure = "install another version of it"
    if sys.platform == "win32":  # an old one is the usual cause
        cure = "install the Microsoft Visual C++ Redistributable, or another version of onnxruntime"
    return Environment("onnxruntime", f"is installed but does not load ({error})", cure)


try:
    import onnxruntime
except ModuleNotFoundError as error:
    if error.name in (None, "onnxruntime"):  # it is not there at all
        raise
    raise _does_not_load(error) from error
except (ImportError, OSError) as error:  # a library that it is made of, or that it wants of the system
    raise _does_not_load(error) from error

onnxruntime.disable_telemetry_events()

__all__ = ["onnxruntime"]
