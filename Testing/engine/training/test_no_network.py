"""Training and export open no connection and write nothing beside their output."""

from pathlib import Path
from typing import Any

from Testing.engine.watched import ROOT, Watched, needs_strace


def test_training_and_export(world: Any, utility_run: Any, unoise_run: Any, tmp_path: Path) -> None:
    needs_strace()
    watched = Watched(tmp_path / "watched")
    out = watched.folder / "out"
    run = watched.run(
        "-c",
        "import sys\n"
        "from pathlib import Path\n"
        "from Testing.engine.training.world import utility_recipe\n"
        "from unoise_engine.training.export import export_bundle\n"
        "from unoise_engine.training.fit import train_utility\n"
        "world, utility, unoise, out, card = map(Path, sys.argv[1:])\n"
        "recipe = utility_recipe(max_steps=20, round_steps=10)\n"
        "train_utility(world, out / 'run', recipe, device='cpu', progress='off')\n"
        "export_bundle(utility, unoise, out / 'bundle', card=card)\n",
        world,
        utility_run,
        unoise_run,
        out,
        ROOT / "Resources" / "Recipes" / "phantom-card.toml",
    )
    watched.assert_quiet(run, out)
