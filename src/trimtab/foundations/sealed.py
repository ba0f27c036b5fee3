"""Bytes under a key: AES-256-GCM, a fresh nonce each time, bound to what they are about. Needs the extra `records`.

A key seals at most 2^32 texts (NIST SP 800-38D, random nonces of 96 bits); each data subject has one of its own.
"""

from __future__ import annotations

import os
from typing import Final

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


def new_key() -> bytes:
    return os.urandom(KEY_BYTES)


def seal(key: bytes, data: bytes, about: str) -> bytes:
    """Nonce and ciphertext."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, data, about.encode())


def unseal(key: bytes, box: bytes, about: str) -> bytes | None:
    """What was sealed; None: with another key, about something else, or damaged."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(box) <= _NONCE_BYTES:
        return None
    try:
        return AESGCM(key).decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], about.encode())
    except InvalidTag:
        return None


__all__ = ["KEY_BYTES", "new_key", "seal", "unseal"]
