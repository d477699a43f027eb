"""The quickstart learns the digits, and is as short as it claims."""

import re
from pathlib import Path

from examples import quickstart


def test_quickstart_learns(capsys):
    quickstart.main()
    lines = capsys.readouterr().out.splitlines()
    accuracies = [float(re.findall(r"([\d.]+)%", line)[0]) for line in lines]
    assert max(accuracies[-5:]) > 95
    assert accuracies[-1] > accuracies[0]


def test_quickstart_is_short_and_plain():
    source = Path(quickstart.__file__).read_text()
    assert len(source.splitlines()) <= 40
    assert "make_step" not in source
    assert set(re.findall(r"optaxls\.(\w+)", source)) == {"auto"}
