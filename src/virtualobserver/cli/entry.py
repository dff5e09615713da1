"""Start, signals, and how errors become one line and an exit code."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import resource
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, Final

import typer

from virtualobserver.cli import (
    admin,
    create,
    demo,
    listing,
    look,
    orbits,
    refcat,
    send,
    upload,
    verdicts,
    vet,
    work,
)
from virtualobserver.cli.show import note
from virtualobserver.errors import CatalogError, ConfigError, LostFact, PluginError, VirtualObserverError

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


for module in (demo, create, listing, work, look, vet, verdicts, send, upload, refcat, orbits, admin):
    module.register(app)

_PANELS: Final[Mapping[str, Sequence[str]]] = {
    "Begin": ("demo", "new", "list", "config"),
    "Search": ("run", "status", "log", "simulate"),
    "Look and judge": ("detections", "plot", "vet", "verdicts", "sql"),
    "Hand on": ("export", "send", "upload"),
    "Catalogues": ("refcat", "orbits"),
    "Keep house": ("verify", "sweep", "prune", "delete", "db"),
}
"""How `vo --help` puts the commands together: in the order in which one needs them."""
_PANEL: Final = {name: panel for panel, names in _PANELS.items() for name in names}
for command in app.registered_commands:
    command.rich_help_panel = _PANEL[str(command.name)]
for group in app.registered_groups:
    group.rich_help_panel = _PANEL[str(group.name)]


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; an error of ours is one line on standard error."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in itertools.takewhile(lambda word: word.startswith("-"), words)
    with _catching_termination(), _ending_statements():
        return _run(words, debug=debug)


def _run(words: list[str], *, debug: bool) -> int:
    command = typer.main.get_command(app)
    try:
        with _telling_losses():
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
        note(f"vo: {error}")
        return USAGE if isinstance(error, ConfigError | PluginError | CatalogError) else UNUSABLE
    except OSError as error:
        if debug:
            raise
        note(f"vo: {_of_system(error)}")
        return UNUSABLE
    except (MemoryError, ImportError) as error:
        if debug or not _is_memory(error):
            raise
        typer.echo(f"vo: {_out_of_memory(error)}", err=True)
        return UNUSABLE
    if code == INTERRUPTED:  # some versions of Typer return it, others raise
        typer.echo("Interrupted. What is done stays done: the same command goes on from here.", err=True)
    return code if isinstance(code, int) else OK


def _of_system(error: OSError) -> str:
    """Say what the system refused, where, and what to do; nothing that was done before is lost by it."""
    where = error.filename if isinstance(error.filename, str) else ""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"no room on the disk{f' for {where}' if where else ''}; make room, and give the same command again"
    if where and error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return (
            f"{where} cannot be used ({error.strerror}); give yourself the right to it, or name another place, "
            "and give the same command again"
        )
    if where and error.errno in {errno.EEXIST, errno.ENOTDIR}:
        return f"{where} is or lies below a file, and a folder is needed there; name another place"
    return str(error)


def _is_memory(error: BaseException) -> bool:
    # The loader of libraries knows no class of its own for it.
    words = ("failed to map segment", "cannot allocate memory", "Cannot allocate memory")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def _out_of_memory(error: BaseException) -> str:
    said = str(error) or type(error).__name__
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return f"out of memory ({said}); close other programs, or set a smaller run.batch or memory_limit"
    return (
        f"out of memory ({said}): a process may have {limit / 2**30:.1f} GiB of address space here; raise the "
        f"limit (`ulimit -v unlimited`), or ask the batch system for more"
    )


@contextlib.contextmanager
def _telling_losses() -> Iterator[None]:
    """Say in a line, once each, what a format or a table of plain columns cannot hold; an error says more than that."""
    told: dict[str, None] = {}

    def keep(message: Warning | str, category: type[Warning], *where: object, **more: object) -> None:
        if issubclass(category, LostFact):
            told[str(message)] = None
        else:
            others(message, category, *where, **more)

    with warnings.catch_warnings():
        others: Callable[..., None] = warnings.showwarning
        warnings.showwarning = keep
        warnings.simplefilter("always", LostFact)
        yield
    for text in told:
        note(text)


def _terminate(number: int, _: FrameType | None) -> None:
    # SystemExit unwinds: sessions close and the embedded server stops with its last user.
    raise SystemExit(128 + number)


@contextlib.contextmanager
def _ending_statements() -> Iterator[None]:
    """Have a signal end what runs on the database server.

    The driver of the database waits in C, where handlers written in Python are not reached. The C part of Python
    writes the number of a signal into a socket at once; a thread reads it there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard, told = socket.socketpair()
    told.setblocking(False)
    previous = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(heard,), name="signals", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        told.close()


def _listen(heard: socket.socket) -> None:
    with heard:
        while numbers := heard.recv(16):
            engine = sys.modules.get("virtualobserver.db.engine")
            if engine is not None and {signal.SIGINT, signal.SIGTERM, signal.SIGHUP} & set(numbers):
                engine.cancel_statements()


@contextlib.contextmanager
def _catching_termination() -> Iterator[None]:
    """Turn SIGTERM, and SIGHUP of a terminal that is closed, into SystemExit; only the main thread may."""
    previous: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup: it shall go on
                previous[number] = signal.signal(number, _terminate)
    try:
        yield
    finally:
        for caught, handler in previous.items():
            signal.signal(caught, signal.SIG_DFL if handler is None else handler)
