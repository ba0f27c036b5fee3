"""HTTP/1.1 in: `Listener` and what a handler sees of a request, and how refusals look on the wire."""

from typing import TYPE_CHECKING

from trimtab.foundations.lazy import lazily

if TYPE_CHECKING:
    from trimtab.surfaces.server.errors import error_headers, error_object
    from trimtab.surfaces.server.http import Handler, HttpError, HttpLimits, HttpReply, HttpRequest, Listener, OnError

__getattr__ = lazily(
    __name__,
    {
        "Handler": "http",
        "HttpError": "http",
        "HttpLimits": "http",
        "HttpReply": "http",
        "HttpRequest": "http",
        "Listener": "http",
        "OnError": "http",
        "error_headers": "errors",
        "error_object": "errors",
    },
)

__all__ = [
    "Handler",
    "HttpError",
    "HttpLimits",
    "HttpReply",
    "HttpRequest",
    "Listener",
    "OnError",
    "error_headers",
    "error_object",
]
