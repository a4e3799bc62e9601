"""The commands by name. Heavy imports stand inside each command, so that --help answers at once."""

from __future__ import annotations

from typing import Annotated

import typer

from unoise_engine import __version__
from unoise_engine.cli import bundle, data, explain, importing, judge, train, whatif
from unoise_engine.cli.examples import epilog

app = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=epilog("explain"),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="U-Noise: what did the segmentation model look at? For research only, not for clinical use.",
)
for command in (explain.explain, explain.view, explain.methods, whatif.whatif, judge.evaluate, judge.benchmark,
                explain.obscure, judge.reproduce, explain.send, data.phantom, data.paint, explain.demo,
                train.export):  # fmt: skip
    app.command(epilog=epilog(command.__name__))(command)
app.command("import")(importing.import_)
for name, group in (("prepare", data.prepare_app), ("train", train.train_app), ("bundle", bundle.bundle_app)):
    app.add_typer(group, name=name)


@app.callback(invoke_without_command=True)
def top(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    if version:
        print(f"unoise_engine {__version__}")
        raise typer.Exit
