"""The workspace: a folder of documents, checked whole, loaded as one immutable value, edited with its comments kept."""

from trimtab.controlplane.registry.documents import PATTERNS, Engine, Server, Settings, Storage
from trimtab.controlplane.registry.example import SECRET, NotEmptyError, write_example, write_schemas
from trimtab.controlplane.registry.load import Workspace, examine, load

__all__ = [
    "PATTERNS",
    "SECRET",
    "Engine",
    "NotEmptyError",
    "Server",
    "Settings",
    "Storage",
    "Workspace",
    "examine",
    "load",
    "write_example",
    "write_schemas",
]
