"""How a command ends: what it says, where, and with which code."""

import pytest

from examples.common.errors import UsageError, exit_code


def raises(error: BaseException | None):
    def command() -> None:
        if error is not None:
            raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (None, 0, ""),
        (UsageError("no such\n  file"), 2, "error: no such file\n"),
        (KeyboardInterrupt(), 130, "\ninterrupted\n"),
        (KeyboardInterrupt("saved 3"), 130, "\ninterrupted: saved 3\n"),
    ],
)
def test_a_command_ends_in_one_line_on_stderr(capsys, error, code, said):
    assert exit_code(raises(error)) == code
    assert capsys.readouterr() == ("", said)


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        exit_code(raises(ZeroDivisionError()))
