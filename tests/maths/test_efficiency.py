"""Binomial intervals, efficiency tables and Poisson rates against published values."""

import numpy as np
import pytest

from virtualobserver.errors import DataError
from virtualobserver.maths.efficiency import (
    clopper_pearson_interval,
    rate_and_limit,
    wilson_interval,
)


def test_wilson_interval_of_a_known_case():
    interval = wilson_interval(81, 263, confidence=0.95)
    # Newcombe 1998, Stat. Med. 17, 857, table I
    assert (interval.low, interval.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_clopper_pearson_interval_of_a_known_case():
    interval = clopper_pearson_interval([81, 0, 20], [263, 20, 20], confidence=0.95)
    np.testing.assert_allclose(interval.low, [0.2527, 0.0, 0.8316], atol=5e-5)
    np.testing.assert_allclose(interval.high, [0.3676, 0.1684, 1.0], atol=5e-5)


@pytest.mark.parametrize("function", [wilson_interval, clopper_pearson_interval])
def test_intervals_bracket_the_ratio_and_are_open_without_trials(function):
    found, tried = np.array([0, 0, 1, 5, 10]), np.array([0, 10, 10, 10, 10])
    interval = function(found, tried)
    assert (interval.low[0], interval.high[0]) == (0, 1)
    assert (interval.low[1:] <= found[1:] / tried[1:]).all()
    assert (interval.high[1:] >= found[1:] / tried[1:]).all()
    assert interval.low[1] == 0
    assert interval.high[4] == 1


@pytest.mark.parametrize(("found", "tried"), [(3, 2), (-1, 5), (np.nan, 5)])
def test_impossible_counts_are_refused(found, tried):
    with pytest.raises(DataError, match="found"):
        wilson_interval(found, tried)


def test_poisson_limits_of_the_published_tables():
    # Gehrels 1986, tables 1 and 2: one-sigma and 95% limits
    none, four = rate_and_limit(0, 1.0, 1.0), rate_and_limit(4, 1.0, 1.0)
    assert (none.rate, none.low) == (0, 0)
    assert (none.high, none.upper_limit) == pytest.approx((1.841, 2.996), abs=5e-4)
    assert (four.low, four.high, four.upper_limit) == pytest.approx((2.086, 7.163, 9.154), abs=1e-3)


def test_rates_scale_with_efficiency_and_exposure():
    rate = rate_and_limit(4, 0.5, 100.0)
    assert rate.rate == pytest.approx(0.08)
    assert rate.upper_limit == pytest.approx(9.154 / 50, abs=1e-4)


def test_what_the_data_do_not_cover_is_no_exposure():
    apart = rate_and_limit(4, 0.5, 100.0, coverage=0.4)
    assert apart == rate_and_limit(4, 0.2, 100.0) == rate_and_limit(4, 0.5, 40.0)
    with pytest.raises(DataError, match="coverage=0"):
        rate_and_limit(4, 0.5, 100.0, coverage=0.0)


@pytest.mark.parametrize("numbers", [(-1, 1.0, 1.0), (0, 0.0, 1.0), (0, 1.5, 1.0), (0, 1.0, 0.0)])
def test_rates_without_exposure_are_refused(numbers):
    with pytest.raises(DataError, match="exposure"):
        rate_and_limit(*numbers)
    with pytest.raises(DataError, match="confidence"):
        rate_and_limit(1, 1.0, 1.0, confidence=1.0)
