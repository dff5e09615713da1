"""Photometry for the TOM Toolkit: what its reader needs, in AB magnitudes, with telescope and instrument."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import ascii as astropy_ascii
from astropy.time import Time

from virtualobserver.data import TimeSeries
from virtualobserver.data.handles import MemoryHandle, ProductInfo
from virtualobserver.errors import ConfigError, DataError
from virtualobserver.export import Maker
from virtualobserver.run.views.ways_out import find_way_out

TOM = find_way_out("tom")
MAKERS = [
    Maker("survey", "deep", frozenset({("lightcurve", "reduced")}), facility="Big Eye", instrument="Camera"),
    Maker("survey", "wide", frozenset({("lightcurve", "reduced")})),
]


def handle(flux, *, survey="deep", band="g", unit="uJy", start=58000.5, flags=None):
    number = len(flux)
    columns = {
        "mjd": start + np.arange(number), "flux": np.array(flux, float), "flux_error": np.full(number, 10.0),
        "flags": np.zeros(number, int) if flags is None else np.array(flags),
    }  # fmt: skip
    curve = TimeSeries(columns, band=band, flux_unit=unit)
    return MemoryHandle(curve, ProductInfo("lightcurve", role="reduced", band=band, observatory=survey))


def written(path, *curves, **options):
    view = SimpleNamespace(project="p", makers=MAKERS, products=lambda source: list(curves))
    number = TOM.write(view, path, TOM.Settings(source="star", **options))
    return number, path.read_text()


def test_the_csv_is_what_the_reader_of_the_toolkit_reads(tmp_path):
    curves = handle([1000, 100, 500], flags=[0, 0, 1]), handle([200], survey="wide", band="r", start=57000.25)
    number, text = written(tmp_path / "a.csv", *curves)
    assert text.splitlines()[0] == "time,filter,magnitude,error,telescope,instrument"
    table = astropy_ascii.read(text)
    assert number == len(table) == 3
    assert table["time"].tolist() == [57000.25, 58000.5, 58001.5]
    np.testing.assert_allclose(table["magnitude"], 23.9 - 2.5 * np.log10([200, 1000, 100]), atol=1e-5)
    np.testing.assert_allclose(table["error"], 1.085736 * np.array([0.05, 0.01, 0.1]), atol=1e-5)
    assert table["filter"].tolist() == ["r", "g", "g"]
    assert table["telescope"].tolist() == ["wide", "Big Eye", "Big Eye"]
    assert table["instrument"].tolist() == ["wide", "Camera", "Camera"]


def test_faint_points_are_limits_or_left_out(tmp_path):
    curve = handle([1000, 29, -5, np.nan])
    number, text = written(tmp_path / "a.csv", curve)
    table = astropy_ascii.read(text)
    assert number == 3
    assert table["magnitude"].mask.tolist() == [False, True, True]
    np.testing.assert_allclose(table["limit"][1:], 23.9 - 2.5 * np.log10(30), atol=1e-5)
    assert written(tmp_path / "b.csv", curve, limits=False)[0] == 1
    assert written(tmp_path / "c.csv", curve, limits=False, snr=2)[0] == 2


def test_json_holds_reduced_data_with_times_in_utc(tmp_path):
    _, text = written(tmp_path / "a.json", handle([1.0, 0.001], unit="mJy"), instrument="Other", snr=0.0001)
    first, second = json.loads(text)
    assert first == {
        "data_type": "photometry", "source_name": "deep", "timestamp": "2017-09-04T12:00:00.000Z",
        "value": {"filter": "g", "magnitude": 16.4, "error": 10.85736, "telescope": "Big Eye", "instrument": "Other"},
    }  # fmt: skip
    assert Time(second["timestamp"].rstrip("Z")).mjd == 58001.5


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(DataError, match=r"ends in \.csv or \.json"):
        written(tmp_path / "a.txt", handle([1000]))
    with pytest.raises(DataError, match=r"electron / s has no magnitudes"):
        written(tmp_path / "a.csv", handle([1000], unit="electron / s"))
    with pytest.raises(DataError, match="no unit has no magnitudes"):
        written(tmp_path / "a.csv", handle([1000], unit=""))
    with pytest.raises(ConfigError, match="wants a filter"):
        written(tmp_path / "a.csv", handle([1000], band=""))
    with pytest.raises(DataError, match="no light curve"):
        written(tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []
