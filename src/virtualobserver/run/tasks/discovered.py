"""Sources that analyses discover: their rows, and what they were found to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from virtualobserver.data.plain import plain
from virtualobserver.db.bulk import upsert_rows
from virtualobserver.db.sky import cells_of
from virtualobserver.models import Source
from virtualobserver.models.base import table_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from virtualobserver.data.product import Target
    from virtualobserver.run.steps import Step
    from virtualobserver.run.tasks.task import Outcome

__all__ = ["KNOWN", "insert_sources"]

_SAME_AS = """
UPDATE source s SET same_as_id = (
  SELECT k.id FROM source k WHERE (k.name = w.name OR k.aliases @> ARRAY[w.name]) AND k.id <> s.id
  ORDER BY k.name <> w.name, k.namespace <> w.namespace, k.parent_id IS NOT NULL, k.namespace <> s.namespace, k.id
  LIMIT 1)
FROM unnest(CAST(:ids AS bigint[]), CAST(:names AS text[]), CAST(:namespaces AS text[])) w(id, name, namespace)
WHERE s.id = w.id"""

KNOWN: Final = "known"
"""Namespace of things that discovered sources were found to be and that no catalogue had brought in before."""


def insert_sources(session: Session, step: Step, outcomes: Sequence[Outcome]) -> dict[tuple[int, str], int]:
    """Insert discovered sources and the targets of products that have no row yet; return ids by task and name."""
    found: dict[tuple[int, str], tuple[Target, int, bool]] = {}
    for outcome in outcomes:
        targets = [item.target for item in outcome.result.sources]
        targets += [p.target for p in (*outcome.products, *outcome.result.products) if p.target]
        for target in targets:
            if target.name != outcome.claim.target.name:
                found[outcome.claim.task_id, target.name] = (
                    target,
                    outcome.claim.source_id,
                    outcome.simulated,
                )
    if not found:
        return {}
    values = list(found.values())
    rows = upsert_rows(
        session,
        table_of(Source),
        {
            "namespace": [t.namespace or step.digest for t, _, _ in values],
            "name": [t.name for t, _, _ in values],
            "kind": [t.kind for t, _, _ in values],
            "ra": [t.ra for t, _, _ in values],
            "dec": [t.dec for t, _, _ in values],
            "epoch": [t.epoch for t, _, _ in values],
            "hpx": cells_of([t.ra for t, _, _ in values], [t.dec for t, _, _ in values]),
            "mag": [t.mag for t, _, _ in values],
            "parent_id": [p for _, p, _ in values],
            "simulated": [s for _, _, s in values],
            "extra": [plain(t.extra) for t, _, _ in values],
        },
        key=["namespace", "name"],
        update=["ra", "dec", "hpx", "mag"],
        returning=["id"],
    )
    ids = {key: int(row[0]) for key, row in zip(found, rows, strict=True)}
    _identify(session, outcomes, ids)
    return ids


def _identify(session: Session, outcomes: Sequence[Outcome], ids: Mapping[tuple[int, str], int]) -> None:
    """Write what discovered sources were found to be.

    That is the source of that name or alias, best one of the catalogue that the search began from; a name that
    nobody knows yet becomes a source without a position.
    """
    rows = {
        ids[outcome.claim.task_id, item.target.name]: (item.same_as, outcome.claim.target.namespace)
        for outcome in outcomes
        for item in outcome.result.sources
        if (outcome.claim.task_id, item.target.name) in ids
    }
    names = sorted({name for name, _ in rows.values() if name})
    known = set(
        session.execute(
            text("""SELECT w.name FROM unnest(CAST(:names AS text[])) w(name)
            WHERE EXISTS (SELECT FROM source k WHERE k.name = w.name OR k.aliases @> ARRAY[w.name])"""),
            {"names": names},
        ).scalars()
    )
    new = [name for name in names if name not in known]
    if new:
        columns = {"namespace": [KNOWN] * len(new), "name": new, "kind": ["object"] * len(new)}
        upsert_rows(session, table_of(Source), columns, key=["namespace", "name"], update=[])
    values = {
        "ids": list(rows),
        "names": [name for name, _ in rows.values()],
        "namespaces": [namespace for _, namespace in rows.values()],
    }
    session.execute(text(_SAME_AS), values)
