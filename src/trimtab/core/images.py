"""Images of a prompt: taken out of its messages where they come in, and put back where a model is asked.

Between the two a message has a name in an image's place, `image:` and letters that are a digest of it. So whatever
reads messages (guards, keys of the cache, beliefs of prefixes, texts that are kept) sees that an image is there and
which, and none of them carries its megabytes, or takes its base64 for something that was said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec

PART: Final = "image_url"
"""Type of a part that is an image, and its field, in OpenAI's chat."""
PREFIX: Final = "image:"
_HEAD = re.compile(r"data:image/(png|jpe?g|gif|webp);base64,(?=.)", re.IGNORECASE | re.ASCII)
_LETTERS = str.maketrans("0123456789abcdef", "ghijklmnopabcdef")
"""No digits: nothing takes the name for a number of somebody's."""


class Image(msgspec.Struct, frozen=True):
    """`kind`: `image/png`, `image/jpeg`, `image/gif` or `image/webp`; `data`: base64; `detail`: how closely the caller
    wants it looked at, where it says so."""

    kind: str
    data: str
    detail: str | None = None

    @property
    def address(self) -> str:
        return f"data:{self.kind};base64,{self.data}"


def image_of(address: str) -> Image | None:
    """Of a `data:` address (RFC 2397) in base64; None: it is none of the kinds that models take. What is in it is the
    model's to read."""
    found = _HEAD.match(address)
    if found is None:
        return None
    kind = found[1].lower()
    return Image(f"image/{'jpeg' if kind == 'jpg' else kind}", address[found.end() :])


def address_of(part: Mapping[str, Any]) -> Any:
    """What an image's part points to, which is a text where the part is well made."""
    told = part.get(PART)
    return told.get("url") if isinstance(told, dict) else told


def parts_of(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The images of one message."""
    content = message.get("content")
    if isinstance(content, list):
        yield from (part for part in content if isinstance(part, dict) and part.get("type") == PART)


def count(messages: Iterable[Mapping[str, Any]]) -> int:
    """Images in these messages, each as often as it is shown."""
    return sum(1 for message in messages for _ in parts_of(message))


def taken_out(messages: Sequence[dict[str, Any]]) -> tuple[tuple[dict[str, Any], ...], dict[str, Image]]:
    """The messages with names in place of their images, and the images by their names. Who has parsed the messages has
    looked at each address."""
    if not any(True for message in messages for _ in parts_of(message)):
        return tuple(messages), {}
    found: dict[str, Image] = {}

    def named(part: dict[str, Any]) -> dict[str, Any]:
        image = image_of(str(address_of(part)))
        assert image is not None, "an image's address was not looked at"
        digest = blake2b(f"{image.kind},{image.data}".encode(), digest_size=16).hexdigest()
        name = PREFIX + digest.translate(_LETTERS)
        found[name] = image
        return _pointed(part, name)

    return replaced(messages, named), found


def put_back(messages: Sequence[dict[str, Any]], images: Mapping[str, Image]) -> tuple[dict[str, Any], ...]:
    """The messages as they came."""
    return replaced(messages, lambda part: _pointed(part, images[address_of(part)].address))


def replaced(
    messages: Sequence[dict[str, Any]], change: Callable[[dict[str, Any]], dict[str, Any]]
) -> tuple[dict[str, Any], ...]:
    """The messages with `change` applied to each image's part; those without one as they are."""
    return tuple(
        {**message, "content": [change(part) if _is_image(part) else part for part in message["content"]]}
        if any(True for _ in parts_of(message))
        else message
        for message in messages
    )


def _is_image(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == PART


def _pointed(part: dict[str, Any], address: str) -> dict[str, Any]:
    told = part.get(PART)
    return {**part, PART: {**told, "url": address} if isinstance(told, dict) else {"url": address}}
