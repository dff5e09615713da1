"""What the database keeps of a run: when it began, with which versions and settings, how it ended."""

from __future__ import annotations

import platform
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from virtualobserver.config.credentials import known_secrets, scrub
from virtualobserver.models import Configuration, Run
from virtualobserver.run.listings import Inputs
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from virtualobserver.db.engine import Session
    from virtualobserver.run.opened import Opened

__all__ = ["Summary", "begin", "broke_off", "end", "told"]

_PACKAGES = ("numpy", "scipy", "pandas", "astropy", "h5py", "sqlalchemy", "psycopg2-binary", "pyarrow")


@dataclass
class Summary:
    """What a run did.

    Attributes
    ----------
    counts
        Tasks by step and final status.
    failures
        Source, step, unit, error and number of each task that failed, in this run or in one beside it.
    left
        Number of sources and tasks that are not done, by step; empty after a run that did all it was asked.
    inputs
        What of folder archives is not as it was when it was read.
    unlisted
        Why things that an archive has are not among the targets.
    failed_tasks
        Numbers of the tasks that stand as failed at the end.
    trouble
        Why it ended early; empty if it did not.
    """

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    failures: list[RecordDict] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    inputs: list[Inputs] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    failed_tasks: list[int] = field(default_factory=list)
    trouble: str = ""

    @property
    def complete(self) -> bool:
        """Whether all that the catalogue asks of the steps is done, by this run or by another beside it."""
        return not (self.failures or self.failed or self.left)

    @property
    def notes(self) -> list[str]:
        """What is to be said besides: files left out, steps that are not done, folders whose files are other ones."""
        left = [
            f"{step}: {number} sources or tasks are not done, another run has changed them meanwhile; run again"
            for step, number in self.left.items()
        ]
        return self.unlisted + left + [note for one in self.inputs for note in one.notes]

    @property
    def worked(self) -> int:
        """Number of tasks that were done in this run."""
        return sum(sum(counter.values()) for counter in self.counts.values())

    @property
    def failed(self) -> int:
        """Number of tasks that failed in this run."""
        return sum(counter["failed"] for counter in self.counts.values())


def broke_off(project: Opened, error: Exception) -> None:
    """Keep why a run ended before its first task was planned."""
    with project.session() as session, session.begin():
        run = _row(project)
        run.error, run.finished = told(error), session.execute(text("SELECT now()")).scalar_one()
        session.add(run)


def told(error: Exception) -> str:
    """Return the words of an error as the database may keep them: secrets are masked, as in those of tasks."""
    return scrub(str(error), secrets=known_secrets())


def begin(project: Opened) -> int:
    """Insert the row of the run and make the project's configurations the current ones."""
    with project.session() as session, session.begin():
        _make_current(session, project)
        run = _row(project)
        session.add(run)
        session.flush()
        return run.id


def _row(project: Opened) -> Run:
    commit, dirty = _commit()
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return Run(
        project_id=project.id,
        version=version("virtualobserver"),
        commit=commit,
        dirty=dirty,
        packages=packages,
        host=platform.node(),
        counts={},
    )


def _make_current(session: Session, project: Opened) -> None:
    # One run after the other: two that begin at once would both insert the same configurations.
    session.execute(text("SELECT FROM project WHERE id = :p FOR UPDATE"), {"p": project.id})
    session.execute(
        text("UPDATE configuration SET current = false WHERE project_id = :p AND current"), {"p": project.id}
    )
    for step in project.steps:
        row = (
            session.query(Configuration)
            .filter_by(project_id=project.id, step=step.name, digest=step.digest)
            .first()
        )
        if row is None:
            row = Configuration(project_id=project.id, step=step.name, digest=step.digest)
            session.add(row)
        row.settings, row.current = dict(step.settings), True
    session.flush()


def end(project: Opened, run_id: int, summary: Summary) -> None:
    """Keep how a run ended, and add to its summary which tasks failed."""
    with project.session() as session, session.begin():
        rows = session.execute(
            text("""SELECT s.name AS source, t.step, t.unit, t.error, t.id AS task FROM task t
            LEFT JOIN source s ON s.id = t.source_id
            WHERE t.status = 'failed' AND (t.run_id = :run OR t.id = ANY(:others)) ORDER BY t.id"""),
            {"run": run_id, "others": summary.failed_tasks},
        )
        summary.failures = [dict(row._mapping) for row in rows]  # noqa: SLF001 - the documented way
        row = session.get_one(Run, run_id)
        row.error = summary.trouble or None
        row.counts = {step: dict(counter) for step, counter in summary.counts.items()}
        row.finished = session.execute(text("SELECT now()")).scalar_one()


def _commit() -> tuple[str | None, bool | None]:
    """Return the commit of the source tree this package runs from, and whether it has changes."""
    here = Path(__file__).resolve().parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True, timeout=10
        )
        state = subprocess.run(
            ["git", "status", "--porcelain"], cwd=here, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None, None
    return commit.stdout.strip(), bool(state.stdout.strip())
