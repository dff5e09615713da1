"""A small part of what `measure_exocomets` measures, on spectra that the search has not seen."""

import pytest

from truth.measure_exocomets import NULLS, RECALL, tried

BY_NAME = {case.name: case for case in (*RECALL, *NULLS)}


def stars(name, number, first=9_000_000):
    return [tried(BY_NAME[name], first + n, published=False) for n in range(number)]


@pytest.mark.parametrize(
    ("name", "hypothesis"),
    [
        ("A star, 12 to 24 nights", "few"),
        ("A star, 12 to 24 nights, 0.4 hits", "few"),
        ("A star, 2 nights x 5, comet in one", "half"),
        ("A star, 6 nights, comet in 4", "most"),
        ("A star, 10 nights, comet in 5", None),
        ("A star, 4 nights before and 2 after a fibre change, comet in one of these", "few"),
    ],
)
def test_comets_are_found_and_said_to_be(name, hypothesis):
    tries = stars(name, 4)
    assert sum(one.found for one in tries) >= 3
    assert sum(one.stated for one in tries) / 4 >= 0.75
    if hypothesis is not None:
        assert sum(one.result.properties["hypothesis"] == hypothesis for one in tries) >= 3
    assert all(one.result.properties["few_nights"] == ("2 nights" in name) for one in tries)


def test_comet_in_all_spectra_of_the_only_night_is_neither_found_nor_said_to_be():
    tries = stars("A star, 1 night x 8, comet in all", 3)
    assert not any(one.found for one in tries)
    assert all(one.stated == 0 for one in tries)


@pytest.mark.parametrize(
    "name",
    ["A star with slope, ripple, zero level, hits", "pulsation 1 %", "SB1", "inactive G", "active G"],
)
def test_stars_without_comets_have_no_candidate(name):
    assert sum(one.candidate for one in stars(name, 4)) == 0


def test_waves_of_a_pulsating_star_go_both_ways_or_are_part_of_its_noise():
    kinds = {one.star_class for one in stars("pulsation 1 %, 6 nights", 4)}
    assert "exocomet_candidate" not in kinds
