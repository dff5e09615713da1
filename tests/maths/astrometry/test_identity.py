import csv

import numpy as np
import pytest
from support.real import real_data

from virtualobserver.maths.astrometry import positions as identity
from virtualobserver.maths.astrometry.motion import move_linear


def test_proper_motion_is_followed_even_at_the_pole():
    ra, dec = move_linear([10.0, 0.0], [0.0, 89.9999], [3600.0, 0.0], [0.0, 3600.0], 100.0)
    np.testing.assert_allclose(ra[0], 10.1, atol=1e-6)
    # over the pole to the other side
    assert dec[1] < 90
    assert ra[1] == pytest.approx(180.0, abs=1e-6)


def test_one_star_under_many_names_and_years_is_one_object():
    years = np.array([2003.0, 2010.0, 2016.0, 2022.0])
    ra, dec = move_linear(np.full(4, 100.0), np.full(4, -30.0), 2000.0, -3000.0, years - 2016.0)
    known = identity.group_positions(ra, dec, years=years, pmra=np.full(4, 2000.0), pmdec=np.full(4, -3000.0))
    assert known.tolist() == [0, 0, 0, 0]
    # without the motion, 25 arcsec in 7 years are too far
    assert len(set(identity.group_positions(ra, dec, years=years).tolist())) == 4


def test_positions_are_linked_through_others_and_no_farther_than_ten_arcsec():
    step = 4.0 / 3600
    dec = np.array([0.0, step, 2 * step, 2 * step + 6 / 3600, 5.0])
    assert identity.group_positions(np.zeros(5), dec).tolist() == [0, 0, 0, 1, 2]
    far = identity.group_positions([0.0, 0.0], [0.0, 11 / 3600], years=[2000.0, 2020.0])
    assert far.tolist() == [0, 1]


def test_the_radius_grows_with_the_years_of_an_unknown_motion_only():
    dec, years = [0.0, 7.0 / 3600], [2000.0, 2005.0]  # 5 arcsec and 0.5 for each year are 7.5
    assert identity.group_positions([0.0, 0.0], dec, years=years).tolist() == [0, 0]
    assert identity.group_positions([0.0, 0.0], dec, years=[2000.0, 2003.0]).tolist() == [0, 1]
    still = {"pmra": [0.0, 0.0], "pmdec": [0.0, 0.0]}
    assert identity.group_positions([0.0, 0.0], dec, years=years, **still).tolist() == [0, 1]


def test_missing_positions_are_objects_of_their_own():
    assert identity.group_positions([1.0, np.nan, np.nan, 1.0], [2.0, 3.0, np.nan, 2.0]).tolist() == [
        0,
        1,
        2,
        0,
    ]


def test_names_without_padding():
    assert identity.normal_name("HD 039060") == identity.normal_name("hd-39060") == "hd39060"


def test_star_is_matched_by_position_and_brightness():
    # a fast star has moved 3 arcsec; a faint neighbour stands where it was
    match = identity.match_star([3.0, 0.2], [5.0, 17.0], expected=5.1)
    assert match is not None
    assert match.row == 0
    assert match.probability > 0.85
    assert identity.match_star([0.3, 2.0], [16.0, 5.0]).row == 1
    assert identity.match_star([20.0], [5.0]) is None
    assert identity.match_star([], []) is None


def test_absolute_magnitude():
    assert identity.absolute_magnitude(10.0, 100.0) == pytest.approx(10.0)
    assert np.isnan(identity.absolute_magnitude(10.0, -1.0))


@pytest.mark.real
def test_real_target_list_groups_by_position_not_by_name():
    with real_data("harps", "harps_targets", "HARPS_all.csv").open() as stream:
        rows = [{k.strip(): v for k, v in row.items()} for row in csv.DictReader(stream)]
    name = np.array([row["Name"].strip() for row in rows])
    ra, dec = (np.array([float(row[key]) for row in rows]) for key in ("RA", "Dec"))
    # the list has one row for each object: nothing may be joined, whatever its name
    assert identity.group_positions(ra, dec).tolist() == list(range(4422))
    for same in ("HR1217", "Sun-sky"):
        assert (name == same).sum() > 1
    # three pointings each, some arcsec apart, are the same 4422 objects again
    rng = np.random.default_rng(1)
    offset = rng.uniform(-1.2, 1.2, (2, 3 * 4422)) / 3600
    many_ra = np.repeat(ra, 3) + offset[0] / np.cos(np.deg2rad(np.repeat(dec, 3)))
    number = identity.group_positions(many_ra, np.repeat(dec, 3) + offset[1])
    assert np.array_equal(number, np.repeat(np.arange(4422), 3))
