"""Processes that teach together: the mean step on every one of them, and one sentence for whatever ends them."""

import copy
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.engine.foreign.test_teach import world
from unoise_engine.errors import EngineError, Environment, Usage
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.manifest import read_manifest
from unoise_engine.models.runtime import onnxruntime
from unoise_engine.models.session import Bundle, providers

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

__all__ = ["world"]
STEPS, SIDE = 3, 16
OUTSIDE = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def silent(*told: Any) -> None:
    pass


def weights(graph: Any) -> Any:
    return {one.name: onnx.numpy_helper.to_array(one) for one in onnx.load_from_string(graph).graph.initializer}


def work_on(home: Path, devices: int) -> Any:
    from unoise_engine.foreign.learn import Teaching
    from unoise_engine.foreign.teach import Work

    manifest = read_manifest(home / "bundle").choosing("organ")
    how = Teaching(steps=STEPS, patch=SIDE)
    return Work(home / "bundle", manifest, (home / "ct0.nii.gz",), how, "cpu", devices)


def one_of_two(home: str, out: str) -> None:
    """What a process does that torchrun starts; its net goes to a file."""
    from unoise_engine.foreign.together import in_place, place_from_outside

    place = place_from_outside(2, 1)
    assert place is not None
    learnt = in_place(work_on(Path(home), 2), place, "cpu", silent)
    Path(out, f"{place.rank}.onnx").write_bytes(learnt.graph)


def by_hand(home: Path, processes: int) -> Any:
    """The net of a single loop that takes the mean of so many processes' gradients."""
    from unoise_engine.foreign import learn as l
    from unoise_engine.foreign.noise_graph import noise_graph
    from unoise_engine.foreign.noise_net import NoiseNet

    how = l.Teaching(steps=STEPS, patch=SIDE)
    bundle: Any = load_bundle(home / "bundle", "cpu", label="organ", threads=1)
    torch.manual_seed(0)
    chance = np.random.default_rng(0)
    (seen,) = l._look(bundle, [home / "ct0.nii.gz"])
    side = l.patch_size(bundle, SIDE)
    spread = float(np.concatenate([l._patch(seen, side, chance).ravel() for _ in range(4)]).std())
    net = NoiseNet(3)
    for _ in range(l.JUDGED):
        l._pair(l._patch(seen, side, chance), chance, "cpu")
    adam = torch.optim.Adam(net.parameters(), how.learning_rate)
    chances = [chance, *(np.random.default_rng([0, rank]) for rank in range(1, processes))]
    for _ in range(how.steps):
        found = []
        for one in chances:
            one.integers(1)  # which CT
            x, noise = l._pair(l._patch(seen, side, one), one, "cpu")
            adam.zero_grad()
            l.objective(bundle, net, x, noise, how, spread).backward()
            found.append([copy.deepcopy(p.grad) for p in net.parameters()])
        for p, *gradients in zip(net.parameters(), *found):
            p.grad = sum(gradients) / processes
        adam.step()
    return noise_graph(net.eval())


def start(home: Path, out: Path, *more: str) -> Any:
    words = ["train", "unoise", str(home / "ct0.nii.gz"), "--utility", str(home / "bundle"), "--label", "organ"]
    words += ["--patch", str(SIDE), "--device", "cpu", "--devices", "2", "-o", str(out), *more]
    return subprocess.Popen(
        [sys.executable, "-m", "unoise_engine", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def children(parent: Any) -> list[int]:
    """Those that teach; Python starts one more for itself."""
    told = subprocess.run(["ps", "-ww", "-o", "pid=,args=", "--ppid", str(parent)], capture_output=True, text=True)
    return [int(line.split()[0]) for line in told.stdout.splitlines() if "spawn_main" in line]


def is_there(pid: int) -> bool:
    told = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return bool(told) and not told.startswith("Z")  # ended, and nobody has asked how


def test_one_process_learns_as_ever(world: Path) -> None:
    from unoise_engine.foreign.learn import learn

    bundle: Any = load_bundle(world / "bundle", "cpu", label="organ", threads=1)
    learnt = learn(bundle, [world / "ct0.nii.gz"], work_on(world, 1).how, "cpu", silent)
    assert learnt.graph == by_hand(world, 1) and "processes" not in learnt.told


def test_two_processes_take_the_mean_step(world: Path, tmp_path: Path) -> None:
    """Started from outside or here, they learn the same, to the bit on each; as one does with both gradients."""
    from unoise_engine.foreign.teach import teach

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = f"from {__name__} import one_of_two; one_of_two({str(world)!r}, {str(tmp_path)!r})"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", command],
            env={**os.environ, **dict(zip(OUTSIDE, (rank, rank, "2", "127.0.0.1", port))), "OMP_NUM_THREADS": "1"},
        )
        for rank in "01"
    ]
    assert [one.wait(timeout=600) for one in started] == [0, 0]
    first, second = (Path(tmp_path, f"{rank}.onnx").read_bytes() for rank in "01")
    assert first == second
    heard: list[Any] = []
    work, bundle = work_on(world, 2), load_bundle(world / "bundle", "cpu", label="organ")
    tell = lambda *told: heard.append(told[:2])  # noqa: E731
    teach(bundle, work.paths, tmp_path / "out", work.how, "cpu", tell, devices=2)  # type: ignore[arg-type]
    assert heard == [(k, STEPS) for k in range(1, STEPS + 1)]
    assert read_manifest(tmp_path / "out").metrics["unoise"]["processes"] == 2
    assert sorted(one.name for one in tmp_path.iterdir()) == ["0.onnx", "1.onnx", "out"]
    learnt = (tmp_path / "out" / "unoise-near.onnx").read_bytes()
    found, wanted, alone = weights(learnt), weights(by_hand(world, 2)), weights(by_hand(world, 1))
    for name, values in weights(first).items():
        np.testing.assert_allclose(values, wanted[name], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-4, atol=1e-6)
    assert any(np.abs(found[name] - alone[name]).max() > 1e-4 for name in found), "both learn, not the first alone"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("how", ["killed", "interrupted", "left alone"])
def test_what_ends_one_ends_all_with_one_sentence(world: Path, tmp_path: Path, how: str) -> None:
    """A process is killed; a terminal's Ctrl-C reaches all of them; who started them is killed."""
    main = start(world, tmp_path / "out", "--steps", "1000000", "--progress", "json")
    try:
        began = time.monotonic()
        while not json.loads(main.stdout.readline() or "{}").get("done"):
            assert main.poll() is None and time.monotonic() - began < 900, main.stderr.read()
        both = children(main.pid)
        assert len(both) == 2
        if how == "killed":
            os.kill(both[1], signal.SIGKILL)
        elif how == "interrupted":
            os.killpg(main.pid, signal.SIGINT)
        else:
            main.kill()
        said = main.communicate(timeout=300)[1].splitlines()
    finally:
        main.kill()
    code, sentences = {
        "killed": (EngineError.exit_code, ["was killed or died"]),
        "interrupted": (130, ["interrupted"]),
        "left alone": (-signal.SIGKILL, []),
    }[how]
    assert main.returncode == code and len(said) == len(sentences), said
    assert all(sentence in line for sentence, line in zip(sentences, said))
    began = time.monotonic()
    while any(map(is_there, both)):
        assert how == "left alone" and time.monotonic() - began < 300
        time.sleep(0.1)
    assert [*tmp_path.iterdir()] == []


def refuses(place: Any, tell: Any) -> None:
    if place.rank:
        raise Usage("here", "is wrong", "mend it")
    place.averaged(torch.zeros(()), torch.nn.Linear(1, 1))


def dies(place: Any, tell: Any) -> None:
    if place.rank:
        os._exit(0)
    place.averaged(torch.zeros(()), torch.nn.Linear(1, 1))


@pytest.mark.parametrize(("work", "kind", "sentence"), [
    (refuses, Usage, "here - is wrong - mend it"),
    (dies, EngineError, "was killed or died"),
])  # fmt: skip
def test_the_fault_of_one_is_told_and_not_what_it_does_to_others(work: Any, kind: Any, sentence: str) -> None:
    from unoise_engine.foreign.together import side_by_side

    with pytest.raises(kind, match=sentence):
        side_by_side(work, 2, "cpu", silent)


def test_places_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    from unoise_engine.foreign.together import Place, place_from_outside

    for name in OUTSIDE:
        monkeypatch.delenv(name, raising=False)
    assert place_from_outside(4, 1) is None
    with pytest.raises(Usage, match=r"--num-nodes 2 - needs RANK.*torchrun"):
        place_from_outside(4, 2)
    for name, value in zip(OUTSIDE, ("5", "1", "8", "127.0.0.1", "1")):
        monkeypatch.setenv(name, value)
    assert place_from_outside(4, 2) == Place(5, 8, 1)
    with pytest.raises(Usage, match="--devices 3 --num-nodes 2 - does not fit the 8 processes"):
        place_from_outside(3, 2)
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(Usage, match="--num-nodes 2 - needs RANK"):
        place_from_outside(4, 2)


def test_each_process_asks_a_gpu_of_its_own(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: there)
    assert providers("auto") == there
    second = providers("cuda", 1)
    assert second == [("CUDAExecutionProvider", {"device_id": 1}), "CPUExecutionProvider"]
    bundle = Bundle(world / "bundle", read_manifest(world / "bundle").choosing("organ"), second)
    assert bundle.device == "cuda" and bundle.shuffled([], 0).device == "cuda"


def test_nobody_asks_for_gpus_that_are_not_there(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nets of our own and imported ones; before anything is read, so that the CTs need not exist."""
    from unoise_engine.cli.app import app

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for utility in (world / "bundle", tmp_path / "run"):
        words = ["train", "unoise", str(tmp_path / "no.nii"), "--utility", str(utility), "-o", str(tmp_path / "out")]
        with pytest.raises(Usage, match="--devices 3 - this machine has 2 of cuda"):
            app([*words, "--devices", "3"], standalone_mode=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Environment, match="device cuda"):
        app([*words, "--devices", "3", "--device", "cuda"], standalone_mode=False)
