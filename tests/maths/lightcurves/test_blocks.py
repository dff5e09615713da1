"""Many light curves at once give what each gives alone."""

from itertools import pairwise

import numpy as np
import pytest

from virtualobserver.analyses.transients import Transients
from virtualobserver.data import Target, TimeSeries, as_handle
from virtualobserver.data.histogram import Axis, Histogram
from virtualobserver.errors import DataError, InvalidFile
from virtualobserver.maths.lightcurves.blocks import median_block, robust_mean_rms_block
from virtualobserver.maths.lightcurves.cadence import circular_mean, circular_mean_block
from virtualobserver.maths.lightcurves.events import quality_flags
from virtualobserver.observatory import Aux
from virtualobserver.simulate import SimulatedUnit, Simulator

LENGTHS = (40, 1, 300, 7, 0, 33)


def columns(n, seed):
    rng = np.random.default_rng(seed)
    flux = rng.normal(100, 5, n)
    flux[rng.random(n) < 0.05] = np.nan
    if n > 20:
        flux[n // 2 : n // 2 + 2] += 80
    mjd = np.sort(rng.uniform(58000, 58500, n))
    mjd[1::9] = mjd[: len(mjd[1::9]) * 9 : 9][: len(mjd[1::9])]  # some times twice
    return {
        "mjd": np.sort(mjd),
        "flux": flux,
        "flux_error": rng.uniform(3, 6, n),
        "flags": (rng.random(n) < 0.1).astype(np.int64),
        "ra": (360 + rng.normal(0, 1e-4, n)) % 360,
        "dec": 20 + rng.normal(0, 1e-4, n),
        "chi": rng.uniform(0.8, 6, n),
        "sharp": rng.normal(0, 0.2, n),
        "oid": rng.integers(0, 2, n),
        "exptime": rng.choice([30.0, 40.0, np.nan], n),
    }


def units():
    """Return sources with no, one or several light curves, with and without the optional columns."""
    made = [columns(n, seed) for seed, n in enumerate(LENGTHS)]
    for name in ("ra", "dec", "exptime"):
        del made[0][name]
    for name in ("chi", "sharp", "oid"):
        del made[2][name]
    made[5]["ra"] = np.full(LENGTHS[5], np.nan)
    curves = [
        TimeSeries(one, band="gr"[n % 2], meta={"exptime": 60.0}, flux_unit="uJy" if n else "e")
        for n, one in enumerate(made)
    ]
    groups = ([curves[0]], [], [curves[1], curves[2], curves[3]], [curves[4]], [curves[5]])
    auxes = [Aux(Target(f"star {n}", ra=1.0, dec=2.0, mag=17.0)) for n in range(len(groups))]
    return [([as_handle(one) for one in group], aux) for group, aux in zip(groups, auxes, strict=True)]


@pytest.mark.parametrize("options", [{}, {"save_processed": True, "matched_filter_widths": [5.0]}])
def test_many_sources_searched_together_have_the_very_results_of_each_alone(options):
    analysis = Transients(**options)
    together = analysis.find_many(units(), analysis.settings)
    alone = [analysis.find(*unit, analysis.settings) for unit in units()]
    for one, other in zip(together, alone, strict=True):
        assert one.detections == other.detections
        assert one.properties == other.properties
        assert one.histograms == other.histograms
        for a, b in zip(one.products, other.products, strict=True):
            np.testing.assert_array_equal(a.data["snr"], b.data["snr"])
    assert sum(len(result.detections) for result in together) >= 3
    assert [result.histograms["snr"].total for result in together] == [40, 0, 308, 0, 33]
    assert together[1].properties["best_snr"] is None


def test_quality_of_a_block_is_that_of_each_curve():
    made = [columns(n, seed) for seed, n in enumerate(LENGTHS)]
    joined = {name: np.concatenate([one[name] for one in made]) for name in made[0]}
    edges = np.concatenate(([0], np.cumsum(LENGTHS)))

    def judge(one, offsets=None):
        names = ("mjd", "flags", "chi", "sharp", "ra", "dec")
        extra = {name: one[name] for name in names}
        return quality_flags(one["flux"], one["flux_error"], offsets=offsets, group=one["oid"], **extra)

    block = judge(joined, edges)
    for number, one in enumerate(made):
        part = slice(edges[number], edges[number + 1])
        single = judge(one)
        np.testing.assert_array_equal(block.mask[part], single.mask)
        np.testing.assert_array_equal(block.offset_sigma[part], single.offset_sigma)
    assert len(set(block.mask.tolist())) > 5


def test_sums_over_a_curve_do_not_depend_on_its_neighbours():
    rng = np.random.default_rng(3)
    short, long = rng.normal(0, 1, 100), rng.normal(0, 1, 190)
    alone = robust_mean_rms_block(short, [0, 100])
    beside = robust_mean_rms_block(np.concatenate([long, short]), [0, 190, 290])
    assert (alone.mean[0], alone.rms[0]) == (beside.mean[1], beside.rms[1])


def test_medians_and_circular_means_of_blocks_are_those_of_each_part():
    values = np.array([3.0, np.nan, 1.0, np.inf, 350.0, 10.0, np.nan])
    edges = [0, 3, 3, 4, 6, 7]
    np.testing.assert_array_equal(median_block(values, edges), [2.0, np.nan, np.nan, 180.0, np.nan])
    parts = [circular_mean(values[a:b]) for a, b in pairwise(edges)]
    np.testing.assert_allclose(circular_mean_block(values, edges), parts, atol=1e-12)


def test_sum_of_packed_parts_is_the_sum_of_the_histograms():
    axes = (Axis.fixed("snr", -2, 2, 1), Axis.text("band"))
    parts = [
        Histogram(axes).fill(snr=[0.1, 1.0, 9.0], band=band)
        for band in (["g"] * 3, ["r"] * 3, ["g", "r", None])
    ]
    packed = [part.to_bytes() for part in (*parts, Histogram(axes))]
    assert Histogram.sum_bytes(packed) == Histogram.sum(parts)
    with pytest.raises(InvalidFile, match="no histogram"):
        Histogram.sum_bytes([packed[0], packed[1][:-9]])
    with pytest.raises(DataError, match="no histograms"):
        Histogram.sum_bytes([])


def test_injections_into_many_sources_are_those_of_each_alone():
    analysis = Transients(simulate={"number": 70})
    usable = [unit for unit in units() if unit[0] and len(unit[0][0].load())]
    simulator = Simulator(analysis)
    wanted = [SimulatedUnit(products, aux, range(70)) for products, aux in usable]
    together = simulator.run_many(wanted, digest="d")
    alone = [simulator.run(products, aux, range(70), digest="d") for products, aux in usable]
    assert together == alone
    assert 0 < sum(one.recovered for outcomes in together for one in outcomes) < 70 * len(usable)
