"""Bounded: how many tokens a prompt can have at most, whoever is asked; or why nobody can tell."""

from __future__ import annotations

from collections.abc import Mapping

from trimtab.core.errors import Code, Refusal
from trimtab.core.models import Model
from trimtab.core.request import Body
from trimtab.core.tenancy import Channel
from trimtab.foundations.tokens import prompt_bound


def bounded(body: Body, channel: Channel, models: Mapping[str, Model]) -> int | Refusal:
    """Tokens of the prompt with any of these models; an image counts as the one that makes the most of it says."""
    takes = channel.guards.images == "allow"
    most: int | None = None
    if body.images and takes:
        most = max((model.images for model in models.values() if model.images is not None), default=None)
    tokens = prompt_bound(body.messages, body.extra, most)
    if tokens is not None:
        return tokens
    message = "only text and images can be bounded in tokens: audio and files are not taken here"
    if body.images and not takes:
        message = "this channel takes no images: nothing looks at what is to be seen in them (guards.images)"
    return Refusal(code=Code.INVALID_REQUEST, message=message, param="messages")
