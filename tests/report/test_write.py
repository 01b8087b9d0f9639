import re

import pytest
from report import synthetic

from adaptax.report import ReportError, report


def test_one_run_is_reported_in_its_own_directory(tmp_path, capsys):
    run = synthetic.navigation_run(tmp_path / "run")
    paths = report([run])
    assert [path.name for path in paths] == [
        "report.md",
        "learning-curve.png",
        "adaptation-test.png",
        "exploration-test.png",
        "trajectories-test.png",
    ]
    assert all(path.parent == run / "report" and path.stat().st_size > 0 for path in paths)
    text = paths[0].read_text()
    assert set(re.findall(r"!\[.*\]\((.*)\)", text)) == {path.name for path in paths[1:]}
    assert "maml on navigation" in text and "adaptax train maml navigation" in text and "−11.7" in text
    assert capsys.readouterr() == ("", "")


def test_runs_of_one_benchmark_share_figures(tmp_path):
    runs = [
        synthetic.bandit_run(tmp_path / "first"),
        synthetic.bandit_run(tmp_path / "second", shift=-0.5),
        synthetic.grid_run(tmp_path / "grid"),
    ]
    paths = report(runs, tmp_path / "out")
    assert {path.name for path in paths} == {
        "report.md",
        "bandit-arms-5-pulls-10-learning-curve.png",
        "bandit-arms-5-pulls-10-adaptation-test.png",
        "gridnavi-learning-curve.png",
        "gridnavi-adaptation-paper.png",
        "gridnavi-exploration-paper.png",
        "gridnavi-trajectories-paper.png",
    }
    text = paths[0].read_text()
    assert "rl2 (first)" in text and "rl2 (second)" in text  # one algorithm twice: told apart
    assert "Success rate in %" in text and text.count("#### Exploration") == 1  # of bandits only the return is known


def test_a_run_killed_before_its_first_row_still_has_a_report(tmp_path):
    synthetic.write_config(tmp_path / "run", "rl2", "bandit", {})
    (path,) = report([tmp_path / "run"])
    assert "rl2 on bandit" in path.read_text()


def test_no_runs():
    with pytest.raises(ReportError, match="at least one run"):
        report([])
