"""The recipe file of TorchScript and ONNX files: the template reads, and every fault is named with its key."""

from pathlib import Path

import pytest

from unoise_engine.errors import Usage
from unoise_engine.foreign.recipe_file import read_recipe
from unoise_engine.foreign.template import TEMPLATE
from unoise_engine.models.preparation import Step


def written(path: Path, text: str = TEMPLATE) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_the_template_is_a_recipe(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path / "recipe.toml"))
    assert recipe.labels == {"liver": 1, "tumour": 2} and recipe.channels == 3
    assert recipe.preparation.steps[1] == Step("clip", (-57, 164))
    assert recipe.example == (1, 1, 96, 96, 96)


def test_whole_images_are_tried_on_a_multiple(tmp_path: Path) -> None:
    text = TEMPLATE.replace("size = [96, 96, 96]", "size = []\nmultiple_of = 48")
    assert read_recipe(written(tmp_path / "recipe.toml", text)).example == (1, 1, 96, 96, 96)


@pytest.mark.parametrize(("old", "new", "word"), [
    ('outputs = "softmax"', 'outputs = "argmax"', "outputs"),
    ('outputs = "softmax"', 'outputs = "logit"', "logits"),
    ('outputs = "softmax"', "", "[outputs] is missing"),
    ('name = "my-liver-net"', 'name = " "', "[model]"),
    ('name = "my-liver-net"', "nome = 1", "unknown key 'nome'"),
    ("liver = 1", "liver = 0", "liver"),
    ("liver = 1", "liver = 1.0", "[labels]"),
    ("liver = 1", '"=cmd()" = 1', "labels"),
    ("tumour = 2", "tumour = 1", "same number"),
    ('axes = "RAS"', 'axes = "RAR"', "[preparation]"),
    ("rank = 3", "rank = 4", "rank"),
    ("rank = 3", "rank = 2", "first axis"),
    ("spacing_mm = [1.5, 1.5, 2.0]", "spacing_mm = [1.5, 1.5]", "[spacing_mm]"),
    ("spacing_mm = [1.5, 1.5, 2.0]", "spacing_mm = [0, 0, 0]", "resample"),
    ("spacing_mm = [1.5, 1.5, 2.0]", "spacing_mm = [nan, 1, 1]", "finite"),
    ('do = "clip"', 'do = "eval"', "'eval'"),
    ("values = [-57, 164]", "values = [164, -57]", "low of clip"),
    ("values = [-57, 164]", "values = [164]", "low, high"),
    ('rule = "first"', 'rule = "last"', "[resampling]"),
    ("size = [96, 96, 96]", "size = [96, 96]", "window size"),
    ("size = [96, 96, 96]", "size = [96, 96, -1]", "window size"),
    ("step = 0.5", "step = 0", "step"),
    ("margin = []", "margin = [60, 0, 0]", "margin"),
    ("fill = 0.0", "fill = 'x'", "[fill]"),
    ("fill = 0.0", "fill = ", "TOML"),
])  # fmt: skip
def test_a_fault_is_named_with_file_and_key(tmp_path: Path, old: str, new: str, word: str) -> None:
    assert old in TEMPLATE
    with pytest.raises(Usage) as told:
        read_recipe(written(tmp_path / "recipe.toml", TEMPLATE.replace(old, new)))
    assert word in str(told.value) and "recipe.toml" in str(told.value) and "\n" not in str(told.value)


def test_what_is_no_recipe(tmp_path: Path) -> None:
    for content in (b"\xff\xfe", b"[" * 5000, b"#" * (2 << 20)):
        (tmp_path / "recipe.toml").write_bytes(content)
        with pytest.raises(Usage, match=r"recipe.toml"):
            read_recipe(tmp_path / "recipe.toml")
    with pytest.raises(Usage, match=r"none.toml .* --template"):
        read_recipe(tmp_path / "none.toml")
    with pytest.raises(Usage):
        read_recipe(tmp_path)
