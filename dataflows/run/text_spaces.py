"""Loads what turns item texts and searches into vectors, as the settings say."""

import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal
from zipfile import ZipFile

from dataflows.errors import EddyError
from models.items.texts import HASHED, Sentences, TextSpace


def text_space(name: Literal["hashed", "minilm"]) -> TextSpace:
    """Return the text space of `EDDY_LEARN__TEXT`; a model is loaded once a process.

    Raises
    ------
    EddyError : the extra `text` is not installed.
    """
    return HASHED if name == "hashed" else _minilm()


@cache
def _minilm() -> TextSpace:
    """Load all-MiniLM-L6-v2 from its package, without a network."""
    package = find_spec("all_minilm_l6_v2")  # not imported: it greets on the standard output
    if package is None or package.origin is None or find_spec("sentence_transformers") is None:
        raise EddyError(
            "EDDY_LEARN__TEXT=minilm needs the extra `text`: pip install 'eddy-recs[text]', or say hashed, which "
            "needs nothing"
        )
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - it takes seconds, and only minilm needs it

    with tempfile.TemporaryDirectory() as folder:
        with ZipFile(Path(package.origin).with_name("model.zip")) as archive:
            archive.extractall(folder)
        model = SentenceTransformer(folder, device="cpu", local_files_only=True)
    return Sentences(lambda texts: model.encode(texts, show_progress_bar=False))
