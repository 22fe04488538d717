"""The `dub` command, called in this process: as from a shell, without the second that its imports take."""

from typer.testing import CliRunner

from pipeline import lists
from pipeline.cli import app


def dub(*arguments: str, code: int = 0) -> str:
    """What a command prints to both streams. AssertionError for another exit code."""
    lists.forget()  # as in a new process
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output
