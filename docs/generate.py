"""Write the pages of the manual that come from the code: settings, schema, columns, methods of plug-ins, public names.

Run before Sphinx: ``PYTHONPATH=docs python docs/generate.py``. Nothing is written elsewhere than in
``docs/generated``. The pictures of the first page are drawn last, by ``docs/pictures.py``.
"""

from __future__ import annotations

import enum
import inspect
import json
import math
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import api
import pictures
import typer
from markdown_text import cell, first_paragraph, table
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sqlalchemy import CheckConstraint, Column, Index, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.schema import Constraint

from virtualobserver import plugins
from virtualobserver.analysis import Analysis
from virtualobserver.cli.entry import app
from virtualobserver.columns import COLUMNS
from virtualobserver.columns import Column as Described
from virtualobserver.config import ProjectSettings
from virtualobserver.models import Base
from virtualobserver.observatory import VirtualObservatory

GENERATED = Path(__file__).parent / "generated"
TYPE_NAMES = {
    "Any": "anything",
    "Path": "path",
    "bool": "true or false",
    "float": "number",
    "int": "integer",
    "str": "text",
}
CALLED = {"apply", "with_band_names"}  # methods that a plug-in has and does not write
KINDS: tuple[plugins.Kind, ...] = ("observatories", "analyses")


# -- commands -----------------------------------------------------------------------------------------------


def commands(command: Any, words: str = "vo") -> Iterator[tuple[str, Any]]:
    """Go through a command and those below it."""
    if children := getattr(command, "commands", None):
        for name, child in children.items():
            yield from commands(child, f"{words} {name}")
    else:
        yield words, command


def usage(words: str, command: Any) -> str:
    """Return how a command is called."""
    names = [p.metavar or p.name.upper() for p in command.params if p.param_type_name == "argument"]
    return " ".join([words, *(name.strip("[]") for name in names)])


def options_of(command: Any) -> list[str]:
    """Return the table of a command's options."""
    options = [p for p in command.params if p.param_type_name == "option"]
    return table(("option", "meaning"), [(" ".join(f"`{o}`" for o in p.opts), p.help or "") for p in options])


def ways_out() -> list[str]:
    """Return what each way out says of itself, and its options."""
    lines = ["See [ways out](../add_export.md).", ""]
    for name in plugins.names("exports"):
        plugin = plugins.load("exports", name)
        lines += [f"### {name}", "", first_paragraph(plugin), ""]
        rows = [field_row(key, field) for key, field in plugin.Settings.model_fields.items()]
        lines += table(("option", "type", "default", "range", "unit", "", "meaning"), rows)
    return lines


def commands_page() -> list[str]:
    """Return the page of the command line."""
    root = typer.main.get_command(app)
    lines = ["# Commands", "", first_paragraph(root.callback), "", *options_of(root)]
    for words, command in commands(root):
        lines += [f"## {words}", "", f"`{usage(words, command)}`", "", command.help or "", ""]
        lines += options_of(command)
        lines += ways_out() if words == "vo export" else []
    return [*lines, root.epilog or "", ""]


# -- settings -----------------------------------------------------------------------------------------------


def type_text(annotation: Any) -> str:
    """Return a type as a reader of YAML understands it."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_text(args[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_text(arg) for arg in args)
    if origin is typing.Literal:
        return " or ".join(f"`{arg}`" for arg in args)
    inner = [type_text(arg) for arg in args if arg is not Ellipsis]
    if origin is not None and issubclass(origin, Mapping):
        return f"section of {inner[-1]} by name"
    if origin is not None:
        return f"list of {', '.join(dict.fromkeys(inner))}"
    return plain_type_text(annotation)


def plain_type_text(annotation: Any) -> str:
    """Return a type that has no parameters as a reader of YAML understands it."""
    if annotation in (None, types.NoneType):
        return "null"
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return " or ".join(f"`{member.value}`" for member in annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    name = getattr(annotation, "__name__", str(annotation))
    return TYPE_NAMES.get(name, name)


def settings_inside(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the settings classes that a field's type mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for arg in typing.get_args(annotation):
        yield from settings_inside(arg)


def default_text(field: FieldInfo) -> str:
    """Return a default as it would stand in YAML."""
    if field.is_required():
        return "*required*"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "see below"
    if isinstance(value, enum.Enum):
        value = value.value
    return f"`{json.dumps(value, default=str, ensure_ascii=False)}`"


def bounds_text(field: FieldInfo) -> str:
    """Return the range of values allowed, e.g. ``> 0, <= 90``."""
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "multiple_of": "multiple of", "pattern": "pattern"}
    found = []
    for rule in field.metadata:
        for name, sign in signs.items():
            value = getattr(rule, name, None)
            if value is not None:
                found.append(f"{sign} `{value}`" if name == "pattern" else f"{sign} {value}")
    return ", ".join(found)


def extra_of(field: FieldInfo) -> dict[str, Any]:
    """Return unit, step and the like of a field."""
    return dict(field.json_schema_extra) if isinstance(field.json_schema_extra, dict) else {}


def field_row(name: str, field: FieldInfo) -> tuple[str, ...]:
    """Return the table row of one setting."""
    extra = extra_of(field)
    step = extra.get("step") or ("*no digest*" if extra.get("run_only") else "")
    key = f"`{name}`"
    meaning = (field.description or "").rstrip(".")
    return (
        key,
        type_text(field.annotation),
        default_text(field),
        bounds_text(field),
        extra.get("unit") or "",
        step,
        meaning,
    )


def settings_section(model: type[BaseModel], *, title: str, level: int = 2) -> list[str]:
    """Return the section of one settings class."""
    head = ("key", "type", "default", "range", "unit", "step", "meaning")
    rows = [field_row(name, field) for name, field in model.model_fields.items()]
    return [f"{'#' * level} {title}", "", first_paragraph(model), "", *table(head, rows)]


def nested(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield a settings class and all it contains, each with its dotted path in the file."""
    yield path, model
    for name, field in model.model_fields.items():
        for inner in settings_inside(field.annotation):
            yield from nested(inner, f"{path}.{name}" if path else name)


def configuration_page() -> list[str]:
    """Return the page of all settings."""
    lines = [
        "# Configuration reference", "",
        "Made from the settings classes; `vo config --schema` prints the same as a JSON schema, and",
        "`vo config FILE` the values a file resolves to. The column *step* names the step whose results a",
        "setting changes: editing it runs that step again and the ones after it, nothing else. Those marked",
        "*no digest* say how to run, not what comes out, and change nothing that is stored.", "",
    ]  # fmt: skip
    done: set[type[BaseModel]] = set()
    for path, model in nested(ProjectSettings):
        if model not in done and model.model_fields:
            done.add(model)
            lines += settings_section(model, title=f"`{path}`" if path else "Top level")
    for kind in KINDS:
        lines += [f"## `{kind}`", ""]
        for name in plugins.names(kind):
            for path, model in nested(plugins.settings_of(kind, name), f"{kind}.{name}"):
                lines += settings_section(model, title=f"`{path}`", level=3)
    return lines


# -- schema -------------------------------------------------------------------------------------------------


def column_row(column: Column[Any]) -> tuple[str, ...]:
    """Return the table row of one column."""
    keys = ["primary key"] if column.primary_key else []
    for key in column.foreign_keys:
        action = f", on delete {key.ondelete.lower()}" if key.ondelete else ""
        keys.append(f"to `{key.target_fullname}`{action}")
    kind = column.type.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
    return (
        f"`{column.name}`",
        kind.lower(),
        "yes" if column.nullable else "",
        "; ".join(keys),
        column.comment or "",
    )


def rule_text(rule: Constraint | Index) -> str | None:
    """Return a constraint or index in words, or None for those that the columns show."""
    if isinstance(rule, UniqueConstraint):
        return "unique: " + ", ".join(f"`{column.name}`" for column in rule.columns)
    if isinstance(rule, CheckConstraint):
        return f"check: `{cell(rule.sqltext)}`"
    if isinstance(rule, Index):
        kind = "unique index" if rule.unique else "index"
        return f"{kind}: " + ", ".join(
            f"`{getattr(part, 'name', None) or part}`" for part in rule.expressions
        )
    return None


def table_section(entity: Table) -> list[str]:
    """Return the section of one table."""
    head = ("column", "type", "may be null", "key", "meaning")
    lines = [f"## {entity.name}", "", entity.comment or "", ""]
    lines += table(head, (column_row(column) for column in entity.columns))
    rules = [rule_text(rule) for rule in (*entity.constraints, *entity.indexes)]
    return [*lines, *(f"- {text}" for text in sorted({rule for rule in rules if rule})), ""]


def schema_page() -> list[str]:
    """Return the page of all tables."""
    lines = [
        "# Schema", "",
        "Made from the models. The [database page](../database.md) tells how the tables hang together and",
        "which views to start from.", "",
    ]  # fmt: skip
    for entity in sorted(Base.metadata.tables.values(), key=lambda entity: str(entity.name)):
        lines += table_section(entity)
    return lines


# -- columns ------------------------------------------------------------------------------------------------


def described_row(key: str, column: Described) -> tuple[str, ...]:
    """Return the table row of one column of light curves, tables, views and exports."""
    low, high = (f"{value:g}" if math.isfinite(value) else "" for value in (column.low, column.high))
    limits = f"{low} to {high}" if low and high else f"from {low}" if low else f"to {high}" if high else ""
    time = ", ".join(part for part in (column.scale, column.place.lower()) if part)
    return f"`{key}`", column.unit, limits, time, f"`{column.ucd}`", column.description


def columns_page() -> list[str]:
    """Return the page of all columns."""
    lines = [
        "# Columns", "",
        "What the columns of light curves, tables, views and exports hold; `table.column` stands for a column that",
        "differs in one table. A table may say another unit for its own column, such as electrons for a flux.",
        "Units, UCDs and descriptions go into every export. Values outside of the range cannot be: where",
        "light curves and catalogues are read they are taken out, flagged and counted.", "",
    ]  # fmt: skip
    head = ("column", "unit", "possible", "time", "UCD", "meaning")
    return lines + table(head, (described_row(key, column) for key, column in COLUMNS.items()))


# -- hooks --------------------------------------------------------------------------------------------------


def hook_row(name: str, method: Any) -> tuple[str, str, str]:
    """Return the table row of one method that a plug-in may write."""
    parameters = [p for p in inspect.signature(method).parameters if p != "self"]
    need = "yes" if getattr(method, "__isabstractmethod__", False) else ""
    return (
        f"`{name}({', '.join(parameters)})`",
        need,
        re.split(r"(?<!e\.g)\.( |$)", first_paragraph(method))[0],
    )


def hooks_page() -> list[str]:
    """Return the page of the methods of surveys and analyses."""
    lines = [
        "# Methods of plug-ins", "",
        "What a survey or an analysis says with methods, in the order of the base classes; those that it has to",
        "write are marked, the others have a default that does for many. The pages on adding",
        "[a survey](../add_survey.md) and [an analysis](../add_analysis.md) tell how they work together.", "",
    ]  # fmt: skip
    for title, base in (("Surveys", VirtualObservatory), ("Analyses", Analysis)):
        methods = {
            name: getattr(base, name)
            for name, thing in vars(base).items()
            if not name.startswith("_")
            and name not in CALLED
            and (inspect.isfunction(thing) or isinstance(thing, staticmethod))
        }
        rows = (hook_row(name, method) for name, method in methods.items())
        lines += [
            f"## {title}",
            "",
            first_paragraph(base),
            "",
            *table(("method", "needed", "what it does"), rows),
        ]
    return lines


def main() -> None:
    """Write all pages, and draw all pictures."""
    GENERATED.mkdir(exist_ok=True)
    pages = {
        "commands": commands_page,
        "configuration": configuration_page,
        "schema": schema_page,
        "columns": columns_page,
        "hooks": hooks_page,
        "api": api.api_page,
        "maths": api.maths_page,
    }
    for name, page in pages.items():
        (GENERATED / f"{name}.md").write_text("\n".join(page()) + "\n", encoding="utf-8")
    pictures.main(GENERATED)


if __name__ == "__main__":
    main()
