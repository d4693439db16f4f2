"""Which store keeps the read model, by the settings."""

from importlib.util import find_spec
from pathlib import Path

from dataflows.errors import EddyError
from dataflows.run.settings import Settings
from dataflows.serve.read_models.contract import ReadModel
from dataflows.serve.read_models.sqlite import SqliteModel


def chosen_model(settings: Settings, file: Path) -> ReadModel:
    """Return the read model of the settings; a server is not asked yet.

    Parameters
    ----------
    file : what SQLite keeps it in where no server is named.

    Raises
    ------
    EddyError : the extra that the store needs is not installed.
    """
    if settings.serve.store_url is None:
        return SqliteModel(file)
    return served_model(settings.serve.store_url.get_secret_value(), settings.topics.prefix)


def served_model(url: str, prefix: str) -> ReadModel:
    """Return the read model that a server keeps for the installation of a prefix.

    Raises
    ------
    EddyError : the extra that the store needs is not installed.
    """
    if url.startswith("postgres"):
        _need("psycopg", "postgres")
        from dataflows.serve.read_models.postgres import PostgresModel  # noqa: PLC0415 - psycopg is an extra

        return PostgresModel(url, prefix)
    _need("redis", "redis")
    from dataflows.serve.read_models.redis import RedisModel  # noqa: PLC0415 - so is redis

    return RedisModel(url, prefix)


def _need(module: str, extra: str) -> None:
    if find_spec(module) is None:
        raise EddyError(
            f"EDDY_SERVE__STORE_URL names a store that needs the extra `{extra}`: pip install 'eddy-recs[{extra}]'"
        )
