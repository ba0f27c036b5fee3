"""A JSON body read field by field, for all dialects. Whoever sends something else is told which field and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from trimtab.core.contract import Asked
from trimtab.core.errors import Code, Refusal
from trimtab.core.images import image_of, taken_out
from trimtab.core.request import Body
from trimtab.dataplane.ingress import TermError, asked_in_body, refusal

_PREFIX = "trimtab-"
_decode = msgspec.json.decode


class InvalidError(ValueError):
    """A field can't be served as it stands; `param` is its name as the caller wrote it."""

    def __init__(self, param: str, message: str, code: Code = Code.INVALID_REQUEST) -> None:
        super().__init__(f"{param} {message}")
        self.param, self.code = param, code


def read(data: bytes, make: Callable[[dict[str, Any], int], Body]) -> Body | Refusal:
    """`make` gets the object and its size in bytes, may change it, and raises InvalidError or TermError. Images leave
    the messages here, once each address has been looked at by `image`."""
    try:
        raw = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Refusal(code=Code.MALFORMED_JSON, message=f"the body is not valid JSON: {str(error)[:200]}")
    except RecursionError:
        return Refusal(code=Code.MALFORMED_JSON, message="the body is nested too deeply")
    if not isinstance(raw, dict):
        return Refusal(code=Code.INVALID_REQUEST, message="the body must be a JSON object")
    try:
        body = make(raw, len(data))
    except TermError as error:
        return refusal(error)
    except InvalidError as error:
        return Refusal(code=error.code, message=str(error), param=error.param)
    except RecursionError:
        return Refusal(code=Code.MALFORMED_JSON, message="the body is nested too deeply")
    messages, images = taken_out(body.messages)
    custom = _has_custom(body)
    if not (images or custom):
        return body
    return msgspec.structs.replace(body, messages=messages, images=images, has_custom=custom)


def _has_custom(body: Body) -> bool:
    calls = (call for message in body.messages for call in message.get("tool_calls") or ())
    tools = body.extra.get("tools")
    declared = tools if isinstance(tools, list) else ()
    return any(isinstance(one, dict) and one.get("type") == "custom" for one in (*declared, *calls))


def terms(raw: dict[str, Any]) -> Asked:
    """The contract terms of a body, taken out of it: they are for us alone."""
    metadata = raw.get("metadata")
    asked = asked_in_body(raw.pop("trimtab", None), metadata)
    if isinstance(metadata, dict) and any(name.startswith(_PREFIX) for name in metadata):
        raw["metadata"] = {name: value for name, value in metadata.items() if not name.startswith(_PREFIX)}
        if not raw["metadata"]:
            del raw["metadata"]
    return asked


def whole(value: Any, param: str, most: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InvalidError(param, f"takes a whole number from 1 to {most}")
    return value


def number(value: Any, param: str, least: float, most: float) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise InvalidError(param, f"takes a number from {least:g} to {most:g}")
    return value


def text(value: Any, param: str, most: int) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > most:
        raise InvalidError(param, f"takes a text of at most {most} characters")
    return value


def image(address: Any, param: str) -> str:
    """An image's address that carries the image itself."""
    if not isinstance(address, str):
        raise InvalidError(param, "takes a data: address")
    if not address.startswith("data:"):
        raise InvalidError(param, "is an address to fetch from", Code.FIELD_NOT_ALLOWED)
    if image_of(address) is None:
        raise InvalidError(param, "takes a PNG, JPEG, GIF or WebP image as data:image/...;base64,...")
    return address


def flag(value: Any, param: str) -> bool:
    if value is None:
        return False
    if not isinstance(value, bool):
        raise InvalidError(param, "takes true or false")
    return value
