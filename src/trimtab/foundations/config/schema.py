"""JSON Schema of a document type, so that editors complete and check while a document is written."""

from __future__ import annotations

from typing import Any

import msgspec

from trimtab.foundations.config.describe import meanings, structs


def json_schema(type_: Any, title: str) -> bytes:
    """JSON Schema (2020-12) of a document, with what each field means, indented, as bytes with a final line end."""
    (schema,), components = msgspec.json.schema_components((type_,), ref_template="#/$defs/{name}")
    for struct in structs(type_):
        for name, meaning in meanings(struct).items():
            field = components[struct.__name__]["properties"][name]
            takes = field.get("description")  # of the field's type
            field["description"] = meaning if takes is None else f"{meaning} Takes: {takes}."
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **_dollars(schema),
        "$defs": _dollars(components),
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"


def _dollars(part: Any) -> Any:
    """Money may be written as a number too: the reader never makes it a float, which msgspec's schema can't know."""
    if isinstance(part, list):
        return [_dollars(item) for item in part]
    if not isinstance(part, dict):
        return part
    if part.get("format") == "decimal":
        kept = {key: value for key, value in part.items() if key not in ("type", "format")}
        meaning = f"{kept.get('description', '')} US dollars, exact to the nano-dollar.".lstrip()
        return {**kept, "description": meaning, "type": ["number", "string"]}
    return {key: _dollars(value) for key, value in part.items()}
