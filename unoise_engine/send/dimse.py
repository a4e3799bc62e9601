"""An archive that is spoken to by C-STORE (DIMSE, the classic DICOM network protocol)."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.ae import ApplicationEntity as AE
from pynetdicom.association import Association
from pynetdicom.status import code_to_category

from unoise_engine.errors import Usage
from unoise_engine.send.archive import Answer, Unreachable
from unoise_engine.send.object import Broken, SentObject
from unoise_engine.send.tls import context

ADDRESS = re.compile(r"(?P<ae>[^@\\]{1,16})@(?P<host>[^@\s]+):(?P<port>\d{1,5})")
CONNECT_S, ANSWER_S = 10, 120
MOST_CONTEXTS = 128  # PS3.8: their numbers are odd and fill a byte
# Out of resources, processing failure: archives say so while they are busy.
PASSING = {0x0110, *range(0xA700, 0xA800)}


class StoreArchive:
    def __init__(
        self, address: str, calling_ae: str, tls: bool = False, ca: Path | None = None, cert: Path | None = None
    ):
        match = ADDRESS.fullmatch(address.strip())
        if match is None or not 0 < int(match["port"]) < 65536:
            raise Usage(f"--to {address}", "is no address", "write it as AE@host:port, for example PACS@10.0.0.5:104")
        if not 0 < len(calling_ae.strip()) <= 16 or "\\" in calling_ae:
            raise Usage(f"--calling-ae {calling_ae}", "is no title", "give 1 to 16 characters")
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)  # it logs data sets; we say what matters
        self.name = address.strip()
        self.called, self.host, self.port = match["ae"], match["host"].strip("[]"), int(match["port"])
        self.tls = context(ca, cert) if tls else None
        self.ae = AE(ae_title=calling_ae)
        self.ae.acse_timeout = self.ae.connection_timeout = CONNECT_S
        self.ae.dimse_timeout = self.ae.network_timeout = ANSWER_S
        self.association: Association | None = None

    def prepare(self, paths: list[Path]) -> None:
        contexts: set[tuple[UID, UID]] = set()
        for path in paths:
            try:
                one = SentObject.read(path)
            except Broken:
                continue  # send() says so
            contexts.add((one.kind, one.syntax))
            if one.syntax == ExplicitVRLittleEndian:  # the one that every archive takes: re-encoded if need be
                contexts.add((one.kind, ImplicitVRLittleEndian))
        if len(contexts) > MOST_CONTEXTS:
            what = f"cannot offer {len(contexts)} kinds of objects at once, only {MOST_CONTEXTS}"
            raise Usage("send", what, "send parts of the folder")
        for kind, syntax in sorted(contexts):
            self.ae.add_requested_context(kind, syntax)

    def send(self, path: Path) -> Answer:
        try:
            sent = SentObject.read(path)
            dataset = dcmread(path)
        except Broken as error:
            return Answer(False, str(error))
        except Exception as error:  # behind its header
            return Answer(False, f"is no readable DICOM object ({type(error).__name__})")
        if self.association is None or not self.association.is_established:
            self.association = self._associate()
        try:
            status = self.association.send_c_store(dataset)
        except (ValueError, AttributeError, NotImplementedError) as error:
            if sent.kind in {c.abstract_syntax for c in self.association.accepted_contexts}:
                return Answer(False, f"cannot be encoded for the archive ({type(error).__name__})")
            return Answer(False, f"the archive does not take {sent.kind.name} in {sent.syntax.name}")
        except (RuntimeError, OSError) as error:
            raise Unreachable(f"connection lost ({type(error).__name__})") from None
        if "Status" not in status:
            return Answer(False, "no answer: connection lost or timed out", passing=True)
        code = int(status.Status)
        if code == 0:
            return Answer(True)
        return Answer(False, f"archive answered {code_to_category(code)} 0x{code:04X}", passing=code in PASSING)

    def _associate(self) -> Association:
        tls = (self.tls, self.host) if self.tls else None
        try:
            association = self.ae.associate(self.host, self.port, ae_title=self.called, tls_args=tls)
        except (RuntimeError, OSError) as error:
            raise Unreachable(type(error).__name__) from None
        if association.is_established:
            return association
        if association.is_rejected:
            primitive = association.acceptor.primitive
            raise Unreachable(f"association rejected: {getattr(primitive, 'reason_str', 'no reason given')}")
        raise Unreachable("no connection" if not self.tls else "no connection, or TLS refused")

    def close(self) -> None:
        if self.association is not None and self.association.is_established:
            self.association.release()
