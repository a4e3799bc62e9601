"""What is ours, and what is not: worlds of a few files."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unoise_engine import files
from unoise_engine.errors import Environment, Usage
from unoise_engine.files import INVENTORY, new_file, new_folder, write

REFUSED = "move it away, or choose another output folder"


def identity(path: Any) -> Any:
    status = os.lstat(path)
    return status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns


def hidden(folder: Any) -> Any:
    return sorted(p.name for p in folder.rglob(".*") if p.name != INVENTORY)


def test_a_file_is_new_the_same_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write(path, "first")
    write(path, "first")
    with pytest.raises(Environment, match=r"a\.txt - exists already"):
        write(path, "second")
    write(path, "second", replace=True)
    write(path, "third", replace=True)
    assert path.read_text() == "third" and not hidden(tmp_path)
    assert f"{hashlib.sha256(b'third').hexdigest()}  a.txt\n" in (tmp_path / INVENTORY).read_text()


@pytest.mark.parametrize("mine", ["written by hand", "corrected", "a link", "a folder", "a dangling link"])
@pytest.mark.parametrize("act", ["write", "remove", "grow"])
def test_what_is_not_ours_stays(tmp_path: Path, mine: Any, act: Any) -> None:
    path, aside = tmp_path / "a.txt", tmp_path / "aside.txt"
    aside.write_text("precious")
    if mine == "corrected":
        write(path, "ours")
    if mine == "a folder":
        path.mkdir()
        (path / "thesis.txt").write_text("precious")
    elif "link" in mine:
        path.symlink_to(aside if mine == "a link" else tmp_path / "nowhere")
    else:
        path.write_text("precious")
    before = identity(path)
    doing: dict[str, Callable[[], object]] = {
        "write": lambda: write(path, "new", replace=True),
        "remove": lambda: files.remove(path),
        "grow": lambda: files.grow(path),
    }
    with pytest.raises(Environment, match=REFUSED):
        doing[act]()
    assert identity(path) == before and aside.read_text() == "precious" and not hidden(tmp_path)
    assert path.is_symlink() or (path / "thesis.txt" if path.is_dir() else path).read_text() == "precious"


def test_a_file_that_changes_while_its_successor_is_made(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "first")
    with pytest.raises(Environment, match=REFUSED), new_file(tmp_path / "a.txt", replace=True) as draft:
        draft.path.write_text("second")
        (tmp_path / "a.txt").write_text("corrected meanwhile")
    assert (tmp_path / "a.txt").read_text() == "corrected meanwhile" and not hidden(tmp_path)


def test_a_failure_leaves_the_earlier_file_and_no_draft(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "first")
    with pytest.raises(ZeroDivisionError), new_file(tmp_path / "a.txt", replace=True) as draft:
        draft.path.write_text("half")
        1 / 0  # noqa: B018
    with pytest.raises(OSError, match="read back"), new_file(tmp_path / "a.txt", replace=True) as draft:
        draft.path.write_text("hal")
        draft.sha256 = hashlib.sha256(b"half").hexdigest()
    assert (tmp_path / "a.txt").read_text() == "first" and not hidden(tmp_path)


def test_a_file_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "missing" / "a.txt", "1")
    assert not hidden(tmp_path) and not list(tmp_path.iterdir())


def test_a_file_that_grows_is_ours_by_its_name(tmp_path: Path) -> None:
    for line in (b"1\n", b"2\n"):
        handle = files.grow(tmp_path / "log")
        os.write(handle, line)
        os.close(handle)
    assert (tmp_path / "log").read_bytes() == b"1\n2\n" and not list(files.strangers(tmp_path))
    files.remove(tmp_path / "log")
    assert not (tmp_path / "log").exists()


@pytest.mark.skipif(os.name == "nt", reason="names that Windows does not allow")
@pytest.mark.parametrize(
    "name", ["M\u00fcller.txt", "two  spaces", os.fsdecode(b"\xff.txt"), "x" * 240 + ".json", "a  b"]
)
def test_odd_names(tmp_path: Path, name: Any) -> None:
    write(tmp_path / name, "1")
    write(tmp_path / name, "2", replace=True)
    assert (tmp_path / name).read_text() == "2" and not list(files.strangers(tmp_path)) and not hidden(tmp_path)


def test_a_folder_gets_its_name_at_the_end_or_never(tmp_path: Path) -> None:
    final = tmp_path / "deep" / "case"
    with pytest.raises(KeyboardInterrupt), new_folder(final) as partial:
        write(partial / "a", "half")
        raise KeyboardInterrupt
    assert not list(final.parent.iterdir())
    for text in ("first", "second"):
        with new_folder(final, replace=True) as partial:
            write(partial / "a", text)
            assert not final.exists() or (final / "a").read_text() == "first"
        assert (final / "a").read_text() == text and os.listdir(final.parent) == ["case"]
    with pytest.raises(Environment, match="exists already"), new_folder(final):
        pytest.fail("begun")
    with new_folder(tmp_path / "plain", inventory=False) as partial:
        write(partial / "a", "1")
    assert os.listdir(tmp_path / "plain") == ["a"]


@pytest.mark.parametrize("mine", ["notes.txt", "deep/notes.txt", ".hidden", "a", "link"])
def test_a_folder_with_something_of_the_users_is_not_replaced(tmp_path: Path, mine: Any) -> None:
    final = tmp_path / "case"
    with new_folder(final) as partial:
        write(partial / "a", "ours")
    (final / mine).parent.mkdir(exist_ok=True)
    if mine == "link":
        (final / mine).symlink_to(tmp_path)
    else:
        (final / mine).write_text("precious")
    for act in (lambda: new_folder(final, replace=True).__enter__(), lambda: files.remove(final)):
        with pytest.raises(Environment, match=REFUSED):
            act()
    assert (final / "a").exists() and (mine == "link" or (final / mine).read_text() == "precious")
    with pytest.raises(Environment, match=REFUSED), new_folder(tmp_path / "other", replace=True) as partial:
        write(partial / "a", "ours")
        (tmp_path / "other").mkdir()  # somebody puts theirs there meanwhile
        (tmp_path / "other" / "notes.txt").write_text("precious")
    assert os.listdir(tmp_path / "other") == ["notes.txt"] and not hidden(tmp_path / "other")


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="a system that cannot refuse to follow a link")
def test_an_inventory_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    (tmp_path / INVENTORY).symlink_to(tmp_path / "mine")
    with pytest.raises(OSError):
        write(tmp_path / "a", "ours")
    assert (tmp_path / "mine").read_text() == "precious" and not (tmp_path / "a").exists()


def test_a_file_or_a_link_is_no_folder_of_ours(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    for name in ("file", "link"):
        with pytest.raises(Environment, match="move it away"), new_folder(tmp_path / name, replace=True):
            pytest.fail("begun")


KILLED = """
import os, signal, sys
from pathlib import Path
from unoise_engine import files
folder, what, k = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}
count = 0

def hook(event, args):
    global count
    writes = event == "open" and isinstance(args[1], (str, type(None))) and args[2] & (os.O_WRONLY | os.O_RDWR)
    if event in CHANGES or writes:
        count += 1
        if count == k:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
if what == "file":
    files.write(folder / "a.txt", "second", replace=True)
else:
    with files.new_folder(folder / what, replace=what == "case", inventory=what == "case") as partial:
        files.write(partial / "a", "second")
        (partial / "deep").mkdir()
        files.write(partial / "deep" / "b", "second")
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
@pytest.mark.parametrize("what", ["file", "case", "plain"])
def test_killed_at_every_step_and_done_again(tmp_path: Path, what: Any) -> None:
    """What was there before is there, or its successor, whole; and whatever is made next tidies up."""
    for name in (".case-12-partial", ".plain-7-partial-old"):  # not ours: no inventory in it
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("precious")
    theirs, codes, halves = hidden(tmp_path), [0], 0
    while codes[-1] or len(codes) == 1:
        write(tmp_path / "a.txt", "first", replace=True)
        if what == "case":
            with new_folder(tmp_path / "case", replace=True) as partial:
                write(partial / "a", "first")
        run = subprocess.run([sys.executable, "-c", KILLED, tmp_path, what, str(len(codes))])
        codes.append(run.returncode)
        halves += hidden(tmp_path) != theirs
        write(tmp_path / "next", "1")
        assert hidden(tmp_path) == theirs, len(codes)
        if what == "plain":
            if (tmp_path / "plain").exists():
                assert (tmp_path / "plain" / "deep" / "b").read_text() == "second"
                shutil.rmtree(tmp_path / "plain")
        else:
            path = tmp_path / ("a.txt" if what == "file" else "case/a")
            assert path.read_text() in ("first", "second")
    assert set(codes[1:-1]) == {-9} and len(codes) > 6 and halves > 3


AT_WORK = """
import sys
from pathlib import Path
from unoise_engine import files
with files.new_folder(Path(sys.argv[1]) / "case") as partial, files.new_file(Path(sys.argv[1]) / "a.txt") as draft:
    draft.path.write_text("done")
    files.write(partial / "a", "done")
    print("begun", flush=True)
    sys.stdin.read()
"""


def test_what_another_process_is_at_work_on_stays(tmp_path: Path) -> None:
    words = [sys.executable, "-c", AT_WORK, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"begun\n"
        halves = hidden(tmp_path)
        write(tmp_path / "next", "1")
        files.tidy(tmp_path)
        assert len(halves) > 2 and hidden(tmp_path) == halves
        other.communicate()
    assert other.returncode == 0 and not hidden(tmp_path)
    assert (tmp_path / "a.txt").read_text() == (tmp_path / "case" / "a").read_text() == "done"


MAKE = """
import sys
from pathlib import Path
from unoise_engine import files
for k in range(150):
    with files.new_folder(Path(sys.argv[1]) / f"{sys.argv[2]}-{k}") as partial:
        files.write(partial / "a", "1")
    files.write(Path(sys.argv[1]) / f"{sys.argv[2]}-{k}.txt", "1")
"""


def test_several_that_tidy_up_lose_nothing(tmp_path: Path) -> None:
    """Each looks at the halves of the others 300 times, at whatever step those are."""
    children = [subprocess.Popen([sys.executable, "-c", MAKE, str(tmp_path), str(k)]) for k in range(4)]
    assert [child.wait() for child in children] == [0] * 4
    assert len(list(tmp_path.glob("*/a"))) == len(list(tmp_path.glob("*.txt"))) == 600 and not hidden(tmp_path)


def test_what_looks_like_a_half_stays(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / INVENTORY).touch()
    (tmp_path / ".case-1-partial").symlink_to(tmp_path / "mine")
    (tmp_path / ".case-2-partial").write_text("precious")
    (tmp_path / ".unoise-00000000-a.txt").write_text("precious")
    files.tidy(tmp_path)
    assert len(hidden(tmp_path)) == 3 and (tmp_path / "mine" / INVENTORY).is_file()


def test_only_what_is_empty_goes(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("precious")
    files.remove_empty(tmp_path / "lock")
    with pytest.raises(OSError):
        files.remove_empty(tmp_path)
    (tmp_path / "lock").write_text("")
    files.remove_empty(tmp_path / "lock")
    files.remove_empty(tmp_path)
    assert not tmp_path.exists()


@pytest.mark.parametrize("out", ["data", "data/out", "data/deep/out", "link", "link/out", "data/../data", "."])
def test_output_and_input_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: Any) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    monkeypatch.chdir(tmp_path)

    for source in (Path("data"), tmp_path / "link"):
        with pytest.raises(Usage, match="choose another output folder"):
            files.refuse_overlap(Path(out), [source])
    files.refuse_overlap(Path("."), [Path("data")], inside_too=False)
    files.refuse_overlap(Path("database"), [Path("data"), Path("gone")])


def test_a_file_may_lie_in_the_output_folder(tmp_path: Path) -> None:
    (tmp_path / "ct.nii.gz").touch()
    files.refuse_overlap(tmp_path, [tmp_path / "ct.nii.gz"])
    with pytest.raises(Usage, match=r"ct\.nii\.gz"):
        files.refuse_overlap(tmp_path / "ct.nii.gz", [tmp_path / "ct.nii.gz"])


def test_names_that_differ_in_case_may_be_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on the usual disks of macOS and Windows, where DATA is data: the file system is asked, not the name."""
    (tmp_path / "data").mkdir()
    (tmp_path / "DATA").mkdir()
    real = Path.samefile
    monkeypatch.setattr(Path, "samefile", lambda a, b: real(Path(str(a).lower()), Path(str(b).lower())))
    with pytest.raises(Usage):
        files.refuse_overlap(tmp_path / "DATA" / "out", [tmp_path / "data"])
