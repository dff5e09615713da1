"""Commands that look at results: detections, sql, export, plot."""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from virtualobserver.cli.completion import complete_source
from virtualobserver.cli.options import Config, Data, Form, Json, Set, Sources, Tabular
from virtualobserver.cli.show import (
    SCREEN_ROWS,
    Format,
    called,
    chosen,
    note,
    note_if_not_run,
    open_project,
    print_answer,
    print_frame,
    tell_cut,
)
from virtualobserver.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from virtualobserver.db.reader import Answer
    from virtualobserver.run.project import Project
    from virtualobserver.typing import Record, Value

__all__ = ["register"]

Simulated = Annotated[bool, typer.Option("--simulated", help="Also what is simulated.")]
Out = Annotated[
    Path, typer.Option("--out", "-o", metavar="FILE", help="File to write; its suffix chooses the format.")
]

HISTOGRAMS = "histograms"
_SHOWN = [
    "id",
    "source",
    "known_as",
    "analysis",
    "kind",
    "band",
    "peak_mjd",
    "start_mjd",
    "end_mjd",
    "snr",
    "quality",
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("detections")(detections)
    app.command("sql")(sql)
    app.command("export", cls=_ExportCommand)(export)
    app.command("plot")(plot)


def detections(
    config: Config,
    *,
    source: Sources = None,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="Only of this kind; may be repeated.")
    ] = None,
    min_snr: Annotated[float | None, typer.Option("--min-snr", help="Only of at least this S/N.")] = None,
    simulated: Simulated = False,
    as_json: Json = False,
    table: Form = Tabular.table,
    overrides: Set = None,
    data: Data = None,
) -> None:
    """Print the detections of the current configuration."""
    from virtualobserver.run.views.tables import detections_query, hidden_detections

    form = chosen(table, as_json=as_json)
    with open_project(config, data=data, overrides=overrides) as project:
        asked = detections_query(
            project, simulated=simulated, sources=source or (), kinds=kind or (), min_snr=min_snr
        )
        if form is Format.table:
            number, stale = _print_for_people(project, *asked, simulated=simulated)
        else:
            number, stale = _print_all(project, *asked, form)
        hidden = 0 if simulated else hidden_detections(project)
        note_if_not_run(project, called(config, data, overrides))
        _note_unknown(project, source or ())
    if form is Format.table:
        if number > SCREEN_ROWS:
            tell_cut(number)
        typer.echo(counted(number, "detection"))
    if stale:
        note(
            f"{counted(stale, 'detection')} stale: what was searched changed, or is damaged or gone (`vo verify`); "
            f"`vo run {called(config, data, overrides)} --refresh` searches again"
        )
    if hidden:
        note(f"{counted(hidden, 'detection')} in simulated data not shown; --simulated shows all")


def _print_for_people(project: Project, query: str, values: Record, *, simulated: bool) -> tuple[int, int]:
    """Print the first detections; return how many there are, and how many of them are stale."""
    from virtualobserver.run.views.tables import sql

    # the view is gone through once: what is counted decides which columns are shown
    whole = f"""
        WITH q AS MATERIALIZED ({query}), n AS (
          SELECT count(*) AS n_all, count(*) FILTER (WHERE stale) AS n_stale, count(known_as) AS n_known FROM q)
        SELECT n.*, q.* FROM n LEFT JOIN q ON true ORDER BY q.source, q.peak_mjd LIMIT {SCREEN_ROWS}"""  # noqa: S608 - our own
    found = sql(project.workspace, whole, values, time_limit=0)
    number, stale, known = (int(found[name].iloc[0]) for name in ("n_all", "n_stale", "n_known"))
    columns = [name for name in _SHOWN if known or name != "known_as"]
    columns += [*(["simulated"] if simulated else []), *(["stale"] if stale else [])]
    found = found[:number]
    if simulated:
        put_in = found["injection_id"].notna()
        words = found["simulated"].map({True: "data", False: ""})
        found = found.assign(simulated=words.where(~put_in, "injected"))
    print_frame(found, Format.table, columns=columns)
    _explain_quality(found["quality"].tolist())
    return number, stale


def _explain_quality(values: Sequence[int]) -> None:
    """Say below a table what the bits in its column quality mean."""
    from virtualobserver.conventions import FLAG_NAMES

    there = functools.reduce(operator.or_, values, 0)
    for bit, meaning in FLAG_NAMES.items():
        if there & bit:
            typer.echo(f"quality {bit}: {meaning}")


def _print_all(project: Project, query: str, values: Record, form: Format) -> tuple[int, int]:
    """Print all detections for a program; return how many there are, and how many of them are stale."""
    number = stale = 0

    def counting(answer: Answer) -> Iterator[list[tuple[Value, ...]]]:
        nonlocal number, stale
        place = answer.names.index("stale")
        for rows in answer.batches:
            number += len(rows)
            stale += sum(bool(row[place]) for row in rows)
            yield rows

    reader = project.workspace.database.reader()
    with reader.ask(query, values, time_limit=0, json_as_text=form is not Format.json) as answer:
        print_answer(replace(answer, batches=counting(answer)), form)
    return number, stale


def _note_unknown(project: Project, names: Sequence[str]) -> None:
    for name in names:
        try:
            project.source(name)
        except KeyError as error:
            note(f"vo: {error.args[0]}")


def sql(
    statement: Annotated[str, typer.Argument(metavar="SQL", help="A query; it cannot change anything.")],
    table: Form = Tabular.table,
    as_json: Json = False,
    limit: Annotated[
        float,
        typer.Option(
            "--time-limit", min=0, help="Seconds from one part of the answer to the next; 0 = none."
        ),
    ] = 300.0,
    data: Data = None,
) -> None:
    """Print the answer of a SQL query over the tables and views of the database."""
    from virtualobserver.errors import QueryError
    from virtualobserver.run.workspace import Workspace

    form = chosen(table, as_json=as_json)
    as_text = form is not Format.json
    with Workspace(data) as workspace:
        reader = workspace.database.reader()
        try:
            with reader.ask(statement, time_limit=limit, json_as_text=as_text) as answer:
                whole = print_answer(answer, form)
        except QueryError as error:
            raise typer.BadParameter(str(error), param_hint="SQL") from None
    if not whole:
        tell_cut()


class _ExportCommand(TyperCommand):
    """A command whose help ends with the ways out that there are, found when it is asked for."""

    def get_help(self, ctx: Any) -> str:
        """Return the help text."""
        self.epilog = _ways_out()
        return super().get_help(ctx)


def _ways_out() -> str:
    from virtualobserver import plugins

    told = []
    for name in plugins.names("exports"):
        plugin = plugins.load("exports", name)
        options = ", ".join(plugin.Settings.model_fields)
        first = (plugin.__doc__ or "").strip().partition("\n")[0]
        told.append(f"{name}: {first}{f' Options: {options}.' if options else ''}")
    return "\n\n".join(["Ways out:", *told])


def export(
    config: Config,
    *,
    what: Annotated[
        str,
        typer.Argument(
            help="detections, lightcurves, properties, sources, injections, histograms, or a way out: its name, or "
            "the path of its .py file."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="PATH", help="File or folder to write; a suffix chooses the format."
        ),
    ],
    options: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="Option of a way out; may be repeated."),
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Short for --option source=NAME.", metavar="NAME")
    ] = None,
    sharded: Annotated[bool, typer.Option("--sharded", help="Short for --option sharded=true.")] = False,
    simulated: Simulated = False,
    force: Force = False,
    overrides: Set = None,
    data: Data = None,
) -> None:
    """Write a table as CSV, Parquet, VOTable, ECSV, FITS or HDF5, or what another program reads.

    Every project has the tables; `histograms` are netCDF files in a folder. Ways out for other programs are
    plug-ins: `vo list` shows them.
    """
    from virtualobserver.run.views.export import TABLES
    from virtualobserver.run.views.tables import export_histograms

    _check_free(out, force=force)
    given = [*(options or ()), *([f"source={json.dumps(source)}"] if source is not None else ())]
    given += ["sharded=true"] if sharded else []
    with open_project(config, data=data, overrides=overrides) as project:
        if what not in {*TABLES, HISTOGRAMS}:
            _export_by_plugin(project, what, out, simulated=simulated, options=given)
        elif given:
            raise typer.BadParameter(f"{what} has no options", param_hint="--option")
        elif what == HISTOGRAMS:
            _tell_parts(
                export_histograms(project, out, simulated=simulated), "parts", out, simulated=simulated
            )
        else:
            _export_table(project, what, out, simulated=simulated)


def _check_free(out: Path, *, force: bool) -> None:
    """Refuse to write over a file, or into a folder that holds something."""
    if not force and (out.is_file() or (out.is_dir() and any(out.iterdir()))):
        raise typer.BadParameter(f"{out} is there already; --force replaces it", param_hint="--out")


def _export_by_plugin(project: Project, what: str, out: Path, *, simulated: bool, options: list[str]) -> None:
    from virtualobserver.run.views.ways_out import find_way_out, write

    way = find_way_out(what)
    number = write(project, way, out, simulated=simulated, options=options)
    _tell_parts(number, way.counts, out, simulated=simulated)


def _tell_parts(number: int, counts: str, out: Path, *, simulated: bool) -> None:
    typer.echo(f"{number} {counts} in {out}")
    if number == 0 and not simulated:
        note("simulated data are left out; --simulated takes them in")


def _export_table(project: Project, what: str, out: Path, *, simulated: bool) -> None:
    from virtualobserver.errors import DataError
    from virtualobserver.io.tables import format_of
    from virtualobserver.run.views import export as exporting

    try:
        format_of(out)
    except DataError as error:
        raise typer.BadParameter(str(error), param_hint="--out") from None
    rows = exporting.export(project, what, out, simulated=simulated)
    typer.echo(f"{rows} rows in {out}")
    if rows == 0 and not simulated and (hidden := len(exporting.table(project, what, simulated=True))):
        note(f"{hidden} rows of simulated data were left out; --simulated takes them in")


_Drawn = Annotated[
    str | None,
    typer.Argument(
        metavar="[SOURCE]", help="Source whose light curves to draw.", autocompletion=complete_source
    ),
]
_Asked = Annotated[
    str | None, typer.Option(metavar="NAME", help="Analysis to ask, or a figure of it (NAME.FIGURE).")
]
_Population = Annotated[
    bool, typer.Option("--population", help="Draw the injections of all sources instead.")
]
_Sample = Annotated[
    bool, typer.Option("--sample", help="Draw all sources by what an analysis says of them instead.")
]
_Efficiency = Annotated[
    bool, typer.Option("--efficiency", help="Draw what all searches find by strength and duration instead.")
]
_Survey = Annotated[
    str | None, typer.Option(metavar="NAME", help="Draw what a survey made, or a figure of it (NAME.FIGURE).")
]
_Calibration = Annotated[
    str | None, typer.Option(metavar="IMAGE", help="Draw the zero point of an image and its stars instead.")
]
_Clip = Annotated[
    float | None, typer.Option(help="Of --calibration: robust deviations beyond which stars are left out.")
]
_Brightest = Annotated[float | None, typer.Option(metavar="MAG", help="Of --calibration: brightest star.")]
_Faintest = Annotated[float | None, typer.Option(metavar="MAG", help="Of --calibration: faintest star.")]
_MaxError = Annotated[
    float | None, typer.Option(metavar="MAG", help="Of --calibration: largest error of a star.")
]


def plot(
    config: Config,
    *,
    out: Out,
    source: _Drawn = None,
    detection: Annotated[int | None, typer.Option(metavar="ID", help="Detection to draw instead.")] = None,
    population: _Population = False,
    sample: _Sample = False,
    simulated: Annotated[bool, typer.Option("--simulated", help="Of --sample: also simulated ones.")] = False,
    efficiency: _Efficiency = False,
    analysis: _Asked = None,
    survey: _Survey = None,
    unit: Annotated[str, typer.Option(help="Of --survey: a unit or night, e.g. 2012-06-04.")] = "",
    calibration: _Calibration = None,
    clip: _Clip = None,
    brightest: _Brightest = None,
    faintest: _Faintest = None,
    max_mag_error: _MaxError = None,
    force: Force = False,
    overrides: Set = None,
    data: Data = None,
) -> None:
    """Draw a source as analyses see it, a detection, a sample, what searches find, or what a survey made."""
    asked = (source, detection, population or None, sample or None, efficiency or None, survey, calibration)
    if sum(one is not None for one in asked) != 1:
        raise typer.BadParameter(
            "give either a source, or --detection ID, or --population, or --sample, or --efficiency, or --survey NAME, "
            "or --calibration IMAGE",
            param_hint="SOURCE",
        )
    choice = {"clip": clip, "brightest": brightest, "faintest": faintest, "max_mag_error": max_mag_error}
    given = {name: value for name, value in choice.items() if value is not None}
    if given and calibration is None:
        raise typer.BadParameter("chooses stars of --calibration", param_hint=_option(next(iter(given))))
    _check_free(out, force=force)
    with open_project(config, data=data, overrides=overrides) as project:
        if survey is not None:
            figure = _draw_survey(project, survey, unit)
        elif calibration is not None:
            figure = project.calibration_figure(calibration, **given)
        elif population:
            figure = project.population_figure(analysis)
        elif sample:
            figure = project.sample_figure(analysis, simulated=simulated)
        elif efficiency:
            figure = project.efficiency_figure()
        elif detection is not None:
            figure = _draw_detection(project, detection, analysis)
        else:
            figure = _draw_source(project, str(source), analysis)
        from virtualobserver.io.atomic import replacing

        try:
            with replacing(out) as temporary:
                figure.savefig(temporary, dpi=150, format=out.suffix[1:] or "png")
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--out") from None
    typer.echo(str(out))


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _draw_survey(project: Project, named: str, unit: str) -> Figure:
    survey, _, name = named.partition(".")
    figures = project.survey_figures(survey, unit)
    if not figures or (name and name not in figures):
        msg = f"the survey {survey} draws {', '.join(figures) or 'no figures'}; give --survey {survey}.FIGURE"
        raise typer.BadParameter(msg, param_hint="--survey")
    figure: Figure = figures[name] if name else next(iter(figures.values()))
    return figure


def _draw_source(project: Project, name: str, analysis: str | None) -> Figure:
    try:
        row = project.source(name)
    except KeyError as error:
        raise typer.BadParameter(str(error.args[0]), param_hint="SOURCE") from None
    return project.figure(row.name, analysis)


def _draw_detection(project: Project, number: int, analysis: str | None) -> Figure:
    try:
        row = project.detection(number)
    except KeyError as error:
        raise typer.BadParameter(str(error.args[0]), param_hint="--detection") from None
    if analysis is not None and analysis.partition(".")[0] != row.analysis:
        msg = f"detection {number} is one of {row.analysis}, not of {analysis}"
        raise typer.BadParameter(msg, param_hint="--analysis")
    figure: Figure = row.plot()
    return figure
