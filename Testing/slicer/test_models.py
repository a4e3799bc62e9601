"""Which models there are, what they say of themselves, and what of that the panel shows."""

from __future__ import annotations

import json
import types
from pathlib import Path

import pytest

pytest.importorskip(
    "slicer.slicer_core", reason="slicer-core cannot be loaded: make test-slicer installs it", exc_type=ImportError
)

from UNoiseSlicerLib import exchange, models

from unoise_engine.models import manifest, session

CARD = {"title": "Spleen", "synthetic": False, "licence": "CC BY 4.0", "training_data": "Real CTs of\nan archive"}


def bundle(folder, **facts):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bundle.json").write_text(json.dumps(CARD | facts), encoding="utf-8")
    return str(folder)


def test_every_shipped_model_is_offered_the_engines_default_first():
    found = models.shipped_models()
    assert next(iter(found)) == session.DEFAULT_BUNDLE == models.engine_default(models.engine_home())
    assert found == session.shipped_bundles() and models.find_model("") == found[session.DEFAULT_BUNDLE]
    for name, folder in found.items():
        assert models.describe(name).warning == manifest.read_manifest(folder).warning, "as the engine says it"


def test_another_default_comes_first(tmp_path, monkeypatch):
    """Whatever ships, and however the engine writes its default down."""
    home = tmp_path / "home"
    for name in ("a-phantom", "b-patients", "c-phantom"):
        bundle(home / "Resources" / "Models" / name)
    (home / "unoise_engine" / "models").mkdir(parents=True)
    monkeypatch.setattr(models, "engine_home", lambda: home)
    source = home / "unoise_engine" / "models" / "session.py"
    for text in ('DEFAULT_BUNDLE = "b-patients"', "x = 1\nDEFAULT_BUNDLE: Final = 'b-patients'  # the best\n"):
        source.write_text(text)
        assert list(models.shipped_models()) == ["b-patients", "a-phantom", "c-phantom"]
        assert models.find_model("").name == "b-patients"
    for text in ("DEFAULT_BUNDLE = choose()", "", 'DEFAULT_BUNDLE = "gone"'):
        source.write_text(text)
        assert list(models.shipped_models()) == ["a-phantom", "b-patients", "c-phantom"]


@pytest.mark.parametrize("synthetic", [True, False])
def test_demonstration_and_research_models_say_so(synthetic, tmp_path):
    warning = models.describe(bundle(tmp_path / "m", synthetic=synthetic)).warning
    assert ("Demonstration model" in warning) == synthetic and ("Research model" in warning) != synthetic
    assert warning.endswith("Not for clinical use.")


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a":' * 100_000, '{"title": "x"', "5", "[]", "null", '{"title": 5, "synthetic": true}',
     '{"title": "x", "synthetic": true, "recipe": {"spacing_mm": "2"}}', '{"title": "x", "synthetic": 1, "files": 3}',
     '{"title": "x", "synthetic": true, "recipe": {"multiple_of": 0}}', '{"title": "x", "synthetic": 1, "recipe": []}',
     '{"title": "x", "synthetic": true, "files": {"utility.onnx": {"bytes": null}}}', "x" * (2 << 20), '"\xff"'],
)  # fmt: skip
def test_a_card_by_anybody_is_described_or_refused(text, tmp_path):
    (tmp_path / "bundle.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(exchange.Refused, match=r"bundle\.json cannot be read") as refusal:
        models.describe(str(tmp_path))
    assert "\n" not in str(refusal.value)


def test_words_of_a_card_are_fit_to_be_shown(tmp_path):
    odd = "\x1b[31mred\u202e\nand <b>bold</b>" + "W" * 9000
    model = models.describe(bundle(tmp_path / "m", title=odd, attribution=odd, citation=odd))
    assert model.title.startswith("[31mred and <b>bold</b>WW") and len(model.title) == 200
    for shown in (model.about, model.details):
        assert all(line.isprintable() and len(line) < 4100 for line in shown.split("\n"))
    assert "<" not in model.details


def test_attribution_and_citation_are_shown_if_there_are_any(tmp_path):
    plain = models.describe(bundle(tmp_path / "m"))
    assert plain.about == plain.warning
    assert plain.details == "Trained on: Real CTs of an archive\nLicence: CC BY 4.0"
    owed = models.describe(bundle(tmp_path / "m", attribution="CTs: An Archive (CC BY 4.0)", citation="Doe 2026"))
    assert owed.about == f"{owed.warning}\nCTs: An Archive (CC BY 4.0)"
    assert owed.details.endswith("\nPlease cite: Doe 2026")
    for odd in (None, 7, ["a"], {}):
        assert models.describe(bundle(tmp_path / "m", attribution=odd, citation=odd)).about == plain.about


@pytest.mark.parametrize("matrix", ["STRAIGHT", "OBLIQUE", "TURNED"])
@pytest.mark.parametrize(("patch", "stride"), [(15, 12), (3, 1), (15, 2), (250, 7), (15, 0)])
@pytest.mark.parametrize("spacing", [0.45, 1.49])  # 24 mm / 1.49 mm: a little over 16 pixels
def test_the_estimate_counts_the_passes_of_the_engine(matrix, patch, stride, spacing, world, tmp_path):
    """The engine's own places on the slices that it makes of the file that it is sent."""
    from UNoiseSlicerLib import scene_tests

    from unoise_engine.explanation import lattice
    from unoise_engine.models.input import Input
    from unoise_engine.models.recipe import Recipe
    from unoise_engine.volume.read import read_image

    ct = scene_tests.add_ct(world.scene, getattr(scene_tests, matrix))
    exchange.write_ct(ct, tmp_path / "ct.nrrd")
    recipe = Recipe(spacing_mm=spacing)
    engine = read_image(tmp_path / "ct.nrrd")
    rows, columns = Input.of(engine, recipe).shape[1:]
    places = len(lattice._corners(rows, patch, stride or 8)) * len(lattice._corners(columns, patch, stride or 8))
    model = models.describe(bundle(tmp_path / "m", recipe=recipe.to_dict()))
    asked = types.SimpleNamespace(slices=(2, 6), patch=patch, stride=stride)
    assert models.occlusion_seconds(ct, model, asked, {}) == pytest.approx(4 * places * models.SECONDS_A_PASS)
    ran = {"settings": {"axial_slices": [0, 2], "occlusion": {"patch": patch, "stride": stride}}}
    for seconds, expected in (({"segmentation": 1.0}, 4 * places / 2), ({"segmentation": 1.0, "occlusion": 5.0}, 10)):
        guess = models.occlusion_seconds(ct, model, asked, ran | {"seconds": seconds})
        assert guess == pytest.approx(expected), "by the last run's speed"


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(exchange.Refused, match="is no model"):
        models.describe(str(tmp_path))
    for text in ("", "[]", "{}", "{"):
        (tmp_path / "bundle.json").write_text(text)
        with pytest.raises(exchange.Refused, match="get the model again"):
            models.describe(str(tmp_path))


def test_no_text_of_the_module_names_a_model():
    """Which models ship is decided elsewhere."""
    names = set(session.shipped_bundles())
    for path in (
        *Path(models.__file__).parent.parent.rglob("*.py"),
        *Path(__file__).parent.rglob("*.py"),
    ):
        assert not [name for name in names if name in path.read_text(encoding="utf-8")], path
