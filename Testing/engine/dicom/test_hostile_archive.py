"""Archives that redirect, never finish or never stop, on loopback, and folders that hold what no archive takes."""

import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest

from Testing.engine.dicom.test_send import archive, records, send_to, stored, stow, web
from unoise_engine.errors import Environment, Usage
from unoise_engine.send import connect, send_all
from unoise_engine.send import stow as stow_module

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl: apt-get install openssl")


@contextmanager
def server(answer: Any, tls: Any = None) -> Any:
    """Reads each request whole, then `answer(connection, handler)` writes what it likes. Yields port and bodies."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            with suppress(OSError):  # the sender hangs up, as it should
                answer(self.wfile)
            self.close_connection = True

        do_GET = do_PUT = do_POST
        log_message = lambda *_: None  # noqa: E731

    bodies: list[bytes] = []
    one = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    one.daemon_threads = True
    if tls:
        one.socket = tls.wrap_socket(one.socket, server_side=True)
    threading.Thread(target=one.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield one.server_port, bodies
    finally:
        one.shutdown()
        one.socket.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Any:
    home = tmp_path_factory.mktemp("tls")
    key, cert = home / "key.pem", home / "cert.pem"
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    make = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", cert)
    subprocess.run([*make, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, cert


def redirect(code: Any, where: Any) -> Any:
    head = f"HTTP/1.1 {code} Elsewhere\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n"
    return lambda wire: wire.write(head.encode())


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_no_redirect_is_followed(
    out: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, code: Any, host: Any
) -> None:
    """Neither to another host nor to another port; nothing of the object and no token goes there."""
    monkeypatch.setenv("UNOISE_STOW_TOKEN", "secret-token")
    with web(lambda n, uid: (200, stored(uid))) as (url, received):
        there = url.replace("127.0.0.1", host).replace("//", "//maria:geheim@") + "?key=geheim"
        with server(redirect(code, there)) as (port, bodies):
            assert stow(out, f"http://127.0.0.1:{port}/dicom-web") == (3, [])
    assert received == [] and len(bodies) == 3
    said = capsys.readouterr().err
    assert said.count(f"HTTP {code} and points to http://{host}") == 3 and "geheim" not in said
    assert [r["status"] for r in records(out)] == ["FAILED"] * 3


@needs_openssl
def test_no_redirect_from_https_to_http_or_back(out: Any, certificate: Any, capsys: pytest.CaptureFixture[str]) -> None:
    context, cert = certificate
    with (
        web(lambda n, uid: (200, stored(uid))) as (plain, received),
        server(lambda wire: None, context) as (safe, there),
    ):
        with server(redirect(307, plain), context) as (port, bodies):
            assert send_all(out, connect("", f"https://127.0.0.1:{port}/x", ca=cert)) == 3
        with server(redirect(308, f"https://127.0.0.1:{safe}/x")) as (other, more):
            assert stow(out, f"http://127.0.0.1:{other}/x")[0] == 3
    assert (received, there, len(bodies), len(more)) == ([], [], 3, 3)
    assert "points to http://127.0.0.1" in capsys.readouterr().err


@needs_openssl
def test_https_stores_and_trusts_only_whom_it_was_told(out: Any, certificate: Any) -> None:
    context, cert = certificate

    def take(wire: Any) -> None:
        uid = pydicom.dcmread(BytesIO(bodies[-1].partition(b"\r\n\r\n")[2]), force=True).SOPInstanceUID
        body = json.dumps(stored(uid)).encode()
        wire.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    with server(take, context) as (port, bodies):
        assert send_all(out, connect("", f"https://127.0.0.1:{port}/x", ca=cert)) == 0
        assert len(bodies) == 3
        with pytest.raises(Environment, match=r"cannot be reached \(SSLCertVerificationError\)"):
            send_all(out, connect("", f"https://127.0.0.1:{port}/x"), retries=0, again=True)
        assert len(bodies) == 3


def forever(
    piece: Any, pause: Any = 0.0, first: Any = b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\n\r\n"
) -> Any:
    def answer(wire: Any) -> None:
        wire.write(first)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            wire.write(piece)
            wire.flush()
            time.sleep(pause)

    return answer


ENDLESS = {
    "a flood": (forever(bytes(1 << 20)), "longer than 4 MiB"),
    "a flood in chunks": (
        forever(b"100000\r\n%s\r\n" % bytes(1 << 20), 0, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        "longer than 4 MiB",
    ),
    "a body byte by byte": (forever(b" ", 0.1), "not complete after 1 s"),
    "headers byte by byte": (forever(b"x", 0.1, b"HTTP/1.1 200 OK\r\nX: "), "not complete after 1 s"),
    "a status line byte by byte": (forever(b"0", 0.1, b"HTTP/1.1 2"), "not complete after 1 s"),
    "continue, continue": (forever(b"HTTP/1.1 100 Continue\r\n\r\n", 0.1, b""), "not complete after 1 s"),
    "headers without end": (forever(b"X: y\r\n", 0, b"HTTP/1.1 200 OK\r\n"), "is no HTTP"),
    "half an answer": (lambda wire: wire.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), "cannot be read"),
    "no HTTP at all": (lambda wire: wire.write(b"220 mail.example ESMTP\r\n"), "is no HTTP"),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_answers_without_end_are_failures_in_bounded_time(
    out: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: Any
) -> None:
    monkeypatch.setattr(stow_module, "ANSWER_S", 1.0)
    answer, words = ENDLESS[name]
    start = time.monotonic()
    with server(answer) as (port, _):
        assert stow(out, f"http://127.0.0.1:{port}/x", retries=0)[0] == 3
    assert time.monotonic() - start < 15
    assert capsys.readouterr().err.count(words) == 3
    assert [r["status"] for r in records(out)] == ["FAILED"] * 3


@pytest.mark.parametrize("reads", [False, True], ids=["takes nothing", "answers nothing"])
def test_an_archive_that_falls_silent_is_not_waited_for(out: Any, monkeypatch: pytest.MonkeyPatch, reads: Any) -> None:
    """It lets us connect, and then nothing: a large object does not even get out of our own buffers."""
    monkeypatch.setattr(stow_module, "SILENCE_S", 1.0)
    ds = pydicom.dcmread(out / "ct" / "segmentation.dcm")
    ds.PixelData = bytes(0 if reads else 64 << 20)
    ds.save_as(out / "ct" / "segmentation.dcm")
    with socket.create_server(("127.0.0.1", 0)) as dumb:
        start = time.monotonic()
        with pytest.raises(Environment, match=r"TimeoutError.*3 objects wait"):
            monkeypatch.setattr(stow_module, "SLOWEST_BYTES_S", 64 << 20)
            stow(out, f"http://127.0.0.1:{dumb.getsockname()[1]}/x", retries=0)
        assert time.monotonic() - start < 15


def test_an_answer_before_all_was_read_counts(out: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Too large: the archive says so and closes."""
    ds = pydicom.dcmread(out / "ct" / "segmentation.dcm")
    ds.PixelData = bytes(16 << 20)
    ds.save_as(out / "ct" / "segmentation.dcm")
    with socket.create_server(("127.0.0.1", 0)) as early:

        def refuse() -> None:
            with suppress(OSError):
                while True:
                    wire, _ = early.accept()
                    wire.recv(1000)
                    wire.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
                    wire.shutdown(socket.SHUT_WR)
                    while wire.recv(1 << 20):
                        pass
                    wire.close()

        threading.Thread(target=refuse, daemon=True).start()
        assert stow(out, f"http://127.0.0.1:{early.getsockname()[1]}/x", retries=0)[0] == 3
    assert capsys.readouterr().err.count("HTTP 413") == 3


WRONG_URLS = (
    "http://[::1", "http://", "ftp://x/", "http://a b/", "file:///etc/passwd", "http://u:hunter2@h:99999/", "http://h:x/",
    "http://h/\r\nX: y", "http://[::1]]/", "//h/x", "http://h\x00/",
)  # fmt: skip


@pytest.mark.parametrize("url", WRONG_URLS)
def test_wrong_addresses_are_one_sentence(url: Any) -> None:
    with pytest.raises(Usage, match=r"^--stow - is no URL - write it like https") as error:
        connect("", url)
    assert "hunter2" not in str(error.value)


def test_a_token_that_would_break_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNOISE_STOW_TOKEN", "a\r\nX-Other: b")
    with pytest.raises(Usage, match="UNOISE_STOW_TOKEN") as error:
        connect("", "http://h/x")
    assert "X-Other" not in str(error.value)


def test_an_address_of_ip_6(out: Any) -> None:
    try:
        http.server.ThreadingHTTPServer.address_family = socket.AF_INET6
        probe = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    finally:
        http.server.ThreadingHTTPServer.address_family = socket.AF_INET
    with probe, pytest.raises(Environment, match=r"http://\[::1\]:\d+/x - cannot be reached"):
        port = probe.getsockname()[1]
        probe.close()
        stow(out, f"http://[::1]:{port}/x", retries=0)


def spoilt(folder: Any, name: Any, edit: Any) -> None:
    ds = pydicom.dcmread(folder / "segmentation.dcm")
    edit(ds)
    ds.save_as(folder / name, enforce_file_format=False)


BROKEN = {
    "empty class": lambda ds: setattr(ds, "SOPClassUID", ""),
    "no class": lambda ds: delattr(ds, "SOPClassUID"),
    "class is text": lambda ds: ds.__setitem__(
        "SOPClassUID", pydicom.DataElement("SOPClassUID", "UI", "CT IMAGE", True)
    ),
    "no such class": lambda ds: setattr(ds, "SOPClassUID", "1.2.03.4"),
    "empty instance": lambda ds: setattr(ds, "SOPInstanceUID", ""),
    "no study": lambda ds: delattr(ds, "StudyInstanceUID"),
    "empty series": lambda ds: setattr(ds, "SeriesInstanceUID", ""),
    "another instance": lambda ds: setattr(ds, "SOPInstanceUID", "1.2.3"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", ["store", "stow"])
def test_broken_objects_are_a_sentence_each_and_the_others_go(
    out: Any, capsys: pytest.CaptureFixture[str], way: Any
) -> None:
    folder = out / "ct"
    for k, edit in enumerate(BROKEN.values()):
        spoilt(folder, f"a{k}.dcm", edit)
    whole = (folder / "segmentation.dcm").read_bytes()
    (folder / "cut.dcm").write_bytes(whole[:700])
    (folder / "empty.dcm").touch()
    (folder / "x-behind-header.dcm").write_bytes(whole[:-40])
    (folder / "folder.dcm").mkdir()
    if way == "store":
        with archive() as (port, received):
            failed = send_to(out, port)[0]
            assert len(received) == 3 + len(BROKEN) + 3 - failed
    else:
        with web(lambda n, uid: (200, stored(uid))) as (url, _):
            failed = stow(out, url)[0]
    assert failed >= len(BROKEN) + 2
    said = capsys.readouterr()
    assert said.err.count("no whole DICOM object") >= len(BROKEN) and "Traceback" not in said.err
    assert said.out.count("SENT ct/") == 3 + len(BROKEN) + 3 - failed
    sent = {r["object"] for r in records(out) if r["status"] == "SENT"}
    assert {"ct/importance-unoise.dcm", "ct/overlay-unoise-003.dcm", "ct/segmentation.dcm"} <= sent


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders on this system")
@pytest.mark.parametrize("way", ["store", "stow"])
def test_only_regular_files_are_opened(out: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], way: Any) -> None:
    folder = out / "ct"
    os.mkfifo(folder / "pipe.dcm")
    (folder / "endless.dcm").symlink_to("/dev/zero")
    (folder / "lost.dcm").symlink_to(tmp_path / "nothing")
    (folder / "loop.dcm").symlink_to(folder / "loop.dcm")
    (tmp_path / "kept.dcm").write_bytes((folder / "segmentation.dcm").read_bytes())
    (folder / "segmentation.dcm").unlink()
    (folder / "segmentation.dcm").symlink_to(tmp_path / "kept.dcm")  # a store of files by content
    for _ in range(2):  # the second call reads the record of the first
        if way == "store":
            with archive() as (port, _):
                assert send_to(out, port)[0] == 4
        else:
            with web(lambda n, uid: (200, stored(uid))) as (url, _):
                assert stow(out, url)[0] == 4
        said = capsys.readouterr().err
        assert said.count("is no regular file") == 2 and said.count("cannot be read") == 2, said


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders on this system")
@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_a_record_that_is_no_file_is_left_alone(out: Any, tmp_path: Path, kind: Any) -> None:
    other = tmp_path / "diary.txt"
    other.write_text("dear diary")
    os.mkfifo(out / "send.jsonl") if kind == "pipe" else (out / "send.jsonl").symlink_to(other)
    with archive() as (port, received), pytest.raises(Environment, match=r"send\.jsonl - was not made here"):
        send_to(out, port)
    assert received == [] and other.read_text() == "dear diary"
