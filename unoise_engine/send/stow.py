"""An archive that is spoken to by STOW-RS (DICOMweb)."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from dicomweb_client.session_utils import create_session
from dicomweb_client.web import DICOMwebClient
from pydicom import dcmread

from unoise_engine.errors import Usage
from unoise_engine.send.archive import Answer, Unreachable

TOKEN = "UNOISE_STOW_TOKEN"  # noqa: S105 - the name of a variable
TIMEOUT_S = (10.0, 120.0)  # to connect, to answer
PASSING = {408, 429, 500, 502, 503, 504}


class StowArchive:
    """A user and password may stand in the URL, a bearer token in the environment; neither is printed or recorded."""

    def __init__(self, url: str, ca: Path | None = None, cert: Path | None = None):
        parts = urlsplit(url.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Usage("--stow", "is no URL", "write it like https://archive/dicom-web")
        self.name = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
        logging.getLogger("dicomweb_client").setLevel(logging.CRITICAL + 1)
        session = create_session()
        session.verify = str(ca) if ca else True
        session.cert = str(cert) if cert else None
        session.trust_env = False  # no proxy or password from elsewhere: patient data goes where it was told
        if parts.username:
            session.auth = (parts.username, parts.password or "")
        headers = {"Authorization": f"Bearer {os.environ[TOKEN]}"} if os.environ.get(TOKEN) else None
        self.status = 0
        self.client = DICOMwebClient(
            self.name, session=session, headers=headers, callback=self._remember, timeout=TIMEOUT_S
        )
        self.client.set_http_retry_params(retry=False)  # retries are counted in one place

    def _remember(self, response: Any, *_: object, **__: object) -> Any:
        self.status = int(response.status_code)
        return response

    def prepare(self, paths: list[Path]) -> None:
        pass

    def send(self, path: Path) -> Answer:
        try:
            dataset = dcmread(path)
        except Exception as error:
            return Answer(False, f"is no readable DICOM object ({type(error).__name__})")
        self.status = 0
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                body = self.client.store_instances([dataset])
        except OSError as error:  # every error of the HTTP library is one
            if self.status:
                return Answer(False, f"archive answered HTTP {self.status}", passing=self.status in PASSING)
            raise Unreachable(type(error).__name__) from None
        except Exception as error:
            return Answer(False, f"archive's answer (HTTP {self.status}) cannot be read ({type(error).__name__})")
        return _judge(self.status, body, str(dataset.SOPInstanceUID))

    def close(self) -> None:
        pass


def _judge(status: int, body: Any, uid: str) -> Answer:
    """PS3.18, 10.5.3: HTTP 200 and our instance among those stored, without a warning."""
    for item in body.get("FailedSOPSequence") or []:
        if item.get("ReferencedSOPInstanceUID") == uid:
            reason = int(item.get("FailureReason") or 0)
            return Answer(False, f"archive answered failure 0x{reason:04X}", passing=0xA700 <= reason < 0xA800)
    for item in body.get("ReferencedSOPSequence") or []:
        if item.get("ReferencedSOPInstanceUID") == uid:
            if item.get("WarningReason"):
                return Answer(False, f"archive changed it: warning 0x{int(item.WarningReason):04X}")
            if status in (200, 202):
                return Answer(True)
    return Answer(False, f"archive answered HTTP {status} without naming the object as stored")
