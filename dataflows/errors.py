"""Errors that a person can fix: shown as their text alone, never as a traceback."""


class EddyError(Exception):
    """Something that its reader can fix; the text says what, where and how."""


class FencedError(EddyError):
    """Another copy of this flow has taken over."""


def fixable(error: BaseException | None) -> EddyError | None:
    """Find the error that a person can fix behind an engine's exception, if there is one."""
    while error is not None:
        if isinstance(error, EddyError):
            return error
        error = error.__cause__ or error.__context__
    return None
