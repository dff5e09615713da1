"""The parts of the search by themselves: noise, reference, filter, tail, profiles, rates, classes."""

import numpy as np
import pytest
from support.exocomets import gaussian, grid, noisy, photosphere, velocity

from virtualobserver.analyses.exocomets.matched.classes import event_class, is_binary, star_class
from virtualobserver.analyses.exocomets.matched.features import emission_core, fit_shifts
from virtualobserver.analyses.exocomets.matched.filter import joint_snr, make_bank, template_widths
from virtualobserver.analyses.exocomets.matched.lines import (
    fit_continuum,
    line_spectra,
    mask_spikes,
    median_spectrum,
    noise_model,
)
from virtualobserver.analyses.exocomets.matched.profiles import (
    Comet,
    doublet_ratio,
    equivalent_width,
    transmission,
)
from virtualobserver.analyses.exocomets.matched.rates import (
    comet_rate,
    comet_rates,
    completeness_map,
    expected_completeness,
)
from virtualobserver.analyses.exocomets.matched.reference import (
    collect_votes,
    mean_reference,
    quantile_reference,
    voting_groups,
)
from virtualobserver.analyses.exocomets.matched.split import Amplitudes, quiet_votes
from virtualobserver.analyses.exocomets.matched.tracks import NullTail, null_tail
from virtualobserver.analyses.exocomets.settings import ExocometsSettings
from virtualobserver.errors import DataError


def lines_of(flux, line="K"):
    rest = {"K": 3933.6610, "H": 3968.4670}[line]
    return line_spectra(grid(line), flux, np.zeros(flux.shape, np.uint8), rest=rest)


def prepared(flux):
    lines = lines_of(flux)
    middle = median_spectrum(lines)
    lines = fit_continuum(lines, middle)
    middle = median_spectrum(lines)
    return lines, middle, noise_model(lines, middle)


@pytest.mark.parametrize("lag1", [0.0, 0.22])
def test_noise_and_its_correlation_are_measured_from_the_data(lag1):
    flux = noisy(photosphere(), np.random.default_rng(1), 60, 0.02, lag1) * 731.0
    _, _, noise = prepared(flux)
    assert np.median(noise.sigma) == pytest.approx(0.02, rel=0.03)
    assert noise.lag1 == pytest.approx(lag1, abs=0.04)


def test_noise_follows_the_flux_only_where_it_does():
    rng = np.random.default_rng(2)
    reference = photosphere()
    photon = prepared(noisy(reference, rng, 60, 0.02))[2]
    flat = prepared(np.tile(reference, (60, 1)) + 0.02 * rng.standard_normal((60, reference.size)))[2]
    assert photon.slope > 4 * photon.constant
    assert flat.constant > 4 * flat.slope
    dark = 0.2
    assert flat.constant + dark * flat.slope == pytest.approx(1.0, abs=0.15)
    assert photon.constant + dark * photon.slope == pytest.approx(dark, abs=0.1)


def test_slope_and_scale_of_a_spectrum_do_not_matter():
    rng = np.random.default_rng(3)
    flux = noisy(photosphere(), rng, 30, 0.005)
    x = velocity() / 700
    bent = flux * (1 + 0.05 * x + 0.03 * x**2)[None, :] * rng.uniform(1, 1e6, (30, 1))
    lines, middle, _ = prepared(bent)
    inner = np.abs(lines.velocity) < 300
    assert np.std((lines.flux - middle)[:, inner].mean(axis=1)) < 0.002


def test_every_night_has_one_vote_and_none_in_its_own_reference():
    flux = noisy(photosphere(), np.random.default_rng(4), 60, 0.01)
    v = velocity()
    flux[:40] *= 1 - 0.3 * gaussian(v, 50, 20)
    lines, _, noise = prepared(flux)
    night = np.concatenate([np.zeros(40), np.arange(1, 21)]).astype(np.int64)
    group, era = voting_groups(night, np.zeros(60, np.int64), np.ones(60, bool))
    reference = mean_reference(collect_votes(lines, noise, group, era), noise)
    at = int(np.argmin(np.abs(lines.velocity - 50)))
    truth = np.interp(lines.velocity[at], v, photosphere())
    assert reference.flux[group[0], at] == pytest.approx(truth, rel=0.01)
    assert reference.flux[group[50], at] == pytest.approx(truth, rel=0.02)


def test_states_of_the_instrument_have_references_of_their_own():
    night = np.arange(12, dtype=np.int64)
    era = np.array([0] * 5 + [1] * 5 + [11] * 2, dtype=np.int64)
    group, eras = voting_groups(night, era, np.ones(12, bool))
    assert sorted(eras.tolist()) == [0] * 5 + [1] * 7
    assert len(set(group.tolist())) == 12
    group, eras = voting_groups(np.zeros(6, np.int64), np.zeros(6, np.int64), np.array([True] * 5 + [False]))
    assert group.tolist() == [0, 1, 2, 3, 4, -1]


def test_upper_envelope_is_the_star_without_its_frequent_comets():
    rng = np.random.default_rng(5)
    v = velocity()
    flux = noisy(photosphere(), rng, 60, 0.01)
    for row in range(40):
        flux[row] *= 1 - 0.2 * gaussian(v, rng.uniform(25, 35), 20)
    lines, _, noise = prepared(flux)
    group, era = voting_groups(np.arange(60), np.zeros(60, np.int64), np.ones(60, bool))
    votes = collect_votes(lines, noise, group, era)
    near = (lines.velocity > 25) & (lines.velocity < 35)
    truth = np.interp(lines.velocity[near], v, photosphere())
    envelope = np.mean(quantile_reference(votes, noise, lines.velocity).flux[0, near] - truth)
    mean = np.mean(mean_reference(votes, noise).flux[0, near] - truth)
    assert abs(envelope) < 0.003
    assert mean < -0.02


def test_widths_begin_at_the_resolution_and_step_by_root_two():
    widths = template_widths(2.61, 150.0)
    assert widths[0] == 2.61
    assert widths[-1] == 150.0
    np.testing.assert_allclose(widths[1:-1] / widths[:-2], np.sqrt(2))
    bank = make_bank([velocity()], v_range=(-300, 300), widths=widths)
    assert bank.fwhm.min() >= 2.61
    for width in widths:
        assert np.diff(bank.v[bank.fwhm == width]).max() <= max(0.77, width / 4 * 1.02)


def test_joint_snr_is_the_best_over_the_ratios_gas_can_have_less_what_they_cost():
    rng = np.random.default_rng(6)
    n = rng.normal(0, 30, (2, 5, 400)).astype(np.float32)
    d = rng.uniform(1, 100, (2, 5, 400)).astype(np.float32)
    ratios = np.linspace(0.5, 1.0, 2001)[:, None, None]
    trials = (n[0] + ratios * n[1]) / np.sqrt(d[0] + ratios**2 * d[1])
    best = np.take_along_axis(trials, np.abs(trials).argmax(axis=0)[None], axis=0)[0]
    misfit = (n**2 / d).sum(axis=0) - best**2
    left = np.sign(best) * np.sqrt(np.clip(best**2 - misfit, 0, None))
    close = np.abs(best**2 - misfit) > 0.05 * best**2
    np.testing.assert_allclose(joint_snr(n, d)[close], left[close], rtol=2e-2, atol=2e-3)


def test_depth_in_h_alone_is_nothing_that_gas_makes():
    d = np.full((2, 1, 1), 100.0, np.float32)
    assert joint_snr(np.array([[[0.0]], [[100.0]]], np.float32), d)[0, 0] == 0
    assert joint_snr(np.array([[[100.0]], [[50.0]]], np.float32), d)[0, 0] == pytest.approx(11.18, abs=0.01)


def test_spikes_are_masked_and_the_narrowest_line_is_not():
    v = velocity()
    residual = np.zeros((3, v.size))
    residual[0] = -0.3 * gaussian(v, 10.0, 2.61)
    residual[1, 2000] = 0.3
    residual[2, 1500:1502] = -0.3
    good = mask_spikes(residual, np.full_like(residual, 0.01), np.ones(residual.shape, bool))
    assert good[0].all()
    assert np.flatnonzero(~good[1]).tolist() == [2000]
    assert np.flatnonzero(~good[2]).tolist() == [1500, 1501]


def test_tail_of_gaussian_peaks_has_spread_one_and_of_others_more():
    rng = np.random.default_rng(7)
    start = 3.0
    spreads = []
    for _ in range(60):
        x = np.linspace(start, 12.0, 4000)
        above = (x / start) ** 2 * np.exp(-0.5 * (x**2 - start**2))
        plain = np.interp(rng.uniform(size=400), above[::-1], x[::-1])
        spreads.append(null_tail(plain, start=start).spread)
    assert np.mean(spreads) == pytest.approx(1.0, abs=0.03)
    # What varies in few places lifts the highest peaks alone.
    wild = null_tail(np.append(plain, [6.0, 6.5, 7.0, 7.0, 8.0, 8.5]), start=start)
    assert wild.spread > 1.5
    assert wild.probability(9.0) > 100 * null_tail(plain, start=start).probability(9.0)
    assert null_tail([], start=3.0).probability(50.0) < 1e-30


def test_probability_falls_with_snr_and_stays_one():
    tail = NullTail(3.0, 20.0)
    values = tail.probability(np.array([0.0, 3.0, 4.0, 5.0, 6.0, 8.0]))
    assert (np.diff(values) <= 0).all()
    assert values[0] == pytest.approx(1.0)
    assert values[3] == pytest.approx(20 * (25 / 9) * np.exp(-8.0), rel=0.02)
    wide = NullTail(3.0, 20.0, 2.0).probability(6.0)
    assert wide == pytest.approx(20 * 2 * np.exp(-27.0 / 4), rel=0.05)


def test_half_of_a_ripple_is_no_comet():
    event = {"velocity": -190.0, "fwhm": 118.0, "fap": 1e-4, "emission_beside": 0.8}
    assert event_class(event, {}, ExocometsSettings())[0] == "unclear"
    assert event_class(event | {"emission_beside": 0.2}, {}, ExocometsSettings())[0] == "exocomet_candidate"
    assert event_class(event | {"fwhm": 20.0}, {}, ExocometsSettings())[0] == "exocomet_candidate"


def test_nights_are_told_apart_only_where_there_are_two_levels():
    vote = np.repeat(np.arange(6), 3)
    error = np.full(18, 0.002)
    rng = np.random.default_rng(8)

    def levels(depth):
        return Amplitudes(np.repeat(depth, 3) + error * rng.standard_normal(18), error, vote)

    comet = quiet_votes(levels([0.05, 0.05, 0.0, 0.05, 0.0, 0.05]), least=5.0)
    assert sorted(comet.tolist()) == [2, 4]
    assert quiet_votes(levels(np.linspace(-0.03, 0.03, 6)), least=5.0) is None
    assert quiet_votes(levels([0.05, 0.05, 0.05, 0.05, 0.0, 0.05]), least=5.0) is None  # one night of six
    assert quiet_votes(levels(np.zeros(6)), least=5.0) is None


def test_doublet_ratio_is_that_of_the_oscillator_strengths():
    assert [doublet_ratio(tau) for tau in (0.1, 1.0, 5.0)] == pytest.approx([0.512, 0.622, 0.924], abs=1e-3)


def test_cloud_takes_the_depths_that_were_asked_for():
    v = np.arange(-300, 300, 0.2)
    comet = Comet(velocity=20.0, fwhm=30.0, depth=0.3, mjd=0.0, tau=1.0)
    k, h = (1 - transmission(v, np.zeros(1), comet, line=line, lsf=0.5)[0] for line in ("K", "H"))
    assert k.max() == pytest.approx(0.3, rel=1e-3)
    assert h.max() / k.max() == pytest.approx(doublet_ratio(1.0), rel=1e-3)
    assert v[k.argmax()] == pytest.approx(20.0, abs=0.2)
    thick = 1 - transmission(v, np.zeros(1), Comet(20.0, 30.0, 0.3, 0.0, tau=10.0), line="K", lsf=0.5)[0]
    assert thick.sum() > 1.5 * k.sum()


def test_resolution_makes_a_narrow_cloud_wider_and_shallower():
    v = np.arange(-100, 100, 0.1)
    comet = Comet(velocity=0.0, fwhm=1.0, depth=0.2, mjd=0.0, tau=0.5)
    sharp, seen = (1 - transmission(v, np.zeros(1), comet, line="K", lsf=lsf)[0] for lsf in (0.01, 2.61))
    assert seen.max() < 0.5 * sharp.max()
    assert seen.sum() == pytest.approx(sharp.sum(), rel=1e-3)


def test_comet_accelerates():
    comet = Comet(velocity=10.0, fwhm=10.0, depth=0.2, mjd=5.0, acceleration=2.0)
    np.testing.assert_allclose(comet.velocity_at(np.array([5.0, 5.5])), [10.0, 34.0])


def test_equivalent_width_is_that_of_the_missing_flux():
    v = velocity()
    value = equivalent_width(v, np.full(v.size, 0.5), v=0.0, fwhm=20.0, depth=0.1, rest=3933.661)
    area = 0.1 * 0.5 * 20.0 * np.sqrt(np.pi / (4 * np.log(2)))
    assert value == pytest.approx(1000 * area * 3933.661 / 299792.458, rel=1e-3)


def test_emission_core_is_told_from_absorption_lines():
    v = velocity()
    assert emission_core(v, photosphere()) == 0.0
    two = photosphere() * (1 - 0.6 * gaussian(v, 20, 6))
    assert emission_core(v, two) < 0.3
    assert emission_core(v, 0.5 + 0.5 * gaussian(v, 0, 60)) > 0.8


def test_shifts_are_measured_in_km_per_second():
    rng = np.random.default_rng(8)
    v = velocity()
    shift = rng.uniform(-8, 8, 20)
    flux = np.array(
        [1 - sum(d * gaussian(v, c + s, 8) for c, d in ((0, 0.5), (90, 0.4), (-150, 0.3))) for s in shift]
    )
    lines = lines_of(flux + 0.01 * rng.standard_normal(flux.shape))
    fit = fit_shifts(lines, np.full(20, 0.01), np.arange(20))
    np.testing.assert_allclose(fit.velocity - fit.velocity.mean(), shift - shift.mean(), atol=0.5)
    assert fit.share > 0.9


def test_completeness_counts_and_interval():
    found = completeness_map(
        [0.02, 0.02, 0.2, 5.0],
        [10, 10, 10, 10],
        [0, 0, 0, 0],
        [True, False, True, True],
        depth_edges=[0.01, 0.1, 1.0],
        fwhm_edges=[5, 20],
        velocity_edges=[-50, 50],
    )
    assert found.injected[:, 0, 0].tolist() == [2, 1]
    assert found.fraction[:, 0, 0].tolist() == [0.5, 1.0]
    assert found.outside == 1
    assert found.low[0, 0, 0] < 0.5 < found.high[0, 0, 0]
    with pytest.raises(DataError, match="length"):
        completeness_map(
            [1], [1, 2], [1], [True], depth_edges=[0, 1], fwhm_edges=[0, 1], velocity_edges=[0, 1]
        )


def test_expected_completeness_is_one_half_at_the_threshold():
    sensitivity = np.full((4, 1, 1), 100.0)
    fractions = expected_completeness(sensitivity, [0.01, 0.05, 0.2], 5.0)[:, 0, 0]
    assert fractions[1] == pytest.approx(0.5)
    assert fractions[0] < 0.001 < 0.999 < fractions[2]
    assert expected_completeness(np.zeros((3, 1, 1)), [0.5], 5.0)[0, 0, 0] == 0.0


def test_rates_of_stars_classes_and_sample_are_corrected():
    stars = [
        {"name": "a", "spectral_class": "A", "n_found": 3, "completeness": 0.5, "n_nights": 20},
        {"name": "b", "spectral_class": "A", "n_found": 0, "completeness": 1.0, "n_nights": 10},
        {"name": "c", "spectral_class": "F", "n_found": 0, "completeness": 0.0, "n_nights": 50},
    ]
    rates = comet_rates(stars, by="spectral_class")
    assert set(rates) == {"all", "A"}
    assert rates["A"].rate == pytest.approx(3 / 20)
    assert rates["A"].low < 0.15 < rates["A"].high < rates["A"].upper_limit
    assert rates["all"].rate == pytest.approx(3 / 20)
    nothing = comet_rate(0, 1.0, 100)
    assert (nothing.rate, nothing.upper_limit) == pytest.approx((0.0, 0.02996), abs=1e-4)
    with pytest.raises(DataError, match="no comet in any"):
        comet_rate(0, 0.0, 10)


QUIET = {"rv_scatter": 0.1, "shift_share": 0.0, "variability": 0.0, "emission_core": 0.0, "n_emission": 0}
EVENT = {"velocity": 30.0, "fwhm": 20.0, "fap": 1e-6, "misfit": 0.0, "pixel_share": 0.1, "n_nights": 1}


@pytest.mark.parametrize(
    ("event", "star", "kind"),
    [
        ({}, {}, "exocomet_candidate"),
        ({}, {"rv_scatter": 5.0, "shift_share": 0.9, "variability": 100.0}, "binary"),
        ({}, {"rv_scatter": 5.0, "shift_share": 0.9, "variability": 1.0}, "exocomet_candidate"),
        ({"pixel_share": 0.9}, {}, "instrument"),
        ({"n_nights_earth": 5, "scatter_star": 9.0, "scatter_earth": 1.0}, {}, "instrument"),
        ({}, {"emission_core": 1.0}, "activity"),
        ({"velocity": 120.0}, {"emission_core": 1.0, "vsini": 20.0}, "exocomet_candidate"),
        ({}, {"n_emission": 9, "emission_fraction": 0.5}, "activity"),
        ({"velocity": 250.0}, {"n_emission": 9, "emission_fraction": 0.5}, "exocomet_candidate"),
        (
            {"velocity": 250.0, "pc_correlation": 0.9},
            {"n_emission": 9, "emission_fraction": 0.5, "pc_significance": 9.0},
            "activity",
        ),
        ({"missing_in_burst": True, "fwhm": 3.0}, {}, "instrument"),
        ({"missing_in_burst": True}, {}, "unclear"),
        ({"fap": 0.2}, {}, "unclear"),
        ({"misfit": 50.0}, {}, "unclear"),
    ],
)
def test_each_rule_decides(event, star, kind):
    verdict, reason = event_class(EVENT | event, QUIET | star, ExocometsSettings())
    assert verdict == kind
    assert reason


def test_class_of_a_star():
    rules = ExocometsSettings()
    assert star_class([], QUIET, rules) == "quiet"
    assert star_class(["unclear", "exocomet_candidate"], QUIET, rules) == "exocomet_candidate"
    assert star_class(["activity"], QUIET | {"emission_core": 1.0}, rules) == "activity"
    assert star_class(["instrument"], QUIET, rules) == "instrument"
    assert not is_binary({}, rules)
