"""What analyses draw and count beyond single detections: figures of a source, the whole sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from virtualobserver.db.bulk import read_frame
from virtualobserver.errors import ConfigError
from virtualobserver.hooks import draw
from virtualobserver.run.views import tables as results
from virtualobserver.run.views.event_figures import detection_figure
from virtualobserver.typing import QueryRow, RecordDict
from virtualobserver.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from virtualobserver.analysis import Analysis
    from virtualobserver.models import Source
    from virtualobserver.run.opened import Opened

__all__ = ["outcomes", "population", "population_figure", "sample_figure", "source_figure", "source_figures"]


def source_figures(project: Opened, source: Source) -> RecordDict:
    """Return what the project's analyses draw of a source, by ``analysis.figure``; empty if none draws it.

    An analysis that works on parts of a source (nights) draws each of them, ``analysis.figure.night`` where there
    are several. Products are those of the current configurations.
    """
    analyses = [step.instance for step in project.steps if step.kind == "analyse"]
    return {name: figure for one in analyses for name, figure in _figures(one, source).items()}


def source_figure(project: Opened, source: Source, named: str | None = None) -> Figure:
    """Return the one picture of a source that shows most.

    Parameters
    ----------
    named
        Analysis to ask, or a figure of it (``NAME.FIGURE``). Without it: what an analysis that found something there
        draws, else the light curves, else the strongest detection, else what any analysis draws, else the spectra.

    Raises
    ------
    ConfigError
        If the project has no such analysis, the analysis draws no such figure, or there is nothing to draw.
    """
    if named is not None:
        asked = _figures(project.analysis(named.partition(".")[0]), source)
        chosen = [figure for name, figure in asked.items() if f"{name}.".startswith(f"{named}.")]
        if not chosen and "." in named:
            msg = f"{named} draws nothing of {source.name}; there are the figures {', '.join(asked) or '(none)'}"
            raise ConfigError(msg)
        if chosen:
            return next((figure for figure in chosen if _shows(figure)), chosen[0])
    empty = []
    for figure in _in_turn(project, source, asked=named is None):
        if _shows(figure):
            return figure
        empty.append(figure)
    if not empty:
        msg = f"{source.name} has no light curves and no spectra; `vo status {project.name}` shows how far it is"
        raise ConfigError(msg)
    return empty[0]


def _in_turn(project: Opened, source: Source, *, asked: bool) -> Iterator[Figure]:
    """Yield pictures, those first that are likely to show something: an analysis may search for minutes to draw."""
    analyses = [step.instance for step in project.steps if step.kind == "analyse"] if asked else []
    found = results.strongest_detections(project, source.id)
    finders = sorted((one for one in analyses if one.name in found), key=lambda one: not found[one.name][1])
    for one in finders:
        yield from _figures(one, source).values()
    yield from _stored(source.lightcurves, source.name)
    for one in finders:
        yield detection_figure(project, found[one.name][0])
    for one in (one for one in analyses if one.name not in found):
        yield from _figures(one, source).values()
    yield from _stored(source.spectra, source.name)


def _stored(rows: Sequence[QueryRow], title: str) -> Iterator[Figure]:
    """Yield a picture of stored light curves together, or of the first set of spectra."""
    reduced = [row for row in rows if row.role == "reduced"]
    if reduced:
        together = reduced[0].kind == "lightcurve"
        yield draw([row.data for row in reduced] if together else reduced[0].data, title=title)


def _figures(analysis: Analysis, source: Source) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    parts, aux = source.parts(analysis), source.aux(analysis)
    for part, some in parts.items():
        end = f".{part}" if len(parts) > 1 else ""
        made = analysis.figures(some, aux, analysis.settings)
        figures |= {f"{analysis.name}.{key}{end}": figure for key, figure in made.items()}
    return figures


def _shows(figure: Figure) -> bool:
    """Whether there is anything in a figure: a search that found nothing draws empty axes."""
    return any(axes.has_data() for axes in figure.axes)


def population(project: Opened, analysis: str | None = None, *, simulated: bool = False) -> pd.DataFrame:
    """Return what the search says about the whole sample, as the analysis works it out; see `Analysis.population`."""
    chosen = _chosen(project, analysis)
    return pd.DataFrame(
        chosen.population(
            _properties(project, chosen.name, simulated=simulated), outcomes(project, chosen.name)
        )
    )


def population_figure(project: Opened, analysis: str | None = None, *, title: str = "") -> Figure:
    """Return the figure of the injections of all sources.

    Raises
    ------
    ConfigError
        If nothing was injected yet, or no analysis of the project draws such a figure.
    """
    chosen = _chosen(project, analysis)
    table = outcomes(project, chosen.name)
    if table.empty:
        msg = f"nothing was injected for {chosen.name} in project {project.name}: `vo simulate {project.name}` first"
        raise ConfigError(msg)
    panels = list(chosen.population_panels(table))
    if not panels:
        msg = f"the analysis {chosen.name} draws no figure of a whole sample"
        raise ConfigError(msg)
    return draw(panels, title=title or f"{project.name}, {len(table)} injections")


def sample_figure(
    project: Opened, analysis: str | None = None, *, simulated: bool = False, title: str = ""
) -> Figure:
    """Return the figure of all sources by what the analysis says of them.

    Raises
    ------
    ConfigError
        If no source was searched yet, or the analysis draws no such figure.
    """
    chosen = _chosen(project, analysis)
    table = _properties(project, chosen.name, simulated=simulated)
    if table.empty:
        hint = "" if simulated else "; simulated ones are left out (--simulated takes them in)"
        msg = f"{chosen.name} says nothing of any source of project {project.name}{hint}"
        raise ConfigError(msg)
    panels = list(chosen.sample_panels(table))
    if not panels:
        msg = f"the analysis {chosen.name} draws no figure of all sources"
        raise ConfigError(msg)
    return draw(panels, title=title or f"{project.name}, {counted(len(table), 'source')}")


def outcomes(project: Opened, analysis: str | None = None, *, numbered: bool = False) -> pd.DataFrame:
    """Return the injections of the current configurations, every parameter a column of its own.

    Parameters
    ----------
    numbered
        Whether there is a column ``id``, the number of the injection in the database.
    """
    table = results.injections(project, analysis, numbered=numbered)
    if table.empty:
        return table
    parameters = pd.json_normalize(table["parameters"].tolist(), max_level=0)
    extra = [name for name in parameters.columns if name not in table.columns]
    return pd.concat([table.drop(columns="parameters"), parameters[extra]], axis=1)


def _properties(project: Opened, analysis: str, *, simulated: bool) -> pd.DataFrame:
    with project.session() as session:
        table = read_frame(
            session,
            """SELECT s.name AS source, r.simulated, r.props FROM properties r
            JOIN source s ON s.id = r.source_id JOIN task t ON t.id = r.task_id
            JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current
            JOIN project_source m ON m.project_id = c.project_id AND m.source_id = t.source_id
            WHERE c.project_id = :project AND r.analysis = :analysis AND (:simulated OR NOT r.simulated)
            ORDER BY s.name""",
            {"project": project.id, "analysis": analysis, "simulated": simulated},
        )
    if table.empty:
        return table
    return pd.concat(
        [table[["source", "simulated"]], pd.json_normalize(table["props"].tolist(), max_level=0)], axis=1
    )


def _analysis(project: Opened, entry: str) -> Analysis:
    """Return an analysis by what the configuration calls it: its name or its file."""
    for step in project.steps:
        if step.kind == "analyse" and entry in {step.entry, step.plugin}:
            found: Analysis = step.instance
            return found
    return project.analysis(entry)


def _chosen(project: Opened, analysis: str | None) -> Analysis:
    names = list(project.settings.analyses)
    if analysis is None and len(names) != 1:
        msg = f"project {project.name} has {len(names)} analyses; name one: {', '.join(names) or 'none'}"
        raise ConfigError(msg)
    return _analysis(project, analysis or names[0])
