from contextlib import closing
from hashlib import sha256

import h5py
import numpy as np
import pytest
from support.stored import lightcurve, spectra

from virtualobserver.data import Table, TimeSeries
from virtualobserver.errors import DataError, InvalidFile
from virtualobserver.io import hdf5


def odd_table():
    return Table(
        {
            "id": np.array([2**63 - 1, -(2**63)]),
            "big": np.array([2**64 - 1, 0], "u8"),
            "text": np.array(["Ω🌟", ""], "U30"),
            "bytes": np.array([b"x", b"yz"]),
            "flag": np.array([True, False]),
            "when": np.array(["2020-01-01", "NaT"], "M8[us]"),
            "swapped": np.array([1.5, np.nan], ">f4"),
        }
    )


def stored(tmp_path, *containers):
    path = tmp_path / "x.h5"
    path.write_bytes(hdf5.write_file_image([(f"k{i}", hdf5.encode(c)) for i, c in enumerate(containers)]))
    return path


@pytest.mark.parametrize("make", [lightcurve, odd_table, lambda: Table({}), lambda: lightcurve(n=0)])
def test_table_comes_back_with_the_same_checksum(make, tmp_path):
    table = make()
    with h5py.File(stored(tmp_path, table)) as file:
        back, found = hdf5.read_block(file, "k0")
    assert found == hdf5.checksum(table) == hdf5.checksum(back)
    assert type(back) is type(table)
    for name in table:
        np.testing.assert_array_equal(back[name], table[name])
        assert back[name].dtype.kind == table[name].dtype.kind
    assert dict(back.units) == dict(table.units)
    if isinstance(table, TimeSeries):
        assert (back.band, back.flux_unit, back.meta) == ("zg", "uJy", {"field": 7})


def test_spectra_come_back_and_give_sections(tmp_path):
    with h5py.File(stored(tmp_path, spectra())) as file:
        back, found = hdf5.read_block(file, "k0")
        part = hdf5.read_section(file, "k0", slice(1, 2), slice(0, 2))
    assert found == hdf5.checksum(spectra()) == hdf5.checksum(back)
    np.testing.assert_array_equal(back.flux, spectra().flux)
    assert back.mask.dtype == np.dtype("i2")
    assert back.epochs["name"].tolist() == ["a", "Ω"]
    np.testing.assert_array_equal(part.flux, [[3.0, 4.0]])


@pytest.mark.parametrize("content", [b"", b"\0\1\2", b"text that repeats " * 999, bytes(range(256)) * 4])
def test_raw_bytes_come_back(content, tmp_path):
    path = stored(tmp_path, content)
    with h5py.File(path) as file:
        assert hdf5.read_block(file, "k0")[0] == content
    if content.startswith(b"text"):
        assert path.stat().st_size < len(content) / 3


def test_checksum_tells_values_names_units_and_meta_apart():
    base = Table({"a": np.arange(3.0)})
    others = [
        Table({"a": np.arange(3.0) + 1e-15}), Table({"b": np.arange(3.0)}), Table({"a": np.arange(3)}),
        Table({"a": np.arange(3.0)}, {"a": "m"}), Table({"a": np.arange(3.0)}, {}, {"x": 1}),
    ]  # fmt: skip
    assert len({hdf5.checksum(table) for table in [base, *others]}) == 6


def test_files_in_memory_may_be_made_at_the_same_time():
    blocks = [("a", hdf5.encode(b"some bytes"))]

    class Meanwhile(list):
        """Blocks that are asked for while another file is made, as in another thread."""

        def __iter__(self):
            assert hdf5.write_file_image(blocks) == whole
            return super().__iter__()

    whole = hdf5.write_file_image(blocks)
    assert hdf5.write_file_image(Meanwhile(blocks)) == whole


def test_same_content_gives_the_same_bytes_and_little_of_them():
    blocks = [(f"lc{i}", hdf5.encode(lightcurve(i))) for i in range(100)]
    image = hdf5.write_file_image(blocks)
    assert image == hdf5.write_file_image(blocks)
    assert len(image) / 100 < 14_000


def test_meta_longer_than_an_hdf5_attribute_comes_back(tmp_path):
    table = Table({"a": np.arange(2)}, {}, {"log": "Ω" * 100_000})
    with h5py.File(stored(tmp_path, table)) as file:
        assert hdf5.read_block(file, "k0")[0].meta == table.meta


@pytest.mark.parametrize("value", [{"a": 1}, None, b"x", 1.5])
def test_fault_22_object_columns_are_refused(value):
    table = Table({"x": np.array(["text", value], dtype=object)})
    with pytest.raises(DataError, match="pickled"):
        hdf5.encode(table)


def test_fault_22_links_to_other_files_are_refused(tmp_path):
    stored(tmp_path, lightcurve())
    with h5py.File(tmp_path / "evil.h5", "w") as file:
        file["a"] = h5py.ExternalLink("x.h5", "k0")
        file["b"] = h5py.SoftLink("/a")
    with h5py.File(tmp_path / "evil.h5") as file:
        for key in ("a", "b"):
            with pytest.raises(InvalidFile, match="link"):
                hdf5.read_block(file, key)


def test_fault_22_numbers_kept_in_another_file_are_refused(tmp_path):
    (tmp_path / "secret").write_bytes(b"password")
    with h5py.File(tmp_path / "evil.h5", "w") as file:
        data = file.create_dataset("a", (8,), "u1", external=[(str(tmp_path / "secret"), 0, 8)])
        data.attrs["vo"] = np.bytes_(b'{"kind":"raw","encoding":"","size":8}')
    with h5py.File(tmp_path / "evil.h5") as file, pytest.raises(InvalidFile, match="another file"):
        hdf5.read_block(file, "a")


@pytest.mark.parametrize("keys", [[""], ["a", "a"], ["/a"], ["a/../b"], ["a\0"], ["."]])
def test_keys_that_would_be_lost_are_refused(keys):
    with pytest.raises(DataError):
        hdf5.write_file_image([(key, hdf5.encode(b"x")) for key in keys])


def test_fault_17_text_numbers_and_ids_stay_exact(tmp_path):
    with h5py.File(stored(tmp_path, odd_table())) as file:
        back, _ = hdf5.read_block(file, "k0")
    assert back["id"].tolist() == [2**63 - 1, -(2**63)]
    assert back["big"].tolist() == [2**64 - 1, 0]
    assert back["text"].tolist() == ["Ω🌟", ""]


def test_fault_22_links_are_refused_in_a_file_of_which_many_blocks_are_read(tmp_path):
    path = tmp_path / "many.h5"
    keys = [f"g{n}/k" for n in range(12)]
    path.write_bytes(hdf5.write_file_image([(key, hdf5.encode(key.encode())) for key in keys]))
    stored(tmp_path, lightcurve())
    with h5py.File(path, "a") as file:
        file["soft"] = h5py.SoftLink("/g0/k")
        file["g1/away"] = h5py.ExternalLink("x.h5", "k0")
        file["folder"] = h5py.SoftLink("/g2")
        file["twin"] = file["g3"]
    with closing(hdf5.OpenFile(path, many=True)) as opened:
        for key in keys:
            assert hdf5.load_block(opened, key, wanted=sha256(key.encode()).hexdigest()) == (
                key.encode(),
                True,
            )
            assert hdf5.load_block(opened, key, wanted="0" * 64)[1] is False
        assert hdf5.load_block(opened, "twin/k", wanted=None)[0] == b"g3/k"
        for key in ("soft", "g1/away", "folder/k", "g0/none", "none"):
            with pytest.raises(InvalidFile, match=r"link|no key"):
                hdf5.load_block(opened, key, wanted=None)


@pytest.mark.parametrize("many", [False, True])
def test_what_is_loaded_is_what_was_written_whatever_the_way_of_opening(tmp_path, many):
    content = [b"", b"x" * 5000, odd_table(), lightcurve()]
    blocks = [(f"k{n}", hdf5.encode(one)) for n, one in enumerate(content)]
    path = tmp_path / "many.h5"
    path.write_bytes(hdf5.write_file_image(blocks))
    with closing(hdf5.OpenFile(path, many=many)) as opened:
        for (key, block), one in zip(blocks, content, strict=True):
            back, right = hdf5.load_block(opened, key, wanted=block.checksum())
            assert right
            assert hdf5.checksum(back) == hdf5.checksum(one)
