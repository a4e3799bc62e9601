"""`bundle ...`: model bundles looked at, verified, installed and unpacked."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from unoise_engine.cli.examples import epilog
from unoise_engine.cli.options import Key

bundle_app = typer.Typer(no_args_is_help=True, help="Model bundles: look at them, verify, install, remove.")


@bundle_app.command("info", epilog=epilog("bundle info"))
def bundle_info(
    bundle: Annotated[str, typer.Argument(help="Name or folder.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="The whole manifest, as JSON.")] = False,
) -> None:
    """Show what a bundle is: what it segments, what it expects of a CT, where it comes from."""
    from unoise_engine.models.bundles import DEFAULT_BUNDLE, find_bundle
    from unoise_engine.models.manifest import model_hash, read_manifest

    manifest = read_manifest(find_bundle(bundle or DEFAULT_BUNDLE))
    if as_json:
        print(manifest.to_json(), end="")
        return
    recipe = manifest.recipe
    mm = recipe.spacing_mm
    rows = {
        "name": manifest.name,
        "title": manifest.title,
        "labels": f"{len(manifest.labels)}: {', '.join(manifest.labels)}",
        "looks at": f"{'slices' if recipe.rank == 2 else 'blocks'}, "
        f"{' x '.join(f'{one:g}' for one in mm if one) if isinstance(mm, tuple) else f'{mm:g}'} mm",
        "use": manifest.intended_use,
        "trained on": manifest.training_data,
        "licence": manifest.licence,
        "attribution": manifest.attribution,
        "citation": manifest.citation,
        "source": manifest.source,
        "parity": _agreement(manifest.parity),
        "size": f"{sum(file.bytes for file in manifest.files.values()) / 1e6:.1f} MB in {len(manifest.files)} files",
        "sha256": model_hash(manifest),
    }
    for name, said in rows.items():
        if said:
            print(textwrap.fill(str(said), 100, initial_indent=f"{name:12}", subsequent_indent=" " * 12))
    print(manifest.warning)


def _agreement(parity: Mapping[str, Any]) -> str:
    """How near an imported model's bundle is to its source."""
    if not {"largest_difference", "agreement"} <= parity.keys():
        return ""
    return (
        f"differs by {parity['largest_difference']:.1e} of the logits' range; {parity['agreement']:.2%} of labels agree"
    )


@bundle_app.command("verify", epilog=epilog("bundle verify"))
def bundle_verify(bundle: Annotated[str, typer.Argument(help="Name or folder.")] = "", key: Key = "") -> None:
    """Hash every file of a bundle, look through its content, check its signature, then run its models once."""
    from unoise_engine.models.bundles import DEFAULT_BUNDLE, find_bundle
    from unoise_engine.models.manifest import model_hash, verify
    from unoise_engine.models.trial import try_out

    folder = find_bundle(bundle or DEFAULT_BUNDLE)
    manifest = verify(folder)
    signed = _signature(folder, key)
    try_out(folder)
    print(f"{manifest.name}: OK, {len(manifest.files)} files, {signed}, model sha256 {model_hash(manifest)}")


@bundle_app.command("install", epilog=epilog("bundle install"))
def bundle_install(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A bundle's folder, or a zip of it.")],
    key: Key = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an installed one of that name.")] = False,
) -> None:
    """Verify a bundle and add it to your own models. Needs no network."""
    from unoise_engine.models.install import install
    from unoise_engine.models.signature import read_key

    manifest, folder = install(source, read_key(key) if key else None, overwrite)
    print(f"{manifest.name}: installed in {folder}, {_signature(folder, key)}\n{manifest.warning}")


@bundle_app.command("remove", epilog=epilog("bundle remove"))
def bundle_remove(
    name: Annotated[str, typer.Argument(help="Of an installed model; `bundle list` shows them.")],
) -> None:
    """Remove a model that was installed, with the files that are its own and nothing else."""
    from unoise_engine.models.uninstall import uninstall

    folder, files = uninstall(name)
    print(f"{name}: removed from {folder}, {len(files)} files ({', '.join(files)})")


@bundle_app.command("unpack", epilog=epilog("bundle unpack"))
def bundle_unpack(
    bundle: Annotated[str, typer.Argument(help="Name or folder.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="RUN", help="Folder of the run, new or empty.")],
    split: Annotated[Path, typer.Option(help="split.json of the cases that taught, steered and judge the model.")],
    unoise: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Its U-Noise as a run, too, for `train unoise --init`.")
    ] = None,
    near: Annotated[Path | None, typer.Option(metavar="RUN", help="The same of its U-Noise (near).")] = None,
) -> None:
    """Make a bundle's utility a run again, so that `train` can go on from it. Needs torch."""
    from unoise_engine.models.bundles import find_bundle
    from unoise_engine.models.manifest import verify
    from unoise_engine.training.rebuilt import unpack
    from unoise_engine.training.split import Split

    folder = find_bundle(bundle)
    print(unpack(folder, verify(folder), Split.read(split), out, unoise, near))


@bundle_app.command("list", epilog=epilog("bundle list"))
def bundle_list() -> None:
    """Show the models at hand: name, hash, title and folder."""
    from unoise_engine.batch.about import models
    from unoise_engine.errors import error_from

    told = [*models()]
    for one in told:
        if "error" not in one:
            print(f"{one['name']}  {one['sha256'][:12]}  {one['title']}  {one['folder']}")
    for one in told:  # the others are still listed
        if "error" in one:
            raise error_from(one["error"])


def _signature(folder: Path, key: str) -> str:
    from unoise_engine.models.manifest import SIGNATURE
    from unoise_engine.models.signature import read_key, verify_signature

    if key:
        return f"signature good ({verify_signature(folder, read_key(key))})"
    return "signature not checked (give --key)" if (folder / SIGNATURE).is_file() else "not signed"
