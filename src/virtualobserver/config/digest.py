"""Digests: the same settings give the same text of 64 characters, anywhere and at any time."""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath

import pydantic

from virtualobserver.config.settings import Settings, field_marks
from virtualobserver.errors import ConfigError
from virtualobserver.typing import RecordDict, Value

__all__ = ["canonical", "digest", "relevant"]


def canonical(value: object) -> str:
    """Write a value as JSON that depends on its content only.

    Keys are sorted, tuples become lists, sets sorted lists, paths text with ``/``, floats their shortest
    exact form.

    Raises
    ------
    ConfigError
        NaN, an infinity, a key that is not text, or a type that has no canonical form.
    """
    simple = _simple(value)
    return json.dumps(simple, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(step: str, plugin: str, version: str, settings: Settings, upstream: Sequence[str] = ()) -> str:
    """Digest what a step depends on, except data.

    Parameters
    ----------
    step
        ``fetch``, ``reduce``, ``reduce.photometry``, ``analyse``, ``simulate``; what follows a colon
        (``fetch:ztf``) is the plug-in's name and is ignored here.
    plugin, version
        Name and version of the plug-in.
    settings
        Its settings; only the fields that belong to the step are taken, see `relevant`.
    upstream
        Digests of the steps before, in any order.

    Returns
    -------
    str
        SHA-256 in hexadecimal.
    """
    family = step.partition(":")[0]
    content = {
        "step": family,
        "plugin": plugin,
        "version": version,
        "settings": relevant(settings, family),
        "upstream": sorted(upstream),
    }
    return hashlib.sha256(canonical(content).encode("ascii")).hexdigest()


def relevant(settings: pydantic.BaseModel, step: str) -> RecordDict:
    """Return the settings that enter the digest of a step, as nested dictionaries.

    A field marked ``run_only`` never does. A field marked with a step enters that step, its sub-steps and,
    for a sub-step's field, the step as a whole. A field without mark enters every step: to forget the
    mark costs a computation, never a wrong result.
    """
    return dict(_fields(settings, step, None))


def _fields(settings: pydantic.BaseModel, step: str, above: str | None) -> Iterator[tuple[str, Value]]:
    for name, field in type(settings).model_fields.items():
        marks = field_marks(field)
        if marks.run_only:
            continue
        own = marks.step or above
        value = getattr(settings, name)
        if _holds_settings(value):
            below = _below(value, step, own)
            if _filled(below) or _belongs(own, step):
                yield name, below
        elif _belongs(own, step):
            yield name, value


def _holds_settings(value: object) -> bool:
    if isinstance(value, Mapping):
        return bool(value) and all(isinstance(item, pydantic.BaseModel) for item in value.values())
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(item, pydantic.BaseModel) for item in value)
    return isinstance(value, pydantic.BaseModel)


def _below(value: Value, step: str, above: str | None) -> Value:
    if isinstance(value, pydantic.BaseModel):
        return dict(_fields(value, step, above))
    if isinstance(value, Mapping):
        named = {key: dict(_fields(item, step, above)) for key, item in value.items()}
        return named if any(named.values()) or _belongs(above, step) else {}
    return [dict(_fields(item, step, above)) for item in value]


def _filled(below: object) -> bool:
    return any(below) if isinstance(below, list) else bool(below)


def _belongs(own: str | None, step: str) -> bool:
    if own is None or own == step:
        return True
    return step.startswith(f"{own}.") or own.startswith(f"{step}.")


def _simple(value: object) -> Value:
    if isinstance(value, enum.Enum):
        return _simple(value.value)
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Mapping):
        return _simple_mapping(value)
    if isinstance(value, list | tuple):
        return [_simple(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((_simple(item) for item in value), key=canonical)
    return _simple_scalar(value)


def _simple_mapping(value: Mapping[Value, Value]) -> RecordDict:
    for key in value:
        if not isinstance(key, str):
            msg = f"the key {key!r} of a setting is not text, so it has no canonical form"
            raise ConfigError(msg)
    return {str(key): _simple(item) for key, item in value.items()}


def _simple_scalar(value: object) -> Value:
    if isinstance(value, float):
        if not math.isfinite(value):
            msg = f"{value} cannot be a setting; use None for no limit"
            raise ConfigError(msg)
        return float(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, pydantic.BaseModel):
        return {name: _simple(getattr(value, name)) for name in type(value).model_fields}
    if hasattr(value, "tolist"):  # a NumPy scalar or array
        return _simple(value.tolist())
    msg = f"a setting of type {type(value).__name__} has no canonical form"
    raise ConfigError(msg)
