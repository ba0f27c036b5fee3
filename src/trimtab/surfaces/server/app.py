"""What is served at which path: the public port's routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from trimtab.core.errors import Code, Refusal
from trimtab.dataplane.plane import DataPlane
from trimtab.foundations.config import did_you_mean
from trimtab.surfaces.overload import Overload
from trimtab.surfaces.server import embeddings, feedback, messages_out, openai, responses_out
from trimtab.surfaces.server.exchange import HttpReply, HttpRequest
from trimtab.surfaces.server.hub import Handler
from trimtab.surfaces.server.scrape import PATH as METRICS

Route = Callable[[HttpRequest, HttpReply, DataPlane], Awaitable[None]]


async def healthz(http: HttpRequest, reply: HttpReply, plane: DataPlane) -> None:
    """`GET /healthz`: this process answers."""
    openai.send_json(reply, 200, {"status": "ok"})


async def readyz(http: HttpRequest, reply: HttpReply, plane: DataPlane, overload: Overload | None = None) -> None:
    """`GET /readyz`: whether a balancer should send requests here: not draining, some replica is there, no overload.

    Says no names: it is open to everybody.
    """
    state = "draining" if plane.draining else "no replica" if plane.fleet.is_empty else "ready"
    if state == "ready" and overload is not None and overload.look() is not None:
        state = "overloaded"
    openai.send_json(reply, 200 if state == "ready" else 503, {"status": state})


ROUTES: Mapping[str, Mapping[str, Route]] = {
    "/v1/chat/completions": {"POST": openai.chat_completions},
    "/v1/messages": {"POST": messages_out.create},
    "/v1/messages/count_tokens": {"POST": messages_out.count_tokens},
    "/v1/responses": {"POST": responses_out.create},
    "/v1/embeddings": {"POST": embeddings.embeddings},
    "/v1/feedback": {"POST": feedback.create},
    "/v1/models": {"GET": openai.models},
    "/healthz": {"GET": healthz, "HEAD": healthz},
    "/readyz": {"GET": readyz, "HEAD": readyz},
}
_API = "/v1/"
_MODELS = "/v1/models/"
_MESSAGES = "/v1/messages"


def public(
    plane: DataPlane,
    scrape: Handler | None = None,
    overload: Overload | None = None,
) -> Handler:
    """The handler of the public port; `scrape` answers `/metrics`, `overload` says when nothing else but what asks for
    the gateway's health is answered. It has no admin route."""
    routes = dict(ROUTES)
    routes["/readyz"] = dict.fromkeys(("GET", "HEAD"), lambda http, reply, plane: readyz(http, reply, plane, overload))
    if scrape is not None:
        routes[METRICS] = dict.fromkeys(("GET", "HEAD"), lambda http, reply, plane: scrape(http, reply))

    async def handle(http: HttpRequest, reply: HttpReply) -> None:
        path = "/v1/models" if http.path.startswith(_MODELS) else http.path
        send_error = messages_out.send_error if path.startswith(_MESSAGES) else openai.send_error
        methods = routes.get(path)
        if methods is None:
            message = f"there is nothing at {http.path[:128]!r}. {did_you_mean(http.path, ROUTES)}"
            send_error(reply, Refusal(code=Code.ROUTE_NOT_FOUND, message=message), [], None)
            return
        route = methods.get(http.method)
        if route is None:
            allow = ", ".join(methods)
            message = f"{http.path} takes {allow}, not {http.method[:16]}"
            refused = Refusal(code=Code.METHOD_NOT_ALLOWED, message=message)
            send_error(reply, refused, [("allow", allow)], None)
            return
        if overload is not None and path.startswith(_API) and (too_much := overload.refuse(http)) is not None:
            send_error(reply, too_much, [], None)
            return
        await route(http, reply, plane)

    return handle
