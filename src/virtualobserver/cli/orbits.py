"""The command ``vo orbits``: orbits of known bodies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from virtualobserver.cli.options import Data, Form, Json, Tabular
from virtualobserver.cli.show import chosen, print_frame

__all__ = ["register"]

Name = Annotated[
    str, typer.Argument(metavar="NAME@VERSION", help="Their name and version, e.g. mpcorb@2026-11.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    orbits = typer.Typer(help="Orbits of known bodies, to identify movers offline.", no_args_is_help=True)
    orbits.command("build")(build)
    orbits.command("list")(list_all)
    orbits.command("verify")(verify)
    app.add_typer(orbits, name="orbits")


def build(
    name: Name,
    *,
    file: Annotated[
        Path, typer.Option(help="MPCORB.DAT, mpcorb_extended.json or a table of JPL's SBDB, gzipped or not.")
    ],
    data: Data = None,
) -> None:
    """Write the orbits of a file into the data folder."""
    from virtualobserver.catalog.orbits import build_orbits
    from virtualobserver.run.workspace import data_root

    made = build_orbits(file, data_root(data), name)
    low, high = made.provenance["epochs"]
    typer.echo(f"{made.name}: {len(made)} orbits of MJD {low:.0f} to {high:.0f}, {made.folder}")


def list_all(table: Form = Tabular.table, as_json: Json = False, data: Data = None) -> None:
    """List the orbits of the data folder."""
    import pandas as pd

    from virtualobserver.catalog.orbits import list_orbits
    from virtualobserver.run.workspace import data_root

    rows = [
        {
            "name": each.name, "orbits": len(each), "first_epoch": each.provenance["epochs"][0],
            "last_epoch": each.provenance["epochs"][1], "file": each.provenance["file"],
            "made": each.provenance["made"], "sha256": each.provenance["sha256"][:12],
        }
        for each in list_orbits(data_root(data))
    ]  # fmt: skip
    print_frame(pd.DataFrame(rows), chosen(table, as_json=as_json))


def verify(name: Name, data: Data = None) -> None:
    """Compare orbits with their checksum."""
    from virtualobserver.catalog.orbits import open_orbits
    from virtualobserver.run.workspace import data_root

    found = open_orbits(data_root(data), name)
    found.verify()
    typer.echo(f"{found.name}: {len(found)} orbits are as they were written")
