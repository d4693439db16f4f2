"""Signatures of receipts: Ed25519 over the receipt's JSON, so that nobody else can write one.

References
----------
D. Bernstein, N. Duif, T. Lange, P. Schwabe, B.-Y. Yang. High-speed high-security signatures. CHES 2011; RFC 8032.
"""

import binascii
from base64 import b64decode, b64encode
from dataclasses import replace
from pathlib import Path

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from dataflows.errors import EddyError
from models.messages import ErasureReceipt

KEY_BYTES = 32


class SigningKeyError(EddyError):
    """The key that receipts are signed with cannot be used."""


class Signer:
    """Signs receipts and checks signatures; without a key it leaves them unsigned.

    Parameters
    ----------
    key : 32 bytes in base64, or the text of a PEM file.

    Raises
    ------
    SigningKeyError : it is neither, or of another kind than Ed25519.
    """

    def __init__(self, key: str | None = None) -> None:
        self._key = None if not key else _private_key(key)

    @property
    def verification_key(self) -> str | None:
        """What others check the signatures with: 32 bytes in base64; None without a key."""
        return None if self._key is None else b64encode(self._key.public_key().public_bytes_raw()).decode()

    def sign(self, receipt: ErasureReceipt) -> ErasureReceipt:
        """Return the receipt with its signature."""
        if self._key is None:
            return receipt
        return replace(receipt, signature=b64encode(self._key.sign(signed_bytes(receipt))).decode())


def signed_bytes(receipt: ErasureReceipt) -> bytes:
    """Return what is signed: the receipt without its signature, as JSON with sorted keys and no spaces."""
    return orjson.dumps(replace(receipt, signature=None), option=orjson.OPT_SORT_KEYS)


def is_signed_by(receipt: ErasureReceipt, verification_key: str) -> bool:
    """Tell whether a receipt's signature is that of a verification key's owner."""
    try:
        key = Ed25519PublicKey.from_public_bytes(b64decode(verification_key, validate=True))
        key.verify(b64decode(receipt.signature or "", validate=True), signed_bytes(receipt))
    except (InvalidSignature, ValueError):
        return False
    return True


def read_signing_key(path: Path) -> str:
    """Read a key's file: a PEM file, or 32 bytes in base64.

    Raises
    ------
    SigningKeyError : it cannot be read.
    """
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SigningKeyError(f"EDDY_PRIVACY__SIGNING_KEY_FILE: {path} cannot be read: {error}") from error


def _private_key(text: str) -> Ed25519PrivateKey:
    remedy = "make one with `openssl genpkey -algorithm ed25519`, or give 32 random bytes in base64"
    try:
        if "-----BEGIN" in text:
            key = load_pem_private_key(text.encode(), None)
        else:
            raw = b64decode(text.strip(), validate=True)
            if len(raw) != KEY_BYTES:
                raise SigningKeyError(f"the key that signs receipts has {len(raw)} bytes, not {KEY_BYTES}: {remedy}")
            key = Ed25519PrivateKey.from_private_bytes(raw)
    except (ValueError, TypeError, binascii.Error) as error:
        raise SigningKeyError(f"the key that signs receipts is neither PEM nor base64: {remedy}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningKeyError(f"the key that signs receipts is not an Ed25519 key: {remedy}")
    return key
