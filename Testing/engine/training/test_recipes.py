from pathlib import Path
from typing import Any

import pytest

from Testing.engine.training.world import unoise_recipe, utility_recipe
from unoise_engine.cli.train import so_long
from unoise_engine.errors import Usage
from unoise_engine.training.card import Card, read_card
from unoise_engine.training.recipes import Net, Noise, UNoiseRecipe, UtilityRecipe, read_recipe, write_recipe
from unoise_engine.training.tables import to_toml

RECIPES = Path(__file__).parents[3] / "Resources" / "Recipes"


@pytest.mark.parametrize("recipe", [utility_recipe(lr=1e-7), unoise_recipe()])
def test_what_is_written_reads_back_equal(recipe: Any, tmp_path: Path) -> None:
    assert read_recipe(write_recipe(recipe, tmp_path), type(recipe)) == recipe


def test_the_recipes_that_ship() -> None:
    utilities = [read_recipe(p, UtilityRecipe) for p in RECIPES.glob("*utility*.toml")]
    noises = [read_recipe(p, UNoiseRecipe) for p in RECIPES.glob("*unoise*.toml")]
    cards = [read_card(p) for p in RECIPES.glob("*card*.toml")]
    assert utilities and noises and cards


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[fit]\nmax_steps = 8\nlearning_rate = 1", ["[fit]", "learning_rate", "lr"]),
        ("[fitt]\nmax_steps = 8", ["fitt", "fit"]),
        ("[net]\ndepth = 4", ["[fit]", "missing"]),
        ("fit = 3", ["[fit]", "table"]),
        ("[fit]\nmax_steps = 8.5", ["max_steps", "whole number", "8.5"]),
        ("[fit]\nmax_steps = true", ["max_steps", "whole number"]),
        ("[fit]\nmax_steps = 8\nlr = 'fast'", ["lr", "number", "fast"]),
        ("[fit]\nmax_steps = 8\nlr = nan", ["lr", "finite"]),
        ("[fit]\nmax_steps = 8\nlr = -1", ["lr", "-1"]),
        ("[fit]\nmax_steps = 8\nepochs = 2", ["epochs", "max_steps"]),
        ("[fit]\nmax_steps = 8\nprecision = 'int4'", ["precision", "int4", "auto"]),
        ("[fit]\nmax_steps = 8\nloss = 'l2'", ["loss", "l2", "bce+dice"]),
        ("[fit]\nmax_steps = 8\n[augment]\nflip = 1", ["flip", "true or false"]),
        ("[fit]\nmax_steps = 8\n[augment]\nscale = 2", ["scale", "0.9"]),
        ("[fit]\nmax_steps = 8\n[data]\nlabels = 7", ["labels", "list"]),
        ("[fit]\nmax_steps = 8\n[data]\nlabels = [0]", ["labels", "background"]),
        ("[fit]\nmax_steps = 8\n[data]\nlabels = ['liver']", ["labels", "whole number"]),
        ("[fit]\nmax_steps = 8\n[data]\nval_share = 0.6\ntest_share = 0.5", ["val_share", "test_share"]),
        ("[fit]\nmax_steps = 8\n[data]\npatient = '('", ["patient", "regular expression"]),
        ("[fit]\nmax_steps = 8\n[ct]\nwindow_hu = [240, -160]", ["window_hu", "rise"]),
        ("[fit]\nmax_steps = 8\n[ct]\nwindow_hu = [1, 2, 3]", ["window_hu", "list of 2"]),
        ("[fit]\nmax_steps = 8\n[ct]\nmultiple_of = 8", ["multiple_of", "16"]),
        ("[fit]\nmax_steps = 8\n[draw]\ncrop = 100", ["crop", "16"]),
        ("[fit\n", ["TOML"]),
    ],
)
def test_nonsense_is_refused_in_one_sentence(line: Any, words: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(line)
    with pytest.raises(Usage) as refusal:
        read_recipe(path, UtilityRecipe)
    sentence = str(refusal.value)
    assert "mine.toml" in sentence and "\n" not in sentence
    assert all(word in sentence for word in words), sentence


def test_a_noise_model_of_any_shape() -> None:
    assert (Noise().net, Noise("small").net) == (Net(4, 16), Net(2, 16))
    assert Noise("small", depth=5, first_channels=4).net == Net(5, 4)
    with pytest.raises(ValueError, match="depth must lie in"):
        Noise(depth=9)


@pytest.mark.parametrize(("steps", "ends", "each"), [(120, 120, 60), (7, 7, 7), (250, 252, 84), (0, 400, 100)])
def test_as_many_steps_as_are_asked_for(steps: int, ends: int, each: int) -> None:
    recipe = unoise_recipe(max_steps=400, round_steps=100)
    fit = so_long(recipe, steps).fit
    assert fit.round_steps == each and -(-fit.max_steps // each) * each == ends


def test_an_unknown_size(tmp_path: Path) -> None:
    (tmp_path / "n.toml").write_text("[fit]\nepochs = 1\n[noise]\nsize = 'huge'\n")
    with pytest.raises(Usage, match=r"small, medium, large.*huge"):
        read_recipe(tmp_path / "n.toml", UNoiseRecipe)


def test_unoise_has_no_other_loss_than_the_paper_s(tmp_path: Path) -> None:
    (tmp_path / "n.toml").write_text("[fit]\nepochs = 1\nloss = 'bce'\n")
    with pytest.raises(Usage, match=r"\[fit\].*'loss'"):
        read_recipe(tmp_path / "n.toml", UNoiseRecipe)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(Usage, match=r"none\.toml - cannot be read"):
        read_recipe(tmp_path / "none.toml", UtilityRecipe)


def test_text_survives_toml() -> None:
    recipe = utility_recipe()
    odd = UtilityRecipe(fit=recipe.fit, data=type(recipe.data)(organ='Bauchspeicheldrüse "head" \\ 胰'))
    import tomllib

    assert tomllib.loads(to_toml(odd))["data"]["organ"] == odd.data.organ


def test_a_card_without_title(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text("training_data = 'x'\n")
    with pytest.raises(Usage, match=r"card\.toml - \[title\] is missing"):
        read_card(tmp_path / "card.toml")
    with pytest.raises(ValueError, match="title"):
        Card(title=" ", training_data="x")
