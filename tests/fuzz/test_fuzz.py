from tests.fuzz.run import run


def test_no_message_of_any_topic_stops_a_flow_or_leaves_an_index_wrong():
    """As `make fuzz`, which makes a million of them: what escapes is named with the seed that makes it again."""
    report = run(20_000, seed=0)
    assert report["escapes"] == []
    assert report["messages"] >= 20_000
    outcomes = report["outcomes"]
    for topic in ("events", "requests", "erasures", "catalog", "recommendations", "assignments"):
        assert sum(n for name, n in outcomes.items() if name.startswith(f"{topic}: ")) > 100, topic
    assert outcomes["model-updates: malformed_row"] > 100
    assert outcomes["experiment-results: malformed_result"] > 100
    assert outcomes["dead-letters: left out"] > 100
    assert min(outcomes["slates written"], outcomes["rows written"]) > 100
    assert outcomes["results written"] > 10
