"""Secrets of tenants, derived from the workspace's one secret, and what is kept of a value instead of the value."""

from __future__ import annotations

import hmac
from functools import lru_cache
from hashlib import sha256
from typing import Final

SALT: Final = b"trimtab tenant secret v1"
_HASH_BYTES = 32


def hkdf_sha256(key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """HKDF with SHA-256 (RFC 5869): extract, then expand to `length` bytes, at most 255 x 32."""
    if not 0 < length <= 255 * _HASH_BYTES:
        raise ValueError(f"HKDF-SHA256 gives 1 to {255 * _HASH_BYTES} bytes, not {length}")
    pseudorandom = hmac.digest(salt or bytes(_HASH_BYTES), key, "sha256")
    block, out = b"", b""
    for count in range(1, -(-length // _HASH_BYTES) + 1):
        block = hmac.digest(pseudorandom, block + info + bytes([count]), "sha256")
        out += block
    return out[:length]


@lru_cache(maxsize=4096)
def tenant_secret(workspace_secret: bytes, tenant: str) -> bytes:
    """32 bytes that only this workspace has for this tenant."""
    return hkdf_sha256(workspace_secret, SALT, tenant.encode(), _HASH_BYTES)


def pseudonym(secret: bytes, value: str) -> str:
    """HMAC-SHA256 of a value, 16 hex: tells equal values from different ones and nothing else."""
    return hmac.new(secret, value.encode("utf-8", "surrogatepass"), sha256).hexdigest()[:16]
