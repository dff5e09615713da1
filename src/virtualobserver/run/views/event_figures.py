"""What to see of one detection, from the products it was found in: with what was put into them, if it was injected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from sqlalchemy import select, text

from virtualobserver.columns import band_words
from virtualobserver.conventions import HOURS_PER_DAY
from virtualobserver.data.curve_panels import curve_panels
from virtualobserver.data.panels import Axis, Facts, ImageStack, Panel, Series
from virtualobserver.data.plain import plain
from virtualobserver.data.product import Aux, Target
from virtualobserver.data.result import Event
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.errors import ConfigError, DataError
from virtualobserver.hooks import draw
from virtualobserver.maths.arrays import Array
from virtualobserver.models import Configuration, Detection, Injection, Source, Task
from virtualobserver.models.product import product_handle
from virtualobserver.models.raw_data import raw_ref
from virtualobserver.observatory import VirtualObservatory
from virtualobserver.run.steps import IN_ORDER
from virtualobserver.run.tasks.services import build_services
from virtualobserver.run.views.cutouts import cutout_panel
from virtualobserver.simulate import Simulator
from virtualobserver.typing import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from virtualobserver.analysis import Analysis
    from virtualobserver.data.handles import Handle
    from virtualobserver.db.engine import Session
    from virtualobserver.run.opened import Opened
    from virtualobserver.run.steps import Step

__all__ = ["detection_figure", "detection_panels"]


@dataclass(frozen=True)
class _Scene:
    """A detection with the products that were searched, those with the injection in them if there was one."""

    step: Step
    event: Event
    products: Sequence[Handle]
    aux: Aux
    params: Record | None = None
    own: Handle | None = None  # the light curve that the analysis made of what it discovered
    body: bool = False  # whether that is a moving body


def detection_panels(project: Opened, number: int, *, told: bool = True) -> list[Panel]:
    """Return what to see of one detection, as the analysis that found it says: `Analysis.panels`.

    The analysis has the settings with which the event was found, also when these are not current any more.
    An injected event is put into the stored products again, from its seed.

    Parameters
    ----------
    told
        Whether, of an injected event, the last panel says what was injected; without it nobody can tell.

    Raises
    ------
    ConfigError
        If the project has the analysis no more.
    DataError
        If what the event was found in is gone, or is not what it was when the event was injected.
    """
    with project.session() as session:
        detection = session.get_one(Detection, number)
        scene = _scene(project, session, detection)
        return _shown(project, session, detection, scene, told=told)


def detection_figure(project: Opened, number: int, **options: object) -> Figure:
    """Return the panels of one detection as a figure; see `detection_panels`.

    Parameters
    ----------
    **options
        Of `virtualobserver.plot.draw_panels`.
    """
    with project.session() as session:
        detection = session.get_one(Detection, number)
        scene = _scene(project, session, detection)
        source, stale, simulated = _where(session, number)
        panels = _shown(project, session, detection, scene)
    injected = " (injected)" if scene.params is not None else " (simulated data)" if simulated else ""
    kind = scene.event.kind.replace("_", " ")
    title = f"{source}, {kind}{injected}{', stale: its data changed or are damaged' * stale}"
    return draw(panels, **{"title": title} | options)


def _where(session: Session, number: int) -> tuple[str, bool, bool]:
    row = session.execute(
        text("SELECT source, stale, simulated FROM detections_all WHERE id = :id LIMIT 1"), {"id": number}
    ).one()
    return str(row.source), bool(row.stale), bool(row.simulated)


def _scene(project: Opened, session: Session, detection: Detection) -> _Scene:
    task = session.get_one(Task, detection.task_id)
    owner = session.get_one(Source, task.source_id)
    step = _step(project, session, task)
    products: Sequence[Handle] = _searched(project, session, task.id)
    if not products:
        msg = f"what detection {detection.id} was found in is gone; `vo run {project.name}` makes and searches it again"
        raise DataError(msg)
    aux = Aux(target=owner.target(), services=build_services(project.workspace, step))
    params = None
    if detection.injection_id is not None:
        injection = session.get_one(Injection, detection.injection_id)
        params, products = _put_in(step, task, injection, products, aux)
    body = detection.source_id != owner.id and session.get_one(Source, detection.source_id).kind == "moving"
    own = _own(project, session, detection)
    return _Scene(step, _event(detection, products), products, aux, params, own, body)


def _step(project: Opened, session: Session, task: Task) -> Step:
    """Return the step of a task with the settings it had."""
    step = next((one for one in project.steps if one.name == task.step), None)
    if step is None:
        names = ", ".join(project.settings.analyses) or "none"
        msg = f"project {project.name} has no step {task.step} any more, which found this; its analyses are {names}"
        raise ConfigError(msg)
    if step.digest == task.digest:
        return step
    settings = session.scalars(
        select(Configuration.settings).where(
            Configuration.project_id == project.id,
            Configuration.step == task.step,
            Configuration.digest == task.digest,
        )
    ).one()
    return replace(step, settings=settings, digest=task.digest)


def _searched(project: Opened, session: Session, task_id: int) -> list[Handle]:
    """Return handles of the products that a task used, in the order in which it had them."""
    rows = session.execute(
        text(f"""
        SELECT p.*, u.unit, u.step, f.path, f.format
        FROM task_input i JOIN product p ON p.id = i.product_id JOIN task u ON u.id = p.task_id
        LEFT JOIN file f ON f.id = p.file_id WHERE i.task_id = :task
        ORDER BY {IN_ORDER}"""),  # noqa: S608 - the order is written by us
        {"task": task_id},
    )
    return [product_handle(project.workspace.store, row, row.path, file_format=row.format) for row in rows]


def _own(project: Opened, session: Session, detection: Detection) -> Handle | None:
    """Return the light curve that the task of a detection made of the source it discovered."""
    row = session.execute(
        text("""
        SELECT p.*, u.unit, u.step, f.path, f.format FROM product p JOIN task u ON u.id = p.task_id
        LEFT JOIN file f ON f.id = p.file_id
        WHERE p.task_id = :task AND p.source_id = :source AND p.kind = 'lightcurve' ORDER BY p.id LIMIT 1"""),
        {"task": detection.task_id, "source": detection.source_id},
    ).one_or_none()
    return (
        None
        if row is None
        else product_handle(project.workspace.store, row, row.path, file_format=row.format)
    )


def _put_in(
    step: Step, task: Task, injection: Injection, products: Sequence[Handle], aux: Aux
) -> tuple[Record, Sequence[Handle]]:
    params, changed = Simulator(step.instance).remake(
        products, aux, injection.number, digest=task.digest, unit=task.unit
    )
    if plain(params) != injection.parameters:
        msg = (
            f"injection {injection.number} of {aux.target.name} cannot be put in again: its data, or the program, "
            f"are not what they were; `vo run CONFIG --redo --step {step.name}` injects anew"
        )
        raise DataError(msg)
    return params, changed


def _event(row: Detection, products: Sequence[Handle]) -> Event:
    ids = [handle.info.product_id for handle in products]
    return Event(
        kind=row.kind,
        peak_mjd=row.peak_mjd,
        start_mjd=row.start_mjd,
        end_mjd=row.end_mjd,
        snr=row.snr,
        score=row.score,
        ra=row.ra,
        dec=row.dec,
        band=row.band,
        quality=row.quality,
        parameters=row.parameters,
        product=ids.index(row.product_id) if row.product_id in ids else None,
    )


def _shown(
    project: Opened, session: Session, detection: Detection, scene: _Scene, *, told: bool = True
) -> list[Panel]:
    """Return all panels of a detection: of a moving body also those that no analysis has the data for.

    As long as nothing is to be told of what was injected, these are left out: what was injected has none.
    """
    panels = _panels(scene, told=told)
    panels[:0] = _of_raw_data(project, session, scene, told=told)
    if not (scene.body and told):
        return panels
    if not any(isinstance(panel, ImageStack) for panel in panels):
        panels.insert(0, cutout_panel(project, session, detection.id))
    curve = _curve(scene)
    if curve is not None and (period := _period(project, session, detection)) is not None:
        panels.insert(-1, _folded(curve, *period))
    return panels


# What one unit was made of and what was made of it, without the masters that it used.
_UNIT: Final = """
    WITH RECURSIVE up(task_id) AS (
      SELECT task_id FROM product WHERE id = :id
      UNION
      SELECT p.task_id FROM up JOIN task_input i ON i.task_id = up.task_id JOIN product p ON p.id = i.product_id
      WHERE p.role <> 'master')"""
_UNIT_PRODUCTS: Final = f"""{_UNIT}
    SELECT p.*, t.unit, t.step, f.path, f.format FROM up JOIN task t ON t.id = up.task_id
    JOIN product p ON p.task_id = t.id LEFT JOIN file f ON f.id = p.file_id ORDER BY p.id"""  # noqa: S608 - a constant of ours
_UNIT_RAWS: Final = f"""{_UNIT}
    SELECT r.*, f.path, f.external FROM raw_data r JOIN file f ON f.id = r.file_id
    WHERE r.id IN (SELECT i.raw_data_id FROM up JOIN task_input i ON i.task_id = up.task_id) ORDER BY r.id"""  # noqa: S608 - a constant of ours


def _of_raw_data(project: Opened, session: Session, scene: _Scene, *, told: bool) -> list[Panel]:
    """Return what the survey shows of the raw data in which an event was seen."""
    searched = None if scene.event.product is None else scene.products[scene.event.product]
    if searched is None or not str(searched.info.step).startswith("reduce"):
        return []
    survey = project.observatories.get(str(searched.info.step).partition(":")[2].partition(".")[0])
    # most surveys show nothing: they are not asked for what lies behind
    if survey is None or type(survey).event_panels is VirtualObservatory.event_panels:
        return []
    values = {"id": searched.info.product_id}
    store = project.workspace.store
    products = [
        product_handle(store, row, row.path, file_format=row.format)
        for row in session.execute(text(_UNIT_PRODUCTS), values)
    ]
    raws = [
        raw_ref(store, row, row.path, external=row.external)
        for row in session.execute(text(_UNIT_RAWS), values)
    ]
    return list(survey.event_panels(raws, products, searched, scene.event, told=told))


def _panels(scene: _Scene, *, told: bool = True) -> list[Panel]:
    """Return the panels of the analysis; in front the light curve made of what it discovered, if it shows none."""
    analysis: Analysis = scene.step.instance
    panels = list(analysis.panels(scene.products, scene.aux, analysis.settings, scene.event))
    curves = [panel for panel in panels if isinstance(panel, Series)]
    # of a body a sky with its path is no light curve
    shown = any(panel.x.scale == "time" for panel in curves) if scene.body else bool(curves)
    if not shown and (curve := _curve(scene)) is not None:
        made = curve_panels([(band_words(curve.band), curve)], scene.event)
        panels = panels + made[-1:] if scene.body else made + panels
    if scene.params is not None and told:
        panels.append(_put_in_facts(scene.params))
    return panels


def _period(project: Opened, session: Session, detection: Detection) -> tuple[str, float] | None:
    """Return the step that found a period of the body, and the period, days; None if none did."""
    row = session.execute(
        text("""
        SELECT c.step, (r.props->>'period_days')::float8 AS period FROM properties r JOIN task t ON t.id = r.task_id
        JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current
        WHERE c.project_id = :project AND r.props->>'period_days' IS NOT NULL AND r.source_id = :source
        ORDER BY r.id LIMIT 1"""),
        {"project": project.id, "source": detection.source_id},
    ).one_or_none()
    return None if row is None else (str(row.step).partition(":")[2], float(row.period))


def _folded(curve: TimeSeries, step: str, period: float) -> Series:
    """Return a light curve by phase, twice, so that nothing is cut at its end."""
    whole = curve_panels([(band_words(curve.band), curve)])[0]
    if not isinstance(whole, Series):
        msg = "a light curve is shown as a series"
        raise TypeError(msg)
    start = float(curve.mjd.min())
    turns = [
        replace(one, x=np.concatenate([phase, phase + 1.0]), flags=_twice(one.flags), y=np.concatenate([one.y, one.y]),
                y_error=_twice(one.y_error), text=None)
        for one in whole.curves
        for phase in [(one.x - start) / period % 1.0]
    ]  # fmt: skip
    title = f"folded by {period * HOURS_PER_DAY:.4g} h, as {step} found"
    return replace(whole, title=title, x=Axis("phase", limits=(0.0, 2.0)), curves=turns)


def _twice(values: Array | None) -> Array | None:
    return None if values is None else np.concatenate([values, values])


def _put_in_facts(params: Record) -> Facts:
    facts = {name: value for name, value in params.items() if isinstance(value, str | bool | int | float)}
    units = {"t_peak": "MJD", "start_mjd": "MJD", "end_mjd": "MJD"}
    return Facts("what was injected", [(name, value, units.get(name, "")) for name, value in facts.items()])


def _curve(scene: _Scene) -> TimeSeries | None:
    """Return the light curve that shows an event: the one it was seen in, or the one made of its source."""
    handle = None if scene.event.product is None else scene.products[scene.event.product]
    if handle is not None and handle.info.kind == "lightcurve":
        return _series(handle.load())
    if scene.own is not None:
        return _series(scene.own.load())
    if scene.params is None:
        return None
    # What was injected has no products: the search makes them again.
    analysis = scene.step.instance
    result = analysis.find(scene.products, scene.aux, analysis.settings)
    same = [one for one in result.detections if analysis.recovered(scene.params, one)]
    if not same:
        return None
    name = min(same, key=lambda one: abs(one.snr - scene.event.snr)).source
    curves = (one.data for one in result.products if (one.target or Target("")).name == name)
    return next((curve for curve in curves if isinstance(curve, TimeSeries)), None)


def _series(data: object) -> TimeSeries | None:
    return data if isinstance(data, TimeSeries) else None
