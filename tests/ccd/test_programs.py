"""External programs: both names, what is said where one is missing, fails or hangs, and own configuration files."""

from __future__ import annotations

import numpy as np
import pytest
from support.programs import needs, stand_in

from virtualobserver.ccd.extractor import extract, frame_sources
from virtualobserver.ccd.programs import SOURCE_EXTRACTOR
from virtualobserver.ccd.settings import CCDSettings, DetectSettings
from virtualobserver.conventions import MASK_HOT, MASK_SATURATED
from virtualobserver.data import Image
from virtualobserver.errors import ProgramError

OWN = DetectSettings(program="source-extractor")


def sky(spots=((30.0, 40.0, 8000.0), (80.25, 60.2, 5000.0), (120.0, 90.0, 4000.0)), shape=(128, 160)):
    """Return a frame with Gaussian stars (x, y, peak) on a sky of 100."""
    y, x = np.indices(shape)
    data = np.random.default_rng(1).normal(100.0, 10.0, shape)
    for x0, y0, peak in spots:
        data += peak * np.exp(-0.5 * ((x - x0) ** 2 + (y - y0) ** 2) / 1.3**2)
    variance = np.full(shape, 100.0, np.float32)
    return Image(data.astype(np.float32), variance, np.zeros(shape, np.uint16), unit="electron")


def test_a_program_that_is_missing_is_an_error_with_debians_package(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramError, match="apt-get install source-extractor") as error:
        frame_sources(sky(), OWN, threshold=5.0, width=3.0)
    assert "set detect.program: builtin" in str(error.value)
    assert "source-extractor or sex is not on the path" in str(error.value)


def test_the_second_name_is_tried_and_the_version_asked_once(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    stand_in(tmp_path / "bin", "sex", f"echo x >> {tmp_path}/asked; echo sex version 9.8.7", monkeypatch)
    assert SOURCE_EXTRACTOR.version() == SOURCE_EXTRACTOR.version() == "source-extractor 9.8.7"
    assert (tmp_path / "asked").read_text() == "x\n"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo first; echo '> cannot read it' >&2; exit 3", "ended with code 3: first | > cannot read it"),
        ("printf '\\033[1M> out of stars\\n'; exit 0", "wrote no found: > out of stars"),
        ("exit 0", "wrote no found, and said nothing"),
        ("exec sleep 20", "did not end within 0.2 s; raise detect.timeout"),
    ],
)
def test_what_a_failing_program_says_stands_in_the_error(script, said, tmp_path, monkeypatch):
    stand_in(tmp_path, "source-extractor", script, monkeypatch)
    own = DetectSettings(program="source-extractor", timeout=0.2 if "sleep" in script else 10)
    with pytest.raises(ProgramError) as error:
        frame_sources(sky(), own, threshold=5.0, width=3.0)
    assert said in str(error.value)


def test_arguments_go_without_a_shell_and_nothing_is_left_behind(tmp_path, monkeypatch):
    stand_in(tmp_path / "bin", "source-extractor", f"pwd > {tmp_path}/where; exit 1", monkeypatch)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "a b; touch $HOME"))
    (tmp_path / "a b; touch $HOME").mkdir()
    with pytest.raises(ProgramError):
        extract(sky(), OWN, threshold=5.0, width=3.0)
    assert (tmp_path / "where").read_text().startswith(str(tmp_path / "a b; touch $HOME"))
    assert not list((tmp_path / "a b; touch $HOME").iterdir())


def test_masked_pixels_are_left_out_saturated_ones_kept_and_their_bits_told():
    needs(SOURCE_EXTRACTOR)
    image = sky()
    mask = np.zeros(image.data.shape, np.uint16)
    mask[40, 30] = MASK_SATURATED
    mask[85:96, 115:126] = MASK_HOT
    image = Image(image.data, image.variance, mask, unit="electron")
    found = extract(image, OWN, threshold=10.0, width=3.0)
    assert sorted(zip(found.x.round(), found.y.round(), found.flags, strict=True)) == [
        (30, 40, MASK_SATURATED), (80, 60, 0),
    ]  # fmt: skip
    assert list(found.flux) == sorted(found.flux, reverse=True)


def test_pixels_count_from_zero_and_a_star_at_the_edge_is_truncated():
    needs(SOURCE_EXTRACTOR)
    found = extract(sky([(80.25, 60.5, 5000.0), (0.0, 90.0, 9000.0)]), OWN, threshold=10.0, width=3.0)
    inside = ~found.truncated
    assert found.x[inside] == pytest.approx([80.25], abs=0.02)
    assert found.y[inside] == pytest.approx([60.5], abs=0.02)
    assert found.truncated.sum() == 1


def test_an_own_configuration_file_decides_thresholds_and_finds_files_beside_it(tmp_path):
    needs(SOURCE_EXTRACTOR)
    (tmp_path / "my.conv").write_text("CONV NORM\n1 2 1\n2 4 2\n1 2 1\n")
    (tmp_path / "my.sex").write_text(
        "DETECT_THRESH 200\nANALYSIS_THRESH 200\nFILTER_NAME my.conv\nCATALOG_TYPE ASCII\nGAIN 3\n"
    )
    own = DetectSettings(program="source-extractor", config=str(tmp_path / "my.sex"))
    assert len(extract(sky(), own, threshold=5.0, width=3.0)) == 3
    (tmp_path / "my.sex").write_text("DETECT_THRESH 420\nDETECT_MINAREA 1\nFILTER N\n")
    assert len(extract(sky(), own, threshold=5.0, width=3.0)) == 2
    missing = DetectSettings(program="source-extractor", config=str(tmp_path / "other.sex"))
    with pytest.raises(ProgramError, match=r"detect\.config: there is no file"):
        extract(sky(), missing, threshold=5.0, width=3.0)


def test_the_program_changes_solving_and_all_after_it_and_the_time_limit_nothing():
    plain = CCDSettings().model_dump(mode="json")
    assert plain["detect"] == {"program": "builtin", "config": None, "timeout": 300.0}
    marks = DetectSettings.model_fields
    assert {marks[name].json_schema_extra["step"] for name in ("program", "config")} == {"reduce.solve"}
    assert marks["timeout"].json_schema_extra["run_only"]
