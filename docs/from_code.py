"""Hooks of mkdocs: reference pages from the code, notebooks as pages, and links that leave docs/ as they stand in the
repository."""

from __future__ import annotations

import ast
import json
import posixpath
import re
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

ROOT = Path(__file__).parents[1]
# Files outside of docs/ that are pages or pictures of the site.
BESIDE = (
    "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md", "CHANGELOG.md", "Resources/Recipes/README.md",
    "Resources/Screenshots/*.png", "Resources/Models/*/MODEL_CARD.md", "Resources/Models/*/*.png",
)  # fmt: skip
WORDS = {"int": "whole number", "float": "number", "bool": "true or false", "str": "text"}
LINK = re.compile(r"(\]\(|<img src=\")([^)#\s\"]+)")


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    for pattern in BESIDE:
        for path in sorted(ROOT.glob(pattern)):
            files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    for path in sorted((ROOT / "docs").rglob("*.ipynb")):
        page = path.relative_to(ROOT / "docs").with_suffix(".md").as_posix()
        files.append(File.generated(config, page, content=notebook(path)))
    return files


def notebook(path: Path) -> str:
    """A notebook as Markdown, with the outputs that it was committed with; its links are checked like a page's own."""
    parts = []
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        magic, _, rest = source.partition("\n")
        kind, code = ("sh", rest) if magic == "%%sh" else ("toml", rest) if ".toml" in magic else ("python", source)
        parts.append(f"```{kind}\n{code}\n```")
        parts += [_output(one) for one in cell["outputs"]]
    parts.insert(1, f"[The notebook itself]({path.name}), to run.")
    return "\n\n".join(parts) + "\n"


def _output(one: dict[str, Any]) -> str:
    data = one.get("data", {})
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            return f'<img alt="output" src="data:{kind};base64,{"".join(data[kind].split())}">'
    if "text/markdown" in data:
        return re.sub(r"^#", "###", "".join(data["text/markdown"]), flags=re.MULTILINE)
    return f"```text\n{''.join(one.get('text') or data.get('text/plain', '')).rstrip()}\n```"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    for mark, made in (("command line", command_line), ("recipe keys", recipe_keys), ("report", report)):
        if f"<!-- {mark} -->" in markdown:
            markdown = markdown.replace(f"<!-- {mark} -->", made())
    here = page.file.src_uri
    return LINK.sub(lambda found: found[1] + site_link(found[2], here), markdown)


def site_link(link: str, page: str) -> str:
    """A link as it stands in the repository -> as it stands on the site, where docs/ is the root."""
    if re.match(r"[a-z]+:", link):
        return link
    if link != posixpath.basename(page).replace(".md", ".ipynb"):  # a page made of a notebook hands out the notebook
        link = re.sub(r"\.ipynb$", ".md", link)
    beside = (ROOT / page).is_file() and not (ROOT / "docs" / page).is_file()
    folder = posixpath.dirname(page if beside else f"docs/{page}")
    target = posixpath.normpath(posixpath.join(folder, link)).removeprefix("docs/")
    return posixpath.relpath(target, posixpath.dirname(page) or ".")


def command_line() -> str:
    import typer

    from unoise_engine.cli.app import app

    return "\n".join(_command(typer.main.get_command(app), "unoise_engine"))


def _command(command: Any, name: str) -> list[str]:
    if hasattr(command, "commands"):
        return [line for key, one in sorted(command.commands.items()) for line in _command(one, f"{name} {key}")]
    shown = [p for p in command.params if p.name != "help" and not getattr(p, "hidden", False)]
    arguments = [p for p in shown if not p.opts[0].startswith("-")]
    usage = " ".join([name, *((p.metavar or p.name or "").upper() for p in arguments), "[OPTIONS]"])
    text, _, examples = (command.help or "").partition("\b")
    lines = [f"## {name.removeprefix('unoise_engine ')}", " ".join(text.split()), "", "```text", usage, "```", ""]
    if examples:
        lines += ["```text", *(line.strip() for line in examples.strip().splitlines()), "```", ""]
    lines += ["| | default | |", "|---|---|---|"] if shown else []
    for p in shown:
        names = ", ".join(f"`{n}`" for n in (*p.opts, *p.secondary_opts)) if p not in arguments else f"`{p.name}`"
        default = "" if p.default in (None, "", False, ()) or callable(p.default) else f"`{_plain(p.default)}`"
        about = getattr(p, "help", "") or ""
        kind = get_type_hints(command.callback).get(p.name or "")
        if isinstance(kind, type) and issubclass(kind, Enum):
            about += f" One of {', '.join(f'`{one.value}`' for one in kind)}."
        lines.append(f"| {names} | {default} | {' '.join(about.split()).replace('|', chr(92) + '|')} |")
    return [*lines, ""]


def _plain(value: Any) -> str:
    return str(getattr(value, "value", value))


def recipe_keys() -> str:
    """Tables of training/recipes.py and [ct], read without running it, since it needs PyTorch. The comment behind a
    field is its meaning."""
    kinds: dict[str, list[tuple[str, str, str, str]]] = {}
    for path in ("training/recipes.py", "training/unoise.py", "training/budgets.py", "models/recipe.py"):
        kinds |= _classes(f"unoise_engine/{path}")
    constants = {f"{kind}.{name}": default for kind in kinds for name, _, default, _ in kinds[kind]}
    lines: list[str] = []
    for recipe in ("UtilityRecipe", "UNoiseRecipe"):
        lines += [f"## {'train utility' if recipe == 'UtilityRecipe' else 'train unoise'}", ""]
        for table, kind, _, _ in kinds[recipe]:
            lines += [f"### [{table}]" + ("" if recipe == "UtilityRecipe" else " of U-Noise"), ""]
            keys = [*(kinds["Fit"] if kind == "UtilityFit" else []), *kinds[kind]]
            lines += ["| key | kind | default | meaning |", "|---|---|---|---|"]
            for name, what, default, meaning in keys:
                if not meaning:
                    raise ValueError(f"recipe key {name} of {kind}: say what it means, in a comment behind it")
                value = re.sub(r"[A-Z]\w+\.\w+", lambda found: constants[found[0]], default)
                value = "[" + value[1:-1].rstrip(",") + "]" if value.startswith("(") else value
                value = {"True": "true", "False": "false"}.get(value, value.replace("'", '"'))
                words = "list" if what.startswith("tuple") else WORDS[what]
                lines.append(f"| `{name}` | {words} | `{value}` | {meaning} |")
            lines.append("")
    return "\n".join(lines)


def _classes(path: str) -> dict[str, list[tuple[str, str, str, str]]]:
    """The dataclasses of a file: (field, type, default, comment behind it)."""
    text = (ROOT / path).read_text("utf-8")
    lines, found = text.splitlines(), {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = [
                (
                    one.target.id,
                    ast.unparse(one.annotation),
                    ast.unparse(one.value) if one.value else "",
                    lines[(one.end_lineno or 1) - 1].partition("  # ")[2],
                )
                for one in node.body
                if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
            ]
    return found


def report() -> str:
    """Fields of a report, from the code that writes it. The comment behind a field is its meaning."""
    path = "unoise_engine/results/account.py"
    text = (ROOT / path).read_text("utf-8")
    lines = text.splitlines()
    rows = ["| field | meaning |", "|---|---|"]
    for node in ast.walk(ast.parse(text)):
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)):
            continue
        name = ast.unparse(node.targets[0])
        for key in node.value.keys if name in ("report", "organ") else ():
            if isinstance(key, ast.Constant):
                meaning = lines[key.lineno - 1].partition("  # ")[2]
                if not meaning:
                    raise ValueError(f"{path}: say what {key.value} means, in a comment behind it")
                rows.append(f"| `{'organ.' if name == 'organ' else ''}{key.value}` | {meaning} |")
    return "\n".join(rows)
