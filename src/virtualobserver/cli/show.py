"""Printing: tables in several formats, numbers that fit a screen, progress."""

from __future__ import annotations

import contextlib
import json
import math
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from virtualobserver.cli.options import Tabular
from virtualobserver.typing import Value
from virtualobserver.words import legible

if TYPE_CHECKING:
    import pandas as pd

    from virtualobserver.db.reader import Answer
    from virtualobserver.run.project import Project

__all__ = [
    "SCREEN_ROWS", "Format", "LineReporter", "Reporter", "called", "check_binary", "chosen", "console", "note",
    "note_if_not_run", "open_project", "print_answer", "print_frame", "print_json", "reporting", "tell_cut", "to_json",
]  # fmt: skip

SCREEN_ROWS = 1000
"""Rows of a table for people: more than anybody reads, and few enough to be laid out at once."""


class Format(StrEnum):
    """How to print a table."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


def chosen(form: Tabular, *, as_json: bool) -> Format:
    """Return how to print, of the options ``--format`` and ``--json``.

    Raises
    ------
    typer.BadParameter
        If both are given, or Parquet would go to a terminal.
    """
    if as_json and form is not Tabular.table:
        raise typer.BadParameter("either --json or --format", param_hint="--json")
    found = Format.json if as_json else Format(form.value)
    check_binary(found)
    return found


def console(*, err: bool = False) -> Console:
    """Return a console on standard output, or on standard error."""
    return Console(stderr=err, highlight=False, soft_wrap=not err)


def note(text: str) -> None:
    """Print a remark on standard error, where it does not get into a table."""
    typer.echo(legible(text, keep="\n\t"), err=True)


def note_if_not_run(project: Project, config: str) -> None:
    """Say where a project has not run with this data folder, or that other settings ran last, whose results are shown.

    Messages name the project as `called` does.
    """
    from virtualobserver.run.views.stored import has_run, ran_last, trouble

    if why := trouble(project):
        note(f"vo: {project.name}: {why}; `vo status {config}` says more")
    if not has_run(project):
        place = project.workspace.root
        note(
            f"vo: {project.name} has not run with the data folder {place}: `vo run {config}`, or --data FOLDER"
        )
    elif not ran_last(project):
        note(
            f"vo: {project.name} did not run with these settings last: what is shown is of others; `vo run {config}`"
        )


def called(config: str, data: str | None, overrides: Sequence[str] | None = None) -> str:
    """Return what follows ``vo run`` and its like to mean the same project again: quoted, with options."""
    words = [config, *(word for one in overrides or () for word in ("--set", one))]
    return shlex.join([*words, *([] if data is None else ["--data", data])])


@contextlib.contextmanager
def open_project(config: str, *, data: str | None, overrides: list[str] | None = None) -> Iterator[Project]:
    """Open a project from a file, or from one of the configurations that come with the package."""
    from virtualobserver.config.shipped import find_config
    from virtualobserver.run.project import Project

    with Project.open(find_config(config), data=data, overrides=list(overrides or ())) as project:
        yield project


def print_frame(
    frame: pd.DataFrame, form: Format, *, columns: list[str] | None = None, title: str = ""
) -> None:
    """Print a table on standard output.

    Parameters
    ----------
    columns
        Those to show in the format for people; the others show all.
    """
    from virtualobserver.run.views.export import flat

    if form is Format.json:
        print_json(frame)
    elif form is Format.csv:
        typer.echo(flat(frame).to_csv(index=False), nl=False)
    elif form is Format.parquet:
        check_binary(form)
        flat(frame).to_parquet(sys.stdout.buffer, index=False)
    else:
        _print_table(frame if columns is None else frame[[name for name in columns if name in frame]], title)


def print_answer(answer: Answer, form: Format) -> bool:
    """Print the rows of a query on standard output while they come.

    Returns
    -------
    bool
        Whether all rows were printed: people get `SCREEN_ROWS` of them.
    """
    from virtualobserver.db.bulk import frame_of
    from virtualobserver.io import batches

    if form is Format.table:
        first = next(answer.batches, [])
        frame = frame_of(answer.names, answer.kinds, [first[:SCREEN_ROWS]] if first else [])
        _print_table(frame, "")
        return len(first) <= SCREEN_ROWS
    if form is Format.json:
        batches.write_json(sys.stdout, answer.names, answer.batches)
        return True
    schema = batches.schema_of(answer.names, answer.kinds)
    rows = batches.record_batches(schema, answer.kinds, answer.batches)
    if form is Format.csv:
        batches.write_csv(sys.stdout, schema, rows)
    else:
        check_binary(form)
        batches.write_parquet(sys.stdout.buffer, schema, rows)
    return True


def check_binary(form: Format) -> None:
    """Refuse to print Parquet on a terminal."""
    if form is Format.parquet and sys.stdout.isatty():
        raise typer.BadParameter(
            "Parquet is binary: send it to a file with > F.parquet", param_hint="--format"
        )


def tell_cut(rows: int | None = None) -> None:
    """Say that a table was cut."""
    of = "" if rows is None else f" of {rows}"
    note(
        f"the first {SCREEN_ROWS} rows{of} are shown; --format csv, --format parquet or --json gives all of them"
    )


def to_json(value: object) -> str:
    """Return anything as JSON: tables are lists of objects, numbers that are none null, times ISO 8601."""
    return json.dumps(_plain(value), ensure_ascii=False, indent=1, allow_nan=False, default=str)


def print_json(value: object) -> None:
    """Print anything as JSON on standard output."""
    typer.echo(to_json(value))


def _plain(value: object) -> Value:
    import numpy as np
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        return [_plain(row) for row in value.to_dict("records")]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    return value.isoformat() if isinstance(value, datetime) else value


def _print_table(frame: pd.DataFrame, title: str) -> None:
    shown = Table(title=Text(legible(title)) if title else None, box=box.SIMPLE_HEAD, title_justify="left")
    for name, dtype in frame.dtypes.items():  # names may be there twice
        number = dtype.kind in "iuf"
        shown.add_column(Text(legible(str(name))), justify="right" if number else "left", no_wrap=True)
    for row in frame.itertuples(index=False):
        # a text is shown as it stands: neither rich nor the terminal obeys what names and notes hold
        shown.add_row(*(Text(legible(_cell(value))) for value in row))
    out = console()
    if not out.is_terminal:  # into a file or a pipe nothing is cut
        out = Console(highlight=False, width=10_000)
    out.print(shown)


def _cell(value: Value) -> str:
    import pandas as pd

    if not isinstance(value, dict | list) and pd.isna(value):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.5f}".rstrip("0").rstrip(".") if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, dict | list):
        return json.dumps(value, default=str)
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC) if value.tzinfo else value:%Y-%m-%d %H:%M:%S}"
    return str(value)


class Reporter:
    """Shows how far each step is: done, empty, failed, and tasks per second."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._rows: dict[str, tuple[Value, float]] = {}
        self._mark = time.monotonic()
        self.seconds: dict[str, float] = {}

    def __call__(self, step: str, total: int, counts: Counter[str]) -> None:
        """Take the news of a batch."""
        if step not in self._rows:
            self._rows[step] = (self._bar.add_task(step, total=total, counts="", rate=""), self._mark)
        row, begin = self._rows[step]
        self._mark = time.monotonic()
        self.seconds[step] = self._mark - begin
        done = sum(counts.values())
        rate = f"{done / max(self.seconds[step], 1e-3):.0f}/s"
        self._bar.update(row, completed=min(done, total), total=total, counts=_words(counts), rate=rate)


class LineReporter:
    """Writes a line on standard error whenever a step has ended, and of long ones every half minute, as it goes."""

    def __init__(self) -> None:
        self._step = ""
        self._begin = self._told = time.monotonic()

    def __call__(self, step: str, total: int, counts: Counter[str]) -> None:
        """Take the news of a batch."""
        now = time.monotonic()
        if step != self._step:
            self._step, self._begin = step, self._told
        done = sum(counts.values())
        if done >= total or now - self._told >= _SILENCE:
            self._told = now
            note(f"{step}: {min(done, total)} of {total}: {_words(counts)} ({now - self._begin:.1f} s)")


_SILENCE: Final = 30.0
"""Seconds after which somebody who follows a file wants to know whether a long step is alive."""


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[name]} {name}" for name in ("done", "empty", "failed") if counts[name])


@contextlib.contextmanager
def reporting(*, quiet: bool = False) -> Iterator[Reporter | LineReporter]:
    """Show progress on standard error while the block runs: bars on a terminal, else a line for each step."""
    out = console(err=True)
    if not quiet and not out.is_terminal:
        yield LineReporter()
        return
    columns = (
        TextColumn("{task.description:<22}"), BarColumn(bar_width=24), MofNCompleteColumn(),
        TextColumn("{task.fields[counts]}"), TextColumn("{task.fields[rate]}"), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=out, disable=quiet) as bar:
        yield Reporter(bar)
