"""The command ``vo refcat``: extracts of reference catalogues."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virtualobserver.cli.options import Data, Form, Json, Tabular
from virtualobserver.cli.show import chosen, print_frame

if TYPE_CHECKING:
    import pandas as pd

    from virtualobserver.catalog.refcat import Origin

__all__ = ["register"]

Name = Annotated[
    str, typer.Argument(metavar="NAME@VERSION", help="Its name and version, e.g. gaia_dr3@2022.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    refcat = typer.Typer(help="Extracts of reference catalogues.", no_args_is_help=True)
    refcat.command("build")(build)
    refcat.command("list")(list_all)
    refcat.command("verify")(verify)
    app.add_typer(refcat, name="refcat")


def build(
    name: Name,
    *,
    file: Annotated[
        Path | None,
        typer.Option(help="Table: CSV, ECSV, VOTable, FITS, HDF5 or Parquet, or an index of astrometry.net."),
    ] = None,
    adql: Annotated[str | None, typer.Option(help="Query that the live Gaia archive answers.")] = None,
    cone: Annotated[
        str | None, typer.Option(metavar="RA,DEC,RADIUS", help="Cone of Gaia DR3, degrees.")
    ] = None,
    vizier: Annotated[str | None, typer.Option(metavar="TABLE", help="Whole table of VizieR.")] = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Table service (TAP) to ask instead: a mirror or a copy."),
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(metavar="OURS=THEIRS", help="Which column is what; may be repeated.")
    ] = None,
    epoch: Annotated[float | None, typer.Option(help="Julian year of the positions.")] = None,
    order: Annotated[int | None, typer.Option(help="Order of the HEALPix cells, 0 to 9.")] = None,
    data: Data = None,
) -> None:
    """Build an extract in the data folder from one of --file, --adql, --cone, --vizier."""
    from virtualobserver.catalog.refcat import build_refcat, split_name
    from virtualobserver.run.workspace import data_root

    if sum(each is not None for each in (file, adql, cone, vizier)) != 1:
        raise typer.BadParameter("give one of --file, --adql, --cone, --vizier")
    if address is not None and file is not None:
        raise typer.BadParameter("a file is read, nothing is asked", param_hint="--address")
    split_name(name)
    names = dict(_pair(each) for each in column or ())
    frame, origin = _stars(file, adql, cone, vizier, address)
    made = build_refcat(frame, data_root(data), name, origin=origin, epoch=epoch, columns=names, order=order)
    files = len(made.provenance["files"])
    typer.echo(f"{made.name}: {len(made)} stars of {made.epoch:g} in {files} files, {made.path}")


def list_all(table: Form = Tabular.table, as_json: Json = False, data: Data = None) -> None:
    """List the extracts of the data folder."""
    import pandas as pd

    from virtualobserver.catalog.refcat import list_refcats
    from virtualobserver.run.workspace import data_root

    rows = [
        {
            "name": each.name, "stars": len(each), "epoch": each.epoch, "order": each.provenance["order"],
            "megabytes": sum(file["bytes"] for file in each.provenance["files"].values()) / 1e6,
            "made": each.provenance["made"], "origin": each.provenance["origin"]["text"],
            "sha256": each.provenance["sha256"][:12],
        }
        for each in list_refcats(data_root(data))
    ]  # fmt: skip
    print_frame(pd.DataFrame(rows), chosen(table, as_json=as_json))


def verify(name: Name, data: Data = None) -> None:
    """Compare the files of an extract with their checksums."""
    from virtualobserver.catalog.refcat import FOLDER, PartitionedReference, split_name
    from virtualobserver.run.workspace import data_root

    split_name(name)
    found = PartitionedReference(data_root(data) / FOLDER / name)
    found.verify()
    typer.echo(f"{found.name}: {len(found.provenance['files'])} files are as they were written")


def _pair(text: str) -> tuple[str, str]:
    ours, equals, theirs = text.partition("=")
    if not equals or not ours or not theirs:
        raise typer.BadParameter(f"{text!r} is not OURS=THEIRS", param_hint="--column")
    return ours.strip(), theirs.strip()


def _stars(
    file: Path | None, adql: str | None, cone: str | None, vizier: str | None, address: str | None
) -> tuple[pd.DataFrame, Origin]:
    """Return the stars, and where they come from."""
    import hashlib

    from virtualobserver.catalog import query_gaia, query_gaia_cone, query_vizier
    from virtualobserver.catalog.refcat import Origin
    from virtualobserver.catalog.remote import query_at
    from virtualobserver.catalog.star_index import is_star_index, read_star_index
    from virtualobserver.io.tables import read_any

    if file is not None:
        frame = read_star_index(file) if is_star_index(file) else read_any(file)
        return frame, Origin("file", file.name, hashlib.sha256(file.read_bytes()).hexdigest())
    query, where = query_at(address), f" at {address}" if address else ""
    if adql is not None:
        return query_gaia(adql, query=query), Origin("adql", f"{adql}{where}")
    if vizier is not None:
        return query_vizier(vizier, query=query), Origin("vizier", f"{vizier}{where}")
    try:
        ra, dec, radius = (float(number) for number in str(cone).split(","))
    except ValueError:
        raise typer.BadParameter(f"{cone!r} is not RA,DEC,RADIUS in degrees", param_hint="--cone") from None
    text = f"gaiadr3.gaia_source {ra} {dec} {radius}{where}"
    return query_gaia_cone(ra, dec, radius, query=query), Origin("cone", text)
