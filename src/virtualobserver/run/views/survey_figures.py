"""What surveys draw of what they made: masters, calibrated frames, zero points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from virtualobserver.data.cards import solved_again, solved_table, stars_again, zero_points_again
from virtualobserver.data.handles import MemoryHandle, of_kind
from virtualobserver.data.table import Table
from virtualobserver.errors import ConfigError
from virtualobserver.hooks import draw
from virtualobserver.run.views.stored import current_products, current_raws

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from virtualobserver.data.handles import Handle
    from virtualobserver.data.panels import Panel
    from virtualobserver.run.opened import Opened

__all__ = ["calibration_figure", "calibration_panels", "survey_figures"]

_NAMED: Final = 3
"""Images named in a message: they show what names look like, and a line holds no more."""


def survey_figures(project: Opened, survey: str, unit: str = "") -> Mapping[str, Figure]:
    """Return what a survey of the project draws of its masters and units, by name; empty if it draws nothing.

    Some surveys draw a figure when it is asked for, as long as the project is open.

    Parameters
    ----------
    unit
        Unit, or first parts of units (a night); empty = all.

    Raises
    ------
    ConfigError
        If the project has no such survey, or nothing was made of such a unit yet.
    """
    if survey not in project.observatories:
        msg = f"project {project.name} has no survey {survey!r}; it has {', '.join(project.observatories) or 'none'}"
        raise ConfigError(msg)
    made = current_products(
        project,
        """t.step = :calibrate
        OR t.step = :reduce AND (:unit = '' OR t.unit = :unit OR starts_with(t.unit, :unit || '/'))""",
        {"unit": unit, "calibrate": f"calibrate:{survey}", "reduce": f"reduce:{survey}"},
    )
    if not any(handle.info.step == f"reduce:{survey}" for handle in made):
        msg = f"nothing was made of unit {unit!r} of {survey} yet" if unit else f"{survey} made nothing yet"
        raise ConfigError(f"{msg}: `vo run {project.name}` first")
    raws = current_raws(project, sorted({handle.info.unit for handle in made}))
    instance = project.observatories[survey]
    drawn: Mapping[str, Figure] = instance.figures(raws, made, instance.settings)
    return drawn


def calibration_panels(project: Opened, image: str, choice: Mapping[str, float]) -> list[Panel]:
    """Return what to see of the photometric calibration of one image.

    Parameters
    ----------
    image
        Unit of the image, or its last part: ``2017-02-25/F1.00012``, ``F1.00012``.
    choice
        Another choice of stars, see `VirtualObservatory.calibration_panels`.

    Raises
    ------
    ConfigError
        If there is no such image or more than one, it has no calibration, or the choice is not possible.
    """
    survey, made = _calibrated(project, image)
    made = _solved_again(project, made)
    instance = project.observatories[survey]
    panels = list(instance.calibration_panels(made, instance.settings, choice))
    if not panels:
        msg = f"{survey} has no photometric calibration of {made[0].info.unit}: with `refcat` it has one"
        raise ConfigError(msg)
    return panels


def calibration_figure(project: Opened, image: str, choice: Mapping[str, float]) -> Figure:
    """Return `calibration_panels` as one figure."""
    unit = _calibrated(project, image)[1][0].info.unit
    return draw(calibration_panels(project, image, choice), title=f"{unit}, photometric calibration")


def _solved_again(project: Opened, made: list[Handle]) -> list[Handle]:
    """Return what was made of an image as it is after it was solved anew, if it was: its stars and its zero point."""
    unit = str(made[0].info.unit)
    nights = current_products(project, "p.kind = 'table' AND p.role = 'quality'", {})
    cards, zero = solved_again(nights).get(unit), zero_points_again(nights).get(unit, {})
    sources = next((one for one in of_kind(made, Table) if one.info.role == "sources"), None)
    if cards is None or "stars_of" not in zero or sources is None:
        return made
    others = of_kind(
        current_products(
            project, "p.kind = 'table' AND p.role = 'forced' AND t.unit = :unit", {"unit": zero["stars_of"]}
        ),
        Table,
    )
    if not others:
        return made
    table = solved_table(sources.load(), cards, zero)
    table, stars = stars_again(table, others[0].load(), cards, float(table.meta["zero_rule"]["match_radius"]))
    numbers = {name: value for name, value in zero.items() if isinstance(value, float)}
    return [
        MemoryHandle(table, sources.info),
        MemoryHandle(stars, replace(others[0].info, unit=unit)),
        MemoryHandle(Table({}, {}, {}), replace(sources.info, role="zeropoint", statistics=numbers)),
    ]


def _calibrated(project: Opened, image: str) -> tuple[str, list[Handle]]:
    """Return the survey of an image, and what was made of it."""
    made = current_products(
        project,
        """starts_with(t.step, 'reduce') AND p.kind = 'table'
        AND (t.unit = :image OR right(t.unit, length(:image) + 1) = '/' || :image)""",
        {"image": image},
    )
    groups: dict[tuple[str, str], list[Handle]] = {}
    for handle in made:
        groups.setdefault((str(handle.info.step).rpartition(":")[2], str(handle.info.unit)), []).append(
            handle
        )
    if len(groups) == 1:
        ((survey, _), handles) = groups.popitem()
        return survey, handles
    if groups:
        msg = (
            f"{image} may be {', '.join(f'{unit} of {survey}' for survey, unit in sorted(groups))}; name one"
        )
        raise ConfigError(msg)
    known = [
        str(one.info.unit) for one in current_products(project, "p.kind = 'table' AND p.role = 'sources'", {})
    ]
    some = f"; there are {', '.join(known[:_NAMED])}{' ...' if len(known) > _NAMED else ''}" if known else ""
    msg = (
        f"nothing was measured of an image {image!r}{some}; `vo run {project.name}` measures what is not done"
    )
    raise ConfigError(msg)
