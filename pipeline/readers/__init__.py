"""Readers of scripts: subtitles and dialogue in, sound lines and a list of problems out."""

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from pipeline.model import InputError, Problem, Script
from pipeline.readers import ass, srt, text, ttml, vtt
from pipeline.readers.draft import Draft
from pipeline.readers.encoding import decode

FORMATS: Mapping[str, Callable[[str, Draft], None]] = {
    ".srt": srt.read,
    ".vtt": vtt.read,
    ".ass": ass.read,
    ".ssa": ass.read,
    ".ttml": ttml.read,
    ".dfxp": ttml.read,
    ".xml": ttml.read,
    ".txt": text.read,
}


def read_script(name: str, data: bytes, *, encoding: str | None = None) -> Script:
    """Read the bytes of a script in the format that the extension of ``name`` tells.

    Lines come in time order with ids of their own; whatever is wrong is a problem of the script, at its line.
    Raises InputError when nothing can be made of the file: an unknown extension, binary data, data that the
    given ``encoding`` cannot hold, no XML where there should be, or not one line.
    """
    extension = PurePosixPath(name).suffix.lower()
    if extension not in FORMATS:
        found, expected = f'extension "{extension}"', "one of " + " ".join(FORMATS)
        raise InputError(Problem(file=name, found=found, expected=expected))
    decoded = decode(name, data, encoding)
    draft = Draft(name)
    draft.problems.extend(decoded.problems)
    FORMATS[extension](decoded.text, draft)
    return draft.script(format=extension[1:], encoding=decoded.encoding)
