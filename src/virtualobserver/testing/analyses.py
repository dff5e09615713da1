"""What every analysis must keep."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest

from virtualobserver import plugins
from virtualobserver.data.contract import fingerprint, noise_of
from virtualobserver.data.handles import Handle, as_handle
from virtualobserver.data.histogram import Histogram
from virtualobserver.data.panels import Facts, Heatmap, ImageStack, Panel, Series
from virtualobserver.data.result import Result
from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.data.table import Table
from virtualobserver.io.store import Store
from virtualobserver.simulate import Simulator
from virtualobserver.testing.common import Suite, assert_survive, columns_without_entry

if TYPE_CHECKING:
    from virtualobserver.analysis import Analysis

__all__ = ["AnalysisSuite"]


class AnalysisSuite(Suite):
    """The checks of an analysis: derive a class ``Test…`` from it and name the `plugin`."""

    kind: ClassVar[plugins.Kind] = "analyses"

    @pytest.fixture
    def analysis(self, plugin_class: type[Analysis]) -> Analysis:
        """Return the analysis with the options of its contract."""
        return plugin_class(**plugin_class.contract.options)

    @pytest.fixture
    def strong(self, plugin_class: type[Analysis]) -> Analysis:
        """Return the analysis with the settings under which `draw` gives only strong events."""
        return plugin_class(**{**plugin_class.contract.options, **plugin_class.contract.strong})

    def test_nothing_finds_nothing(self, analysis: Analysis) -> None:
        """No products give an empty result, not an error."""
        result = searched(analysis, [])
        assert len(result.detections) == len(result.sources) == len(result.products) == 0

    def test_products_without_rows_find_nothing(self, analysis: Analysis) -> None:
        """Neither do products without a single row."""
        empty = []
        for handle in noise(analysis, 0):
            data = handle.load()
            if isinstance(data, SpectrumSet):
                empty.append(as_handle(data.cut(slice(0, 0)), role=handle.info.role))
            elif isinstance(data, Table):
                empty.append(as_handle(data.take(slice(0, 0)), role=handle.info.role))
        result = searched(analysis, empty)
        assert len(result.detections) == len(result.sources) == 0

    def test_leaves_its_inputs_and_repeats_itself(self, strong: Analysis) -> None:
        """The same input gives the same result, here and in another process, and stays as it is."""
        quiet = noise(strong, 1)
        before = prints(quiet)
        settings = strong.settings.model_dump_json()
        loud = injected(strong, quiet)
        assert prints(quiet) == before, "inject changed its input"
        loud_before = prints(loud)
        first = searched(strong, loud)
        assert prints(loud) == loud_before, "find changed its input"
        assert prints(injected(strong, quiet)) == loud_before, "the same seed gave another injection"
        same_results(first, searched(strong, loud))
        same_results(first, searched(pickle.loads(pickle.dumps(strong)), loud))  # noqa: S301 - our own bytes
        assert strong.settings.model_dump_json() == settings

    def test_raises_no_more_false_alarms_on_noise_than_it_states(self, analysis: Analysis) -> None:
        """The stated rate of false alarms is kept on pure noise."""
        contract = analysis.contract
        alarms = sum(
            bool(searched(analysis, noise(analysis, seed)).detections) for seed in range(contract.trials)
        )
        assert alarms <= contract.trials * contract.false_alarms

    def test_recovers_strong_injections_and_repeats_them(self, strong: Analysis) -> None:
        """Strong events are found, and each injection is a function of its number."""
        contract = strong.contract
        handles = noise(strong, 2)
        before = prints(handles)
        numbers = range(contract.injections)
        first, second = (Simulator(strong).run(handles, contract.aux, numbers, digest="d") for _ in range(2))
        assert first == second
        assert sum(one.recovered for one in first) >= contract.recovered * len(numbers)
        assert prints(handles) == before
        for one in first:
            assert {"t_peak", "start_mjd", "end_mjd"} <= set(one.params)
            json.dumps(one.params, allow_nan=False)

    def test_detections_are_whole_finite_and_in_order(self, strong: Analysis) -> None:
        """What is found can be stored, sorted and shown."""
        loud = injected(strong, noise(strong, 1))
        result = searched(strong, loud)
        assert result.detections
        assert [event.peak_mjd for event in result.detections] == sorted(
            event.peak_mjd for event in result.detections
        )
        for event in result.detections:
            assert event.kind
            assert event.start_mjd <= event.peak_mjd <= event.end_mjd
            assert math.isfinite(event.snr)
            assert event.score is None or math.isfinite(event.score)
            assert event.product is None or 0 <= event.product < len(loud)
            json.dumps(event.parameters, allow_nan=False)
            assert strong.same_event(event, event)
        json.dumps(result.properties, allow_nan=False)
        for histogram in result.histograms.values():
            assert Histogram.from_bytes(histogram.to_bytes()) == histogram

    def test_panels_show_what_was_found(self, strong: Analysis) -> None:
        """What to see of each detection is plain data that goes to another process, and is no other the next time.

        Those of other data, too: a detection stays when its data are reduced anew.
        """
        quiet = noise(strong, 1)
        loud = injected(strong, quiet)
        events = searched(strong, loud).detections
        assert events
        before = prints(loud)
        for event in (events[0], events[-1]):
            shown = strong.panels(loud, strong.contract.aux, strong.settings, event)
            assert_panels(shown)
            again = strong.panels(loud, strong.contract.aux, strong.settings, event)
            assert pickle.dumps(list(again)) == pickle.dumps(list(shown))
        assert prints(loud) == before, "panels changed their input"
        assert_panels(strong.panels(quiet, strong.contract.aux, strong.settings, events[0]))
        for name, sheet in strong.source_panels(loud, strong.contract.aux, strong.settings).items():
            assert name.isidentifier()
            assert_panels(sheet)

    def test_products_survive_the_store(self, strong: Analysis, tmp_path: Path) -> None:
        """What it makes is what it says it makes, and reads back as it was written."""
        result = searched(strong, injected(strong, noise(strong, 1)))
        assert {(p.container_kind, p.role) for p in result.products} <= set(strong.produces)
        assert bool(result.products) == bool(strong.produces), "let contract.options keep the products"
        assert_survive(Store(tmp_path), result.products)

    def test_every_column_has_an_entry(self, strong: Analysis) -> None:
        """Columns are called what they are called everywhere; others are named in ``contract.own_columns``."""
        result = searched(strong, injected(strong, noise(strong, 1)))
        assert columns_without_entry(result.products, strong.contract.own_columns) == set()


def assert_panels(panels: Sequence[Panel]) -> None:
    """Assert that panels are known kinds that have a title, show something, and say what their axes are."""
    assert panels
    for panel in panels:
        assert isinstance(panel, Series | Heatmap | ImageStack | Facts)
        assert panel.title
        assert pickle.loads(pickle.dumps(panel)).title == panel.title  # noqa: S301 - our own bytes
        if isinstance(panel, Facts):
            assert panel.rows
            continue
        assert panel.x.name
        assert panel.y.name
        if isinstance(panel, Series):
            seen = [np.isfinite(curve.x) & np.isfinite(curve.y) for curve in panel.curves]
            assert any(one.any() for one in seen), f"{panel.title} shows nothing"
        else:
            values = panel.values if isinstance(panel, Heatmap) else panel.images
            assert np.isfinite(values).any(), f"{panel.title} shows nothing"


def noise(analysis: Analysis, seed: int) -> list[Handle]:
    """Return one input of pure noise."""
    rng = np.random.default_rng([seed, 7])
    given = analysis.contract.noise
    if given is not None:
        return [as_handle(thing) for thing in given(rng)]
    return [as_handle(noise_of(need.kind, rng), role=need.role) for need in analysis.requires]


def prints(handles: Sequence[Handle]) -> list[str]:
    """Return the fingerprints of what handles hold."""
    return [fingerprint(handle.load()) for handle in handles]


def injected(analysis: Analysis, handles: Sequence[Handle]) -> Sequence[Handle]:
    """Return the handles with one strong event in them."""
    rng = np.random.default_rng(3)
    found: Sequence[Handle] = analysis.inject(
        handles, [dict(analysis.draw(rng, handles, analysis.settings))], rng
    )
    return found


def searched(analysis: Analysis, handles: Sequence[Handle]) -> Result:
    """Return what `find` finds."""
    result: Result = analysis.find(handles, analysis.contract.aux, analysis.settings)
    return result


def same_results(a: Result, b: Result) -> None:
    """Assert that two results are equal to the last bit."""
    assert a.detections == b.detections
    assert a.properties == b.properties
    assert a.histograms == b.histograms
    assert a.sources == b.sources
    assert [(p.role, p.series, p.band, fingerprint(p.data)) for p in a.products] == [
        (p.role, p.series, p.band, fingerprint(p.data)) for p in b.products
    ]
