"""Text as rules see it: tricks with letters, digits and spaces undone."""

import re
import unicodedata

# Letters that look alike, Latin first: the common part of Unicode's confusables (UTS 39).
_LATIN = str.maketrans("аеорсухіјѕԁһӏԛԝкмтвнαερουικντχγ", "aeopcyxijsdhlqwkmtbhaepouikvtxy")
_CYRILLIC = str.maketrans("aeopcyxkmtbhαερουκτχ0", "аеорсухкмтвнаероуктхо")
# Letters that are written without their stroke, dot or tail as well, and have no decomposition.
_PLAIN = str.maketrans({"ı": "i", "ł": "l", "ø": "o", "đ": "d", "ة": "ه", "ى": "ي", "ـ": ""})
_UNSPOKEN = ("Cf", "Co", "Cn")  # categories: format, private, unassigned
_DIGITS = str.maketrans("013457@$!", "oieastasi")
_STRIPPED = ("LATIN", "CYRILLIC", "GREEK", "ARABIC", "HEBREW")  # elsewhere a mark is part of the letter
# Scripts that stand beside Latin letters without a space; of others a voice says nothing there.
_BESIDE = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR", "DEVANAGARI")
# What is neither seen nor spoken: Unicode's default ignorable code points beside format characters, and blanks.
_UNSEEN = re.compile(
    "[\u0000-\u0008\u000e-\u001f\u007f-\u009f\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
_WORD = re.compile(r"[^\W_]+")
_SPACED = re.compile(r"(?<!\w)\w(?:[ .\-_*]\w){3,}(?!\w)")  # three may be words: и я в
_PARTED = re.compile(r"(?<=[^\W\d_])[^\w\s](?=[^\W\d_])")  # a-bail, ba.il
_TRICK = re.compile(r"(?<!\w)[a-z]*[013457@$!]+[a-z][a-z0-9@$!]*(?!\w)")


def fold(text: str) -> str:
    """Words in small letters with one space between them; without accents, look-alikes, leet and spaced letters.

    Unicode normalisation is NFKC (UAX 15).
    """
    text = _UNSEEN.sub("", text)
    if text.isascii():
        text = text.lower()
    else:
        text = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) not in _UNSPOKEN)
        text = text.casefold()
        text = _WORD.sub(_of_one_script, _bare(text).translate(_PLAIN))
        text = "".join(str(unicodedata.digit(c)) if c.isdigit() and not c.isascii() else c for c in text)
    text = _SPACED.sub(lambda found: re.sub(r"[ .\-_*]", "", found[0]), text)
    text = _TRICK.sub(_unleet, text)
    return " ".join(_words(text))


def rejoined(text: str) -> str:
    """Text without the hyphens and stops inside of its words."""
    return _PARTED.sub("", _UNSEEN.sub("", text))


def _bare(text: str) -> str:
    """Without the marks of scripts in which a word is read without them."""
    found, base = [], ""
    for c in unicodedata.normalize("NFD", text):
        if unicodedata.category(c)[0] == "M":
            if not base or unicodedata.category(base)[0] not in "LMN" or unicodedata.name(base).startswith(_STRIPPED):
                continue
        else:
            base = c
        found.append(c)
    return unicodedata.normalize("NFC", "".join(found))


def _of_one_script(word: re.Match[str]) -> str:
    """A word that mixes scripts was written so on purpose: the one of most of its letters is meant."""
    text = word[0]
    if text.isascii():
        return text
    cyrillic, latin = len(re.findall("[а-я]", text)), len(re.findall("[a-z]", text))
    if not cyrillic and not latin:
        return "" if all(unicodedata.category(c) in ("No", "Lm") for c in text) else text
    if cyrillic > latin:
        return _of_script(text.translate(_CYRILLIC) if re.search("[a-zα-ω0]", text) else text, "CYRILLIC")
    return _of_script(text.translate(_LATIN), "LATIN") if latin else text


def _of_script(word: str, script: str) -> str:
    kept = (script, *_BESIDE)
    return "".join(c for c in word if c.isdecimal() or unicodedata.name(c, "").startswith(kept))


def _unleet(word: re.Match[str]) -> str:
    letters = sum(c.isalpha() for c in word[0])
    return word[0].translate(_DIGITS) if letters >= 2 and not re.fullmatch(r"\d+[^\W\d_]{1,2}", word[0]) else word[0]


def _words(text: str) -> list[str]:
    # Not isalnum: vowel signs of Indic scripts are marks that belong to the word.
    kept = "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else "" if c in "'’" else " " for c in text)
    return kept.split()
