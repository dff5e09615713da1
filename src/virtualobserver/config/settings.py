"""Settings: frozen, typed, documented field by field, unknown keys refused."""

from __future__ import annotations

import datetime
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

import pydantic
from pydantic.fields import FieldInfo

from virtualobserver.typing import Record, RecordDict, Value

__all__ = [
    "Bins",
    "Configured",
    "Date",
    "DateSpan",
    "Leaf",
    "NonNegativeRange",
    "Position",
    "PositiveRange",
    "Range",
    "Settings",
    "Site",
    "Size",
    "Span",
    "WholeSpan",
    "address",
    "field_marks",
    "leaves",
    "model_in",
    "names_of",
    "setting",
]

_NUMBERS: Final = frozenset({int, float})


Pair = tuple[float, float]
_Ends = TypeVar("_Ends", tuple[float, float], tuple[int, int], tuple[str, str])


def _rising(value: Pair) -> Pair:
    if not value[0] < value[1]:
        msg = f"needs two numbers, the smaller one first, not {list(value)}"
        raise ValueError(msg)
    return value


def _not_negative(value: Pair) -> Pair:
    if not 0 <= value[0] < value[1]:
        msg = f"needs two numbers, the smaller one first and not negative, not {list(value)}"
        raise ValueError(msg)
    return value


def _positive(value: Pair) -> Pair:
    if not 0 < value[0] <= value[1]:
        msg = f"needs two positive numbers, the smaller one first, not {list(value)}"
        raise ValueError(msg)
    return value


def _usable(value: tuple[float, float, float]) -> tuple[float, float, float]:
    if not (value[0] <= value[1] and value[2] > 0):
        msg = f"needs first centre, last centre and a positive step, not {list(value)}"
        raise ValueError(msg)
    return value


def _in_order(value: _Ends) -> _Ends:
    first, last = value
    if first > last:
        msg = (
            f"{first} is later than {last}; write the earlier one first"
            if isinstance(first, str)
            else f"{first} is larger than {last}; write the smaller one first"
        )
        raise ValueError(msg)
    return value


def _in_calendar(value: str) -> str:
    written = re.fullmatch(r"\d{4}-\d{2}-\d{2}", value) is not None
    try:
        datetime.date.fromisoformat(value if written else "")
    except ValueError:
        msg = f"{value!r} is no date{' of the calendar' if written else '; write YYYY-MM-DD'}"
        raise ValueError(msg) from None
    return value


def _on_earth(value: tuple[float, float, float]) -> tuple[float, float, float]:
    if not (-180 <= value[0] <= 360 and abs(value[1]) <= 90):
        msg = f"needs longitude (-180 to 360, east) and latitude (-90 to 90) in degrees, and height, not {list(value)}"
        raise ValueError(msg)
    return value


def _on_sky(value: Pair) -> Pair:
    if not (0 <= value[0] <= 360 and abs(value[1]) <= 90):
        msg = f"needs right ascension (0 to 360) and declination (-90 to 90) in degrees, not {list(value)}"
        raise ValueError(msg)
    return value


Range = Annotated[Pair, pydantic.AfterValidator(_rising)]
"""Two numbers, the smaller one first."""
NonNegativeRange = Annotated[Pair, pydantic.AfterValidator(_not_negative)]
"""Two numbers, the smaller one first, which may be 0."""
PositiveRange = Annotated[Pair, pydantic.AfterValidator(_positive)]
"""Two positive numbers, for what is drawn evenly in the logarithm; both the same give that one."""
Bins = Annotated[tuple[float, float, float], pydantic.AfterValidator(_usable)]
"""First centre, last centre and step of the bins of a histogram."""
Span = Annotated[Pair, pydantic.AfterValidator(_in_order)]
"""Two numbers, the smaller one first; both the same are that one alone."""
WholeSpan = Annotated[tuple[int, int], pydantic.AfterValidator(_in_order)]
"""Two whole numbers, likewise."""
Date = Annotated[str, pydantic.AfterValidator(_in_calendar)]
"""A day of the calendar, YYYY-MM-DD."""
DateSpan = Annotated[tuple[Date, Date], pydantic.AfterValidator(_in_order)]
"""First and last day."""
Size = tuple[pydantic.PositiveInt, pydantic.PositiveInt]
"""Rows and columns."""
Site = Annotated[tuple[float, float, float], pydantic.AfterValidator(_on_earth)]
"""Longitude (degrees, east), latitude (degrees) and height (m)."""
Position = Annotated[Pair, pydantic.AfterValidator(_on_sky)]
"""Right ascension and declination in degrees."""


class Settings(pydantic.BaseModel):
    """Base of every group of settings, the core's and the plug-ins'.

    Objects are frozen and refuse unknown keys, NaN and infinities. Text is never taken for a number, a number
    never for true or false. `older` says of keys of other programs that are none here what stands for each.
    """

    older: ClassVar[Mapping[str, str]] = types.MappingProxyType({})

    model_config = pydantic.ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_default=True,
        populate_by_name=True,
        protected_namespaces=(),
    )

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _keep_kinds_apart(cls, value: Value, info: pydantic.ValidationInfo) -> Value:
        field = cls.model_fields.get(info.field_name or "")
        if field is not None:
            _refuse_other_kind(value, frozenset(_leaf_types(field.annotation)))
        return value

    @pydantic.field_validator("*", mode="after")
    @classmethod
    def _keep_order(cls, value: Value, info: pydantic.ValidationInfo) -> Value:
        field = cls.model_fields.get(info.field_name or "")
        marks = None if field is None else field_marks(field)
        lower = None if marks is None else marks.above or marks.not_below
        limit = info.data.get(lower) if lower else None  # absent where it is wrong itself
        if marks is not None and limit is not None and value is not None:
            if marks.above and value <= limit:
                msg = f"{info.field_name} = {value} is not above {lower} = {limit}"
                raise ValueError(msg)
            if value < limit:
                msg = f"{info.field_name} = {value} is below {lower} = {limit}"
                raise ValueError(msg)
        return value


class Configured:
    """What has a class of settings: that which its bases name in brackets, unless its body names one.

    So ``class Mine(Analysis[TimeSeries, MySettings])`` tells people, type checkers and the run at once.
    """

    Settings: ClassVar[type[Any]] = Settings

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        if "Settings" in vars(cls):
            return
        for base in vars(cls).get("__orig_bases__", ()):
            for given in typing.get_args(base):
                if isinstance(given, type) and issubclass(given, Settings):
                    cls.Settings = given


def address(default: str | None, *, doc: str, **marks: Any) -> Any:
    """Declare the address of a service: another one is a mirror, a copy of an institute, or a server of tests.

    Part of what is fetched, unless `marks` says ``run_only``: what one server gave is not what another has.
    """
    marks = marks if "run_only" in marks else {"step": "fetch", **marks}
    return setting(default, doc=f"Address of {doc}", pattern=r"^https?://[^\s@/]+[^\s@]*$", **marks)


def setting(
    default: Any = ...,
    *,
    doc: str,
    unit: str | None = None,
    step: str | None = None,
    run_only: bool = False,
    aliases: tuple[str, ...] = (),
    path: bool = False,
    words: tuple[str, ...] = (),
    above: str | None = None,
    not_below: str | None = None,
    **limits: Any,
) -> Any:
    """Declare one setting.

    Parameters
    ----------
    default
        Its value where nothing is given; required if left out.
    doc
        What it does, for people; part of the reference page.
    unit
        The unit of the number, as astropy writes it.
    step
        The step whose results depend on it: ``fetch``, ``calibrate``, ``reduce``, ``analyse``, ``simulate``,
        or a sub-step such as ``reduce.photometry``. Without it, all steps of the plug-in do.
    run_only
        It changes how a run goes but no result (verbosity, workers, paths, rates): it enters no digest.
    aliases
        Older names that are still understood.
    path
        The value is a path, or a list of them: a relative one starts at the folder of the configuration file
        it stands in, and at the working folder if it comes from ``--set`` or from Python.
    words
        Values of such a setting that are no paths.
    above, not_below
        Name of a setting of the same group, declared before, that has to be smaller (or not larger) where both are set.
    **limits
        ``ge, gt, le, lt, min_length, max_length, pattern`` of `pydantic.Field`, or ``default_factory``.

    Returns
    -------
    pydantic.fields.FieldInfo
        Typed as anything, so that it can stand for the value.
    """
    if run_only and step is not None:
        msg = f"a setting of step {step!r} cannot be run_only: {doc}"
        raise ValueError(msg)
    extra: RecordDict = {"unit": unit, "step": step, "run_only": run_only, "aliases": list(aliases)}
    extra |= {"path": path, "words": list(words), "above": above, "not_below": not_below}
    extra = {key: value for key, value in extra.items() if value}
    if aliases:
        # The proper name is not known here; populate_by_name below adds it.
        limits["validation_alias"] = pydantic.AliasChoices(*aliases)
    if "default_factory" not in limits:
        limits["default"] = default
    return pydantic.Field(description=doc, json_schema_extra=extra, **limits)


@dataclass(frozen=True, slots=True)
class _Marks:
    unit: str | None
    step: str | None
    run_only: bool
    aliases: tuple[str, ...]
    path: bool
    words: tuple[str, ...]
    above: str | None
    not_below: str | None


def field_marks(field: FieldInfo) -> _Marks:
    """Return what `setting` was told of a field beside its limits (declared without it: nothing)."""
    extra: Record = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    return _Marks(
        unit=extra.get("unit"),
        step=extra.get("step"),
        run_only=bool(extra.get("run_only", False)),
        aliases=tuple(extra.get("aliases", ())),
        path=bool(extra.get("path", False)),
        words=tuple(extra.get("words", ())),
        above=extra.get("above"),
        not_below=extra.get("not_below"),
    )


def names_of(model: type[pydantic.BaseModel]) -> dict[str, str]:
    """Map every key a group of settings understands, old names included, to the proper one."""
    names: dict[str, str] = {}
    for name, field in model.model_fields.items():
        names |= dict.fromkeys(field_marks(field).aliases, name)
    return names | {name: name for name in model.model_fields}


def model_in(annotation: object) -> type[Settings] | None:
    """Return the group of settings that an annotation (or one side of its union) asks for, if any."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    if typing.get_origin(annotation) in {typing.Union, types.UnionType, typing.Annotated}:
        for part in typing.get_args(annotation):
            if (found := model_in(part)) is not None:
                return found
    return None


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value of resolved settings: its path, the value, the field that declares it."""

    path: tuple[str, ...]
    value: Value
    field: FieldInfo


def leaves(settings: pydantic.BaseModel, path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Walk over all values, down through nested groups of settings."""
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        here = (*path, name)
        if isinstance(value, pydantic.BaseModel):
            yield from leaves(value, here)
        elif isinstance(value, Mapping) and any(isinstance(each, Settings) for each in value.values()):
            for key, item in value.items():
                yield from leaves(item, (*here, str(key)))
        else:
            yield Leaf(here, value, field)


def _leaf_types(annotation: object) -> Iterator[Any]:
    origin = typing.get_origin(annotation)
    if origin is None:
        yield annotation
    elif origin is Literal:
        yield from {type(value) for value in typing.get_args(annotation)}
    elif origin is typing.Annotated:
        yield from _leaf_types(typing.get_args(annotation)[0])
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        yield from _leaf_types(typing.get_args(annotation)[1])  # keys are text in any file
    else:
        for part in typing.get_args(annotation):
            if part is not Ellipsis:
                yield from _leaf_types(part)


def _refuse_other_kind(value: object, kinds: frozenset[Any]) -> None:
    """Raise where pydantic would turn one kind of scalar into another without a word."""
    if isinstance(value, list | tuple | set | frozenset):
        for item in value:
            _refuse_other_kind(item, kinds)
        return
    if isinstance(value, Mapping):
        _refuse_other_kind(list(value.values()), kinds)
        return
    wanted = kinds - {type(None)}
    if isinstance(value, bool):
        if wanted & _NUMBERS and not wanted & {bool, Any}:
            msg = f"should be a number, not {str(value).lower()}"
            raise ValueError(msg)
    elif isinstance(value, int | float):
        if wanted == {bool}:
            msg = f"should be true or false, not the number {value}"
            raise ValueError(msg)
    elif isinstance(value, str) and wanted and wanted <= _NUMBERS | {bool}:
        msg = f"should be {'true or false' if wanted == {bool} else 'a number'}, not the text {value!r}"
        raise ValueError(msg)
