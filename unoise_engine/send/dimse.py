"""An archive that is spoken to by C-STORE (DIMSE, the classic DICOM network protocol)."""

from __future__ import annotations

import logging
import re
import ssl
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, Association
from pynetdicom.status import code_to_category

from unoise_engine.errors import Environment, Usage
from unoise_engine.send.archive import Answer, Unreachable

ADDRESS = re.compile(r"(?P<ae>[^@\\]{1,16})@(?P<host>[^@\s]+):(?P<port>\d{1,5})")
CONNECT_S, ANSWER_S = 10, 120
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
        self.tls = _context(ca, cert) if tls else None
        self.ae = AE(ae_title=calling_ae)
        self.ae.acse_timeout = self.ae.connection_timeout = CONNECT_S
        self.ae.dimse_timeout = self.ae.network_timeout = ANSWER_S
        self.association: Association | None = None

    def prepare(self, paths: list[Path]) -> None:
        contexts: set[tuple[UID, UID]] = set()
        for path in paths:
            kind, syntax = _kind(path)
            if not kind:
                continue  # send() says that this file is no DICOM object
            contexts.add((kind, syntax))
            if syntax == ExplicitVRLittleEndian:  # the one syntax that every archive takes: re-encoded if need be
                contexts.add((kind, ImplicitVRLittleEndian))
        for kind, syntax in sorted(contexts):
            self.ae.add_requested_context(kind, syntax)

    def send(self, path: Path) -> Answer:
        try:
            dataset = dcmread(path)
        except Exception as error:
            return Answer(False, f"is no readable DICOM object ({type(error).__name__})")
        if self.association is None or not self.association.is_established:
            self.association = self._associate()
        try:
            status = self.association.send_c_store(dataset)
        except ValueError:  # no presentation context was accepted for it
            kind = dataset.SOPClassUID.name
            return Answer(False, f"the archive does not take {kind} in {dataset.file_meta.TransferSyntaxUID.name}")
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


def _kind(path: Path) -> tuple[UID, UID]:
    """SOP class and transfer syntax; empty for what is no DICOM object."""
    try:
        meta = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"]).file_meta
        return meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID
    except Exception:
        return UID(""), UID("")


def _context(ca: Path | None, cert: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
        if cert is not None:
            context.load_cert_chain(str(cert))
    except (ssl.SSLError, OSError) as error:
        raise Environment(cert or ca, f"cannot be used for TLS ({error})", "give PEM files") from None
    return context
