"""The item side inside a process: rows as they travel, and the table that they make."""

from models.items.table import ItemTable

__all__ = ["ItemTable"]
