"""From outcomes to files and rows: the file first, then all rows and the done marks in one transaction."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from virtualobserver.data.image import Image
from virtualobserver.data.obscore import obscore_of
from virtualobserver.data.plain import plain
from virtualobserver.data.product import Product
from virtualobserver.data.result import Event
from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.db.bulk import copy_rows, upsert_rows
from virtualobserver.errors import TaskLost
from virtualobserver.io.names import safe_name
from virtualobserver.io.store import BlockRef, FileRecord, Store
from virtualobserver.models import (
    Detection,
    File,
    HistogramPart,
    Injection,
    Properties,
    TaskInput,
)
from virtualobserver.models import Product as ProductRow
from virtualobserver.models.base import table_of
from virtualobserver.models.product import STATISTICS
from virtualobserver.run.steps import Step
from virtualobserver.run.tasks.discovered import insert_sources
from virtualobserver.run.tasks.task import Outcome
from virtualobserver.typing import RecordDict

__all__ = ["Written", "commit", "file_ids", "mark", "owned", "settled", "write_products"]


@dataclass(frozen=True)
class Written:
    """Where a product of an outcome was written."""

    outcome: Outcome
    product: Product
    ref: BlockRef
    file: FileRecord


def write_products(store: Store, step: Step, outcomes: Sequence[Outcome]) -> list[Written]:
    """Write the products of a batch: tables into one file, every image into its own."""
    folder = f"products/{step.digest[:16]}"
    blocks, placed, written = [], [], []
    for outcome in outcomes:
        for product in (*outcome.products, *outcome.result.products):
            owner = product.target.name if product.target else outcome.claim.target.name
            parts = (owner, outcome.claim.unit, product.role, product.series)
            key = "/".join(safe_name(part) for part in parts if part)
            if isinstance(product.data, Image):
                name = "_".join(part.replace("/", "_") for part in parts if part)
                image = store.write_image(folder, product.data, name)
                written.append(Written(outcome, product, image.blocks[0], image.file))
            else:
                blocks.append((key, product.data))
                placed.append((outcome, product))
    if blocks:
        file = store.write_blocks(folder, blocks)
        pairs = zip(placed, file.blocks, strict=True)
        written += [Written(outcome, product, ref, file.file) for (outcome, product), ref in pairs]
    return written


def file_ids(session: Session, files: Iterable[FileRecord]) -> dict[str, int]:
    """Insert the rows of files that have none and return their ids by path."""
    unique = {file.path: file for file in files}
    if not unique:
        return {}
    records = list(unique.values())
    rows = upsert_rows(
        session,
        table_of(File),
        {
            "path": [f.path for f in records],
            "sha256": [f.sha256 for f in records],
            "bytes": [f.bytes for f in records],
            "format": [f.format for f in records],
            "external": [f.path.startswith("/") for f in records],
            "damaged": [False] * len(records),
            "mtime": [f.mtime if f.path.startswith("/") else None for f in records],
        },
        key=["path"],
        update=["sha256", "bytes", "mtime", "damaged"],
        returning=["id"],
    )
    return dict(zip(unique, (row[0] for row in rows), strict=True))


def _next_ids(session: Session, table: str, number: int) -> list[int]:
    if number == 0:
        return []
    statement = text("SELECT nextval(pg_get_serial_sequence(:table, 'id')) FROM generate_series(1, :number)")
    return list(session.execute(statement, {"table": table, "number": number}).scalars())


def owned(session: Session, worker: str, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Lock the tasks and keep the outcomes of those that are still ours."""
    rows = session.execute(
        text("""SELECT id, attempts FROM task WHERE id = ANY(:ids) AND worker = :worker AND status = 'running'
        ORDER BY id FOR UPDATE"""),
        {"ids": [o.claim.task_id for o in outcomes], "worker": worker},
    )
    ours = {row.id: row.attempts for row in rows}
    return [o for o in outcomes if ours.get(o.claim.task_id) == o.claim.attempts]


def settled(session: Session, run_id: int, outcomes: Sequence[Outcome]) -> Counter[str]:
    """Count by status the tasks that this very attempt has ended.

    After a lost reply to a commit they tell whether it was made.
    """
    rows = session.execute(
        text("""SELECT t.status, count(*) AS tasks FROM task t
        JOIN unnest(CAST(:ids AS bigint[]), CAST(:attempts AS bigint[])) AS o(id, attempts)
          ON o.id = t.id AND o.attempts = t.attempts
        WHERE t.run_id IS NOT DISTINCT FROM CAST(:run AS bigint) AND t.status NOT IN ('running', 'pending')
        GROUP BY t.status"""),
        {
            "ids": [o.claim.task_id for o in outcomes],
            "attempts": [o.claim.attempts for o in outcomes],
            "run": run_id or None,
        },
    )
    return Counter({row.status: row.tasks for row in rows})


def commit(
    session: Session,
    step: Step,
    worker: str,
    run_id: int,
    *,
    outcomes: Sequence[Outcome],
    written: Sequence[Written],
) -> int:
    """Insert everything the outcomes hold and mark their tasks, in the caller's transaction.

    Returns
    -------
    int
        Number of outcomes committed.

    Raises
    ------
    TaskLost
        If other workers took over every one of the tasks.
    """
    mine = owned(session, worker, outcomes)
    if not mine:
        msg = f"{len(outcomes)} tasks of {step.name} were taken over by another worker"
        raise TaskLost(msg)
    kept = {o.claim.task_id for o in mine}
    written = [w for w in written if w.outcome.claim.task_id in kept]
    _forget(session, step, mine)
    discovered = insert_sources(session, step, mine)
    _insert_products(session, written, discovered)
    injection_ids = _insert_injections(session, mine)
    _insert_detections(session, step, mine, injection_ids, discovered)
    _insert_summaries(session, step, mine)
    _insert_inputs(session, mine)
    mark(session, run_id, mine)
    return len(mine)


def _forget(session: Session, step: Step, outcomes: Sequence[Outcome]) -> None:
    """Remove what an earlier attempt left; a task that adds injections keeps those it has."""
    again = [o.claim.task_id for o in outcomes if o.status != "failed" and o.claim.extent == 0]
    if not again:
        return
    tables = ["detection", "injection", "product", "properties", "histogram_part", "task_input"]
    for table in tables if step.kind != "fetch" else []:
        session.execute(text(f"DELETE FROM {table} WHERE task_id = ANY(:ids)"), {"ids": again})  # noqa: S608


def _insert_products(
    session: Session,
    written: Sequence[Written],
    discovered: Mapping[tuple[int, str], int],
) -> None:
    ids = _next_ids(session, "product", len(written))
    files = file_ids(session, (w.file for w in written))
    rows: list[RecordDict] = []
    for number, item in zip(ids, written, strict=True):
        claim, product = item.outcome.claim, item.product
        owner = claim.source_id
        if product.target and product.target.name != claim.target.name:
            owner = discovered[claim.task_id, product.target.name]
        rows.append(
            {
                "id": number,
                "kind": product.container_kind,
                "source_id": owner,
                "task_id": claim.task_id,
                "role": product.role,
                "series": product.series,
                "band": product.band,
                "file_id": files[item.file.path],
                "block": item.ref.key,
                "checksum": item.ref.checksum,
                "simulated": item.outcome.simulated,
                **_numbers(product),
            }
        )
    if rows:
        copy_rows(session, table_of(ProductRow), {name: [row[name] for row in rows] for name in rows[0]})


def _numbers(product: Product) -> RecordDict:
    data, statistics = product.data, plain(dict(product.statistics))
    times = data.mjd if isinstance(data, TimeSeries | SpectrumSet) and len(data.mjd) else None
    return {
        "n": int(data.data.size) if isinstance(data, Image) else len(data),
        "t_min": None if times is None else plain(times.min()),
        "t_max": None if times is None else plain(times.max()),
        "flux_unit": str(getattr(data, "flux_unit", "")),
        **{name: statistics.pop(name, None) for name in STATISTICS},
        "statistics": statistics,
        "obscore": plain(obscore_of(data, product.statistics)),
    }


def _insert_injections(session: Session, outcomes: Sequence[Outcome]) -> dict[tuple[int, int], int]:
    pairs = [(o, injection) for o in outcomes for injection in o.injections]
    if not pairs:
        return {}
    ids = _next_ids(session, "injection", len(pairs))
    parameters = [plain(i.params) for _, i in pairs]
    copy_rows(
        session,
        table_of(Injection),
        {
            "id": ids,
            "source_id": [o.claim.source_id for o, _ in pairs],
            "task_id": [o.claim.task_id for o, _ in pairs],
            "number": [i.number for _, i in pairs],
            "kind": [str(p.get("kind", "")) for p in parameters],
            "amplitude": [p.get("amplitude") for p in parameters],
            "width": [p.get("width") for p in parameters],
            "parameters": parameters,
            "covered": [i.covered for _, i in pairs],
            "found": [i.found is not None for _, i in pairs],
            "found_snr": [plain(i.found.snr) if i.found else None for _, i in pairs],
        },
    )
    return {(o.claim.task_id, i.number): key for key, (o, i) in zip(ids, pairs, strict=True)}


def _insert_detections(
    session: Session,
    step: Step,
    outcomes: Sequence[Outcome],
    injections: Mapping[tuple[int, int], int],
    discovered: Mapping[tuple[int, str], int],
) -> None:
    rows: list[RecordDict] = []
    for outcome in outcomes:
        claim = outcome.claim
        events: list[tuple[int, Event, int | None]] = [
            (n, event, None) for n, event in enumerate(outcome.result.detections)
        ]
        events += [(0, i.found, injections[claim.task_id, i.number]) for i in outcome.injections if i.found]
        for number, event, injection in events:
            owner = discovered.get((claim.task_id, event.source or ""), claim.source_id)
            inputs = outcome.input_products
            product = (
                inputs[event.product] if event.product is not None and event.product < len(inputs) else None
            )
            rows.append(
                {
                    "source_id": owner,
                    "task_id": claim.task_id,
                    "product_id": product,
                    "injection_id": injection,
                    "event": number,
                    "analysis": step.plugin,
                    "kind": event.kind,
                    "start_mjd": event.start_mjd,
                    "peak_mjd": event.peak_mjd,
                    "end_mjd": event.end_mjd,
                    "ra": event.ra if event.ra is not None else claim.target.ra,
                    "dec": event.dec if event.dec is not None else claim.target.dec,
                    "band": event.band,
                    "snr": float(event.snr),
                    "score": plain(event.score),
                    "quality": int(event.quality),
                    "parameters": plain(event.parameters),
                    "simulated": outcome.simulated or injection is not None,
                }
            )
    if rows:
        copy_rows(session, table_of(Detection), {name: [row[name] for row in rows] for name in rows[0]})


def _insert_summaries(session: Session, step: Step, outcomes: Sequence[Outcome]) -> None:
    if step.kind != "analyse":
        return
    done = [o for o in outcomes if o.status == "done"]
    if done:
        copy_rows(
            session,
            table_of(Properties),
            {
                "source_id": [o.claim.source_id for o in done],
                "task_id": [o.claim.task_id for o in done],
                "analysis": [step.plugin] * len(done),
                "simulated": [o.simulated for o in done],
                "props": [plain(o.result.properties) for o in done],
            },
        )
    parts = [(o, name, part) for o in done for name, part in o.result.histograms.items()]
    if parts:
        copy_rows(
            session,
            table_of(HistogramPart),
            {
                "task_id": [o.claim.task_id for o, _, _ in parts],
                "name": [name for _, name, _ in parts],
                "simulated": [o.simulated for o, _, _ in parts],
                "counts": [part.to_bytes() for _, _, part in parts],
            },
        )


def _insert_inputs(session: Session, outcomes: Sequence[Outcome]) -> None:
    rows: list[tuple[int, int | None, int | None]] = [
        (o.claim.task_id, raw, None) for o in outcomes if o.status != "failed" for raw in o.raw_ids
    ]
    rows += [(o.claim.task_id, None, p) for o in outcomes if o.status != "failed" for p in o.product_ids]
    fresh = [row for row in rows if row]
    if fresh:
        upsert_rows(
            session,
            table_of(TaskInput),
            {
                "task_id": [r[0] for r in fresh],
                "raw_data_id": [r[1] for r in fresh],
                "product_id": [r[2] for r in fresh],
            },
            key=["task_id", "raw_data_id", "product_id"],
            update=[],
        )


def mark(session: Session, run_id: int, outcomes: Sequence[Outcome]) -> None:
    """Write how the tasks ended: the done mark that resuming and histograms go by."""
    rows = [
        {
            "id": o.claim.task_id,
            "status": o.status,
            "seconds": o.seconds,
            "inputs": o.inputs,
            "error": o.error,
            "error_kind": o.error_kind,
            "traceback": o.traceback,
            "extent": o.extent,
            "reason": o.reason if o.status == "empty" else None,
            "counts": dict(o.counts) or None,
        }
        for o in outcomes
    ]
    session.execute(
        text("""UPDATE task t SET status = c.status, seconds = c.seconds, inputs = coalesce(c.inputs, t.inputs),
          error = c.error, error_kind = c.error_kind, traceback = c.traceback, extent = c.extent,
          reason = c.reason, counts = c.counts,
          worker = NULL, lease = NULL, finished = now(), run_id = :run
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS c(id bigint, status text, seconds float8, inputs text,
          error text, error_kind text, traceback text, extent bigint,
          reason text, counts jsonb)
        WHERE t.id = c.id"""),
        {"run": run_id or None, "rows": json.dumps(rows).replace("\\u0000", "")},
    )
