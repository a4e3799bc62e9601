"""All cases of an output folder at a glance: summary.csv for spreadsheets, summary.html for people. No names in either.

summary.html is one page that needs no server and no network: codes and filters are in it, a few lines of script.
The cases stand in a template, of which it shows those that are asked for, some at a time, and pictures stay in the
cases' folders beside it: so the page of ten thousand cases opens at once too.
"""

from __future__ import annotations

import html
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from unoise_engine.batch.ledger import latest
from unoise_engine.batch.records import EXPLAINED, STATUSES
from unoise_engine.files import write
from unoise_engine.lock import held
from unoise_engine.results.view.page import PAGE as VIEW
from unoise_engine.spreadsheet import csv_text

FILES = ("summary.csv", "summary.html")
COLUMNS = (
    "case", "status", "code", "message", "organ", "organ_found", "volume_ml", "corrections", "warnings", "notes",
    "verdicts", "seconds", "input_sha256", "model_sha256", "finished",
)  # fmt: skip


def write_summary(out: Path, warning: str) -> None:
    """Both files anew, each in one rename. Nothing is written for a single case: its report says it all."""
    with held(out, "summary", wait_s=600):
        lines = latest(out)
        if len(lines) < 2:
            return
        rows = [[row[column] for column in COLUMNS] for row in map(_row, lines)]
        write(out / FILES[0], csv_text([COLUMNS, *rows]), replace=True)
        write(out / FILES[1], page(lines, out, warning), replace=True)


def page(lines: list[dict[str, Any]], out: Path, warning: str) -> str:
    counts = Counter(line["status"] for line in lines)
    codes = Counter(line["code"] for line in lines if line["code"])
    buttons = [_button("", "all", len(lines))]
    buttons += [_button(status, status, counts[status]) for status in STATUSES if counts[status]]
    buttons += [_button(code, code, n) for code, n in sorted(codes.items())]
    missing = sum(1 for line in lines if line["status"] in EXPLAINED and not (line["organ"] or {}).get("found"))
    if missing:
        buttons.append(_button("no-organ", "no organ found", missing))
    if doubted := sum(1 for line in lines if line.get("warnings")):
        buttons.append(_button("doubt", "with warnings", doubted))
    equation = " + ".join(f"{counts[status]} {status.lower()}" for status in STATUSES)
    body = "\n".join(_article(line, out) for line in lines)
    return PAGE.format(
        total=len(lines),
        equation=html.escape(equation),
        warning=html.escape(warning),
        buttons="\n".join(buttons),
        body=body,
    )


def _row(line: dict[str, Any]) -> dict[str, Any]:
    organ, seconds = line["organ"] or {}, line["seconds"] or {}
    return {
        **line,
        "organ": organ.get("name", ""),
        "organ_found": organ.get("found", ""),
        "volume_ml": organ.get("volume_ml", ""),
        "corrections": "; ".join(line["corrections"] or ()),
        "warnings": "; ".join(line.get("warnings") or ()),
        "notes": "; ".join(line["notes"] or ()),
        "verdicts": "; ".join(line.get("verdicts") or ()),
        "seconds": round(sum(seconds.values()), 2) if seconds else "",
    }


def _button(key: str, label: str, count: int) -> str:
    pressed = "true" if not key else "false"
    return (
        f'<button data-key="{html.escape(key)}" aria-pressed="{pressed}">{html.escape(label)} <b>{count}</b></button>'
    )


def _article(line: dict[str, Any], out: Path) -> str:
    case, row = html.escape(line["case"]), _row(line)
    done = line["status"] in EXPLAINED
    keys = [line["status"], line["code"], "no-organ" if done and not row["organ_found"] else ""]
    keys.append("doubt" if row["warnings"] else "")
    picture = _picture(line["case"], out) + _page(line["case"], out) if done else ""
    facts = []
    if done:
        found = f"{row['organ']} {row['volume_ml']:.1f} ml" if row["organ_found"] else f"no {row['organ']} found"
        facts.append(f"<p>{html.escape(found)} <small>{row['seconds']} s</small></p>")
    said = [line["message"], *(line["corrections"] or ()), *(line.get("warnings") or ()), *(line["notes"] or ())]
    said += line.get("verdicts") or ()
    facts += [f"<p>{html.escape(sentence)}</p>" for sentence in said if sentence]
    code = f" <code>{html.escape(line['code'])}</code>" if line["code"] else ""
    status = html.escape(line["status"])
    return (
        f'<article data-keys="{html.escape(" ".join(filter(None, keys)))}" class="{status.lower()}">'
        f"<h2>{case}</h2><p><span>{status}</span>{code}</p>{picture}{''.join(facts)}</article>"
    )


def _picture(case: str, out: Path) -> str:
    if not all((out / case / name).is_file() for name in ("thumbnail.jpg", "overview.png")):
        return ""
    place = quote(case)
    image = f'<img alt="overview of {html.escape(case)}" src="{place}/thumbnail.jpg">'
    return f'<a href="{place}/overview.png">{image}</a>'


def _page(case: str, out: Path) -> str:
    return f'<p><a href="{quote(case)}/{VIEW}">Look through the slices</a></p>' if (out / case / VIEW).is_file() else ""


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{total} cases</title>
<style>
:root {{ color-scheme: light dark; --line: #8886; }}
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 1500px; padding: 0 1rem }}
h1 {{ font-size: 1.4rem; margin: 0 }}
.warning {{ color: #b35a00; font-weight: 600; margin: .3rem 0 1rem }}
nav {{ display: flex; flex-wrap: wrap; gap: .4rem; margin: 1rem 0; position: sticky; top: 0; padding: .5rem 0;
  background: Canvas }}
button, input {{ font: inherit; padding: .25rem .7rem; border: 1px solid var(--line); border-radius: 1rem;
  background: none; color: inherit }}
button {{ cursor: pointer }}
button[aria-pressed=true] {{ background: #2563eb; color: white; border-color: #2563eb }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(430px, 1fr)); gap: .8rem }}
article {{ border: 1px solid var(--line); border-left: 5px solid #2e9e5b; border-radius: .4rem; padding: .6rem .8rem;
  overflow-wrap: anywhere }}
article.corrected {{ border-left-color: #2563eb }}
article.refused {{ border-left-color: #d97706 }}
article.failed {{ border-left-color: #dc2626 }}
article h2 {{ font-size: 1rem; margin: 0; float: left; margin-right: .6rem }}
article p {{ margin: .15rem 0 }}
article img {{ display: block; height: 110px; max-width: 100%; margin: .35rem 0; object-fit: contain;
  object-position: left }}
span {{ font-size: .8rem; font-weight: 600 }}
[hidden] {{ display: none }}
</style></head><body>
<h1>{total} cases = {equation}</h1>
<p class="warning">{warning}</p>
<nav>
{buttons}
<input type="search" placeholder="find a case or a word" aria-label="find">
</nav>
<main></main>
<p id="end"></p>
<noscript>The cases are shown by a script: allow scripts, or read summary.csv.</noscript>
<template>
{body}
</template>
<script>
const all = [...document.querySelector("template").content.children];
const texts = all.map(one => one.textContent.toLowerCase());
const buttons = [...document.querySelectorAll("button")], find = document.querySelector("input");
const main = document.querySelector("main"), end = document.querySelector("#end"), PAGE = 60;
let key = "", fits = all, shown = 0;
function more() {{
  while (shown < fits.length && end.getBoundingClientRect().top < 2 * innerHeight) {{
    main.append(...fits.slice(shown, shown + PAGE));
    shown = Math.min(shown + PAGE, fits.length);
  }}
  end.textContent = shown < fits.length ? `${{shown}} of ${{fits.length}}` : fits.length ? "" : "no case";
}}
function show() {{
  const word = find.value.toLowerCase();
  fits = all.filter((one, k) => (!key || one.dataset.keys.split(" ").includes(key)) && texts[k].includes(word));
  main.replaceChildren();
  shown = 0;
  more();
  for (const b of buttons) b.setAttribute("aria-pressed", b.dataset.key === key);
}}
for (const b of buttons) b.addEventListener("click", () => {{ key = b.dataset.key; show(); }});
find.addEventListener("input", show);
addEventListener("scroll", more);
addEventListener("resize", more);
show();
</script>
</body></html>
"""
