from dataclasses import replace

import numpy as np
import pytest
from report import synthetic

from adaptax.report.read import read_run
from adaptax.report.tables import (
    Table,
    amount,
    chosen_points,
    duration,
    evaluation_table,
    fixed,
    markdown,
    number,
    plain,
    quoted,
    success_table,
)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((6.65321, 0.0123), "6.653 ± 0.012"),
        ((-40.39, 1.26), "−40.4 ± 1.3"),
        ((-40.39, 0.0), "−40.39"),
        ((83.456, 0.0996), "83.46 ± 0.10"),
        ((0.5, 1e-9), "0.5000 ± 0.0000"),
        ((12345.6, 321.0), "12\u00a0346 ± 321"),
        ((6.66,), "6.660"),
        ((9.9999,), "10.00"),
        ((-0.0001, 0.02), "0.000 ± 0.020"),
        ((0.0, 0.0), "0"),
        ((5.0, float("nan")), "5.000"),
        ((None,), "–"),
        ((float("nan"), 1.0), "–"),
    ],
)
def test_number(arguments, text):
    assert number(*arguments) == text


def test_other_numbers():
    assert [quoted(x) for x in (-40.4, 6.7, 83, None, 1500.25)] == [
        "−40.4",
        "6.7",
        "83",
        "–",
        "1\u00a0500.25",
    ]
    assert fixed(-0.001, 1) == "0.0"
    counts = [amount(x) for x in (0, 500, 250e3, 999_999, 1.5e6, 2e9, -2500)]
    assert [c.replace("\u00a0", " ") for c in counts] == [
        "0",
        "500",
        "250 k",
        "1 M",
        "1.5 M",
        "2 G",
        "−2.5 k",
    ]
    times = [duration(x).replace("\u00a0", " ") for x in (0.5, 42, 100, 3000, 7200, 400_000)]
    assert times == ["0.5 s", "42 s", "1.7 min", "50 min", "2.0 h", "111 h"]
    assert duration(None) == amount(None) == "–"


def test_chosen_points():
    assert chosen_points(4, 6) == (0, 1, 2, 3)
    assert chosen_points(10, 6) == (0, 1, 4, 9)
    assert chosen_points(100, 6) == (0, 1, 4, 9, 19, 99)
    assert chosen_points(1000, 1) == (999,)


def test_alignment():
    table = Table(("", "mean"), (("a|b", "1"), ("longer", "−12.5")))
    assert markdown(table).splitlines() == [
        "|        |  mean |",
        "| :----- | ----: |",
        "| a\\|b   |     1 |",
        "| longer | −12.5 |",
    ]
    assert plain(table).splitlines() == ["         mean", "──────  ─────", "a|b         1", "longer  −12.5"]


def test_evaluation_by_round_beside_references_and_published(tmp_path):
    run = read_run(synthetic.navigation_run(tmp_path / "run"))
    table = evaluation_table(run.evaluations)
    assert table.header == ("", "before", "after 1 step", "after 2 steps", "after 3 steps")
    assert [row[0] for row in table.rows] == ["maml", "random", "known goal", "published: MAML paper"]
    assert table.rows[1][1:] == ("−52.00",) * 4
    assert table.rows[3][1:] == ("−40.4", "−11.7", "−3.3", "−3.2")
    assert all(" ± " in cell for cell in table.rows[0][1:])
    assert success_table(run.evaluations) is None


def test_evaluation_in_total(tmp_path):
    run = read_run(synthetic.bandit_run(tmp_path / "run"))
    table = evaluation_table(run.evaluations, ["ours"])
    assert table.header[1:] == ("episode 1", "episode 2", "episode 5", "episode 10", "total per trial")
    totals = {row[0]: row[-1] for row in table.rows}
    assert totals["Gittins"] == "6.600" and totals["published: RL² paper"] == "6.7"
    mean = run.evaluations[0].returns.sum(-1).mean()
    assert abs(float(totals["ours"].partition(" ")[0]) - mean) < 0.01


def test_success_in_per_cent(tmp_path):
    run = read_run(synthetic.grid_run(tmp_path / "run"))
    table = success_table(run.evaluations)
    assert table is not None
    assert table.rows == (("rl2", "0", "50.00", "100.0", "100.0"),)


def test_success_in_the_last_step_has_a_row_where_it_is_another(tmp_path):
    run = read_run(synthetic.grid_run(tmp_path / "run"))
    (same,) = run.evaluations
    assert success_table([replace(same, final_success=same.success)]) == success_table([same])
    by_success = replace(same, final_success=same.success * 0, success=same.success * 0, judged_by_success=True)
    nothing = success_table([by_success])
    assert nothing is not None and nothing.rows == (("rl2, any step", *"0000"), ("rl2, last step", *"0000"))
    assert success_table([replace(by_success, judged_by_success=False)]) is None
    final = same.success * np.array([0.0, 1.0, 0.0, 0.25])
    table = success_table([replace(same, final_success=final)])
    assert table is not None
    assert table.rows == (
        ("rl2, any step", "0", "50.00", "100.0", "100.0"),
        ("rl2, last step", "0", "50.00", "0", "25.00"),
    )
