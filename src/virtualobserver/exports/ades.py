"""Places of movers and their errors as ADES 2022, fields parted by bars (PSV), for the Minor Planet Center."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pydantic
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from virtualobserver.config.settings import setting
from virtualobserver.errors import ConfigError
from virtualobserver.export import Export, ExportSettings, View, makers_of
from virtualobserver.io.atomic import replacing
from virtualobserver.io.mpc.ades import Header, psv_lines
from virtualobserver.io.mpc.movers import ROLES, catalogue_name, observations_of, one_code
from virtualobserver.typing import Record, Value

__all__ = ["ADES", "ADESSettings"]

_NEEDED = ("submitter", "measurers", "design", "aperture", "detector")


class ADESSettings(ExportSettings):
    """Options of the files in ADES."""

    header: str | None = setting(
        None, doc="YAML file with any of these options, for what is the same each time", path=True
    )
    code: str = setting(
        "", doc="Code of the observatory; empty = mpc_code of the survey", pattern=r"^([0-9A-Z][0-9]{2})?$"
    )
    submitter: str = setting("", doc="Who sends it, as A. Name", max_length=100)
    observers: list[str] = setting([], doc="Who observed; empty = the measurers")
    measurers: list[str] = setting([], doc="Who measured")
    telescope: str = setting("", doc="Name of the telescope", max_length=100)
    design: str = setting("Reflector", doc="Design of the telescope", max_length=35)
    aperture: float | None = setting(None, doc="Of the telescope", unit="m", gt=0, lt=100)
    detector: str = setting("CCD", doc="Detector", max_length=25)
    mode: str = setting("CCD", doc="How it was measured: CCD, CMO (CMOS), TDI ...", pattern=r"^[A-Z]{3}$")
    catalogue: str = setting(
        "", doc="Reference stars, e.g. Gaia3; empty = refcat of the survey", pattern=r"^[.A-Za-z0-9_]{0,8}$"
    )
    band: str | None = setting(
        None, doc="Band of all magnitudes; unset = as the survey calls it", pattern=r"^[A-Za-z0-9]{1,3}$"
    )
    flagged: bool = setting(False, doc="Epochs with a quality flag too")

    @pydantic.model_validator(mode="before")
    @classmethod
    def _as_people_write_it(cls, given: Value) -> Value:
        """Take options from the file too, and several names with commas between them."""
        if not isinstance(given, Mapping):
            return given
        options = dict(given)
        if isinstance(options.get("header"), str):
            options = {**_options_of(Path(options["header"]).expanduser()), **options}
        for key in ("observers", "measurers"):
            if isinstance(names := options.get(key), str):
                options[key] = [name.strip() for name in names.split(",") if name.strip()]
        return options


def _options_of(path: Path) -> Record:
    try:
        told = YAML(typ="safe", pure=True).load(path)
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        msg = f"{path} cannot be read as YAML: {error}"
        raise ValueError(msg) from error
    if not isinstance(told, Mapping):
        msg = f"{path} should hold options, a line each: `submitter: A. Name`"
        raise ValueError(msg)
    return told


class ADES(Export[ADESSettings]):
    """Places of movers for the Minor Planet Center, in ADES 2022 (PSV), with their errors."""

    name: ClassVar[str] = "ades"
    needs: ClassVar[str] = "an analysis that finds movers"
    counts: ClassVar[str] = "observations"

    def offers(self, view: View) -> bool:
        """Whether an analysis of the project finds movers."""
        return bool(makers_of(view, "lightcurve", "mover"))

    def write(self, view: View, path: Path, options: ADESSettings) -> int:
        """Write header and observations; return their number. Without movers there is no file.

        Raises
        ------
        ConfigError
            If what the header has to say is not known, or a band is none of the Minor Planet Center.
        """
        searches = {name for role in ROLES for name in makers_of(view, "lightcurve", role)}
        table = view.table("detections")
        found = observations_of(
            table[table["analysis"].isin(searches)], view.products,
            band=options.band, flagged=options.flagged, longest_band=3,
        )  # fmt: skip
        if not found:
            return 0
        code = one_code(options.code, [one.mpc_code for one in view.makers])
        stars = catalogue_name(options.catalogue, [one.refcat for one in view.makers])
        lines = psv_lines(
            found, _header(options, code), mode=options.mode, code=code, ast_cat=stars, phot_cat=stars
        )
        with replacing(path) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return len(found)


def _header(options: ADESSettings, code: str) -> Header:
    missing = [name for name in _NEEDED if not getattr(options, name)]
    if missing:
        msg = f"the header of ADES has to say {', '.join(missing)}: " + " ".join(
            f"--option {name}=..." for name in missing
        )
        msg += "; or --option header=FILE, a YAML file with them"
        raise ConfigError(msg)
    return (
        ("observatory", [("mpcCode", code)]),
        ("submitter", [("name", options.submitter)]),
        ("observers", [("name", name) for name in options.observers or options.measurers]),
        ("measurers", [("name", name) for name in options.measurers]),
        (
            "telescope",
            [
                ("name", options.telescope),
                ("design", options.design),
                ("aperture", f"{options.aperture:.4g}"),
                ("detector", options.detector),
            ],
        ),
        ("software", [("objectDetection", "virtualobserver")]),
    )
