"""Bringing a target list into the database."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import Table, text

from virtualobserver.catalog import Catalog, read_catalog
from virtualobserver.config import CatalogSettings
from virtualobserver.data.plain import plain
from virtualobserver.data.product import Target
from virtualobserver.db.bulk import upsert_rows
from virtualobserver.db.engine import Session
from virtualobserver.db.sky import hpx
from virtualobserver.errors import ConfigError
from virtualobserver.io.atomic import replacing
from virtualobserver.maths.arrays import Array
from virtualobserver.models import Catalog as CatalogRow
from virtualobserver.models import Membership, Source
from virtualobserver.models.base import Base
from virtualobserver.observatory import UNPLACED
from virtualobserver.run.checks import survey_step
from virtualobserver.run.tasks.client import ArchiveClient
from virtualobserver.run.tasks.task import row_sha
from virtualobserver.typing import Value

if TYPE_CHECKING:
    from virtualobserver.run.steps import Step
    from virtualobserver.run.workspace import Workspace

__all__ = ["import_catalogue", "listed_by_survey"]

_PART = 20_000
"""Rows that are targets at a time, which bounds the memory."""
# Not <> ALL(:ids), which compares each member with every id.
_HAS_MEMBERS = text("SELECT EXISTS (SELECT FROM membership WHERE project_id = :p)")
_LEAVE = text("""
    DELETE FROM membership m WHERE project_id = :p
    AND NOT EXISTS (SELECT FROM unnest(CAST(:ids AS bigint[])) i(id) WHERE i.id = m.source_id)""")
_FIELDS = (
    "name",
    "namespace",
    "kind",
    "ra",
    "dec",
    "epoch",
    "pmra",
    "pmdec",
    "parallax",
    "mag",
    "mag_error",
    "mag_band",
)


def import_catalogue(
    session: Session,
    project_id: int,
    settings: CatalogSettings,
    *,
    root: Path,
    refresh: bool = False,
    when_new: Callable[[], None] = lambda: None,
) -> int:
    """Make the sources and the membership of a project those of its target list.

    A list that did not change since the last import costs one query. Sources that left the list leave the
    project; their data stay until `vo prune` or `vo delete` finds that nobody uses them.

    Parameters
    ----------
    project_id
        Number of the project's row.
    settings
        Where the targets come from.
    root
        Data folder; downloaded catalogues are kept in its folder ``catalogs``.
    refresh
        Ask archives for their answer again.
    when_new
        Called once, as soon as it is known that the list is not the one of the last import: before it is read if there
        was no import.

    Returns
    -------
    int
        Number of targets.
    """
    first = not session.execute(_HAS_MEMBERS, {"p": project_id}).scalar_one()
    if first:
        when_new()
    catalog = read_catalog(settings, cache=root / "catalogs", refresh=refresh)
    if _is_known(session, project_id, catalog):
        return len(catalog)
    if not first:
        when_new()
    number = _upsert_catalogue(session, catalog)
    ids: list[int] = []
    for part in catalog.parts(_PART):
        ids += _upsert_part(session, part, project_id, number, first=len(ids))
    session.execute(_LEAVE, {"p": project_id, "ids": ids})
    return len(ids)


def _upsert_part(
    session: Session, part: Catalog, project_id: int, catalog_id: int, *, first: int
) -> list[int]:
    """Insert the sources and members of a part of a list whose rows are numbered from `first` on."""
    targets = part.targets()
    ids = _upsert_sources(session, targets)
    members: dict[str, Sequence[Value] | Array] = {
        "project_id": np.full(len(ids), project_id),
        "source_id": ids,
        "catalog_id": np.full(len(ids), catalog_id),
        "number": np.arange(first, first + len(ids)),
        "mag": [target.mag for target in targets],
        "row": [plain(record) for record in part.frame.to_dict("records")],
    }
    update = ["catalog_id", "number", "mag", "row"]
    key = ["project_id", "source_id"]
    _upsert(session, Membership, members, key=key, update=update, returning="source_id")
    return ids


def listed_by_survey(
    settings: CatalogSettings,
    steps: Sequence[Step],
    workspace: Workspace,
    *,
    refresh: bool = False,
    left_out: Callable[[str], None] = lambda _: None,
) -> CatalogSettings:
    """Return the settings of a catalogue with the rows that a survey lists, where they ask for it.

    The list is kept in the data folder until `refresh` asks the archive again. One that lacks something of which
    the archive cannot tell where it is, is not: the next run asks again. `left_out` is told why.

    Raises
    ------
    ConfigError
        If the project has no such survey, or it cannot list its archive.
    """
    step = survey_step(settings, steps)
    if step is None:
        return settings
    place = sha256("\0".join((step.digest, step.origin, *step.folders)).encode()).hexdigest()[:16]
    path = workspace.root / "catalogs" / f"{step.plugin}-{place}.json"
    known = path.is_file() and not refresh
    rows = tuple(json.loads(path.read_text(encoding="utf-8"))) if known else ()
    if not rows:  # an empty list is not kept: the next run asks again
        with closing(ArchiveClient(step, workspace)) as client:
            found = plain(step.forgetful().instance.catalogue(client))
        rows = tuple(row for row in found if UNPLACED not in row)
        lacking = [str(row[UNPLACED]) for row in found if UNPLACED in row]
        if not rows:
            why = f": {lacking[0]}" if lacking else ""
            msg = f"catalog.survey: the archive of {step.plugin} lists no targets{why}"
            raise ConfigError(msg)
        for why in lacking:
            left_out(f"left out of the targets: {why}")
        if not lacking:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(rows), encoding="utf-8")
    return settings.model_copy(update={"survey": None, "rows": rows, "name": settings.name or step.plugin})


def _upsert_catalogue(session: Session, catalog: Catalog) -> int:
    meta = {"columns": plain(dict(catalog.columns)), "extra": list(catalog.extra)}
    if catalog.out_of_range:
        meta["out_of_range"] = dict(catalog.out_of_range)
    columns: dict[str, Sequence[Value]] = {
        "name": [catalog.name],
        "checksum": [catalog.checksum],
        "origin": [catalog.origin],
        "n_rows": [len(catalog)],
        "meta": [meta],
    }
    return _upsert(session, CatalogRow, columns, key=["name", "checksum"], update=["origin"])[0]


def _is_known(session: Session, project_id: int, catalog: Catalog) -> bool:
    found = session.execute(
        text("""SELECT c.id FROM catalog c JOIN membership m ON m.catalog_id = c.id
        WHERE m.project_id = :p AND c.name = :name AND c.checksum = :sum
        GROUP BY c.id HAVING count(*) = :n
          AND count(*) = (SELECT count(*) FROM membership WHERE project_id = :p)"""),
        {"p": project_id, "name": catalog.name, "sum": catalog.checksum, "n": len(catalog)},
    )
    return found.scalar_one_or_none() is not None


def _upsert_sources(session: Session, targets: Sequence[Target]) -> list[int]:
    columns: dict[str, Sequence[Value]] = {
        name: [getattr(target, name) for target in targets] for name in _FIELDS
    }
    ra, dec = (np.array([_or_nan(value) for value in columns[name]]) for name in ("ra", "dec"))
    known = np.isfinite(ra) & np.isfinite(dec)
    cells = np.zeros(len(targets), dtype=np.int64)
    cells[known] = hpx(ra[known], dec[known])
    columns |= {
        "hpx": [int(cell) if there else None for cell, there in zip(cells, known, strict=True)],
        "aliases": [list(target.aliases) for target in targets],
        "extra": [plain(dict(target.extra)) for target in targets],
        "row_sha": [row_sha(target) for target in targets],
    }
    update = [name for name in columns if name not in {"name", "namespace"}]
    return _upsert(session, Source, columns, key=["namespace", "name"], update=update)


def _upsert(
    session: Session,
    model: type[Base],
    columns: Mapping[str, Sequence[Value] | Array],
    *,
    key: Sequence[str],
    update: Sequence[str],
    returning: str = "id",
) -> list[int]:
    table = model.__table__
    assert isinstance(table, Table)
    rows = upsert_rows(session, table, columns, key=key, update=update, returning=[returning])
    assert isinstance(rows, list)
    return [int(row[0]) for row in rows]


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value
