"""Structured logs: what happens, as an event with named values, secrets masked.

The package logs through Python's own `logging`, below the name ``virtualobserver``: silent unless a program
asks for more, as the command line does with ``-v`` and ``--log-json``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final, TextIO

import structlog

from virtualobserver.config.credentials import known_secrets, scrub
from virtualobserver.errors import ConfigError
from virtualobserver.secrets import MASK, is_secret_name
from virtualobserver.typing import RecordDict, Value

__all__ = ["get_logger", "hide", "show"]

_ROOT: Final = "virtualobserver"
_EVENT: Final = "virtualobserver_event"
"""Attribute of a log record that holds the values of an event."""
_OF_HANDLERS: Final = frozenset({"event", "logger", "level", "timestamp", "exception"})
_ENDS: Final = ("reason", "error")
"""Values that end the sentence of an event."""
logging.getLogger(_ROOT).addHandler(logging.NullHandler())


def get_logger(name: str) -> Any:
    """Return a logger: ``log.warning("task failed", source="x", task=12)``.

    Parameters
    ----------
    name
        Of the module, ``__name__``.
    """
    return structlog.wrap_logger(
        logging.getLogger(name),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _mask,
            _as_record,
        ],
    )


def show(*, verbosity: int = 0, as_json: bool = False) -> logging.Handler:
    """Write the package's events to standard error.

    Parameters
    ----------
    verbosity
        0 shows warnings, 1 what is going on, 2 or more everything.
    as_json
        One JSON object per line, for machines.

    Returns
    -------
    logging.Handler
        What writes them; `hide` ends it.
    """
    last = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    handler = _Stderr()
    handler.setFormatter(_Events(last))
    logger = logging.getLogger(_ROOT)
    logger.addHandler(handler)
    logger.setLevel((logging.WARNING, logging.INFO, logging.DEBUG)[min(verbosity, 2)])
    return handler


def hide(handler: logging.Handler) -> None:
    """End what `show` began."""
    logger = logging.getLogger(_ROOT)
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what standard error is at that moment: progress bars put themselves before it and after."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        msg = "events are written to standard error"
        raise AttributeError(msg)


class _Events(logging.Formatter):
    """Writes the values of an event, or of a message that came by plain `logging`, with a renderer of structlog."""

    def __init__(self, render: structlog.types.Processor) -> None:
        super().__init__()
        self._render = render

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, or lines, of a record."""
        plain = {"event": record.getMessage(), "level": record.levelname.lower(), "logger": record.name}
        event = dict(getattr(record, _EVENT, plain))
        if record.exc_info:
            event.setdefault("exception", self.formatException(record.exc_info))
        return str(self._render(None, record.levelname.lower(), event))


def _as_record(_: object, __: str, event: MutableMapping[str, Value]) -> tuple[tuple[str], RecordDict]:
    """Turn an event into a record of `logging`: a sentence that any handler can show, and the values for our own.

    Logger, level and time are left out of the text, as every handler has them.
    """
    values = {
        key: value for key, value in event.items() if key not in _OF_HANDLERS and value not in ("", None)
    }
    ends = [str(values.pop(key)) for key in _ENDS if key in values]
    told = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in values.items())
    text = ": ".join([str(event.get("event", "")) + (f" ({told})" if told else ""), *ends])
    if event.get("exception"):
        text += f"\n{event['exception']}"
    return (text,), {"extra": {_EVENT: dict(event)}}


def _mask(_: object, __: str, event: MutableMapping[str, Value]) -> MutableMapping[str, Value]:
    """Take secrets out of every text of an event."""
    try:
        secrets = known_secrets()
    except ConfigError:  # the private file is refused: an error of its own, where it is needed
        secrets = ()
    return {name: _masked(value, name, secrets) for name, value in event.items()}


def _masked(value: object, name: str, secrets: Iterable[str]) -> Value:
    """Return a value of an event without secrets, whatever it is made of."""
    if isinstance(value, str):
        return MASK if is_secret_name(name, anywhere=True) else scrub(value, secrets=secrets)
    if isinstance(value, Mapping):
        return {key: _masked(item, str(key), secrets) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_masked(item, name, secrets) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return scrub(str(value), secrets=secrets)
