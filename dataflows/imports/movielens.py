"""MovieLens in all its forms: `ratings.csv`, `ratings.dat`, `u.data`; films in `movies.csv`, `movies.dat`, `u.item`.

https://grouplens.org/datasets/movielens (Harper and Konstan, 2015).
"""

from pathlib import Path

import polars as pl

from dataflows.errors import EddyError
from dataflows.imports.column_map import Column, TableOptions
from dataflows.imports.detection import first_line
from dataflows.imports.frames import Frames
from dataflows.imports.tables import LINE, mapped_events, mapped_items, read_text

RATINGS = {
    "user_id": Column("userId"),
    "item_id": Column("movieId"),
    "value": Column("rating"),
    "timestamp": Column("timestamp", "s"),
}
FILMS = {
    "item_id": Column("movieId"),
    "title": Column("title"),
    "categories": Column("genres"),
    "tags": Column("decade"),
}
NO_GENRE = "(no genres listed)"
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
"""Of the last 19 columns of `u.item`."""


def events(path: Path, options: TableOptions) -> Frames:
    """Read ratings.

    Raises
    ------
    EddyError : the file holds films.
    """
    header = first_line(path)
    if header.startswith("userId"):
        frame = read_text(path, ",")
    elif "::" in header and header.count("::") == 3:
        frame = read_text(path, ":", ("userId", "_1", "movieId", "_2", "rating", "_3", "timestamp"), quoted=False)
    elif "\t" in header:
        frame = read_text(path, "\t", ("userId", "movieId", "rating", "timestamp"), quoted=False)
    else:
        raise EddyError(f"{path} holds films, which are items: name it by --catalog")
    return mapped_events(frame, RATINGS, options)


def items(path: Path, _options: TableOptions) -> Frames:
    """Read films: genres as categories, the decade as a tag, as in `eddy demo`.

    Raises
    ------
    EddyError : the file holds ratings.
    """
    header = first_line(path)
    if header.startswith("movieId,title"):
        frame = read_text(path, ",")
    elif "::" in header and header.count("::") == 2:
        frame = _parted(path, "::")
    elif "|" in header:
        frame = _parted(path, "|")
    else:
        raise EddyError(f"{path} holds ratings, which are events: name it without --catalog")
    year = pl.col("title").str.extract(r"\((\d{3})\d\)\s*$")
    genres = pl.when(pl.col("genres") != NO_GENRE).then(pl.col("genres"))
    return mapped_items(frame.with_columns(genres.alias("genres"), (year + "0s").alias("decade")), FILMS)


def _parted(path: Path, separator: str) -> pl.DataFrame:
    """Read an older file of films, which is in Latin-1."""
    rows = [line.split(separator) for line in path.read_text("latin-1").splitlines() if line]
    flags = separator == "|"
    return pl.DataFrame(
        {
            LINE: pl.Series(range(1, len(rows) + 1), dtype=pl.UInt32),
            "movieId": [row[0] for row in rows],
            "title": [row[1] if len(row) > 1 else None for row in rows],
            "genres": [_flagged(row) if flags else row[-1] for row in rows],
        },
        schema_overrides={"movieId": pl.String, "title": pl.String, "genres": pl.String},
    )


def _flagged(row: list[str]) -> str | None:
    """Name the genres of a film that flags tell."""
    return "|".join(genre for genre, flag in zip(GENRES, row[-len(GENRES) :], strict=False) if flag == "1") or None
