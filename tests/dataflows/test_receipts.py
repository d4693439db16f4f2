from base64 import b64encode
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dataflows.receipts import Signer, SigningKeyError, is_signed_by
from models.messages import ErasureReceipt

RECEIPT = ErasureReceipt("key", "x-1", 1, "recommend.profile", "events", 3, 0, 2)
KEY = b64encode(bytes(range(32))).decode()


def test_a_signature_holds_for_the_receipt_and_its_key_alone():
    signed = Signer(KEY).sign(RECEIPT)
    verification_key = Signer(KEY).verification_key
    assert verification_key is not None
    assert is_signed_by(signed, verification_key)
    assert not is_signed_by(replace(signed, after=1), verification_key)
    assert not is_signed_by(signed, Signer(b64encode(bytes(32)).decode()).verification_key or "")
    assert not is_signed_by(RECEIPT, verification_key)
    assert not is_signed_by(replace(signed, signature="no base64"), verification_key)


def test_a_pem_file_is_a_key_too():
    pem = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    assert Signer(pem.decode()).verification_key == Signer(KEY).verification_key


def test_without_a_key_receipts_stay_unsigned():
    assert Signer().sign(RECEIPT).signature is None


def other_kind() -> str:
    key = generate_private_key(SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize("key", ["short", b64encode(bytes(31)).decode(), "-----BEGIN nothing", other_kind()])
def test_what_is_no_key_is_refused_with_a_remedy(key: str):
    with pytest.raises(SigningKeyError, match="openssl genpkey"):
        Signer(key)
