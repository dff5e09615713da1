"""How many candidates there are of each sort: the numbers beside the filters of the queue."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from sqlalchemy import text

from virtualobserver.config.log import get_logger
from virtualobserver.typing import Record
from virtualobserver.web.queue import DATA, JUDGED, OF_CLASS, Filter, Viewer, among, ask

if TYPE_CHECKING:
    from virtualobserver.run.opened import Opened

__all__ = ["Entry", "Tallies", "Tally", "tally"]

_log = get_logger(__name__)

Entry = tuple[str, str, int, Filter]
"""Of a part of a filter: a value, what it is called, how many candidates it leads to, the filter that asks for it."""

SNR_STEPS: Final = (5.0, 7.0, 10.0, 20.0, 50.0)
"""Least S/N that is offered: where searches begin, where they are believed, and what nobody doubts."""
MAG_STEPS: Final = (12.0, 14.0, 16.0, 18.0, 20.0)
"""Magnitudes that are offered, from what spectra are taken of to what surveys just see."""
FRESH: Final = 20.0
"""Seconds for which a page may lack what others said; what I say counts at once."""
MOST: Final = 30
"""Tallies that are kept, one for each name, tag or limit that was asked for: bounds the memory."""
_LAST: Final = """
    SELECT coalesce((SELECT max(id) FROM classification), 0) AS verdict,
      coalesce((SELECT max(id) FROM detection), 0) AS detection"""
_FACETS: Final = ("analysis", "kind", "survey", "class", "data")
_STATE: Final[Mapping[str, Callable[[str, bool], bool]]] = {
    "open": lambda mine, _: mine == "",
    "nobody": lambda mine, theirs: mine == "" and not theirs,
    "mine": lambda mine, _: mine != "",
    "others": lambda _, theirs: theirs,
    "all": lambda *_: True,
}


@dataclass(frozen=True)
class _Cell:
    """What candidates have in common; `snr` and `mag` count the steps that are passed, `mag` None without one."""

    analysis: str
    kind: str
    survey: str
    class_: str
    data: str
    mine: str
    theirs: bool
    snr: int
    mag: int | None


@dataclass(frozen=True)
class Tally:
    """Numbers of candidates by all that a filter may ask for, but for names and tags.

    Parameters
    ----------
    cells
        How many candidates of each sort there are.
    snr, mag
        The steps in S/N and magnitude that sorts differ by, rising.
    """

    cells: Mapping[_Cell, int]
    snr: Sequence[float]
    mag: Sequence[float]

    def total(self, asked: Filter) -> int:
        """Return how many candidates a filter lets through."""
        return sum(number for _, number in self._passing(asked))

    def told(self, asked: Filter) -> dict[str, list[Entry]]:
        """Return for each part of a filter what it may be. Each part counts what the other parts let through."""
        told = {name: self._facet(name, asked) for name in _FACETS}
        told["judged"] = [
            (key, said, self.total(asked.but(judged=key)), asked.but(judged=key))
            for key, said in JUDGED.items()
        ]
        told["snr"] = [
            (f"{edge:g}", f"≥ {edge:g}", self.total(asked.but(snr=edge)),
             asked.but(snr=None if edge == asked.snr else edge))
            for edge in self.snr
        ]  # fmt: skip
        told["mag"] = [
            (f"{edge:g}", f"< {edge:g}", self.total(asked.but(faint=edge)),
             asked.but(faint=None if edge == asked.faint else edge))
            for edge in self.mag
        ]  # fmt: skip
        return told

    def after(self, row: Record, label: str) -> Tally:
        """Return the tally after I called a candidate something else; empty if I took back what I had said.

        Parameters
        ----------
        row
            Of the candidate as it was, of `virtualobserver.web.queue.page`.
        """
        cells = Counter(self.cells)
        cell = self._cell(row)
        cells[cell] -= 1
        cells[replace(cell, mine=label)] += 1
        return replace(self, cells=+cells)

    def _cell(self, row: Record) -> _Cell:
        snr, mag = (np.searchsorted(edges, value or 0.0, side="right") for edges, value in
                    ((self.snr, abs(row["snr"])), (self.mag, row["mag"])))  # fmt: skip
        return _Cell(
            row["analysis"], row["kind"], row["survey"], row["class"], row["data"], row["mine"] or "", row["theirs"],
            snr=int(snr), mag=None if row["mag"] is None else int(mag),
        )  # fmt: skip

    def _facet(self, name: str, asked: Filter) -> list[Entry]:
        field = "class_" if name == "class" else name
        chosen = str(getattr(asked, field))
        numbers: Counter[str] = Counter()
        for cell, number in self._passing(asked.but(**{field: ""})):
            numbers[getattr(cell, field)] += number
        known = sorted({value for value in numbers if value} | ({chosen} if chosen else set()))
        return [
            (value, value, numbers[value], asked.but(**{field: "" if value == chosen else value}))
            for value in known
        ]

    def _passing(self, asked: Filter) -> Iterable[tuple[_Cell, int]]:
        wanted = {field: value for name in _FACETS
                  if (value := getattr(asked, field := "class_" if name == "class" else name))}  # fmt: skip
        state = _STATE.get(asked.judged) or _said(asked.judged)
        least = 0 if asked.snr is None else self.snr.index(asked.snr) + 1
        first = 0 if asked.bright is None else self.mag.index(asked.bright) + 1
        last = len(self.mag) if asked.faint is None else self.mag.index(asked.faint)
        any_mag = asked.bright is None and asked.faint is None
        for cell, number in self.cells.items():
            if (
                cell.snr >= least
                and (any_mag or (cell.mag is not None and first <= cell.mag <= last))
                and state(cell.mine, cell.theirs)
                and all(getattr(cell, field) == value for field, value in wanted.items())
            ):
                yield cell, number


def _said(label: str) -> Callable[[str, bool], bool]:
    return lambda mine, _: mine == label


def tally(project: Opened, viewer: Viewer, asked: Filter) -> Tally:
    """Count the candidates whose name, tag and `parts` a filter lets through; its rest is only asked of the tally."""
    snr = _edges(SNR_STEPS, asked.snr)
    mag = _edges(MAG_STEPS, asked.bright, asked.faint)
    candidates, values = among(
        Filter(source=asked.source, tag=asked.tag, parts=asked.parts, judged="all"),
        ("s", "mine", "theirs", "body"),
    )
    rows = ask(
        project,
        viewer,
        f"""SELECT d.analysis, d.kind, part.survey, {OF_CLASS} AS class_, {DATA} AS data,
          coalesce(mine.label, '') AS mine, theirs.detection_id IS NOT NULL AS theirs,
          width_bucket(abs(d.snr), CAST(:snr_edges AS float8[])) AS snr,
          CASE WHEN s.mag IS NULL THEN NULL ELSE width_bucket(s.mag, CAST(:mag_edges AS float8[])) END AS mag,
          count(*) AS n
        {candidates} GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9""",
        values | {"snr_edges": snr, "mag_edges": mag},
    )
    names = [field.name for field in fields(_Cell)]
    return Tally({_Cell(**{name: row[name] for name in names}): int(row["n"]) for row in rows}, snr, mag)


def _edges(steps: Sequence[float], *given: float | None) -> list[float]:
    return sorted({*steps, *(one for one in given if one is not None)})


class Tallies:
    """The tallies that one person asks for: counted once, then kept up with what this person says.

    What others say is counted again beside the page that is asked for, which waits for it only if it asked long ago.
    """

    def __init__(self, project: Opened, viewer: Viewer) -> None:
        self._project, self._viewer = project, viewer
        self._lock = threading.Lock()
        self._kept: dict[Filter, _Kept] = {}
        self._counting: set[Filter] = set()

    def of(self, asked: Filter) -> Tally:
        """Return the tally for a filter; what others said in the last `FRESH` seconds may be missing."""
        return self.ready(asked) or self._count(_key(asked))

    def ready(self, asked: Filter) -> Tally | None:
        """Return the tally for a filter as `of` does, or None if it would have to be counted first."""
        key, state = _key(asked), self._state()
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept.whole and kept.state == state:
                return kept.tally
            recent = kept is not None and kept.grows_to(state) and time.monotonic() - kept.then < FRESH
            beside = recent and key not in self._counting
            if beside:
                self._counting.add(key)
        if kept is None or not recent:
            return None
        if beside:
            threading.Thread(target=self._count_beside, args=(key,), daemon=True).start()
        return kept.tally

    def judged(self, row: Record, label: str, last: int, rows: int) -> None:
        """Take a verdict of mine into account.

        Parameters
        ----------
        row
            Of the candidate before the verdict, of `virtualobserver.web.queue.page`.
        label
            What I called it; empty if I took back what I had said.
        last, rows
            Number of the last row that was added, and how many were; if others added some in between, all is counted
            again.
        """
        with self._lock:
            # a tag stands in the note, which was judged with it
            self._kept = {
                key: kept
                if last <= kept.state[0]
                else replace(
                    kept,
                    tally=kept.tally.after(row, label) if _counts(key, row) else kept.tally,
                    state=(last, kept.state[1]),
                    whole=kept.whole and kept.state[0] + rows == last,
                )
                for key, kept in self._kept.items()
                if not key.tag
            }

    def _state(self) -> tuple[int, int]:
        """Return the numbers of the last verdict and of the last detection: with them all counts change."""
        with self._project.session() as session:
            row = session.execute(text(_LAST)).one()
        return int(row.verdict), int(row.detection)

    def _count(self, key: Filter) -> Tally:
        state = self._state()
        counted = tally(self._project, self._viewer, key)
        if (
            self._state() != state
        ):  # whether it has what was said meanwhile nobody knows: it serves this one page
            return counted
        with self._lock:
            while len(self._kept) >= MOST:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = _Kept(counted, state, time.monotonic())
        return counted

    def _count_beside(self, key: Filter) -> None:
        try:
            self._count(key)
        except Exception as error:  # noqa: BLE001 - nobody waits for it; the next page that asks tells what is wrong
            _log.warning("numbers beside filters are old", error=repr(error))
        finally:
            with self._lock:
                self._counting.discard(key)


@dataclass(frozen=True)
class _Kept:
    """A tally, up to what it counts, when it was counted, and whether it has all verdicts up to there."""

    tally: Tally
    state: tuple[int, int]
    then: float
    whole: bool = True

    def grows_to(self, state: tuple[int, int]) -> bool:
        """Whether only verdicts were added since."""
        return state[0] >= self.state[0] and state[1] == self.state[1]


def _counts(key: Filter, row: Record) -> bool:
    """Whether a candidate is among those that were counted."""
    return str(row["source"]).startswith(key.source) and (key.parts == "all" or not row["taken"])


def _key(asked: Filter) -> Filter:
    """Return what of a filter decides how the tally is counted."""
    own = {name: getattr(asked, name) for name in ("source", "tag", "parts")}
    limits = {name: value for name, steps in (("snr", SNR_STEPS), ("bright", MAG_STEPS), ("faint", MAG_STEPS))
              if (value := getattr(asked, name)) not in steps}  # fmt: skip
    return Filter(**own, **limits)
