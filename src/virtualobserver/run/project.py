"""A project as people use it: open it, run it, look at what it found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import func, or_, select, text
from sqlalchemy.exc import DBAPIError

from virtualobserver import plugins
from virtualobserver.config import load
from virtualobserver.config.log import get_logger
from virtualobserver.config.shipped import find_config
from virtualobserver.data.show import facts_html
from virtualobserver.db.sky import cone_search
from virtualobserver.errors import VirtualObserverError
from virtualobserver.maths.astrometry.skyargs import takes_sky
from virtualobserver.models import Detection, Membership, Source
from virtualobserver.run import verdicts as judging
from virtualobserver.run.catalogue import import_catalogue, listed_by_survey
from virtualobserver.run.checks import targets_placed
from virtualobserver.run.driver import Choice, Progress, drive, executor_of
from virtualobserver.run.listings import compare
from virtualobserver.run.opened import Opened
from virtualobserver.run.record import Summary, broke_off
from virtualobserver.run.views import efficiency as searches
from virtualobserver.run.views import figures as pictures
from virtualobserver.run.views import tables as results
from virtualobserver.run.views.event_figures import detection_panels
from virtualobserver.run.views.stored import scope_of
from virtualobserver.run.views.survey_figures import calibration_figure, survey_figures
from virtualobserver.run.workspace import Workspace
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from virtualobserver.config.load import Overrides, Resolved
    from virtualobserver.data.histogram import Histogram
    from virtualobserver.data.panels import Panel
    from virtualobserver.db.engine import Session

__all__ = ["Project"]

_log = get_logger(__name__)

_DISCOVERED = text("""
    SELECT s.id FROM source s JOIN detection d ON d.source_id = s.id JOIN task t ON t.id = d.task_id
    JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current
    WHERE s.name = :name AND c.project_id = :project AND d.injection_id IS NULL LIMIT 1""")


class Project(Opened):
    """A search, opened from its configuration.

    Use `open`; close it, or use it in a ``with`` statement. Everything is in the database and in files under
    the data folder, so that a project may be closed and opened again at any time.

    Examples
    --------
    >>> with Project.open("configs/demo.yaml") as project:  # doctest: +SKIP
    ...     project.run()
    ...     project.detections(simulated=True)
    """

    def __init__(self, resolved: Resolved, workspace: Workspace) -> None:
        super().__init__(resolved.settings, workspace)
        self.resolved = resolved
        self._session: Session | None = None

    @classmethod
    def open(
        cls,
        source: str | Path | Record | None = None,
        *,
        data: str | Path | None = None,
        url: str | None = None,
        overrides: Overrides = (),
        **options: Any,
    ) -> Self:
        """Open a project from a YAML file, the name of one in ``configs/``, or a mapping.

        Parameters
        ----------
        source
            Without one, the demonstration that comes with the package, on simulated stars.
        data
            Data folder; default ``VO_DATA``, else ``results/data``.
        url
            Database; default ``VO_DATABASE_URL``, else the server in the data folder.
        overrides
            ``["a.b=c", ...]`` or a mapping, laid over the file.
        **options
            Top-level keys laid over the file, e.g. ``description="..."``.

        Raises
        ------
        ConfigError
            If the configuration is wrong; the message names file, line and key.
        """
        named = "demo" if source is None else source
        given = find_config(named) if isinstance(named, str | Path) else named
        resolved = load(given, options or overrides, resolve=plugins.settings_of)
        return cls(resolved, Workspace(data, url=url))

    # -- work -------------------------------------------------------------------------------------------------

    def import_catalogue(
        self,
        *,
        refresh: bool = False,
        when_new: Callable[[], None] = lambda: None,
        left_out: Callable[[str], None] = lambda _: None,
    ) -> int:
        """Bring the project's target list into the database; return the number of targets.

        With `refresh`, an archive that the list comes from is asked again; `when_new` is called once it is known that
        the list is another than that of the last import, `left_out` with the reason why something the archive has is
        not in it.
        """
        settings = listed_by_survey(
            self.settings.catalog, self.steps, self.workspace, refresh=refresh, left_out=left_out
        )
        with targets_placed(self.resolved), self.session() as session, session.begin():
            return import_catalogue(
                session,
                self.id,
                settings,
                root=self.workspace.root,
                refresh=refresh,
                when_new=when_new,
            )

    def run(
        self,
        *,
        step: str | None = None,
        only: Sequence[str] = (),
        redo: bool = False,
        refresh: bool = False,
        progress: Progress | None = None,
    ) -> Summary:
        """Do everything that is not done yet.

        Parameters
        ----------
        step
            Only this step: ``fetch``, ``reduce:ztf``, ``analyse`` ...
        only
            Only the sources with these names.
        redo
            Do again what is done.
        refresh
            Look at the archive again, at empty answers too, and redo what became stale.
        progress
            Called with step, number of tasks and counts so far.
        """
        choice = Choice(step=step, only=tuple(only), redo=redo, refresh=refresh)
        try:
            with closing(executor_of(self)) as executor:
                # workers start while the targets of a new list are written down
                unlisted = self._list_targets(refresh=refresh, when_new=executor.warm)
                _log.info("run started", project=self.name, data=str(self.workspace.root))
                summary = drive(self, choice, executor, progress=progress)
                summary.unlisted = unlisted
        except KeyboardInterrupt:
            results.save_histograms(
                self, changed=True
            )  # of what was done: they are there without another run
            raise
        except DBAPIError as error:
            self.workspace.database.explain(error)
            raise
        for failure in summary.failures:
            _log.warning("task failed", project=self.name, **failure)
        for note in summary.notes:
            _log.warning("not all is as it was", project=self.name, note=note)
        _log.info("run ended", project=self.name, tasks=summary.worked, failed=summary.failed)
        results.save_histograms(self, changed=True)
        return summary

    def _list_targets(self, *, refresh: bool, when_new: Callable[[], None]) -> list[str]:
        unlisted: list[str] = []
        try:
            self.import_catalogue(refresh=refresh, when_new=when_new, left_out=unlisted.append)
        except (VirtualObserverError, OSError) as error:
            broke_off(self, error)  # `vo status` says so as long as it is so
            raise
        return unlisted

    def save_histograms(self) -> list[Path]:
        """Write the histograms of the current configurations as netCDF files; return their paths.

        Every run does so where what they are summed from has changed.
        """
        return results.save_histograms(self)

    # -- results ----------------------------------------------------------------------------------------------

    @property
    def live(self) -> Session:
        """The session that rows handed out by this object belong to."""
        if self._session is None:
            self._session = self.session()
            self._session.info["scope"] = scope_of(self)
        return self._session

    @property
    def sources(self) -> list[Source]:
        """All sources of the project in the order of the catalogue."""
        statement = select(Source).join(Membership, Membership.source_id == Source.id)
        statement = statement.where(Membership.project_id == self.id).order_by(Membership.number)
        return list(self.live.execute(statement).scalars())

    def source(self, name: str) -> Source:
        """Return a source by name or alias, of the catalogue or discovered under the current settings.

        Raises
        ------
        KeyError
            If the project has no such source.
        """
        statement = select(Source).join(Membership, Membership.source_id == Source.id)
        statement = statement.where(
            Membership.project_id == self.id, or_(Source.name == name, Source.aliases.contains([name]))
        )
        source = self.live.execute(statement).scalars().first()
        if source is not None:
            return source
        found = self.live.execute(_DISCOVERED, {"project": self.id, "name": name}).scalar()
        if found is not None:
            return self.live.get_one(Source, found)
        number = self.live.scalar(select(func.count()).where(Membership.project_id == self.id))
        msg = f"project {self.name} has no source {name!r} among its {number}; `vo list sources` shows them"
        raise KeyError(msg)

    @takes_sky(radius="arcsec")
    def sources_near(self, ra: float, dec: float, radius: float = 2.0) -> list[Source]:
        """Return the sources of the catalogue within a cone, nearest first.

        Parameters
        ----------
        ra, dec
            Centre: ICRS, deg, or quantities; or a `SkyCoord` in the place of both.
        radius
            arcsec, or a quantity.

        Raises
        ------
        DataError
            If the position is not on the sky, or the radius is negative.
        """
        near = [row.id for row in cone_search(self.live, ra, dec, radius)]
        statement = select(Source).join(Membership, Membership.source_id == Source.id)
        statement = statement.where(Membership.project_id == self.id, Source.id.in_(near))
        return sorted(self.live.scalars(statement), key=lambda one: near.index(one.id))

    def detection(self, number: int) -> Detection:
        """Return a detection by its number, e.g. to draw it: ``project.detection(7).plot()``.

        Raises
        ------
        KeyError
            If the project has no such detection.
        """
        row = self.live.get(Detection, number) if results.has_detection(self, number) else None
        if row is None:
            msg = f"project {self.name} has no detection {number}; p.detections(simulated=True) lists them"
            raise KeyError(msg)
        return row

    def panels(self, detection: int, *, told: bool = True) -> list[Panel]:
        """Return what to see of a detection as plain data, the most telling panel first; see `Analysis.panels`.

        Parameters
        ----------
        detection
            Its number, ``id`` in `detections`.
        told
            Whether, of an injected event, the last panel says what was injected.

        Raises
        ------
        KeyError
            If the project has no such detection.
        """
        return detection_panels(self, self.detection(detection).id, told=told)

    def detections(self, *, simulated: bool = False) -> pd.DataFrame:
        """Return the current detections; with ``simulated`` those in simulated data and injections too."""
        return results.detections(self, simulated=simulated)

    def judge(self, detection: int, verdict: str, *, user: str = "", note: str = "") -> None:
        """Say what a detection is. Each verdict is kept for ever, beside those that were given before.

        Parameters
        ----------
        detection
            Its number, ``id`` in `detections`; of a moving body that of any epoch, and the verdict goes to all of them.
        verdict
            ``candidate`` is what the search looks for, ``other`` is real but something else, ``artefact`` is made by
            instrument or processing, ``unsure`` has to be looked at again.
        user
            Who says so; by default who is logged in.
        note
            Any text.

        Raises
        ------
        DataError
            If there is no such verdict, or the project has no such detection.
        """
        judging.give_verdict(self, detection, verdict, user=user, note=note)

    def verdicts(self) -> pd.DataFrame:
        """Return all verdicts, the oldest first: detection, verdict, user, note, created, and what they are about.

        ``detection`` is missing where the detection is gone, and ``digest`` says with which settings it was found.
        """
        return judging.verdicts(self)

    def status(self) -> pd.DataFrame:
        """Return the number of tasks by step and status.

        ``unplanned`` are sources without a task yet, ``reasons`` says why tasks are empty.
        """
        return results.status(self)

    def notes(self) -> list[str]:
        """Return what the folders of the project hold that was not read, or was read and is gone."""
        found = [compare(self, step.forgetful()) for step in self.steps if step.kind == "fetch"]
        return [note for one in found for note in one.notes]

    def sql(self, statement: str, **values: object) -> pd.DataFrame:
        """Return the rows of a SQL query; the transaction is read-only."""
        return results.sql(self.workspace, statement, values)

    def histograms(self, *, simulated: bool | None = None) -> dict[str, Histogram]:
        """Return the summed histograms of the current configurations by ``analysis.name``."""
        return results.histograms(self, simulated=simulated)

    def efficiency(
        self, analysis: str | None = None, by: Sequence[str] | None = None, **options: Any
    ) -> pd.DataFrame:
        """Return how many injected events the data cover, and the search found of these, with intervals.

        For each person who judged found ones (``vo vet --simulated``) a column ``accepted by NAME``: the part of them
        that was called candidates, of ``judged by NAME``.

        Parameters
        ----------
        analysis
            By default all: the first column is then the analysis, if there are several.
        by
            Parameters of the injections to sort by, or ``source``; by default kind, if there is one, and what the
            analysis names as its ``strength``.
        **options
            Of `virtualobserver.simulate.efficiency`: ``bins``, ``edges``, ``confidence``.
        """
        return searches.efficiency_table(self, analysis, by, **options)

    def rates(self, *, confidence: float = 0.95) -> pd.DataFrame:
        """Return how often events of each kind happen, corrected for coverage and for what the search misses.

        One row per analysis and kind of injected events: ``sources`` they were put into, ``found`` detections in
        these sources, real ones unless the data are simulated, ``exposure`` over which the injections were spread in
        ``unit``, ``efficiency``, and per unit ``rate, rate_low, rate_high`` and the one-sided ``rate_limit`` at
        `confidence`. They hold for events such as the injected ones. Without exposure, or where no injection was
        found, a rate is NaN.
        """
        return searches.rates(self, confidence=confidence)

    def efficiency_figure(self, *, title: str = "") -> Figure:
        """Return one figure of what all searches find by strength and duration, coverage apart, and of rates."""
        return searches.efficiency_figure(self, title=title)

    def population(self, analysis: str | None = None, *, simulated: bool = False) -> pd.DataFrame:
        """Return what an analysis says about the whole sample, e.g. rates corrected for what it misses.

        Simulated sources count only with `simulated`.
        """
        return pictures.population(self, analysis, simulated=simulated)

    def figures(self, source: str) -> RecordDict:
        """Return the figures that the project's analyses draw of a source, by ``analysis.figure``."""
        return pictures.source_figures(self, self.source(source))

    def figure(self, source: str, named: str | None = None) -> Figure:
        """Return the picture of a source that shows most, or the one `named` ``analysis`` or ``analysis.figure``."""
        return pictures.source_figure(self, self.source(source), named)

    def survey_figures(self, survey: str, unit: str = "") -> Mapping[str, Figure]:
        """Return the figures that a survey draws of its masters and of a unit (a frame, a night), by name."""
        return survey_figures(self, survey, unit)

    def calibration_figure(self, image: str, **choice: float) -> Figure:
        """Return the figure of the photometric calibration of an image.

        Another choice of stars, ``clip``, ``brightest``, ``faintest`` or ``max_mag_error``, is shown and not stored.
        """
        return calibration_figure(self, image, choice)

    def population_figure(self, analysis: str | None = None, *, title: str = "") -> Figure:
        """Return an analysis' figure of all injections."""
        return pictures.population_figure(self, analysis, title=title)

    def sample_figure(
        self, analysis: str | None = None, *, simulated: bool = False, title: str = ""
    ) -> Figure:
        """Return an analysis' figure of all sources by their properties; simulated ones only with `simulated`."""
        return pictures.sample_figure(self, analysis, simulated=simulated, title=title)

    def close(self) -> None:
        """Close sessions and the database."""
        if self._session is not None:
            self._session.close()
        self.workspace.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self.workspace.database.explain(error)

    def __repr__(self) -> str:
        return f"Project({self.name!r}, {', '.join(step.name for step in self.steps)})"

    def _repr_html_(self) -> str:
        facts = {
            "description": self.settings.description,
            "steps": ", ".join(step.name for step in self.steps),
            "data": str(self.workspace.root),
        }
        shown = facts_html(f"Project {self.name}", {key: value for key, value in facts.items() if value})
        return shown + self.status().rename_axis(columns=None).to_html()
