"""One line of a file that must not be believed when it was damaged: CRC32 of the body (8 hex), space, body.

The CRC finds what a disk does, line by line. Bodies that carry the `digest` of the line before them make a chain, which
finds lines that were taken out, put in or moved. A line under another checksum is a damaged line.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final
from zlib import crc32

DIGEST_CHARACTERS: Final = 32
_HEAD = 9  # 8 hex digits and the space


def frame(body: bytes) -> bytes:
    """The line, without newline. The body must not hold one."""
    return b"%08x %b" % (crc32(body), body)


def unframe(line: bytes) -> bytes | None:
    """The body of a line whose CRC fits; None for anything else."""
    body = line[_HEAD:]
    if len(line) <= _HEAD or line[: _HEAD - 1] != b"%08x" % crc32(body) or line[_HEAD - 1] != 0x20:
        return None
    return body


def digest(line: bytes) -> str:
    """The line's blake2b-128, which the next one carries."""
    return blake2b(line, digest_size=DIGEST_CHARACTERS // 2).hexdigest()
