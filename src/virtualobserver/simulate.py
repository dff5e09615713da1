"""Injection and recovery: draw an event, add it to real data, search as always, compare."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from typing import TYPE_CHECKING, Final

import numpy as np

from virtualobserver.analysis import Analysis
from virtualobserver.data.handles import Handle
from virtualobserver.data.result import Event
from virtualobserver.errors import DataError
from virtualobserver.maths.efficiency import ONE_SIGMA, Rate, rate_and_limit, wilson_interval
from virtualobserver.observatory import Aux
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ACCEPTED_BY",
    "InjectionOutcome",
    "SearchEfficiency",
    "SimulatedUnit",
    "Simulator",
    "efficiency",
    "generator",
    "occurrence_rate",
    "outcome_table",
]


AT_ONCE = 64
"""Injected copies of products in memory at a time."""

_SIZES: Final = frozenset({"amplitude"})
"""Parameters that count by their size: a dip of 5 is as strong as a flare of 5."""

ACCEPTED_BY: Final = "accepted by "
"""How the column of a person begins: whether an injected event that was found was called a candidate."""
JUDGED_BY: Final = "judged by "
_SHARES: Final = (
    "injected", "covered", "found", "coverage", "coverage_low", "coverage_high", "search", "search_low",
    "search_high", "efficiency", "low", "high",
)  # fmt: skip
"""Columns of a table of efficiencies after those that say which events are meant."""


@dataclass(frozen=True)
class InjectionOutcome:
    """One injected event and what became of it.

    Parameters
    ----------
    number
        Number of the injection within its unit, from 0.
    params
        What was put in (JSON-like).
    found
        The event that was recovered, the strongest if there are several; None = missed.
    snr
        Its signed S/N, 0 if missed.
    covered
        Whether the data have anything of it; see `Analysis.covered`.
    """

    number: int
    params: RecordDict = field(default_factory=dict)
    found: Event | None = None
    snr: float = 0.0
    covered: bool = True

    @property
    def recovered(self) -> bool:
        """Whether the event was found."""
        return self.found is not None


@dataclass(frozen=True)
class SimulatedUnit:
    """What to inject into: products and `Aux` as `find` receives them, and which injections to make."""

    products: Sequence[Handle]
    aux: Aux
    numbers: Iterable[int]
    source: str = ""
    unit: str = ""


@dataclass(frozen=True, eq=False)
class SearchEfficiency:
    """What one search finds of one kind of injected events, and what that says about their rate.

    Parameters
    ----------
    analysis, kind
        Name of the analysis, and of the kind of events; empty if it has only one.
    strength
        Parameters by which the table is told, the first along the axis, e.g. ``("amplitude", "width")``.
    table
        As `efficiency` returns it.
    facts
        Of all injections together: ``injected, covered, found`` and what `Project.rates` tells.
    labels
        What stands at the axis of a parameter; its name where nothing is said.
    """

    analysis: str
    kind: str
    strength: tuple[str, ...]
    table: pd.DataFrame
    facts: Record
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Group:
    """Numbers of the injections of one search, and those whose outcome is asked for."""

    members: range
    wanted: tuple[int, ...]


def _batched(jobs: Iterable[tuple[int, _Group]], size: int) -> Iterator[list[tuple[int, _Group]]]:
    rest = iter(jobs)
    while batch := list(islice(rest, size)):
        yield batch


def generator(digest: str, source: str, unit: str, number: int, *, seed: int = 0) -> np.random.Generator:
    """Return the generator of one injection, a function of its identity alone."""
    identity = "\x1f".join((digest, source, unit, str(number), str(seed)))
    return np.random.default_rng(int.from_bytes(hashlib.sha256(identity.encode()).digest(), "big"))


class Simulator:
    """Inject events into products and search them with the analysis' own, unchanged `find`.

    Parameters
    ----------
    analysis
        Any analysis: its `draw_many`, `together`, `inject`, `find_many`, `covered`, `same_event` and
        `recovered` are used.
    """

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis

    def run(
        self,
        products: Sequence[Handle],
        aux: Aux,
        numbers: Iterable[int],
        *,
        digest: str = "",
        source: str = "",
        unit: str = "",
    ) -> list[InjectionOutcome]:
        """Inject events, one to a search, or as many as the analysis says one search bears.

        An event that is found in the untouched data as well, at least as strong, is not a recovery. Events that
        share a search are those whose numbers follow each other, whichever of them are asked for: what becomes of
        one is a function of its number alone.

        Parameters
        ----------
        products
            Handles, as `find` receives them; never changed.
        numbers
            Numbers of the injections to make; each has its own seed, so asking for more changes none.
        digest, source, unit
            Identity of the work, part of the seed; `source` defaults to the name of the target.
        """
        unit_of_one = SimulatedUnit(products, aux, numbers, source=source, unit=unit)
        return self.run_many([unit_of_one], digest=digest)[0]

    def run_many(self, units: Sequence[SimulatedUnit], *, digest: str = "") -> list[list[InjectionOutcome]]:
        """Inject into many units, which are searched together; the outcomes are those of `run` for each.

        Parameters
        ----------
        units
            Products and numbers of the injections of each unit; see `run`.
        digest
            Identity of the work, part of the seed.
        """
        outcomes: list[list[InjectionOutcome]] = [[] for _ in units]
        already: dict[int, Sequence[Event]] = {}
        # An analysis that searches units one by one gains nothing by having many in memory.
        at_once = 1 if type(self.analysis).find_many is Analysis.find_many else AT_ONCE
        settings = self.analysis.injection_settings(self.analysis.settings)
        wanted = ((place, group) for place, unit in enumerate(units) for group in self._groups(unit))
        for jobs in _batched(wanted, at_once):
            untouched = [place for place in dict.fromkeys(p for p, _ in jobs) if place not in already]
            injected = [self._inject(units[place], group.members, digest) for place, group in jobs]
            searched = [(units[place].products, units[place].aux) for place in untouched]
            searched += [(handles, units[p].aux) for (p, _), (_, handles) in zip(jobs, injected, strict=True)]
            found = [one.detections for one in self.analysis.find_many(searched, settings)]
            already = dict(zip(untouched, found, strict=False)) | {
                place: events for place, events in already.items() if place == jobs[0][0]
            }
            results = found[len(untouched) :]
            for (place, group), (params, handles), events in zip(jobs, injected, results, strict=True):
                outcomes[place] += [
                    self._judge(number, params[number], events, already[place])
                    if self.analysis.covered(params[number], handles)
                    else InjectionOutcome(number, params[number], covered=False)
                    for number in group.wanted
                ]
        return outcomes

    def _groups(self, unit: SimulatedUnit) -> Iterator[_Group]:
        """Yield the numbers that share a search, and which of them were asked for."""
        numbers = list(unit.numbers)
        if not numbers:
            return
        size = max(1, self.analysis.together(unit.products, self.analysis.settings))
        for first, wanted in groupby(numbers, key=lambda number: number // size * size):
            yield _Group(range(first, first + size), tuple(wanted))

    def remake(
        self, products: Sequence[Handle], aux: Aux, number: int, *, digest: str, unit: str = ""
    ) -> tuple[RecordDict, Sequence[Handle]]:
        """Put in one event again, as `run` did, with those that shared its search.

        Returns
        -------
        tuple
            The parameters of the event, and the products that were searched.

        Parameters
        ----------
        products, aux, digest, unit
            As they were given to `run`.
        number
            Of the injection.
        """
        wanted = SimulatedUnit(products, aux, (number,), unit=unit)
        (group,) = self._groups(wanted)
        drawn, handles = self._inject(wanted, group.members, digest)
        return drawn[number], handles

    def _inject(
        self, unit: SimulatedUnit, numbers: Sequence[int], digest: str
    ) -> tuple[dict[int, RecordDict], Sequence[Handle]]:
        settings = self.analysis.settings
        name = unit.source or unit.aux.target.name
        rngs = [generator(digest, name, unit.unit, n, seed=settings.simulate.seed) for n in numbers]
        drawn = [dict(params) for params in self.analysis.draw_many(rngs, unit.products, settings)]
        handles = self.analysis.inject(unit.products, drawn, rngs[0])
        return dict(zip(numbers, drawn, strict=True)), handles

    def _judge(
        self, number: int, params: RecordDict, events: Sequence[Event], already: Sequence[Event]
    ) -> InjectionOutcome:
        ours = [
            event
            for event in events
            if self.analysis.recovered(params, event)
            and not any(
                self.analysis.same_event(event, old) and abs(event.snr) <= abs(old.snr) for old in already
            )
        ]
        if not ours:
            return InjectionOutcome(number, params)
        best = max(ours, key=lambda event: abs(event.snr))
        return InjectionOutcome(number, params, replace(best), best.snr)


def outcome_table(outcomes: Iterable[InjectionOutcome]) -> pd.DataFrame:
    """Return outcomes as a table: number, all parameters, ``covered`` and ``found`` (bool), and ``snr``."""
    import pandas as pd

    rows = [
        {"number": one.number, **one.params, "covered": one.covered, "found": one.recovered, "snr": one.snr}
        for one in outcomes
    ]
    no = np.zeros(0, bool)
    return pd.DataFrame(rows) if rows else pd.DataFrame({"number": [], "covered": no, "found": no, "snr": []})


def efficiency(
    outcomes: Iterable[InjectionOutcome] | pd.DataFrame,
    by: Sequence[str] | None = None,
    *,
    bins: int | Mapping[str, int] = 5,
    edges: Mapping[str, Sequence[float]] | None = None,
    confidence: float = ONE_SIGMA,
) -> pd.DataFrame:
    """Return how many injected events the data cover and the search found of these, cell by cell.

    Parameters
    ----------
    outcomes
        Outcomes, or a table with the columns of `by` and ``found``; ``covered`` says of which the data have
        anything, where that is known.
    by
        Parameters to sort by; by default the kind, if there is one, amplitude and width. Numbers fall into bins
        (amplitudes by their size), text into one class each.
    bins
        Number of bins of each numeric parameter, even in the logarithm if all values are positive; by name, those not
        named have 5.
    edges
        Edges for some parameters instead; what lies outside is left out.
    confidence
        Probability content of the binomial intervals (Wilson).

    Returns
    -------
    pandas.DataFrame
        One row per occupied cell: for each number ``<name>_low`` and ``<name>_high``, for each text ``<name>``; then
        ``injected, covered, found``, and three shares with the ends of their intervals: ``coverage,
        coverage_low, coverage_high`` (covered of injected), ``search, search_low, search_high`` (found of
        covered) and ``efficiency, low, high`` (found of injected, the product of both). Where it is not known
        what was covered, the first two are NaN. For each person of whom `outcomes` has a column ``accepted by NAME``
        (1 or 0, NaN where nothing was said): what part of the found events that this person judged was accepted, and
        ``judged by NAME``, how many these were.

    Raises
    ------
    DataError
        If a column is missing.
    """
    import pandas as pd

    frame = outcomes if isinstance(outcomes, pd.DataFrame) else outcome_table(outcomes)
    names = tuple(by) if by is not None else (*_kind(frame), "amplitude", "width")
    if frame.empty:
        columns = [f"{name}_{end}" for name in names for end in ("low", "high")]
        return pd.DataFrame(columns=[*columns, *_SHARES])
    if missing := [name for name in (*names, "found") if name not in frame]:
        msg = f"an efficiency by {', '.join(names)} needs {', '.join(missing)}; columns are {list(frame)}"
        raise DataError(msg)
    numbers = {name: bins if isinstance(bins, int) else bins.get(name, 5) for name in names}
    keys = pd.concat([_cells(frame[name], (edges or {}).get(name), numbers[name]) for name in names], axis=1)
    people = [str(name) for name in frame if str(name).startswith(ACCEPTED_BY)]
    judged = {name.replace(ACCEPTED_BY, JUDGED_BY, 1): frame[name].notna() for name in people}
    counted = keys.assign(**_counts(frame), **judged, **{name: frame[name] for name in people})
    grouped = counted.groupby(list(keys), sort=True)
    sums = grouped[[*_COUNTS, *judged]].sum().reset_index()
    table = _with_shares(sums, confidence)[[*keys, *_SHARES, *judged]]
    return table.assign(**{name: grouped[name].mean().to_numpy() for name in people})


_COUNTS: Final = ("injected", "covered", "found", "known", "seen")


def _counts(frame: pd.DataFrame) -> dict[str, pd.Series | int]:
    """Return what is counted of each injection; nothing is covered where that is not known."""
    found = frame["found"].astype(bool)
    known = frame["covered"].notna() if "covered" in frame else found & False
    covered = frame["covered"].where(known, False).astype(bool) if "covered" in frame else known
    return {"injected": 1, "covered": covered, "found": found, "known": known, "seen": found & covered}


def _kind(frame: pd.DataFrame) -> tuple[str, ...]:
    """Return what kinds of events are told apart by: nothing if none is named."""
    return ("kind",) if "kind" in frame and frame["kind"].astype(bool).any() else ()


def _with_shares(table: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Add what was covered, found of that, and found of all, with their intervals."""
    shares = {
        ("coverage", "coverage_low", "coverage_high"): ("covered", "known"),
        ("search", "search_low", "search_high"): ("seen", "covered"),
        ("efficiency", "low", "high"): ("found", "injected"),
    }
    columns: RecordDict = {}
    for (name, low, high), (hits, tries) in shares.items():
        interval = wilson_interval(table[hits], table[tries], confidence=confidence)
        columns |= {name: table[hits] / table[tries].where(table[tries] > 0)}
        columns |= {low: interval.low, high: interval.high}
    return table.assign(**columns)


def occurrence_rate(
    n_found: int,
    outcomes: Iterable[InjectionOutcome] | pd.DataFrame,
    exposure_time: float,
    *,
    confidence: float = 0.95,
) -> Rate:
    """Return the rate of real events, its interval and upper limit, corrected for what the search misses.

    Parameters
    ----------
    n_found
        Number of real events found.
    outcomes
        Injections that stand for the events meant, of one kind; the share of all of them that was found is used,
        which is coverage times the efficiency of the search.
    exposure_time
        Time over which injected peaks were spread, gaps included, summed over sources, e.g. in days.
    confidence
        Of the upper limit.

    Raises
    ------
    DataError
        If nothing was injected or nothing of it found: the data then say nothing about the rate.
    """
    import pandas as pd

    frame = outcomes if isinstance(outcomes, pd.DataFrame) else outcome_table(outcomes)
    fraction = float(frame["found"].mean()) if len(frame) else 0.0
    if fraction == 0:
        msg = f"no rate can be given: none of {len(frame)} injected events was found; inject more or stronger"
        raise DataError(msg)
    return rate_and_limit(n_found, fraction, exposure_time, confidence=confidence)


def _cells(column: pd.Series, edges: Sequence[float] | None, bins: int) -> pd.DataFrame:
    import pandas as pd

    name = str(column.name)
    if column.dtype.kind not in "iuf":
        return pd.DataFrame({name: column})
    values = column.to_numpy(dtype=np.float64)
    if name in _SIZES:
        values = np.abs(values)
    if edges is None:
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        steps = np.geomspace(low, high, bins + 1) if low > 0 else np.linspace(low, high, bins + 1)
        steps[0], steps[-1] = low, high
        steps = steps if high > low else np.array([low, np.nextafter(high, np.inf)])
    else:
        steps = np.asarray(edges, dtype=np.float64)
        if len(steps) < 2 or not bool((np.diff(steps) > 0).all()):
            msg = f"edges of {name} must be at least two rising numbers, not {list(edges)}"
            raise DataError(msg)
    inside = (values >= steps[0]) & (values <= steps[-1])
    cell = np.clip(np.searchsorted(steps, values, side="right") - 1, 0, len(steps) - 2)
    low_edge, high_edge = (np.where(inside, ends[cell], np.nan) for ends in (steps[:-1], steps[1:]))
    # Rows outside have NaN keys, which grouping leaves out.
    return pd.DataFrame({f"{name}_low": low_edge, f"{name}_high": high_edge}, index=column.index)
