"""Settings: read once at start from a mapping, checked together, frozen. Nothing else reads the environment."""

from grinder.settings.files import missing_files, read_secret_file
from grinder.settings.flags import FlagParser, add_flags, build_parser, flag_values
from grinder.settings.guards import notes
from grinder.settings.load import Entry, Origin, ReadFile, explain, load
from grinder.settings.secret import Secret
from grinder.settings.table import FILE_SUFFIX, SECTIONS, VARIABLES
from grinder.settings.values import Settings
from grinder.settings.variable import JournalSync, Kind, OrderTransport, Section, StreamMode, TpQuantityMode, Variable

__all__ = [
    "FILE_SUFFIX",
    "SECTIONS",
    "VARIABLES",
    "Entry",
    "FlagParser",
    "JournalSync",
    "Kind",
    "OrderTransport",
    "Origin",
    "ReadFile",
    "Secret",
    "Section",
    "Settings",
    "StreamMode",
    "TpQuantityMode",
    "Variable",
    "add_flags",
    "build_parser",
    "explain",
    "flag_values",
    "load",
    "missing_files",
    "notes",
    "read_secret_file",
]
