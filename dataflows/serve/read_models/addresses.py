"""Where a store is, told without what opens it."""

from urllib.parse import unquote, urlsplit

TIMEOUT_S = 5
"""How long a server may be silent before it counts as lost."""


class StoreAddress:
    """A store's URL, and what may be said of it.

    Parameters
    ----------
    url : `redis://...`, `postgresql://...`; may hold a password.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._parts = urlsplit(url)

    def __str__(self) -> str:
        """Return scheme, host, port and database, and neither user nor password."""
        _, _, place = self._parts.netloc.rpartition("@")
        return f"{self._parts.scheme}://{place}{self._parts.path}"

    def told(self, error: BaseException) -> str:
        """Return what a client says, in one line and without the password."""
        text = " ".join(str(error).split()) or type(error).__name__
        for secret in {self.url, self._parts.password, unquote(self._parts.password or "")} - {None, ""}:
            text = text.replace(str(secret), "***")
        return text

    def unreachable(self, error: BaseException) -> str:
        """Say that the store does not do its work, and what to look at."""
        return (
            f"{self} does not answer as it should ({self.told(error)}): is it up, and is EDDY_SERVE__STORE_URL right?"
        )
