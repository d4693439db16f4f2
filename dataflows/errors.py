"""Errors that a person can fix: shown as their text alone, never as a traceback."""


class EddyError(Exception):
    """Something that its reader can fix; the text says what, where and how."""


class FencedError(EddyError):
    """Another copy of this flow has taken over."""


class HelperError(EddyError):
    """A thread that the flow needs has died."""


def died(thread: str, failure: BaseException) -> EddyError:
    """Say that a thread has died, and of what: a flow without its helpers would go on with what it knew, unseen."""
    reason = str(failure) if isinstance(failure, EddyError) else f"{type(failure).__name__}: {failure}"
    return HelperError(f"the thread `{thread}` has died, and the flow with it, to be started again: {reason}")


def fixable(error: BaseException | None) -> EddyError | None:
    """Find the error that a person can fix behind an engine's exception, if there is one."""
    while error is not None:
        if isinstance(error, EddyError):
            return error
        error = error.__cause__ or error.__context__
    return None
