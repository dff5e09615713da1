"""What the searches of a project find of what was injected, and what that says about rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from virtualobserver.db.bulk import read_frame
from virtualobserver.errors import ConfigError
from virtualobserver.hooks import draw
from virtualobserver.maths.efficiency import rate_and_limit
from virtualobserver.run.opened import Opened
from virtualobserver.run.views.figures import outcomes
from virtualobserver.run.views.reviewers import accepted
from virtualobserver.simulate import ACCEPTED_BY, SearchEfficiency, efficiency
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from virtualobserver.analysis import Analysis

__all__ = ["brief", "efficiency_figure", "efficiency_table", "rates"]

_DRAWN: Final = (6, 3)
"""Bins of the first and of the second parameter of strength in the figure: lines that can still be told apart."""
_ALIKE: Final = 0.01
"""Of a parameter of strength, by which all may differ and be of one bin: ends of bins are told with three digits."""

# Injections, and what they were spread over, by task and kind; tasks of one source stand for its parts.
_INJECTED: Final = """
    SELECT replace(t.step, 'simulate:', '') AS analysis, i.kind, i.task_id, i.source_id, count(*) AS injected,
      count(*) FILTER (WHERE i.covered) AS covered, count(*) FILTER (WHERE i.found) AS recovered,
      max((i.parameters->>'exposure')::float8) AS exposure,
      coalesce((SELECT bool_and(p.simulated) FROM task_input x JOIN product p ON p.id = x.product_id
        WHERE x.task_id = i.task_id), false) AS simulated
    FROM injection i JOIN task t ON t.id = i.task_id
    JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current
    JOIN project_source m ON m.project_id = c.project_id AND m.source_id = t.source_id
    WHERE c.project_id = :project
    GROUP BY t.step, i.kind, i.task_id, i.source_id ORDER BY 1, 2, 3"""

# Of a discovered source, which may have a detection in each image, one counts.
_DETECTED: Final = """
    SELECT d.analysis, d.kind, t.source_id, d.simulated, d.injection_id IS NOT NULL AS injected, i.kind AS put_in,
      count(*) FILTER (WHERE d.source_id = t.source_id)
        + count(DISTINCT d.source_id) FILTER (WHERE d.source_id <> t.source_id) AS n
    FROM detection d JOIN task t ON t.id = d.task_id
    LEFT JOIN injection i ON i.id = d.injection_id
    JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current
    JOIN project_source m ON m.project_id = c.project_id AND m.source_id = t.source_id
    WHERE c.project_id = :project
    GROUP BY d.analysis, d.kind, t.source_id, d.simulated, d.injection_id IS NOT NULL, i.kind"""

_COLUMNS: Final = (
    "analysis", "kind", "sources", "injected", "covered", "recovered", "found", "exposure", "unit", "efficiency",
    "rate", "rate_low", "rate_high", "rate_limit", "confidence",
)  # fmt: skip


def efficiency_table(
    project: Opened, analysis: str | None = None, by: Sequence[str] | None = None, **options: Any
) -> pd.DataFrame:
    """Return coverage and efficiency of one analysis, or of all below one another; see `Project.efficiency`."""
    chosen = _analyses(project, analysis)
    tables = {name: _one(project, one, by, **options) for name, one in chosen.items()}
    filled = {name: table for name, table in tables.items() if not table.empty}
    if len(filled) <= 1:
        return _labelled(next(iter((filled or tables).values()), efficiency([])), list(chosen.values()))
    parts = []
    for name, table in filled.items():
        table.insert(0, "analysis", name)
        parts.append(table)
    return _labelled(pd.concat(parts, ignore_index=True), [chosen[name] for name in filled])


def _labelled(table: pd.DataFrame, analyses: Sequence[Analysis]) -> pd.DataFrame:
    """Return a table that says in ``attrs["axes"]`` what people call its parameters, where all analyses agree."""
    said: dict[str, set[str]] = {}
    for analysis in analyses:
        for name in {*analysis.strength, *(one for names in analysis.strengths.values() for one in names)}:
            said.setdefault(name, set()).add(analysis.axis_label(name))
    table.attrs["axes"] = {name: next(iter(labels)) for name, labels in said.items() if len(labels) == 1}
    return table


def _analyses(project: Opened, analysis: str | None = None) -> RecordDict:
    """Return the analyses of a project by name, or the one that its configuration or its name says."""
    found = {
        step.plugin: step.instance
        for step in project.steps
        if step.kind == "analyse" and analysis in (None, step.plugin, step.entry)
    }
    return found if analysis is None else found or {analysis: project.analysis(analysis)}


def _one(project: Opened, analysis: Analysis, by: Sequence[str] | None, **options: Any) -> pd.DataFrame:
    table = outcomes(project, analysis.name, numbered=True)
    if len(table):
        people = accepted(project, analysis.name).reindex(table["id"])
        table = table.assign(**{f"{ACCEPTED_BY}{user}": people[user].to_numpy() for user in people})
    kinds = ("kind",) if len(table) and table["kind"].astype(bool).any() else ()
    if by is not None or table.empty:
        return efficiency(table, by or (*kinds, *analysis.strength), **options)
    alike: dict[tuple[str, ...], list[str]] = {}
    for kind in sorted(table["kind"].unique()):
        alike.setdefault(analysis.strengths.get(kind, analysis.strength), []).append(kind)
    parts = [
        efficiency(table[table["kind"].isin(some)], (*kinds, *names), **options)
        for names, some in alike.items()
    ]
    # what events are told by stands before what became of them, whichever kind it is of
    bins = [name for part in parts for name in list(part)[: list(part).index("injected")]]
    whole = pd.concat(parts, ignore_index=True)
    return whole[list(dict.fromkeys([*bins, *whole.columns]))]


def _unlike(table: pd.DataFrame, bins: Mapping[str, int]) -> dict[str, int]:
    """Return how many bins parameters of strength have: one where all values are alike, as the seeing of a night."""
    numbers = table.select_dtypes("number")
    low, high = numbers.min(), numbers.max()
    alike = [name for name in bins if name in numbers and high[name] - low[name] <= _ALIKE * abs(high[name])]
    return {name: 1 if name in alike else number for name, number in bins.items()}


def brief(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of efficiencies for people: a bin and a share with its interval are one text each."""
    shown: RecordDict = {}
    shares = {"coverage": ("coverage_low", "coverage_high"), "search": ("search_low", "search_high")}
    shares["efficiency"] = ("low", "high")
    ends = {end for pair in shares.values() for end in pair}
    for name in table.columns:
        if name in shares:
            low, high = (table[end] for end in shares[name])
            told = zip(table[name], low, high, strict=True)
            shown[name] = [f"{a:.2f} ({b:.2f} to {c:.2f})" if np.isfinite(a) else "" for a, b, c in told]
        elif str(name).endswith("_low") and name not in ends:
            word = str(name).removesuffix("_low")
            bins = zip(table[name], table[f"{word}_high"], strict=True)
            label = table.attrs.get("axes", {}).get(word, word)
            shown[label] = [f"{a:.3g} to {b:.3g}" if np.isfinite(a) else "" for a, b in bins]
        elif not str(name).endswith("_high") and name not in ends:
            shown[str(name)] = table[name]
    return pd.DataFrame(shown)


def rates(project: Opened, *, confidence: float = 0.95) -> pd.DataFrame:
    """Return rates and upper limits of each kind of events; see `Project.rates`."""
    with project.session() as session:
        injected = read_frame(session, _INJECTED, {"project": project.id})
        detected = read_frame(session, _DETECTED, {"project": project.id})
    rows = []
    for (analysis, kind), part in injected.groupby(["analysis", "kind"]):
        of_analysis = injected[injected["analysis"] == analysis]
        searched = project.analysis(str(analysis))
        units = of_analysis["kind"].map(lambda one, of=searched: of.rate_units.get(one, of.rate_unit))
        unit = searched.rate_units.get(str(kind), searched.rate_unit)
        rows.append(
            _facts(part, of_analysis, of_analysis[units == unit], detected[detected["analysis"] == analysis])
            | {"analysis": analysis, "kind": kind, "unit": unit}
        )
    table = pd.DataFrame(rows, columns=[name for name in _COLUMNS if not name.startswith(("rate", "conf"))])
    told = [_rate(row, confidence) for row in _records(table)]
    return (
        table.join(pd.DataFrame(told, index=table.index))[list(_COLUMNS)]
        if len(table)
        else pd.DataFrame(columns=_COLUMNS)
    )


def _facts(
    part: pd.DataFrame, of_analysis: pd.DataFrame, of_unit: pd.DataFrame, detected: pd.DataFrame
) -> RecordDict:
    """Count the injections of one kind, and the detections such as these were found as.

    Of what was watched those kinds tell that count it in the same unit, `of_unit`; tasks that by chance have none of
    them watched as much as the others in the mean.
    """
    kinds = set(detected.loc[detected["injected"] & (detected["put_in"] == part["kind"].iloc[0]), "kind"])
    ours = detected[~detected["injected"] & detected["kind"].isin(kinds)]
    ours = ours[ours["source_id"].isin(of_analysis["source_id"])]
    ours = ours[ours["simulated"] == bool(of_analysis["simulated"].all())]
    exposure = of_unit.groupby("task_id")["exposure"].max()
    tasks = of_analysis["task_id"].nunique()
    weight = part["exposure"] if part["exposure"].sum() > 0 else part["injected"]
    return {
        "sources": of_analysis["source_id"].nunique(),
        "injected": int(part["injected"].sum()),
        "covered": int(part["covered"].sum()),
        "recovered": int(part["recovered"].sum()),
        "found": int(ours["n"].sum()),
        "exposure": float(exposure.sum() * (tasks / len(exposure))) if exposure.notna().all() else np.nan,
        # Where a source was watched for longer, more events were missed.
        "efficiency": float((weight * part["recovered"] / part["injected"]).sum() / weight.sum()),
    }


def _records(table: pd.DataFrame) -> list[RecordDict]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _rate(row: Record, confidence: float) -> dict[str, float]:
    if not (row["exposure"] > 0 and row["efficiency"] > 0):
        return dict.fromkeys(("rate", "rate_low", "rate_high", "rate_limit"), np.nan) | {
            "confidence": confidence
        }
    rate = rate_and_limit(row["found"], row["efficiency"], row["exposure"], confidence=confidence)
    return {
        "rate": rate.rate,
        "rate_low": rate.low,
        "rate_high": rate.high,
        "rate_limit": rate.upper_limit,
        "confidence": confidence,
    }


def efficiency_figure(project: Opened, *, title: str = "") -> Figure:
    """Return one figure of all searches; see `Project.efficiency_figure`.

    Raises
    ------
    ConfigError
        If nothing was injected yet.
    """
    told = rates(project)
    searches = []
    for facts in _records(told):
        analysis, kind = str(facts["analysis"]), str(facts["kind"])
        table = outcomes(project, analysis)
        searched = project.analysis(analysis)
        names = tuple(searched.strengths.get(kind, searched.strength))
        mine = table[table["kind"] == kind]
        shares = efficiency(mine, names, bins=_unlike(mine, dict(zip(names, _DRAWN, strict=False))))
        labels = {name: searched.axis_label(name) for name in names}
        searches.append(SearchEfficiency(analysis, kind, names, shares, facts, labels))
    if not searches:
        msg = f"nothing was injected in project {project.name}: `vo simulate {project.name} --number 20` does"
        raise ConfigError(msg)
    return draw(searches, title=title or f"{project.name}: what its searches find")
