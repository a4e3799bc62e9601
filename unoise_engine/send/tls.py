"""What both ways of sending trust, and who they say they are."""

from __future__ import annotations

import ssl
from pathlib import Path

from unoise_engine.errors import Environment


def context(ca: Path | None, cert: Path | None) -> ssl.SSLContext:
    """`ca` are the authorities trusted, else the system's; `cert` is a client's certificate and key. PEM files.

    Raises Environment if they cannot be used.
    """
    try:
        made = ssl.create_default_context(cafile=str(ca) if ca else None)
        if cert is not None:
            made.load_cert_chain(str(cert))
    except (ssl.SSLError, OSError) as error:
        raise Environment(cert or ca, f"cannot be used for TLS ({error})", "give PEM files") from None
    return made
