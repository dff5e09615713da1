"""Planning: which tasks there are, which went stale, which are to be done now. All of it in SQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.orm import Session

from virtualobserver.data.product import RawRef
from virtualobserver.run.steps import Step

__all__ = ["batches", "hash_inputs", "plan", "release_dead", "runnable"]


def hash_inputs(row_sha: str, items: Sequence[str]) -> str:
    """Return the hash of everything a task is made from; the SQL below computes the same."""
    return sha256(f"{row_sha}|{','.join(sorted(items))}".encode()).hexdigest()


_HASH = "encode(sha256(convert_to({0} || '|' || coalesce(string_agg({1}, ',' ORDER BY {1} COLLATE \"C\"), ''), 'UTF8')), 'hex')"

_MEMBERS = "SELECT source_id FROM membership WHERE project_id = :project"

_NEW_FETCH = f"""
INSERT INTO task (source_id, step, unit, digest)
SELECT source_id, :step, '', :digest FROM ({_MEMBERS}) m
ON CONFLICT DO NOTHING"""

_NEW_REDUCE = f"""
INSERT INTO task (source_id, step, unit, digest)
SELECT f.source_id, :step, '', :digest FROM task f JOIN ({_MEMBERS}) m USING (source_id)
WHERE f.step = :up_step AND f.digest = :up_digest
  AND EXISTS (SELECT FROM source_raw r WHERE r.task_id = f.id)
ON CONFLICT DO NOTHING"""

_NEW_ANALYSE = f"""
INSERT INTO task (source_id, step, unit, digest)
SELECT u.source_id, :step, '', :digest FROM task u JOIN ({_MEMBERS}) m USING (source_id)
WHERE (u.step, u.digest) IN (SELECT * FROM unnest(CAST(:steps AS text[]), CAST(:digests AS text[])))
GROUP BY u.source_id
HAVING bool_or(u.status IN ('done', 'empty', 'stale')) AND NOT bool_or(u.status IN ('pending', 'running'))
ON CONFLICT DO NOTHING"""

_NEW_SIMULATE = f"""
INSERT INTO task (source_id, step, unit, digest)
SELECT a.source_id, :step, a.unit, :digest FROM task a JOIN ({_MEMBERS}) m USING (source_id)
WHERE a.step = :up_step AND a.digest = :up_digest AND a.status = 'done' AND :number > 0
ON CONFLICT DO NOTHING"""

_MORE_INJECTIONS = f"""
UPDATE task SET status = 'pending'
WHERE step = :step AND digest = :digest AND status = 'done' AND extent < :number
  AND source_id IN ({_MEMBERS})"""

_STALE = """
UPDATE task t SET status = 'stale', extent = 0 FROM ({current}) c
WHERE t.step = :step AND t.digest = :digest AND t.source_id = c.source_id AND t.unit = ''
  AND t.status IN ('done', 'empty') AND t.inputs IS DISTINCT FROM c.inputs"""

_FETCH_NOW = f"""
SELECT s.id AS source_id, {_HASH.format("s.row_sha", "NULL::text")} AS inputs
FROM source s JOIN ({_MEMBERS}) m ON m.source_id = s.id GROUP BY s.id, s.row_sha"""

_REDUCE_NOW = f"""
SELECT s.id AS source_id, {_HASH.format("s.row_sha", "d.sha256 || ':' || d.key")} AS inputs
FROM source s JOIN ({_MEMBERS}) m ON m.source_id = s.id
LEFT JOIN task f ON f.source_id = s.id AND f.step = :up_step AND f.digest = :up_digest
LEFT JOIN source_raw r ON r.task_id = f.id
LEFT JOIN raw_data d ON d.id = r.raw_data_id
GROUP BY s.id, s.row_sha"""

_ANALYSE_NOW = f"""
SELECT s.id AS source_id, {_HASH.format("s.row_sha", "p.checksum || ':' || p.role || ':' || p.series")} AS inputs
FROM source s JOIN ({_MEMBERS}) m ON m.source_id = s.id
LEFT JOIN LATERAL (
  SELECT p.checksum, p.role, p.series FROM task u JOIN product p ON p.task_id = u.id
  WHERE u.source_id = s.id AND p.source_id = s.id
    AND (u.step, u.digest) IN (SELECT * FROM unnest(CAST(:steps AS text[]), CAST(:digests AS text[])))
    AND (p.kind, p.role) IN (SELECT * FROM unnest(CAST(:kinds AS text[]), CAST(:roles AS text[])))
) p ON true
GROUP BY s.id, s.row_sha"""


def _parameters(step: Step, project_id: int) -> dict[str, object]:
    above = step.upstream[0] if step.upstream else ("", "")
    return {
        "project": project_id,
        "step": step.name,
        "digest": step.digest,
        "up_step": above[0],
        "up_digest": above[1],
        "steps": [name for name, _ in step.upstream],
        "digests": [key for _, key in step.upstream],
        "kinds": [kind for kind, _ in step.wanted],
        "roles": [role for _, role in step.wanted],
    }


def plan(session: Session, step: Step, project_id: int, *, number: int = 0, analyse_digest: str = "") -> None:
    """Insert the tasks of a step that are missing and mark those whose inputs changed as stale.

    Parameters
    ----------
    number
        For a ``simulate`` step: injections wanted per source.
    analyse_digest
        For a ``simulate`` step: digest of the analysis it belongs to.
    """
    values = _parameters(step, project_id)
    if step.kind == "fetch":
        session.execute(text(_NEW_FETCH), values)
        session.execute(text(_STALE.format(current=_FETCH_NOW)), values)
        if step.origin == "folder":
            _mark_changed_files(session, step, project_id)
    elif step.kind == "reduce":
        if step.instance.has_units:
            _plan_units(session, step, project_id)
            return
        session.execute(text(_NEW_REDUCE), values)
        session.execute(text(_STALE.format(current=_REDUCE_NOW)), values)
    elif step.kind == "analyse":
        session.execute(text(_NEW_ANALYSE), values)
        session.execute(text(_STALE.format(current=_ANALYSE_NOW)), values)
    elif step.kind == "simulate":
        values |= {"number": number, "up_step": f"analyse:{step.plugin}", "up_digest": analyse_digest}
        session.execute(text(_NEW_SIMULATE), values)
        session.execute(text(_MORE_INJECTIONS), values)
        session.execute(text(_STALE.format(current=_ANALYSE_NOW)), values)


def _mark_changed_files(session: Session, step: Step, project_id: int) -> None:
    """Mark fetch tasks stale whose file in the user's folder has another size or time than when it was read."""
    rows = session.execute(
        text(f"""
        SELECT DISTINCT t.id, f.path, f.bytes, f.mtime FROM task t
        JOIN source_raw r ON r.task_id = t.id JOIN raw_data d ON d.id = r.raw_data_id
        JOIN file f ON f.id = d.file_id
        WHERE t.step = :step AND t.digest = :digest AND t.status = 'done' AND f.external
          AND t.source_id IN ({_MEMBERS})"""),
        {"step": step.name, "digest": step.digest, "project": project_id},
    )
    seen: dict[str, tuple[int, float] | None] = {}
    changed = []
    for task_id, path, size, mtime in rows:
        if path not in seen:
            stat = Path(path).stat() if Path(path).exists() else None
            seen[path] = (stat.st_size, stat.st_mtime) if stat else None
        now = seen[path]
        if now is None or now[0] != size or abs(now[1] - mtime) > 1e-6:
            changed.append(task_id)
    if changed:
        session.execute(text("UPDATE task SET status = 'stale' WHERE id = ANY(:ids)"), {"ids": changed})


def _plan_units(session: Session, step: Step, project_id: int) -> None:
    """Insert and check tasks of a survey whose raw data fall into units (frames, CCDs, nights)."""
    up_step, up_digest = step.upstream[0]
    rows = session.execute(
        text(f"""
        SELECT f.source_id, s.row_sha, d.archive_id, d.key, d.format, d.header, d.sha256
        FROM task f JOIN source s ON s.id = f.source_id JOIN source_raw r ON r.task_id = f.id
        JOIN raw_data d ON d.id = r.raw_data_id
        WHERE f.step = :up_step AND f.digest = :up_digest AND f.source_id IN ({_MEMBERS})"""),
        {"up_step": up_step, "up_digest": up_digest, "project": project_id},
    )
    units: dict[tuple[int, str, str], list[str]] = defaultdict(list)
    for row in rows:
        raw = RawRef(row.archive_id, row.format, lambda: b"", key=row.key, header=row.header)
        units[row.source_id, step.instance.unit(raw), row.row_sha].append(f"{row.sha256}:{row.key}")
    if not units:
        return
    values = {
        "step": step.name,
        "digest": step.digest,
        "sources": [key[0] for key in units],
        "units": [key[1] for key in units],
        "inputs": [hash_inputs(key[2], items) for key, items in units.items()],
    }
    planned = "unnest(CAST(:sources AS bigint[]), CAST(:units AS text[]), CAST(:inputs AS text[])) c(source_id, unit, inputs)"
    session.execute(
        text(f"""INSERT INTO task (source_id, step, unit, digest)
        SELECT c.source_id, :step, c.unit, :digest FROM {planned} ON CONFLICT DO NOTHING"""),
        values,
    )
    session.execute(
        text(f"""UPDATE task t SET status = 'stale' FROM {planned}
        WHERE t.step = :step AND t.digest = :digest AND t.source_id = c.source_id AND t.unit = c.unit
          AND t.status IN ('done', 'empty') AND t.inputs IS DISTINCT FROM c.inputs"""),
        values,
    )


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
    session: Session, step: Step, project_id: int, *, statuses: Sequence[str], only: Sequence[str] = ()
) -> list[tuple[int, int, int]]:
    """Return (task id, rank, deaths) of the tasks to do.

    The rank numbers all tasks of the step in the order of the sky, done or not, so that batches fall the
    same way when a run is taken up again.
    """
    rows = session.execute(
        text(f"""
        SELECT id, rank, deaths FROM (
          SELECT t.id, t.status, t.deaths, s.name, s.aliases,
                 row_number() OVER (ORDER BY s.hpx, s.name COLLATE "C", t.unit COLLATE "C") - 1 AS rank
          FROM task t JOIN source s ON s.id = t.source_id
          WHERE t.step = :step AND t.digest = :digest AND t.source_id IN ({_MEMBERS})) q
        WHERE (status = ANY(:statuses) OR (status = 'running' AND EXISTS (
                 SELECT FROM task x WHERE x.id = q.id AND x.lease < now())))
          AND (cardinality(CAST(:only AS text[])) = 0 OR name = ANY(:only) OR aliases && CAST(:only AS text[]))
        ORDER BY rank"""),
        {
            "step": step.name,
            "digest": step.digest,
            "project": project_id,
            "statuses": list(statuses),
            "only": list(only),
        },
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
