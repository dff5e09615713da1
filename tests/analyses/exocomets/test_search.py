"""The analysis on spectra made here: classes, defects, nights, frequent absorbers, injection."""

import numpy as np
import pytest
from support.exocomets import find, gaussian, handle, noisy, photosphere, spectra, velocity
from support.real import real_data

from virtualobserver import Project
from virtualobserver.analyses.exocomets import Exocomets
from virtualobserver.analyses.exocomets.stars import stars_of
from virtualobserver.data import Target
from virtualobserver.data.handles import MemoryHandle, ProductInfo
from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.observatory import Aux
from virtualobserver.simulate import Simulator, efficiency

CANDIDATE = "exocomet_candidate"


def pair(seed, n=20, comets=(), noise=0.01, lag1=0.0, mjd=None, slope=True, **columns):
    """Return K and H of one star; a comet is (rows, v, fwhm, depth in K, ratio)."""
    rng = np.random.default_rng(seed)
    sets = []
    for line in ("K", "H"):
        flux = noisy(photosphere(line), rng, n, noise, lag1)
        for rows, v, fwhm, depth, ratio in comets:
            share = depth * (1 if line == "K" else ratio)
            flux[rows] -= share * photosphere(line) * gaussian(velocity(line), v, fwhm)
        tilt = 1 + (rng.uniform(-0.02, 0.02, (n, 1)) * velocity(line) / 760 if slope else 0)
        scale = rng.uniform(50, 5000, (n, 1))
        sets.append(spectra((flux * scale * tilt).astype(np.float32), line, mjd, **columns))
    return sets


def candidates(result):
    return [event for event in result.detections if event.kind == CANDIDATE]


def test_comet_in_k_and_h_is_found_with_all_its_numbers():
    sets = pair(1, comets=[([5], 40.0, 20.0, 0.1, 0.7)])
    for one in sets:
        one.meta["v_star"] = 21.0
    (event,) = find(Exocomets(), *sets).detections
    numbers = event.parameters
    assert event.kind == CANDIDATE
    assert numbers["velocity"] == pytest.approx(19, abs=3)
    assert numbers["velocity_barycentric"] == pytest.approx(numbers["velocity"] + 21.0)
    assert numbers["fwhm"] == pytest.approx(20, rel=0.25)
    assert numbers["depth_k"] == pytest.approx(0.1, rel=0.2)
    assert numbers["ratio"] == pytest.approx(0.7, abs=3 * numbers["ratio_error"])
    assert numbers["fap"] < 1e-6
    reference, v = photosphere("K"), velocity("K")
    step = 0.01 * 1000
    expected = (0.1 * reference * gaussian(v, 40.0, 20.0)).sum() * step
    assert numbers["ew_k"] == pytest.approx(expected, rel=0.15)
    assert event.snr > 12
    assert event.start_mjd < sets[0].mjd[5] < event.end_mjd
    assert numbers["n_spectra"] == 1
    assert event.product == 0


def test_two_lines_show_more_than_one():
    rng = range(8)
    both, one = [], []
    for seed in rng:
        sets = pair(seed, comets=[([5], 40.0, 15.0, 0.06, 1.0)])
        both.append(max((e.snr for e in find(Exocomets(), *sets).detections), default=0))
        one.append(max((e.snr for e in find(Exocomets(line="K"), *sets).detections), default=0))
    assert np.median(both) > 1.25 * np.median(one)


def test_velocities_are_those_of_the_star():
    sets = [
        spectra(one.flux, line, v_star=0.0)
        for one, line in zip(pair(2, comets=[([5], 60.0, 20.0, 0.15, 0.8)]), "KH", strict=True)
    ]
    moved = [
        type(one)(one.wave, one.flux, one.error, one.mask, one.epochs, meta=dict(one.meta) | {"v_star": 25.0})
        for one in sets
    ]
    (still,), (shifted,) = (find(Exocomets(), *both).detections for both in (sets, moved))
    assert still.parameters["velocity"] - shifted.parameters["velocity"] == pytest.approx(25.0, abs=0.5)
    assert shifted.parameters["velocity_barycentric"] == pytest.approx(60.0, abs=2.5)


def test_several_comets_in_one_spectrum_are_told_apart():
    comets = [([5], 40.0, 15.0, 0.15, 0.8), ([5], -60.0, 15.0, 0.12, 0.8), ([5], 95.0, 30.0, 0.1, 0.8)]
    events = candidates(find(Exocomets(), *pair(3, comets=comets)))
    found = sorted(event.parameters["velocity"] for event in events)
    assert found == pytest.approx([-60.0, 40.0, 95.0], abs=4.0)


def test_one_comet_followed_through_a_night_is_one_event_with_its_acceleration():
    hours = np.arange(6) * 0.6
    mjd = np.concatenate([55000.1 + hours / 24, 55010.2 + np.arange(20)])
    comets = [([i], 20.0 + 5.0 * hours[i], 12.0, 0.12, 0.8) for i in range(6)]
    (event,) = candidates(find(Exocomets(), *pair(4, n=26, comets=comets, mjd=mjd)))
    assert event.parameters["n_spectra"] == 6
    assert event.parameters["acceleration"] == pytest.approx(
        5.0, abs=4 * event.parameters["acceleration_error"]
    )
    assert event.parameters["acceleration_error"] < 1.0
    assert event.end_mjd - event.start_mjd > 2.9 / 24
    assert event.snr > 2 * event.score


@pytest.mark.parametrize("frequent", [12, 20, 28])
def test_star_that_absorbs_in_most_nights_is_seen_against_its_upper_envelope(frequent):
    rng = np.random.default_rng(5)
    rows = np.sort(rng.permutation(40)[:frequent])
    comets = [([row], rng.uniform(10, 40), 15.0, 0.2, 0.8) for row in rows]
    sets = pair(6, n=40, comets=comets)
    events = candidates(find(Exocomets(reference="quantile"), *sets))
    nights = {event.parameters["night"] for event in events}
    hit = set((55000 + rows).tolist())
    assert len(nights & hit) >= 0.9 * frequent
    assert len(nights - hit) <= 2


def test_defects_of_files_hide_no_comet_and_are_named():
    sets = pair(7, n=24, comets=[([5], 40.0, 20.0, 0.1, 0.8)])
    broken = []
    for one in sets:
        flux = one.flux.copy()
        flux[2] = 0.0
        flux[3, 1990] = np.nan
        flux[8] *= np.float32(1e21)
        flux[9, ::50] = 1e21
        flux[5, 1500] = np.nan
        flux[11] = flux[10]
        broken.append(spectra(flux, one.meta["line"][-1]))
    result = find(Exocomets(), *broken)
    (event,) = candidates(result)
    assert event.peak_mjd == broken[0].mjd[5]
    reasons = {round(one["mjd"] - 55000.2): one["reason"] for one in result.properties["left_out"]}
    assert reasons == {2: "no usable signal in K", 11: "repeats an earlier exposure"}
    assert result.properties["n_searched"] == 22


def test_cosmic_rays_and_dead_columns_make_no_event_and_hide_none():
    sets = pair(8, comets=[([5], 40.0, 20.0, 0.1, 0.8)])
    rng = np.random.default_rng(8)
    for one in sets:
        flux = one.flux.copy()
        for row in range(20):
            pixel = int(rng.integers(1600, 2400))
            flux[row, pixel : pixel + 2] *= 3.0
        flux[5, 1900:1902] *= 0.2
        object.__setattr__(one, "flux", flux)
    (event,) = find(Exocomets(), *sets).detections
    assert event.kind == CANDIDATE
    assert event.parameters["velocity"] == pytest.approx(40, abs=4)


def test_narrow_lined_binary_is_called_one_and_has_no_candidates():
    rng = np.random.default_rng(9)
    n = 30
    v_orbit = 8.0 * np.sin(2 * np.pi * np.arange(n) / 7.3)
    sets = []
    for line in ("K", "H"):
        v = velocity(line)
        rows = []
        for shift in v_orbit:
            flux = 1 - 0.5 * gaussian(v, shift, 200.0)
            for centre, depth in ((0, 0.6), (-130, 0.4), (85, 0.3), (210, 0.35), (-240, 0.3), (150, 0.25)):
                flux = flux * (1 - depth * gaussian(v, centre + shift, 10.0))
            rows.append(flux)
        flux = np.array(rows)
        flux += 0.01 * np.sqrt(flux) * rng.standard_normal(flux.shape)
        sets.append(spectra(flux.astype(np.float32), line))
    result = find(Exocomets(), *sets)
    assert result.properties["class"] == "binary"
    assert result.properties["rv_scatter"] == pytest.approx(np.std(v_orbit), rel=0.1)
    assert not candidates(result)
    assert {event.kind for event in result.detections} == {"binary"}


def test_star_with_comets_is_not_called_a_binary():
    comets = [([k], 30.0, 20.0, 0.15, 0.8) for k in (3, 8, 14)]
    result = find(Exocomets(), *pair(10, comets=comets))
    assert result.properties["class"] == CANDIDATE
    assert result.properties["n_candidate_nights"] == 3


def test_rotating_emission_core_is_activity():
    rng = np.random.default_rng(11)
    mjd = 55000.1 + np.arange(30) * 1.37
    sets = []
    for line, height in (("K", 1.5), ("H", 1.1)):
        v = velocity(line)
        flux = 0.4 + 0.6 * (1 - gaussian(v, 0, 400.0)) + height * gaussian(v, 0, 90.0)
        phase = 2 * np.pi * mjd / 0.51
        spots = [
            flux * (1 + 0.1 * gaussian(v, 70 * np.sin(p), 30.0) - 0.1 * gaussian(v, 70 * np.cos(p), 25.0))
            for p in phase
        ]
        rows = np.array(spots)
        rows += 0.01 * np.sqrt(rows) * rng.standard_normal(rows.shape)
        sets.append(spectra(rows.astype(np.float32), line, mjd))
    result = find(Exocomets(), *sets)
    assert result.properties["class"] == "activity"
    assert result.detections
    assert not candidates(result)


def test_dip_in_one_spectrum_of_a_burst_is_no_candidate():
    mjd = np.concatenate([55000.1 + np.arange(10) * 0.004, 55010.2 + np.arange(15)])
    result = find(Exocomets(), *pair(12, n=25, mjd=mjd, comets=[([4], 30.0, 4.0, 0.3, 0.9)]))
    assert [event.kind for event in result.detections] == ["instrument"]
    wide = find(Exocomets(), *pair(12, n=25, mjd=mjd, comets=[([4], 30.0, 25.0, 0.2, 0.9)]))
    assert [event.kind for event in wide.detections] == ["unclear"]


def test_absorption_in_k_alone_is_unclear():
    result = find(Exocomets(), *pair(13, comets=[([5], 30.0, 20.0, 0.15, 0.0)]))
    assert {event.kind for event in result.detections} == {"unclear"}


def test_line_of_the_observatory_is_an_instrument():
    n = 24
    berv = 25.0 * np.sin(2 * np.pi * np.arange(n) / n)
    comets = [([row], -50.0 + berv[row], 8.0, 0.15, 0.8) for row in range(0, n, 4)]
    result = find(Exocomets(reference="mean"), *pair(14, n=n, comets=comets, berv=berv))
    assert {event.kind for event in result.detections} == {"instrument"}


def test_hydrogen_line_beside_h_is_left_out():
    sets = pair(15)
    flux = sets[1].flux.copy()
    flux[5] *= (1 - 0.4 * gaussian(velocity("H"), 121.0, 20.0)).astype(np.float32)
    result = find(Exocomets(line="H"), spectra(flux, "H"))
    assert not result.detections
    assert find(Exocomets(line="H", hepsilon=0.0), spectra(flux, "H")).detections


def test_correlated_noise_raises_few_false_alarms():
    found = sum(bool(find(Exocomets(), *pair(100 + seed, lag1=0.22)).detections) for seed in range(25))
    result = find(Exocomets(), *pair(100, lag1=0.22))
    assert found <= 1
    assert result.properties["lag1_k"] == pytest.approx(0.22, abs=0.06)


def test_noise_is_measured_and_not_taken_from_counts():
    result = find(Exocomets(), *pair(16, noise=0.7))
    assert result.properties["snr_k"] == pytest.approx(1 / 0.7, rel=0.1)


def test_snr_cut_leaves_spectra_out_and_says_so():
    sets = pair(17, snr=np.where(np.arange(20) < 4, 5.0, 50.0))
    for options in ({"SNR_cut": 10}, {"snr_cut": 10.0}):
        result = find(Exocomets(**options), *sets)
        assert result.properties["n_searched"] == 16
        assert result.properties["left_out"][0]["reason"] == "S/N 5 below 10"


def test_exposures_that_only_one_line_has_are_not_searched():
    k, h = pair(18, comets=[([5], 40.0, 20.0, 0.12, 0.8)])
    keep = np.arange(20) != 9
    part = spectra(h.flux[keep], "H", h.mjd[keep])
    result = find(Exocomets(), k, part)
    assert result.properties["n_searched"] == 19
    assert len(candidates(result)) == 1


def test_few_spectra_are_no_error():
    for n in (1, 2, 3):
        result = find(Exocomets(), *pair(19, n=n))
        assert not result.detections
        assert result.properties["n_spectra"] == n


def test_sodium_is_measured_where_there_is_a_product():
    sets = pair(20, comets=[([5], 40.0, 20.0, 0.15, 0.8)])
    wave = 5889.951 + 0.01 * np.arange(-3000, 3001)
    v = 299792.458 * (wave / 5889.951 - 1)
    rng = np.random.default_rng(1)
    flux = 1 + 0.01 * rng.standard_normal((20, wave.size))
    flux[5] -= 0.05 * gaussian(v, 40.0, 20.0)
    sodium = spectra(flux, "K", wave=wave)
    sodium.meta.update(line="Na D2", rest=5889.951)
    info = ProductInfo(kind="spectrum", role="reduced", series="Na D2", observatory="harps")
    handles = [*map(handle, sets), MemoryHandle(sodium, info)]
    analysis = Exocomets()
    (event,) = analysis.find(handles, Aux(Target("star")), analysis.settings).detections
    assert event.parameters["depth_na_d2"] == pytest.approx(0.05, abs=0.012)
    assert event.parameters["k_over_na_d2"] == pytest.approx(3.0, abs=1.2)


def test_wrong_frame_is_refused():
    k, _ = pair(21)
    vacuum = type(k)(k.wave, k.flux, k.error, k.mask, k.epochs, medium="vacuum", meta=k.meta)
    with pytest.raises(DataError, match="vacuum"):
        find(Exocomets(), vacuum)


def test_input_stays_and_results_repeat():
    sets = pair(22, comets=[([5], 40.0, 20.0, 0.1, 0.8)])
    copies = [one.flux.copy() for one in sets]
    first, second = find(Exocomets(), *sets), find(Exocomets(), *sets)
    assert first.detections == second.detections
    assert first.properties == second.properties
    assert first.histograms == second.histograms
    for one, copy in zip(sets, copies, strict=True):
        np.testing.assert_array_equal(one.flux, copy)


def test_injected_comets_are_found_as_often_as_the_completeness_says():
    sets = pair(23, n=15)
    analysis = Exocomets(
        simulate={
            "depth": [0.05, 0.0501],
            "fwhm": [29.0, 30.0],
            "velocity_mean": 50.0,
            "velocity_scatter": 5.0,
            "duration": [1.0, 2.0],
            "profiles": ["gaussian"],
            "ratio": [0.5, 0.51],
        }
    )
    handles = [handle(one) for one in sets]
    aux = Aux(Target("star"))
    outcomes = Simulator(analysis).run(handles, aux, range(12), digest="d")
    share = np.mean([one.recovered for one in outcomes])
    said = analysis.find(handles, aux, analysis.settings).properties["completeness_typical"]
    assert said > 0.9
    assert share >= 0.8
    table = efficiency(outcomes, by=("depth", "fwhm", "velocity"), bins=2)
    assert int(table["injected"].sum()) == 12
    again = Simulator(analysis).run(handles, aux, range(2), digest="d")
    assert [one.params for one in again] == [one.params for one in outcomes[:2]]


def test_comet_too_faint_is_neither_found_nor_said_to_be():
    analysis = Exocomets(simulate={"depth": [0.005, 0.006], "profiles": ["optical_depth"]})
    handles = [handle(one) for one in pair(24, n=10)]
    outcomes = Simulator(analysis).run(handles, Aux(Target("star")), range(6), digest="d")
    assert not any(one.recovered for one in outcomes)
    properties = analysis.find(handles, Aux(Target("star")), analysis.settings).properties
    fractions = np.array(properties["completeness"]["fraction"])
    assert fractions.shape[0] == len(properties["completeness"]["depth"])
    assert fractions[0, :5].max() < 0.1
    assert fractions[-1].max() > 0.99
    assert properties["rate_limit"] > properties["rate"] == 0.0


def test_injection_refuses_data_without_spectra():
    analysis = Exocomets()
    with pytest.raises(NotEnoughData):
        analysis.draw(np.random.default_rng(1), [], analysis.settings)


@pytest.mark.parametrize("tau", [0.3, 3.0, 10.0])
@pytest.mark.parametrize("centre", [-48.0, 12.0, 72.0])
def test_deep_wide_thick_comet_is_one_event(tau, centre):
    sets = pair(7, n=18, noise=0.0125)
    # the width of the cloud that is observed 104 km/s wide: optical depth flattens the middle
    half = -np.log1p(-0.5 * -np.expm1(-tau)) / tau
    cloud = gaussian(velocity("K"), centre, 104.0 / np.sqrt(np.log2(1.0 / half)))
    for one, share in zip(sets, (1.0, 0.5), strict=True):
        covered = 0.59 / -np.expm1(-tau)
        flux = one.flux.copy()
        flux[5] *= (1.0 - covered * -np.expm1(-tau * share * cloud)).astype(np.float32)
        object.__setattr__(one, "flux", flux)
    (event,) = find(Exocomets(), *sets).detections
    assert event.kind == CANDIDATE
    # Beside the gap around the hydrogen line, H has half of its pixels: a twelfth of the width.
    assert event.parameters["velocity"] == pytest.approx(centre, abs=104 / 12)
    assert event.parameters["fwhm"] == pytest.approx(104.0, rel=0.3)
    assert event.parameters["depth_k"] == pytest.approx(0.59, abs=0.13)


def test_what_catalogues_know_of_the_star_is_in_its_properties():
    sets = pair(3)
    for one in sets:
        one.meta["simbad"] = {"main_id": "* bet Pic", "sptype": "A6V", "aliases": ["HD 39060"], "pmra": 4.65}
        one.meta["gaia"] = {"source_id": "4792774797545800832", "bp_rp": 1.2}
    known = find(Exocomets(), *sets).properties
    assert (known["simbad_main_id"], known["simbad_sptype"], known["simbad_pmra"]) == (
        "* bet Pic",
        "A6V",
        4.65,
    )
    assert known["simbad_aliases"] == ["HD 39060"]
    assert known["gaia_source_id"] == "4792774797545800832"
    assert known["spectral_class"] == "A"  # a spectrum tells it better than a colour
    assert find(Exocomets(), *sets, sptype="F2V", vsini=None).properties["spectral_class"] == "F"


def test_star_with_one_spectrum_was_not_searched():
    for method in ("matched", "published"):
        result = find(Exocomets(method=method), *pair(30, n=1))
        assert result.properties["class"] == "not_searched"
    assert find(Exocomets(), *pair(30, n=12)).properties["class"] == "quiet"


def test_velocities_of_a_star_whose_own_is_not_known_are_called_barycentric():
    def star(sets):
        (one,) = stars_of([handle(one) for one in sets], Target("star"), line="both", snr_cut=0.0)
        return one

    sets = pair(31, n=6)
    assert star(sets).axis == "velocity in the star's frame"
    for one in sets:
        one.meta["v_star_source"] = "none"
    assert (star(sets).v_star, star(sets).v_known) == (0.0, False)
    assert "barycentre" in star(sets).axis
    assert find(Exocomets(), *sets).properties["v_star_known"] is False


@pytest.mark.real
@pytest.mark.parametrize(("name", "spectra"), [("two_nights", 5), ("pairs", 4)])
def test_comet_of_one_night_is_one_event_whatever_the_gaps(tmp_path, url, name, spectra):
    configuration = {
        "name": "few",
        "catalog": {"rows": [{"name": "X", "ra": 86.0, "dec": -51.0}]},
        "observatories": {"harps": {"archive": str(real_data("reports", "harps", name))}},
        "analyses": {"exocomets": {}},
    }
    with Project.open(configuration, data=tmp_path / "data", url=url) as project:
        assert project.run().failed == 0
        found = project.detections().query("kind == 'exocomet_candidate'")
        (event,) = found["parameters"]
        assert event["velocity"] == pytest.approx(40, abs=4)
        assert event["n_spectra"] == spectra
