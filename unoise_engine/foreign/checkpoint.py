"""Weights out of files that torch.save wrote: tensors and plain values, never code.

A pickle is a program. Before torch reads one, and with `weights_only`, all that it names is looked through; it may name
what is in `NAMES` and nothing else. Whatever is refused was not run.
"""

from __future__ import annotations

import pickletools
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

from unoise_engine.errors import Environment, Integrity, Usage, printable
from unoise_engine.files import open_regular
from unoise_engine.foreign import need

LARGEST_CHECKPOINT = 4 << 30  # bytes; with its optimiser's state a large nnU-Net has 1 GiB
LARGEST_PICKLE = 32 << 20  # of it without the numbers
MOST_ENTRIES = 100_000
KINDS = ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Short", "Char", "Byte", "Bool")
SCALARS = ("numpy._core.multiarray.scalar", "numpy.core.multiarray.scalar")  # of numpy 2, and as numpy 1 named it
NAMES = frozenset((
    "collections.OrderedDict", "_codecs.encode", "numpy.dtype", *SCALARS,
    "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter", "torch.device", "torch.Size",
    *(f"torch.{kind}Storage" for kind in KINDS),
    *(f"torch.{dtype}" for dtype in ("float32", "float16", "bfloat16", "float64", "int64", "int32", "uint8", "bool")),
))  # fmt: skip
OLD_PICKLES = 5  # in a file from before torch 1.6: magic number, protocol, system, what was saved, names of storages


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The table that a .pth or .pt file holds, its tensors in memory.

    Raises Environment if there is no file or it is too large; Usage if it holds no table, or is TorchScript; Integrity,
    in a sentence that says what it names, if it names anything that weights do not need, is damaged or unpacks to more
    than it is.
    """
    need("torch")
    try:
        with open_regular(path) as file:
            size = path.stat().st_size
            if size > LARGEST_CHECKPOINT:
                what = f"has {size} bytes, more than any checkpoint that can be read ({LARGEST_CHECKPOINT})"
                raise Environment(path, what, "save its weights alone with torch.save(net.state_dict(), FILE)")
            _look_through(path, file, size)
            file.seek(0)
            found = _load(path, file)
    except OSError as error:
        raise Environment(path, f"cannot be read ({error.strerror})", "give a checkpoint file") from None
    if not isinstance(found, dict):
        what = f"holds no table of weights but {type(found).__name__}"
        raise Usage(path, what, "give a file that torch.save(net.state_dict(), FILE) wrote")
    return found


def weights(table: Any, path: Path) -> dict[str, Any]:
    """The same table, if it is names -> tensors of numbers that are all finite. Raises Usage or Integrity."""
    import torch

    if not isinstance(table, dict) or not table or not all(isinstance(v, torch.Tensor) for v in table.values()):
        raise Usage(path, "holds no table of weights by name", "give a checkpoint of the net")
    for name, values in table.items():
        if values.layout != torch.strided or values.numel() * values.element_size() > values.untyped_storage().nbytes():
            raise Integrity(path, f"its weight {str(name)[:60]} is larger than what is stored", "do not use it")
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            raise Integrity(path, f"its weight {str(name)[:60]} is not finite", "give another checkpoint")
    return table


def _look_through(path: Path, file: BufferedReader, size: int) -> None:
    """Raises Usage or Integrity; reads no more than what is announced and allowed."""
    try:
        if file.read(2) != b"PK":
            file.seek(0)
            for _ in range(OLD_PICKLES):
                _check_names(path, _names(file))
            return
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if any(Path(entry.filename).name == "constants.pkl" for entry in entries):
                raise Usage(path, "is TorchScript, not a checkpoint", "import it as a file of its own, with --recipe")
            packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)  # torch packs nothing
            if packed or sum(entry.file_size for entry in entries) > size or len(entries) > MOST_ENTRIES:
                raise Integrity(path, "unpacks to more than it is, as no checkpoint does", "do not use this file")
            pickles = [entry for entry in entries if Path(entry.filename).name == "data.pkl"]
            if len(pickles) != 1 or pickles[0].file_size > LARGEST_PICKLE:
                raise Usage(path, "is no file that torch.save wrote", "give a checkpoint")
            with archive.open(pickles[0]) as inner:
                _check_names(path, _names(inner))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise _damaged(path, error) from None


def _names(file: IO[bytes]) -> Iterator[str]:
    """What a pickle asks for by name. The numbers and texts in it are passed over."""
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".")
        elif opcode.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
            yield "something that it does not spell out"


def _check_names(path: Path, names: Iterator[str]) -> None:
    for name in names:
        if name not in NAMES:
            what = f"asks for {printable(name)[:80]}, which weights do not need: reading it could run code"
            raise Integrity(path, what, "ask its author for the weights alone (a state dict)")


def _load(path: Path, file: BufferedReader) -> Any:
    import numpy as np
    import torch

    scalar = type(np.float32(0)).__reduce__(np.float32(0))[0]  # the function behind both of SCALARS
    dtypes = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64)]
    allowed: list[Any] = [*((scalar, name) for name in SCALARS), np.dtype, *dtypes]
    try:
        with ExitStack() as meanwhile:
            meanwhile.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")  # of numbers in numpy's old places
            meanwhile.enter_context(torch.serialization.safe_globals(allowed))
            return torch.load(file, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch raises a dozen kinds
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> Integrity:
    reason = printable(str(error).splitlines()[0] if str(error) else type(error).__name__)[:120]
    return Integrity(path, f"is damaged, or no checkpoint ({reason})", "get the file again")
