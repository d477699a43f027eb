"""The one exception a user of the examples is meant to see, and how it is shown."""

import sys
from collections.abc import Callable


class UsageError(Exception):
    """Something the user can put right, said in one line.

    Raised for bad arguments, missing or damaged files and directories that must
    not be overwritten; the command line prints the message and exits with code 2.
    Anything else that escapes is a defect of the program and keeps its traceback.
    """


def exit_code(command: Callable[[], object]) -> int:
    """Runs a command; a mistake the user can put right is one line, and code 2."""
    try:
        command()
    except UsageError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    return 0
