"""What surveys draw of what they made: masters, calibrated frames."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from virtualobserver.db.bulk import read_frame
from virtualobserver.errors import ConfigError
from virtualobserver.models import Product, RawData

if TYPE_CHECKING:
    from virtualobserver.data.handles import Handle, ProductInfo
    from virtualobserver.run.project import Project

__all__ = ["survey_figures"]


def survey_figures(project: Project, survey: str, unit: str = "") -> dict[str, Any]:
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
    values = {
        "project": project.id, "unit": unit, "calibrate": f"calibrate:{survey}", "reduce": f"reduce:{survey}",
    }  # fmt: skip
    with project.session() as session:
        made = read_frame(session, f'{_OF_UNITS} ORDER BY t.unit COLLATE "C", p.id', values)
        if not (made["step"] == values["reduce"]).any():
            msg = (
                f"nothing was made of unit {unit!r} of {survey} yet" if unit else f"{survey} made nothing yet"
            )
            raise ConfigError(f"{msg}: `vo run {project.name}` first")
        values["units"] = made["unit"].unique().tolist()
        raws = read_frame(
            session,
            """SELECT DISTINCT d.id, r.unit, d.archive_id FROM source_raw r JOIN raw_data d ON d.id = r.raw_data_id
            JOIN task t ON t.id = r.task_id JOIN configuration c ON c.step = t.step AND c.digest = t.digest
            JOIN project_source m ON m.project_id = c.project_id AND m.source_id = r.source_id
            WHERE c.project_id = :project AND c.current AND r.unit = ANY(:units) ORDER BY r.unit, d.archive_id""",
            values,
        )
    rows = [project.live.get(RawData, int(number)) for number in raws["id"]]
    stored = [
        (project.live.get(Product, int(number)), str(of))
        for number, of in zip(made["id"], made["unit"], strict=True)
    ]
    handles = [_Placed(row.handle(), of) for row, of in stored if row is not None]
    instance = project.observatories[survey]
    return dict(instance.figures([row.ref() for row in rows if row is not None], handles, instance.settings))


_OF_UNITS = """SELECT p.id, t.unit, t.step FROM product p JOIN task t ON t.id = p.task_id
JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current
WHERE c.project_id = :project AND p.file_id IS NOT NULL AND (t.step = :calibrate
OR t.step = :reduce AND (:unit = '' OR t.unit = :unit OR starts_with(t.unit, :unit || '/')))"""


@dataclass(frozen=True, eq=False)
class _Placed:
    """A stored product that knows its unit."""

    handle: Handle
    unit: str

    @property
    def info(self) -> ProductInfo:
        return replace(self.handle.info, unit=self.unit)

    def load(self) -> Any:
        return self.handle.load()

    def section(self, rows: slice, cols: slice | None = None) -> Any:
        return self.handle.section(rows, cols)
