from collections.abc import Iterable

import pytest

from models.config import HistoryConfig, ProfileConfig
from models.counts.history import LearnedUser
from models.counts.transitions import Contribution, Earlier
from models.numeric.ids import hash64
from tests import places
from tests.models.counts.builders import DAY, NOW, SECOND, an_act

PROFILE, HISTORY = ProfileConfig(), HistoryConfig()
WEEK_S = 7 * DAY // SECOND
ACTS = (("a", NOW), ("b", NOW + SECOND), ("c", NOW + 7 * DAY))


def a_user(acts: Iterable[tuple[str, int]] = ACTS) -> tuple[LearnedUser, tuple[Contribution, ...]]:
    user = LearnedUser(PROFILE, HISTORY)
    taught = [user.apply(an_act(item, at)) for item, at in acts]
    return user, tuple(learned._replace(item_id="") for learned in taught if isinstance(learned, Contribution))


def test_an_erasure_takes_back_what_was_taught_across_sessions_too():
    user, taught = a_user()
    assert taught[2].earlier == (Earlier(hash64("b"), WEEK_S - 1), Earlier(hash64("a"), WEEK_S))
    resumed = LearnedUser.unpack(user.pack(), PROFILE, HISTORY)
    assert resumed.erase(NOW, hash64("u-1")) == taught


@pytest.mark.parametrize(("version", "n_earlier"), [(2, 0), (3, 2)])
def test_users_of_every_release_that_kept_contributions_still_load(version: int, n_earlier: int):
    packed = (places.GOLDEN / f"learned_user_v{version}.bin").read_bytes()
    user = LearnedUser.unpack(packed, PROFILE, HISTORY)
    again = user.apply(an_act("d", NOW + 8 * DAY))
    assert isinstance(again, Contribution)
    assert [act.item for act in again.earlier] == [hash64("c"), hash64("b"), hash64("a")]
    *taught, newest = user.erase(NOW, hash64("u-1"))
    assert newest == again._replace(item_id="")
    _, expected = a_user()
    assert [learned._replace(earlier=()) for learned in taught] == [one._replace(earlier=()) for one in expected]
    assert [len(learned.earlier) for learned in taught] == [0, 0, n_earlier]


def test_a_newer_format_is_refused():
    user, _ = a_user()
    with pytest.raises(ValueError, match="format 4"):
        LearnedUser.unpack(b"\x04" + user.pack()[1:], PROFILE, HISTORY)


def test_who_rests_keeps_the_acts_as_long_as_a_profile_and_contributions_as_long_as_they_can_be_taken_back():
    user, taught = a_user()
    assert user.rests_after_ms == HISTORY.history_ms
    assert user.rest(HISTORY.history_ms - 1)
    assert (user.n_kept, user.n_lost) == (3, 0)
    assert user.rest(HISTORY.history_ms)
    assert (user.n_kept, user.n_lost) == (0, len(taught))
    assert user.rests_after_ms == PROFILE.expire_after_ms
    back = user.apply(an_act("d", NOW + 80 * DAY))
    assert isinstance(back, Contribution)
    assert [act.item for act in back.earlier] == [hash64("c"), hash64("b"), hash64("a")]
    assert not user.rest(PROFILE.expire_after_ms)
