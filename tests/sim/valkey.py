"""A Valkey of the simulation: RESP over the loop's pipes, the real Lua scripts run by Lua 5.1, the commands that they
use, and the world's time. `tests/sim/test_server.py` shows it equal to a real server.

Between the wire and a command stands `fate`, which may let the line break before it, after it, or leave it unanswered.
"""

from __future__ import annotations

import asyncio
import hashlib
from bisect import insort
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, cast

import hiredis
from lupa.lua51 import LuaRuntime, lua_type

from sim.loop import Broken, SimLoop

Fate = Literal["done", "before", "after", "mute"]
"""done: as it should be; before: the line breaks and nothing was done; after: it was done, and the line breaks; mute:
it was done, and nobody is told."""

_LUA: Final = LuaRuntime(unpack_returned_tuples=True, register_eval=False, encoding="utf-8")
_WRAP: Final = _LUA.execute(
    """
return function(call, text)
  local make = assert(loadstring("local redis, KEYS, ARGV = ...\\n" .. text))
  return function(keys, argv)
    return make({ call = call }, keys, argv)
  end
end
"""
)
# Lua, which collects when it pleases, holds no server: it calls whichever runs a script.
_running: list[Data] = []
_compiled: dict[str, Any] = {}


class Data:
    """Keys and values, without a wire. Times are whole microseconds."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self.now_us = now_us
        self.strings: dict[str, str] = {}
        self.hashes: dict[str, dict[str, str]] = {}
        self.sets: dict[str, list[tuple[float, str]]] = {}
        self.lists: dict[str, list[str]] = {}
        self.ends_us: dict[str, int] = {}
        self.scripts: dict[str, str] = {}
        self.published: list[tuple[str, str]] = []

    def clear(self) -> None:
        """A server that was started again, with nothing on disk."""
        self.__init__(self.now_us)  # type: ignore[misc]

    def eval(self, text: str, keys: Sequence[str], arguments: Sequence[str]) -> Any:
        run = _compiled.get(text)
        if run is None:
            run = _compiled[text] = _WRAP(_call, text)
        _running.append(self)
        try:
            return _from_lua(run(_LUA.table_from(keys), _LUA.table_from(arguments)))
        finally:
            _running.pop()

    def called(self, name: str, *arguments: Any) -> Any:
        """A command of a script, answered as Lua wants it."""
        told = self.command(name.upper(), [_text(one) for one in arguments])
        if isinstance(told, list):
            return _LUA.table_from([False if one is None else one for one in told])
        return False if told is None else told

    def command(self, name: str, arguments: list[str]) -> Any:
        """One command: a string, an int, a list or None, as Lua sees them."""
        return getattr(self, f"_{name.lower()}")(*arguments)

    def _alive(self, key: str) -> str:
        ends = self.ends_us.get(key)
        if ends is not None and ends <= self.now_us():
            self._del(key)
        return key

    def _get(self, key: str) -> str | None:
        return self.strings.get(self._alive(key))

    def _set(self, key: str, value: str, *more: str) -> str:
        self._del(key)
        self.strings[key] = value
        if more:
            assert more[0] == "PX", more
            self._pexpire(key, more[1])
        return "OK"

    def _del(self, key: str) -> int:
        found = 0
        for kind in (self.strings, self.hashes, self.sets, self.lists):
            found |= cast(dict[str, Any], kind).pop(key, None) is not None
        self.ends_us.pop(key, None)
        return int(found)

    def _exists(self, key: str) -> int:
        self._alive(key)
        return int(
            any(key in cast(dict[str, Any], kind) for kind in (self.strings, self.hashes, self.sets, self.lists))
        )

    def _pexpire(self, key: str, ms: str) -> int:
        if not self._exists(key):
            return 0
        self.ends_us[key] = self.now_us() // 1000 * 1000 + _integer(ms) * 1000
        return 1

    def _hmget(self, key: str, *names: str) -> list[str | None]:
        found = self.hashes.get(self._alive(key), {})
        return [found.get(name) for name in names]

    def _hset(self, key: str, *pairs: str) -> int:
        found = self.hashes.setdefault(self._alive(key), {})
        before = len(found)
        found.update(zip(pairs[::2], pairs[1::2], strict=True))
        return len(found) - before

    def _hincrby(self, key: str, name: str, by: str) -> int:
        found = self.hashes.setdefault(self._alive(key), {})
        total = int(found.get(name, "0")) + _integer(by)
        found[name] = str(total)
        return total

    def _zadd(self, key: str, score: str, member: str) -> int:
        rows = self.sets.setdefault(self._alive(key), [])
        before = len(rows)
        rows[:] = [row for row in rows if row[1] != member]
        added = len(rows) == before
        insort(rows, (float(score), member))
        return int(added)

    def _zrem(self, key: str, member: str) -> int:
        rows = self.sets.get(self._alive(key), [])
        left = [row for row in rows if row[1] != member]
        if left:
            self.sets[key] = left
        else:
            self.sets.pop(key, None)
        return len(rows) - len(left)

    def _zrangebyscore(self, key: str, low: str, high: str, *more: str) -> list[str]:
        assert low == "-inf", low
        found = [member for score, member in self.sets.get(self._alive(key), []) if score <= float(high)]
        if more:
            assert more[0].upper() == "LIMIT", more
            found = found[int(more[1]) : int(more[1]) + int(more[2])]
        return found

    def _rpush(self, key: str, *values: str) -> int:
        rows = self.lists.setdefault(self._alive(key), [])
        rows += values
        return len(rows)

    def _lpop(self, key: str, count: str) -> list[str] | None:
        rows = self.lists.get(self._alive(key))
        if rows is None:
            return None
        taken, left = rows[: int(count)], rows[int(count) :]
        if left:
            self.lists[key] = left
        else:
            del self.lists[key]
        return taken

    def _publish(self, channel: str, message: str) -> int:
        self.published.append((channel, message))
        return 0


class SimValkey:
    """See the module. `seen(text, keys, arguments, answer)` hears of every script that was run, in order."""

    def __init__(self, now_us: Callable[[], int], seen: Callable[[str, list[str], list[str], Any], None]) -> None:
        self._now_us, self._seen = now_us, seen
        self.data = Data(now_us)
        self.fate: Callable[[str], Fate] = lambda what: "done"
        self.pause_s: Callable[[], float] = lambda: 0.0
        self.port = 0
        self._lines: list[_Line] = []
        self._server: Any = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Line(self), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Every line breaks, and nobody can connect, until `start`."""
        self._server.close()
        for line in self._lines[:]:
            line.break_off()

    def script(self, text: str, keys: list[str], arguments: list[str]) -> Any:
        told = self.data.eval(text, keys, arguments)
        self._seen(text, keys, arguments, told)
        published, self.data.published = self.data.published, []
        for channel, message in published:
            for line in self._lines:
                if line.listens:
                    line.say(_pushed(["pmessage", "tt:*:freed", channel, message]))
        return told


class _Line(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, server: SimValkey) -> None:
        self._server = server
        self._reader = hiredis.Reader(encoding="utf-8")
        self._broken = self._gone = False
        self._free_at = 0.0
        self.listens = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server._lines.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """What has arrived is still done, as by a real server that finds it in its buffer."""
        self._gone = True
        if self in self._server._lines:
            self._server._lines.remove(self)

    def data_received(self, data: bytes) -> None:
        """Commands are taken in order, each when the one before it is done."""
        self._reader.feed(data)
        loop = asyncio.get_running_loop()
        while (words := self._reader.gets()) is not False and not self._broken:
            pause = self._server.pause_s()
            self._free_at = max(self._free_at, loop.time()) + pause
            if self._free_at > loop.time():
                loop.call_at(self._free_at, self._take, words)
            else:
                self._take(words)

    def _take(self, words: list[str]) -> None:
        if self._broken:
            return
        name, arguments = words[0].upper(), words[1:]
        fate = self._server.fate(name)
        if fate == "before":
            self.break_off()
            return
        told = self._answer(name, arguments)
        answer = _pushed(told) if name.endswith("SUBSCRIBE") else _encoded(told)
        if fate == "after":
            self.break_off()
        elif fate == "done":
            self.say(answer)

    def _answer(self, name: str, arguments: list[str]) -> Any:
        server = self._server
        match name:
            case "EVALSHA":
                text = server.data.scripts.get(arguments[0])
                if text is None:
                    return hiredis.ReplyError("NOSCRIPT No matching script. Please use EVAL.")
                count = int(arguments[1])
                return server.script(text, arguments[2 : 2 + count], arguments[2 + count :])
            case "SCRIPT" if arguments[0].upper() == "LOAD":
                sha = hashlib.sha1(arguments[1].encode(), usedforsecurity=False).hexdigest()
                server.data.scripts[sha] = arguments[1]
                return sha
            case "SCRIPT":
                return [int(sha in server.data.scripts) for sha in arguments[1:]]
            case "SET" if arguments[2:] == ["NX"]:
                return None if server.data._exists(arguments[0]) else server.data._set(*arguments[:2])
            case "TIME":
                return [str(part) for part in divmod(server._now_us(), 1_000_000)]
            case "PSUBSCRIBE":
                self.listens = True
                return ["psubscribe", arguments[0], 1]
            case "PUNSUBSCRIBE":
                self.listens = False
                return ["punsubscribe", arguments[0] if arguments else None, 0]
            case "HELLO":
                return {"server": "redis", "version": "7.0.0", "proto": 3, "id": 1, "mode": "standalone"}
            case "CLIENT":
                return True
            case "PING":
                return "PONG"
        # a store that is always refused would look as if all held
        cast(SimLoop, asyncio.get_running_loop()).fail(Broken(f"the simulated server does not know {name} {arguments}"))
        return hiredis.ReplyError(f"ERR unknown command '{name}'")

    def say(self, data: bytes) -> None:
        if not (self._broken or self._gone):
            self._transport.write(data)

    def break_off(self) -> None:
        self._broken = True
        self._transport.abort()


def _text(value: Any) -> str:
    """A number as a script hands it to a command: `%.17g`."""
    return value if isinstance(value, str) else f"{value:.17g}"


def _integer(text: str) -> int:
    """As a real server reads it: digits, nothing else."""
    if text != str(int(text)):
        raise ValueError(f"ERR value is not an integer or out of range: {text}")
    return int(text)


def _call(name: str, *arguments: Any) -> Any:
    return _running[-1].called(name, *arguments)


def _from_lua(value: Any) -> Any:
    """A script's answer as RESP has it: numbers lose their fraction, false is nothing."""
    if lua_type(value) == "table":
        found = []
        at = 1
        while value[at] is not None:
            found.append(_from_lua(value[at]))
            at += 1
        return found
    if value is False:
        return None
    return int(value) if isinstance(value, float) else value


def _encoded(value: Any) -> bytes:
    if value is True:
        return b"+OK\r\n"
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, hiredis.ReplyError):
        return f"-{value}\r\n".encode()
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, str):
        data = value.encode()
        return b"$%d\r\n%b\r\n" % (len(data), data)
    if isinstance(value, dict):
        return b"%%%d\r\n%b" % (len(value), b"".join(_encoded(one) for pair in value.items() for one in pair))
    return b"*%d\r\n%b" % (len(value), b"".join(map(_encoded, value)))


def _pushed(value: list[Any]) -> bytes:
    """What comes unasked, in RESP3."""
    return b">" + _encoded(value)[1:]
