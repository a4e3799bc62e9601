"""Bundles by someone who means harm: each is refused before anything opens it, and nothing is left behind."""

import json
import os
import pickle
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unoise_engine.errors import EngineError, Environment, Integrity, Usage
from unoise_engine.files import sha256
from unoise_engine.models.bundles import find_bundle, known_bundles, load_bundle
from unoise_engine.models.content import check_content
from unoise_engine.models.install import install
from unoise_engine.models.manifest import Manifest, read_manifest, verify, write_bundle
from unoise_engine.models.session import Bundle


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The user's own collection of models, and nothing that may be opened as one."""
    monkeypatch.setenv("UNOISE_MODELS", str(tmp_path / "home"))
    monkeypatch.setattr("onnxruntime.InferenceSession", lambda *_, **__: pytest.fail("a file was opened"))
    return tmp_path / "home"


@pytest.fixture
def copy(tiny_bundle: Any, tmp_path: Path) -> Any:
    return shutil.copytree(tiny_bundle, tmp_path / "copy")


def list_again(folder: Any, *names: Any) -> None:
    """The author lists these files too, with their true hashes: hashes alone do not protect from the author."""
    path = folder / "bundle.json"
    body = json.loads(path.read_text())
    for name in names:
        body["files"][name] = {"sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size}
    path.write_text(json.dumps(body))


def zipped(folder: Any, path: Any, top: Any = "tiny/") -> Any:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for file in sorted(folder.iterdir()):
            z.write(file, top + file.name)
    return path


class Bang:
    def __reduce__(self) -> Any:
        return os.system, ("touch PWNED",)


@pytest.mark.parametrize("top", ["", "tiny/"])
def test_a_zip_installs_and_is_found_by_name(tiny_bundle: Any, tmp_path: Path, home: Any, top: Any) -> None:
    manifest, folder = install(zipped(tiny_bundle, tmp_path / "a.zip", top))
    assert folder == home / "tiny" and manifest.name == "tiny"
    installed, wanted = ({p.name: p.read_bytes() for p in home.glob("[!.]*")} for home in (folder, tiny_bundle))
    assert installed == wanted and wanted
    assert known_bundles()["tiny"] == folder == find_bundle("tiny")
    with pytest.raises(Environment, match="installed already"):
        install(tiny_bundle)
    install(tiny_bundle, overwrite=True)
    assert [p.name for p in home.iterdir()] == ["tiny"]


def test_what_file_managers_leave_behind_is_no_harm(
    copy: Any, tmp_path: Path, home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy / ".DS_Store").write_bytes(b"x")
    verify(copy)
    path = zipped(copy, tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as z:
        z.writestr("__MACOSX/tiny/._bundle.json", "x")
    _, folder = install(path)
    assert not (folder / ".DS_Store").exists() and not list(home.rglob("._*"))


def test_a_damaged_bundle_does_not_hide_the_others(
    tiny_bundle: Any, home: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from unoise_engine.cli.bundle import bundle_list

    install(tiny_bundle)
    shutil.copytree(home / "tiny", home / "broken")
    (home / "broken" / "bundle.json").write_text("{")
    with pytest.raises(Integrity, match="broken"):
        bundle_list()
    assert "\ntiny  " in "\n" + capsys.readouterr().out


def test_what_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK no zip")
    for source in (tmp_path / "x.zip", tmp_path / "nowhere", tmp_path):
        with pytest.raises((Usage, Environment)):
            install(source)


def bad_zip(kind: Any, tiny_bundle: Any, tmp_path: Path) -> Any:
    path = zipped(tiny_bundle, tmp_path / "bad.zip", "")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as z:
        if kind == "slip":
            z.writestr("../../slip.txt", "x")
        elif kind == "absolute":
            z.writestr("/tmp/slip.txt", "x")
        elif kind == "backslash":
            z.writestr("..\\slip.txt", "x")
        elif kind == "drive":
            z.writestr("c:slip.txt", "x")
        elif kind == "link":
            link = zipfile.ZipInfo("link")
            link.external_attr = 0o120777 << 16
            z.writestr(link, "/etc/passwd")
        elif kind == "bomb":
            z.writestr("bomb.txt", bytes(30 << 20))
        elif kind == "many":
            for k in range(100):
                z.writestr(f"{k}.txt", "x")
        elif kind == "twice":
            z.writestr("UTILITY.onnx", "x")
        elif kind == "folders":
            z.writestr("a/b/c.txt", "x")
        elif kind == "two tops":
            z.writestr("a/c.txt", "x")
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-200] + path.read_bytes()[-22:])
    if kind == "flipped":
        content = bytearray(path.read_bytes())
        content[120] ^= 255
        path.write_bytes(content)
    return path


KINDS = ["slip", "absolute", "backslash", "drive", "link", "bomb", "many", "twice", "folders", "cut", "flipped"]


@pytest.mark.parametrize("kind", [*KINDS, "two tops"])
def test_hostile_zips(kind: Any, tiny_bundle: Any, tmp_path: Path, home: Any) -> None:
    before = {p.name for p in tmp_path.parent.iterdir()}
    with pytest.raises((Integrity, Usage)) as caught:
        install(bad_zip(kind, tiny_bundle, tmp_path))
    assert "bad.zip" in str(caught.value)
    assert not list(home.iterdir()), "something stayed"
    assert {p.name for p in tmp_path.parent.iterdir()} == before and not (tmp_path / "slip.txt").exists()


def test_a_zip_whose_entry_lies_about_its_size(tiny_bundle: Any, tmp_path: Path, home: Any) -> None:
    path = zipped(tiny_bundle, tmp_path / "bad.zip", "")
    content = path.read_bytes()
    real = struct.pack("<L", (tiny_bundle / "utility.onnx").stat().st_size)
    place = content.index(b"utility.onnx", content.index(b"PK\x01\x02")) - 46 + 24  # in the central directory
    assert content[place : place + 4] == real
    path.write_bytes(content[:place] + struct.pack("<L", 10) + content[place + 4 :])
    with pytest.raises(Integrity):
        install(path)
    assert not list(home.iterdir())


@pytest.mark.parametrize("name", ["weights.pkl", "weights.pth", "weights.onnx", "weights.safetensors", "weights.txt"])
def test_pickles_are_refused_under_every_name(
    copy: Any, name: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (copy / name).write_bytes(pickle.dumps(Bang()))
    list_again(copy, name)
    for check in (verify, install, load_bundle):
        with pytest.raises(Integrity, match=name):
            check(copy)
    assert not (tmp_path / "PWNED").exists()


def test_unlisted_files_are_refused(copy: Any) -> None:
    (copy / "LICENSE.txt").write_text("texts may lie beside the rest")
    verify(copy)
    (copy / "extra.onnx").write_bytes(b"")
    with pytest.raises(Integrity, match=r"extra\.onnx.*not in its manifest"):
        verify(copy)


def test_torch_archives_are_refused(copy: Any) -> None:
    with zipfile.ZipFile(copy / "weights.onnx", "w") as z:
        z.writestr("archive/data.pkl", pickle.dumps({"w": Bang()}))
    list_again(copy, "weights.onnx")
    with pytest.raises(Integrity, match="archive under another name"):
        verify(copy)


@pytest.mark.parametrize("where", ["weight", "constant node", "inner graph", "function"])
def test_external_data_is_refused_even_when_listed(copy: Any, tmp_path: Path, where: Any) -> None:
    from onnx import TensorProto, helper

    (copy / "secret.txt").write_bytes(bytes(16))
    outside = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "../../../etc/hostname"), ("offset", "0"), ("length", "16")):
        outside.external_data.add(key=key, value=value)
    x = helper.make_tensor_value_info("slices", TensorProto.FLOAT, [4])
    y = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [4])
    constant = helper.make_node("Constant", [], ["w"], value=outside)
    add = helper.make_node("Add", ["slices", "w"], ["logits"])
    functions = []
    if where == "weight":
        graph = helper.make_graph([add], "g", [x], [y], [outside])
    elif where == "constant node":
        graph = helper.make_graph([constant, add], "g", [x], [y])
    elif where == "inner graph":
        inner = helper.make_graph([constant, helper.make_node("Identity", ["w"], ["v"])], "i", [], [y])
        branch = helper.make_node("If", ["c"], ["logits"], then_branch=inner, else_branch=inner)
        graph = helper.make_graph([branch], "g", [x], [y])
    else:
        graph = helper.make_graph([add], "g", [x], [y])
        functions = [helper.make_function("d", "f", ["a"], ["w"], [constant], [helper.make_opsetid("", 18)])]
    model = helper.make_model(graph, functions=functions, opset_imports=[helper.make_opsetid("", 18)])
    (copy / "utility.onnx").write_bytes(model.SerializeToString())
    list_again(copy, "utility.onnx", "secret.txt")
    with pytest.raises(Integrity, match=r"utility\.onnx - holds (external data|a graph within a node|functions)"):
        verify(copy)


def varint(value: Any) -> Any:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def stored(number: Any, content: Any, long: Any = False) -> Any:
    """A protobuf field; `long`: its tag has bit 32 set, which some readers cut off and others do not."""
    return varint((number << 3 | 2) + (long << 32)) + varint(len(content)) + content


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("place", ["/etc/hostname", "secret.bin", "../secret.bin", "*/_ORT_MEM_ADDR_/*"])
def test_external_data_in_a_second_graph_behind_odd_tags(copy: Any, place: Any, long: Any) -> None:
    """Protobuf joins messages that follow one another: the second graph becomes part of the first."""
    from onnx import StringStringEntryProto, TensorProto

    tensor = TensorProto(name="leak", data_type=TensorProto.FLOAT, dims=[1]).SerializeToString()
    for key, value in (("location", place), ("offset", "0"), ("length", "4")):
        tensor += stored(13, StringStringEntryProto(key=key, value=value).SerializeToString(), long)
    tensor += varint((14 << 3) + (long << 32)) + b"\x01"
    with (copy / "unoise.onnx").open("ab") as f:
        f.write(stored(7, stored(5, tensor)))
    list_again(copy, "unoise.onnx")
    for check in (verify, install, load_bundle):
        with pytest.raises(Integrity, match=r"unoise\.onnx - "):
            check(copy)


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        (stored(7, b""), "as protobuf writes it"),  # an empty second graph
        (b"\x08\x8a\x00", "as protobuf writes it"),  # the version again, in one byte too many
        (b"\x08\x0a", "as protobuf writes it"),
        (stored(99, b"x"), r"unknown field \(Model 99\)"),
        (stored(20, b""), "training"),
        (stored(7, stored(1, stored(4, b"Add") + stored(5, stored(1, b"x") + stored(77, b"")))), r"\(Attribute 77\)"),
        (stored(7, stored(15, b"")), "sparse"),
        (stored(2, b"\xff"), "UTF-8|utf-8"),  # a producer
        (b"\x0b" * 100_000 + b"\x0c" * 100_000, "no ONNX file"),  # groups within groups
    ],
)
def test_what_is_not_understood_is_refused(copy: Any, tail: Any, said: Any) -> None:
    with (copy / "utility.onnx").open("ab") as f:
        f.write(tail)
    list_again(copy, "utility.onnx")
    with pytest.raises(Integrity, match=rf"utility\.onnx - .*{said}"):
        verify(copy)


def odd(kind: Any, model: Any) -> None:
    from onnx import TensorProto

    first, weights = model.graph.node[0], model.graph.initializer
    if kind == "loop":
        first.op_type = "Loop"
    elif kind == "domain":
        first.domain = "evil.ops"
    elif kind == "file of a cache":
        first.op_type, first.domain = "EPContext", "com.microsoft"
    elif kind == "chance":
        first.op_type = "RandomNormalLike"
    elif kind == "huge":
        weights.add(name="h", data_type=TensorProto.FLOAT, dims=[2**40])
    elif kind == "negative":
        weights.add(name="h", data_type=TensorProto.FLOAT, dims=[-1, -1], raw_data=bytes(4))
    elif kind == "text":
        weights.add(name="h", data_type=TensorProto.STRING, dims=[1], string_data=[b"x"])
    elif kind == "twice":
        weights.add(name="h", data_type=TensorProto.FLOAT, dims=[1], raw_data=bytes(4), float_data=[1])
    elif kind == "elsewhere":
        weights.add(name="h", data_type=TensorProto.FLOAT, dims=[1], raw_data=bytes(4), data_location=1)
    elif kind == "attribute":
        first.attribute[0].type = 5


KINDS_OF_GRAPH = ["loop", "domain", "file of a cache", "chance", "huge", "negative", "text", "twice", "elsewhere"]


@pytest.mark.parametrize("kind", [*KINDS_OF_GRAPH, "attribute"])
def test_odd_graphs(copy: Any, kind: Any) -> None:
    import onnx

    model = onnx.load(copy / "utility.onnx")
    odd(kind, model)
    (copy / "utility.onnx").write_bytes(model.SerializeToString())
    list_again(copy, "utility.onnx")
    with pytest.raises(
        Integrity, match=r"utility\.onnx - (holds a tensor|holds ext|holds text|uses the operator|a Conv has)"
    ):
        verify(copy)


def test_names_that_are_no_text(copy: Any) -> None:
    """onnxruntime would fail in Python, and say so on standard output."""
    path = copy / "unoise.onnx"
    path.write_bytes(path.read_bytes().replace(b"noise_logits", b"noise\xfflogits"))
    list_again(copy, "unoise.onnx")
    with pytest.raises(Integrity, match=r"unoise\.onnx - .*(UTF-8|utf-8)"):
        verify(copy)


def test_what_is_opened_is_what_was_looked_through(copy: Any) -> None:
    """A file that is another one after its check is refused when it is opened, be its hash right or not."""
    bundle, x = load_bundle(copy), np.zeros((1, 1, 16, 16), np.float32)
    with (copy / "unoise.onnx").open("ab") as f:
        f.write(stored(99, b"x"))
    list_again(copy, "unoise.onnx")
    with pytest.raises(Integrity, match="altered"):
        bundle.noise_logits(x)
    with pytest.raises(Integrity, match="unknown field"):
        Bundle(copy, read_manifest(copy), ["CPUExecutionProvider"]).noise_logits(x)


def safetensors(header: Any, size: Any = 16) -> Any:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(size)


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 2**62) + b"{}",
        safetensors({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}),
        safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}),
        safetensors([1]),
        safetensors({"a": 5}),
        struct.pack("<Q", 4) + b"{{{{",
        b"\x01",
        b"",
    ],
)
def test_safetensors_that_lie(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "lie.safetensors"
    path.write_bytes(content)
    with pytest.raises(Integrity, match=r"lie\.safetensors"):
        check_content(path, path.read_bytes())


def test_honest_files_pass(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(
        safetensors({"__metadata__": {"a": "b"}, "a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}})
    )
    check_content(tmp_path / "a.safetensors", (tmp_path / "a.safetensors").read_bytes())


@pytest.mark.parametrize("content", [b"", b"hello, no model", b"\x3a\xff\xff\xff\x7f", b"\x3a\x04\x0a\x02\x0a"])
def test_damaged_onnx(tmp_path: Path, content: Any) -> None:
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(Integrity, match=r"a\.onnx"):
        check_content(tmp_path / "a.onnx", (tmp_path / "a.onnx").read_bytes())


def test_any_broken_manifest_is_one_sentence(copy: Any) -> None:
    path = copy / "bundle.json"
    good = json.loads(path.read_text())
    breaks = [
        "", "[]", "null", '"x"', "{}", "[" * 100_000, "\0", json.dumps({**good, "files": 3}),
        json.dumps({**good, "schema_version": 99}),
        json.dumps({**good, "files": {"../x.onnx": {"sha256": "", "bytes": 1}}}),
        json.dumps({**good, "labels": {}}), json.dumps({**good, "surprise": 1}), "x" * (2 << 20),
        json.dumps({**good, "files": {**good["files"], "utility.onnx": {"sha256": "0" * 64, "bytes": 5}}}),
    ]  # fmt: skip
    for text in breaks:
        path.write_text(text)
        for check in (verify, install):
            with pytest.raises(EngineError) as caught:
                check(copy)
            assert caught.value.exit_code == 4, text[:60]
            assert "\n" not in str(caught.value)


def test_an_installed_bundle_cannot_pose_as_one_that_ships(
    copy: Any, tiny_bundle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unoise_engine.models.install.shipped_bundles", lambda: {"tiny": tiny_bundle})
    install(copy)  # the very same model may
    other = Manifest(**{**verify(copy).__dict__, "labels": {"other": 5}})
    write_bundle(tmp_path / "other", other, {n: tiny_bundle / n for n in other.files})
    with pytest.raises(Integrity, match="calls itself tiny"):
        install(tmp_path / "other", overwrite=True)


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b", "a" * 90])
def test_names_that_are_no_folder_names(copy: Any, name: Any) -> None:
    body = json.loads((copy / "bundle.json").read_text())
    (copy / "bundle.json").write_text(json.dumps({**body, "name": name}))
    with pytest.raises(Integrity, match="no folder name"):
        install(copy)


def test_links_in_a_folder_are_refused(copy: Any, tmp_path: Path) -> None:
    shutil.move(copy / "utility.onnx", tmp_path / "elsewhere.onnx")
    (copy / "utility.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(Integrity, match="points outside"):
        install(copy)
