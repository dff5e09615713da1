"""Commands that look at results: detections, sql, export, plot."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from virtualobserver.cli.show import Format, note, open_project, print_frame
from virtualobserver.cli.work import Config, Data, Set

if TYPE_CHECKING:
    from virtualobserver.run.project import Project

__all__ = ["register"]

Form = Annotated[Format, typer.Option("--format", help="How to print.")]
Simulated = Annotated[bool, typer.Option("--simulated", help="Also what is simulated.")]
Out = Annotated[
    Path, typer.Option("--out", "-o", metavar="FILE", help="File to write; its suffix chooses the format.")
]

_SHOWN = ["id", "source", "analysis", "kind", "band", "peak_mjd", "start_mjd", "end_mjd", "snr", "quality"]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("detections")(detections)
    app.command("sql")(sql)
    app.command("export")(export)
    app.command("plot")(plot)


def detections(
    config: Config,
    *,
    simulated: Simulated = False,
    form: Form = Format.table,
    overrides: Set = None,
    data: Data = None,
) -> None:
    """Print the detections of the current configuration."""
    from virtualobserver.run.results import hidden_detections

    with open_project(config, data=data, overrides=overrides) as project:
        frame = project.detections(simulated=simulated)
        hidden = 0 if simulated else hidden_detections(project)
    columns = [*_SHOWN, "simulated"] if simulated else _SHOWN
    print_frame(frame, form, columns=columns)
    if form is Format.table:
        typer.echo(f"{len(frame)} detections")
    if hidden:
        note(f"{hidden} detections in simulated data are not shown; --simulated shows them")


def sql(
    statement: Annotated[str, typer.Argument(metavar="SQL", help="A query; it cannot change anything.")],
    form: Form = Format.table,
    data: Data = None,
) -> None:
    """Print the answer of a SQL query over the tables and views of the database."""
    from sqlalchemy.exc import SQLAlchemyError

    from virtualobserver.run.results import sql as query
    from virtualobserver.run.workspace import Workspace

    with Workspace(data) as workspace:
        try:
            # A colon before a word would be read as the name of a value.
            frame = query(workspace, statement.replace(":", r"\:"), {})
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error).strip()
            raise typer.BadParameter(reason, param_hint="SQL") from None
    print_frame(frame, form)


def export(
    config: Config,
    *,
    what: Annotated[
        str,
        typer.Argument(
            help="detections, lightcurves, properties, sources, injections, skyportal, or a plug-in's."
        ),
    ],
    out: Out,
    source: Annotated[
        str | None, typer.Option(help="Source whose light curves to write (skyportal).")
    ] = None,
    sharded: Annotated[
        bool, typer.Option("--sharded", help="One file for each image (kbmod, into a folder).")
    ] = False,
    simulated: Simulated = False,
    overrides: Set = None,
    data: Data = None,
) -> None:
    """Write a table as CSV, Parquet, VOTable, ECSV, FITS or HDF5, light curves for SkyPortal, or a folder.

    Which folders there are (harps-dataset) the surveys of the project say. `kbmod` writes the table of movers, or,
    if --out has no suffix, a folder with the images as WorkUnits, their ImageCollection and that table.
    """
    from virtualobserver.run.stacks import KBMOD
    from virtualobserver.run.trees import trees

    with open_project(config, data=data, overrides=overrides) as project:
        if (what == KBMOD and not out.suffix) or what in trees(project):
            _export_folder(project, what, out, simulated=simulated, sharded=sharded)
        else:
            _export_table(project, what, out, source=source, simulated=simulated)


def _export_folder(project: Project, what: str, out: Path, *, simulated: bool, sharded: bool) -> None:
    from virtualobserver.run.stacks import KBMOD, export_stacks
    from virtualobserver.run.trees import export_tree

    if what == KBMOD:
        number = export_stacks(project, out, simulated=simulated, sharded=sharded)
    else:
        number = export_tree(project, what, out, simulated=simulated)
    typer.echo(f"{number} parts in {out}")
    if number == 0 and not simulated:
        note("simulated data are left out; --simulated takes them in")


def _export_table(project: Project, what: str, out: Path, *, source: str | None, simulated: bool) -> None:
    from virtualobserver.errors import DataError, FormatWarning
    from virtualobserver.io.tables import format_of
    from virtualobserver.run import export as exporting

    try:
        format_of(out)
    except DataError as error:
        raise typer.BadParameter(str(error), param_hint="--out") from None
    if what == "skyportal":
        if source is None:
            raise typer.BadParameter("name a source of the project", param_hint="--source")
        typer.echo(f"{exporting.export_skyportal(project, source, out)} light curves of {source} in {out}")
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FormatWarning)
        rows = exporting.export(project, what, out, simulated=simulated)
    for text in dict.fromkeys(str(one.message) for one in caught):
        note(text)
    typer.echo(f"{rows} rows in {out}")
    if rows == 0 and not simulated and (hidden := len(exporting.table(project, what, simulated=True))):
        note(f"{hidden} rows of simulated data were left out; --simulated takes them in")


def plot(
    config: Config,
    *,
    out: Out,
    source: Annotated[
        str | None, typer.Argument(metavar="[SOURCE]", help="Source whose light curves to draw.")
    ] = None,
    detection: Annotated[int | None, typer.Option(metavar="ID", help="Detection to draw instead.")] = None,
    population: Annotated[
        bool, typer.Option("--population", help="Draw the injections of all sources instead.")
    ] = False,
    analysis: Annotated[
        str | None, typer.Option(metavar="NAME", help="Analysis to ask, or a figure of it (NAME.FIGURE).")
    ] = None,
    survey: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Draw what a survey made, or a figure of it (NAME.FIGURE)."),
    ] = None,
    unit: Annotated[str, typer.Option(help="Of --survey: a unit or night, e.g. 2012-06-04.")] = "",
    overrides: Set = None,
    data: Data = None,
) -> None:
    """Draw a source as the analyses show it, a detection, a whole sample, or what a survey made (PNG, PDF or SVG)."""
    if (source is not None) + (detection is not None) + population + (survey is not None) != 1:
        raise typer.BadParameter(
            "give either a source, or --detection ID, or --population, or --survey NAME", param_hint="SOURCE"
        )
    with open_project(config, data=data, overrides=overrides) as project:
        if survey is not None:
            figure = _draw_survey(project, survey, unit)
        elif population:
            figure = project.population_figure(analysis)
        elif source is not None:
            figure = _draw_source(project, source, analysis)
        else:
            figure = _draw_detection(project, detection, analysis)
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            figure.savefig(out, dpi=150)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--out") from None
    typer.echo(str(out))


def _draw_survey(project: Project, named: str, unit: str) -> Any:
    survey, _, name = named.partition(".")
    figures = project.survey_figures(survey, unit)
    if not figures or (name and name not in figures):
        msg = f"the survey {survey} draws {', '.join(figures) or 'no figures'}; give --survey {survey}.FIGURE"
        raise typer.BadParameter(msg, param_hint="--survey")
    return figures[name] if name else next(iter(figures.values()))


def _draw_source(project: Project, name: str, analysis: str | None) -> Any:
    from virtualobserver.plot import lightcurve
    from virtualobserver.plot import plot as draw

    try:
        row = project.source(name)
    except KeyError as error:
        raise typer.BadParameter(str(error.args[0]), param_hint="SOURCE") from None
    figures = project.figures(row.name)
    chosen = [
        figure for key, figure in figures.items() if analysis is None or f"{key}.".startswith(f"{analysis}.")
    ]
    if chosen:
        return chosen[0]
    curves = [curve.data for curve in row.lightcurves if curve.role == "reduced"]
    if curves:
        return lightcurve(curves, title=name)
    spectra = [spectrum for spectrum in row.spectra if spectrum.role == "reduced"]
    if spectra:
        return draw(spectra[0], title=name)
    msg = f"{name} has no light curves and no spectra; `vo status {project.name}` shows how far it is"
    raise typer.BadParameter(msg, param_hint="SOURCE")


def _draw_detection(project: Project, number: int | None, analysis: str | None) -> Any:
    from virtualobserver.data import TimeSeries
    from virtualobserver.models import Detection
    from virtualobserver.plot import plot as draw

    row = project.live.get(Detection, number)
    if row is None:
        raise typer.BadParameter(f"there is no detection {number}", param_hint="--detection")
    if row.product is None:
        raise typer.BadParameter(f"the light curve of detection {number} is gone", param_hint="--detection")
    data = row.product.data
    if not isinstance(data, TimeSeries):
        # Only the analysis knows how a feature of a spectrum or an image looks.
        return _draw_source(project, row.source.name, analysis or row.analysis)
    return draw(row, curve=data, title=f"{row.source.name}, {row.kind}, S/N {row.snr:.1f}")
