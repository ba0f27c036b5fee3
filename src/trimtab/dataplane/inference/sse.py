"""Server-sent events out of bytes, as they come (WHATWG HTML section 9.2.6), bounded.

Only `data` matters to us: comments are keep-alives, `event` repeats what the data says, `id` and `retry` are for
browsers. An event that the end of the body cuts is not dispatched.
"""

from __future__ import annotations

from trimtab.dataplane.inference.dialer import MalformedAnswer

MAX_EVENT_BYTES = 4 << 20


class EventParser:
    """Feed bytes, get the data of each event that became whole."""

    __slots__ = ("_data", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """Raises MalformedAnswer for an event larger than we take."""
        if piece.endswith(b"\n\n") and not self._rest and not self._data and b"\r" not in piece:
            whole = piece[:-2].split(b"\n\n")  # events that came whole, each of one line, as they nearly always do
            if all(one.startswith(b"data: ") and b"\n" not in one for one in whole):
                return [one[6:] for one in whole]
        data = self._rest + piece if self._rest else piece
        lines = data.split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MAX_EVENT_BYTES or sum(map(len, self._data)) > MAX_EVENT_BYTES:
            raise MalformedAnswer(f"an event is larger than {MAX_EVENT_BYTES} bytes")
        events = []
        for line in lines:
            if line.endswith(b"\r"):
                line = line[:-1]
            if not line:
                if self._data:
                    events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                    self._data = []
            elif line.startswith(b"data:"):
                self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
        return events

    @property
    def is_clean(self) -> bool:
        """Nothing of an event is waiting for its end."""
        return not self._data and not self._rest.strip()
