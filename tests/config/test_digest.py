from __future__ import annotations

import datetime as dt
import enum
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.config import FlareSettings, SkySettings, resolve
from support.paths import TESTS

from virtualobserver.config import AnalysisSettings, Settings, canonical, digest, load, relevant, setting
from virtualobserver.errors import ConfigError

SCRIPT = """
from support.config import SkySettings
from virtualobserver.config import canonical, digest
print(digest("reduce:sky", "sky", "1", SkySettings(), ["b", "a"]), canonical({"s": {"x", "y", "z", "w"}}))
"""


def reduced(**values: Any) -> str:
    return digest("reduce:sky", "sky", "1", SkySettings(**values))


def found(values: dict[str, Any], overrides: Any = (), env: dict[str, str] | None = None) -> str:
    resolved = load(values, overrides, resolve=resolve, env={"XDG_CONFIG_HOME": "/nowhere", **(env or {})})
    return digest("analyse:flares", "flares", "1", resolved.settings.analyses["flares"])


def test_key_order_changes_no_digest() -> None:
    assert reduced(gap=3, clip=2) == reduced(clip=2, gap=3)
    assert canonical({"b": 1, "a": {"d": 1, "c": 2}}) == canonical({"a": {"c": 2, "d": 1}, "b": 1})


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_hash_seed_changes_no_digest(seed: str) -> None:
    env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(TESTS)}
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True)
    here = digest("reduce:sky", "sky", "1", SkySettings(), ["a", "b"])
    assert run.stdout.split() == [here, '{"s":["w","x","y","z"]}']


def test_digest_is_the_same_for_ever() -> None:
    assert canonical({"b": (1, 2.0), "a": None, "p": Path("x/y")}) == '{"a":null,"b":[1,2.0],"p":"x/y"}'
    sha = digest("reduce", "p", "1", Settings())
    assert len(sha) == 64
    assert sha == "618543778d87bf0896acc4799c91c9c3fd0febddc9b37353cf6cb9d2aee8c576"


def test_verbosity_workers_path_and_credentials_change_no_digest(tmp_path: Path) -> None:
    base = {"name": "x", "observatories": ["sky"], "analyses": ["flares"]}
    one = found(base)
    assert found(base, ["run.verbosity=3", "run.workers=2"]) == one
    assert found(base, env={"VO_SKY_PASSWORD": "secret"}) == one
    assert found({**base, "name": "other", "catalog": {"file": "b.csv"}}) == one
    path = tmp_path / "anywhere.yaml"
    path.write_text("analyses: [flares]\n")
    loaded = load(path, resolve=resolve, env={"XDG_CONFIG_HOME": "/nowhere"})
    assert digest("analyse:flares", "flares", "1", loaded.settings.analyses["flares"]) == one
    assert reduced(archive="/data/sky") == reduced()


def test_threshold_version_plugin_step_and_upstream_change_the_digest() -> None:
    settings = FlareSettings()
    one = digest("analyse:flares", "flares", "1", settings, ["a"])
    others = {
        digest("analyse:flares", "flares", "1", FlareSettings(threshold=6), ["a"]),
        digest("analyse:flares", "flares", "2", settings, ["a"]),
        digest("analyse:dips", "dips", "1", settings, ["a"]),
        digest("simulate:flares", "flares", "1", settings, ["a"]),
        digest("analyse:flares", "flares", "1", settings, ["b"]),
        digest("analyse:flares", "flares", "1", settings),
    }
    assert one not in others
    assert len(others) == 6


def test_order_of_upstream_digests_does_not_matter() -> None:
    assert digest("reduce", "p", "1", Settings(), ["a", "b"]) == digest(
        "reduce", "p", "1", Settings(), ("b", "a")
    )


def test_whole_number_for_a_float_is_the_same_setting() -> None:
    assert reduced(gap=3) == reduced(gap=3.0)
    assert reduced(bands=["g"]) == reduced(bands=("g",))


def test_each_step_takes_its_own_settings_only() -> None:
    settings = SkySettings()
    assert set(relevant(settings, "fetch")) == {"radius"}
    assert set(relevant(settings, "reduce")) == {"gap", "clip", "drop_bad", "bands"}
    assert set(relevant(settings, "reduce.photometry")) == {"gap", "clip", "drop_bad", "bands"}
    assert set(relevant(settings, "reduce.solve")) == {"gap", "drop_bad", "bands"}


def test_number_and_seed_of_injections_leave_the_analysis_alone() -> None:
    one, two = FlareSettings(), FlareSettings(simulate={"number": 5, "seed": 7})
    assert relevant(one, "analyse") == relevant(two, "analyse") == {"threshold": 5.0}
    assert relevant(two, "simulate") == {"simulate": {"seed": 7}}


def test_setting_without_step_enters_every_digest_and_nested_ones_inherit() -> None:
    class Axis(Settings):
        low: float = setting(0.0, doc="Low")

    class Mine(AnalysisSettings):
        free: int = setting(1, doc="Free")
        axis: Axis = setting(Axis(), step="analyse", doc="Axis")
        axes: tuple[Axis, ...] = setting((Axis(), Axis(low=1)), step="analyse", doc="Axes")
        named: dict[str, Axis] = setting({"a": Axis()}, doc="Named")

    assert relevant(Mine(), "analyse") == {
        "free": 1,
        "axis": {"low": 0.0},
        "axes": [{"low": 0.0}, {"low": 1.0}],
        "named": {"a": {"low": 0.0}},
    }
    assert set(relevant(Mine(), "simulate")) == {"free", "named", "simulate"}


def test_canonical_covers_what_settings_hold() -> None:
    class Colour(enum.Enum):
        RED = "red"

    value = {
        "e": Colour.RED,
        "d": dt.date(2012, 6, 4),
        "n": np.float64(0.1),
        "i": np.int64(3),
        "a": np.array([1.5, 2.0]),
        "s": {"b", "a"},
        "t": True,
        "u": "é",
        "m": SkySettings(),
    }
    text = canonical(value)
    assert '"e":"red"' in text
    assert '"d":"2012-06-04"' in text
    assert '"n":0.1,' in text
    assert '"i":3,' in text
    assert '"a":[1.5,2.0]' in text
    assert '"s":["a","b"]' in text
    assert '"t":true' in text
    assert text.isascii()


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), {"a": [float("-inf")]}, object(), {1: 2}, np.nan]
)
def test_fault_21_nan_and_unknown_types_have_no_digest(value: Any) -> None:
    with pytest.raises(ConfigError):
        canonical(value)


def test_run_only_with_a_step_is_a_contradiction() -> None:
    with pytest.raises(ValueError, match="run_only"):
        setting(1, doc="x", step="fetch", run_only=True)
