"""Whether the data have anything of an event, for each kind of data."""

from __future__ import annotations

import numpy as np
import pytest

from virtualobserver.analyses.starcurves import StarCurves
from virtualobserver.analyses.transients import Transients
from virtualobserver.data import Image, SpectrumSet, Table, TimeSeries, as_handle
from virtualobserver.data.coverage import seen_between

MJD = np.array([10.0, 20.0, 30.0])


def curve(flags=(0, 0, 0), flux=(1.0, 1.0, 1.0)):
    columns = {"mjd": MJD, "flux": np.array(flux), "flux_error": np.ones(3), "flags": np.array(flags)}
    return TimeSeries(columns, band="g")


def spectra(masked=()):
    mask = np.zeros((3, 5), dtype=np.int64)
    mask[list(masked)] = 1
    return SpectrumSet(np.arange(5.0) + 1, np.ones((3, 5)), np.ones((3, 5)), mask, Table({"mjd": MJD}))


@pytest.mark.parametrize(
    ("container", "start", "end", "seen"),
    [
        (curve(), 19, 21, True),
        (curve(), 20, 20, True),
        (curve(), 11, 19, False),
        (curve(flags=(0, 4, 0)), 19, 21, False),
        (curve(flux=(1, np.nan, 1)), 19, 21, False),
        (curve().take(slice(0, 0)), 0, 100, False),
        (spectra(), 19, 21, True),
        (spectra(masked=[1]), 19, 21, False),
        (Table({"mjd": MJD}), 25, 35, True),
        (Table({"mjd": MJD}), 31, 35, False),
        (Table({"x": MJD}), 0, 100, None),
        (Image(np.ones((3, 3))), 0, 100, None),
    ],
)
def test_a_good_measurement_lies_in_the_time_or_not(container, start, end, seen):
    assert seen_between(container, start, end) is seen


def test_an_event_is_covered_if_any_product_has_something_of_it_or_none_can_tell():
    analysis = Transients()
    event = {"start_mjd": 11.0, "end_mjd": 19.0}

    def covered(*things):
        return analysis.covered(event, [as_handle(one) for one in things])

    assert not covered()
    assert not covered(curve(), spectra())
    assert covered(curve(), TimeSeries({**curve().columns, "mjd": MJD + 5}, band="r"))
    assert covered(Image(np.ones((3, 3))))  # not looked at
    assert covered(Table({"x": MJD}))


def test_a_dip_of_a_star_is_covered_if_any_frame_has_the_star():
    assert StarCurves().covered({"rows": {"3": 1}}, [])
    assert not StarCurves().covered({"rows": {}}, [])
