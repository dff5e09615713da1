"""Fetching: raw data are stored and committed while they land."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from virtualobserver.data.plain import plain
from virtualobserver.data.product import Known, Missing, Raw, RawRef, Target
from virtualobserver.db.bulk import upsert_rows
from virtualobserver.db.sky import cells_of
from virtualobserver.errors import DiskFull, InvalidFile, TaskLost
from virtualobserver.io.names import safe_name
from virtualobserver.io.store import FileRecord, Store
from virtualobserver.models import RawData, Source, SourceRaw
from virtualobserver.models.base import table_of
from virtualobserver.models.raw_data import FURTHER, OBSCORE
from virtualobserver.run.listings import listings
from virtualobserver.run.steps import Step
from virtualobserver.run.tasks.client import ArchiveClient, fetch
from virtualobserver.run.tasks.commit import file_ids, mark, owned, settled
from virtualobserver.run.tasks.task import Claim, Job, Outcome, hash_inputs, row_sha
from virtualobserver.typing import QueryRow, Value

if TYPE_CHECKING:
    from virtualobserver.run.workspace import Workspace

__all__ = ["fetch_batch"]

FLUSH_SECONDS = 5.0
"""What was fetched is written down at least so often: that much is fetched again after a crash.

What is packed into one file is thus a matter of speed, and packs of the same data have other names in another run. Rows
hold checksums of each piece in them, which are the same."""
FLUSH_BYTES = 16_000_000
"""Likewise, and bounds the memory of large files."""


class _Link(NamedTuple):
    """Whose a piece of raw data is, and the unit it belongs to."""

    source_id: int
    raw_id: int
    unit: str


@dataclass
class _Landing:
    """Raw data that have landed and are not stored yet, and what is known of each task.

    ``content`` is the latest file that came as bytes, and ``written`` where it was stored: the parts of a file come
    one after the other, and it is stored once.
    """

    raws: list[tuple[Claim, Raw]] = field(default_factory=list)
    size: int = 0
    content: bytes | None = None
    written: tuple[FileRecord, str, str] | None = None
    since: float = field(default_factory=time.monotonic)
    links: dict[int, list[_Link]] = field(default_factory=dict)
    errors: dict[int, BaseException] = field(default_factory=dict)
    missing: dict[int, str] = field(default_factory=dict)
    listed: dict[int, str] = field(default_factory=dict)

    def due(self) -> bool:
        return bool(self.raws) and (self.size > FLUSH_BYTES or time.monotonic() - self.since > FLUSH_SECONDS)


def fetch_batch(workspace: Workspace, job: Job, worker: str, claims: Sequence[Claim]) -> Counter[str]:
    """Fetch for a batch of claimed tasks.

    Should the survey's generator itself break, the targets that have no answer yet are asked one by one,
    so that one bad target never stops the others.
    """
    landing = _Landing()
    start = time.perf_counter()
    with closing(ArchiveClient(job.step, workspace, fresh=job.fresh)) as client:
        _ask(workspace, job, client, claims, landing)
    _store(workspace, job, landing)
    seconds = (time.perf_counter() - start) / len(claims)
    outcomes = [
        _outcome(claim, landing, seconds, simulated=job.step.origin == "simulated", survey=_place(job.step))
        for claim in claims
    ]
    try:
        return _finish(workspace, job, worker, outcomes, landing)
    except OperationalError:  # maybe only the reply to the commit was lost
        workspace.database.recover()
        with workspace.database.session() as session:
            ended = settled(session, job.run_id, outcomes)
        return ended or _finish(workspace, job, worker, outcomes, landing)


def _finish(
    workspace: Workspace, job: Job, worker: str, outcomes: Sequence[Outcome], landing: _Landing
) -> Counter[str]:
    with workspace.database.session() as session, session.begin():
        mine = owned(session, worker, outcomes)
        _replace_answers(session, mine, landing, by_units=bool(job.step.levels))
        _note_listing(session, mine, landing)
        mark(session, job.run_id, mine)
    return Counter(o.status for o in mine)


def _ask(
    workspace: Workspace, job: Job, client: ArchiveClient, claims: Sequence[Claim], landing: _Landing
) -> None:
    try:
        _land(workspace, job, client, claims, landing)
    except (DiskFull, TaskLost):
        raise
    except Exception as error:  # noqa: BLE001 - the border between one batch or target and the others
        if len(claims) == 1:
            landing.errors[claims[0].task_id] = error
            return
        landing.raws.clear()
        landing.errors.clear()
        for claim in claims:
            _ask(workspace, job, client, [claim], landing)


def _land(
    workspace: Workspace, job: Job, client: ArchiveClient, claims: Sequence[Claim], landing: _Landing
) -> None:
    by_name = {(claim.target.namespace, claim.target.name): claim for claim in claims}
    # before the files are read: what changes meanwhile shows in the next run
    for target, listed in listings(job.step, [claim.target for claim in claims], client):
        landing.listed[by_name[target.namespace, target.name].task_id] = listed
    for target, thing in fetch(job.step, [claim.target for claim in claims], client):
        claim = by_name[target.namespace, target.name]
        if isinstance(thing, BaseException):
            landing.errors[claim.task_id] = thing
            continue
        if isinstance(thing, Missing):
            landing.missing[claim.task_id] = thing.reason
            continue
        if isinstance(thing, Known):
            unit = job.step.instance.unit(RawRef(thing.archive_id, thing.format, bytes, header=thing.header))
            link = _Link(_owner_of(workspace, job.step, claim, thing), thing.raw_id, unit)
            landing.links.setdefault(claim.task_id, []).append(link)
            continue
        landing.raws.append((claim, thing))
        if thing.content is not None and thing.content is not landing.content:
            landing.content, landing.written = thing.content, None
            landing.size += len(thing.content)
        if landing.due():
            _store(workspace, job, landing)


def _owner_of(workspace: Workspace, step: Step, claim: Claim, known: Known) -> int:
    """Return the source whose raw data these are."""
    if known.owner is None:
        return claim.source_id
    with workspace.database.session() as session, session.begin():
        return _insert_owners(session, step, [known.owner])[known.owner.name]


def _place(step: Step) -> str:
    """Say where a step looks for data."""
    places = {
        "folder": f"the archive folder of {step.plugin}",
        "simulated": f"the simulator of {step.plugin}",
    }
    return places.get(step.origin, f"the archive of {step.plugin}")


def _outcome(claim: Claim, landing: _Landing, seconds: float, *, simulated: bool, survey: str) -> Outcome:
    inputs = hash_inputs(claim.row_sha, [])
    if error := landing.errors.get(claim.task_id):
        return Outcome.failure(claim, error, seconds=seconds, inputs=inputs)
    ids = [link.raw_id for link in landing.links.get(claim.task_id, [])]
    if ids:
        return Outcome(claim, "done", seconds=seconds, inputs=inputs, raw_ids=ids, simulated=simulated)
    reason = landing.missing.get(claim.task_id) or f"{survey} has nothing of it"
    return Outcome(claim, "empty", seconds=seconds, inputs=inputs, simulated=simulated, reason=reason)


def _replace_answers(
    session: Session, outcomes: Sequence[Outcome], landing: _Landing, *, by_units: bool
) -> None:
    """Let each done task point at the raw data of this answer, and no longer at those of an older one.

    What landed of a task that failed is not lost to a survey of units: each of them is whole by itself, and one bad
    exposure stops no other. A light curve with a part missing would be wrong, and waits.
    """
    good = [o.claim.task_id for o in outcomes if o.status != "failed"]
    if good:
        session.execute(text("DELETE FROM source_raw WHERE task_id = ANY(:ids)"), {"ids": good})
    linked = [o.claim.task_id for o in outcomes] if by_units else good
    links = sorted({(*link, task) for task in linked for link in landing.links.get(task, [])})
    if links:
        names = ("source_id", "raw_data_id", "unit", "task_id")
        upsert_rows(
            session,
            table_of(SourceRaw),
            dict(zip(names, map(list, zip(*links, strict=True)), strict=True)),
            key=["source_id", "raw_data_id", "task_id"],
            update=["unit"],
        )


def _note_listing(session: Session, outcomes: Sequence[Outcome], landing: _Landing) -> None:
    """Write down what the archive listed of each task that ended well, for `inputs` to compare with."""
    good = [o.claim.task_id for o in outcomes if o.status != "failed" and o.claim.task_id in landing.listed]
    if good:
        session.execute(
            text("""UPDATE task t SET listed = c.listed
            FROM unnest(CAST(:ids AS bigint[]), CAST(:listed AS text[])) c(id, listed) WHERE t.id = c.id"""),
            {"ids": good, "listed": [landing.listed[task_id] for task_id in good]},
        )


def _store(workspace: Workspace, job: Job, landing: _Landing) -> None:
    """Write what has landed into files and commit its rows."""
    if not landing.raws:
        return
    raws, landing.raws, landing.size, landing.since = landing.raws, [], 0, time.monotonic()
    raws = _readable(workspace.store, raws, landing)
    if not raws:
        return
    placed = _write(workspace.store, job.step, raws, landing)
    with workspace.database.session() as session, session.begin():
        ids = _insert(session, job.step, raws, placed)
        owners = _insert_owners(session, job.step, [raw.owner for _, raw in raws if raw.owner is not None])
    unit = job.step.instance.unit if job.step.levels else None
    for (claim, raw), raw_id in zip(raws, ids, strict=True):
        owner = claim.source_id if raw.owner is None else owners[raw.owner.name]
        link = _Link(owner, raw_id, unit(RawRef.of(raw)) if unit else "")
        landing.links.setdefault(claim.task_id, []).append(link)


def _readable(store: Store, raws: Sequence[tuple[Claim, Raw]], landing: _Landing) -> list[tuple[Claim, Raw]]:
    """Return what landed without the files of a folder that cannot be read: these are errors of their tasks alone."""
    good = []
    for claim, raw in raws:
        if raw.in_place and raw.path is not None:
            try:
                store.register(raw.path)
            except InvalidFile as error:
                landing.errors.setdefault(claim.task_id, error)
                continue
        good.append((claim, raw))
    return good


def _insert_owners(session: Session, step: Step, cameras: Sequence[Target]) -> dict[str, int]:
    """Insert the sources of raw data that are not the targets': cameras. Return their ids by name."""
    owners = {owner.name: owner for owner in cameras}
    if not owners:
        return {}
    rows = upsert_rows(
        session,
        table_of(Source),
        {
            "namespace": [owner.namespace or step.plugin for owner in owners.values()],
            "name": list(owners),
            "kind": [owner.kind for owner in owners.values()],
            "extra": [plain(owner.extra) for owner in owners.values()],
            "row_sha": [row_sha(owner) for owner in owners.values()],
        },
        key=["namespace", "name"],
        update=["kind"],
        returning=["id"],
    )
    return dict(zip(owners, (row[0] for row in rows), strict=True))


def _write(
    store: Store, step: Step, raws: Sequence[tuple[Claim, Raw]], landing: _Landing
) -> list[tuple[FileRecord, str, str]]:
    """Return (file, dataset, sha256 of the bytes) of each piece of raw data."""
    folder = f"raw/{step.plugin}/{_cell(raws[0][0])}"
    blocks: list[tuple[str, bytes]] = []
    places: list[QueryRow] = []
    for number, (claim, raw) in enumerate(raws):
        if raw.content is not None:
            if raw.content is landing.content and landing.written is not None:
                places.append(landing.written)
                continue
            if not blocks or raw.content is not blocks[-1][1]:  # not another part of the file before
                blocks.append((f"{safe_name(claim.target.name)}/{number:06d}", raw.content))
            places.append(len(blocks) - 1)
            continue
        assert raw.path is not None
        file = (
            store.register(raw.path)
            if raw.in_place
            else store.adopt(raw.path, folder, suffix=raw.path.suffix)
        )
        places.append((file, "", file.sha256))
    if blocks:
        written = store.write_blocks(folder, blocks)
        refs = [(written.file, ref.key, ref.checksum or "") for ref in written.blocks]
        if blocks[-1][1] is landing.content:
            landing.written = refs[-1]
        return [refs[p] if isinstance(p, int) else p for p in places]
    return places


def _cell(claim: Claim) -> str:
    """Return the sky cell of a claim's target: its HEALPix pixel of order 3."""
    return "none" if claim.hpx is None else f"{claim.hpx >> 2 * (29 - 3):03d}"


def _insert(
    session: Session,
    step: Step,
    raws: Sequence[tuple[Claim, Raw]],
    placed: Sequence[tuple[FileRecord, str, str]],
) -> list[int]:
    files = file_ids(session, (file for file, _, _ in placed))
    identity: dict[tuple[Value, ...], int] = {}
    keys = []
    for (_, raw), (_, _, digest) in zip(raws, placed, strict=True):
        keys.append((step.plugin, step.origin, step.archive, raw.archive_id, raw.key, digest))
        identity.setdefault(keys[-1], len(keys) - 1)
    unique = [(raws[n][1], placed[n]) for n in identity.values()]
    columns: dict[str, list[Value]] = {
        "observatory": [step.plugin] * len(unique),
        "origin": [step.origin] * len(unique),
        "archive": [step.archive] * len(unique),
        "archive_id": [raw.archive_id for raw, _ in unique],
        "key": [raw.key for raw, _ in unique],
        "sha256": [digest for _, (_, _, digest) in unique],
        "block": [block for _, (_, block, _) in unique],
        "file_id": [files[file.path] for _, (file, _, _) in unique],
        "format": [raw.format for raw, _ in unique],
        "simulated": [step.origin == "simulated"] * len(unique),
        "header": [plain(raw.header) for raw, _ in unique],
        **{name: [plain(raw.obscore.get(name)) for raw, _ in unique] for name in OBSCORE},
        "obscore": [
            {name: plain(value) for name in FURTHER if (value := raw.obscore.get(name)) is not None}
            for raw, _ in unique
        ],
    }
    survey = step.instance
    for name, usual in (("facility_name", survey.facility), ("instrument_name", survey.instrument)):
        columns[name] = [value or usual or None for value in columns[name]]
    columns["hpx"] = cells_of(columns["s_ra"], columns["s_dec"])
    rows = upsert_rows(
        session,
        table_of(RawData),
        columns,
        key=["observatory", "origin", "archive", "archive_id", "key", "sha256"],
        update=["file_id", "block"],
        returning=["id"],
    )
    by_identity = {key: row[0] for key, row in zip(identity, rows, strict=True)}
    return [by_identity[key] for key in keys]
