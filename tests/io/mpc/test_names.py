"""Names of bodies are packed as the Minor Planet Center unpacks them; temporary ones are taken for no designation."""

from __future__ import annotations

import re

import pytest
from ades import packUtil
from hypothesis import given
from hypothesis import strategies as st

from virtualobserver.errors import DataError
from virtualobserver.io.mpc.names import Designation, designation_of, temporary_names

PACKED = {
    "1 Ceres": "00001       ",
    "(1) Ceres": "00001       ",
    "12893": "12893       ",
    "(12893) 1998 QS55": "12893       ",
    "100001": "A0001       ",
    "619999": "z9999       ",
    "620000": "~0000       ",
    "15396335": "~zzzz       ",
    "2019 RB1": "     K19R01B",
    "2019 RB21": "     K19R21B",
    "2007 TA418": "     K07Tf8A",
    "2026 CA620": "     _QC0000",
    "2026 CZ6190": "     _QC0aEM",
    "1904 OA": "     J04O00A",
    "A904 OA": "     J04O00A",
    "2040 P-L": "     PLS2040",
    "3138 T-1": "     T1S3138",
    "67P/Churyumov-Gerasimenko": "0067P       ",
    "1I/'Oumuamua": "0001I       ",
    "C/2019 Q4 (Borisov)": "    CK19Q040",
    "P/2019 LD2": "    PK19L02D",
    "D/1993 F2-B": "    DJ93F02b",
}


@pytest.mark.parametrize(("text", "packed"), PACKED.items())
def test_a_known_body_has_its_twelve_columns_whether_numbered_or_not(text, packed):
    assert designation_of(text).packed() == packed


def test_number_and_provisional_designation_stand_together_where_both_are_wanted():
    assert designation_of("(12893) 1998 QS55").packed(both=True) == "12893J98Q55S"
    assert designation_of("2019 RB1").packed(both=True) == "     K19R01B"


@pytest.mark.parametrize(
    "text", ["Ceres", "AST_1", "UNK_12", "", "M60100.12345_010.00000+02.00000", "2019 R", "0"]
)
def test_what_says_neither_number_nor_designation_is_none(text):
    assert designation_of(text) is None


@pytest.mark.parametrize(
    "body", [Designation("15396336"), Designation(provisional="1998 QA620"), Designation("10000P")]
)
def test_what_cannot_be_packed_is_said(body):
    with pytest.raises(DataError, match="cannot be packed"):
        body.packed()


@given(st.integers(1, 15_396_335))
def test_any_number_comes_back(number):
    assert packUtil.unpackPackedID(designation_of(str(number)).packed())[:2] == (str(number), None)


@given(
    st.integers(1925, 2061), st.sampled_from("ABCDEFGHJKLMNOPQRSTUVWXY"), st.sampled_from("ABCDEFGHJKLMNOPQRSTUVWXYZ"),
    st.integers(0, 619),
)  # fmt: skip
def test_any_provisional_designation_comes_back(year, half, second, cycle):
    text = f"{year} {half}{second}{cycle or ''}"
    assert packUtil.unpackPackedID(designation_of(text).packed())[:2] == (None, text)


def test_temporary_names_are_short_single_and_always_the_same():
    names = ["AST_1", "AST1", "UNK_12", "M60100.12345_010.00000+02.00000", "M60100.12345_010.00000+02.00001", "K19R21B",
             "12345", "é"]  # fmt: skip
    found = temporary_names([*names, "AST_1"])
    assert set(found) == set(names)
    assert len(set(found.values())) == len(names)
    assert all(re.fullmatch("[A-Za-z0-9]{1,7}", name) for name in found.values())
    assert found["UNK_12"] == "UNK12"
    assert {found["AST_1"], found["AST1"]} > {"AST1"}
    assert found["K19R21B"] != "K19R21B"
    assert found["12345"] != "12345"
    assert temporary_names([names[3]]) == {names[3]: found[names[3]]}
    for name in found.values():
        assert packUtil.unpackPackedID(f"{'':5}{name:<7}")[:2] == (None, None)
