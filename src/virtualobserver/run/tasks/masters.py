"""Masters: which there are, and which suit a unit of raw data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from virtualobserver.data.handles import Handle, MemoryHandle
from virtualobserver.data.product import RawRef
from virtualobserver.models.product import product_info
from virtualobserver.run.tasks.task import hash_inputs
from virtualobserver.typing import QueryRow, Record

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from virtualobserver.run.steps import Step

__all__ = ["choose", "mark_changed_masters", "master_rows", "raw_items"]


def master_rows(session: Session, step: Step) -> list[QueryRow]:
    """Return the rows of all masters that a step may use, in the order of their keys."""
    if step.masters is None:
        return []
    return list(
        session.execute(
            text("""
            SELECT p.*, u.unit, u.step, f.path, f.format FROM task u JOIN product p ON p.task_id = u.id
            LEFT JOIN file f ON f.id = p.file_id
            WHERE u.step = :step AND u.digest = :digest AND p.role = 'master' AND u.status IN ('done', 'stale')
            ORDER BY u.unit COLLATE "C", p.series COLLATE "C", p.id"""),
            {"step": step.masters[0], "digest": step.masters[1]},
        )
    )


def choose(step: Step, masters: Sequence[Handle], unit: str, raw: RawRef) -> Mapping[str, Handle]:
    """Return the masters that suit a unit whose first raw data are `raw`.

    A master is made from those of the kinds before its own.
    """
    if step.kind == "calibrate":
        kinds = step.instance.master_kinds
        before = set(kinds[: kinds.index(unit.partition("/")[0])])
        masters = [master for master in masters if master.info.unit.partition("/")[0] in before]
    picked: Mapping[str, Handle] = step.instance.choose(masters, raw)
    return picked


def raw_items(raws: Sequence[QueryRow], checksums: Sequence[str]) -> list[str]:
    """Return what a unit is made from, for `hash_inputs`: rows of raw data and checksums of masters."""
    return [f"{row.sha256}:{row.key}" for row in raws] + [f"master:{checksum}" for checksum in checksums]


def mark_changed_masters(session: Session, step: Step, values: Record, *, sources: str) -> None:
    """Mark done tasks stale whose raw data, or the masters that suit them, are not those they were made from."""
    rows = session.execute(
        text(f"""
        SELECT DISTINCT ON (a.id, d.archive_id COLLATE "C", d.key COLLATE "C", d.id)
          a.id AS task_id, a.unit, a.inputs, s.row_sha, d.archive_id, d.key, d.format, d.header, d.sha256
        FROM task a JOIN source s ON s.id = a.source_id
        LEFT JOIN (task f JOIN source_raw r ON r.task_id = f.id JOIN raw_data d ON d.id = r.raw_data_id)
          ON f.step = :up_step AND f.digest = :up_digest AND r.source_id = a.source_id AND r.unit = a.unit
        WHERE a.step = :step AND a.digest = :digest AND a.status IN ('done', 'empty')
          AND a.source_id IN (SELECT source_id FROM ({sources}) q)
        ORDER BY a.id, d.archive_id COLLATE "C", d.key COLLATE "C", d.id"""),
        dict(values),
    )
    units: dict[int, list[QueryRow]] = defaultdict(list)
    for row in rows:
        units[row.task_id].append(row)
    masters = master_rows(session, step)
    known = {row.id: row.checksum for row in masters}
    handles: list[Handle[Any]] = [MemoryHandle(None, product_info(row)) for row in masters]
    stale = []
    for task_id, mine in units.items():
        raws = [row for row in mine if row.sha256 is not None]
        picked: Mapping[str, Handle] = {}
        if raws:
            first = RawRef(raws[0].archive_id, raws[0].format, bytes, key=raws[0].key, header=raws[0].header)
            picked = choose(step, handles, mine[0].unit, first)
        items = raw_items(raws, [known[handle.info.product_id] for handle in picked.values()])
        if hash_inputs(mine[0].row_sha, items) != mine[0].inputs:
            stale.append(task_id)
    if stale:
        session.execute(text("UPDATE task SET status = 'stale' WHERE id = ANY(:ids)"), {"ids": stale})
