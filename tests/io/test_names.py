import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtualobserver.errors import UnsafePath
from virtualobserver.io.names import original_name, safe_name
from virtualobserver.io.store import Store

HOSTILE = [
    "../../x",
    "/etc/x",
    "a\\b",
    "CON",
    "con.txt",
    ".",
    "..",
    "",
    "a\0b",
    "a\nb",
    "Ω",
    "%2E",
    "x.",
    "~",
    "a b",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_fault_18_hostile_name_is_one_reversible_file_inside_the_root(text, tmp_path):
    name = safe_name(text)
    assert original_name(name) == text
    path = Store(tmp_path).resolve(f"raw/{name}")
    assert path.parent == tmp_path / "raw"
    path.write_bytes(b"x")
    assert [p.name for p in (tmp_path / "raw").iterdir()] == [name]
    assert name.split(".")[0].upper() != "CON"


def test_fault_18_long_names_are_cut_and_stay_apart():
    first, second = safe_name("Ω" * 300 + "a"), safe_name("Ω" * 300 + "b")
    assert first != second
    assert max(len(first), len(second)) <= 200
    with pytest.raises(UnsafePath, match="shortened"):
        original_name(first)


def test_fault_18_names_differ_where_texts_differ():
    assert len({safe_name(text) for text in HOSTILE}) == len(HOSTILE)


@given(st.text(max_size=16))  # four bytes each, three characters a byte: never cut
def test_any_text_comes_back(text):
    assert original_name(safe_name(text)) == text


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "raw/../../x", "a\0b", "", "."])
def test_fault_18_paths_that_leave_the_root_are_refused(path, tmp_path):
    with pytest.raises(UnsafePath):
        Store(tmp_path / "data").resolve(path)


def test_fault_18_symbolic_link_out_of_the_root_is_refused(tmp_path):
    store = Store(tmp_path / "data")
    (store.root / "raw" / "out").symlink_to(tmp_path)
    with pytest.raises(UnsafePath):
        store.resolve("raw/out/x")
