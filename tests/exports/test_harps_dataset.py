"""Names of stars as the published scripts have them; the tree itself is read back by the survey's tests."""

from __future__ import annotations

import pytest

from virtualobserver.exports.harps_dataset import published_name


@pytest.mark.parametrize(
    ("name", "sanitised", "reduced"),
    [
        ("A_HD45637", "HD45637", "hd45637"), ("G_Cen", "G Cen", "gcen"), ("c_HR2543", "HR2543", "hr2543"),
        ("HD-39060", "HD 39060", "hd39060"), ("BD-13-2130", "BD-13-2130", "bd-13-2130"),
        ("CPD-60-944", "CPD-60-944", "cpd-60-944"), ("J0437-47", "J0437-47", "j0437-47"),
        ("G108-21", "G108-21", "g108-21"), ("GJ-581", "GJ 581", "gj581"), ("LP816-60", "LP816-60", "lp816-60"),
        ("CD-24-10619", "CD-2410619", "cd-2410619"), ("TYC-123-45-1", "TYC123-45-1", "tyc123-45-1"),
        ("SERAM-12-3", "SERAM12-3", "seram12-3"), ("bet_Pic", "bet Pic", "betpic"), ("x", "x", "x"), ("", "", ""),
    ],
)  # fmt: skip
def test_published_name_rules(name, sanitised, reduced):
    assert published_name(name) == (sanitised, reduced)
