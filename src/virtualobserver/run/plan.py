"""Planning: which tasks there are, which went stale, which are to be done now. All of it in SQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from virtualobserver.run.steps import GROUP, UPSTREAM, WANTED, Step
from virtualobserver.run.tasks.masters import mark_changed_masters
from virtualobserver.typing import Record

__all__ = ["Open", "batches", "look", "moment", "plan", "release_dead", "runnable"]

# The hash of what a task is made from, as `task.hash_inputs` computes it: of a source alone, with the list of its inputs.
_HASH_OF_NONE = "encode(sha256(convert_to(s.row_sha || '|', 'UTF8')), 'hex')"
_HASH = "encode(sha256(convert_to(s.row_sha || '|' || coalesce({0}, ''), 'UTF8')), 'hex')"
_LIST = "string_agg({0}, ',' ORDER BY {0} COLLATE \"C\")"
_RAW_ITEM = "d.sha256 || ':' || d.key"
_PRODUCT_ITEM = "p.checksum || ':' || p.role || ':' || p.series"

_MEMBERS = "SELECT source_id FROM membership WHERE project_id = :project"

# What analyses found belongs to the project of the source it was found in.
_FAMILY = f"""{_MEMBERS} UNION SELECT s.id FROM source s JOIN membership m ON m.source_id = s.parent_id
WHERE m.project_id = :project"""

# Cameras are no targets: their raw data came with those of the targets.
_CAMERAS = f"""SELECT s.id AS source_id FROM source s WHERE s.kind = 'instrument' AND EXISTS (
  SELECT FROM source_raw r JOIN task f ON f.id = r.task_id
  WHERE r.source_id = s.id AND f.step = :up_step AND f.digest = :up_digest AND f.source_id IN ({_MEMBERS}))"""

_SOURCES = {
    "fetch": _MEMBERS,
    "calibrate": _CAMERAS,
    "reduce": _MEMBERS,
    "refine": _MEMBERS,
    "analyse": _FAMILY,
    "simulate": _FAMILY,
}

# What the catalogue asks of a step: a row for each task there has to be, (source, step, unit, digest).
_ASKED_FETCH = f"SELECT source_id, :step, '', :digest FROM ({_MEMBERS}) m"

# Rows may come twice, here as for each file of a unit: whoever asks leaves them out.
_ASKED_REDUCE = """
SELECT r.source_id, :step, r.unit, :digest FROM task f JOIN source_raw r ON r.task_id = f.id
JOIN ({sources}) m ON m.source_id = r.source_id
WHERE f.step = :up_step AND f.digest = :up_digest"""

_ENOUGH = """bool_or(u.status IN ('done', 'empty', 'stale')) AND NOT bool_or(u.status IN ('pending', 'running')
  OR (u.status = 'failed' AND up.step = ANY(CAST(:gates AS text[]))))"""

_ASKED_ANALYSE = f"""
SELECT u.source_id, :step, {GROUP}, :digest
FROM task u JOIN ({_FAMILY}) m USING (source_id) JOIN {UPSTREAM} ON u.step = up.step AND u.digest = up.digest
GROUP BY 1, 3
HAVING {_ENOUGH}"""

_ASKED_ANALYSE_OF_FOUND = f"""
SELECT p.source_id, :step, {GROUP}, :digest
FROM task u JOIN ({_FAMILY}) m USING (source_id) JOIN {UPSTREAM} ON u.step = up.step AND u.digest = up.digest
JOIN product p ON p.task_id = u.id AND p.source_id <> u.source_id
WHERE {WANTED} AND u.status IN ('done', 'stale')"""

_ASKED_SIMULATE = f"""
SELECT a.source_id, :step, a.unit, :digest FROM task a JOIN ({_FAMILY}) m USING (source_id)
WHERE a.step = :up_step AND a.digest = :up_digest AND a.status = 'done' AND :number > 0"""

_ASKED = {
    "fetch": (_ASKED_FETCH,),
    "calibrate": (_ASKED_REDUCE.format(sources=_CAMERAS),),
    "reduce": (_ASKED_REDUCE.format(sources=_MEMBERS),),
    "refine": (_ASKED_ANALYSE,),
    "analyse": (_ASKED_ANALYSE, _ASKED_ANALYSE_OF_FOUND),
    "simulate": (_ASKED_SIMULATE,),
}

# Tasks that are there are left out by one look through the step, as a conflict costs each of them a number and a look
# into the index; for a join the server takes far too few rows from what is asked, and looks them up one by one.
_INSERT = """
INSERT INTO task (source_id, step, unit, digest)
SELECT source_id, :step, unit, :digest FROM (
  SELECT source_id, unit FROM ({asked}) a(source_id, step, unit, digest)
  EXCEPT SELECT source_id, unit FROM task WHERE step = :step AND digest = :digest) missing
ON CONFLICT DO NOTHING"""

_NAMED = (
    "(cardinality(CAST(:only AS text[])) = 0 OR s.name = ANY(:only) OR s.aliases && CAST(:only AS text[]))"
)

_MISSING = f"""
SELECT count(DISTINCT a.source_id) FROM ({{asked}}) a(source_id, step, unit, digest)
JOIN source s ON s.id = a.source_id
WHERE {_NAMED} AND NOT EXISTS (
  SELECT FROM task t
  WHERE (t.source_id, t.step, t.unit, t.digest) = (a.source_id, a.step, a.unit, a.digest))"""

_STATES = f"""
SELECT t.id, t.status, t.lease < now() AS expired FROM task t JOIN source s ON s.id = t.source_id
WHERE t.step = :step AND t.digest = :digest AND t.source_id IN ({{sources}})
  AND t.status IN ('pending', 'running', 'failed') AND {_NAMED}
  AND (CAST(:stage AS text) = '' OR t.unit = :stage OR starts_with(t.unit, :stage || '/'))"""

# An index answers this; the rank is that of all tasks, which have to be sorted for it.
_ANY_OPEN = text("""
SELECT EXISTS (SELECT FROM task
WHERE step = :step AND digest = :digest AND (status = ANY(:statuses) OR status = 'running'))""")

_MORE_INJECTIONS = f"""
UPDATE task SET status = 'pending'
WHERE step = :step AND digest = :digest AND status = 'done' AND extent < :number
  AND source_id IN ({_FAMILY})"""

# Few or none of them: only these are looked up again, and not the whole step joined with itself.
_STALE_OF = """
WITH c AS MATERIALIZED (
  SELECT a.id, {hash} AS inputs
  FROM task a JOIN source s ON s.id = a.source_id {inputs}
  WHERE a.step = :step AND a.digest = :digest AND a.status IN ('done', 'empty') AND a.source_id IN ({sources})
  GROUP BY a.id, s.id HAVING a.inputs IS DISTINCT FROM {hash})
UPDATE task t SET status = 'stale', extent = 0 FROM c
WHERE t.id = ANY(ARRAY(SELECT id FROM c)) AND t.id = c.id AND t.inputs IS DISTINCT FROM c.inputs"""

_STALE_FETCH = f"""
UPDATE task t SET status = 'stale', extent = 0 FROM source s
WHERE s.id = t.source_id AND t.step = :step AND t.digest = :digest AND t.status IN ('done', 'empty')
  AND t.source_id IN ({_MEMBERS}) AND t.inputs IS DISTINCT FROM {_HASH_OF_NONE}"""

_STALE_REDUCE = _STALE_OF.format(
    hash=_HASH.format(_LIST.format("r.item")),
    inputs=f"""LEFT JOIN (
      SELECT r.source_id, r.unit, {_RAW_ITEM} AS item FROM task f
      JOIN source_raw r ON r.task_id = f.id JOIN raw_data d ON d.id = r.raw_data_id
      WHERE f.step = :up_step AND f.digest = :up_digest) r ON r.source_id = a.source_id AND r.unit = a.unit""",
    sources=_MEMBERS,
)

_STALE_ANALYSE = _STALE_OF.format(
    hash=_HASH.format(_LIST.format("p.item")),
    inputs=f"""LEFT JOIN (
      SELECT p.source_id, {GROUP} AS unit, {_PRODUCT_ITEM} AS item
      FROM task u JOIN {UPSTREAM} ON u.step = up.step AND u.digest = up.digest
      JOIN product p ON p.task_id = u.id WHERE {WANTED}) p ON p.source_id = a.source_id AND p.unit = a.unit""",
    sources=_FAMILY,
)

_STALE = {
    "fetch": _STALE_FETCH,
    "reduce": _STALE_REDUCE,
    "refine": _STALE_ANALYSE,
    "analyse": _STALE_ANALYSE,
    "simulate": _STALE_ANALYSE,
}

# Most runs find nothing to insert and nothing stale: one pass that changes nothing, which the server can share among
# its processes, says so of both, else the statements above do the work. It joins what a step is asked for and made
# from (g) with its tasks (a), by source and unit, and tells whether there is one that is missing, one that is stale.
_PASS = f"""
SELECT bool_or(g.foreigner OR (m.source_id IS NOT NULL AND a.id IS NULL AND g.asked)) AS missing,
  bool_or(g.foreigner OR (m.source_id IS NOT NULL AND a.status IN ('done', 'empty')
    AND a.inputs IS DISTINCT FROM {_HASH.format("g.items")})) AS stale
FROM ({{groups}}) g FULL JOIN (
  SELECT id, source_id, unit, status, inputs FROM task WHERE step = :step AND digest = :digest
) a ON a.source_id = g.source_id AND a.unit = g.unit
JOIN source s ON s.id = coalesce(a.source_id, g.source_id)
LEFT JOIN ({{sources}}) m ON m.source_id = s.id"""

_PASS_FETCH = _PASS.format(
    groups=f"SELECT source_id, '' AS unit, '' AS items, true AS asked, false AS foreigner FROM ({_MEMBERS}) x",
    sources=_MEMBERS,
)

_PASS_REDUCE = _PASS.format(
    groups=f"""SELECT r.source_id, r.unit, {_LIST.format(_RAW_ITEM)} AS items, true AS asked, false AS foreigner
      FROM task f JOIN source_raw r ON r.task_id = f.id JOIN raw_data d ON d.id = r.raw_data_id
      WHERE f.step = :up_step AND f.digest = :up_digest GROUP BY r.source_id, r.unit""",
    sources=_MEMBERS,
)

# What a task made of another source than its own is asked for and read there, which no group of its own source tells.
_PASS_ANALYSE = _PASS.format(
    groups=f"""SELECT u.source_id, {GROUP} AS unit, {_LIST.format(_PRODUCT_ITEM)} AS items, {_ENOUGH} AS asked,
      bool_or(p.source_id <> u.source_id) AS foreigner
      FROM task u JOIN {UPSTREAM} ON u.step = up.step AND u.digest = up.digest
      LEFT JOIN product p ON p.task_id = u.id AND {WANTED} GROUP BY u.source_id, 2""",
    sources=_FAMILY,
)

_PASSES = {"fetch": _PASS_FETCH, "reduce": _PASS_REDUCE, "refine": _PASS_ANALYSE, "analyse": _PASS_ANALYSE}


def _parameters(step: Step, project_id: int, **more: object) -> dict[str, object]:
    above = step.upstream[0] if step.upstream else ("", "")
    if step.kind == "simulate":
        above = (f"analyse:{step.plugin}", step.analysis_digest)
    return {
        "project": project_id,
        "step": step.name,
        "digest": step.digest,
        "up_step": above[0],
        "up_digest": above[1],
        "steps": [name for name, _ in step.upstream],
        "digests": [key for _, key in step.upstream],
        "depths": list(step.depths),
        "gates": list(step.gates),
        "kinds": [kind for kind, _ in step.wanted],
        "roles": [role for _, role in step.wanted],
        **more,
    }


def plan(
    session: Session, step: Step, project_id: int, *, number: int = 0, changed: Sequence[int] = ()
) -> None:
    """Insert the tasks of a step that are missing and mark those whose inputs changed as stale.

    Parameters
    ----------
    number
        For a ``simulate`` step: injections wanted per source.
    changed
        For a ``fetch`` step: tasks whose files in the archive are not those that were read.
    """
    # two runs that plan the same tasks at once would wait for each other's rows
    session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('plan', 0))"))
    values = _parameters(step, project_id, number=number)
    missing, stale = _due(session, step, values)
    for asked in _ASKED[step.kind] if missing else ():
        session.execute(text(_INSERT.format(asked=asked)), values)
    if step.kind == "simulate":
        session.execute(text(_MORE_INJECTIONS), values)
    if _has_masters(step):
        mark_changed_masters(session, step, values, sources=_SOURCES[step.kind])
    elif stale:
        session.execute(text(_STALE[step.kind]), values)
    if changed:
        session.execute(
            text("UPDATE task SET status = 'stale' WHERE id = ANY(:ids) AND status IN ('done', 'empty')"),
            {"ids": list(changed)},
        )


def _has_masters(step: Step) -> bool:
    return step.masters is not None and step.kind in {"calibrate", "reduce"}


def _due(session: Session, step: Step, values: Record) -> tuple[bool, bool]:
    """Return whether tasks of a step may be missing, and whether some may be stale."""
    if _has_masters(step) or step.kind not in _PASSES:
        return True, True
    row = session.execute(text(_PASSES[step.kind]), dict(values)).one()
    return bool(row.missing), bool(row.stale)


@dataclass(frozen=True)
class Open:
    """What of a step is not done.

    Attributes
    ----------
    missing
        Number of sources that have no task although the catalogue asks for one.
    ready
        Number of tasks that nobody holds: pending ones, and those of workers that were silent too long.
    held
        Number of tasks that workers hold.
    failed
        Tasks that failed.
    """

    missing: int = 0
    ready: int = 0
    held: int = 0
    failed: tuple[int, ...] = ()

    @property
    def left(self) -> int:
        """Number of sources and tasks still to be done."""
        return self.missing + self.ready + self.held


def look(
    session: Session,
    step: Step,
    project_id: int,
    *,
    only: Sequence[str] = (),
    stage: str = "",
    number: int = 0,
    planned: bool = False,
) -> Open:
    """Return what of a step is not done, by what the catalogue asks and not by what anybody planned.

    With `planned` the tasks there are suffice: nothing is counted as missing.
    """
    values = _parameters(step, project_id, number=number, only=list(only), stage=stage)
    missing = 0
    for asked in () if planned else _ASKED[step.kind]:
        missing += session.execute(text(_MISSING.format(asked=asked)), values).scalar_one()
    rows = session.execute(text(_STATES.format(sources=_SOURCES[step.kind])), values).all()
    ready = [row for row in rows if row.status == "pending" or (row.status == "running" and row.expired)]
    held = [row for row in rows if row.status == "running" and not row.expired]
    failed = tuple(row.id for row in rows if row.status == "failed")
    return Open(missing, len(ready), len(held), failed)


def moment(session: Session) -> str:
    """Return the server's snapshot: equal ones show the same rows, so nobody has written anything between them."""
    return str(session.execute(text("SELECT pg_current_snapshot()")).scalar_one())


def release_dead(session: Session) -> int:
    """Give back the tasks of workers that no longer live, and return how many.

    A worker holds an advisory lock for its life, which the server drops with its connection: a lock that
    can be taken belongs to a dead worker. The lease covers servers that have not noticed a lost host yet.
    """
    dead = []
    for (worker,) in session.execute(text("SELECT DISTINCT worker FROM task WHERE status = 'running'")).all():
        free = session.execute(
            text("SELECT pg_try_advisory_xact_lock(hashtextextended(:worker, 0))"), {"worker": worker}
        ).scalar_one()
        if free:
            dead.append(worker)
    if not dead:
        return 0
    released = session.execute(
        text("""UPDATE task SET status = 'pending', worker = NULL, lease = NULL, deaths = deaths + 1
        WHERE status = 'running' AND worker = ANY(:dead) RETURNING id"""),
        {"dead": dead},
    ).all()
    return len(released)


def runnable(
    session: Session,
    step: Step,
    project_id: int,
    *,
    statuses: Sequence[str],
    only: Sequence[str] = (),
    stage: str = "",
) -> list[tuple[int, int, int]]:
    """Return (task id, rank, deaths) of the tasks to do; with `stage` those whose unit begins with it.

    The rank numbers all tasks of the step in the order of the sky, done or not, so that batches fall the
    same way when a run is taken up again.
    """
    values = _parameters(step, project_id, statuses=list(statuses), only=list(only), stage=stage)
    if not session.execute(_ANY_OPEN, values).scalar_one():
        return []
    rows = session.execute(
        text(f"""
        SELECT id, rank, deaths FROM (
          SELECT t.id, t.status, t.deaths, t.unit, s.name, s.aliases,
                 row_number() OVER (ORDER BY s.hpx, s.name COLLATE "C", t.unit COLLATE "C") - 1 AS rank
          FROM task t JOIN source s ON s.id = t.source_id
          WHERE t.step = :step AND t.digest = :digest AND t.source_id IN ({_SOURCES[step.kind]})) q
        WHERE (status = ANY(:statuses) OR (status = 'running' AND EXISTS (
                 SELECT FROM task x WHERE x.id = q.id AND x.lease < now())))
          AND (CAST(:stage AS text) = '' OR unit = :stage OR starts_with(unit, :stage || '/'))
          AND (cardinality(CAST(:only AS text[])) = 0 OR name = ANY(:only) OR aliases && CAST(:only AS text[]))
        ORDER BY rank"""),
        values,
    )
    return [(row.id, row.rank, row.deaths) for row in rows]


def batches(tasks: Sequence[tuple[int, int, int]], size: int) -> list[list[int]]:
    """Split tasks into batches by rank; a task on which two workers died goes alone."""
    groups: dict[int, list[int]] = defaultdict(list)
    alone = []
    for task_id, rank, deaths in tasks:
        if deaths >= 2:
            alone.append([task_id])
        else:
            groups[rank // size].append(task_id)
    return list(groups.values()) + alone
