"""What gets published is this very tree, as one commit, and small enough for Slicer's extension index."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ALLOWED_BYTES = 100_000_000  # by the extension index, for a clone


def git(folder: Any, *words: Any) -> Any:
    return subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.skipif(shutil.which("make") is None or not (ROOT / ".git").exists(), reason="no make, or no repository")
def test_the_release_is_this_tree_without_its_history() -> None:
    subprocess.run(["make", "-s", "release-tree"], cwd=ROOT, check=True, capture_output=True)
    release = ROOT / "dist" / "release"
    try:
        assert git(release, "rev-list", "--count", "HEAD") == "1" and git(release, "status", "--porcelain") == ""
        assert git(release, "rev-parse", "HEAD^{tree}") == git(ROOT, "rev-parse", "HEAD^{tree}")
        assert git(release, "branch", "--format", "%(refname:short)") == "main"
        size = sum(p.stat().st_size for p in release.rglob("*") if p.is_file())
        assert size < 0.6 * ALLOWED_BYTES, f"{size / 1e6:.0f} MB"
    finally:
        shutil.rmtree(release)
