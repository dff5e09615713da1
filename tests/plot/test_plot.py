"""Pictures show what they should, and leave no global state."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from virtualobserver.data import Event, Image, SpectrumSet, Table, TimeSeries, as_handle
from virtualobserver.data.axis import Axis
from virtualobserver.data.histogram import Histogram
from virtualobserver.errors import DataError
from virtualobserver.plot import plot


def curve(n=60):
    rng = np.random.default_rng(0)
    flux = rng.normal(100, 3, n)
    flags = np.zeros(n, dtype=np.int64)
    if n:
        flux[n // 2] += 60
        flags[5] = 1
    return TimeSeries(
        {"mjd": 58000 + np.arange(float(n)), "flux": flux, "flux_error": np.full(n, 3.0), "flags": flags},
        band="zr",
    )


EVENT = Event("flare", peak_mjd=58030.0, start_mjd=58029.0, end_mjd=58031.0, snr=20.0)


def spectra(n=4):
    wave = np.linspace(3900, 4000, 200)
    flux = np.ones((n, 200)) + np.arange(n)[:, None] * 0.1
    return SpectrumSet(
        wave, flux, flux * 0.01, np.zeros((n, 200), dtype=int), Table({"mjd": np.arange(float(n))})
    )


def counts():
    rng = np.random.default_rng(0)
    axes = (Axis.fixed("snr", -5, 5, 0.5), Axis.fixed("mag", 15, 21, 0.5, "mag"), Axis.text("band"))
    return Histogram(axes).fill(snr=rng.normal(0, 2, 3000), mag=rng.normal(18, 1, 3000), band="g")


def efficiencies():
    rows = [
        {
            "amplitude_low": a,
            "amplitude_high": 2 * a,
            "width_low": w,
            "width_high": 3 * w,
            "injected": 20,
            "found": int(20 * min(1, a * w / 40)),
            "efficiency": min(1, a * w / 40),
            "low": min(1, a * w / 40) * 0.8,
            "high": min(1, a * w / 40 + 0.05),
        }
        for a in (2, 4, 8, 16)
        for w in (1, 3, 9)
    ]
    return pd.DataFrame(rows)


def rendered(figure):
    assert isinstance(figure, Figure)
    with io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=60)
        return file.getvalue()


SKY = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": -65.0, "CRPIX1": 25.0, "CRPIX2": 20.0,
    "CD1_1": -3e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 3e-4,
}  # fmt: skip
THINGS = {
    "light curve": (curve(), {}),
    "magnitudes": (curve(), {"magnitudes": True}),
    "empty light curve": (curve(0), {}),
    "handle": (as_handle(curve()), {}),
    "row": (SimpleNamespace(data=curve()), {}),
    "event": (EVENT, {"curve": curve()}),
    "detection row": (SimpleNamespace(**vars(EVENT), data=curve()), {"title": "star"}),
    "histogram": (counts(), {}),
    "histogram of text": (counts(), {"x": "band"}),
    "map": (counts(), {"x": "snr", "y": "mag"}),
    "empty histogram": (counts().emptied(), {}),
    "efficiency": (efficiencies(), {}),
    "efficiency of kinds": (efficiencies().assign(kind="flare", coverage_low=0.1, search_low=0.2), {}),
    "spectra": (spectra(), {}),
    "one spectrum": (spectra(), {"number": 2}),
    "image": (Image(np.random.default_rng(0).normal(100, 5, (40, 50))), {"positions": [(10, 12)]}),
    "image on the sky": (Image(np.random.default_rng(0).normal(100, 5, (40, 50)), header=SKY), {}),
    "constant image": (Image(np.ones((4, 5))), {}),
    "image without a number": (Image(np.full((4, 5), np.nan)), {}),
}


@pytest.mark.parametrize("name", THINGS)
def test_everything_that_has_a_picture_is_drawn(name):
    thing, options = THINGS[name]
    assert rendered(plot(thing, **options)).startswith(b"\x89PNG")


def test_shares_of_an_efficiency_are_no_parameters_and_kinds_have_lines_of_their_own():
    both = pd.concat([efficiencies().assign(kind=kind) for kind in ("dip", "flare")])
    (axes,) = plot(both.assign(coverage_low=0.1, search_low=0.2, coverage_high=1, search_high=1)).axes
    assert axes.get_xlabel() == "amplitude"
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert len(labels) == 6
    assert labels[0] == "dip, width 1 to 3"


def test_containers_draw_themselves():
    assert rendered(curve().plot(title="a"))


def test_an_image_is_drawn_on_the_sky_where_it_has_world_coordinates():
    picture = np.random.default_rng(0).normal(100, 5, (40, 50))
    picture[10, 10] = 1e6  # one star must not make all else black: the sky is 100, its scatter 5
    axes, _ = plot(Image(picture, header=SKY), positions=[(24, 19)]).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("right ascension", "declination")
    (mark,) = axes.lines
    assert axes.wcs.all_pix2world(mark.get_xdata(), mark.get_ydata(), 0) == pytest.approx(
        np.array([[150.0], [-65.0]]), abs=1e-9
    )
    (shown,) = axes.images
    assert shown.norm.vmax < 200
    for header in ({}, SKY | {"CRVAL1": float("nan")}):
        plain, _ = plot(Image(picture, header=header)).axes
        assert plain.get_xlabel() == "x [pixel]"


def test_light_curve_shows_good_and_flagged_points_apart():
    (axes,) = plot(curve()).axes
    sizes = sorted(len(line.get_xdata()) for line in axes.lines if line.get_marker() in {"o", "x"})
    assert sizes == [1, 59]
    assert axes.get_ylabel() == "flux [µJy]"


def test_magnitudes_grow_downwards():
    (axes,) = plot(curve(), magnitudes=True).axes
    assert axes.yaxis_inverted()


def test_event_is_marked_at_its_peak_and_fills_the_picture():
    near, whole = plot(EVENT, curve=curve()).axes
    marks = [line for line in near.lines if line.get_markersize() > 10]
    assert [float(mark.get_xdata()[0]) for mark in marks] == [58030.0]
    low, high = near.get_xlim()
    assert 58015 < low < 58029 < 58031 < high < 58045
    assert "S/N +20.0" in near.get_title()
    assert whole.get_xlim()[0] < 58001


def test_histogram_bars_are_the_counts():
    histogram = counts()
    (axes,) = plot(histogram, x="snr").axes
    shown = sum(patch.get_height() for patch in axes.patches)
    assert shown + histogram.underflow("snr") + histogram.overflow("snr") == 3000
    assert f"below {histogram.underflow('snr')}" in axes.texts[0].get_text()


def test_no_global_drawing_state():
    plot(curve())
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


def test_things_without_a_picture_are_refused():
    with pytest.raises(DataError, match="dict cannot be drawn"):
        plot({})
    with pytest.raises(DataError, match="curve="):
        plot(EVENT)
