"""Settings: the only reader of the environment and of the TOML file.

``settings.py`` is the table, ``parsers.py`` what values may look like, ``resolution.py`` which of several holds.
"""

from dbsight.config.otel_env import Surroundings, environment
from dbsight.config.parsers import FailOn
from dbsight.config.presets import PRESETS, REDIS_PRESETS
from dbsight.config.process import current, reset, use
from dbsight.config.resolution import Setting
from dbsight.config.settings import SETTINGS, Row, Settings

__all__ = [
    "PRESETS",
    "REDIS_PRESETS",
    "SETTINGS",
    "FailOn",
    "Row",
    "Setting",
    "Settings",
    "Surroundings",
    "current",
    "environment",
    "reset",
    "use",
]
