"""The commands ``vo upload``: candidates to a SkyPortal, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from virtualobserver.cli.completion import complete_source
from virtualobserver.cli.options import Config, Data, Json, Set
from virtualobserver.cli.show import note, open_project, print_json
from virtualobserver.words import counted

if TYPE_CHECKING:
    from virtualobserver.io.skyportal import Candidate, Destination, Ledger, Sent, SkyPortalClient
    from virtualobserver.run.project import Project

__all__ = ["register"]

_upload = typer.Typer(help="Upload candidates to other people's servers.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(_upload, name="upload")


_Instrument = Annotated[
    int | None,
    typer.Option("--instrument", metavar="N", help="Number of the instrument there; without, no photometry."),
]
_Sources = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        metavar="NAME",
        help="Only this source, whatever was said of it; may be repeated.",
        autocompletion=complete_source,
    ),
]


@_upload.command("skyportal")
def skyportal(
    config: Config,
    *,
    url: Annotated[
        str, typer.Option("--url", envvar="VO_SKYPORTAL_URL", metavar="URL", help="Address of the SkyPortal.")
    ] = "",
    group: Annotated[
        list[int] | None, typer.Option("--group", metavar="N", help="Number of a group; may be repeated.")
    ] = None,
    instrument: _Instrument = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="BAND=NAME", help="What a band is called there; may be repeated."),
    ] = None,
    source: _Sources = None,
    verdict: Annotated[
        str,
        typer.Option("--verdict", help="Sources of which this was said last; '' for all with detections."),
    ] = "candidate",
    simulated: Annotated[bool, typer.Option("--simulated", help="Also what is simulated.")] = False,
    undo: Annotated[str, typer.Option("--undo", metavar="ID", help="Take an upload back.")] = "",
    listed: Annotated[bool, typer.Option("--list", help="Show the uploads of this data folder.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be sent, and send nothing.")
    ] = False,
    as_json: Json = False,
    overrides: Set = None,
    data: Data = None,
) -> None:
    """Send candidates to a SkyPortal: sources, photometry and an annotation each. Nothing is sent twice.

    The token is taken from VO_SKYPORTAL_TOKEN, or from the private file of credentials. After an error, the same
    command goes on where it stopped.
    """
    from virtualobserver.io.skyportal import Destination, Ledger
    from virtualobserver.run.views.upload import candidates

    with open_project(config, data=data, overrides=overrides) as project:
        ledger = Ledger(project.workspace.root / "uploads" / "skyportal")
        if listed:
            _list(ledger, as_json=as_json)
        elif undo:
            _undo(undo, url, ledger)
        else:
            if not group:
                raise typer.BadParameter("say which groups see it: --group N", param_hint="--group")
            where = Destination(tuple(group), instrument, f"virtualobserver:{project.name}", _names(filters))
            found = list(candidates(project, sources=source or (), verdict=verdict, simulated=simulated))
            if not found:
                what = f"source that was judged {verdict!r}" if verdict else "detection"
                note(f"no {what} in project {project.name}; --verdict '' takes all with detections")
            elif dry_run:
                _print(found, where)
            else:
                _send(project, found, where, url, ledger)


def _names(pairs: list[str] | None) -> dict[str, str]:
    split = [pair.partition("=") for pair in pairs or ()]
    if wrong := [band for band, _, name in split if not band or not name]:
        raise typer.BadParameter(f"{wrong[0]!r} is not BAND=NAME", param_hint="--filter")
    return {band: name for band, _, name in split}


def _client(url: str) -> SkyPortalClient:
    from virtualobserver.config.credentials import Credentials
    from virtualobserver.errors import ConfigError
    from virtualobserver.io.http.client import HttpClient
    from virtualobserver.io.skyportal import SkyPortalClient

    token = Credentials.find("skyportal").token
    if not token:
        msg = "no token for SkyPortal: set VO_SKYPORTAL_TOKEN, or write skyportal: {token: ...} into the private file"
        raise ConfigError(msg)
    return SkyPortalClient(url, token, http=HttpClient(rate=5.0))


def _print(found: list[Candidate], where: Destination) -> None:
    from virtualobserver.io.skyportal import requests_of

    names = ("source", "photometry", "annotation")
    print_json([dict(zip(names, requests_of(one, where), strict=True)) for one in found])


def _send(project: Project, found: list[Candidate], where: Destination, url: str, ledger: Ledger) -> None:
    from virtualobserver.errors import ArchiveError
    from virtualobserver.io.skyportal import send

    client = _client(url)
    with ledger.locked():
        try:
            sent = send(found, where, client, ledger, project=project.name, told=note)
        except ArchiveError:
            note("The upload is not complete; the same command goes on with it.")
            raise
    if not sent.id:
        typer.echo("nothing new to send")
        return
    typer.echo(f"upload {sent.id}: {_told(sent)}; --undo {sent.id} takes it back")


def _undo(number: str, url: str, ledger: Ledger) -> None:
    from virtualobserver.io.skyportal import undo

    client = _client(url or ledger.get(number).url)
    with ledger.locked():
        gone = undo(number, client, ledger)
    typer.echo(f"upload {gone.id} taken back: {_told(gone)}")


def _told(sent: Sent) -> str:
    parts = {"source": sent.sources, "point": sent.points, "annotation": sent.annotations}
    return ", ".join(counted(number, word) for word, number in parts.items())


def _list(ledger: Ledger, *, as_json: bool) -> None:
    uploads = ledger.uploads()
    if as_json:
        print_json([vars(one) for one in uploads])
        return
    for one in uploads:
        groups = ", ".join(str(group) for group in one.groups)
        typer.echo(
            f"{one.id}  {one.made}  {one.state:7}  {one.project}: {counted(len(one.sources), 'source')} to {one.url}, "
            f"groups {groups}"
        )
    if not uploads:
        note("no uploads yet")
