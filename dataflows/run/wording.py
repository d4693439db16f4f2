"""The words that the settings name for the reasons on slates."""

from dataflows.errors import EddyError
from dataflows.run.settings import Settings
from models.phrases import Phrases, phrases_of


def chosen_phrases(settings: Settings) -> Phrases:
    """Return the words for reasons.

    Raises
    ------
    EddyError : the file cannot be read, or is no catalog of phrases.
    """
    if settings.phrases is None:
        return phrases_of(settings.language)
    try:
        return Phrases(settings.phrases.read_bytes())
    except OSError as error:
        raise EddyError(f"EDDY_PHRASES: {settings.phrases} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise EddyError(
            f"EDDY_PHRASES: {settings.phrases}: {error}; models/languages/en.json shows the form"
        ) from error
