"""State keys: what stands for a user wherever something is kept.

Without secrets a state key is the user id itself. With secrets s_1 ... s_n it is a keyed pseudonym, chained over
them, key_k = HMAC(s_k, key_(k-1)) with key_0 the user id: so a secret that is added later maps every stored key to its
successor, though nobody knows the ids any more, and nothing that is kept about people is lost.

References
----------
H. Krawczyk, M. Bellare, R. Canetti. HMAC: keyed-hashing for message authentication. RFC 2104, 1997.
ENISA. Pseudonymisation techniques and best practices. 2019.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Sequence


class StateKeys:
    """Gives the state key of each user.

    Parameters
    ----------
    secrets : the oldest first; whoever knows them can tell whose a state key is.
    """

    __slots__ = ("_secrets",)

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self._secrets = tuple(secret.encode() for secret in secrets)

    def __call__(self, user_id: str) -> str:
        """Return the key under which a user's state stands: the id itself, or 43 characters of base64url."""
        key = user_id
        for secret in self._secrets:
            key = _pseudonym(secret, key)
        return key

    def every(self, user_id: str) -> tuple[str, ...]:
        """Return all keys that the user may have had, the one in force first, the id itself last."""
        keys = [user_id]
        for secret in self._secrets:
            keys.append(_pseudonym(secret, keys[-1]))
        return tuple(reversed(keys))

    def successor(self, key: str, n_known: int) -> str:
        """Return what a stored key that was made under the first `n_known` secrets is under one more of them."""
        return _pseudonym(self._secrets[n_known], key)

    @property
    def n_secrets(self) -> int:
        """How many secrets are chained."""
        return len(self._secrets)


def _pseudonym(secret: bytes, key: str) -> str:
    return urlsafe_b64encode(hmac.digest(secret, key.encode(), "sha256")).rstrip(b"=").decode()
