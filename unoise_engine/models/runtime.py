"""onnxruntime, imported here and nowhere else in the engine, with its telemetry off.

On Linux and macOS the environment variable that the package sets (see unoise_engine/__init__.py) keeps onnxruntime from
ever starting its telemetry. On Windows only the call below turns it off. The call is also all that is left to do where
the calling program imported onnxruntime before the engine: by then onnxruntime has told of its start.
"""

import onnxruntime

onnxruntime.disable_telemetry_events()

__all__ = ["onnxruntime"]
