"""The README's code runs as pasted, and its doctests hold."""

import doctest
import pathlib
import re

import pytest

README = pathlib.Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
PASTED = [block for block in BLOCKS if not block.startswith(">>>")]


@pytest.mark.parametrize("block", PASTED, ids=lambda block: block.splitlines()[-1])
def test_pasted_code_runs_and_its_assertions_hold(block):
    exec(compile(block, str(README), "exec"), {"__name__": "readme"})


def test_first_block_is_short_and_learns(capsys):
    exec(compile(PASTED[0], str(README), "exec"), {"__name__": "readme"})
    printed = re.findall(r"loss ([\d.]+)", capsys.readouterr().out)
    assert float(printed[-1]) < 0.05
    code = [line for line in PASTED[0].splitlines() if line.strip()]
    assert len(code) <= 12


def test_doctests():
    result = doctest.testfile(
        str(README), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert result.attempted > 5 and result.failed == 0


def test_every_linked_file_exists():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README.read_text()):
        assert (README.parent / target).exists(), target
