from pathlib import Path

from dataflows.demo.drawn import experiments_file
from dataflows.run.experiments_file import load_experiments


def test_a_copy_of_the_experiment_draws_slates_and_compares_the_same(tmp_path: Path):
    shipped = load_experiments(experiments_file(tmp_path, 0.0)).declared
    drawing = load_experiments(experiments_file(tmp_path, 0.2)).declared
    [plain], [drawn] = shipped, drawing
    assert [variant.name for variant in drawn.variants] == [variant.name for variant in plain.variants]
    assert {variant.strategy.sampled for variant in plain.variants} == {0.0}
    assert {variant.strategy.sampled for variant in drawn.variants} == {0.2}
    assert [variant.strategy.sources for variant in drawn.variants] == [
        variant.strategy.sources for variant in plain.variants
    ]
