"""Trained rankers as the settings name them."""

from dataflows.errors import EddyError
from dataflows.run.settings import Settings
from models.rankers.checkpoint import SHIPPED, Checkpoint, CheckpointError, load_checkpoint
from models.rankers.served import DeviceError, require_device


def checked_device(settings: Settings) -> str:
    """Return where networks compute.

    Raises
    ------
    EddyError : there is no such device.
    """
    try:
        require_device(settings.ranker.device)
    except DeviceError as error:
        raise EddyError(f"EDDY_RANKER__DEVICE: {error}") from error
    return settings.ranker.device


def loaded_checkpoint(settings: Settings) -> Checkpoint:
    """Load the checkpoint that is named, else the one that comes with this release.

    Raises
    ------
    EddyError : it cannot be read, or is none for this release.
    """
    try:
        return load_checkpoint(settings.checkpoint or SHIPPED)
    except (OSError, CheckpointError) as error:
        raise EddyError(f"EDDY_CHECKPOINT: {error}") from error


def start_of(settings: Settings) -> Checkpoint | None:
    """Load what the ranker that learns goes on from: a checkpoint of its kind, where there is one.

    Raises
    ------
    EddyError : the checkpoint that is named is of another kind.
    """
    name = settings.ranker.name
    if name in {"none", "ftrl"}:
        return None
    checkpoint = loaded_checkpoint(settings)
    if checkpoint.kind == name:
        return checkpoint
    if settings.checkpoint is not None:
        raise EddyError(
            f"EDDY_CHECKPOINT: {settings.checkpoint} holds the ranker {checkpoint.kind!r}, but EDDY_RANKER__NAME is "
            f"{name!r}: name the same one, or leave the checkpoint away to start from nothing"
        )
    return None
