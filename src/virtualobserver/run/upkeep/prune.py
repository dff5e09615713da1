"""Removing what nobody uses: prune and delete.

A file holds the products of many tasks: it goes when the last row that refers to it has gone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from virtualobserver.errors import ConfigError, RunError, UnsafePath
from virtualobserver.typing import QueryRow, RecordDict
from virtualobserver.words import counted

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from virtualobserver.run.workspace import Workspace

__all__ = [
    "HANGS_ON_TASKS",
    "DeleteReport",
    "PruneReport",
    "changed",
    "delete",
    "prune",
    "readable",
    "remove_files",
    "run_name",
]


@dataclass(frozen=True)
class PruneReport:
    """What `prune` removed."""

    tasks: int
    products: int
    files: tuple[str, ...]
    bytes: int

    def __str__(self) -> str:
        freed = f"{counted(len(self.files), 'file')}, {readable(self.bytes)}"
        return f"pruned {counted(self.products, 'product')} of {counted(self.tasks, 'task')}: {freed}"


@dataclass(frozen=True)
class DeleteReport:
    """What `delete` removed."""

    project: str
    sources: int
    tasks: int
    raw_data: int
    files: tuple[str, ...]
    bytes: int

    def __str__(self) -> str:
        return (
            f"deleted project {self.project}: {counted(self.sources, 'source')}, {counted(self.tasks, 'task')}, "
            f"{self.raw_data} raw data, {counted(len(self.files), 'file')}, {readable(self.bytes)}; "
            "what other projects use was kept"
        )


def readable(number: float) -> str:
    """Return a number of bytes with its unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def remove_files(workspace: Workspace, paths: Collection[str]) -> list[str]:
    """Delete the files among `paths` that no row names, asked once more just before."""
    with workspace.database.session() as session:
        named = set(
            session.execute(
                text("SELECT path FROM file WHERE path = ANY(:paths)"), {"paths": list(paths)}
            ).scalars()
        )
    removed = []
    for path in paths:
        if path not in named:
            with suppress(UnsafePath):
                workspace.store.delete(path)
                removed.append(path)
    return removed


def changed(session: Session, statement: str, values: RecordDict | None = None) -> int:
    """Execute a statement and return how many rows it changed."""
    result: Any = session.execute(text(statement), values or {})
    return int(result.rowcount)


def run_name(run_id: int) -> str:
    """Return the name under which a run shows that it lives, see `Heartbeat`."""
    return f"run {run_id}"


def _at_work(session: Session, project_id: int | None = None) -> list[str]:
    """Return the names of projects with a run that lives, of `project_id` only if given."""
    rows = session.execute(
        text("""SELECT r.id, p.name FROM run r JOIN project p ON p.id = r.project_id
        WHERE r.finished IS NULL AND (CAST(:project AS bigint) IS NULL OR p.id = :project) ORDER BY r.id"""),
        {"project": project_id},
    ).all()
    free = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
    names = [row.name for row in rows if not session.execute(free, {"name": run_name(row.id)}).scalar_one()]
    return list(dict.fromkeys(names))


_USED = """
SELECT FROM configuration c WHERE c.step = t.step AND c.digest = t.digest AND {which} AND (
  EXISTS (SELECT FROM membership m WHERE m.project_id = c.project_id AND m.source_id = t.source_id)
  OR NOT EXISTS (SELECT FROM membership m WHERE m.source_id = t.source_id))"""

_FREE_FILES = """
DELETE FROM file f USING gone_file g WHERE f.id = g.id
  AND NOT EXISTS (SELECT FROM product p WHERE p.file_id = f.id)
  AND NOT EXISTS (SELECT FROM raw_data d WHERE d.file_id = f.id)
RETURNING f.path, f.bytes, f.external"""

_FREE_DISCOVERIES = """
DELETE FROM source s WHERE s.namespace IN (SELECT digest FROM gone_task)
  AND NOT EXISTS (SELECT FROM task t WHERE t.digest = s.namespace)
  AND NOT EXISTS (SELECT FROM membership m WHERE m.source_id = s.id)"""


# Row by row, as the server's own cascade goes, these would take most of the time of a deletion: one statement for
# each table leaves the cascade nothing to find.
HANGS_ON_TASKS: Final = (
    "detection", "injection", "task_input", "properties", "histogram_part", "source_raw", "product",
)  # fmt: skip
"""Tables of what tasks made, each before those that its rows refer to."""

_UNSETTLED = """
SELECT FROM task w JOIN configuration c ON c.step = w.step AND c.digest = w.digest AND c.current
WHERE w.source_id = t.source_id AND w.status IN ('pending', 'running', 'failed')"""


def prune(
    workspace: Workspace, *, role: str | None = None, project: str | None = None, settled: bool = False
) -> PruneReport:
    """Remove what is not current: products, detections and tasks of settings that no project uses any more.

    Raw data stay, and verdicts keep their own copy of what they are about.

    Parameters
    ----------
    role
        Instead, drop the files of the products with this role and keep all rows.
    project
        Only what this project made; what another project uses stays.
    settled
        Leave sources alone that have a task still to be done or failed: its inputs are needed again.

    Raises
    ------
    ConfigError
        If there is no such project.
    RunError
        If a run is at work, which may need what would go.
    """
    with workspace.database.session() as session, session.begin():
        # a run that begins now plans after this, and so makes again what it misses
        session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('plan', 0))"))
        project_id = None if project is None else _project_id(session, project)
        values = {"project": project_id, "role": role}
        if busy := _at_work(session, project_id if settled else None):
            if settled:  # the run that ends last does it
                return PruneReport(0, 0, (), 0)
            msg = f"project {busy[0]} is running; wait for its end or stop `vo run`, then prune again"
            raise RunError(msg)
        mine = _USED.format(which="c.project_id = :project")
        others = _USED.format(
            which="c.current AND c.project_id IS DISTINCT FROM :project" if role else "c.current"
        )
        scope = f"(CAST(:project AS bigint) IS NULL OR EXISTS ({mine}))"
        unused = f"NOT EXISTS ({others})" if role is None or project else "true"
        idle = "t.step NOT LIKE 'fetch:%' AND (t.status <> 'running' OR t.lease < now())"
        if settled:
            idle += f" AND NOT EXISTS ({_UNSETTLED})"
        session.execute(
            text(
                f"CREATE TEMP TABLE gone_task ON COMMIT DROP AS SELECT t.id, t.digest FROM task t "  # noqa: S608
                f"WHERE {idle} AND {unused} AND {scope}"
            ),
            values,
        )
        session.execute(text("ANALYZE gone_task"))
        tasks, products, freed = _drop_role(session, role) if role else _drop_tasks(session)
    paths = remove_files(workspace, [row.path for row in freed if not row.external and row.path])
    return PruneReport(tasks, products, tuple(paths), sum(row.bytes for row in freed if not row.external))


def _drop_tasks(session: Session) -> tuple[int, int, Sequence[QueryRow]]:
    _remember_files(session)
    products = session.execute(
        text("SELECT count(*) FROM product WHERE task_id IN (SELECT id FROM gone_task)")
    ).scalar_one()
    tasks = _delete_tasks(session)
    session.execute(text(_FREE_DISCOVERIES))
    return tasks, products, session.execute(text(_FREE_FILES)).all()


def _delete_tasks(session: Session) -> int:
    """Delete the tasks of ``gone_task`` with all that was made by them; return their number."""
    for table in HANGS_ON_TASKS:
        session.execute(text(f"DELETE FROM {table} WHERE task_id IN (SELECT id FROM gone_task)"))  # noqa: S608
    return changed(session, "DELETE FROM task WHERE id IN (SELECT id FROM gone_task)")


def _drop_role(session: Session, role: str) -> tuple[int, int, Sequence[QueryRow]]:
    """Take the file away from products: whole files lose their path, shared ones lose these products."""
    session.execute(
        text("""CREATE TEMP TABLE gone ON COMMIT DROP AS SELECT p.id, p.task_id, p.file_id FROM product p
        JOIN file f ON f.id = p.file_id
        WHERE p.role = :role AND f.path IS NOT NULL AND p.task_id IN (SELECT id FROM gone_task)"""),
        {"role": role},
    )
    tasks, products = session.execute(text("SELECT count(DISTINCT task_id), count(*) FROM gone")).one()
    freed = session.execute(
        text("""WITH whole AS (
          SELECT f.id, f.path, f.bytes FROM file f WHERE id IN (SELECT file_id FROM gone) AND NOT external
          AND NOT EXISTS (SELECT FROM raw_data d WHERE d.file_id = f.id)
          AND NOT EXISTS (SELECT FROM product p WHERE p.file_id = f.id AND p.id NOT IN (SELECT id FROM gone)))
        UPDATE file f SET path = NULL FROM whole w WHERE f.id = w.id RETURNING w.path, w.bytes, f.external""")
    ).all()
    session.execute(
        text("""UPDATE product p SET file_id = NULL FROM gone g, file f
        WHERE p.id = g.id AND f.id = p.file_id AND f.path IS NOT NULL""")
    )
    return tasks, products, freed


def delete(workspace: Workspace, project_name: str) -> DeleteReport:
    """Delete a project and everything no other project uses: sources, tasks, products, raw data, files.

    Files of archive folders and people's verdicts stay.

    Raises
    ------
    ConfigError
        If there is no such project.
    RunError
        If workers are at work on it.
    """
    with workspace.database.session() as session, session.begin():
        values = {"project": _project_id(session, project_name)}
        _remember_project(session, values)
        busy = session.execute(
            text(
                "SELECT count(*) FROM task WHERE status = 'running' AND lease > now() "
                "AND id IN (SELECT id FROM gone_task)"
            )
        ).scalar_one()
        if busy or _at_work(session, values["project"]):
            msg = f"project {project_name} is running ({counted(busy, 'task')}); stop `vo run`, then delete again"
            raise RunError(msg)
        tasks = _delete_tasks(session)
        session.execute(text("DELETE FROM project WHERE id = :project"), values)
        sources = changed(session, "DELETE FROM source WHERE id IN (SELECT id FROM gone_source)")
        sources += changed(session, _FREE_DISCOVERIES)
        raw = changed(
            session,
            """
            DELETE FROM raw_data d USING gone_raw g WHERE d.id = g.id
            AND NOT EXISTS (SELECT FROM source_raw r WHERE r.raw_data_id = d.id)
            AND NOT EXISTS (SELECT FROM task_input i WHERE i.raw_data_id = d.id)""",
        )
        freed = [row for row in session.execute(text(_FREE_FILES)) if not row.external]
    paths = [row.path for row in freed if row.path]
    charts = [path for path in workspace.store.files() if path.startswith(f"histograms/{project_name}/")]
    removed = remove_files(workspace, [*paths, *charts])
    return DeleteReport(project_name, sources, tasks, raw, tuple(removed), sum(row.bytes for row in freed))


def _remember_project(session: Session, values: RecordDict) -> None:
    """Note in temporary tables which sources, tasks, raw data and files may go with a project."""
    mine, others = (_USED.format(which=f"c.project_id {sign} :project") for sign in ("=", "<>"))
    for statement in (
        """CREATE TEMP TABLE gone_source ON COMMIT DROP AS SELECT m.source_id AS id FROM membership m
        WHERE m.project_id = :project AND NOT EXISTS (
          SELECT FROM membership o WHERE o.source_id = m.source_id AND o.project_id <> :project)""",
        # UNION ALL, not OR: that would look up every task of the database row by row.
        f"""CREATE TEMP TABLE gone_task ON COMMIT DROP AS
        SELECT t.id, t.digest FROM task t JOIN gone_source g ON g.id = t.source_id
        UNION ALL SELECT t.id, t.digest FROM task t JOIN configuration k ON k.step = t.step AND k.digest = t.digest
        WHERE k.project_id = :project AND NOT EXISTS (SELECT FROM gone_source g WHERE g.id = t.source_id)
          AND EXISTS ({mine}) AND NOT EXISTS ({others})""",  # noqa: S608 - no outside text
        """CREATE TEMP TABLE gone_raw ON COMMIT DROP AS
        SELECT raw_data_id AS id FROM source_raw WHERE task_id IN (SELECT id FROM gone_task)
        UNION SELECT raw_data_id FROM task_input WHERE raw_data_id IS NOT NULL
          AND task_id IN (SELECT id FROM gone_task)""",
    ):
        session.execute(text(statement), values)
        # Else the server takes it for empty, and goes through it again for every row.
        session.execute(text(f"ANALYZE {statement.split()[3]}"))
    _remember_files(session, "UNION SELECT file_id FROM raw_data WHERE id IN (SELECT id FROM gone_raw)")


def _remember_files(session: Session, more: str = "") -> None:
    session.execute(
        text(f"""CREATE TEMP TABLE gone_file ON COMMIT DROP AS SELECT file_id AS id FROM product
        WHERE file_id IS NOT NULL AND task_id IN (SELECT id FROM gone_task) {more}""")  # noqa: S608
    )
    session.execute(text("ANALYZE gone_file"))


def _project_id(session: Session, name: str) -> int:
    names: dict[str, int] = {
        row.name: row.id for row in session.execute(text("SELECT name, id FROM project ORDER BY name"))
    }
    if name not in names:
        msg = f"there is no project {name!r} in this database; it has {', '.join(names) or 'none'}"
        raise ConfigError(msg)
    return names[name]
