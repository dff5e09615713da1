"""Settings of a project: read, checked, explained, digested. Knows no plug-in, no row and no data.

`load` makes them from a YAML file; `Settings` and `setting` are what a survey or an analysis declares its own
with; `digest` tells whether two runs would compute the same.
"""

from __future__ import annotations

from virtualobserver.config.credentials import Credentials, credentials_file, known_secrets, scrub
from virtualobserver.config.digest import canonical, digest, relevant
from virtualobserver.config.load import Overrides, Resolved, Resolver, Row, json_schema, load, settings_from
from virtualobserver.config.names import legalise
from virtualobserver.config.project import (
    AnalysisSettings,
    CatalogSettings,
    ColumnSettings,
    ConeSettings,
    ProjectSettings,
    RegionSettings,
    RunSettings,
    SimulateSettings,
)
from virtualobserver.config.settings import Leaf, Settings, field_marks, leaves, setting

__all__ = [
    "AnalysisSettings",
    "CatalogSettings",
    "ColumnSettings",
    "ConeSettings",
    "Credentials",
    "Leaf",
    "Overrides",
    "Parameters",
    "ProjectSettings",
    "RegionSettings",
    "Resolved",
    "Resolver",
    "Row",
    "RunSettings",
    "Settings",
    "SimulateSettings",
    "canonical",
    "credentials_file",
    "digest",
    "field_marks",
    "json_schema",
    "known_secrets",
    "leaves",
    "legalise",
    "load",
    "relevant",
    "scrub",
    "setting",
    "settings_from",
]

Parameters = ProjectSettings
