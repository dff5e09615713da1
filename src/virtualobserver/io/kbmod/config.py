"""KBMOD's search parameters, and the YAML scalars in which its files keep them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from virtualobserver.errors import InvalidFile
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    from astropy.io import fits as afits

__all__ = ["config_columns", "config_of", "default_config", "yaml_scalar"]

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*( [A-Za-z0-9_./-]+)*")
_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_UNWRITABLE: Final = frozenset({"color_scale"})  # KBMOD's runner fails on a file that names it

_DEFAULTS: Final[Record] = {
    "clip_negative": False, "cluster_eps": 20.0, "cluster_type": "all", "cluster_v_scale": 1.0,
    "cnn_filter": False, "cnn_model": None, "cnn_coadd_type": "mean", "cnn_stamp_radius": 49,
    "cnn_model_type": "resnet18", "coadds": [], "compute_ra_dec": True, "cpu_only": False, "debug": False,
    "do_clustering": True, "drop_columns": [], "encode_num_bytes": -1,
    "generator_config": {
        "name": "EclipticCenteredSearch", "velocities": [92.0, 526.0, 257],
        "angles": [-0.20943951023931956, 0.20943951023931956, 129], "angle_units": "radian",
        "velocity_units": "pix / d", "given_ecliptic": None,
    },
    "generate_psi_phi": True, "gpu_filter": False, "lh_level": 10.0, "max_masked_pixels": 0.5,
    "max_results": 100000, "near_dup_thresh": 10, "nightly_coadds": False, "num_obs": 10,
    "peak_offset_max": None, "pred_line_cluster": False, "pred_line_params": [4.0, 2, 60], "psf_val": 1.4,
    "result_filename": None, "results_per_pixel": 8, "save_all_stamps": False, "save_config": True,
    "separate_col_files": ["all_stamps"], "sigmaG_filter": True, "sigmaG_lims": [25, 75], "stamp_radius": 10,
    "stamp_type": "sum", "timeout_hours": None, "track_filtered": False, "x_pixel_bounds": None,
    "x_pixel_buffer": None, "y_pixel_bounds": None, "y_pixel_buffer": None,
}  # fmt: skip


def default_config() -> RecordDict:
    """Return the parameters with the values KBMOD starts from."""
    return dict(_DEFAULTS)


def config_columns(config: Record) -> dict[str, str]:
    """Return every parameter as the text of its column; defaults for what is not given."""
    values = {**_DEFAULTS, **config}
    return {name: yaml_scalar(value) for name, value in values.items() if name not in _UNWRITABLE}


def config_of(rows: afits.FITS_rec) -> RecordDict:
    """Read the one row of a configuration table.

    Raises
    ------
    InvalidFile
        If a value is not YAML.
    """
    reader = YAML(typ="safe", pure=True)
    # PyYAML, which wrote it, follows YAML 1.1
    config = {}
    for name in rows.dtype.names or ():
        text = str(rows[name][0])
        try:
            config[name] = reader.load(text)
        except YAMLError as error:
            msg = f"configuration parameter {name}: {text!r} is not YAML"
            raise InvalidFile(msg) from error
    return config


def yaml_scalar(value: object) -> str:
    r"""Write a value as PyYAML's flow style does: a bare scalar ends in ``\n...``."""
    text = _flow(value)
    return text if isinstance(value, Mapping | list | tuple) else f"{text}\n..."


def _flow(value: object) -> str:
    if hasattr(value, "item"):
        value = value.item()
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return str(value) if isinstance(value, int) else _float(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(str(key))}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(each) for each in value) + "]"
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return "'" + text.replace("'", "''") + "'"


def _float(value: float) -> str:
    """Write a float so that YAML 1.1 takes it for one: with a point before any exponent."""
    text = repr(value)
    named = {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}
    if text in named:
        return named[text]
    mantissa, mark, exponent = text.partition("e")
    return mantissa + (".0" if mark and "." not in mantissa else "") + mark + exponent
