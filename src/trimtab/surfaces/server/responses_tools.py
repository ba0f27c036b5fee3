"""Tools of OpenAI's responses dialect as chat declares them.

    function, custom        as they are
    namespace               its tools, by both names
    tool_search             run by the caller: a function to the model, whose results declare more tools

What a provider runs (web search, files, a shell of its own) is refused as `unsupported`.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

import msgspec

from trimtab.surfaces.server import translate
from trimtab.surfaces.server.fields import InvalidError
from trimtab.surfaces.server.translate import unsupported

SEARCH: Final = "tool_search"
_LONGEST = 64
"""Characters of a tool's name."""
_MOST = 1024


class Tools(msgspec.Struct):
    """Those of one request."""

    spaces: dict[str, tuple[str, str]] = msgspec.field(default_factory=dict)
    """Namespace and name of tools, by what the model knows them as."""
    searches: bool = False
    """The caller looks for more of them, where the model asks it to."""
    found: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    """What such searches have found, in chat's words and by its name."""

    def declared(self, value: Any) -> list[dict[str, Any]]:
        """All that the model may call: `tools`, then what searches have found. Called after `loaded`."""
        own: dict[str, dict[str, Any]] = {}
        for tool in self._read([] if value is None else value, "tools", loaded=False):
            name = _name(tool)
            if name in own:  # it would not tell which of them is called
                raise InvalidError("tools", f"has two tools that are {name!r} to the model")
            own[name] = tool
        return [*own.values(), *(tool for name, tool in self.found.items() if name not in own)]

    def loaded(self, value: Any, where: str) -> str:
        """A search's result; what the model is told of it."""
        tools = self._read(value, where, loaded=True)
        self.found |= {_name(tool): tool for tool in tools}
        about = [{"name": _name(tool), "description": tool[tool["type"]].get("description", "")} for tool in tools]
        return msgspec.json.encode({"tools": about}).decode()

    def _read(self, value: Any, where: str, *, loaded: bool) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for index, given in enumerate(translate.a_list(value, where, _MOST)):
            at = f"{where}[{index}]"
            tool = translate.an_object(given, at)
            if tool.get("type") == "namespace":
                found += self._space(tool, at, loaded=loaded)
            elif tool.get("type") == SEARCH:
                found.append(self._search(tool, at))
            else:
                found.append(_tool(tool, at, loaded=loaded))
        return found

    def _space(self, tool: dict[str, Any], where: str, *, loaded: bool) -> list[dict[str, Any]]:
        space, found = translate.a_name(tool.get("name"), f"{where}.name"), []
        for number, own in enumerate(translate.a_list(tool.get("tools"), f"{where}.tools", _MOST)):
            at = f"{where}.tools[{number}]"
            made = _tool(translate.an_object(own, at), at, loaded=loaded)
            words = made[made["type"]]
            flat = _flat(space, words["name"])
            self.spaces[flat], words["name"] = (space, words["name"]), flat
            found.append(made)
        translate.nothing_left(tool, f"{where}.", {"type", "name", "description", "tools"})
        return found

    def _search(self, tool: dict[str, Any], where: str) -> dict[str, Any]:
        self.searches = True
        executed_here(tool.pop("execution", "server"), where)
        made = translate.function(SEARCH, tool.pop("description", None), tool.pop("parameters", None), None, where)
        translate.nothing_left(tool, f"{where}.", {"type"})
        return made


def executed_here(execution: Any, where: str) -> None:
    """Raises InvalidError for a search that a provider is to run."""
    if execution not in (None, "client"):
        raise unsupported(f"{where}.execution", "must be client: no provider searches for tools here")


def known_as(item: dict[str, Any], where: str) -> Any:
    """The name of a call or a choice, as the model knows it."""
    name, space = item.pop("name", None), item.pop("namespace", None)
    if space is None:
        return name
    return _flat(translate.a_name(space, f"{where}.namespace"), translate.a_name(name, f"{where}.name"))


def chosen(value: Any) -> Any:
    """`tool_choice`, as chat says it."""
    if value is None or isinstance(value, str):
        return translate.one_of(value, "tool_choice", ("auto", "none", "required"))
    choice = translate.an_object(value, "tool_choice")
    kind = choice.get("type")
    if kind not in ("function", "custom"):
        raise unsupported("tool_choice", f"of type {str(kind)[:64]!r} is not supported")
    return {"type": kind, kind: {"name": translate.a_name(known_as(choice, "tool_choice"), "tool_choice.name")}}


def _tool(tool: dict[str, Any], where: str, *, loaded: bool) -> dict[str, Any]:
    """`loaded`: a search has found it, so that it waits for none."""
    kind = tool.pop("type", None)
    if kind not in ("function", "custom"):
        raise unsupported(where, f"is of type {str(kind)[:64]!r}: a provider's own tools are not supported")
    name, about = translate.a_name(tool.pop("name", None), f"{where}.name"), tool.pop("description", None)
    if kind == "custom":
        made = translate.custom(name, about, tool.pop("format", None), where)
    else:
        made = translate.function(name, about, tool.pop("parameters", None), tool.pop("strict", None), where)
    if loaded or tool.get("defer_loading") is False:
        tool.pop("defer_loading", None)
    translate.nothing_left(tool, f"{where}.")
    return made


def _name(tool: dict[str, Any]) -> str:
    return str(tool[tool["type"]]["name"])


def _flat(space: str, name: str) -> str:
    """What a namespace's tool is called where there are no namespaces; what is longer than providers take ends by a
    digest."""
    flat = f"{space}__{name}"
    if len(flat) <= _LONGEST:
        return flat
    return f"{flat[: _LONGEST - 9]}_{blake2b(flat.encode('utf-8', 'replace'), digest_size=4).hexdigest()}"
