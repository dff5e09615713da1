"""What is wrong with a configuration, said with file, line, path, unit and the nearest valid key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import pydantic
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from virtualobserver.config.settings import Settings, field_marks, model_in, names_of
from virtualobserver.config.tree import Tree, place_of
from virtualobserver.errors import ConfigError, UnknownKeyError

__all__ = ["translate", "unknown_key"]

_SHOWN: Final = 80
"""Characters of a value in a message: one line of a terminal."""


def unknown_key(place: str, path: str, valid: Iterable[str]) -> UnknownKeyError:
    """Make the error for a key that nothing knows.

    Parameters
    ----------
    place
        Where it stands: ``search.yaml:3:5``.
    path
        The key with its sections, dotted.
    valid
        The keys that could stand there.
    """
    known = list(valid)
    key = path.rpartition(".")[2]
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"valid here: {', '.join(sorted(known)) or 'nothing'}"
    return UnknownKeyError(f"{place}: {path}: unknown key {key!r}; {hint}")


def translate(
    error: pydantic.ValidationError,
    tree: Tree,
    model: type[pydantic.BaseModel],
    *,
    label: str,
    prefix: Sequence[str] = (),
) -> ConfigError:
    """Turn pydantic's report into one error, a line for each thing that is wrong.

    Parameters
    ----------
    error
        The report.
    tree
        The configuration, which knows the places.
    model
        The class that was to be made.
    label
        What to call the configuration where no line can be named.
    prefix
        The section that `model` was made from.
    """
    lines: list[tuple[list[int], str]] = []
    unknown = False
    for detail in error.errors(include_url=False):
        field, parent, names = _walk(model, detail["loc"])
        path = ".".join(str(part) for part in (*prefix, *names))
        place = place_of(tree, (*prefix, *names), default=label)
        if detail["type"] == "extra_forbidden":
            unknown = True
            hint = _where(str(names[-1]), parent, model)
            line = f"{place}: {path}: {hint}" if hint else str(unknown_key(place, path, names_of(parent)))
        else:
            line = f"{place}: {path or 'project'}: {_reason(detail, field)}"
        lines.append(([int(number) for number in re.findall(r":(\d+)", place)], line))
    text = "\n".join(dict.fromkeys(line for _, line in sorted(lines)))
    return UnknownKeyError(text) if unknown else ConfigError(text)


def _walk(
    model: type[pydantic.BaseModel], loc: Sequence[int | str]
) -> tuple[FieldInfo | None, type[pydantic.BaseModel], list[int | str]]:
    """Follow an error's location down the classes; leave out what pydantic adds for unions."""
    names: list[int | str] = []
    field: FieldInfo | None = None
    inside: type[pydantic.BaseModel] | None = model
    parent = model
    for part in loc:
        if inside is not None:
            parent = inside
            name = names_of(inside).get(str(part), str(part))
            field = inside.model_fields.get(name)
            names.append(name)
            inside = model_in(field.annotation) if field is not None else None
        elif isinstance(part, int):
            names.append(part)
    return field, parent, names


def _where(key: str, parent: type[pydantic.BaseModel], model: type[pydantic.BaseModel]) -> str:
    """Return where a key that does not belong here has its place, or what stands for it; empty if nobody knows."""
    for group in (parent, model):
        if issubclass(group, Settings) and key in group.older:
            return f"{key} is no key here; {group.older[key]}"
    found = [path for path, group in _groups(model) if key in names_of(group)]
    if len(found) != 1:
        return ""
    return f"{key} does not stand here but below {found[0]}" if found[0] else f"{key} stands one level higher"


def _groups(
    model: type[pydantic.BaseModel], path: tuple[str, ...] = ()
) -> Iterator[tuple[str, type[pydantic.BaseModel]]]:
    """Yield a group of settings and all within it, each with its path."""
    yield ".".join(path), model
    for name, field in model.model_fields.items():
        inner = model_in(field.annotation)
        if inner is not None:
            yield from _groups(inner, (*path, name))


def _reason(detail: ErrorDetails, field: FieldInfo | None) -> str:
    if detail["type"] == "missing":
        about = f" ({field.description})" if field is not None and field.description else ""
        return f"is required{about}"
    if (said := _of_kind(detail)) is not None:
        return said
    reason = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    unit = field_marks(field).unit if field is not None else None
    given = f", got {_short(detail['input'])}" if _worth_showing(detail) else ""
    if unit and "number, not the text" in reason:
        return f"{reason}; write the number alone, it counts {unit}"
    return f"{reason}{f' [{unit}]' if unit else ''}{given}"


def _of_kind(detail: ErrorDetails) -> str | None:
    """Return what is wrong where a value is of another kind altogether; None where pydantic's words will do."""
    given = detail["input"]
    if detail["type"] in {"model_type", "dataclass_type", "dict_type"}:
        is_what = "a list" if isinstance(given, list | tuple) else f"the value {_short(given)}"
        return f"should be a section, a line `key: value` for each of its keys, not {is_what}"
    if detail["type"] == "string_type" and isinstance(given, int | float):
        return f"should be text, not the number {given}: put it in quotes, '{given}'"
    if detail["type"] == "string_type" and given is None:
        return "should be text, and nothing stands there; give it, or leave the key out"
    return None


def _worth_showing(detail: ErrorDetails) -> bool:
    return detail["type"] != "value_error" and not isinstance(detail["input"], pydantic.BaseModel)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
