"""Reading results: detections, status, histograms, efficiency, any SQL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from sqlalchemy import text

from virtualobserver.data.histogram import Histogram
from virtualobserver.db.bulk import read_frame
from virtualobserver.io.netcdf import write_variables
from virtualobserver.run.plan import look

if TYPE_CHECKING:
    from virtualobserver.run.project import Project
    from virtualobserver.run.workspace import Workspace

__all__ = [
    "detections",
    "hidden_detections",
    "histograms",
    "injections",
    "save_histograms",
    "sql",
    "status",
]


_PARTS_AT_ONCE = 4096  # bounds the memory


def detections(project: Project, *, simulated: bool = False) -> pd.DataFrame:
    """Return the detections of a project's current configurations."""
    view = "detections_all" if simulated else "detections"
    with project.session() as session:
        return read_frame(
            session,
            f"SELECT * FROM {view} WHERE project = :project AND current ORDER BY source, peak_mjd",  # noqa: S608
            {"project": project.name},
        )


def hidden_detections(project: Project) -> int:
    """Return how many current detections the default view leaves out because they are simulated."""
    with project.session() as session:
        statement = text("SELECT count(*) FROM detections_all WHERE project = :p AND current AND simulated")
        return int(session.execute(statement, {"p": project.name}).scalar_one())


def status(project: Project) -> pd.DataFrame:
    """Return steps by rows and statuses by columns."""
    with project.session() as session:
        rows = read_frame(
            session,
            "SELECT step, status, tasks FROM progress WHERE project = :project",
            {"project": project.name},
        )
    order = [step.name for step in project.steps]
    columns = ["pending", "running", "done", "empty", "failed", "stale"]
    table = rows.pivot_table(index="step", columns="status", values="tasks", aggfunc="sum", fill_value=0)
    table = table.reindex(index=order, columns=columns, fill_value=0).astype(int)
    with project.session() as session:
        numbers = {s.name: project.injections(s.plugin) for s in project.steps if s.kind == "simulate"}
        opened = [look(session, s, project.id, number=numbers.get(s.name, 0)) for s in project.steps]
    table["unplanned"] = [one.missing for one in opened]
    return table


def sql(workspace: Workspace, statement: str, values: dict[str, Any]) -> pd.DataFrame:
    """Run a read-only query."""
    with workspace.database.session() as session:
        session.execute(text("SET TRANSACTION READ ONLY"))
        return read_frame(session, statement, values)


def histograms(project: Project, *, simulated: bool | None = None) -> dict[str, Histogram]:
    """Return the sum of the parts of done tasks, by ``analysis.name``.

    The done mark of a task is the ledger: every part counts once, however often a run was broken off.
    """
    with project.session() as session:
        rows = session.execute(
            text("""
            SELECT replace(t.step, 'analyse:', '') || '.' || h.name AS name, h.counts
            FROM histogram_part h JOIN task t ON t.id = h.task_id
            JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current
            JOIN project_source m ON m.project_id = c.project_id AND m.source_id = t.source_id
            WHERE c.project_id = :project AND t.status IN ('done', 'stale')
              AND (CAST(:simulated AS boolean) IS NULL OR h.simulated = :simulated)
            ORDER BY h.id""").execution_options(yield_per=1000),
            {"project": project.id, "simulated": simulated},
        )
        parts: dict[str, list[bytes]] = {}
        sums: dict[str, list[Histogram]] = {}
        for name, counts in rows:
            group = parts.setdefault(name, [])
            group.append(bytes(counts))
            if len(group) == _PARTS_AT_ONCE:
                sums.setdefault(name, []).append(Histogram.sum_bytes(group))
                group.clear()
    for name, group in parts.items():
        if group:
            sums.setdefault(name, []).append(Histogram.sum_bytes(group))
    return {name: Histogram.sum(group) for name, group in sums.items()}


def save_histograms(project: Project) -> list[Path]:
    """Write every summed histogram to ``histograms/<project>/<name>.nc`` in the data folder."""
    paths = []
    for name, histogram in histograms(project).items():
        path = project.workspace.root / "histograms" / project.name / f"{name}.nc"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_variables(histogram.variables(), path)
        paths.append(path)
    return paths


def injections(project: Project, analysis: str | None = None) -> pd.DataFrame:
    """Return the injections of the current configurations."""
    with project.session() as session:
        return read_frame(
            session,
            """SELECT s.name AS source, replace(t.step, 'simulate:', '') AS analysis, i.number, i.kind, i.amplitude,
              i.width, i.found, i.found_snr, i.parameters
            FROM injection i JOIN task t ON t.id = i.task_id JOIN source s ON s.id = i.source_id
            JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current
            JOIN project_source m ON m.project_id = c.project_id AND m.source_id = i.source_id
            WHERE c.project_id = :project AND (CAST(:step AS text) IS NULL OR t.step = :step)
            ORDER BY t.step, s.name, i.number""",
            {"project": project.id, "step": f"simulate:{analysis}" if analysis else None},
        )
