"""Surveys of images: units, masters that are made once, analyses per night, and analyses of what analyses found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.paths import PLUGINS

from virtualobserver import Project
from virtualobserver.data.handles import MemoryHandle

NIGHTS = {"n1": 2, "n2": 3}


def write(folder: Path, name: str, level: float) -> None:
    (folder / f"{name}.json").write_text(json.dumps({"level": level}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    for night, frames in NIGHTS.items():
        for n in range(2):
            write(folder, f"bias_{night}_{n}", 10)
            write(folder, f"flat_{night}_{n}", 12)
        for n in range(frames):
            write(folder, f"field_{night}_{n}", 30 + 2 * n)
    return folder


def settings(folder: Path, **more) -> dict:
    names = {"survey": PLUGINS / "camera.py", "movers": PLUGINS / "movers.py", "spans": PLUGINS / "spans.py"}
    return {
        "name": "images",
        "catalog": {"name": "fields", "rows": [{"name": "field", "ra": 10.0, "dec": 20.0, "kind": "field"}]},
        "observatories": {str(names["survey"]): {"archive": str(folder)}},
        "analyses": {str(names["movers"]): {}, str(names["spans"]): {}},
    } | more


@pytest.fixture
def project(tmp_path: Path, folder: Path, url: str):
    with Project.open(settings(folder), data=tmp_path / "data", url=url) as opened:
        yield opened


def reopen(project: Project, configuration: dict) -> Project:
    return Project.open(configuration, data=project.workspace.root, url=project.workspace.database.url)


def done(summary) -> dict[str, int]:
    return {step: sum(counts.values()) for step, counts in summary.counts.items() if counts}


ALL = {
    "fetch:tiny": 1,
    "calibrate:tiny": 4,
    "reduce:tiny": 5,
    "reduce.scale:tiny": 5,
    "analyse:movers": 2,
    "analyse:spans": 3,
}


def test_frames_nights_and_what_was_found_are_tasks_of_their_own(project):
    assert done(project.run()) == ALL
    units = project.sql('SELECT step, unit, status FROM task ORDER BY step, unit COLLATE "C", id')
    of = {step: group["unit"].tolist() for step, group in units.groupby("step")}
    assert of["calibrate:tiny"] == ["bias/n1", "bias/n2", "flat/n1", "flat/n2"]
    assert of["reduce:tiny"] == ["n1/0", "n1/1", "n2/0", "n2/1", "n2/2"]
    assert of["analyse:movers"] == ["n1", "n2"]
    # (30 - 10) / (12 - 10) = 10, and one more for each frame
    found = project.detections().set_index(["analysis", "source"])["snr"]
    assert found["movers", "mover n1"] == pytest.approx(10 + 11)
    assert found["movers", "mover n2"] == pytest.approx(10 + 11 + 12)
    assert found["spans", "mover n1"] == 2
    assert found["spans", "mover n2"] == 3
    assert project.run().worked == 0


def test_the_camera_is_a_source_and_its_masters_its_products(project):
    project.run()
    masters = project.sql("""SELECT s.name, s.kind, u.unit FROM product p JOIN source s ON s.id = p.source_id
        JOIN task u ON u.id = p.task_id WHERE p.role = 'master' ORDER BY u.unit""")
    assert set(masters["name"]) == {"camera-1"}
    assert set(masters["kind"]) == {"instrument"}
    assert masters["unit"].tolist() == ["bias/n1", "bias/n2", "flat/n1", "flat/n2"]
    # lineage: each frame was made from itself and two masters
    inputs = project.sql("""SELECT u.unit, count(i.raw_data_id) AS raws, count(i.product_id) AS masters FROM task u
        JOIN task_input i ON i.task_id = u.id WHERE u.step = 'reduce:tiny' GROUP BY u.unit""")
    assert set(inputs["raws"]) == {1}
    assert set(inputs["masters"]) == {2}
    assert project.status().loc["calibrate:tiny", "done"] == 4


def test_new_frames_run_and_leave_the_others_alone(project, folder):
    project.run()
    write(folder, "field_n1_2", 34)
    assert project.run().worked == 0
    counts = done(project.run(refresh=True))
    assert counts["fetch:tiny"] == counts["reduce:tiny"] == counts["analyse:movers"] == 1
    assert "calibrate:tiny" not in counts
    assert project.detections().set_index(["analysis", "source"])["snr"]["spans", "mover n1"] == 3


def test_a_better_bias_makes_flat_and_frames_of_its_night_stale_and_no_others(project, folder):
    project.run()
    write(folder, "bias_n1_0", 10.5)
    project.run(refresh=True)
    attempts = project.sql("SELECT step, unit, attempts FROM task WHERE step ~ '^(calibrate|reduce)'")
    again = attempts[attempts["attempts"] == 2]["unit"].tolist()
    assert sorted(again) == ["bias/n1", "flat/n1", "n1/0", "n1/0", "n1/1", "n1/1"]
    found = project.detections().set_index(["analysis", "source"])["snr"]
    assert found["movers", "mover n1"] == pytest.approx((19.75 + 21.75) / 1.75)


def test_a_second_project_uses_the_same_masters(project, folder):
    project.run()
    other = settings(
        folder, name="again", catalog={"name": "other", "rows": [{"name": "field", "ra": 10.0, "dec": 20.0}]}
    )
    with reopen(project, other) as again:
        again.run()
        assert again.sql("SELECT count(*) AS n FROM product WHERE role = 'master'")["n"][0] == 4
        assert again.sql("SELECT max(attempts) AS n FROM task WHERE step = 'calibrate:tiny'")["n"][0] == 1


def test_a_frame_that_cannot_be_read_does_not_hold_back_its_night(project, folder):
    (folder / "field_n2_1.json").write_text("{")
    summary = project.run()
    assert summary.failed == 1
    assert summary.failures[0]["unit"] == "n2/1"
    found = project.detections().set_index(["analysis", "source"])["snr"]
    assert found["movers", "mover n2"] == pytest.approx(10 + 12)


def test_roles_not_to_keep_lose_their_files_and_keep_their_rows(project, folder):
    with reopen(project, settings(folder, keep={"calibrated": False, "flattened": False})) as opened:
        opened.run()
        files = opened.sql("""SELECT p.role, count(*) AS n, count(f.path) AS kept FROM product p
            LEFT JOIN file f ON f.id = p.file_id GROUP BY p.role""").set_index("role")
        assert files.loc["calibrated"].tolist() == [5, 0]
        assert files.loc["master"].tolist() == [4, 4]
        assert opened.run().worked == 0
        assert not [path for path in opened.workspace.store.files() if "field_n" in path]


def test_masters_to_choose_from_are_those_of_kinds_before(project):
    project.run()
    chosen = []
    survey = type(project.steps[1].instance)
    with pytest.MonkeyPatch.context() as patch:
        original = survey.choose
        patch.setattr(
            survey,
            "choose",
            lambda self, masters, raw: (chosen.append((raw, masters)), original(self, masters, raw))[1],
        )
        project.run()
    kinds = {raw.header["kind"]: {m.info.unit.split("/")[0] for m in masters} for raw, masters in chosen}
    assert kinds == {"bias": set(), "flat": {"bias"}, "field": {"bias", "flat"}}
    assert all(isinstance(m, MemoryHandle) for _, masters in chosen for m in masters)


def test_a_setting_of_a_part_of_the_reduction_redoes_that_part_and_what_follows(project, folder):
    project.run()
    survey = str(PLUGINS / "camera.py")
    scaled = settings(folder, observatories={survey: {"archive": str(folder), "scale": 2.0}})
    with reopen(project, scaled) as opened:
        assert done(opened.run()) == {
            name: n for name, n in ALL.items() if name.startswith(("reduce.", "analyse"))
        }
        found = opened.detections().set_index(["analysis", "source"])["snr"]
        assert found["movers", "mover n1"] == pytest.approx(2 * (10 + 11))
    added = settings(folder, observatories={survey: {"archive": str(folder), "add": 1.0}})
    with reopen(project, added) as opened:
        assert done(opened.run()) == {
            name: n for name, n in ALL.items() if name.startswith(("reduce", "analyse"))
        }
        assert done(opened.run(step="reduce.scale", redo=True)) == {"reduce.scale:tiny": 5}
