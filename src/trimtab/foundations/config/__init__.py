"""Documents in YAML: read with bounds, converted with every problem named by line, described as JSON Schema."""

from trimtab.foundations.config.describe import meanings
from trimtab.foundations.config.nodes import MAX_BYTES, DocumentError, compose, locate, read_text
from trimtab.foundations.config.patch import PatchError, append_item, put_field, remove_item, set_field
from trimtab.foundations.config.problem import Path, Problem, errors, render
from trimtab.foundations.config.reader import MAX_USD, Reader
from trimtab.foundations.config.schema import json_schema
from trimtab.foundations.config.secret import (
    Secret,
    SecretError,
    is_reference,
    resolve_secret,
    secret_shaped,
    shown,
)
from trimtab.foundations.config.typos import did_you_mean, distance, nearest, unknown_field
from trimtab.foundations.config.watch import Fingerprint, fingerprint

__all__ = [
    "MAX_BYTES",
    "MAX_USD",
    "DocumentError",
    "Fingerprint",
    "PatchError",
    "Path",
    "Problem",
    "Reader",
    "Secret",
    "SecretError",
    "append_item",
    "compose",
    "did_you_mean",
    "distance",
    "errors",
    "fingerprint",
    "is_reference",
    "json_schema",
    "locate",
    "meanings",
    "nearest",
    "put_field",
    "read_text",
    "remove_item",
    "render",
    "resolve_secret",
    "secret_shaped",
    "set_field",
    "shown",
    "unknown_field",
]
