"""Ed25519 signatures (RFC 8032) with keys as PEM, so that openssl makes them and an auditor checks them.

    openssl genpkey -algorithm ed25519 -out sign.pem      # the private key
    openssl pkey -in sign.pem -pubout -out sign.pub       # the public key

Needs the extra `records`; the library is imported with the first key.
"""

from __future__ import annotations

from hashlib import blake2b
from importlib.util import find_spec
from typing import TYPE_CHECKING

from trimtab.core.errors import TrimtabError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


class KeyFormatError(TrimtabError):
    """A text is no Ed25519 key in PEM; the message holds nothing of it."""


class PublicKey:
    """What checks signatures. `id`: 16 hex of the raw key's blake2b, as it stands in what was signed."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        self.id = blake2b(key.public_bytes_raw(), digest_size=8).hexdigest()

    @classmethod
    def of_pem(cls, text: str) -> PublicKey:
        """Raises KeyFormatError."""
        need_library()
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        try:
            key = load_pem_public_key(text.encode())
        except (ValueError, UnsupportedAlgorithm):
            raise KeyFormatError("is no public key in PEM (-----BEGIN PUBLIC KEY-----)") from None
        if not isinstance(key, Ed25519PublicKey):
            raise KeyFormatError("is a public key of another kind than Ed25519")
        return cls(key)

    def __repr__(self) -> str:
        return f"<PublicKey {self.id}>"

    def signed(self, data: bytes, signature: bytes) -> bool:
        """Whether the holder of the private key has signed this."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """What makes signatures; printing it shows its id only."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key())

    @classmethod
    def of_pem(cls, text: str) -> SigningKey:
        """Raises KeyFormatError."""
        need_library()
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(text.encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise KeyFormatError("is no unencrypted private key in PEM (-----BEGIN PRIVATE KEY-----)") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFormatError("is a private key of another kind than Ed25519")
        return cls(key)

    @property
    def id(self) -> str:
        return self.public.id

    def __repr__(self) -> str:
        return f"<SigningKey {self.id}>"

    def sign(self, data: bytes) -> bytes:
        """64 bytes; the same for the same data."""
        return self._key.sign(data)


def is_installed() -> bool:
    return find_spec("cryptography") is not None


def need_library() -> None:
    """Raises KeyFormatError with how to install what is missing."""
    if not is_installed():
        raise KeyFormatError("can't be used: the library is not installed; pip install 'trimtab[records]'")


__all__ = ["KeyFormatError", "PublicKey", "SigningKey", "is_installed", "need_library"]
