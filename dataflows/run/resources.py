"""What the settings name and a flow loads: experiments, trained rankers, where they compute, text spaces."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from dataflows.errors import EddyError
from dataflows.receipts import Signer, read_signing_key
from dataflows.run.experiments_file import ExperimentError, load_experiments
from dataflows.run.placements import check_placement
from dataflows.run.settings import LearnSettings, Settings
from models.experiments.assign.assignment import Experiments
from models.items.vectors import HASHED, Sentences, TextSpace
from models.pseudonyms import StateKeys
from models.rankers.checkpoint import SHIPPED, Checkpoint, CheckpointError, load_checkpoint
from models.rankers.served import DeviceError, require_device
from models.sequence.checkpoint import load_sequence_checkpoint
from models.sequence.encoder import SequenceEncoder


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


def declared_experiments(settings: Settings) -> Experiments:
    """Return the experiments that run; those that name no goal are judged by the settings'.

    Raises
    ------
    ExperimentError : the file that is named declares something wrong, or one is for a placement that there is not.
    """
    named = settings.experiments_file
    experiments = (
        Experiments(settings.experiments) if named is None else load_experiments(named, settings.evaluate.goal)
    )
    for experiment in experiments.declared:
        for placement in experiment.placements:
            if wrong := check_placement(placement, settings.placements):
                raise ExperimentError(f"{named or 'experiments'}: {experiment.name}: placements: {wrong}")
    return experiments


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


def sequence_encoder(settings: Settings) -> SequenceEncoder | None:
    """Load the sequence model that is named; none where none is.

    Raises
    ------
    EddyError : it cannot be read, or is none for this release.
    """
    if settings.sequence_model is None:
        return None
    try:
        return load_sequence_checkpoint(settings.sequence_model).encoder()
    except (OSError, CheckpointError) as error:
        raise EddyError(f"EDDY_SEQUENCE_MODEL: {error}") from error


def starting_checkpoint(settings: Settings) -> Checkpoint | None:
    """Load what the ranker that learns starts from: a checkpoint of its kind, where there is one.

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


def state_keys(settings: Settings) -> StateKeys:
    """Return what stands for users in state: pseudonyms where secrets are set."""
    return StateKeys([secret.get_secret_value() for secret in settings.privacy.secrets])


def receipt_signer(settings: Settings) -> Signer:
    """Return what signs the receipts of erasures.

    Raises
    ------
    SigningKeyError : the key cannot be read, or is none.
    """
    privacy = settings.privacy
    if privacy.signing_key_file is not None:
        return Signer(read_signing_key(privacy.signing_key_file))
    return Signer(privacy.signing_key.get_secret_value() if privacy.signing_key else None)


def text_space(config: LearnSettings) -> TextSpace:
    """Return the text space of `EDDY_LEARN__TEXT`; a model is loaded once a process.

    Raises
    ------
    EddyError : the extra `text` is not installed, or there is no model in EDDY_LEARN__TEXT_MODEL.
    """
    return HASHED if config.text == "hashed" else _sentence_space(config.text_model)


@cache
def _sentence_space(folder: Path | None) -> TextSpace:
    """Load all-MiniLM-L6-v2 from its folder, without a network."""
    if find_spec("sentence_transformers") is None:
        raise EddyError(
            "EDDY_LEARN__TEXT=minilm needs the extra `text`: pip install 'eddy-recs[text]', or say hashed, which "
            "needs nothing"
        )
    if folder is None or not (folder / "modules.json").is_file():
        raise EddyError(
            "EDDY_LEARN__TEXT=minilm needs the model all-MiniLM-L6-v2, which comes from its publisher and under its "
            f"licence: EDDY_LEARN__TEXT_MODEL names its folder, which holds a modules.json, not {folder}"
        )
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - it takes seconds, and only minilm needs it

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return Sentences(lambda texts: model.encode(texts, show_progress_bar=False))


def expected_receipts(settings: Settings) -> dict[str, set[str]]:
    """Name the places that answer an erasure with a receipt, by flow."""
    places = {"recommend": {"recommend.profile"}, "learn": {"learn.transitions"}}
    if settings.learns_from_slates:
        places["learn"].add("learn.attribute")
    if settings.has_experiments:
        places["evaluate"] = {"evaluate.outcomes"}
    return places
