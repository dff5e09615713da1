"""The search for flares and dips on light curves that it and its injection know nothing of, in small numbers."""

from __future__ import annotations

import numpy as np
import pytest
from support.real import real_data
from support.ztf import reduced

from truth.lightcurves import VARIABLES, WINGED, Sky, event, star, winged
from truth.measure_transients import PERIODIC, RECURRENT, confirmed, covered, found, rows, search
from virtualobserver.conventions import FLAG_UNCONFIRMED
from virtualobserver.data import Target, TimeSeries
from virtualobserver.observatories.ztf import VirtualZTF
from virtualobserver.observatories.ztf.raw import lightcurve_raw

NUMBER, STARS = 40, 25


def recalled(kind, duration, number=NUMBER, seed=0, **options):
    """Return of how many events that two epochs cover the share that is found, and the results."""
    rng = np.random.default_rng([seed, int(duration), kind == "dip"])
    truths = [event(rng, kind, duration=duration, strength=5.0) for _ in range(number)]
    stars = [star(rng, signals=[one.signal]) for one in truths]
    seen = [covered(c, one) for c, one in zip(stars, truths, strict=True)]
    results = search(stars, "matched", **options)
    hits = [found(r, one) for r, one, ok in zip(results, truths, seen, strict=True) if ok]
    return np.mean(hits), results


@pytest.mark.parametrize("kind", ["flare", "dip"])
@pytest.mark.parametrize(("duration", "least"), [(10.0, 0.85), (30.0, 0.95), (100.0, 0.95)])
def test_events_of_any_duration_are_found_at_five_sigma_an_epoch(kind, duration, least):
    assert recalled(kind, duration)[0] >= least


def test_a_long_event_is_one_event_of_both_bands_and_says_what_confirms_it():
    _, results = recalled("dip", 30.0, 20)
    whole = 0
    for result in results:
        sure = [one for one in result.detections if not one.quality & FLAG_UNCONFIRMED]
        assert len(sure) <= 2
        for one in sure:
            seen = one.parameters
            assert seen["n_epochs"] >= seen["n_nights"] >= 1
            assert seen["p_value"] <= 0.005
        whole += [one.parameters["bands"] for one in sure] == [["zg", "zr"]]
    assert whole >= 18


@pytest.mark.parametrize("name", list(WINGED))
def test_an_event_with_long_wings_is_one_event_and_not_what_the_star_does(name):
    rng = np.random.default_rng(9)
    truths = [winged(rng, name) for _ in range(20)]
    results = search([star(rng, signals=[one.signal]) for one in truths], "matched")
    assert sum(found(r, one) for r, one in zip(results, truths, strict=True)) >= 18
    sure = [sum(not one.quality & FLAG_UNCONFIRMED for one in result.detections) for result in results]
    assert sure.count(1) >= 17


@pytest.mark.parametrize(
    ("sky", "mag"),
    [(Sky(), 15.5), (Sky(), 19.0), (Sky(outliers=0.004), 15.5), (Sky(fields=0.08), 15.5)],
    ids=["bright", "faint", "wild epochs", "fields apart"],
)
def test_constant_stars_have_no_confirmed_event(sky, mag):
    rng = np.random.default_rng(8)
    results = search([star(rng, sky, mag=mag) for _ in range(100)], "matched")
    assert sum(map(confirmed, results)) <= 3  # at a rate of 1 %, 4 of 100 have a chance of 0.02


def test_chances_of_quiet_stars_are_even():
    rng = np.random.default_rng(9)
    chances = [one.properties["p_value"] for one in search([star(rng) for _ in range(300)], "matched")]
    for chance in (0.05, 0.25, 0.5):
        error = np.sqrt(chance * (1 - chance) / 300)
        assert np.mean(np.array(chances) < chance) == pytest.approx(chance, abs=4 * error)


@pytest.mark.parametrize("name", VARIABLES)
def test_what_a_variable_does_all_the_time_is_no_event_outside_its_class(name):
    rng = np.random.default_rng(10)
    results = search([star(rng, signals=[VARIABLES[name](rng)]) for _ in range(STARS)], "matched")
    assert sum(map(confirmed, results)) <= 3
    if name in RECURRENT:
        assert (
            np.mean([one.properties["n_groups"] == 1 and len(one.detections) > 1 for one in results]) >= 0.9
        )
        told = {one.properties["variability"] for one in results}
        assert {"dwarf nova": "outbursts", "Algol": "eclipses"}[name] in told
    if name in PERIODIC:
        assert np.mean([one.properties["variability"] == "periodic" for one in results]) >= 0.9


def test_a_period_is_told_of_stars_that_repeat_and_of_no_walk_or_trend():
    rng = np.random.default_rng(12)

    def periods(signals):
        results = search([star(rng, signals=[one]) for one in signals], "matched")
        return np.array([one.properties.get("period", np.nan) for one in results])

    wanted = np.linspace(0.3, 40.0, 12)
    waves = [lambda t, b, p=p: 1.0 + 0.15 * np.sin(2 * np.pi * t / p) for p in wanted]
    assert periods(waves) == pytest.approx(wanted, rel=1e-3)
    others = [
        VARIABLES[name](rng) for name in ("trend of 0.3 mag a year", "quasar, 0.2 mag") for _ in range(8)
    ]
    assert np.isfinite(periods(others)).sum() <= 2


def wild(rows_):
    """Return a constant star with so many neighbouring epochs 12 errors up."""
    rng = np.random.default_rng(11)
    flux = 1000 + 20 * rng.standard_normal(200)
    flux[90 : 90 + rows_] += 240
    columns = {"mjd": 58000 + 2.0 * np.arange(200), "flux": flux, "flux_error": np.full(200, 20.0)}
    return [TimeSeries(columns | {"flags": np.zeros(200, dtype=np.int64)}, band="g")]


def test_one_epoch_is_an_event_that_is_not_confirmed_and_two_confirm_each_other():
    (one,), (two,) = (search([wild(n)], "matched")[0].detections for n in (1, 2))
    assert one.quality == FLAG_UNCONFIRMED
    assert (one.parameters["n_epochs"], one.parameters["confirmed"]) == (1, False)
    assert two.quality == 0
    assert (two.parameters["n_epochs"], two.parameters["confirmed"]) == (2, True)
    assert search([wild(1)], "matched", drop_flagged_quality=True)[0].detections == ()


def test_what_confirms_an_event_is_set():
    three = [wild(3)]
    assert search(three, "matched")[0].detections[0].quality == 0
    assert search(three, "matched", min_epochs=4)[0].detections[0].quality == FLAG_UNCONFIRMED
    assert search(three, "matched", min_bands=2)[0].detections[0].quality == FLAG_UNCONFIRMED


@pytest.mark.real
def test_real_events_of_a_star_are_found_by_both_methods():
    raw = lightcurve_raw(real_data("ztf", "ZTF_lightcurve.csv").read_bytes(), "star")
    products = reduced(VirtualZTF(gap=40.0), [raw], Target("star", ra=359.99975, dec=51.39372))
    curves = [product.data for product in products]
    published, matched = (search([curves], method)[0].detections for method in ("published", "matched"))
    assert [round(one.peak_mjd) for one in published] == [58801, 59094, 59334, 59497]
    assert {one.peak_mjd for one in published} <= {one.peak_mjd for one in matched}


def test_the_table_holds_both_methods_of_every_case():
    made = list(rows(2, 0))
    assert {row.method for row in made} == {"any", "matched", "published"}
    assert {row.case for row in made} >= set(VARIABLES)
    assert all(0 <= row.hits <= row.tries for row in made)
