"""Every line that pages and messages tell people to install by, as a stranger would type it: in a fresh clone and in
fresh environments. Packages come from pip's usual places. Needs minutes: `make test-install`.

Lines that bring PyTorch are resolved and not installed (`--dry-run`): they are gigabytes.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from Testing.engine.test_docs import PAGES, blocks
from unoise_engine.lab.phantom.write import write_phantoms

pytestmark = [
    pytest.mark.fresh,
    pytest.mark.skipif(
        os.name == "nt" or shutil.which("git") is None, reason="the lines are for a POSIX shell with git"
    ),
]
ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "https://github.com/SlicerUNoise/SlicerUNoise.git"
LINE = re.compile(r"pip (?:install|wheel) [^`#\n]+")
GIGABYTES = re.compile(r"torch|\[[^\]]*(train|import)")


def pip_blocks(page: Path) -> list[list[str]]:
    """The pip lines of a page, those of one block together; one in a sentence stands alone."""
    text = page.read_text("utf-8")
    fenced = [[line.strip() for line in LINE.findall(code)] for _, language, code in blocks(page) if language == "sh"]
    outside = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return [some for some in fenced if some] + [[line.strip()] for line in LINE.findall(outside)]


WITH_LINES = [page for page in PAGES if page.name != "README.md" and pip_blocks(page)]


def shell(script: str, home: Path, fails: bool = False, **more: str) -> str:
    """Runs it as somebody would who has this Python as python3, git, and a home without settings of ours."""
    python = Path(getattr(sys, "_base_executable", "") or sys.executable)
    (home / "bin").mkdir(parents=True, exist_ok=True)
    if not (home / "bin" / "python3").exists():
        (home / "bin" / "python3").symlink_to(python)
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")}
    from_here = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{ROOT.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": ADDRESS,
    }
    environment = {**kept, **from_here, "PATH": f"{home / 'bin'}:/usr/local/bin:/usr/bin:/bin", **more}
    done = subprocess.run(
        ["sh", "-ec", script], cwd=home, env=environment, capture_output=True, text=True, timeout=1800
    )
    assert fails or done.returncode == 0, f"{script}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout + done.stderr


def tried(line: str) -> str:
    return line.replace("pip install", "pip install --dry-run -q", 1) if GIGABYTES.search(line) else line


def test_the_readme_alone_leads_from_nothing_to_an_explained_ct(tmp_path: Path) -> None:
    """Its blocks, in order and as they stand, with a CT and a folder of CTs where it speaks of them."""
    text = "\n".join(code if language == "sh" else f"python - <<'END'\n{code}END\n"
                     for _, language, code in blocks(ROOT / "README.md"))  # fmt: skip
    (mine,) = write_phantoms(tmp_path / "mine", 1, 0, size=96, slices=24)
    mine.rename(mine.with_name("ct.nii.gz"))
    (tmp_path / "mine" / "COHORT").mkdir()
    for one in write_phantoms(tmp_path / "others", 2, 1, size=96, slices=24):
        one.rename(tmp_path / "mine" / "COHORT" / one.name)
    install, rest = text.split("pip install", 1)
    line, rest = rest.split("\n", 1)
    shell(f"{install}pip install{line}\ncp -r {shlex.quote(str(tmp_path / 'mine'))}/* .\n{rest}", tmp_path / "home")
    clone = tmp_path / "home" / "SlicerUNoise"
    for made in ("demo/*/overview.png", "out/case-0001/overview.png", "results/summary.html", "explained/report.json"):
        assert [*clone.glob(made)], made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a clone of what is committed."""
    home = tmp_path_factory.mktemp("wheel")
    shell(f"git clone -q {ADDRESS} clone && python3 -m venv v && v/bin/pip wheel -q --no-deps ./clone -w wheels", home)
    (made,) = (home / "wheels").glob("unoise_engine-*.whl")
    return made


@pytest.mark.parametrize("page", WITH_LINES, ids=lambda page: page.stem)
def test_every_line_of_a_page_installs(page: Path, tmp_path: Path) -> None:
    shell(f"git clone -q {ADDRESS} clone", tmp_path)
    for k, lines in enumerate(pip_blocks(page)):
        steps = [f"cd clone; python3 -m venv ../v{k}; . ../v{k}/bin/activate", *map(tried, lines)]
        if not any(GIGABYTES.search(line) or line.startswith("pip wheel") for line in lines):
            steps += ["cd ..", "unoise_engine --version", "unoise_engine bundle verify"]
        shell("\n".join(steps), tmp_path)


MESSAGES = {
    "dicom": "unoise_engine explain ct.nii.gz -o out --format dicom",
    "plot": 'python -c \'import unoise_engine as u; u.explain("ct.nii.gz", "unoise").plot()\'',
    "cluster": "unoise_engine explain ct.nii.gz -o out --cluster tcp://127.0.0.1:1",
    "train": "unoise_engine train utility . -o run",
    "": "pip uninstall -q -y onnxruntime; unoise_engine explain ct.nii.gz -o out",
}


@pytest.mark.parametrize("extra", MESSAGES)
def test_what_a_message_says_installs_what_it_misses(extra: str, wheel: Path, tmp_path: Path) -> None:
    """From the built wheel, without extras. Afterwards the message does not come again."""
    (mine,) = write_phantoms(tmp_path / "phantom", 1, 0, size=96, slices=24)
    mine.rename(tmp_path / "ct.nii.gz")
    active = ". v/bin/activate\n"
    shell(f"python3 -m venv v\n{active}pip install -q {shlex.quote(str(wheel))}", tmp_path)
    said = shell(active + MESSAGES[extra], tmp_path, fails=True)
    (line,) = re.findall(r"run: (pip install .*)", said) or [said]
    assert line.startswith("pip install"), said
    shell(active + tried(line), tmp_path)
    if tried(line) == line:
        assert "pip install" not in shell(active + MESSAGES[extra].split("; ")[-1], tmp_path, fails=True)


def test_lines_are_found_and_gigabytes_are_known(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text('```sh\npip install ".[plot]"   # so\npip wheel . -w w\n```\nor `pip install ".[dicom]"`.\n')
    assert pip_blocks(page) == [['pip install ".[plot]"', "pip wheel . -w w"], ['pip install ".[dicom]"']]
    assert GIGABYTES.search('pip install ".[plot,train]"') and not GIGABYTES.search('pip install ".[plot]"')
