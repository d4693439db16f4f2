"""An item table that stays as it is."""

from dataflows.following.rows import NewVersion
from models.items import ItemTable


class FixedTables:
    def __init__(self, table: ItemTable, version: str = "fixed") -> None:
        self.table = table
        self.version = version

    def refresh(self) -> None:
        """Nothing arrives."""

    def take_versions(self) -> list[NewVersion]:
        """Nothing arrives."""
        return []
