"""The command ``vo``: words in, tables and messages out. Computes nothing itself.

Every subcommand imports what it needs when it runs, so that ``vo --help`` is quick.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Parameters
    ----------
    arguments
        Words after ``vo``; by default those of the process.

    Returns
    -------
    int
        0 done, 1 some tasks failed, 2 the configuration or the command is wrong, 3 database, files or archive
        cannot be used, 130 interrupted.
    """
    from virtualobserver.cli.entry import run

    return run(arguments)
