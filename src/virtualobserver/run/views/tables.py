"""Reading results: detections, status, histograms, efficiency, any SQL."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from sqlalchemy import text

from virtualobserver.data.histogram import CF, Histogram
from virtualobserver.db.bulk import frame_of, read_frame
from virtualobserver.db.reader import TIME_LIMIT
from virtualobserver.errors import InvalidFile
from virtualobserver.io.netcdf import read_attributes, write_variables
from virtualobserver.run.plan import look
from virtualobserver.typing import Record, RecordDict
from virtualobserver.words import counted

if TYPE_CHECKING:
    from virtualobserver.run.opened import Opened
    from virtualobserver.run.workspace import Workspace

__all__ = [
    "detections",
    "detections_query",
    "export_histograms",
    "has_detection",
    "hidden_detections",
    "histograms",
    "injections",
    "injections_query",
    "reasons",
    "save_histograms",
    "sql",
    "status",
    "strongest_detections",
]


_PARTS_AT_ONCE = 4096  # bounds the memory


def detections_query(
    project: Opened,
    *,
    simulated: bool = False,
    sources: Sequence[str] = (),
    kinds: Sequence[str] = (),
    min_snr: float | None = None,
) -> tuple[str, RecordDict]:
    """Return the query of the detections of a project's current configurations, and its values.

    Parameters
    ----------
    sources, kinds
        Only of these sources, of these kinds; all if left out.
    min_snr
        Only of at least this S/N, of either sign.
    """
    view = "detections_all" if simulated else "detections"
    told: dict[str, tuple[str, object]] = {
        "sources": ("source = ANY(:sources)", list(sources)),
        "kinds": ("kind = ANY(:kinds)", list(kinds)),
        "min_snr": ("abs(snr) >= :min_snr", min_snr),
    }
    wanted = {name: pair for name, pair in told.items() if pair[1] not in ([], None)}
    conditions = "".join(f" AND {condition}" for condition, _ in wanted.values())
    query = f"SELECT * FROM {view} WHERE project = :project AND current{conditions} ORDER BY source, peak_mjd"  # noqa: S608
    return query, {"project": project.name, **{name: value for name, (_, value) in wanted.items()}}


def detections(project: Opened, *, simulated: bool = False) -> pd.DataFrame:
    """Return the detections of a project's current configurations."""
    return sql(project.workspace, *detections_query(project, simulated=simulated), time_limit=0)


def has_detection(project: Opened, number: int) -> bool:
    """Tell whether a detection belongs to a project, whichever its configuration."""
    with project.session() as session:
        statement = text("SELECT EXISTS (SELECT FROM detections_all WHERE project = :p AND id = :id)")
        return bool(session.execute(statement, {"p": project.name, "id": number}).scalar_one())


def strongest_detections(project: Opened, source_id: int) -> dict[str, tuple[int, bool]]:
    """Return the strongest detection of each analysis that found or discovered something in a source, by its name.

    Beside its number stands whether it has a strength: one that has none tells of an image, not of what is in it.
    """
    with project.session() as session:
        rows = session.execute(
            text("""SELECT DISTINCT ON (analysis) analysis, id, snr <> 0 AS strong FROM detections_all
            WHERE project = :p AND current AND injection_id IS NULL
              AND (source_id = :id OR source_id IN (SELECT id FROM source WHERE parent_id = :id))
            ORDER BY analysis, abs(snr) DESC, id"""),
            {"p": project.name, "id": source_id},
        )
        return {row.analysis: (row.id, bool(row.strong)) for row in rows}


def hidden_detections(project: Opened) -> int:
    """Return how many current detections the default view leaves out because they are simulated."""
    with project.session() as session:
        statement = text("SELECT count(*) FROM detections_all WHERE project = :p AND current AND simulated")
        return int(session.execute(statement, {"p": project.name}).scalar_one())


def status(project: Opened) -> pd.DataFrame:
    """Return steps by rows and statuses by columns; ``reasons`` says why tasks are empty, and what is left out."""
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
    said: dict[str, list[str]] = {step: [] for step in order}
    for name, reason, tasks, rows_left_out in reasons(project).itertuples(index=False, name=None):
        number = counted(tasks, "task")
        line = (
            f"{number} empty, {reason}" if rows_left_out is None else f"{rows_left_out} {reason} in {number}"
        )
        said.setdefault(str(name), []).append(line)
    with project.session() as session:
        numbers = {s.name: project.injections(s.plugin) for s in project.steps if s.kind == "simulate"}
        opened = [look(session, s, project.id, number=numbers.get(s.name, 0)) for s in project.steps]
    told = ["; ".join(said[step]) for step in order]
    return table.assign(unplanned=[one.missing for one in opened], reasons=told)


def reasons(project: Opened) -> pd.DataFrame:
    """Return why tasks of the current configurations are empty, and what was left out of any, by cause.

    Returns
    -------
    DataFrame
        ``step, reason, tasks, rows``, the commonest first; ``rows`` is None for the reason of empty tasks, else
        the number of rows, frames or spectra that were left out for that cause.
    """
    with project.session() as session:
        found = session.execute(
            text("""
            WITH mine AS (
              SELECT t.step, t.status, t.reason, t.counts FROM task t
              JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current
              JOIN project_source m ON m.project_id = c.project_id AND m.source_id = t.source_id
              WHERE c.project_id = :project AND (t.reason IS NOT NULL OR t.counts IS NOT NULL))
            SELECT step, reason, count(*) AS tasks, NULL::bigint AS rows FROM mine
            WHERE status = 'empty' GROUP BY step, reason
            UNION ALL SELECT step, cause, count(*), sum(number::bigint)::bigint
            FROM mine, jsonb_each_text(counts) AS each (cause, number) GROUP BY step, cause
            ORDER BY 1, 4 NULLS FIRST, 3 DESC, 2"""),
            {"project": project.id},
        )
        rows = [tuple(row) for row in found]
    return pd.DataFrame(rows, columns=["step", "reason", "tasks", "rows"], dtype=object)


def sql(
    workspace: Workspace, statement: str, values: Record, *, time_limit: float = TIME_LIMIT
) -> pd.DataFrame:
    """Return the rows of one query, which cannot change anything; see `virtualobserver.db.reader`."""
    with workspace.database.reader().ask(statement, values, time_limit=time_limit) as answer:
        return frame_of(answer.names, answer.kinds, answer.batches)


def histograms(project: Opened, *, simulated: bool | None = None) -> dict[str, Histogram]:
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


def save_histograms(project: Opened, *, changed: bool = False) -> list[Path]:
    """Write every summed histogram to ``histograms/<project>/<name>.nc`` in the data folder.

    Each file says in its attribute ``made_from`` what it was summed from. One that has no histogram any more is
    removed.

    Parameters
    ----------
    changed
        Write only if what some file was summed from is not what its histogram is summed from now.

    Returns
    -------
    list of Path
        The files of the project, whether or not they had to be written.
    """
    folder = project.workspace.root / "histograms" / project.name
    sources = _histogram_sources(project)
    paths = {name: folder / f"{name}.nc" for name in sources}
    if not changed or any(_made_from(path) != sources[name] for name, path in paths.items()):
        _write_histograms(project, folder, sources)
    for path in folder.glob("*.nc"):
        # a run beside this one may be writing: its temporary file is not ours to remove
        if path not in paths.values() and not path.name.startswith("."):
            path.unlink(missing_ok=True)
    return list(paths.values())


def export_histograms(project: Opened, folder: str | Path, *, simulated: bool = False) -> int:
    """Write every summed histogram as a netCDF file into a folder; return their number."""
    sources = _histogram_sources(project, simulated=None if simulated else False)
    _write_histograms(project, Path(folder), sources, simulated=None if simulated else False)
    return len(sources)


def _write_histograms(
    project: Opened, folder: Path, sources: dict[str, str], *, simulated: bool | None = None
) -> None:
    for name, histogram in histograms(project, simulated=simulated).items():
        path = folder / f"{name}.nc"
        path.parent.mkdir(parents=True, exist_ok=True)
        notes = {
            "Conventions": CF,
            "title": f"Histogram {name} of the project {project.name}",
            "source": f"virtualobserver {version('virtualobserver')}",
            "project": project.name,
            "histogram": name,
            "made_from": sources.get(name, ""),
        }
        write_variables(histogram.variables(), path, attributes=notes)


def _histogram_sources(project: Opened, *, simulated: bool | None = None) -> dict[str, str]:
    """Return what each histogram is summed from: a hash over the digest of its step and what each part was made from.

    The parts' content, which these decide, is not read: that would take as long as to sum them, and an index has all
    the rest.
    """
    chosen = "" if simulated is None else "WHERE h.simulated = :simulated"
    with project.session() as session:
        rows = session.execute(
            text(f"""
            WITH mine AS MATERIALIZED (
              SELECT t.id, replace(t.step, 'analyse:', '') AS analysis, t.digest,
                     hashtextextended(concat_ws(' ', t.inputs, t.unit), 0) AS mark
              FROM task t JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current
              JOIN project_source m ON m.project_id = c.project_id AND m.source_id = t.source_id
              WHERE c.project_id = :project AND starts_with(c.step, 'analyse:') AND t.status IN ('done', 'stale'))
            SELECT mine.analysis || '.' || h.name AS name, encode(sha256(convert_to(
              concat_ws('|', mine.digest, count(*), sum(mine.mark)), 'UTF8')), 'hex') AS made_from
            FROM histogram_part h JOIN mine ON mine.id = h.task_id {chosen}
            GROUP BY mine.analysis, h.name, mine.digest ORDER BY 1"""),  # noqa: S608 - no outside text
            {"project": project.id, "simulated": simulated},
        )
        return {row.name: row.made_from for row in rows}


def _made_from(path: Path) -> str | None:
    """Return what a file of a histogram says it was summed from; None if it is not there or cannot be read."""
    try:
        return str(read_attributes(path).get("made_from"))
    except InvalidFile:
        return None


def injections(project: Opened, analysis: str | None = None, *, numbered: bool = False) -> pd.DataFrame:
    """Return the injections of the current configurations; if `numbered`, with the column ``id``."""
    query, values = injections_query(project, analysis, numbered=numbered)
    with project.session() as session:
        return read_frame(session, query, values)


def injections_query(
    project: Opened, analysis: str | None = None, *, numbered: bool = False
) -> tuple[str, RecordDict]:
    """Return the query of the injections of the current configurations, and its values."""
    own = "i.id, " if numbered else ""
    query = f"""SELECT {own}s.name AS source, replace(t.step, 'simulate:', '') AS analysis, i.number, i.kind,
          i.amplitude,
          i.width, i.covered, i.found, i.found_snr, i.parameters
        FROM injection i JOIN task t ON t.id = i.task_id JOIN source s ON s.id = i.source_id
        JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current
        JOIN project_source m ON m.project_id = c.project_id AND m.source_id = i.source_id
        WHERE c.project_id = :project AND (CAST(:step AS text) IS NULL OR t.step = :step)
        ORDER BY t.step, s.name, i.number"""  # noqa: S608 - the column is written by us
    return query, {"project": project.id, "step": f"simulate:{analysis}" if analysis else None}
