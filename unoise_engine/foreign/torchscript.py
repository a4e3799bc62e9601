"""A TorchScript file with a recipe file. TorchScript is code: it is only loaded when its user vouches for it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from unoise_engine.errors import Usage, printable
from unoise_engine.foreign import need
from unoise_engine.foreign.recipe_file import read_recipe
from unoise_engine.foreign.source import Source


def read_torchscript(path: Path, recipe_path: Path, trust: bool = False) -> Source:
    """The module in `path`, windows (n, 1, *s) -> logits, and what `recipe_path` tells of it.

    Raises Usage without `trust`, and for what is no TorchScript; MissingExtra without torch.
    """
    recipe = read_recipe(recipe_path)
    return recipe.source("TorchScript", net=load_script(path, trust))


def load_script(path: Path, trust: bool) -> Any:
    """A ScriptModule in evaluation mode, on the CPU. Raises Usage."""
    if not trust:
        what = "is TorchScript, which is code that would run here"
        raise Usage(path, what, "give --trust if you know who made it, or its weights or an ONNX file instead")
    if not path.is_file():
        raise Usage(path, "is not there", "give a TorchScript file")
    need("torch")
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit is on its way out, and says so
            net = torch.jit.load(str(path), map_location="cpu")
    except (RuntimeError, ValueError, OSError) as error:
        said = next(iter(printable(str(error).strip()).split("\\n")), "")[:200]
        what = f"cannot be read as TorchScript ({said})"
        raise Usage(path, what, "save it with torch.jit.save, or export it to ONNX") from None
    for weight in net.parameters():
        weight.requires_grad_(False)
    return net.eval()
