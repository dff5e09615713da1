"""A small part of what `measure_exocomets` measures, on spectra that the search has not seen."""

from dataclasses import replace

import numpy as np
import pytest

from truth.measure_exocomets import NULLS, RECALL, tried
from truth.spectra import Comet, handles, nights, observe, star_of
from virtualobserver.analyses.exocomets import Exocomets

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


def events_with(seed, change):
    """Return the events of an A star with gas at rest, 16 nights x 2, of which the fifth is `change`d."""
    rng = np.random.default_rng([seed, 77])
    mjd, night = nights(rng, [2] * 16)
    star = change(replace(star_of(rng), stable=0.6), night == np.unique(night)[4])
    ours = Exocomets()
    return ours.find(*handles(observe(rng, star, mjd, night)), ours.settings).detections


@pytest.mark.parametrize("slip", [1.5, -2.5])
def test_a_night_whose_lines_are_out_of_place_has_no_candidate(slip):
    for seed in range(3):
        events = events_with(seed, lambda star, rows: replace(star, slip=tuple((slip * rows).tolist())))
        strongest = max(events, key=lambda event: event.parameters["peak_snr"])
        assert strongest.parameters["shift_gain"] > 1
        assert "exocomet_candidate" not in {event.kind for event in events}


def test_a_weak_comet_beside_a_strong_one_is_no_shift():
    for seed in range(3):

        def change(star, rows):
            own = np.flatnonzero(rows)
            strong, weak = Comet(own, 0.5, 12.0, 4.0), Comet(own, 0.12, 15.0, 60.0)
            return replace(star, comets=(strong, weak))

        found = [event for event in events_with(seed, change) if event.kind == "exocomet_candidate"]
        assert {round(event.parameters["velocity"] / 30) for event in found} >= {0, 2}
        assert all(event.parameters["shift_gain"] < 0.7 for event in found)
