"""How a command ends that could not do its work: in one line, with its own code."""

import sys
from collections.abc import Callable


class UsageError(Exception):
    """Something the user can put right, said in one line.

    Raised for bad arguments, missing or damaged files and directories that must
    not be overwritten; the command line prints the message and exits with code 2.
    Anything else that escapes is a defect of the program and keeps its traceback.
    """


def exit_code(command: Callable[[], object]) -> int:
    """Runs a command and returns its exit code.

    A mistake that the user can put right is one line on stderr, and 2. Ctrl-C is one
    line, with what the `KeyboardInterrupt` says, and 130, as in a shell.
    """
    try:
        command()
    except UsageError as error:
        _say("error", str(error))
        return 2
    except KeyboardInterrupt as stop:
        # On this line may stand a progress bar, or what the terminal makes of Ctrl-C.
        print(file=sys.stderr)
        _say("interrupted", str(stop))
        return 130
    return 0


def _say(word: str, message: str) -> None:
    """One line, whatever line ends the message has."""
    text = " ".join(message.split())
    print(f"{word}: {text}" if text else word, file=sys.stderr)
