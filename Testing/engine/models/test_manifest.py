"""Manifests by anybody: every value is checked where it is read, and words are fit to be shown."""

import copy as copies
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from unoise_engine.errors import Integrity
from unoise_engine.models.bundles import DEFAULT_BUNDLE, find_bundle
from unoise_engine.models.manifest import model_hash, read_manifest
from unoise_engine.models.text import one_line
from unoise_engine.strict_json import read_json

SHIPPED = find_bundle(DEFAULT_BUNDLE)
SHIPPED_HASH = "5853d8eeaf4a787803cf07f9a327db7647158dcd47ba071f7dd7bee237f6a2b9"
HUGE = 10**400
ODD: list[Any] = [None, True, 0, -1, 1.5, HUGE, "", "x", "\ud800", [], [1], [[]], ["x", None], {}, {"a": 1}, {"": {}}]


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    shutil.copyfile(SHIPPED / "bundle.json", tmp_path / "bundle.json")
    return tmp_path


def edited(folder: Any, **changes: Any) -> Any:
    path = folder / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


def places(value: Any, path: Any = ()) -> Any:
    """The path of every value in nested tables and lists."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


def test_what_ships_reads_as_it_is_written() -> None:
    manifest, body = read_manifest(SHIPPED), json.loads((SHIPPED / "bundle.json").read_text())
    assert {**json.loads(manifest.to_json()), **body} == body
    assert model_hash(manifest) == SHIPPED_HASH


def test_a_value_of_any_type_anywhere_is_read_or_refused_in_one_sentence(folder: Any) -> None:
    body = json.loads((folder / "bundle.json").read_text())
    refused = 0
    for path in places(body):
        if path[:1] in (("metrics",), ("architecture",)) and len(path) > 2:
            continue  # facts of any shape
        for odd in ODD:
            changed = copies.deepcopy(body)
            if path:
                inside = changed
                for key in path[:-1]:
                    inside = inside[key]
                inside[path[-1]] = odd
            else:
                changed = odd
            (folder / "bundle.json").write_text(json.dumps(changed))
            try:
                manifest = read_manifest(folder)
            except Integrity as error:
                refused += 1
                assert str(error).isprintable() and len(str(error)) < 700, (path, odd)
            else:
                assert json.loads(manifest.to_json()), (path, odd)
                model_hash(manifest)
    assert refused > 500


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"std": [1e-300]}, "std"),
        ({"std": [0]}, "std"),
        ({"std": ["0.25"]}, r"\[recipe\] \[std\] must be a number"),
        ({"mean": [1e30]}, "mean"),
        ({"window_hu": [-160, 1e30]}, "window_hu"),
        ({"window_hu": [240, -160]}, "window_hu must rise"),
        ({"window_hu": [0]}, "list of 2"),
        ({"multiple_of": 8192}, "multiple_of must lie in 1 .. 512"),
        ({"multiple_of": 16.0}, "whole number"),
        ({"spacing_mm": "2 mm"}, r"\[spacing_mm\] must be a number"),
        ({"spacing_mm": HUGE}, "must be finite"),
        ({"channels": 10**9}, "channels"),
        ({"channels": True}, "whole number"),
    ],
)
def test_recipes_that_no_slice_can_be_made_by(folder: Any, recipe: Any, said: Any) -> None:
    with pytest.raises(Integrity, match=said):
        read_manifest(edited(folder, recipe=recipe))


@pytest.mark.parametrize(
    "labels",
    [{"o": 0}, {"o": -7}, {"o": 256}, {"o": 1.0}, {"o": True}, {"": 1}, {"a\x1b[31m": 1}, {"a\u202eb": 1}, {"a\nb": 1},
     {"a\ud800": 1}, {"o" * 81: 1}, {" o": 1},
     {"=cmd|' /C calc'!A1": 1}, {"@o": 1}, {"fine": 1, "wrong": 0}, ["o"], {}],
)  # fmt: skip
def test_labels_that_no_mask_can_hold(folder: Any, labels: Any) -> None:
    with pytest.raises(Integrity, match="labels"):
        read_manifest(edited(folder, labels=labels))
    assert read_manifest(edited(folder, labels={"Bauchspeicheldrüse 胰": 255})).organ == "Bauchspeicheldrüse 胰"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": NaN}', "finite"), ('{"a": -Infinity}', "finite"), ('{"a": 1e999}', "finite"),
        ('{"a": 1, "a": 2}', "twice"), ('{"b": {"a": 1, "a": 1}}', "twice"),
        ("[" * 100_000 + "]" * 100_000, "deep"), ('{"a":' * 100_000 + "1" + "}" * 100_000, "deep"),
        ("[" * 100_000, "deep"), ("1" * 10_000, "digits"), ("\xff", "codec"), ('"\\ud8', "escape"), ("{", "Expecting"),
        ("", "Expecting"),
    ],
)  # fmt: skip
def test_json_that_has_no_one_meaning(text: Any, said: Any) -> None:
    with pytest.raises(ValueError, match=said):
        read_json(text.encode("latin-1"), 1 << 20)


def test_json_that_is_fine() -> None:
    deep = "[" * 30 + "]" * 30
    assert read_json(b'{"a": [1, 2.5, null, "[[[[{{{{\\"[["], "b": true}', 100)["a"][:2] == [1, 2.5]
    assert read_json(deep.encode(), 100) == json.loads(deep)
    assert read_json(f'["{"[" * 1000}"]'.encode(), 2000) == ["[" * 1000]
    with pytest.raises(ValueError, match="larger than 5 bytes"):
        read_json(b"[1, 2]", 5)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Pancreas, 2 mm", "Pancreas, 2 mm"),
        ("\x1b]0;PWNED\x07\x1b[2Jred\x9b31m", "]0;PWNED[2Jred31m"),
        ("a\u202eevil\u2066b\u200fc\ufeff", "aevilbc"),
        ("a\0b\ud800c\U0010ffff", "abc"),
        ("  two\nlines\r\n\tand\u2028more ", "two lines and more"),
        (r"$\frac{1$ <b> =cmd| ä胰", r"$\frac{1$ <b> =cmd| ä胰"),
        ("W" * 200_000, "W" * 197 + "..."),
        ("", ""),
    ],
)
def test_words_are_fit_to_be_shown(folder: Any, text: Any, shown: Any) -> None:
    assert one_line(text, 200) == shown
    assert read_manifest(edited(folder, title=text)).title == shown
    edited(folder, title="short")
    for name in ("licence", "citation", "attribution", "training_data", "intended_use", "name"):
        said = getattr(read_manifest(edited(folder, **{name: text})), name)
        edited(folder, **{name: "short"})
        assert said.isprintable() and len(said) <= 4000 and said[:100] == shown[:100]


def test_facts_are_fit_to_be_shown(folder: Any) -> None:
    facts = {"a\x1b[31m": ["b\u202e", {"c": "\x9b"}], "n": 1}
    manifest = read_manifest(edited(folder, metrics=facts, architecture=facts))
    assert manifest.metrics == manifest.architecture == {"a[31m": ["b", {"c": ""}], "n": 1}
    nested = facts
    for _ in range(20):
        nested = {"in": nested}
    with pytest.raises(Integrity, match="deep"):
        read_manifest(edited(folder, metrics=nested))


@pytest.mark.parametrize(
    ("files", "told", "expected"),
    [
        (("unoise",), {"depth": 2}, {"noise": "unoise"}),
        (("unoise",), {"depth": 2, "cell": 4}, {"near": "unoise"}),  # as bundles were before the near net had a name
        (("unoise",), {"for": "spleen"}, {"near": "unoise"}),
        (("unoise",), {"cell": 4, "near": False}, {"noise": "unoise"}),
        (("unoise", "unoise-near"), {"depth": 4}, {"near": "unoise-near", "noise": "unoise"}),
        (("unoise-near",), None, {"near": "unoise-near"}),
        ((), None, {}),
    ],
)
def test_which_noise_models_there_are(files: Any, told: Any, expected: Any) -> None:
    manifest = read_manifest(SHIPPED)
    entry = next(iter(manifest.files.values()))
    architecture = {"unoise": told} if told else {}
    changed = replace(manifest, files={f"{stem}.onnx": entry for stem in files}, architecture=architecture)
    assert changed.noise_models == expected
