"""What surveys draw of what they made: masters, calibrated frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virtualobserver.errors import ConfigError
from virtualobserver.run.views.stored import current_products, current_raws
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from virtualobserver.run.opened import Opened

__all__ = ["survey_figures"]


def survey_figures(project: Opened, survey: str, unit: str = "") -> RecordDict:
    """Return what a survey of the project draws of its masters and units, by name; empty if it draws nothing.

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
    return dict(instance.figures(raws, made, instance.settings))
