"""Sending: success counts, nothing else; what failed waits for the next call. Archives here are small real servers."""

import http.server
import json
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, AllStoragePresentationContexts, evt

from Testing.engine.dicom.series import IDENTITY
from unoise_engine.cli import main
from unoise_engine.errors import Environment, Usage
from unoise_engine.send import connect, find_objects, send_all


@contextmanager
def archive(
    answer: Any = lambda n: 0x0000,
    contexts: Any = AllStoragePresentationContexts,
    syntaxes: Any = None,
    tls: Any = None,
    **settings: Any,
) -> Any:
    """A C-STORE server on a free port; `answer` gives the status of the n-th object. Yields port and what arrived."""
    received = []

    def store(event: Any) -> Any:
        received.append(event.encoded_dataset(include_meta=False))
        return answer(len(received))

    ae = AE("ARCHIVE")
    for context in contexts:
        ae.add_supported_context(context.abstract_syntax, syntaxes or [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    for name, value in settings.items():
        setattr(ae, name, value)
    server: Any = ae.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)], ssl_context=tls
    )
    try:
        yield server.socket.getsockname()[1], received
    finally:
        server.shutdown()


def send_to(out: Any, port: Any, **options: Any) -> Any:
    waits: list[float] = []
    failed = send_all(out, connect(f"ARCHIVE@127.0.0.1:{port}", ""), wait=waits.append, **options)
    return failed, waits


def records(out: Any) -> Any:
    return [json.loads(line) for line in (out / "send.jsonl").read_text().splitlines()]


def data_set(path: Any) -> Any:
    """The bytes of a file behind its preamble and meta group."""
    content = path.read_bytes()
    return content[144 + int.from_bytes(content[140:144], "little") :]


def test_all_arrive_byte_by_byte_and_only_once(out: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with archive() as (port, received):
        assert send_to(out, port) == (0, [])
        assert sorted(received) == sorted(data_set(p) for p in find_objects(out))
        assert len(received) == 3  # nothing of the unfinished run
        said = capsys.readouterr().out
        assert said.count("SENT ct/") == 3
        assert not any(value in said + (out / "send.jsonl").read_text() for value in IDENTITY.values())
        assert send_to(out, port) == (0, [])
        assert len(received) == 3
        assert "3 of 3 objects were sent" in capsys.readouterr().out
        assert send_to(out, port, again=True) == (0, [])
        assert len(received) == 6


def test_an_object_made_anew_goes_again_and_another_archive_gets_all(out: Any) -> None:
    with archive() as (port, received), archive() as (other, received_there):
        send_to(out, port)
        path = out / "ct" / "segmentation.dcm"
        ds = pydicom.dcmread(path)
        ds.SeriesDescription = "another"
        ds.save_as(path)
        send_to(out, port)
        assert len(received) == 4
        send_to(out, other)
        assert len(received_there) == 3


@pytest.mark.parametrize(
    "status, tries", [(0xB000, 1), (0xB007, 1), (0xA900, 1), (0xC000, 1), (0x0124, 1), (0xA700, 3)]
)
def test_any_answer_but_success_is_a_failure(
    out: Any, capsys: pytest.CaptureFixture[str], status: Any, tries: Any
) -> None:
    """Warnings too: the archive then stored something else. Only 'out of resources' is tried again at once."""
    with archive(lambda n: status) as (port, received):
        failed, waits = send_to(out, port, retries=2)
        assert failed == 3
        assert len(received) == 3 * tries
        assert waits == [1.0, 2.0] * (3 if tries > 1 else 0)
    said = capsys.readouterr().err
    assert said.count("FAILED ct/") == 3 and said.count(f"0x{status:04X}") == 3
    assert [r["status"] for r in records(out)] == ["FAILED"] * 3


def test_a_busy_archive_is_tried_again(out: Any) -> None:
    with archive(lambda n: 0xA701 if n == 1 else 0) as (port, received):
        assert send_to(out, port) == (0, [1.0])
        assert len(received) == 4


def test_the_next_call_sends_what_failed(out: Any) -> None:
    with archive(lambda n: 0xC001 if n == 2 else 0) as (port, received):
        assert send_to(out, port)[0] == 1
        assert [r["status"] for r in records(out)] == ["SENT", "FAILED", "SENT"]
        assert send_to(out, port)[0] == 0
        assert len(received) == 4
        assert received[3] == received[1]
        assert records(out)[3]["status"] == "SENT"


def test_a_torn_record_loses_nothing_but_its_own_line(out: Any) -> None:
    with archive() as (port, received):
        send_to(out, port)
        record = out / "send.jsonl"
        record.write_text(record.read_text()[:-20])  # power lost while the third line was written
        assert send_to(out, port)[0] == 0
        assert len(received) == 4
        assert send_to(out, port)[0] == 0
        assert len(received) == 4


def test_an_archive_that_takes_pictures_only(out: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = [c for c in AllStoragePresentationContexts if c.abstract_syntax == "1.2.840.10008.5.1.4.1.1.7"]
    with archive(contexts=pictures) as (port, received):
        assert send_to(out, port)[0] == 2
        assert len(received) == 1
    said = capsys.readouterr().err
    assert "does not take Parametric Map Storage" in said and "does not take Segmentation Storage" in said


def test_an_archive_that_speaks_implicit_vr_only(out: Any) -> None:
    with archive(syntaxes=[ImplicitVRLittleEndian]) as (port, received):
        assert send_to(out, port) == (0, [])
        got = pydicom.dcmread(BytesIO(received[0]), force=True)
        assert got.file_meta.get("TransferSyntaxUID") is None
        assert len(received) == 3


def test_an_archive_that_hangs_up(out: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It aborts on the first object; the next try opens a new association."""
    monkeypatch.setattr("unoise_engine.send.dimse.ANSWER_S", 3)
    aborted: list[bool] = []

    def handle(event: Any) -> Any:
        if not aborted:
            aborted.append(True)
            event.assoc.abort()
        return 0

    ae = AE("ARCHIVE")
    ae.supported_contexts = AllStoragePresentationContexts
    server: Any = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, handle)])
    try:
        failed, waits = send_to(out, server.socket.getsockname()[1])
        assert failed == 0 and waits[0] == 1.0
    finally:
        server.shutdown()


@pytest.mark.parametrize("why", ["nobody listens", "wrong title"])
def test_an_unreachable_archive_is_one_error_and_everything_waits(
    out: Any, capsys: pytest.CaptureFixture[str], why: Any
) -> None:
    with archive(require_called_aet=True, require_calling_aet=["OTHER"]) as (port, received):
        if why == "wrong title":
            with pytest.raises(Environment, match=r"cannot be reached.*rejected.*3 objects wait"):
                send_to(out, port, retries=1)
    if why == "nobody listens":
        with pytest.raises(Environment, match="cannot be reached"):
            send_to(out, port, retries=1)
    assert received == []
    assert capsys.readouterr().err.count("FAILED") == 3
    with archive() as (open_port, received):
        send_to(out, open_port)
        assert len(received) == 3


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl: apt-get install openssl")
def test_tls(out: Any, tmp_path: Path) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    make = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", cert)
    subprocess.run([*make, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with archive(tls=context) as (port, received):
        trusting = connect(f"ARCHIVE@127.0.0.1:{port}", "", tls=True, ca=cert)
        assert send_all(out, trusting) == 0
        assert len(received) == 3
        with pytest.raises(Environment, match="TLS"):
            send_all(out, connect(f"ARCHIVE@127.0.0.1:{port}", "", tls=True), retries=0, again=True)
        assert len(received) == 3


class Store(http.server.ThreadingHTTPServer):
    def __init__(self, plan: Callable[[int, str], tuple[int, Any]]) -> None:
        super().__init__(("127.0.0.1", 0), Web)
        self.plan = plan
        self.received: list[tuple[str, Any, bytes]] = []


class Web(http.server.BaseHTTPRequestHandler):
    """STOW-RS: answers what the test's `plan` says of the n-th request: (HTTP status, body for the object's UID)."""

    server: Store

    def do_POST(self) -> None:
        body = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        part = body[body.index(b"\r\n\r\n") + 4 : body.rindex(b"\r\n--")]
        self.server.received.append((self.path, self.headers, part))
        uid = pydicom.dcmread(BytesIO(part), stop_before_pixels=True).SOPInstanceUID
        status, answer = self.server.plan(len(self.server.received), uid)
        content = json.dumps(answer).encode() if answer is not None else b""
        self.send_response(status)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


def stored(uid: Any, warning: Any = None) -> Any:
    item = {"00081155": {"vr": "UI", "Value": [uid]}}
    if warning:
        item["00081196"] = {"vr": "US", "Value": [warning]}
    return {"00081199": {"vr": "SQ", "Value": [item]}}


def failed(uid: Any, reason: Any) -> Any:
    item = {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [reason]}}
    return {"00081198": {"vr": "SQ", "Value": [item]}}


@contextmanager
def web(plan: Any) -> Any:
    server = Store(plan)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/dicom-web", server.received
    finally:
        server.shutdown()
        server.server_close()


def stow(out: Any, url: Any, **options: Any) -> Any:
    waits: list[float] = []
    return send_all(out, connect("", url), wait=waits.append, **options), waits


def test_stow_stores_the_very_files(out: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNOISE_STOW_TOKEN", "secret-token")
    with web(lambda n, uid: (200, stored(uid))) as (url, received):
        assert stow(out, url) == (0, [])
        assert sorted(part for *_, part in received) == sorted(p.read_bytes() for p in find_objects(out))
        assert {path for path, *_ in received} == {"/dicom-web/studies"}
        assert {headers["Authorization"] for _, headers, _ in received} == {"Bearer secret-token"}
        assert stow(out, url) == (0, [])
        assert len(received) == 3
    assert "secret" not in (out / "send.jsonl").read_text()


def test_a_password_in_the_url_is_used_and_never_shown(out: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with web(lambda n, uid: (200, stored(uid))) as (url, received):
        assert stow(out, url.replace("//", "//maria:geheim@")) == (0, [])
        assert all(headers["Authorization"].startswith("Basic ") for _, headers, _ in received)
    shown = capsys.readouterr()
    assert "geheim" not in shown.out + shown.err + (out / "send.jsonl").read_text()


STOW_ANSWERS: dict[str, tuple[Callable[[str], tuple[int, Any]], str, int]] = {
    "failed sequence": (lambda uid: (202, failed(uid, 0xA900)), "0xA900", 1),
    "failed though 200": (lambda uid: (200, failed(uid, 0x0122)), "0x0122", 1),
    "changed it": (lambda uid: (202, stored(uid, 0xB000)), "0xB000", 1),
    "another object": (lambda uid: (200, stored("1.2.3")), "without naming", 1),
    "says nothing": (lambda uid: (200, None), "without naming", 1),
    "conflict": (lambda uid: (409, failed(uid, 0x0110)), "HTTP 409", 1),
    "forbidden": (lambda uid: (403, None), "HTTP 403", 1),
    "busy": (lambda uid: (503, None), "HTTP 503", 3),
    "out of resources": (lambda uid: (202, failed(uid, 0xA700)), "0xA700", 3),
}


@pytest.mark.parametrize("name", STOW_ANSWERS)
def test_stow_any_answer_but_success_is_a_failure(out: Any, capsys: pytest.CaptureFixture[str], name: Any) -> None:
    answer, said, tries = STOW_ANSWERS[name]
    with web(lambda n, uid: answer(uid)) as (url, received):
        assert stow(out, url, retries=2)[0] == 3
        assert len(received) == 3 * tries
    assert capsys.readouterr().err.count(said) == 3
    with web(lambda n, uid: (200, stored(uid))) as (url, received):
        assert stow(out, url)[0] == 0
        assert len(received) == 3


def test_stow_unreachable(out: Any) -> None:
    with web(lambda n, uid: (200, stored(uid))) as (url, _):
        pass
    with pytest.raises(Environment, match="3 objects wait"):
        stow(out, url, retries=1)


def test_the_command_line_and_its_exit_codes(
    out: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """0 all sent, 1 some failed, 2 usage, 3 not reached; one line an object."""

    def command(*arguments: Any) -> Any:
        monkeypatch.setattr(sys, "argv", ["unoise_engine", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, "".join(capsys.readouterr())

    with archive(lambda n: 0xC000 if n == 1 else 0) as (port, _):
        address = f"ARCHIVE@127.0.0.1:{port}"
        code, said = command("send", out, "--to", address)
        assert code == 1, said
        assert (said.count("SENT ct/"), said.count("FAILED ct/")) == (2, 1)
        assert command("send", out, "--to", address)[0] == 0
    code, said = command("send", out, "--to", address, "--again", "--retries", "0")
    assert code == 3 and "cannot be reached" in said and "Traceback" not in said
    (tmp_path / "empty").mkdir()
    for wrong in ([], ["--to", "nonsense"], ["--to", address, "--stow", "http://x"], ["--stow", "ftp://x"]):
        code, said = command("send", out, *wrong)
        assert code == 2 and said.count("\n") == 1, said
    assert command("send", tmp_path / "empty", "--to", address)[0] == 2


def test_a_file_that_is_no_dicom_is_named(out: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (out / "ct" / "aaa.dcm").write_bytes(b"no dicom at all")
    with archive() as (port, received):
        assert send_to(out, port)[0] == 1
        assert len(received) == 3
    assert "FAILED ct/aaa.dcm: is no readable DICOM object" in capsys.readouterr().err


def test_usage() -> None:
    for to, stow_url in (("", ""), ("A@b:1", "http://x")):
        with pytest.raises(Usage):
            connect(to, stow_url)
    for to in ("host:104", "AE@host", "TOO-LONG-A-TITLE-1@h:104", "AE@host:0", "AE@host:99999"):
        with pytest.raises(Usage, match="AE@host:port"):
            connect(to, "")


def test_a_record_that_cannot_be_written(out: Any) -> None:
    (out / "send.jsonl").mkdir()
    with archive() as (port, _), pytest.raises(Environment, match=r"send\.jsonl"):
        send_to(out, port)
