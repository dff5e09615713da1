"""Start, signals, and how errors become one line and an exit code."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

import typer

from virtualobserver.cli import admin, create, demo, listing, look, refcat, work
from virtualobserver.errors import CatalogError, ConfigError, PluginError, VirtualObserverError

__all__ = ["app", "run"]

# Typer brings its own copy of click, or uses the installed one: this is the class of either.
_COMMAND_ERROR: Any = typer.BadParameter.__mro__[2]
OK, FAILED, USAGE, UNUSABLE, INTERRUPTED = 0, 1, 2, 3, 130

app = typer.Typer(
    name="vo",
    help="Search astronomical surveys: from targets on the sky to vetted detections in a database.",
    epilog="Exit codes: 0 done, 1 some tasks failed, 2 wrong configuration or command, 3 database, files or "
    "archive cannot be used, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from virtualobserver import __version__

        typer.echo(f"virtualobserver {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),  # noqa: ARG001 - read by `run`
    verbose: int = typer.Option(
        0, "--verbose", "-v", count=True, help="Tell what is going on; -vv tells everything."
    ),
    log_json: bool = typer.Option(False, "--log-json", help="Tell it as JSON, one event per line."),
    version: bool = typer.Option(  # noqa: ARG001 - its callback works
        False, "--version", callback=_version, is_eager=True, help="Print the version and stop."
    ),
) -> None:
    """Search astronomical surveys: from targets on the sky to vetted detections in a database."""
    if verbose or log_json:
        from virtualobserver.config import log

        handler = log.show(verbosity=max(verbose, 1), as_json=log_json)
        context.call_on_close(lambda: log.hide(handler))


for module in (work, look, demo, listing, create, refcat, admin):
    module.register(app)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; an error of ours is one line on standard error."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in itertools.takewhile(lambda word: word.startswith("-"), words)
    previous = _catch_termination()
    try:
        return _run(words, debug=debug)
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


def _run(words: list[str], *, debug: bool) -> int:
    command = typer.main.get_command(app)
    try:
        code = command.main(words, prog_name="vo", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except _COMMAND_ERROR as error:
        error.show()
        return USAGE
    except BrokenPipeError:  # the reader, e.g. `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except VirtualObserverError as error:
        if debug:
            raise
        typer.echo(f"vo: {error}", err=True)
        return USAGE if isinstance(error, ConfigError | PluginError | CatalogError) else UNUSABLE
    except OSError as error:
        if debug:
            raise
        typer.echo(f"vo: {error}", err=True)
        return UNUSABLE
    if code == INTERRUPTED:  # some versions of Typer return it, others raise
        typer.echo("Interrupted. What is done stays done: the same command goes on from here.", err=True)
    return code if isinstance(code, int) else OK


def _terminate(number: int, _: FrameType | None) -> None:
    # SystemExit unwinds: sessions close and the embedded server stops with its last user.
    raise SystemExit(128 + number)


def _catch_termination() -> signal.Handlers | int | None:
    """Turn SIGTERM into SystemExit; only the main thread may."""
    if threading.current_thread() is not threading.main_thread():
        return None
    previous = signal.signal(signal.SIGTERM, _terminate)
    return signal.SIG_DFL if not isinstance(previous, signal.Handlers | int) else previous
