import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from report import synthetic

from adaptax.report.read import ReportError, read_evaluation, read_metrics, read_run


def test_run(tmp_path):
    run = read_run(synthetic.bandit_run(tmp_path / "run"))
    assert (run.algorithm, run.benchmark) == ("rl2", "bandit")
    assert run.benchmark_settings == {"arms": 5, "pulls": 10}
    assert run.environment_steps[-1] == 2_000_000
    assert run.metrics["return"].shape == (101, 3)  # the half-written last row is left out
    assert run.metrics["seconds"].shape == (101, 1)
    evaluation = run.evaluation()
    assert evaluation is not None and evaluation.split == "test"
    assert evaluation.returns.shape == (3, 40, 1, 4, 10)
    assert evaluation.task["means"].shape == (40, 5)
    assert [r.name for r in evaluation.references][-1] == "Gittins"
    assert evaluation.references[0].mean.shape == (10,)
    assert evaluation.published[0].total == 6.7


def test_metrics_rows(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [
        {"iteration": 0, "environment_steps": 10, "return": [1, None], "loss": None, "note": "text"},
        {"iteration": 2, "environment_steps": 30, "return": [5, 6]},
        {"iteration": 1, "environment_steps": 20, "return": [3, 4], "loss": 0.5},
        {"iteration": 2, "environment_steps": 30, "return": [7, 8], "loss": 0.25},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    path.write_text(text + '{"iteration": 3, "environment_steps": 40, "return": [9, 1')
    metrics = read_metrics(path)
    np.testing.assert_array_equal(metrics["environment_steps"][:, 0], [10, 20, 30])
    np.testing.assert_array_equal(metrics["return"], [[1, np.nan], [3, 4], [7, 8]])
    np.testing.assert_array_equal(metrics["loss"][:, 0], [np.nan, 0.5, 0.25])
    assert "note" not in metrics
    assert metrics["return"].dtype == np.float64


def test_a_metric_that_a_row_lacks_is_nan_for_every_seed(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"iteration": 0, "a": [1, 2]}\n{"iteration": 1}\n\n[1]\n')
    np.testing.assert_array_equal(read_metrics(path)["a"], [[1, 2], [np.nan, np.nan]])
    assert read_metrics(tmp_path / "none.jsonl") == {}


def test_curve_and_totals_by_hand(tmp_path):
    synthetic.write_config(tmp_path, "rl2", "bandit", {}, 1)
    returns = np.zeros((1, 2, 1, 2, 3))  # one seed, two tasks, two streams, three episodes
    returns[0, 0, 0] = [[1, 2, 3], [3, 4, 5]]
    synthetic.write_evaluation(tmp_path, "test", returns)
    evaluation = read_evaluation(tmp_path / "evaluation-test.json")
    np.testing.assert_array_equal(evaluation.curve(), [[[2, 3, 4], [0, 0, 0]]])
    totals = evaluation.totals()
    assert totals is not None
    np.testing.assert_array_equal(totals, [[9, 0]])
    assert evaluation.point_labels() == ("episode 1", "episode 2", "episode 3")


def test_points_run_over_rounds_then_episodes(tmp_path):
    synthetic.write_config(tmp_path, "maml", "navigation", {}, 1)
    returns = np.arange(4.0).reshape(1, 1, 2, 1, 2)
    synthetic.write_evaluation(tmp_path, "test", returns)
    evaluation = read_evaluation(tmp_path / "evaluation-test.json")
    np.testing.assert_array_equal(evaluation.curve(), [[[0, 1, 2, 3]]])
    assert evaluation.totals() is None
    assert evaluation.point_labels()[2] == "after 1, episode 1"


def test_streams_that_did_not_finish_an_episode_do_not_count(tmp_path):
    synthetic.write_config(tmp_path, "maml", "navigation", {}, 1)
    returns = np.array([4.0, np.nan, 2.0, np.nan, np.nan, np.nan]).reshape(1, 1, 2, 3, 1)
    synthetic.write_evaluation(tmp_path, "test", returns)
    curve = read_evaluation(tmp_path / "evaluation-test.json").curve()
    np.testing.assert_array_equal(curve, [[[3, np.nan]]])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "config.json").unlink(), "not a run directory"),
        (lambda run: (run / "config.json").write_text("{"), "config.json is not valid JSON"),
        (lambda run: (run / "config.json").write_text("[]"), "does not hold a JSON object"),
        (lambda run: (run / "config.json").write_text("{}"), "no field 'algorithm'"),
        (lambda run: (run / "evaluation-test.npz").unlink(), "there is no file .*evaluation-test.npz"),
        (lambda run: (run / "evaluation-test.npz").write_bytes(b"PK\x03\x04"), "cannot be read as arrays"),
        (
            lambda run: np.savez(run / "evaluation-test.npz", returns=np.zeros(3)),
            "has no returns with the axes",
        ),
    ],
)
def test_bad_input_is_named(tmp_path, damage, message):
    run = synthetic.bandit_run(tmp_path / "run", tasks=2)
    damage(run)
    with pytest.raises(ReportError, match=message):
        read_run(run)


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(ReportError, match="nowhere is not a directory"):
        read_run(tmp_path / "nowhere")


def test_reports_need_neither_jax_nor_matplotlib_until_they_draw():
    source = Path(__file__).parents[2] / "src" / "adaptax" / "report"
    code = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('report', {str(source / '__init__.py')!r},"
        f" submodule_search_locations=[{str(source)!r}])\n"
        "module = importlib.util.module_from_spec(spec); sys.modules['report'] = module\n"
        "spec.loader.exec_module(module)\n"
        "assert not {'jax', 'matplotlib', 'adaptax'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
