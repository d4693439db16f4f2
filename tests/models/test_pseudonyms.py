import base64
import hashlib

from models.pseudonyms import StateKeys


def test_without_secrets_a_state_key_is_the_id():
    assert StateKeys()("ann") == "ann"
    assert StateKeys().every("ann") == ("ann",)


def test_a_pseudonym_hangs_on_the_secret_and_says_nothing_of_the_id():
    keys = {StateKeys([secret])(user) for secret in ("a", "b") for user in ("ann", "bob")}
    assert len(keys) == 4
    assert {len(key) for key in keys} == {43}
    assert not any("ann" in key for key in keys)


def test_a_rotation_maps_stored_keys_without_the_ids():
    old, new = StateKeys(["a"]), StateKeys(["a", "b", "c"])
    assert new.successor(new.successor(old("ann"), 1), 2) == new("ann")
    assert new.successor("ann", 0) == old("ann")
    assert new.every("ann") == (new("ann"), StateKeys(["a", "b"])("ann"), old("ann"), "ann")


def test_a_key_is_that_of_rfc_2104():
    pads = [bytes(byte ^ pad for byte in b"secret".ljust(64, b"\0")) for pad in (0x36, 0x5C)]
    inner = hashlib.sha256(pads[0] + b"ann").digest()
    expected = base64.urlsafe_b64encode(hashlib.sha256(pads[1] + inner).digest()).decode().rstrip("=")
    assert StateKeys(["secret"])("ann") == expected
