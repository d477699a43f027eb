"""The one exception a user of the examples is meant to see."""


class UsageError(Exception):
    """Something the user can put right, said in one line.

    Raised for bad arguments, missing or damaged files and directories that must
    not be overwritten; the command line prints the message and exits with code 2.
    Anything else that escapes is a defect of the program and keeps its traceback.
    """
