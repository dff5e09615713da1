"""The pictures: every panel is there, with and without events."""

import numpy as np
import pandas as pd
import pytest
from support.exocomets import gaussian, handle, noisy, photosphere, spectra, velocity

from virtualobserver.analyses.exocomets import Exocomets
from virtualobserver.analyses.exocomets.population import colour_and_magnitude
from virtualobserver.data import Target
from virtualobserver.data.panels import Facts
from virtualobserver.observatory import Aux
from virtualobserver.plot import draw_panels
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


def facts(panels):
    return {name: value for panel in panels if isinstance(panel, Facts) for name, value, _ in panel.rows}


@pytest.mark.parametrize("comet", [True, False])
def test_star_has_all_panels(tmp_path, comet):
    target = Target("HD 1", ra=10.0, dec=-5.0, parallax=50.0, mag=4.0, extra={"bp_rp": 0.2, "sptype": "A6V"})
    search = Exocomets()
    panels = search.source_panels(sets(comet), Aux(target), search.settings)["star"]
    titles = [panel.title for panel in panels]
    assert titles[:4] == ["Ca II K", "Ca II H", "residuals of Ca II K", "residuals of Ca II H"]
    assert titles[-1].startswith("HD 1")
    diagram = panels[titles.index("Hertzsprung-Russell diagram")]
    assert (diagram.y.scale, diagram.curves[1].x.tolist()) == ("magnitude", [0.2])
    told = facts(panels)
    assert told["events"] == ("1 exocomet candidate" if comet else "none")
    assert told["spectra"] == "12, 11 searched in 11 nights"
    assert told["spectral type"] == "A6V"
    path = tmp_path / "star.png"
    search.figures(sets(comet), Aux(target), search.settings)["star"].savefig(path, dpi=40)
    assert path.stat().st_size > 10_000


def test_star_that_cannot_be_searched_has_a_picture_too(tmp_path):
    short = [handle(spectra(one.load().flux[:1], line)) for one, line in zip(sets(), "KH", strict=True)]
    search = Exocomets()
    assert (
        "0 searched"
        in facts(search.source_panels(short, Aux(Target("HD 2")), search.settings)["star"])["spectra"]
    )
    search.figures(short, Aux(Target("HD 2")), search.settings)["star"].savefig(tmp_path / "star.png", dpi=40)


def test_an_event_is_shown_deeper_than_the_reference_where_its_mark_is():
    target = Target("HD 1", parallax=50.0, mag=4.0, extra={"bp_rp": 0.2})
    search, aux = Exocomets(), Aux(target)
    (event,) = search.find(sets(), aux, search.settings).detections
    panels = search.panels(sets(), aux, search.settings, event)
    for panel in panels[:2]:
        (span,) = panel.marks
        night, reference = (one for one in panel.curves if one.label in ("with the event", "reference"))
        inside = (reference.x > span.x) & (reference.x < span.x_end)
        deep = night.y[: len(reference)][inside] / reference.y[inside]
        assert np.nanmedian(deep) == pytest.approx(0.85, abs=0.05)
        assert span.x < 40 < span.x_end
    for panel in panels[2:4]:
        (box,) = panel.marks
        assert (box.y, box.y_end) == (3.5, 4.5)
        middles = (panel.x_edges[1:] + panel.x_edges[:-1]) / 2
        inside = (middles > box.x) & (middles < box.x_end)
        assert np.nanmedian(panel.values[4, inside]) < -5  # red
        assert abs(np.nanmedian(panel.values[5, inside])) < 1
    (diagram,) = [one for one in panels if one.title == "Hertzsprung-Russell diagram"]
    assert (diagram.curves[-1].label, diagram.curves[-1].x.tolist()) == ("HD 1", [0.2])
    assert diagram.curves[-1].y.tolist() == pytest.approx([4 + 5 * np.log10(50) - 10])
    told = facts(panels)
    assert told["velocity"] == pytest.approx(40, abs=2)
    assert told["kind"] == "exocomet candidate"


def test_completeness_shows_counts_of_every_cell(tmp_path):
    outcomes = [
        InjectionOutcome(number, {"depth": 0.05, "fwhm": 20.0, "velocity": 0.0}) for number in range(3)
    ]
    panels = Exocomets.population_panels(outcome_table(outcomes))
    draw_panels(panels, title="all stars").savefig(tmp_path / "population.png", dpi=40)
    (cell,) = [text for panel in panels for row in panel.text for text in row if text]
    assert cell == "0/3"


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
    (panel,) = Exocomets.sample_panels(table)
    figure = draw_panels([panel], title="all stars")
    figure.savefig(tmp_path / "sample.png", dpi=60)
    assert [curve.label for curve in panel.curves[1:]] == [
        "quiet (18)",
        "activity (5)",
        "unknown (1)",
        "exocomet candidate (4)",
    ]
    assert panel.note == "2 stars without colour or parallax not shown"
    bottom, top = figure.axes[0].get_ylim()
    assert bottom > 17.0 > top
    (nothing,) = Exocomets.sample_panels(pd.DataFrame({"class": ["quiet"]}))
    assert nothing.note == "1 star without colour or parallax not shown"


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
