"""The page itself: one HTML file that holds its data, styles and script, and loads nothing but the viewer beside it.

OUT/viewer/niivue-<version>.js (once for all cases) and OUT/<case>/view.html, which a browser opens from the disk. A
Content-Security-Policy forbids every connection; scripts run only if their hash is listed, or if they lie beside the
page.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unoise_engine.errors import Environment
from unoise_engine.files import copy, write
from unoise_engine.shipped import shipped

PAGE = "view.html"
FOLDER = "viewer"  # in the output folder, beside the cases
HERE = Path(__file__).parent


def viewer() -> tuple[Path, Path]:
    """NiiVue as it ships, and its licences. Raises Environment."""
    files = shipped("viewer", "niivue*")
    scripts = [path for path in files.values() if path.suffix == ".js"]
    if not scripts:
        raise Environment("the viewer", "did not come with this installation", "install the engine again")
    return scripts[0], files["niivue-LICENSE"]


def copy_viewer(out: Path) -> str:
    """Puts it into the output folder, unless it is there, and returns where a case's page finds it. Raises OSError, and
    Environment where something else has its name."""
    if os.path.lexists(out / FOLDER) and not (out / FOLDER).is_dir():
        what = "is no folder, and the viewer of the pages goes there"
        raise Environment(out / FOLDER, what, "move it away, or choose another output folder")
    (out / FOLDER).mkdir(exist_ok=True)
    for path in viewer():
        copy(path, out / FOLDER / path.name)
    return f"../{FOLDER}/{viewer()[0].name}"


def write_page(path: Path, source: str, facts: Mapping[str, Any], volumes: Mapping[str, bytes]) -> None:
    """`source`: the viewer, as seen from the page. `facts`: what the page says (view.js reads them); `volumes`: packed,
    by name. Replaces an earlier page. Raises OSError, Environment."""
    style, script = ((HERE / name).read_text("utf-8") for name in ("view.css", "view.js"))
    data = "\n".join(
        f'<script type="text/plain" data-volume="{html.escape(name)}">{base64.b64encode(packed).decode()}</script>'
        for name, packed in volumes.items()
    )
    parts = {
        "TITLE": html.escape(f"{facts['case']} - {facts['model']}"),
        "POLICY": f"default-src 'none'; script-src 'self' file: {_hash(script)}; style-src {_hash(style)}; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'",
        "VERSION": html.escape(facts["page"]),
        "STYLE": style,
        "SCRIPT": script,
        "SOURCE": html.escape(source),
        "FACTS": json.dumps(facts, allow_nan=False).replace("<", "\\u003c"),
        "DATA": data,
    }
    page = (HERE / "view.html").read_text("utf-8")
    write(path, re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], page), replace=True)


def made_by(path: Path) -> str:
    """The engine's version that wrote a page; empty for none."""
    try:
        with path.open("rb") as file:
            found = re.search(rb'<meta name="generator" content="unoise_engine ([^"]+)">', file.read(4096))
    except OSError:
        return ""
    return found[1].decode() if found else ""


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
