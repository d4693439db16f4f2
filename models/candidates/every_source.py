"""All candidate sources that a strategy can name."""

from models.candidates.content import Content
from models.candidates.covisitation import Covisitation
from models.candidates.protocol import CandidateSource
from models.candidates.revisits import Revisits
from models.candidates.sequential_rules import SequentialRules
from models.candidates.session_knn import SessionKNN
from models.candidates.trending import Trending
from models.candidates.two_step_rules import TwoStepRules


def every_source() -> list[CandidateSource]:
    """Make one of each."""
    return [
        SequentialRules(), Covisitation(), Trending(), Content(), SessionKNN(), TwoStepRules(), Revisits(),
    ]  # fmt: skip
