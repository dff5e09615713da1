"""Comparing every file with its row, and putting right what can be put right.

Everything that goes, goes from the database first and from the disk after the commit, so that a crash
leaves at worst a file without a row, which `sweep` removes. A file holds the products of many tasks: it
goes when the last row that refers to it has gone. Files of archive folders are never touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqlalchemy import text

from virtualobserver.errors import UnsafePath
from virtualobserver.run.upkeep.prune import changed, readable, remove_files
from virtualobserver.run.upkeep.sweep import GRACE, orphans_of
from virtualobserver.typing import QueryRow
from virtualobserver.words import counted

if TYPE_CHECKING:
    from virtualobserver.run.workspace import Workspace

__all__ = ["Problem", "Report", "verify"]

Kind = Literal["missing", "damaged", "orphan", "changed external"]


@dataclass(frozen=True)
class Problem:
    """A file that is not as its row says, or has none.

    ``done`` says what the repair did; empty if nothing was asked for or could be done.
    """

    kind: Kind
    path: str
    done: str = ""
    file_id: int | None = field(default=None, repr=False)
    external: bool = field(default=False, repr=False)

    def __str__(self) -> str:
        return f"{self.kind}: {self.path}" + (f" ({self.done})" if self.done else "")


@dataclass(frozen=True)
class Report:
    """What `verify` found: files checked, their size, problems, and tasks that a repair marked.

    ``hanging`` is the number of detections that were made from files with a problem.
    """

    checked: int
    bytes: int
    problems: tuple[Problem, ...] = ()
    pending: int = 0
    stale: int = 0
    hanging: int = 0

    @property
    def ok(self) -> bool:
        """Whether every file is what its row says, and has one."""
        return not self.problems

    def __str__(self) -> str:
        found = counted(len(self.problems), "problem") if self.problems else "no problems"
        lines = [f"{counted(self.checked, 'file')} checked, {readable(self.bytes)}: {found}"]
        lines += [f"  {problem}" for problem in self.problems]
        if gone := sum(problem.kind == "missing" and problem.external for problem in self.problems):
            what = "file that was read before is" if gone == 1 else "files that were read before are"
            lines.append(f"{gone} {what} gone from the archive folders")
        if self.hanging:
            hang = "hangs on these files; it is" if self.hanging == 1 else "hang on these files; they are"
            lines.append(f"{counted(self.hanging, 'detection')} {hang} marked as stale")
        if self.pending or self.stale:
            lines.append(
                f"{counted(self.pending, 'task')} will be done again by the next run; "
                f"{counted(self.stale, 'task')} after them turned stale: see `vo run CONFIG --refresh`"
            )
        elif any(not problem.done for problem in self.problems):
            lines.append("`vo verify --repair` mends what can be mended")
        return "\n".join(lines)


_HIT = """
WITH RECURSIVE hit(task_id) AS (
  SELECT i.task_id FROM task_input i
  LEFT JOIN raw_data d ON d.id = i.raw_data_id LEFT JOIN product p ON p.id = i.product_id
  WHERE d.file_id = ANY(:files) OR p.file_id = ANY(:files)
  UNION
  SELECT i.task_id FROM hit h JOIN product p ON p.task_id = h.task_id
  JOIN task_input i ON i.product_id = p.id)"""

_HANGING = f"{_HIT} SELECT count(*) FROM detection WHERE task_id IN (SELECT task_id FROM hit)"  # noqa: S608

_DOWNSTREAM = f"""{_HIT}
UPDATE task SET status = 'stale', extent = 0
WHERE id IN (SELECT task_id FROM hit) AND status IN ('done', 'empty')"""  # noqa: S608

_REMAKE = """
UPDATE task SET status = 'pending' WHERE status NOT IN ('running', 'pending') AND id IN (
  SELECT task_id FROM product WHERE file_id = ANY(:files)
  UNION SELECT r.task_id FROM source_raw r JOIN raw_data d ON d.id = r.raw_data_id
  WHERE d.file_id = ANY(:files))"""

_ADOPT = """
UPDATE file f SET path = c.path, damaged = false
FROM unnest(CAST(:ids AS bigint[]), CAST(:paths AS text[])) c(id, path) WHERE f.id = c.id"""


def verify(workspace: Workspace, *, repair: bool = False, grace: float = GRACE) -> Report:
    """Compare every file with its row, byte for byte.

    With `repair`, a file whose content is missed elsewhere takes that place, damaged files go to
    quarantine, other files without a row are removed, and the tasks that made or fetched what is lost are
    pending, so that the next run makes or fetches it again. What was computed from it is stale.

    Parameters
    ----------
    grace
        Files without a row are left alone while they are younger than this [s].

    Returns
    -------
    Report
        Problems of the kinds ``missing``, ``damaged``, ``orphan`` and ``changed external``.
    """
    orphans = orphans_of(workspace, grace)  # before the rows: what is committed meanwhile is no orphan
    with workspace.database.session() as session:
        rows = session.execute(
            text(
                "SELECT id, path, sha256, bytes, external, damaged FROM file "
                "WHERE path IS NOT NULL ORDER BY path"
            )
        ).all()
        dropped = session.execute(text("SELECT id, sha256 FROM file WHERE path IS NULL ORDER BY id")).all()
    bad: dict[int, Problem] = {}
    for row in rows:
        kind = _state(workspace, row)
        if kind is not None:
            bad[row.id] = Problem(kind, row.path, file_id=row.id, external=row.external)
    known = {row.path for row in rows}
    strays = [path for path in orphans if path not in known]
    size = sum(row.bytes for row in rows if row.id not in bad)
    healed = [row.id for row in rows if row.damaged and row.id not in bad]
    hanging = _note(workspace, list(bad), healed)
    if not repair:
        problems = (*bad.values(), *(Problem("orphan", path) for path in strays))
        return Report(len(rows), size, problems, hanging=hanging)
    wanted = [(row.sha256, row.id) for row in rows if row.id in bad and not row.external]
    wanted += [(row.sha256, row.id) for row in dropped]
    pairs = _match(workspace, strays, wanted)
    pending, stale = _repair_rows(workspace, bad, pairs)
    problems = (*_repair_files(workspace, bad, pairs), *_repair_orphans(workspace, strays, pairs))
    return Report(len(rows), size, problems, pending, stale, hanging)


def _note(workspace: Workspace, bad: Sequence[int], healed: Sequence[int]) -> int:
    """Write down which files have a problem and which have none any more; return how many detections hang on these.

    So the views can tell what rests on them, whether or not anything is repaired.
    """
    values = {"bad": list(bad), "healed": list(healed)}
    with workspace.database.session() as session, session.begin():
        session.execute(text("UPDATE file SET damaged = true WHERE id = ANY(:bad) AND NOT damaged"), values)
        session.execute(text("UPDATE file SET damaged = false WHERE id = ANY(:healed)"), values)
        return int(session.execute(text(_HANGING), {"files": list(bad)}).scalar_one())


def _state(workspace: Workspace, row: QueryRow) -> Kind | None:
    try:
        if workspace.store.rehash(row.path, external=row.external) == row.sha256:
            return None
    except FileNotFoundError:
        return "missing"
    except (OSError, UnsafePath):  # unreadable, a folder, or a link that leads outside
        return "damaged"
    return "changed external" if row.external else "damaged"


def _match(workspace: Workspace, orphans: Sequence[str], wanted: Sequence[tuple[str, int]]) -> dict[int, str]:
    """Return which file without a row holds the content that a row misses."""
    by_hash: dict[str, list[str]] = {}
    for path in orphans if wanted else ():
        with suppress(OSError):
            by_hash.setdefault(workspace.store.rehash(path), []).append(path)
    return {file_id: by_hash[sha].pop() for sha, file_id in wanted if by_hash.get(sha)}


def _repair_rows(workspace: Workspace, bad: dict[int, Problem], pairs: dict[int, str]) -> tuple[int, int]:
    lost = {"files": [file_id for file_id in bad if file_id not in pairs]}
    with workspace.database.session() as session, session.begin():
        stale = changed(session, _DOWNSTREAM, lost)
        pending = changed(session, _REMAKE, lost)
        session.execute(text(_ADOPT), {"ids": list(pairs), "paths": list(pairs.values())})
    return pending, stale


def _repair_files(workspace: Workspace, bad: dict[int, Problem], pairs: dict[int, str]) -> Iterator[Problem]:
    for file_id, problem in bad.items():
        words = ["its tasks will be done again"] if file_id not in pairs else [f"found at {pairs[file_id]}"]
        if problem.kind == "damaged" and not Path(problem.path).is_absolute():
            with suppress(UnsafePath, FileNotFoundError):
                words.insert(0, f"moved to quarantine/{workspace.store.quarantine(problem.path).name}")
        yield replace(problem, done="; ".join(words))


def _repair_orphans(workspace: Workspace, strays: Sequence[str], pairs: dict[int, str]) -> Iterator[Problem]:
    taken = set(pairs.values())
    removed = set(remove_files(workspace, [path for path in strays if path not in taken]))
    for path in strays:
        yield Problem("orphan", path, "adopted" if path in taken else "removed" if path in removed else "")
