"""HTTP/1.1 in: `Listener` and what a handler sees of a request, and how refusals look on the wire."""

from trimtab.surfaces.server.errors import error_headers, error_object
from trimtab.surfaces.server.http import Handler, HttpError, HttpLimits, HttpReply, HttpRequest, Listener, OnError

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
