"""Folders of Community Pipeline files: exposures joined of image, mask and weight, and what is in each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

from virtualobserver.data.product import Raw, Target
from virtualobserver.errors import ConfigError, InvalidFile
from virtualobserver.io.fits.structure import MemoryFile, read_cards
from virtualobserver.io.listing import files_below
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.observatories.decam.header import KEYS, NAMES, chip_facts, chip_name, exposure_facts
from virtualobserver.observatories.decam.names import (
    IMAGE,
    MASK,
    SUFFIXES,
    WEIGHT,
    parse_name,
    plain_name,
)
from virtualobserver.observatories.decam.settings import DECamSettings
from virtualobserver.typing import Record, RecordDict

__all__ = [
    "CAMERA",
    "KINDS",
    "Exposure",
    "exposures_of",
    "find_exposures",
    "near",
    "pointed_exposures",
    "raws_of",
]

CAMERA: Final = Target("DECam", kind="instrument")
"""Whom pointed frames and catalogues belong to."""
_PLANES: Final = {"image": IMAGE, "dqmask": MASK, "wtmap": WEIGHT, "weight": WEIGHT}
"""What PRODTYPE says, where the name of a file does not."""
_DRIFT_WITHIN: Final = 0.1
"""Of the exposure time of drift frames."""
File = Path | MemoryFile
KINDS: Final = {"g": "companion", "r": "reference"}
"""What pointed frames of a band serve for; those of others are companions as well."""


@dataclass
class Exposure:
    """The files of one exposure.

    Parameters
    ----------
    facts
        Of the primary header, see `exposure_facts`, with ``drift``: whether its stars are trails.
    files
        Plane to (file, archive id, version).
    parts
        Plane to what is known of each chip in its file, see `chip_facts`; of masks and weights only its name.
    problem
        Why it cannot be read; empty if it can.
    """

    facts: RecordDict
    files: dict[str, tuple[File, str, int]] = field(default_factory=dict)
    parts: dict[str, list[RecordDict]] = field(default_factory=dict)
    problem: str = ""


def pointed_exposures(settings: DECamSettings) -> frozenset[int]:
    """Read the list of exposures that are pointed: numbers, or names that end in one, at any depth of a YAML file.

    Raises
    ------
    ConfigError
        If the file cannot be read, or holds something else.
    """
    if settings.pointed_images_yaml_path is None:
        return frozenset()
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    path = Path(settings.pointed_images_yaml_path)
    try:
        return frozenset(_numbers(YAML(typ="safe", pure=True).load(path), path))
    except (OSError, YAMLError) as error:
        msg = f"pointed_images_yaml_path: {path} cannot be read ({error})"
        raise ConfigError(msg) from error


def find_exposures(folders: Sequence[Path], settings: DECamSettings) -> list[Exposure]:
    """Return the exposures below the folders, in the order of their files.

    Planes are joined by night and number of the exposure (EXPNUM, or the number in the name). Of several versions the
    highest is taken; ``x.fits.fz`` beside ``x.fits`` is one file. A file that cannot be read is an exposure with a
    problem.
    """
    files: list[tuple[File, str]] = []
    names: set[str] = set()
    seen: set[str] = set()
    for folder in folders:
        for path in files_below([folder], SUFFIXES):
            plain = str(path.with_name(plain_name(path.name)))
            if plain in seen:
                continue
            seen.add(plain)
            name = _archive_id(path, folder, names)
            names.add(name)
            files.append((path, name))
    return exposures_of(files, settings)


def exposures_of(files: Iterable[tuple[File, str]], settings: DECamSettings) -> list[Exposure]:
    """Return the exposures of files, each with its name in the archive; see `find_exposures`."""
    pointed = pointed_exposures(settings)
    joined: dict[tuple[str, object], Exposure] = {}
    for file, name in files:
        _join(file, name, joined, pointed, settings)
    return list(joined.values())


def raws_of(exposure: Exposure, settings: DECamSettings) -> Iterator[Raw]:
    """Yield the planes of each chip of an exposure: of a drift frame for the target, else for the camera."""
    wanted = None if settings.ccd is None else set(settings.ccd)
    if exposure.problem or IMAGE not in exposure.files:
        yield from _broken(exposure)
        return
    path, name, version = exposure.files[IMAGE]
    try:
        parts = {
            plane: _by_name(exposure.parts[plane], file) for plane, (file, _, _) in exposure.files.items()
        }
    except InvalidFile as error:
        exposure.problem = str(error)
        yield from _broken(exposure)
        return
    if not parts[IMAGE]:
        exposure.problem = f"{path}: no HDU has an EXTNAME or DETPOS, by which chips are known"
        yield from _broken(exposure)
        return
    for ccd, chip in parts[IMAGE].items():
        if wanted is not None and ccd not in wanted:
            continue
        facts = {**exposure.facts, **chip, "notes": [*exposure.facts["notes"], *chip["notes"]]}
        yield _raw(path, name, facts | {"plane": IMAGE, "version": version})
        for plane, (file, other, number) in exposure.files.items():
            if plane != IMAGE and ccd in parts[plane]:
                yield _raw(file, other, facts | {"plane": plane, "version": number})


def near(exposure: Exposure, target: Target, settings: DECamSettings) -> bool:
    """Whether an exposure is one of a target's."""
    if settings.fields == "all" or exposure.problem or not exposure.facts["drift"]:
        return True
    ra, dec = exposure.facts.get("ra0"), exposure.facts.get("dec0")
    if ra is None or dec is None or target.ra is None or target.dec is None:
        return False
    return bool(separation(ra, dec, target.ra, target.dec) <= settings.field_radius)


# --- inside -----------------------------------------------------------------------------------------------


def _numbers(value: object, path: Path) -> Iterator[int]:
    if isinstance(value, bool):
        pass
    elif isinstance(value, int):
        yield value
        return
    elif isinstance(value, str) and value.rpartition("_")[2].isdigit():
        yield int(value.rpartition("_")[2])
        return
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _numbers(one, path)
        return
    elif value is None:
        return
    msg = (
        f"pointed_images_yaml_path: {path} holds {value!r}, which is no exposure: list numbers, or names such as "
        "exp_13253"
    )
    raise ConfigError(msg)


def _archive_id(path: Path, folder: Path, taken: set[str]) -> str:
    """Return a file's path below the archive, and before it the folder's name where another one has it too."""
    name, top = path.relative_to(folder).as_posix(), folder
    while name in taken and top != top.parent:
        name, top = f"{top.name}/{name}", top.parent
    return name


def _by_name(chips: Sequence[RecordDict], file: File) -> dict[str, RecordDict]:
    found = {str(chip["ccd"]): chip for chip in chips}
    if len(found) < len(chips):
        names = sorted(str(chip["ccd"]) for chip in chips)
        again = next(one for one, other in pairwise(names) if one == other)
        msg = f"{file}: two HDUs of the name {again}"
        raise InvalidFile(msg)
    return found


def _join(
    path: File,
    name: str,
    joined: dict[tuple[str, object], Exposure],
    pointed: frozenset[int],
    own: DECamSettings,
) -> None:
    said = parse_name(
        Path(name).name, image=own.img_keyword, mask=own.mask_keyword, weight=own.weight_keyword
    )
    try:
        header, *others = read_cards(path, NAMES if said.plane in {MASK, WEIGHT} else KEYS)
    except (InvalidFile, OSError) as error:
        problem = Exposure(
            {"exposure": said.exposure, "night": "", "drift": True, "notes": []}, problem=str(error)
        )
        problem.files[said.plane or IMAGE] = (path, name, said.version)
        joined["", name] = problem
        return
    plane = said.plane or _PLANES.get(str(header.get("PRODTYPE") or "").strip().lower(), "")
    if not plane or (plane != IMAGE and not own.read_mask):
        return
    facts = exposure_facts(header)
    if facts["exposure"] is None:
        facts["exposure"] = said.exposure
    facts["drift"] = _is_drift(facts, pointed, own)
    key = (str(facts["night"]), facts["exposure"] if facts["exposure"] is not None else name)
    entry = joined.setdefault(key, Exposure(facts))
    before = entry.files.get(plane)
    if before is None or said.version > before[2]:
        entry.files[plane] = (path, name, said.version)
        chips = [one for one in others if chip_name(one)]
        if plane == IMAGE:
            if lost := len(others) - len(chips):
                facts["notes"] = [*facts["notes"], f"{lost} HDUs without EXTNAME and DETPOS"]
            entry.parts[plane], entry.facts = [chip_facts(one) for one in chips], facts
        else:
            entry.parts[plane] = [{"ccd": chip_name(one)} for one in chips]


def _is_drift(facts: Record, pointed: frozenset[int], own: DECamSettings) -> bool:
    if facts["exposure"] in pointed or facts["band"] != own.drift_filter:
        return False
    if "pointed" in facts["object"].lower():
        return False
    wanted = own.drift_exptime
    return wanted is None or abs(facts["exptime"] / wanted - 1) <= _DRIFT_WITHIN


def _raw(file: File, name: str, facts: RecordDict) -> Raw:
    start, exptime = facts["mjd_start"], facts["exptime"]
    obscore: RecordDict = {
        "obs_id": str(facts["exposure"]), "dataproduct_type": "image", "instrument_name": "DECam",
        "t_exptime": exptime, "s_ra": facts["ra"], "s_dec": facts["dec"],
    }  # fmt: skip
    if start is not None:
        obscore |= {"t_min": start, "t_max": start + exptime / 86400}
    owner = None if facts["drift"] else CAMERA
    return Raw(
        name, "fits", **_held(file), key=str(facts["ccd"]), obscore=obscore, header=facts, owner=owner,
    )  # fmt: skip


def _held(file: File) -> RecordDict:
    return {"path": file, "in_place": True} if isinstance(file, Path) else {"content": file.content}


def _broken(exposure: Exposure) -> Iterator[Raw]:
    """Yield what is there of an exposure that cannot be used: its unit fails and says why."""
    planes = ", ".join(exposure.files)
    problem = exposure.problem or f"an exposure with {planes} and without its image"
    for plane, (path, name, version) in exposure.files.items():
        facts = {
            **exposure.facts,
            "ccd": "none",
            "plane": plane,
            "version": version,
            "problem": problem,
            "drift": True,
        }
        yield Raw(name, "fits", **_held(path), header=facts, obscore={"dataproduct_type": "image"})
