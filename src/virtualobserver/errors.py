"""Exceptions of the package.

::

    VirtualObserverError
    ├── ConfigError (ValueError)         the YAML file or an override is wrong
    │   └── UnknownKeyError              a key nobody knows; names the nearest one
    ├── PluginError                      a survey or analysis cannot be found or breaks its contract
    ├── CatalogError (ValueError)        a target list cannot be used
    ├── ArchiveError                     something between us and an archive
    │   ├── ArchiveUnavailable           time-out, 5xx, 429, connection lost   (retryable)
    │   ├── IncompleteDownload           shorter, longer or other than promised (retryable)
    │   ├── ArchiveRefused               401, 403, 404 and other 4xx, TLS       (permanent)
    │   ├── ArchiveAnswerError           a 200 answer that is an error inside   (permanent)
    │   └── ArchiveOverflow              the answer was cut by a row limit      (permanent)
    ├── DataError (ValueError)           what a file or an array holds is wrong
    │   ├── InvalidFile                  truncated, mislabelled, unreadable
    │   ├── BadKeyword                   header keyword or column missing or impossible
    │   ├── NoMatch                      stars of a frame and of a catalogue do not fall on each other
    │   └── NotEnoughData                nothing to compute from
    ├── StoreError (OSError)             files under the data folder
    │   ├── DiskFull
    │   ├── ChecksumMismatch
    │   ├── UnsafePath                   a name that would leave the data folder
    │   └── ProductDropped               the row stands, the file was dropped; says how to remake it
    ├── DatabaseError
    │   ├── QueryError                   a query of somebody is refused, wrong, or took too long
    │   ├── ServerError                  PostgreSQL cannot be started or reached
    │   └── SchemaMismatch               the database has another schema version; says the command
    ├── ProgramError                     an external program is missing, failed or took too long; says which package
    └── RunError                         a run cannot go on
        └── TaskLost                     another worker took the task over

    UserWarning
    └── LostFact                         another form cannot hold a fact, which is named and left out

Every class has a ``kind``, which a failed task carries: ``retryable`` (the next run tries again and may
well succeed), ``permanent`` (something has to change first) or ``no data``.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ArchiveAnswerError",
    "ArchiveError",
    "ArchiveOverflow",
    "ArchiveRefused",
    "ArchiveUnavailable",
    "BadKeyword",
    "CatalogError",
    "ChecksumMismatch",
    "ConfigError",
    "DataError",
    "DatabaseError",
    "DiskFull",
    "IncompleteDownload",
    "InvalidFile",
    "LostFact",
    "NoMatch",
    "NotEnoughData",
    "PluginError",
    "ProductDropped",
    "ProgramError",
    "QueryError",
    "RunError",
    "SchemaMismatch",
    "ServerError",
    "StoreError",
    "TaskLost",
    "UnknownKeyError",
    "UnsafePath",
    "VirtualObserverError",
]


class VirtualObserverError(Exception):
    """Base of every error this package raises on purpose."""

    kind: ClassVar[str] = "permanent"


class ConfigError(VirtualObserverError, ValueError):
    """The configuration is wrong; the message names file, line and key."""


class UnknownKeyError(ConfigError):
    """A configuration key that nothing knows."""


class PluginError(VirtualObserverError):
    """A survey or an analysis is missing or breaks its contract."""


class CatalogError(VirtualObserverError, ValueError):
    """A target list cannot be used."""


class ArchiveError(VirtualObserverError):
    """Something went wrong between us and an archive."""


class ArchiveUnavailable(ArchiveError):
    """The archive did not answer in time, or said to come back later."""

    kind = "retryable"


class IncompleteDownload(ArchiveError):
    """A body shorter, longer or other than the archive promised."""

    kind = "retryable"


class ArchiveRefused(ArchiveError):
    """The archive understood the request and declined it."""


class ArchiveAnswerError(ArchiveError):
    """The archive answered 200 with an error inside the body."""


class ArchiveOverflow(ArchiveError):
    """The archive cut its answer at a row limit."""


class DataError(VirtualObserverError, ValueError):
    """The content of a file or an array is wrong."""


class InvalidFile(DataError):
    """A file that is truncated, mislabelled or unreadable."""


class BadKeyword(DataError):
    """A header keyword or a column is missing or has an impossible value."""


class NoMatch(DataError):
    """The stars of a frame and those of a catalogue do not fall on each other."""


class NotEnoughData(DataError):
    """There is nothing to compute from."""

    kind = "no data"


class StoreError(VirtualObserverError, OSError):
    """A file of the data folder cannot be written, found or trusted."""


class DiskFull(StoreError):
    """There is no room left for a file."""

    kind = "retryable"


class ChecksumMismatch(StoreError):
    """Stored bytes are not those that were written."""


class UnsafePath(StoreError):
    """A name would lead outside the data folder."""


class ProductDropped(StoreError):
    """The file of a product was dropped on purpose; its row stands."""


class DatabaseError(VirtualObserverError):
    """The database cannot be used."""


class QueryError(DatabaseError):
    """A query that the server refuses, does not understand, or ended at a time limit."""


class ServerError(DatabaseError):
    """PostgreSQL cannot be started or reached."""

    kind = "retryable"


class SchemaMismatch(DatabaseError):
    """The schema in the database is not the one this version works with."""


class ProgramError(VirtualObserverError):
    """An external program that the settings name is missing, ended with an error, or took too long."""

    kind = "retryable"


class RunError(VirtualObserverError):
    """A run cannot go on."""


class TaskLost(RunError):
    """Another worker took the task over; nothing of ours was committed."""

    kind = "retryable"


class LostFact(UserWarning):
    """A foreign type or format cannot hold something, and the message names what was left out."""
