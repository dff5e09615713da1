import io

import numpy as np
import pytest
from astropy.io import fits
from pydantic import ValidationError

from virtualobserver.data.product import RawRef, Target
from virtualobserver.maths.spectra import flags
from virtualobserver.maths.spectra import lines as spectra
from virtualobserver.observatories.harps import VirtualHARPS
from virtualobserver.observatories.harps.simulate import SCENARIOS, Comet, transmission
from virtualobserver.observatory import Aux

SMALL = {"simulation": {"nights": 5, "per_night": 2, "dead_fraction": 0.0, "cosmics": 0.0}}


def star(scenario, seed=1, **options):
    survey = VirtualHARPS(**{**SMALL, **options})
    target = Target(
        scenario, ra=86.8, dec=-51.0, mag=4.0, extra={"scenario": scenario, "radial_velocity": 20.0}
    )
    raws = [raw for _, raw in survey.simulate_raw([target], np.random.default_rng(seed))]
    return survey, target, raws


def products(scenario, seed=1, **options):
    survey, target, raws = star(scenario, seed, **options)
    return raws, survey.reduce([RawRef.of(r) for r in raws], Aux(target), survey.settings)


def test_more_nights_than_there_are_days_are_refused_with_both_numbers():
    days = {"mjd_start": 56200.9, "mjd_end": 56205.1}  # five whole steps from day to day
    VirtualHARPS(simulation={"nights": 5, **days})
    with pytest.raises(ValidationError, match="nights = 6, but from mjd_start to mjd_end there are 5"):
        VirtualHARPS(simulation={"nights": 6, **days})


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_kind_of_star_reduces_with_the_signal_it_was_given(scenario):
    raws, made = products(scenario)
    assert len(raws) == 11  # ten spectra and the star in Gaia
    good = (made[0].data.epochs["quality"] & flags.QUALITY_BAD) == 0
    assert good.sum() == (8 if scenario == "defects" else 10)
    assert np.median(made[0].data.epochs["snr"][good]) == pytest.approx(80, rel=0.5)
    assert made[0].data.meta["v_star"] == 20.0
    assert made[0].data.meta["gaia"]["match_probability"] > 0.9


def test_files_are_phase_3_with_checksums_and_say_what_was_put_in():
    _, _, raws = star("comet")
    with fits.open(io.BytesIO(raws[0].content)) as units:
        assert [unit.verify_checksum() for unit in units] == [1, 1]
        assert units[1].header["TUCD1"] == "em.wl;obs.atmos"
        assert np.isnan(units[1].data["ERR"]).all()
        assert units[0].header["ESO INS MODE"] == "HARPS"
    truth = [raw.header["truth"] for raw in raws[:-1]]
    comets = [comet for each in truth for comet in each["comets"]]
    assert comets
    assert all(0.05 <= comet["depth"] <= 0.5 and 0.5 < comet["ratio"] < 1 for comet in comets)


def test_depth_velocity_and_ratio_of_a_comet_are_those_that_were_asked_for():
    wave = np.arange(391000, 399001) / 100.0
    comet = Comet(depth=0.3, fwhm=30.0, v=50.0, acceleration=2.0, mjd_start=0.0, mjd_end=1.0)
    clear = transmission(wave, [comet], 1.5, 20.0)
    assert (clear == 1).all()
    for mjd in (0.5, 0.75):
        through = transmission(wave, [comet], mjd, 20.0)
        depths = []
        for rest in (3933.6610, 3968.4670):
            v = spectra.velocity(wave, rest)
            near = np.abs(v) < 300
            depths.append(1 - through[near].min())
            assert v[near][np.argmin(through[near])] == pytest.approx(70 + 48 * (mjd - 0.5), abs=0.8)
        assert depths[0] == pytest.approx(0.3, abs=0.002)
        assert depths[1] / depths[0] == pytest.approx(comet.ratio, abs=0.01)
    # 1/(1+exp(-tau/2)): 0.512 for an optical depth of 0.1, 0.924 for 5
    thin, thick = (Comet(1 - np.exp(-tau), 10, 0, 0, 0, 1).ratio for tau in (0.1, 5.0))
    assert (round(thin, 3), round(thick, 3)) == (0.512, 0.924)


def test_comet_shows_in_the_reduced_spectra_where_the_truth_says():
    raws, made = products("comet", seed=4, simulation={**SMALL["simulation"], "depth": [0.4, 0.5]})
    data = made[0].data
    truth = {raw.archive_id: raw.header.get("truth", {}).get("comets", []) for raw in raws}
    v = spectra.stellar_velocity(spectra.velocity(data.wave, data.meta["rest"]), 20.0)
    with_comet = [n for n, name in enumerate(data.epochs["archive_id"]) if truth[str(name)]]
    clear = [n for n in range(len(data)) if n not in with_comet]
    assert with_comet
    assert clear
    normal = data.flux / data.flux[:, np.abs(v) > 500].mean(axis=1, keepdims=True)
    for n in with_comet:
        for comet in truth[str(data.epochs["archive_id"][n])]:
            if abs(comet["v"]) > 150:
                continue
            middle = 0.5 * (comet["mjd_start"] + comet["mjd_end"])
            center = comet["v"] + comet["acceleration"] * 24 * (data.mjd[n] - middle)
            near = np.abs(v - center) < comet["fwhm"] / 3
            ratio = normal[n, near].mean() / normal[clear][:, near].mean()
            assert ratio < 0.85


def test_defects_are_five_different_ones():
    raws, made = products("defects")
    assert [raw.header["truth"]["defect"] for raw in raws[:6]] == [
        "dead",
        "nan",
        "absurd",
        "spikes",
        "keywords",
        "",
    ]
    bits = made[0].data.epochs["quality"][:6].tolist()
    want = [
        flags.QUALITY_DEAD,
        flags.QUALITY_NOT_FINITE,
        flags.QUALITY_SPIKES,
        flags.QUALITY_SPIKES,
        flags.QUALITY_KEYWORD,
    ]
    assert all(bit & wanted for bit, wanted in zip(bits, want, strict=False))
    assert bits[5] == 0


def test_binary_moves_and_quiet_star_does_not():
    rv = {name: np.ptp(products(name)[1][0].data.epochs["rv"]) for name in ("binary", "quiet")}
    assert rv["binary"] > 5
    assert rv["quiet"] < 0.1


def test_star_does_not_depend_on_the_others_of_its_batch():
    survey = VirtualHARPS(**SMALL)

    class Simulated:
        origin = "simulated"
        folders = ()

        def rng(self, *names):
            return np.random.default_rng([1, *"".join(names).encode()])

    a, b = Target("a", ra=1.0, dec=2.0), Target("b", ra=3.0, dec=4.0)
    both = [raw.content for target, raw in survey.fetch([a, b], Simulated()) if target is b]
    alone = [raw.content for _, raw in survey.fetch([b], Simulated())]
    assert both == alone
