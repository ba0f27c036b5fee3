"""The workspace: a folder of documents, checked whole, loaded as one immutable value, edited with its comments kept."""

from trimtab.controlplane.registry.audit import AuditError, AuditRow
from trimtab.controlplane.registry.audit import rows as audit_rows
from trimtab.controlplane.registry.documents import PATTERNS, Engine, Server, Settings, Storage, no_workspace
from trimtab.controlplane.registry.documents import POLICY as POLICY_FILE
from trimtab.controlplane.registry.documents import SETTINGS as SETTINGS_FILE
from trimtab.controlplane.registry.edit import EditError, change, locked
from trimtab.controlplane.registry.example import SECRET, NotEmptyError, write_example, write_schemas
from trimtab.controlplane.registry.keys import KeyRow, NewKey
from trimtab.controlplane.registry.keys import create as create_key
from trimtab.controlplane.registry.keys import listed as list_keys
from trimtab.controlplane.registry.keys import revoke as revoke_key
from trimtab.controlplane.registry.load import Workspace, examine, load, read_policy

__all__ = [
    "PATTERNS",
    "POLICY_FILE",
    "SECRET",
    "SETTINGS_FILE",
    "AuditError",
    "AuditRow",
    "EditError",
    "Engine",
    "KeyRow",
    "NewKey",
    "NotEmptyError",
    "Server",
    "Settings",
    "Storage",
    "Workspace",
    "audit_rows",
    "change",
    "create_key",
    "examine",
    "list_keys",
    "load",
    "locked",
    "no_workspace",
    "read_policy",
    "revoke_key",
    "write_example",
    "write_schemas",
]
