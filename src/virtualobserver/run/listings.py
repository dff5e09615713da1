"""What folder archives hold now, compared with what they held when they were read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from sqlalchemy import text

from virtualobserver.data.product import Target
from virtualobserver.errors import ArchiveError, DataError
from virtualobserver.io.listing import same_stamp
from virtualobserver.run.tasks.client import ArchiveClient
from virtualobserver.run.tasks.task import target_of

if TYPE_CHECKING:
    from virtualobserver.run.opened import Opened
    from virtualobserver.run.steps import Step

__all__ = ["Inputs", "compare", "listings"]

_READ = text("""
SELECT t.id AS task_id, encode(sha256(convert_to(t.listed, 'UTF8')), 'hex') AS listed_sha, s.* FROM task t
JOIN source s ON s.id = t.source_id JOIN membership m ON m.source_id = s.id
WHERE m.project_id = :project AND t.step = :step AND t.digest = :digest
  AND t.status IN ('done', 'empty', 'stale') AND t.listed IS NOT NULL
ORDER BY t.id""")


@dataclass(frozen=True)
class Inputs:
    """What of a folder archive is not as it was when it was read.

    Attributes
    ----------
    step
        Name of the step that reads it.
    tasks
        Fetch tasks whose files are not those of then.
    sources
        How many of them have new or changed files.
    gone
        How many files that were listed then are not there any more.
    problem
        Why the archive could not be listed; empty if it could.
    """

    step: str
    tasks: tuple[int, ...] = ()
    sources: int = 0
    gone: int = 0
    problem: str = ""

    @property
    def notes(self) -> list[str]:
        """The same in sentences, none if all is as it was."""
        found = []
        if self.sources:
            have = "source has" if self.sources == 1 else "sources have"
            found.append(f"{self.step}: {self.sources} {have} new or changed files: --refresh reads them")
        if self.gone:
            are = "file that was read before is" if self.gone == 1 else "files that were read before are"
            found.append(f"{self.step}: {self.gone} {are} gone: --refresh removes what was made from them")
        if self.problem:
            found.append(f"{self.step}: not looked for new files: {self.problem}")
        return found


def listings(step: Step, targets: Sequence[Target], client: ArchiveClient) -> Iterator[tuple[Target, str]]:
    """Yield what a folder archive lists of each target, as text; nothing for archives that are no folders."""
    if step.origin != "folder":
        return
    last: tuple[Mapping[str, str], str] | None = None
    for target, files in step.instance.listing(targets, client):
        # the very same mapping for all targets is written once
        if last is None or last[0] is not files:
            last = files, json.dumps(dict(files), sort_keys=True, separators=(",", ":"))
        yield target, last[1]


def compare(project: Opened, step: Step) -> Inputs:
    """List the folders of a fetch step and say what changed since its tasks were done."""
    if step.kind != "fetch" or step.origin != "folder":
        return Inputs(step.name)
    with project.session() as session:
        values = {"project": project.id, "step": step.name, "digest": step.digest}
        rows = session.execute(_READ, values).all()
    if not rows:
        return Inputs(step.name)
    by_name = {(row.namespace, row.name): row for row in rows}
    now: dict[int, str] = {}
    try:
        with closing(ArchiveClient(step, project.workspace)) as client:
            for target, listed in listings(step, [target_of(row) for row in rows], client):
                row = by_name[target.namespace, target.name]
                if _sha(listed) != row.listed_sha:
                    now[row.task_id] = listed
    except (ArchiveError, DataError, OSError) as error:
        return Inputs(step.name, problem=str(error))
    return _differences(project, step, now)


def _sha(listed: str) -> str:
    return sha256(listed.encode()).hexdigest()


def _differences(project: Opened, step: Step, now: Mapping[int, str]) -> Inputs:
    if not now:
        return Inputs(step.name)
    with project.session() as session:
        then = session.execute(text("SELECT id, listed FROM task WHERE id = ANY(:ids)"), {"ids": list(now)})
        pairs = {int(row.id): (json.loads(row.listed), json.loads(now[row.id])) for row in then}
    fresh = {task: _has_new(old, new) for task, (old, new) in pairs.items()}
    gone = {task: old.keys() - new.keys() for task, (old, new) in pairs.items()}
    tasks = sorted(task for task in pairs if fresh[task] or gone[task])
    return Inputs(step.name, tuple(tasks), sum(fresh.values()), len(set().union(*gone.values())))


def _has_new(old: Mapping[str, str], new: Mapping[str, str]) -> bool:
    return any(path not in old or not same_stamp(old[path], stamp) for path, stamp in new.items())
