"""onnxruntime, imported here and nowhere else in the engine, with its telemetry off.

On Linux and macOS the environment variable that the package sets (see unoise_engine/__init__.py) keeps onnxruntime from
ever starting its telemetry. On Windows, where it gives its events to the system, only the call below turns it off.
Neither helps a program on Linux or macOS that imported onnxruntime before the engine: the report of its start is on its
way. Such a program must set ORT_DISABLE_TELEMETRY=1 itself.
"""

import onnxruntime

onnxruntime.disable_telemetry_events()

__all__ = ["onnxruntime"]
