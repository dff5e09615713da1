"""Files of many parts, each part a unit of three levels."""

from __future__ import annotations

import hashlib

import pytest
from sqlalchemy import select
from support.paths import PLUGINS

from virtualobserver import Project, models
from virtualobserver.io import store as stores
from virtualobserver.run.tasks import fetch as fetching

MOSAIC, TALLY = str(PLUGINS / "mosaic.py"), str(PLUGINS / "tally.py")


def opened(tmp_path, url, level="source", **own) -> Project:
    configuration = {
        "name": f"mosaic-{level}",
        "catalog": {"name": "fields", "rows": [{"name": "field", "ra": 10.0, "dec": 20.0, "kind": "field"}]},
        "observatories": {MOSAIC: own},
        "analyses": {TALLY: {"level": level}},
    }
    return Project.open(configuration, data=tmp_path / "data", url=url)


@pytest.mark.parametrize(
    ("level", "groups"),
    [
        ("source", {"": 9}),
        ("ccd", {"N24": 3, "S3": 3, "S30": 3}),
        ("night", {f"{chip}/2021-12-{day}": n for chip in ("N24", "S3", "S30") for day, n in ((11, 2), (12, 1))}),
        ("exposure", {"N24/2021-12-11/1058801": 1, "S3/2021-12-12/1059300": 1, "S30/2021-12-11/1058802": 1}),
    ],
)  # fmt: skip
def test_products_of_three_levels_are_grouped_by_the_first_parts_of_their_units(tmp_path, url, level, groups):
    with opened(tmp_path, url, level) as project:
        assert project.run().failed == 0
        found = project.sql(
            "SELECT t.unit, p.props FROM task t JOIN properties p ON p.task_id = t.id WHERE t.step = 'analyse:tally'"
        )
        tables = {unit: data["tables"] for unit, data in zip(found["unit"], found["props"], strict=True)}
        assert groups.items() <= tables.items()
        assert sum(tables.values()) == 9
        for unit, data in zip(found["unit"], found["props"], strict=True):
            assert all(one == unit or one.startswith(f"{unit}/") or not unit for one in data["units"])


@pytest.mark.parametrize("way", ["bytes", "moved"])
@pytest.mark.parametrize("flush", [5.0, -1.0], ids=["together", "one-by-one"])
def test_a_file_of_many_parts_is_stored_and_hashed_once(tmp_path, url, monkeypatch, way, flush):
    hashed, written = [], []
    sha, image = stores._sha256, stores.hdf5.write_file_image
    monkeypatch.setattr(stores, "_sha256", lambda path: hashed.append(path.name) or sha(path))
    monkeypatch.setattr(
        stores.hdf5, "write_file_image", lambda blocks: written.extend(blocks) or image(blocks)
    )
    monkeypatch.setattr(fetching, "FLUSH_SECONDS", flush)
    with opened(tmp_path, url, way=way) as project:
        project.run(step="fetch")
        moved = [name for name in hashed if name.endswith(".json") and len(name) == len("1058801.json")]
        assert sorted(moved) == ([] if way == "bytes" else [f"{n}.json" for n in (1058801, 1058802, 1059300)])
        assert len(written) == (3 if way == "bytes" else 0)
        rows = project.sql(
            "SELECT archive_id, key, sha256, file_id, block FROM raw_data ORDER BY archive_id, key"
        )
        assert len(rows) == 9
        assert rows.groupby("archive_id")[["sha256", "file_id", "block"]].nunique().max().max() == 1
        assert rows["sha256"].nunique() == 3
        project.run(step="reduce")
        made = project.live.scalars(select(models.Product).where(models.Product.role == "sources")).all()
        values = {one.unit: int(one.data["x"][0]) for one in made}
        assert values["N24/2021-12-11/1058801"] == 1058804
        assert values["S3/2021-12-12/1059300"] == 1059302
        assert len(values) == 9


def test_a_file_that_came_again_under_the_same_name_is_another_file(tmp_path):
    store, temp = stores.Store(tmp_path / "data"), tmp_path / "part"
    records = []
    for content in (b"one", b"one", b"two"):
        temp.write_bytes(content)
        records.append(store.adopt(temp, "raw/x", ".fits"))
        assert store.adopt(temp, "raw/x", ".fits") == records[-1]  # its second part
    assert [one.sha256 for one in records] == [
        hashlib.sha256(c).hexdigest() for c in (b"one", b"one", b"two")
    ]
    store.delete(records[-1].path)
    with pytest.raises(FileNotFoundError):  # gone from both places: nothing to take up
        store.adopt(temp, "raw/x", ".fits")
