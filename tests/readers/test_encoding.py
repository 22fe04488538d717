import codecs
from contextlib import suppress

import pytest

from pipeline.model import InputError
from pipeline.readers import read_script
from pipeline.readers.encoding import decode

TEXTS = {
    "cp1252": "Où étais-tu hier soir ?\nJe t'ai cherchée partout.\nIl a été élu président l'année dernière.",
    "cp1251": "Привет, как дела?\nЯ тебя давно не видел.",
    "cp1250": "Gdzie byłeś wczoraj wieczorem?\nChodźmy do domu, jest już późno.\nDziękuję, że przyszłaś.",
    "iso8859_2": "Gdzie byłeś wczoraj wieczorem?\nChodźmy do domu, jest już późno.\nDziękuję, że przyszłaś.",
    "cp1253": "Γεια σου, τι κάνεις; Πού ήσουν χθες το βράδυ;\nΠάμε σπίτι, είναι αργά.",
    "cp1254": "Nasılsın? Dün gece neredeydin?\nHadi eve gidelim, geç oldu.\nBurada ne yapıyorsun, güzel şey?",
    "cp1255": "שלום, מה שלומך היום?\nבוא נלך הביתה, כבר מאוחר.\nמה אתה עושה כאן?",
    "cp1256": "مرحبا كيف حالك اليوم؟\nأنا بخير شكرا لك",
    "koi8_r": "Привет, как дела? Я тебя давно не видел.\nПойдём домой, уже поздно.\nЧто ты делаешь здесь?",
    "cp874": "สวัสดีครับ คุณเป็นอย่างไรบ้าง\nกลับบ้านกันเถอะ ดึกแล้ว",
    "gbk": "你好，你今天怎么样？\n我们回家吧，已经很晚了。",
    "big5": "你好，你今天怎麼樣？\n我們回家吧，已經很晚了。",
    "shift_jis": "こんにちは、元気ですか。\nもう遅いから家に帰りましょう。",
    "euc_kr": "안녕하세요, 오늘 기분이 어떠세요?\n늦었으니 집에 갑시다.",
}


@pytest.mark.parametrize("encoding", TEXTS)
def test_older_encodings_are_guessed(encoding):
    decoded = decode("a.txt", TEXTS[encoding].encode(encoding))
    assert decoded.text == TEXTS[encoding]
    assert decoded.guessed
    (problem,) = decoded.problems
    assert (problem.level, problem.found) == ("note", f"encoding {decoded.encoding} (guessed)")
    assert problem.expected == "UTF-8; set the encoding in the catalogue if the text is wrong"


@pytest.mark.parametrize("text", ["Hello\n00:01 Où", "你好，你今天怎么样？\n第二行\n"])
@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
        (b"", "utf-16-le"),
        (b"", "utf-16-be"),
    ],
)
def test_unicode_is_not_guessed(mark, encoding, text):
    decoded = decode("a.txt", mark + text.encode(encoding))
    assert (decoded.text, decoded.encoding, decoded.guessed, decoded.problems) == (text, encoding, False, ())


def test_damaged_bytes_leave_the_rest_utf8():
    data = "Où est-il ?\nПривет\nligne\n你好\n".encode().replace("ив".encode(), b"\xd0\xff") * 5
    decoded = decode("a.txt", data[:60] + "é ".encode() * 500)
    assert decoded.encoding == "utf-8"
    assert [(p.level, p.line) for p in decoded.problems] == [("error", 2), ("error", 6)]
    assert decoded.text.startswith("Où est-il ?\nПр")


def test_one_zero_byte_is_damage_and_many_are_binary():
    decoded = decode("a.txt", b"hello\nwor\0ld\n" + b"more\n" * 40)
    assert [(p.line, p.expected) for p in decoded.problems] == [(2, "UTF-8")]
    with pytest.raises(InputError, match="binary data"):
        decode("a.txt", b"hello\0\0\0\1")


def test_given_encoding_is_obeyed():
    data = "Привет".encode("cp1251")
    assert decode("a.txt", data, "cp1251").problems == ()
    assert decode("a.txt", data, "latin-1").text == "Ïðèâåò"
    with pytest.raises(InputError) as caught:
        decode("a.txt", b"one\n" + data, "utf-8")
    assert (caught.value.problem.line, caught.value.problem.expected) == (2, "text in utf-8")


@pytest.mark.parametrize("encoding", ["idna", "punycode", "utf-7", "unicode_escape"])
def test_odd_encodings_end_in_an_input_error_or_in_text(encoding):
    for data in (b"+2AA- \\ud800 ok", "é.".encode() * 80, b"xn--\xff"):
        with suppress(InputError):
            decode("a.txt", data, encoding).text.encode()


@pytest.mark.parametrize("encoding", ["klingon", "", "hex", "rot13", "undefined", "a\0b"])
def test_encoding_that_is_none(encoding):
    with pytest.raises(InputError, match="encoding known to Python"):
        decode("a.txt", "é.".encode() * 80, encoding)


def test_declared_encoding_of_xml():
    xml = '<?xml version="1.0" encoding="ISO-8859-5"?><tt><p begin="1s" end="2s">Привет</p></tt>'
    script = read_script("a.ttml", xml.encode("iso8859_5"))
    assert (script.lines[0].text, script.encoding, script.problems) == ("Привет", "iso-8859-5", ())


@pytest.mark.parametrize("end", ["\r\n", "\r", "\r\r\n"])
def test_line_ends(end):
    assert decode("a.txt", f"a{end}{end}b{end}".encode()).text == "a\n\nb\n"


def test_control_characters_and_inner_marks_are_dropped():
    assert decode("a.txt", "a\x0bb\ufeffc\x85d".encode() + b"e" * 200).text.startswith("a bc d")


def test_large_file_is_quick():
    row = TEXTS["cp1251"].encode("cp1251") + b"\n"
    assert decode("a.txt", row * (4_000_000 // len(row))).encoding == "cp1251"
