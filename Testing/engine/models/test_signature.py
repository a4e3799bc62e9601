"""Signatures, checked against files that minisign 0.11 made."""

import base64
import shutil
from pathlib import Path
from typing import Any

import pytest

from unoise_engine.errors import Integrity, Usage
from unoise_engine.models.install import install
from unoise_engine.models.signature import read_key, verify_signature

pytest.importorskip("cryptography", reason="the extra 'signed' is not installed")

MANIFEST = '{"a bundle": "signed by the real minisign"}\n'
KEY = """untrusted comment: minisign public key 228893A6302783F1
RWTxgycwppOIIgdpgQO/hFnA2Pm1G5YNvreWy9vpRuf3BJOemeRSizSZ
"""
HASHED = """untrusted comment: signature from minisign secret key
RUTxgycwppOIIg0qj4+R4eA9aeOkX56qbge1yKa2Gi4JZXZw4WbfRouXn4Du4vVZ/Rb0QjYb3KdpMXPlu4UYdMvnLW0oe6/n9g4=
trusted comment: tiny 1.0, for tests
ekw8uELztwJrNwpabmKJ2IL/66FItnwyICBQ8/vziByjcdDoSpJlRsK6pEYjGKX125acWEIe2OePifMiXKI3Cw==
"""
LEGACY = """untrusted comment: signature from minisign secret key
RWTxgycwppOIIkUjQRMufzW7CdiVQv7qxjrqmTU7bq9DB2HOymLrUw4zCUAHIwfyrGb5SbW1tCsmSvD89aQ4c/2hCo1TH1MOFgA=
trusted comment: legacy
1cmnP54rEdozOzwfZuHAFTtp+B8Qcv6VhwvaIhFOHvN3MiSmukvDarWwK/4hYkUR9Lv6mFgwJvalgcsWCfpOBg==
"""


@pytest.fixture
def signed(tmp_path: Path) -> Any:
    (tmp_path / "bundle.json").write_bytes(MANIFEST.encode())
    (tmp_path / "bundle.json.minisig").write_text(HASHED)
    return tmp_path


def test_what_minisign_signed_is_good(signed: Any) -> None:
    assert verify_signature(signed, read_key(KEY.splitlines()[1])) == "tiny 1.0, for tests"
    (signed / "key.pub").write_text(KEY)
    (signed / "bundle.json.minisig").write_text(LEGACY)
    assert verify_signature(signed, read_key(str(signed / "key.pub"))) == "legacy"


def test_one_changed_letter_anywhere_is_not(signed: Any) -> None:
    key = read_key(KEY.splitlines()[1])
    (signed / "bundle.json").write_bytes(MANIFEST.replace("real", "fake").encode())
    with pytest.raises(Integrity, match="altered"):
        verify_signature(signed, key)
    (signed / "bundle.json").write_bytes(MANIFEST.encode())
    for old, new in (("for tests", "for all"), ("aeOkX", "aeOkY"), ("wpabm", "wpabn")):
        assert old in HASHED
        (signed / "bundle.json.minisig").write_text(HASHED.replace(old, new))
        with pytest.raises(Integrity, match="altered"):
            verify_signature(signed, key)
    for nonsense in ("", "hello", HASHED.replace("trusted comment: tiny", "tiny"), "\n".join(HASHED.split("\n")[:2])):
        (signed / "bundle.json.minisig").write_text(nonsense)
        with pytest.raises(Integrity, match="no minisign signature"):
            verify_signature(signed, key)


def test_another_key_and_no_signature(signed: Any) -> None:
    raw = bytearray(base64.b64decode(KEY.splitlines()[1]))
    raw[5] ^= 1
    with pytest.raises(Integrity, match="another key"):
        verify_signature(signed, read_key(base64.b64encode(raw).decode()))
    (signed / "bundle.json.minisig").unlink()
    with pytest.raises(Integrity, match="not signed"):
        verify_signature(signed, read_key(KEY.splitlines()[1]))
    for nonsense in ("", "abc", "RWQ=", KEY.splitlines()[1][:-4]):
        with pytest.raises(Usage, match="--key"):
            read_key(nonsense)


def test_install_asks_for_the_signature_and_keeps_it(
    tiny_bundle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    monkeypatch.setenv("UNOISE_MODELS", str(tmp_path / "home"))
    private, number = Ed25519PrivateKey.generate(), b"12345678"
    key = read_key(base64.b64encode(b"Ed" + number + private.public_key().public_bytes_raw()).decode())
    bundle = shutil.copytree(tiny_bundle, tmp_path / "signed")
    with pytest.raises(Integrity, match="not signed"):
        install(bundle, key)
    over = private.sign((bundle / "bundle.json").read_bytes())
    ours, theirs = (base64.b64encode(part).decode() for part in (b"Ed" + number + over, private.sign(over + b"me")))
    text = f"untrusted comment: x\n{ours}\ntrusted comment: me\n{theirs}\n"
    (bundle / "bundle.json.minisig").write_text(text)
    _, folder = install(bundle, key)
    assert verify_signature(folder, key) == "me"
