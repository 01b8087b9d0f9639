"""The form of the scripts in `findings/`. What they show is for those who run them: nothing is installed here."""

import os
import re
import subprocess
from pathlib import Path

import pytest

FINDINGS = Path(__file__).parents[1] / "findings"
SCRIPTS = sorted(FINDINGS.glob("*.sh"))
PIN = re.compile(r"[\w.\[\]-]+==\d+(\.\w+)+")


def installed(text: str) -> list[str]:
    """What pip is asked for, in the lines that call it."""
    lines = re.findall(r"pip\" install ((?:[^\n]*\\\n)*[^\n]*)", text)
    return [word for line in lines for word in line.replace("\\\n", " ").split() if not word.startswith("-")]


def test_there_are_scripts_and_the_readme_lists_each() -> None:
    listed = re.findall(r"^\| \[(\w+)\.sh\]\(\1\.sh\) \|", (FINDINGS / "README.md").read_text("utf-8"), re.MULTILINE)
    assert len(SCRIPTS) >= 3 and sorted(listed) == [script.stem for script in SCRIPTS]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_has_the_form(script: Path) -> None:
    text = script.read_text("utf-8")
    comments, _, code = text.partition("\nset -euo pipefail\n")
    assert text.startswith("#!/usr/bin/env bash\n") and os.access(script, os.X_OK)
    assert all(line.startswith("#") for line in comments.splitlines()) and "Seen" in comments
    assert "place=$(mktemp -d)\ntrap 'rm -rf \"$place\"' EXIT\n" in code
    assert installed(code) and all(PIN.fullmatch(package) for package in installed(code)), installed(code)
    assert all(package.split("[")[0].split("==")[0] in comments for package in installed(code)[:1])
    assert "adaptax" not in code and "://" not in text
    assert "the behaviour changed" in code  # the exit status says so
    subprocess.run(["bash", "-n", script], check=True)
    for program in re.findall(r"<<'PROGRAM'\n(.*?)^PROGRAM$", code, re.MULTILINE | re.DOTALL):
        compile(program, script.name, "exec")
