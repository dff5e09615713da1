"""Every survey and every analysis that is installed meets the contract suite.

A plug-in that is put into its folder, or comes with another package, is tried here without any change.
"""

from __future__ import annotations

import numpy as np
import pytest

from virtualobserver import plugins
from virtualobserver.data import Product, Table, TimeSeries
from virtualobserver.data.contract import fingerprint, noise_of
from virtualobserver.errors import DataError
from virtualobserver.io.store import Store
from virtualobserver.testing import AnalysisSuite, SurveySuite
from virtualobserver.testing.common import assert_survive


class TestSurveys(SurveySuite):
    @pytest.fixture(params=plugins.names("observatories"))
    def entry(self, request):
        return request.param

    @pytest.fixture
    def database_url(self, url):
        return url


class TestAnalyses(AnalysisSuite):
    @pytest.fixture(params=plugins.names("analyses"))
    def entry(self, request):
        return request.param


# -- the suite itself -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lightcurve", "spectrum", "image"])
def test_noise_of_each_kind_survives_the_store_and_follows_its_seed(kind, tmp_path):
    first, second, other = (noise_of(kind, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert fingerprint(first) == fingerprint(second) != fingerprint(other)
    assert_survive(Store(tmp_path), [Product(first, series="a")])


def test_tables_with_text_survive_the_store_in_whole_and_in_part(tmp_path):
    table = Table({"name": np.array(["a", "Ω"]), "n": np.arange(2), "t": np.array(["2020-01-01", "NaT"], "M8[us]")},
                  units={"n": "s"}, meta={"deep": {"x": [1]}})  # fmt: skip
    assert_survive(Store(tmp_path), [Product(table)])
    with pytest.raises(DataError, match="give `contract"):
        noise_of("table", np.random.default_rng(0))


def test_fingerprint_sees_any_change():
    curve = noise_of("lightcurve", np.random.default_rng(1))
    assert isinstance(curve, TimeSeries)
    flux = curve.flux.copy()
    flux[7] = np.nextafter(flux[7], 2000.0)
    changed = [
        curve.with_columns(flux=flux),
        curve.take(slice(0, 199)),
        curve.with_columns(more=flux),
        curve.with_columns(flags=curve.flags.astype(np.int32)),
        TimeSeries(curve.columns, units={"flags": "bit"}, band="g"),
        TimeSeries(curve.columns, band="r"),
        TimeSeries(curve.columns, band="g", meta={"a": 1}),
    ]
    assert len({fingerprint(curve), *(fingerprint(other) for other in changed)}) == len(changed) + 1
