"""One row of what was measured, alike for all searches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from virtualobserver.maths.efficiency import Interval, wilson_interval

__all__ = ["Row", "markdown", "merged"]


@dataclass(frozen=True)
class Row:
    """How often something happened in data simulated apart from the search.

    Parameters
    ----------
    search, method
        Analysis and the method of its settings, e.g. ``transients`` and ``published``.
    case
        What was simulated, in words: ``flare of 30 d, S/N 5 per point``.
    what
        ``recall``, ``false alarms``, ``stated`` (the efficiency that the search states for the same case) …
    hits, tries
        How often, of how many.
    aim
        What is asked for, e.g. ``>= 0.95``; empty where nothing is.
    """

    search: str
    method: str
    case: str
    what: str
    hits: int
    tries: int
    aim: str = ""

    @property
    def fraction(self) -> float:
        """Hits of tries."""
        return self.hits / self.tries if self.tries else float("nan")

    @property
    def interval(self) -> Interval:
        """95 % Wilson interval of the fraction."""
        return wilson_interval([self.hits], [self.tries], confidence=0.95)


def markdown(rows: Iterable[Row]) -> str:
    """Return the rows as one Markdown table, with Wilson intervals of 95 %."""
    lines = [
        "| search | method | simulated | measured | found | fraction | 95 % interval | aim |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ends = row.interval
        lines.append(
            f"| {row.search} | {row.method} | {row.case} | {row.what} | {row.hits} of {row.tries} "
            f"| {row.fraction:.3f} | {ends.low[0]:.3f} to {ends.high[0]:.3f} | {row.aim} |"
        )
    return "\n".join(lines)


def merged(old: str, new: str) -> str:
    """Return one table of two: the rows of what was simulated anew for a search are those of `new`, in their place.

    Parameters
    ----------
    old, new
        As `markdown` makes them.
    """
    head, fresh = new.splitlines()[:2], new.splitlines()[2:]
    kept = [line for line in old.splitlines()[2:] if _measured(line) not in set(map(_measured, fresh))]
    # stable: those of one search stay in their order
    return "\n".join(head + sorted(kept + fresh, key=lambda line: _cells(line)[0]))


def _measured(line: str) -> tuple[str, ...]:
    """Return search, method and what was simulated: their rows belong together, since their words hold numbers."""
    return tuple(_cells(line)[:3])


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
