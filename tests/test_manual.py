"""The examples of the manual work."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from virtualobserver.data.handles import as_handle
from virtualobserver.data.product import RawRef, Target
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.observatory import Aux

ROOT = Path(__file__).resolve().parent.parent


def example_in(page: str) -> dict[str, Any]:
    """Run the first Python example of a page of the manual and return its names."""
    block = re.search(
        r"^```python\n(.*?)^```$",
        (ROOT / "docs" / page).read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert block is not None
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(block.group(1), page, "exec"), names)
    return names


def light_curve() -> TimeSeries:
    """Reduce what the manual's survey simulates."""
    survey = example_in("add_survey.md")["VirtualExample"]()
    target = Target(name="star")
    ((answered, raw),) = survey.simulate_raw([target], np.random.default_rng(1))
    assert answered is target
    (product,) = survey.reduce([RawRef.of(raw)], Aux(target=target), survey.settings)
    curve = product.data
    assert isinstance(curve, TimeSeries)
    return curve


def test_the_manuals_survey_reduces_what_it_simulates() -> None:
    curve = light_curve()
    assert len(curve) == 50
    assert np.median(curve.flux) == pytest.approx(500, abs=10)


def test_the_manuals_survey_reads_a_folder_in_place(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("mjd,flux,error\n58001,3,1\n58000,2,1\n58002,1,900\n", encoding="utf-8")
    survey = example_in("add_survey.md")["VirtualExample"]()
    targets = [Target(name="a"), Target(name="b")]
    landed = list(survey.fetch(targets, SimpleNamespace(folders=[tmp_path])))
    assert [(target.name, raw.in_place) for target, raw in landed] == [("a", True)]
    (product,) = survey.reduce([RawRef.of(landed[0][1])], Aux(target=targets[0]), survey.settings)
    assert product.data.flux.tolist() == [2, 3]


def test_the_manuals_analysis_finds_what_it_injects_and_nothing_else() -> None:
    analysis = example_in("add_analysis.md")["Spikes"]()
    quiet = as_handle(light_curve())
    assert not analysis.find([quiet], Aux(target=Target(name="star")), analysis.settings).detections
    spike = analysis.draw(np.random.default_rng(2), [quiet], analysis.settings) | {"amplitude": 300.0}
    changed = analysis.inject([quiet], [spike], np.random.default_rng(3))
    (event,) = analysis.find(changed, Aux(target=Target(name="star")), analysis.settings).detections
    assert event.peak_mjd == spike["t_peak"]
    assert event.snr == pytest.approx(30, abs=5)
    assert analysis.recovered(spike, event)
