"""One batch of tasks: claim, read, compute, commit."""

from __future__ import annotations

import os
import socket
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from virtualobserver.errors import DiskFull, TaskLost, VirtualObserverError
from virtualobserver.models.product import product_handle
from virtualobserver.models.raw_data import raw_ref
from virtualobserver.run.steps import GROUP, IN_ORDER, UPSTREAM, WANTED, Step
from virtualobserver.run.tasks.commit import commit, settled, write_products
from virtualobserver.run.tasks.compute import attempt
from virtualobserver.run.tasks.fetch import fetch_batch
from virtualobserver.run.tasks.heartbeat import Heartbeat
from virtualobserver.run.tasks.masters import choose, master_rows, raw_items
from virtualobserver.run.tasks.services import build_services
from virtualobserver.run.tasks.task import Claim, Job, Outcome, hash_inputs, target_of
from virtualobserver.run.workspace import Workspace
from virtualobserver.typing import QueryRow

__all__ = ["load_products", "run_batch", "worker_name"]


def worker_name() -> str:
    """Return a name no other worker has or had."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"


def claim(session: Session, job: Job, worker: str, ids: Sequence[int]) -> list[Claim]:
    """Take the tasks among `ids` that nobody holds or has done since they were listed, in the order of `ids`."""
    rows = session.execute(
        text("""
        WITH mine AS (
          UPDATE task SET status = 'running', worker = :worker, attempts = attempts + 1, run_id = :run,
                 lease = now() + make_interval(secs => :lease)
          WHERE id IN (SELECT id FROM task WHERE id = ANY(:ids)
                         AND (status <> 'running' OR lease < now())
                         AND (finished IS NULL OR finished <= coalesce(CAST(:planned AS timestamptz), now()))
                       ORDER BY id FOR UPDATE SKIP LOCKED)
          RETURNING id, source_id, unit, attempts, extent)
        SELECT mine.id AS task_id, mine.unit, mine.attempts, mine.extent, s.* FROM mine
        JOIN source s ON s.id = mine.source_id"""),
        {
            "worker": worker,
            "run": job.run_id or None,
            "lease": job.lease,
            "ids": list(ids),
            "planned": job.planned,
        },
    ).all()
    order = {task_id: n for n, task_id in enumerate(ids)}
    claims = [
        Claim(
            r.task_id,
            r.id,
            r.unit,
            r.attempts,
            r.extent if job.step.kind == "simulate" else 0,
            target_of(r),
            r.row_sha,
            r.hpx,
        )
        for r in rows
    ]
    return sorted(claims, key=lambda c: order[c.task_id])


def run_batch(
    workspace: Workspace, job: Job, ids: Sequence[int], *, worker: str | None = None
) -> Counter[str]:
    """Do a batch of tasks and return how many ended in which status.

    A task that fails leaves the others alone. A database that went away is tried once more.
    """
    worker = worker or worker_name()
    with Heartbeat(workspace.database, worker, job.lease):
        with workspace.database.session() as session, session.begin():
            claims = claim(session, job, worker, ids)
        if not claims:
            return Counter()
        if job.step.kind == "fetch":
            return fetch_batch(workspace, job, worker, claims)
        with workspace.database.session() as session:
            loaded = _LOADERS[job.step.kind](session, workspace, job.step, claims)
        with workspace.store.reading():
            together = [loaded] if job.step.kind in {"analyse", "simulate"} else [[item] for item in loaded]
            services = partial(build_services, workspace, job.step)
            outcomes = [
                outcome
                for items in together
                for outcome in attempt(job.step, items, job.number, services=services)
            ]
        return save(workspace, job, worker, outcomes)


def save(workspace: Workspace, job: Job, worker: str, outcomes: Sequence[Outcome]) -> Counter[str]:
    """Write the file and commit the rows; a batch that cannot be committed whole is committed task by task."""
    try:
        _save_once(workspace, job, worker, outcomes)
    except TaskLost:
        return Counter()
    except OperationalError:
        return _save_again(workspace, job, worker, outcomes)
    except (DBAPIError, VirtualObserverError, ValueError) as error:
        if isinstance(error, DiskFull):
            raise
        if len(outcomes) == 1:
            failed = Outcome.failure(outcomes[0].claim, error, inputs=outcomes[0].inputs)
            _save_once(workspace, job, worker, [failed])
            return Counter(failed=1)
        return sum((save(workspace, job, worker, [outcome]) for outcome in outcomes), Counter())
    return Counter(outcome.status for outcome in outcomes)


def _save_again(workspace: Workspace, job: Job, worker: str, outcomes: Sequence[Outcome]) -> Counter[str]:
    """Commit once more after the server went away: maybe only its reply was lost."""
    workspace.database.recover()
    try:
        _save_once(workspace, job, worker, outcomes)
    except TaskLost:
        with workspace.database.session() as session:
            return settled(session, job.run_id, outcomes)
    return Counter(outcome.status for outcome in outcomes)


def _save_once(workspace: Workspace, job: Job, worker: str, outcomes: Sequence[Outcome]) -> None:
    written = write_products(workspace.store, job.step, outcomes)
    with workspace.database.session() as session, session.begin():
        commit(session, job.step, worker, job.run_id, outcomes=outcomes, written=written)


# -- calibrate and reduce -----------------------------------------------------------------------------------


def _load_raw(session: Session, workspace: Workspace, step: Step, claims: Sequence[Claim]) -> list[QueryRow]:
    up_step, up_digest = step.upstream[0]
    rows = session.execute(
        text("""
        SELECT DISTINCT ON (r.source_id, r.unit, d.archive_id COLLATE "C", d.key COLLATE "C", d.id)
          r.source_id AS owner, r.unit, d.*, f.path, f.external
        FROM source_raw r JOIN task t ON t.id = r.task_id
        JOIN raw_data d ON d.id = r.raw_data_id JOIN file f ON f.id = d.file_id
        WHERE t.step = :step AND t.digest = :digest AND r.source_id = ANY(:sources) AND (r.source_id, r.unit) IN
          (SELECT * FROM unnest(CAST(:sources AS bigint[]), CAST(:units AS text[])))
        ORDER BY r.source_id, r.unit, d.archive_id COLLATE "C", d.key COLLATE "C", d.id"""),
        {
            "step": up_step,
            "digest": up_digest,
            "sources": [c.source_id for c in claims],
            "units": [c.unit for c in claims],
        },
    )
    groups: dict[tuple[int, str], list[QueryRow]] = defaultdict(list)
    for row in rows:
        groups[row.owner, row.unit].append(row)
    masters = {row.id: row for row in master_rows(session, step)}
    handles = [
        product_handle(workspace.store, row, row.path, file_format=row.format) for row in masters.values()
    ]
    loaded = []
    for one in claims:
        mine = groups[one.source_id, one.unit]
        refs = [raw_ref(workspace.store, row, row.path, external=row.external) for row in mine]
        picked = choose(step, handles, one.unit, refs[0]) if refs and step.masters else {}
        used = [handle.info.product_id for handle in picked.values()]
        facts = {
            "inputs": hash_inputs(one.row_sha, raw_items(mine, [masters[n].checksum for n in used if n])),
            "raw_ids": [row.id for row in mine],
            "masters": picked,
            "product_ids": used,
            "simulated": any(row.simulated for row in mine),
        }
        loaded.append((one, refs, facts))
    return loaded


# -- analyse and simulate -------------------------------------------------------------------------------------


def load_products(
    session: Session, workspace: Workspace, step: Step, claims: Sequence[Claim]
) -> list[QueryRow]:
    """Return each claim with lazy handles of the products `step` works on, and what is known of these."""
    rows = session.execute(
        text(f"""
        SELECT p.*, u.unit, u.step, {GROUP} AS part, f.path, f.format
        FROM product p JOIN task u ON u.id = p.task_id
        JOIN {UPSTREAM} ON u.step = up.step AND u.digest = up.digest
        LEFT JOIN file f ON f.id = p.file_id
        WHERE p.source_id = ANY(:sources) AND {WANTED} AND (p.source_id, {GROUP}) IN
          (SELECT * FROM unnest(CAST(:sources AS bigint[]), CAST(:units AS text[])))
        ORDER BY {IN_ORDER}"""),
        {
            "sources": [c.source_id for c in claims],
            "units": [c.unit for c in claims],
            "steps": [name for name, _ in step.upstream],
            "digests": [key for _, key in step.upstream],
            "depths": list(step.depths),
            "kinds": [kind for kind, _ in step.wanted],
            "roles": [role for _, role in step.wanted],
        },
    )
    groups: dict[tuple[int, str], list[QueryRow]] = defaultdict(list)
    for row in rows:
        groups[row.source_id, row.part].append(row)
    loaded = []
    for one in claims:
        mine = groups[one.source_id, one.unit]
        facts = {
            "inputs": hash_inputs(one.row_sha, [f"{p.checksum}:{p.role}:{p.series}" for p in mine]),
            "raw_ids": [],
            "product_ids": [p.id for p in mine],
            "masters": {},
            "simulated": any(p.simulated for p in mine),
        }
        handles = [product_handle(workspace.store, row, row.path, file_format=row.format) for row in mine]
        loaded.append((one, handles, facts))
    return loaded


_LOADERS: dict[str, Callable[..., list[QueryRow]]] = {
    "calibrate": _load_raw,
    "reduce": _load_raw,
    "refine": load_products,
    "analyse": load_products,
    "simulate": load_products,
}
