"""What two mirrors of one generation say together: pure functions over bytes.

A mirror is lines; a line is `frame(b"LEFT PREV PAYLOAD")`. PREV is the digest of the line before it, for the first one
that of the generation's number, so that a file under another name is no journal. LEFT counts down to 0 at the last line
of a group: a group is one append, and counts whole or not at all.

The journal writes and syncs a group in `.a`, and only then writes and syncs it in `.b`. So a crash leaves one of

    a = b                       between two appends
    a = b + a torn group        while `.a` was written
    a = b's groups + one group  while `.b` was written, which may end in a torn one

and whoever was told "durable" finds the group in both. Everything else is damage. While one mirror alone is damaged,
the other holds all that was acknowledged in its readable groups, hence so does the longer of the two. That the damage
is in one alone shows in the longer mirror's end: it ends with its last whole group, or is `.a` torn beyond an equal
`.b`. Where it does not, acknowledged lines may be missing, and nothing is served.

What can't be told from this is a cut of both mirrors that leaves what a crash leaves, or what one damaged mirror does:
the longer one ends exactly with a group, or `.b` does and `.a` ends within the next one. The groups behind look as if
they had never been acknowledged.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from trimtab.core.errors import TrimtabError
from trimtab.foundations.store.line import DIGEST_CHARACTERS, digest, frame, unframe

_VERSION: Final = 2  # 1 had CRC32C for a checksum


class JournalDamagedError(TrimtabError):
    """Both mirrors are damaged, and lines that were acknowledged may be missing: `file` is unreadable from byte
    `offset` on. The text says what to do."""

    def __init__(self, file: Path, offset: int, what: str) -> None:
        super().__init__(f"{file} from byte {offset} on: {what}")
        self.file, self.offset = file, offset


class Problem(msgspec.Struct, frozen=True):
    """What was wrong with one mirror and was made good from the other. `crash`: a crash while appending or while
    writing a checkpoint leaves it so; otherwise the disk, or somebody, damaged the file."""

    file: Path
    offset: int
    what: str
    crash: bool

    def __str__(self) -> str:
        return f"{self.file} from byte {self.offset} on: {self.what}"


class Mirror(NamedTuple):
    """One file, read. `data` is None where there is none or the disk refuses it, which is the `error`; `ends`: where
    each whole group ends in it."""

    path: Path
    data: bytes | None
    error: OSError | None
    groups: list[list[bytes]]
    ends: list[int]

    @property
    def whole(self) -> int:
        """Bytes that can be believed."""
        return self.ends[-1] if self.ends else 0

    @property
    def why(self) -> str:
        """Nothing of it can be believed because .."""
        if self.error is not None:
            return f"the disk refuses it ({self.error.strerror})"
        return "it is missing" if self.data is None else "it can't be read from its beginning"

    @property
    def torn(self) -> bool:
        """It goes on behind them."""
        return self.data is not None and len(self.data) > self.whole


def root(generation: int) -> str:
    """What the first line of a generation carries in place of a digest."""
    return digest(b"trimtab journal %d generation %d" % (_VERSION, generation))


def encode(payloads: list[bytes], prev: str) -> tuple[bytes, str]:
    """A group's bytes, and the digest for the next one. Raises ValueError for a payload with a newline."""
    lines = bytearray()
    for left, payload in zip(range(len(payloads) - 1, -1, -1), payloads, strict=True):
        if b"\n" in payload:
            raise ValueError("a payload of the journal must not hold a newline")
        line = frame(b"%d %b %b" % (left, prev.encode(), payload))
        prev = digest(line)
        lines += line
        lines += b"\n"
    return bytes(lines), prev


def read(path: Path, data: bytes | None, generation: int, error: OSError | None = None) -> Mirror:
    """The whole groups at the beginning of a mirror."""
    found = Mirror(path, data, error, [], [])
    prev, start, group = root(generation), 0, list[bytes]()
    while data is not None and (end := data.find(b"\n", start)) >= 0:
        line = data[start:end]
        parts = _parts(line)
        if parts is None or parts[1] != prev:
            break
        left, _, payload = parts
        group.append(payload)
        prev, start = digest(line), end + 1
        if left == 0:
            found.groups.append(group)
            found.ends.append(start)
            group = []
    return found


def _parts(line: bytes) -> tuple[int, str, bytes] | None:
    body = unframe(line)
    if body is None:
        return None
    left, _, rest = body.partition(b" ")
    if not left.isdigit() or rest[DIGEST_CHARACTERS : DIGEST_CHARACTERS + 1] != b" ":
        return None
    return int(left), rest[:DIGEST_CHARACTERS].decode("ascii", "replace"), rest[DIGEST_CHARACTERS + 1 :]


def reconcile(a: Mirror, b: Mirror, *, begun: bool) -> tuple[list[bytes], Problem | None]:
    """The payloads that are surely durable, and what was wrong with one mirror. Raises JournalDamagedError.

    `begun`: this is the first generation, or an older one is still there, so that the process may have died while it
    began this one.
    """
    longer, other = (b, a) if b.whole > a.whole else (a, b)
    if not longer.groups:
        raise _neither(a, b)
    assert longer.data is not None
    if other.data is not None and other.data[: other.whole] != longer.data[: other.whole]:
        raise JournalDamagedError(other.path, 0, f"it is no mirror of {longer.path.name}; move the wrong one away")
    payloads = [payload for group in longer.groups for payload in group]
    if a.whole == b.whole:
        if b.torn:
            raise _both(b, a)
        what = "its last group was not written to the end, and never acknowledged"
        return payloads, Problem(a.path, a.whole, what, crash=True) if a.torn else None
    if longer.torn:
        raise _both(longer, other)
    return payloads, _made_good(other, longer, begun)


def _made_good(other: Mirror, longer: Mirror, begun: bool) -> Problem:
    """What is wrong with the shorter mirror."""
    assert longer.data is not None
    if other.data is None:
        crash = begun and len(longer.groups) == 1
        return Problem(other.path, 0, f"{other.why}; {longer.path.name} is whole", crash=crash)
    what = "it ends too early" if longer.data.startswith(other.data) else "it can't be read"
    crash = longer.path.suffix == ".a" and len(longer.groups) - len(other.groups) == 1
    return Problem(other.path, other.whole, f"{what}; {longer.path.name} is whole", crash=crash)


def _both(longer: Mirror, other: Mirror) -> JournalDamagedError:
    assert longer.data is not None
    return JournalDamagedError(
        longer.path,
        longer.whole,
        f"it can't be read, and {other.path.name} has only {other.whole} readable bytes: acknowledged lines may be "
        f"missing. Restore the folder; or, to count as lost what can't be read, cut it off: "
        f"truncate --size={longer.whole} {longer.path}",
    )


def _neither(a: Mirror, b: Mirror) -> JournalDamagedError:
    what = "; ".join(f"{mirror.path.name}: {mirror.why}" for mirror in (a, b))
    return JournalDamagedError(
        a.path,
        0,
        f"acknowledged lines may be missing ({what}). Restore the folder; or, to count them as lost, move both files "
        "away: an older generation counts then, or a new journal begins",
    )
