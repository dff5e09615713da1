"""What a worker is told, what it holds of one task, and what became of it before it is committed."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from hashlib import sha256
from typing import Any

from virtualobserver.config.credentials import known_secrets, scrub
from virtualobserver.config.digest import canonical
from virtualobserver.data.plain import plain
from virtualobserver.data.product import Product, Target
from virtualobserver.data.result import Result
from virtualobserver.errors import VirtualObserverError
from virtualobserver.run.steps import Step
from virtualobserver.simulate import InjectionOutcome
from virtualobserver.typing import QueryRow

__all__ = ["Claim", "Job", "Outcome", "hash_inputs", "row_sha", "target_of"]

_FACTS = tuple(field.name for field in fields(Target))


def hash_inputs(row_sha: str, items: Sequence[str]) -> str:
    """Return the hash of everything a task is made from; planning computes the same in SQL."""
    return sha256(f"{row_sha}|{','.join(sorted(items))}".encode()).hexdigest()


def row_sha(target: Target) -> str:
    """Return the hash of what steps see of a target; a change makes its tasks stale."""
    facts = {name: plain(getattr(target, name)) for name in _FACTS}
    return sha256(canonical(facts).encode()).hexdigest()


@dataclass(frozen=True)
class Job:
    """What a worker has to know to do a batch, apart from the ids.

    `planned` is the database's time when the driver listed the tasks: a task that ended later was done by a
    driver beside this one. `fresh` asks archives anew, whatever was kept of their answers.
    """

    root: str
    url: str | None = field(repr=False)  # may hold a password, and a cluster logs what it is given
    step: Step
    run_id: int
    lease: float = 60.0
    number: int = 0
    planned: datetime | None = None
    fresh: bool = False


@dataclass(frozen=True)
class Claim:
    """A task that this worker holds."""

    task_id: int
    source_id: int
    unit: str
    attempts: int
    extent: int
    target: Target
    row_sha: str
    hpx: int | None = None


@dataclass(frozen=True)
class Outcome:
    """The end of one task: its results, or why there are none."""

    claim: Claim
    status: str
    seconds: float = 0.0
    inputs: str | None = None
    raw_ids: Sequence[int] = ()
    product_ids: Sequence[int] = ()
    simulated: bool = False
    products: Sequence[Product] = ()
    result: Result = field(default_factory=Result)
    input_products: Sequence[int | None] = ()
    injections: Sequence[InjectionOutcome] = ()
    extent: int = 0
    error: str | None = None
    error_kind: str | None = None
    traceback: str | None = None
    reason: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def failure(cls, claim: Claim, error: BaseException, *, seconds: float = 0.0, **fields: Any) -> Outcome:
        """Return the outcome of a task that raised `error`; secrets are masked."""
        kind = error.kind if isinstance(error, VirtualObserverError) else "permanent"
        secrets = known_secrets()
        lines = "".join(traceback.format_exception(error))
        return cls(
            claim,
            "failed",
            seconds=seconds,
            error=scrub(f"{type(error).__name__}: {error}", secrets=secrets),
            error_kind=kind,
            traceback=scrub(lines, secrets=secrets),
            **fields,
        )


def target_of(row: QueryRow) -> Target:
    """Return what surveys and analyses see of a row of ``source``."""
    return Target(
        name=row.name,
        ra=row.ra,
        dec=row.dec,
        epoch=row.epoch,
        pmra=row.pmra,
        pmdec=row.pmdec,
        parallax=row.parallax,
        mag=row.mag,
        mag_error=row.mag_error,
        mag_band=row.mag_band,
        aliases=tuple(row.aliases or ()),
        kind=row.kind,
        namespace=row.namespace,
        extra=row.extra or {},
    )
