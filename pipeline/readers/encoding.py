"""From the bytes of a script to its text: byte order marks, UTF-8 with damage, and the older encodings."""

import codecs
import re
from dataclasses import dataclass

from charset_normalizer import from_bytes

from pipeline.model import InputError, Problem

_MARKS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# What subtitles are found in besides Unicode; among equally likely ones the first is taken.
_LEGACY = (
    *("cp1252", "gb18030", "cp932", "big5", "cp949", "cp1251", "cp1256", "cp1250", "cp1254", "cp1253"),
    *("cp1255", "iso8859_2", "koi8_r", "cp874", "euc_jp", "cp1257", "iso8859_5", "cp1258"),
)
_SAMPLE = 32_768  # bytes that are enough for a guess; guessing is slow
_DAMAGE = 0.01  # of the bytes: more than this is another encoding, or no text at all
_BINARY = bytes(set(range(32)) - set(b"\t\n\f\r\x1a\x1b"))
_DECLARED = re.compile(rb"<\?xml[^>]{0,200}?\bencoding\s*=\s*[\"']([\w.:-]{1,40})[\"']")
_CONTROL = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_UNREADABLE = re.compile("[\x00\ud800-\udfff]")
_LOST = "\ufffd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """Text with LF line ends, without byte order marks or control characters."""

    text: str
    encoding: str
    guessed: bool = False
    problems: tuple[Problem, ...] = ()


def decode(name: str, data: bytes, encoding: str | None = None) -> Decoded:
    """Decode a script. Without ``encoding``: byte order mark, UTF-16, UTF-8, the XML declaration, a guess.

    A guess is noted; each line that holds bytes which are no text is an error of its own.
    Raises InputError for binary data and for data that the given ``encoding`` cannot hold.
    """
    guessed = False
    if encoding is not None:
        text = _as_told(name, data, encoding)
    else:
        encoding, data, guessed = _detect(name, data)
        text = data.decode(encoding, errors="replace")
    text = text.replace("\r\r\n", "\n").replace("\r\n", "\n").replace("\r", "\n").replace("\ufeff", "")
    text = _CONTROL.sub(" ", _UNREADABLE.sub(_LOST, text))
    problems = tuple(_lost(name, text, encoding)) if _LOST in text else ()
    if guessed:
        expected = "UTF-8; set the encoding in the catalogue if the text is wrong"
        found = f"encoding {encoding} (guessed)"
        problems = (Problem(file=name, found=found, expected=expected, level="note"), *problems)
    return Decoded(text=text, encoding=encoding, guessed=guessed, problems=problems)


def _as_told(name: str, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"bytes {data[error.start : error.end][:4].hex(' ')}"
        raise InputError(Problem(file=name, line=line, found=found, expected=f"text in {encoding}")) from None
    except (LookupError, ValueError):
        expected = "an encoding known to Python, such as utf-8 or cp1252"
        raise InputError(Problem(file=name, found=f'encoding "{encoding}"', expected=expected)) from None


def _detect(name: str, data: bytes) -> tuple[str, bytes, bool]:
    """Encoding, the bytes behind the byte order mark, and whether it is a guess."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding, data[len(mark) :], False
    if wide := _utf16(data):
        return wide, data, False
    if len(data) - len(data.translate(None, _BINARY)) > _DAMAGE * len(data):
        raise InputError(Problem(file=name, found="binary data", expected="a text file"))
    if _is_utf8(data):
        return "utf-8", data, False
    if (declared := _DECLARED.match(data)) and _fits(data, declared[1].decode()):
        return declared[1].decode().lower(), data, False
    return _guess(data), data, True


def _utf16(data: bytes) -> str | None:
    """UTF-16 without a mark: the high bytes of digits, spaces and line ends are zero, all on one side."""
    sample = data[:_SAMPLE]
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    low, high = sorted((even, odd))
    if high < 0.03 * len(sample) or high <= 8 * low:
        return None
    encoding = "utf-16-le" if odd > even else "utf-16-be"
    text = data.decode(encoding, errors="replace")
    return encoding if text.count(_LOST) <= 1 + _DAMAGE * len(text) else None


def _is_utf8(data: bytes) -> bool:
    """True for UTF-8, also when some bytes of it are damaged: few, and fewer than its sound characters."""
    try:
        data.decode()
        return True
    except UnicodeDecodeError:
        text = data.decode(errors="replace")
    damaged = text.count(_LOST)
    sound = len(text) - len(text.encode("ascii", errors="ignore")) - damaged
    return sound >= damaged and damaged <= max(1, _DAMAGE * len(data))


def _fits(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except (LookupError, ValueError):
        return False
    return True


def _guess(data: bytes) -> str:
    """The likeliest of the older encodings, from the lines that are not ASCII."""
    rows = [row for row in data[: 64 * _SAMPLE].splitlines(keepends=True) if not row.isascii()]
    sample = b""
    for row in rows:
        sample += row[: _SAMPLE - len(sample)]
        if len(sample) >= _SAMPLE:
            break
    matches = list(from_bytes(sample or data[:_SAMPLE], cp_isolation=list(_LEGACY)))
    if not matches:
        return "cp1252"
    # Mess to two places, likeness to a language to one: finer differences are accidents of a short sample.
    best = min(matches, key=lambda m: (round(m.chaos, 2), -round(m.coherence, 1), _LEGACY.index(m.encoding)))
    return best.encoding


def _lost(name: str, text: str, encoding: str) -> list[Problem]:
    """One error for each line with a character that could not be decoded."""
    return [
        Problem(file=name, line=number, found="bytes that are no text", expected=encoding.upper())
        for number, row in enumerate(text.split("\n"), 1)
        if _LOST in row
    ]
