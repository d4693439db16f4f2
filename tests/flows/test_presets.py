"""Each preset in a small scenario of its field, through both flows: what a person of that field would expect."""

import re
from typing import Any, get_args

import pytest

from dataflows.cli.setting_list import all_settings
from dataflows.run.presets import PRESETS, PresetName
from dataflows.run.setting_errors import SettingsError
from dataflows.run.settings import Settings, load
from models.messages import Item
from models.strategy import Strategy
from tests import places
from tests.flows.field import DAY, HOUR, NOW, SECOND, Field, a_request, acts

PAGE = places.ROOT / "dataflows" / "PRESETS.md"


def items(*ids: str, **same: Any) -> list[Item]:
    return [Item(item, title=item.capitalize(), **same) for item in ids]


def many(n_users: int, *done: str, at: int = NOW - DAY) -> list[dict[str, Any]]:
    """Let many users do the same, a minute after each other."""
    return [act for user in range(n_users) for act in acts(f"p-{at}-{user}", *done, at=at + 60 * SECOND * user)]


def test_session_shop_lets_a_visitor_return_to_what_was_compared_or_bought():
    shop = Field("session-shop", items("tent", "stove", "lamp"), many(3, "view tent", "view stove", "view lamp"))
    after_view, after_purchase = shop.serve(acts("u", "view tent", "view stove", "purchase stove", "view lamp"))[1::2]
    assert "tent" in after_view
    assert "stove" not in after_view
    assert {"tent", "stove"} <= set(after_purchase)


def test_shop_lets_what_was_looked_at_return_but_not_what_was_bought():
    shop = Field("shop", items("tent", "stove", "lamp", "rope"), many(3, "view tent", "view stove", "view lamp"))
    slate = shop.serve(acts("u", "view tent", "purchase stove", "view lamp"))[-1]
    assert "tent" in slate
    assert "stove" not in slate


def test_video_never_brings_back_what_was_watched_however_long_ago():
    films = [f"film-{n}" for n in range(60)]
    video = Field("video", items(*films), many(3, *(f"play {film}" for film in films)))
    watched = acts("u", "watch film-0", *(f"play {film}" for film in films[1:45]), "play film-59")
    slates = video.serve(watched)
    assert all(slate for slate in slates)
    assert not any("film-0" in slate for slate in slates)


def test_articles_put_the_news_of_the_hour_before_what_many_read_yesterday():
    past = many(18, "view storm", at=NOW - DAY) + many(6, "view vote", at=NOW - HOUR // 2)
    paper = items("storm", "vote")
    asked = [a_request(at=NOW)]
    assert Field("articles", paper, past).serve(requests=asked) == [["vote", "storm"]]
    assert Field("shop", paper, past).serve(requests=asked) == [["storm", "vote"]]


def test_articles_do_not_offer_again_what_was_read():
    paper = Field("articles", items("storm", "vote", "game"), many(3, "read storm", "read vote", "read game"))
    assert "storm" not in paper.serve(acts("u", "read storm", "view vote"))[-1]


def test_social_shows_at_most_two_posts_of_an_author_and_none_again_that_was_passed_by():
    posts = [post for author in "abc" for post in items(*(f"{author}{n}" for n in range(4)), categories=[author])]
    feed = Field("social", posts, many(5, *(f"like {post.item_id}" for post in posts)))
    (first,) = feed.serve(requests=[a_request(at=NOW)])
    (second,) = feed.serve(acts("u", *(f"impression {post}" for post in first)), [a_request(at=NOW + HOUR)])
    assert len(first) == len(second) == 6
    assert not set(first) & set(second)


def test_ads_show_one_of_an_advertiser_rest_when_nobody_reacts_and_keep_to_the_age():
    ads = [
        *items("shoes", "boots", categories=["shoe shop"]),
        *items("tea", "mugs", categories=["tea shop"]),
        *items("whisky", categories=["distillery"], requires=["adult=true"]),
    ]
    field = Field("ads", ads, many(10, *(f"click {ad.item_id}" for ad in ads)))
    adult, unknown = field.serve(requests=[a_request(context={"adult": True}), a_request("v")])
    assert [len(adult), len(unknown)] == [3, 2]
    assert [len({"shoes", "boots"} & set(adult)), len({"tea", "mugs"} & set(adult))] == [1, 1]
    assert "whisky" in adult
    assert "whisky" not in unknown
    shown = acts("u", *["impression shoes", "impression boots"] * 3)
    (bored,) = field.serve(shown, [a_request(at=NOW + HOUR)])
    assert len(bored) == 1
    assert set(bored) < {"tea", "mugs"}


TEMPLATES = [
    Item("refund", title="Get a refund", text="Your money is returned within five days of the parcel's arrival"),
    Item("password", title="Reset a password", text="Open the login page and choose a new password by mail"),
    Item("parcel", title="Where is my parcel", text="Track the delivery of your parcel with its number"),
]


@pytest.mark.parametrize(
    ("message", "template"),
    [
        ("I cannot login, it says my password is wrong", "password"),
        ("when will my money be returned? I want a refund", "refund"),
        ("the delivery of the parcel is late, can I track it", "parcel"),
    ],
)
def test_replies_go_by_what_the_customer_wrote(message: str, template: str):
    service = Field("replies", TEMPLATES, many(3, "send parcel", "send refund", "send password"))
    wrote = acts("u", "message chat")[0] | {"context": {"message": message}}
    slates = service.serve([wrote], [a_request(query=message), a_request("v", context={"message": message})])
    assert [slate[0] for slate in slates] == [template] * 3


def test_replies_may_send_again_what_was_sent_before():
    service = Field("replies", TEMPLATES)
    wrote = {"context": {"message": "my password is lost"}}
    sent = acts("u", "send password", "resolve password")
    assert service.serve(sent, [a_request(**wrote)])[-1][0] == "password"


PLAN = [
    *items("walk", "swim", "breathe"),
    Item("run", requires=["walk"]),
    Item("lift", excludes=["condition=heart disease"]),
]


def test_care_keeps_what_a_condition_excludes_away_though_everybody_does_it_next():
    care = Field("care", PLAN, many(30, "complete walk", "complete lift"))
    others, ill = acts("v", "complete walk"), acts("u", "state condition=heart disease", "complete walk")
    later = acts("u", *["view swim", "view breathe"] * 30, at=NOW + HOUR)
    asked = [a_request(at=NOW + DAY), a_request(at=NOW + DAY + 1, candidates=["lift", "swim"])]
    slates = care.serve(ill + later, asked)
    assert care.serve(others)[0][0] == "lift"
    assert not any("lift" in slate for slate in slates)
    assert slates[-1] == ["swim"]


def test_care_goes_step_by_step_and_leaves_nothing_to_chance():
    care = Field("care", PLAN, many(30, "complete walk", "complete run"))
    before, after = care.serve(acts("u", "view swim", "complete walk"))
    assert "run" not in before
    assert after[0] == "run"
    assert care.settings.strategy.exploration_slots == 0


def test_courses_come_after_their_prerequisites_and_do_not_return_once_completed():
    courses = [
        *items("algebra", "poetry"),
        Item("calculus", requires=["algebra"]),
        Item("analysis", requires=["calculus"]),
    ]
    school = Field("courses", courses, many(20, "complete algebra", "complete calculus", "complete analysis"))
    enrolled, completed, again = school.serve(acts("u", "enroll algebra", "complete algebra", "view poetry"))
    assert not {"calculus", "analysis"} & set(enrolled)
    assert completed[0] == "calculus"
    assert "analysis" not in completed + again
    assert "algebra" not in again


def test_city_holds_an_exclusion_and_asks_for_residence_while_what_was_used_may_return():
    services = [
        *items("parking permit", "library", "pool"),
        Item("car-free bonus", excludes=["parking permit"]),
        Item("vote by mail", requires=["resident=true"]),
    ]
    done = ("use library", "apply car-free bonus", "apply vote by mail", "use pool", "apply parking permit")
    city = Field("city", services, many(30, *done))
    resident = {"context": {"resident": True}}
    before = city.serve(requests=[a_request(**resident), a_request("v")])
    after = city.serve(acts("u", "use library", "apply parking permit", "view pool"), [a_request(**resident)])
    assert ["car-free bonus" in slate for slate in before] == [True, True]
    assert ["vote by mail" in slate for slate in before] == [True, False]
    assert not any("car-free bonus" in slate for slate in after[1:])
    assert {"library", "vote by mail"} <= set(after[-1])


def test_every_preset_is_named_once_and_serves_a_new_user_what_is_popular():
    assert get_args(PresetName) == tuple(PRESETS)
    for preset, said in PRESETS.items():
        act = next(name for name, weight in Settings(preset=preset).events.weights.items() if weight > 0)
        field = Field(preset, items("a", "b"), many(20, f"{act} a", f"{act} b"))
        assert set(field.serve(requests=[a_request(at=NOW)])[0]) == {"a", "b"}, said.what


@pytest.fixture
def video(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("EDDY_PRESET", "video")
    return monkeypatch


def test_a_preset_fills_in_what_the_environment_does_not_say(video: pytest.MonkeyPatch):
    video.setenv("EDDY_STRATEGY__N_ITEMS", "7")
    video.setenv("EDDY_PROFILE__LATENESS_S", "5")
    loaded = load()
    assert loaded.strategy == Settings(preset="video").strategy.__class__(
        n_items=7, diversity=0.25, sources=PRESETS["video"].settings["strategy"]["sources"]
    )
    assert (loaded.profile.lateness_s, loaded.profile.session_gap_s) == (5, 3 * 3_600)


def test_what_the_environment_says_wins_whole_even_where_it_says_the_default(video: pytest.MonkeyPatch):
    video.setenv("EDDY_STRATEGY__DIVERSITY", "0.15")
    video.setenv("EDDY_STRATEGY__SOURCES", '{"trending": 1}')
    video.setenv("EDDY_EVENTS__WEIGHTS", '{"view": 2}')
    loaded = load()
    assert loaded.strategy == Strategy(sources={"trending": 1.0})
    assert loaded.events.weights == {"view": 2.0}
    assert loaded.events.owning_types == {"watch"}


def test_an_unknown_preset_is_refused_with_the_names_of_all(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EDDY_PRESET", "vidoe")
    with pytest.raises(SettingsError, match="EDDY_PRESET") as error:
        load()
    assert all(name in str(error.value) for name in PRESETS)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_page_says_what_a_preset_sets(preset: PresetName):
    general = {setting.variable: setting.default for setting in all_settings()}
    differs = [
        f"{setting.variable}={setting.default}"
        for setting in all_settings(preset)
        if setting.default != general[setting.variable] and setting.variable != "EDDY_PRESET"
    ]
    section = re.search(rf"^## {preset}\n.*?```\n(.*?)```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert section is not None
    assert section[1].splitlines() == differs
