"""The workspace: a folder of documents, checked whole, loaded as one immutable value, edited with its comments kept."""

from trimtab.controlplane.registry.audit import AuditError, AuditRow
from trimtab.controlplane.registry.audit import rows as audit_rows
from trimtab.controlplane.registry.budgets import (
    BudgetChange,
    Scope,
    UnknownScopeError,
    remove_budget,
    scope,
    scopes,
    set_budget,
)
from trimtab.controlplane.registry.budgets import grant as grant_budget
from trimtab.controlplane.registry.documents import FEATURES as FEATURES_FILE
from trimtab.controlplane.registry.documents import PATTERNS, Engine, Lake, Server, Settings, Storage, no_workspace
from trimtab.controlplane.registry.documents import POLICY as POLICY_FILE
from trimtab.controlplane.registry.documents import SETTINGS as SETTINGS_FILE
from trimtab.controlplane.registry.documents import SLO as SLO_FILE
from trimtab.controlplane.registry.edit import EditError, change, locked
from trimtab.controlplane.registry.erasure import record_erasure
from trimtab.controlplane.registry.events import EventChange, UnknownChannelError, UnknownEventError, state_of
from trimtab.controlplane.registry.events import start as start_event
from trimtab.controlplane.registry.events import stop as stop_event
from trimtab.controlplane.registry.example import SECRET, NotEmptyError, write_example, write_schemas
from trimtab.controlplane.registry.keys import KeyRow, NewKey, Rotation
from trimtab.controlplane.registry.keys import create as create_key
from trimtab.controlplane.registry.keys import listed as list_keys
from trimtab.controlplane.registry.keys import revoke as revoke_key
from trimtab.controlplane.registry.keys import rotate as rotate_key
from trimtab.controlplane.registry.load import Workspace, examine, load, read_features, read_policy
from trimtab.controlplane.registry.signing import own_keys, own_public_key, signing_key

__all__ = [
    "FEATURES_FILE",
    "PATTERNS",
    "POLICY_FILE",
    "SECRET",
    "SETTINGS_FILE",
    "SLO_FILE",
    "AuditError",
    "AuditRow",
    "BudgetChange",
    "EditError",
    "Engine",
    "EventChange",
    "KeyRow",
    "Lake",
    "NewKey",
    "NotEmptyError",
    "Rotation",
    "Scope",
    "Server",
    "Settings",
    "Storage",
    "UnknownChannelError",
    "UnknownEventError",
    "UnknownScopeError",
    "Workspace",
    "audit_rows",
    "change",
    "create_key",
    "examine",
    "grant_budget",
    "list_keys",
    "load",
    "locked",
    "no_workspace",
    "own_keys",
    "own_public_key",
    "read_features",
    "read_policy",
    "record_erasure",
    "remove_budget",
    "revoke_key",
    "rotate_key",
    "scope",
    "scopes",
    "set_budget",
    "signing_key",
    "start_event",
    "state_of",
    "stop_event",
    "write_example",
    "write_schemas",
]
