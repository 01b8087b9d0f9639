import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def load_tool():
    spec = importlib.util.spec_from_file_location("benchmark_results", ROOT / "benchmarks" / "results.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


results = load_tool()

BANDIT = {
    "schema": 1,
    "recipe": "rl2_bandit_10_5",
    "title": "RL², bandit, 10 pulls × 5 arms",
    "metric": "total reward per trial",
    "seeds": [0, 1, 2],
    "tasks": 1000,
    "environment_steps": 2_000_000,
    "seconds": 252.0,
    "value": 6.6532,
    "per_seed": [6.64, 6.65, 6.67],
    "ci95": 0.0173,
    "published": 6.7,
    "published_source": "Duan et al. 2016",
    "bounds": [{"name": "Bayes optimum", "value": 6.66}, {"name": "Gittins", "value": 6.6}],
    "target": ">= 6.6",
    "met": True,
    "command": "python benchmarks/rl2_bandit.py",
    "versions": {"jax": "0.10.2"},
    "git": "abc1234",
    "machine": "2 × AMD EPYC",
    "note": "",
}
MAML = {
    **BANDIT,
    "title": "MAML, 2-D navigation",
    "metric": "return per episode",
    "value": None,
    "tasks": 40,
    "published": None,
    "published_source": "",
    "bounds": [],
    "target": None,
    "met": None,
    "rows": [
        {"label": "before", "value": -41.2, "ci95": 0.66, "published": -40.4},
        {
            "label": "after 1 step",
            "value": -13.04,
            "ci95": 0.31,
            "published": -11.7,
            "target": ">= -15",
            "met": True,
        },
    ],
    "note": "policy-gradient outer step.",
}
SPEED = {
    **BANDIT,
    "title": "MAML, whole meta-iteration",
    "metric": "environment steps/s",
    "value": 612_345.0,
    "ci95": None,
    "published": 1400,
    "published_source": "PyTorch",
    "bounds": [{"name": "floor", "value": 1_900_000}],
    "target": ">= 600000",
    "met": True,
}


@pytest.fixture
def place(tmp_path):
    """A README with markers, and result files."""
    directory = tmp_path / "benchmarks" / "results"
    directory.mkdir(parents=True)
    for name, result in (
        ("rl2_bandit_10_10", BANDIT),
        ("rl2_bandit_10_5", BANDIT),
        ("maml", MAML),
        ("speed", SPEED),
    ):
        (directory / f"{name}.json").write_text(json.dumps(result))
    shown = tmp_path / "readme.json"
    shown.write_text(json.dumps({"speed": "fast", "rl2_bandit_10_5": "RL² in short"}))
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n\n{results.BEGIN}\nold\n{results.END}\n\nafter\n")
    page = tmp_path / "docs" / "results.md"
    page.parent.mkdir()
    page.write_text(readme.read_text())
    return ["--results", str(directory), "--readme", str(readme), "--page", str(page), "--shown", str(shown)]


def cells(text, start):
    line = next(line for line in text.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip().replace("\u00a0", " ") for cell in line.strip("|").split("|")]


def test_the_readme_says_what_the_result_files_say(capsys):
    assert results.main(["--check"]) == 0, capsys.readouterr().err


def test_written_table(place, capsys):
    assert results.main([*place, "--check"]) == 1
    assert "run `make results`" in capsys.readouterr().err
    assert results.main(place) == 0 and results.main([*place, "--check"]) == 0
    text = Path(place[5]).read_text()
    assert text.startswith("# Title\n\n<!-- results:begin -->\n±") and text.endswith("results:end -->\n\nafter\n")
    assert "old" not in text
    link = "[RL², bandit, 10 pulls × 5 arms](../benchmarks/results/rl2_bandit_10_5.json)"
    whole = [
        link,
        "total reward per trial",
        "6.653 ± 0.017",
        "6.7 (Duan et al. 2016)",
        "Bayes optimum 6.66, Gittins 6.6",
        "≥ 6.6: met",
        "2 M",
        "4.2 min",
        "3",
        "1 000",
    ]
    overview, section = text.split("## All results")[1].split("## RL²", 1)
    assert cells(overview, link) == cells(section, link) == whole
    assert cells(text, "· after 1 step")[2:6] == ["−13.04 ± 0.31", "−11.7", "–", "≥ −15: met"]
    assert cells(text, "[MAML, whole")[1:] == [
        "612 000",
        "1 400 (PyTorch)",
        "floor 1 900 000",
        "≥ 600 000: met",
        "2 × AMD EPYC",
    ]
    assert text.index("bandit_10_5.json") < text.index("bandit_10_10.json")  # numbers in their order


def test_the_readme_shows_what_its_list_names_in_that_order(place):
    path = Path(place[1]) / "speed.json"
    path.write_text(json.dumps({**SPEED, "published_source": "PyTorch, another machine"}))
    results.main(place)
    text = Path(place[3]).read_text()
    assert [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")][2:] == [
        "fast",
        "RL² in short",
    ]
    assert cells(text, "fast")[2:4] == ["612 000", "1 400 (PyTorch)"]
    assert "Of all 3 targets that were set for results, 3 are met.\n" in text


def test_the_page_is_whole(place):
    path = Path(place[1]) / "maml.json"
    more = {"label": "after 2 steps", "value": -9.0, "ci95": 0.3, "published": None}
    path.write_text(json.dumps({**MAML, "rows": [*MAML["rows"], more]}))
    ours = {**MAML, "title": "nothing published", "rows": [more]}
    (path.parent / "ours.json").write_text(json.dumps(ours))
    results.main(place)
    readme, page = Path(place[3]).read_text(), Path(place[5]).read_text()
    assert cells(page, "· after 2 steps")[2] == "−9.00 ± 0.30" and "## nothing published\n" in page
    assert "\nPolicy-gradient outer step.\n" in page and "Policy-gradient" not in readme
    assert "](../benchmarks/results/maml.json)" in page
    Path(place[5]).write_text(page.replace("9.00", "8.00"))
    assert results.main([*place, "--check"]) == 1


def test_a_missed_target_is_said(place):
    path = Path(place[1]) / "rl2_bandit_10_5.json"
    path.write_text(json.dumps({**BANDIT, "value": 6.5, "met": False}))
    results.main(place)
    text = Path(place[3]).read_text()
    assert cells(text, "RL² in short")[5] == "≥ 6.6: **not met**"
    assert "Of all 3 targets that were set for results, 2 are met.\n" in text


@pytest.mark.parametrize(
    ("shown", "message"),
    [
        ('{"maml": "no value"}', "names maml, of which there is no result file with a value"),
        ('{"rl3": "?"}', "names rl3, of which"),
        ("[", "is not valid JSON"),
    ],
)
def test_a_list_that_names_what_is_not_there_is_an_error(place, capsys, shown, message):
    Path(place[7]).write_text(shown)
    assert results.main(place) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({**BANDIT, "value": 6.5}, "says met = True, but its value 6.5"),
        ({**BANDIT, "schema": 2}, "not a result file of schema 1"),
        ({k: v for k, v in BANDIT.items() if k != "title"}, "lacks title"),
        ({**BANDIT, "value": None}, "neither a value nor rows"),
    ],
)
def test_bad_result_files_are_named(place, capsys, result, message):
    (Path(place[1]) / "bad.json").write_text(json.dumps(result))
    assert results.main(place) == 1
    error = capsys.readouterr().err
    assert "bad.json" in error and message in error


def test_a_readme_without_markers_is_an_error(place, capsys):
    Path(place[3]).write_text("nothing\n")
    assert results.main(place) == 1
    assert "results:begin" in capsys.readouterr().err


def test_no_results_yet(tmp_path):
    assert results.block(results.load(tmp_path), tmp_path) == "No results yet."


def test_the_readme_is_short_and_its_first_program_comes_early():
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= 120
    assert lines.index("```python") < 40  # the first program begins there, and ends there
    assert lines.index("```", lines.index("```python")) < 40
    assert len(json.loads(results.SHOWN.read_text("utf-8"))) == 10
    assert sum(line.startswith("![") for line in lines) == 1
