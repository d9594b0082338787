"""Settings: every `MEDIALANE_*` variable, typed and documented, in groups; a process loads the groups it needs.

A variable's name is `MEDIALANE_` + the group's prefix + the field, upper case. A field without a default is required.
"""

from schemas.settings.connections import (
    ConnectSettings,
    DatabaseSettings,
    KafkaSettings,
    ObjectStoreSettings,
    TopicsSettings,
)
from schemas.settings.groups import (
    LANE_RUNNING_BOUNDS,
    LANE_WINDOW_BOUNDS,
    PROCESSES,
    ApiSettings,
    AuthSettings,
    BreakerSettings,
    KeeperSettings,
    MediaSettings,
    MigrationSettings,
    ProcessorSettings,
    ProfileSettings,
    PullSettings,
    ShutdownSettings,
    TelemetrySettings,
    UsageSettings,
    WebhookSettings,
    WorkerSettings,
)
from schemas.settings.loading import PREFIX, Settings, SettingsError, describe, load, variable

__all__ = [
    "LANE_RUNNING_BOUNDS",
    "LANE_WINDOW_BOUNDS",
    "PREFIX",
    "PROCESSES",
    "ApiSettings",
    "AuthSettings",
    "BreakerSettings",
    "ConnectSettings",
    "DatabaseSettings",
    "KafkaSettings",
    "KeeperSettings",
    "MediaSettings",
    "MigrationSettings",
    "ObjectStoreSettings",
    "ProcessorSettings",
    "ProfileSettings",
    "PullSettings",
    "Settings",
    "SettingsError",
    "ShutdownSettings",
    "TelemetrySettings",
    "TopicsSettings",
    "UsageSettings",
    "WebhookSettings",
    "WorkerSettings",
    "describe",
    "load",
    "variable",
]
