"""An archive that is spoken to by STOW-RS (DICOMweb).

One request an object, over a connection of its own, to the one address that was given: no redirect is followed, no
proxy asked, no cookie kept. The answer is bounded in time and size.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from pydicom import Dataset

from unoise_engine.errors import Usage, printable
from unoise_engine.send.archive import Answer, Unreachable
from unoise_engine.send.object import Broken, SentObject
from unoise_engine.send.tls import context

TOKEN = "UNOISE_STOW_TOKEN"  # noqa: S105 - the name of a variable
CONNECT_S = 10.0
SILENCE_S = 120.0  # an archive may think so long before its answer begins
ANSWER_S = 20.0  # ... and then has so long for all of it
SLOWEST_BYTES_S = 50_000  # an upload that is slower is given up
LONGEST_ANSWER = 4 << 20  # bytes; that about one object has some hundred
PIECE = 1 << 16
PLACE = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")
PORTS = {"http": 80, "https": 443}
PASSING = {408, 429, 500, 502, 503, 504}
REDIRECTS = {301, 302, 303, 307, 308}


class StowArchive:
    """A user and password may stand in the URL, a bearer token in the environment; neither is printed or recorded."""

    def __init__(self, url: str, ca: Path | None = None, cert: Path | None = None):
        try:
            parts = urlsplit(url.strip())
            self.host, self.port = parts.hostname or "", parts.port or PORTS[parts.scheme]
        except (ValueError, KeyError):  # an open bracket, a port beyond 65535, another scheme
            self.host = ""
        place = parts.netloc.rpartition("@")[2] if self.host else ""
        if not PLACE.fullmatch(place) or not _plain(parts.path):
            raise Usage("--stow", "is no URL", "write it like https://archive/dicom-web")
        self.name = urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", ""))
        self.path = f"{parts.path.rstrip('/')}/studies"
        self.tls = context(ca, cert) if parts.scheme == "https" else None
        self.headers = {"Accept": "application/dicom+json"}
        if os.environ.get(TOKEN):
            if not _plain(os.environ[TOKEN]):
                raise Usage(TOKEN, "holds characters that no token has", "set it again")
            self.headers["Authorization"] = f"Bearer {os.environ[TOKEN]}"
        elif parts.username:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self.headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"

    def prepare(self, paths: list[Path]) -> None:
        pass

    def send(self, path: Path) -> Answer:
        try:
            sent = SentObject.read(path)
        except Broken as error:
            return Answer(False, str(error))
        connection = self._connection()
        try:
            return self._exchange(connection, path, sent.instance)
        except OSError as error:
            raise Unreachable(type(error).__name__) from None
        except http.client.HTTPException as error:
            return Answer(False, f"archive's answer breaks off or is no HTTP ({type(error).__name__})")
        finally:
            connection.close()

    def close(self) -> None:
        pass

    def _connection(self) -> http.client.HTTPConnection:
        if self.tls is None:
            return http.client.HTTPConnection(self.host, self.port, timeout=CONNECT_S)
        return http.client.HTTPSConnection(self.host, self.port, timeout=CONNECT_S, context=self.tls)

    def _exchange(self, connection: http.client.HTTPConnection, path: Path, uid: str) -> Answer:
        connection.connect()
        size = path.stat().st_size
        with _at_most(connection.sock, SILENCE_S + size / SLOWEST_BYTES_S):
            with suppress(BrokenPipeError, ConnectionResetError):  # it may answer before it has read all
                self._upload(connection, path, size)
            response = http.client.HTTPResponse(connection.sock, method="POST")
            response.fp.peek(1)  # returns with the answer's first byte
        try:
            with _at_most(connection.sock, ANSWER_S):
                response.begin()
                where = response.getheader("Location")
                body = b"" if response.status in REDIRECTS else response.read(LONGEST_ANSWER + 1)
        except TimeoutError:
            return Answer(False, f"archive's answer was not complete after {ANSWER_S:.0f} s")
        finally:
            response.close()
        if len(body) > LONGEST_ANSWER:
            return Answer(False, f"archive's answer is longer than {LONGEST_ANSWER >> 20} MiB")
        if response.status in REDIRECTS:
            return Answer(False, f"archive answered HTTP {response.status} and {_elsewhere(where)}")
        if response.status not in (200, 202):
            return Answer(False, f"archive answered HTTP {response.status}", passing=response.status in PASSING)
        return _judge(response.status, body, uid)

    def _upload(self, connection: http.client.HTTPConnection, path: Path, size: int) -> None:
        """The file as it is, the one part of a multipart message."""
        boundary = uuid.uuid4().hex
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        length = {"Content-Length": str(len(head) + size + len(tail))}
        connection.sock.settimeout(SILENCE_S)
        connection.request("POST", self.path, None, {**self.headers, **length, "Content-Type": kind})
        connection.send(head)
        with path.open("rb") as f:
            while piece := f.read(PIECE):
                connection.send(piece)
        connection.send(tail)


@contextmanager
def _at_most(sock: socket.socket, seconds: float) -> Iterator[None]:
    """Ends whatever the connection is waiting for. A socket's own timeout begins anew with every byte that arrives.

    Raises TimeoutError if the time ran out.
    """
    late = threading.Event()

    def cut() -> None:
        late.set()
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not TLS's own, which is not for a second thread

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, ValueError, http.client.HTTPException):
        if not late.is_set():
            raise
    finally:
        timer.cancel()
    if late.is_set():
        raise TimeoutError


def _plain(text: str) -> bool:
    """Nothing that could end a line of a request, or that a host or path may not hold unescaped."""
    return text.isascii() and text.isprintable() and " " not in text


def _elsewhere(location: str | None) -> str:
    """Where a redirect leads, without the password or the query that may stand in it."""
    try:
        parts = urlsplit(location or "")
        there = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    except ValueError:
        there = ""
    shown = f"points to {printable(there)[:200]}" if there else "points elsewhere"
    return f"{shown}, which is not followed: if that is the archive, give its address"


def _judge(status: int, body: bytes, uid: str) -> Answer:
    """PS3.18, 10.5.3: HTTP 200 and our instance among those stored, without a warning."""
    try:
        answer = Dataset.from_json(json.loads(body or b"{}"))
        failed = _about(answer, "FailedSOPSequence", uid)
        if failed is not None:
            reason = int(failed.get("FailureReason") or 0)
            return Answer(False, f"archive answered failure 0x{reason:04X}", passing=0xA700 <= reason < 0xA800)
        stored = _about(answer, "ReferencedSOPSequence", uid)
        if stored is not None and stored.get("WarningReason"):
            return Answer(False, f"archive changed it: warning 0x{int(stored.WarningReason):04X}")
    except Exception as error:  # whatever an archive may make of it
        return Answer(False, f"archive's answer (HTTP {status}) cannot be read ({type(error).__name__})")
    if stored is not None:
        return Answer(True)
    return Answer(False, f"archive answered HTTP {status} without naming the object as stored")


def _about(answer: Dataset, sequence: str, uid: str) -> Dataset | None:
    return next((i for i in answer.get(sequence) or [] if i.get("ReferencedSOPInstanceUID") == uid), None)
