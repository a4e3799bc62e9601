from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")

from Testing.engine.training.world import unoise_recipe, utility_recipe, write_world


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Nets this small are faster on one thread, and tests beside other work do not wait for a second one."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of five small patients with labels."""
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def utility_run(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A utility that has learned the ball."""
    from unoise_engine.training.fit import train_utility

    out = tmp_path_factory.mktemp("runs") / "utility"
    return train_utility(world, out, utility_recipe(max_steps=40, round_steps=20), device="cpu", progress="off")


@pytest.fixture(scope="session")
def unoise_run(world: Path, utility_run: Path) -> Path:
    from unoise_engine.training.fit import train_unoise

    out = utility_run.parent / "unoise"
    return train_unoise(world, utility_run, out, unoise_recipe(), device="cpu", progress="off")
