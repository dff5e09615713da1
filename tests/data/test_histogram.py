"""Histograms: every value is counted once, and parts add up in any order."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virtualobserver.data.histogram import Axis, Histogram, SparseCounts
from virtualobserver.errors import DataError, InvalidFile

SNR = Axis.fixed("snr", -20, 20, 0.1)
AXES = (
    Axis.fixed("mag", 15, 21, 0.5, "mag"),
    Axis.growing("exptime", 30, 1, "s"),
    Axis.text("band"),
    Axis.fixed("snr", -20, 20, 0.1),
)

number = st.one_of(st.floats(-50, 50), st.just(float("nan")), st.just(float("inf")), st.just(-float("inf")))
row = st.tuples(number, number, st.sampled_from(["zg", "zr", "", None, "R"]), number)


def counted(rows):
    columns = [np.array(column, dtype=object) for column in zip(*rows, strict=True)] or [[], [], [], []]
    return Histogram(AXES).fill(mag=columns[0], exptime=columns[1], band=columns[2], snr=columns[3])


@settings(max_examples=60, deadline=None)
@given(st.lists(row, max_size=12), st.lists(row, max_size=12), st.lists(row, max_size=12))
def test_addition_is_commutative_associative_and_equal_to_one_fill(first, second, third):
    a, b, c = counted(first), counted(second), counted(third)
    together = counted(first + second + third)
    assert together.total == len(first) + len(second) + len(third)
    assert a + b == b + a
    assert (a + b) + c == a + (b + c) == together
    assert (a + b + c).to_bytes() == together.to_bytes()
    assert {Histogram.sum(order).to_bytes() for order in permutations([a, b, c])} == {together.to_bytes()}
    assert a + Histogram(AXES) == a


@settings(max_examples=40, deadline=None)
@given(st.lists(row, max_size=20))
def test_sparse_and_byte_forms_give_the_same_histogram_back(rows):
    histogram = counted(rows)
    assert Histogram.from_sparse(histogram.to_sparse()) == histogram
    assert Histogram.from_bytes(histogram.to_bytes()) == histogram


def test_parity_22_axis_sizes_and_special_bins():
    assert [axis.n_codes - 3 for axis in (SNR, Axis.fixed("d", -3, 3, 0.1), Axis.fixed("o", -5, 5, 0.1))] == [
        401,
        61,
        101,
    ]
    assert AXES[0].n_codes - 3 == 13
    histogram = Histogram((SNR,)).fill(snr=[100.0, -100.0, 0.0, 0.04, -0.04, np.nan, 20.04, 20.06])
    assert histogram.total == 8
    assert (histogram.overflow("snr"), histogram.underflow("snr"), histogram.missing("snr")) == (2, 1, 1)
    array, (codes,) = histogram.dense()
    assert array[np.isclose(SNR.centers(codes), 0)].tolist() == [3]
    assert array[-1] == 1


def test_parity_22_scalars_hold_for_all_rows_and_axes_grow():
    histogram = Histogram(AXES)
    histogram = histogram.fill(mag=25.3, exptime=30, band="R", snr=np.zeros(100))
    assert histogram.overflow("mag") == 100
    histogram = histogram.fill(mag=18.0, exptime=[20.3, 39.8], band=["zg", "R"], snr=0.0)
    array, codes = histogram.project("exptime").dense()
    assert AXES[1].centers(codes[0])[3:].tolist() == list(np.arange(20.0, 41.0))
    assert (array[3], array[13], array[-1]) == (1, 100, 1)
    bands, codes = histogram.project("band").dense()
    assert histogram.axis("band").centers(codes[0]).tolist() == ["", "", "", "R", "zg"]
    assert bands.tolist() == [0, 0, 0, 101, 1]


def test_parity_22_missing_and_unknown_axes_are_named():
    with pytest.raises(ValueError, match="could not find values for axis \\['snr'\\]"):
        Histogram((SNR,)).fill()
    with pytest.raises(DataError, match="unknown axis \\['mag'\\]"):
        Histogram((SNR,)).fill(snr=1.0, mag=3.0)
    with pytest.raises(DataError, match="no axis 'mag'"):
        Histogram((SNR,)).overflow("mag")


def test_missing_scalars_have_their_own_bin():
    histogram = Histogram(AXES).fill(mag=None, exptime=np.nan, band=None, snr=[1.0, 2.0])
    assert [histogram.missing(name) for name in ("mag", "exptime", "band", "snr")] == [2, 2, 2, 0]


@pytest.mark.parametrize(
    "other",
    [
        Axis.fixed("snr", -20, 20, 0.2),
        Axis.fixed("snr", -10, 20, 0.1),
        Axis.fixed("snr", -20, 20, 0.1, "sigma"),
        Axis.growing("snr", -20, 0.1),
        Axis.text("snr"),
        Axis.fixed("score", -20, 20, 0.1),
    ],
)
def test_fault_24_unequal_bins_are_refused(other):
    with pytest.raises(ValueError, match="unequal"):
        Histogram((SNR,)) + Histogram((other,))


def test_fault_24_a_filled_histogram_is_never_changed():
    first = Histogram((SNR,)).fill(snr=[1.0])
    before = first.to_bytes()
    second = first.fill(snr=[1.0, 2.0])
    assert first.to_bytes() == before
    assert second.total == 3
    with pytest.raises(ValueError, match="read-only"):
        second.to_sparse().count[0] = 9


def test_counts_never_wrap():
    large = Histogram((SNR,)).fill(snr=0.0, weight=2**64 - 2)
    assert large.total == 2**64 - 2
    assert large.fill(snr=0.0).total == 2**64 - 1
    with pytest.raises(DataError, match="64 bits"):
        large.fill(snr=[0.0, 1.0])
    with pytest.raises(DataError, match="64 bits"):
        Histogram((SNR,)).fill(snr=[0.0, 0.0], weight=np.array([2**63, 2**63], dtype=np.uint64))


def test_weights_count_exactly_beyond_double_precision():
    histogram = Histogram((SNR,)).fill(snr=[0.0, 0.0, 1.0], weight=[2**53, 1, 0])
    assert histogram.total == 2**53 + 1
    assert histogram.n_bins == 1


@pytest.mark.parametrize("weight", [[1.5, 1.0], [-1, 1], [1], np.nan])
def test_weights_that_are_no_counts_are_refused(weight):
    with pytest.raises(DataError, match="weights"):
        Histogram((SNR,)).fill(snr=[0.0, 1.0], weight=weight)


def test_values_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="one length"):
        Histogram(AXES).fill(mag=[1, 2], exptime=[1, 2, 3], band="R", snr=0)
    with pytest.raises(DataError, match="takes numbers"):
        Histogram((SNR,)).fill(snr=["a"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Axis.fixed("a", 0, 1, 0),
        lambda: Axis.fixed("a", 1, 0, 0.1),
        lambda: Axis.fixed("a", 0, np.inf, 1),
        lambda: Axis.fixed("a", 0, 1, 1e-12),
        lambda: Axis.text(""),
        lambda: Histogram(()),
        lambda: Histogram((SNR, SNR)),
        lambda: Histogram((Axis.text("weight"),)),
    ],
)
def test_impossible_axes_are_refused(make):
    with pytest.raises(DataError):
        make()


def test_a_far_outlier_costs_one_bin_and_extreme_ones_overflow():
    histogram = Histogram((AXES[1],)).fill(exptime=[30, 3000, 1e30, -1e30, np.inf])
    assert histogram.n_bins == 4
    assert (histogram.overflow("exptime"), histogram.underflow("exptime")) == (2, 1)


def test_histograms_too_wide_for_one_integer_still_count():
    axes = tuple(Axis.growing(name, 0, 1) for name in "abcdef")
    rng = np.random.default_rng(0)
    values = {axis.name: rng.integers(-900000, 900000, 50) for axis in axes}
    histogram = Histogram(axes).fill(**values) + Histogram(axes).fill(**values, weight=2)
    assert histogram.n_bins == 50
    assert set(histogram.to_sparse().count.tolist()) == {3}
    with pytest.raises(DataError, match="project"):
        histogram.dense()


def test_many_fills_agree_with_numpy():
    rng = np.random.default_rng(1)
    mag, snr = rng.normal(18, 2, 50000), rng.normal(0, 8, 50000)
    array, _ = Histogram((AXES[0], SNR)).fill(mag=mag, snr=snr).dense()
    expected, *_ = np.histogram2d(
        mag, snr, bins=[np.arange(14.75, 21.3, 0.5), np.linspace(-20.05, 20.05, 402)]
    )
    np.testing.assert_array_equal(array[3:, 3:], expected)
    assert int(array.sum()) == 50000


def test_xarray_form_carries_every_count_and_its_coordinates():
    histogram = Histogram(AXES).fill(mag=[18, np.nan], exptime=30, band="zg", snr=[1, 99])
    dataset = histogram.to_xarray(attrs={"name": "scores"})
    assert dataset.counts.dtype == np.uint64
    assert dataset.counts.dims == ("mag", "exptime", "band", "snr")
    assert int(dataset.counts.sum()) == 1
    assert int(dataset.special_counts.sum()) == 1
    assert dataset.attrs["name"] == "scores"
    assert dataset.mag.attrs["units"] == "mag"
    assert (dataset.mag.attrs["missing"], dataset.snr.attrs["overflow"]) == (1, 1)
    assert int(dataset.counts.sel(band="zg", exptime=30.0).sum()) == 1
    assert int(dataset.counts.sel(mag=18.1, snr=0.97, method="nearest").sum()) == 1
    assert int(dataset.counts.sel(mag=slice(17, 19)).sum()) == 1


def test_empty_histogram_has_every_form():
    empty = Histogram(AXES)
    assert empty.fill(mag=[], exptime=30, band="x", snr=[]).total == 0
    assert Histogram.from_bytes(empty.to_bytes()) == empty
    assert empty.to_xarray().counts.shape == (13, 0, 0, 401)
    assert Histogram.from_xarray(empty.to_xarray()) == empty
    assert Histogram(AXES).fill(mag=1, exptime=1, band="x", snr=1).emptied() == empty
    with pytest.raises(DataError, match="at least one"):
        Histogram.sum([])


def test_bytes_of_something_else_are_refused():
    data = Histogram((SNR,)).fill(snr=[1.0, 2.0]).to_bytes()
    for wrong in (b"", b"VOH1", data[:-5], b"XXXX" + data[4:], b"VOH1" + b"\x00" * 40):
        with pytest.raises(InvalidFile, match="no histogram"):
            Histogram.from_bytes(wrong)
    with pytest.raises(DataError, match="do not fit"):
        Histogram.from_sparse(SparseCounts((SNR.as_dict(),), np.array([[999999]]), np.array([1])))


def test_stored_part_of_a_hundred_epochs_is_small():
    rng = np.random.default_rng(2)
    part = Histogram(AXES).fill(mag=18.2, exptime=30, band="zg", snr=rng.normal(0, 1, 100))
    assert len(part.to_bytes()) < 600
