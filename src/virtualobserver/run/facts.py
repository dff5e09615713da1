"""Facts in the plain form in which they are stored and hashed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from hashlib import sha256
from typing import Any

from virtualobserver.config.digest import canonical
from virtualobserver.data.product import Target

__all__ = ["clean", "row_sha", "target_of"]

_FACTS = tuple(field.name for field in fields(Target))


def clean(value: Any) -> Any:
    """Return `value` fit for JSONB: NumPy scalars as Python ones, NaN and infinities as None."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    elif hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(name): clean(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [clean(item) for item in value]
    return value


def row_sha(target: Target) -> str:
    """Return the hash of what steps see of a target; a change makes its tasks stale."""
    facts = {name: clean(getattr(target, name)) for name in _FACTS}
    return sha256(canonical(facts).encode()).hexdigest()


def target_of(row: Any) -> Target:
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
