"""The pictures: every panel is there, with and without events."""

import numpy as np
import pandas as pd
import pytest
from support.exocomets import gaussian, handle, noisy, photosphere, spectra, velocity

from virtualobserver.analyses.exocomets import Exocomets
from virtualobserver.analyses.exocomets.population import colour_and_magnitude
from virtualobserver.data import Target
from virtualobserver.observatory import Aux
from virtualobserver.simulate import InjectionOutcome, outcome_table


def sets(comet=True):
    rng = np.random.default_rng(1)
    made = []
    for line in ("K", "H"):
        flux = noisy(photosphere(line), rng, 12)
        if comet:
            flux[4] *= 1 - 0.2 * gaussian(velocity(line), 40, 20)
        flux[7] = 0
        made.append(spectra(flux.astype(np.float32), line))
    return [handle(one) for one in made]


@pytest.mark.parametrize("comet", [True, False])
def test_star_has_all_panels(tmp_path, comet):
    target = Target("HD 1", ra=10.0, dec=-5.0, parallax=50.0, mag=4.0, extra={"bp_rp": 0.2, "sptype": "A6V"})
    figure = Exocomets().figures(sets(comet), Aux(target))["star"]
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[0].startswith("HD 1")
    assert sum(title.startswith("Ca II") for title in titles) == 2
    assert sum(title.startswith("residual") for title in titles) == 2
    assert "Hertzsprung-Russell diagram" in titles
    text = figure.axes[0].texts[0].get_text()
    assert ("1 exocomet candidate" in text) == comet
    assert "12 spectra, 11 searched in 11 nights" in text
    path = tmp_path / "star.png"
    figure.savefig(path, dpi=40)
    assert path.stat().st_size > 10_000


def test_star_that_cannot_be_searched_has_a_picture_too(tmp_path):
    short = [handle(spectra(one.load().flux[:1], line)) for one, line in zip(sets(), "KH", strict=True)]
    figure = Exocomets().figures(short, Aux(Target("HD 2")))["star"]
    figure.savefig(tmp_path / "star.png", dpi=40)
    assert "0 searched" in figure.axes[0].texts[0].get_text()


def test_completeness_shows_counts_of_every_cell(tmp_path):
    outcomes = [
        InjectionOutcome(number, {"depth": 0.05, "fwhm": 20.0, "velocity": 0.0}) for number in range(3)
    ]
    figure = Exocomets.population_figure(outcome_table(outcomes), title="all stars")
    figure.savefig(tmp_path / "population.png", dpi=40)
    assert "0/3" in [text.get_text() for axes in figure.axes for text in axes.texts]


def test_processed_products_hold_the_residuals():
    analysis = Exocomets(save_processed=True)
    result = analysis.find(sets(), Aux(Target("HD 1")), analysis.settings)
    assert [product.series for product in result.products] == ["K", "H"]
    data = result.products[0].data
    assert (data.wave_unit, data.frame, len(data)) == ("km/s", "stellar", 11)
    at = int(np.argmin(np.abs(data.wave - 40)))
    assert data.flux[4, at - 5 : at + 6].mean() == pytest.approx(-0.2, abs=0.02)


def test_the_sample_stands_in_the_diagram_by_class_and_who_has_no_place_is_counted(tmp_path):
    rng = np.random.default_rng(4)
    colours = rng.uniform(0.0, 2.0, 30)
    table = pd.DataFrame(
        {
            "class": ["quiet"] * 20 + ["exocomet_candidate"] * 4 + ["activity"] * 5 + [None],
            "bp_rp": colours,
            "absolute_mag": 1.2 + 4.3 * colours + rng.normal(0.0, 0.4, 30),
        }
    )
    table.loc[[0, 1], "bp_rp"] = None
    table.loc[2, "absolute_mag"] = 17.0
    figure = Exocomets.sample_figure(table, title="all stars")
    figure.savefig(tmp_path / "sample.png", dpi=60)
    (axes,) = figure.axes
    assert axes.get_title() == "all stars"
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["quiet (18)", "activity (5)", "unknown (1)", "exocomet candidate (4)"]
    assert [text.get_text() for text in axes.texts] == ["2 stars without colour or parallax not shown"]
    bottom, top = axes.get_ylim()
    assert bottom > 17.0 > top
    nothing = Exocomets.sample_figure(pd.DataFrame({"class": ["quiet"]}))
    assert nothing.axes[0].texts[0].get_text() == "1 star without colour or parallax not shown"


def test_the_place_in_the_diagram_is_of_the_catalogue_else_of_gaia():
    gaia = {"bp_rp": 0.3, "mag": 4.0, "parallax": 100.0}
    assert colour_and_magnitude(Target("a"), gaia) == pytest.approx((0.3, 4.0))
    own = Target("a", parallax=10.0, mag=9.0, extra={"bp_rp": 0.5, "phot_g_mean_mag": 8.0})
    assert colour_and_magnitude(own, gaia) == pytest.approx((0.5, 3.0))
    assert colour_and_magnitude(Target("a", parallax=-1.0, mag=9.0), {"bp_rp": 0.3}) is None
    assert colour_and_magnitude(Target("a", parallax=10.0, mag=9.0), {}) is None


@pytest.mark.parametrize("method", ["matched", "published"])
def test_every_method_says_where_the_star_stands(method):
    target = Target("HD 1", parallax=50.0, mag=4.0, extra={"bp_rp": 0.2})
    analysis = Exocomets(method=method)
    found = analysis.find(sets(), Aux(target), analysis.settings).properties
    assert (found["bp_rp"], found["absolute_mag"]) == pytest.approx((0.2, 4 + 5 * np.log10(50) - 10))
    found = analysis.find(sets(), Aux(Target("HD 2")), analysis.settings).properties
    assert (found["bp_rp"], found["absolute_mag"]) == (None, None)
