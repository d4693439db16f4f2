"""The identities under which the engine keeps state: a step that is renamed loses what its snapshots hold."""

from collections.abc import Callable, Iterable

import pytest
from bytewax.dataflow import Dataflow, Operator

from dataflows.run.settings import FunnelSettings, Settings
from tests.flows.evaluating import Run as Evaluate
from tests.flows.feedback import settings_for
from tests.flows.learning import Run as Learn
from tests.flows.test_graduate import settings_of as graduating
from tests.flows.test_recommend import Run as Recommend

FROM_SLATES = """
    events decode_events read_acts erasures decode_erasures acts transitions write_receipts add_up
    learn_items learn_items_rows learn_items_rows.flat_map_batch
    learn_sessions_by_shard learn_sessions learn_sessions_rows learn_sessions_rows.flat_map_batch catalog
    decode_catalog write_letters catalog_entries catalog_entries.flat_map catalog_entries.flat_map.flat_map_batch
    learn_content_vectors learn_content learn_content_rows learn_content_rows.flat_map_batch recommendations
    decode_slates write_slate_letters all_letters shown feedback
    feedback.map feedback.map.flat_map_batch told attribute write_attribution_receipts receipts
"""
"""Of `learn`, where it reads slates, until what it learns from them."""
COUNTS = "graduate graduate_rows graduate_rows.flat_map_batch rows_and_graduated"
TO_TOPICS = "all_rows model_updates dead_letters erasure_receipts"
STEP_IDS = {
    "recommend": """
        events requests erasures decode_events decode_requests decode_erasures received by_user profile score assign
        write_letters late late.map late.map.flat_map_batch write_late write_receipts recommendations assignments
        letters dead_letters erasure_receipts
    """,
    "learn": """
        events decode_events read_acts erasures decode_erasures acts transitions write_receipts add_up
        learn_items learn_items_rows learn_items_rows.flat_map_batch
        learn_sessions_by_shard learn_sessions learn_sessions_rows learn_sessions_rows.flat_map_batch catalog
        decode_catalog write_letters catalog_entries catalog_entries.flat_map catalog_entries.flat_map.flat_map_batch
        learn_content_vectors learn_content learn_content_rows learn_content_rows.flat_map_batch all_rows
        model_updates dead_letters erasure_receipts
    """,
    "learn, with a ranker": f"""{FROM_SLATES}
        learn_ranker_examples learn_ranker learn_ranker_rows learn_ranker_rows.flat_map_batch rows_and_versions
        {TO_TOPICS}
    """,
    "learn, with the funnel": f"""{FROM_SLATES}
        learn_funnel_examples learn_funnel learn_funnel_rows learn_funnel_rows.flat_map_batch rows_and_chances
        {TO_TOPICS}
    """,
    "learn, with items that graduate": f"""{FROM_SLATES.partition(" feedback")[0]} shown_items {COUNTS} {TO_TOPICS}""",
    "learn, with items that graduate by events": f"""
        {FROM_SLATES.partition(" recommendations")[0]} impressions {COUNTS} {TO_TOPICS}
    """,
    "evaluate": """
        events recommendations assignments decode_assignments observe_events observe_slates exposures
        erasures decode_erasures observed outcomes write_receipts add_up tally tally_results
        tally_results.flat_map_batch write_letters experiment_results
        dead_letters erasure_receipts
    """,
}
"""In the order in which each flow lays them out, each before the steps that it is made of, without the flow's name."""


def step_ids(steps: Iterable[Operator]) -> list[str]:
    return [name for step in steps for name in (step.step_id, *step_ids(step.substeps))]


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("recommend", lambda: Recommend([])._flow),
        ("learn", lambda: Learn().flow()),
        ("learn, with a ranker", lambda: Learn(settings=settings_for()).flow()),
        ("learn, with the funnel", lambda: Learn(settings=Settings(funnel=FunnelSettings(learn=True))).flow()),
        ("learn, with items that graduate", lambda: Learn(settings=graduating("slate")).flow()),
        ("learn, with items that graduate by events", lambda: Learn(settings=graduating("event")).flow()),
        ("evaluate", lambda: Evaluate().flow()),
    ],
)
def test_the_steps_of_a_flow_keep_their_names(name: str, build: Callable[[], Dataflow]):
    flow = build()
    assert step_ids(flow.substeps) == [f"{flow.flow_id}.{step}" for step in STEP_IDS[name].split()]
