"""The catalogue: four formats, one meaning, and refusals that name the row and the key."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.catalogue import read_catalogue
from pipeline.config import Job, Title
from pipeline.parse import ConfigError
from pipeline.store import resolve


def write(folder: Path, name: str, content: str | bytes) -> Job:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return Job(name="test", catalogue=str(folder / name), output="out")


def read(folder: Path, name: str, content: str | bytes) -> list[Title]:
    return read_catalogue(write(folder, name, content))


def refusal(folder: Path, name: str, content: str | bytes) -> str:
    """The message, with the catalogue's path as its name alone."""
    with pytest.raises(ConfigError) as caught:
        read(folder, name, content)
    assert str(caught.value).startswith(str(folder / name))
    return str(caught.value).replace(f"{folder}/", "")


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


YAML = """
titles:
- id: one
  media: /m/one.mp4
  cast: {Anna: f1, Bob: m2@40}
  languages: [fr]
  scripts: {fr: one.fr.srt, de: {url: one.de.srt, encoding: cp1252}}
- id: two
  scripts: {fr: s3://b/two.srt}
"""
ROWS = [
    {"id": "one", "media": "/m/one.mp4", "cast": {"Anna": "f1", "Bob": "m2@40"}, "languages": ["fr"],
     "scripts": {"fr": "one.fr.srt", "de": {"url": "one.de.srt", "encoding": "cp1252"}}},
    {"id": "two", "scripts": {"fr": "s3://b/two.srt"}},
]  # fmt: skip
CSV = """id,media,cast,languages,script.fr,scripts
one,/m/one.mp4,"{""Anna"": ""f1"", ""Bob"": ""m2@40""}",fr,one.fr.srt,"{""de"": {""url"": ""one.de.srt"", ""encoding"": ""cp1252""}}"
two,,,,s3://b/two.srt,
"""  # noqa: E501


def test_yaml_jsonl_and_csv_mean_the_same(tmp_path: Path) -> None:
    titles = read(tmp_path, "c.yaml", YAML)
    assert [title.id for title in titles] == ["one", "two"]
    assert titles[0].scripts["de"].model_dump() == {"url": str(tmp_path / "one.de.srt"), "encoding": "cp1252"}
    assert titles[0].scripts["fr"].url == str(tmp_path / "one.fr.srt")
    assert titles[1].scripts["fr"].url == "s3://b/two.srt"
    assert read(tmp_path, "c.jsonl", "\n".join(map(json.dumps, ROWS)) + "\n\n") == titles
    assert read(tmp_path, "c.csv", CSV) == titles
    assert read(tmp_path, "c.csv", "\ufeff" + CSV.replace("\n", "\r\n")) == titles
    assert read(tmp_path, "c.YML", json.dumps(ROWS)) == titles


def test_parquet_may_hold_maps_structs_and_lists(tmp_path: Path) -> None:
    text = pa.string()
    source = pa.struct([("url", text), ("encoding", text)])
    table = pa.table(
        {
            "id": ["one", "two"],
            "media": ["/m/one.mp4", None],
            "cast": pa.array([[("Anna", "f1"), ("Bob", "m2@40")], None], pa.map_(text, text)),
            "languages": pa.array([["fr"], None], pa.list_(text)),
            "script.fr": ["one.fr.srt", "s3://b/two.srt"],
            "scripts": pa.array(
                [{"de": {"url": "one.de.srt", "encoding": "cp1252"}, "it": None}, None],
                pa.struct([("de", source), ("it", source)]),
            ),
        }
    )
    assert read(tmp_path, "c.parquet", parquet(table)) == read(tmp_path, "c.yaml", YAML)


def test_a_number_in_parquet_is_text_as_an_id(tmp_path: Path) -> None:
    assert read(tmp_path, "c.parquet", parquet(pa.table({"id": [7], "script.fr": ["a.srt"]})))[0].id == "7"


def test_a_line_separator_within_json_ends_no_row(tmp_path: Path) -> None:
    row = {"id": "a", "scripts": {"fr": "a.srt"}, "cast": {"A\u2028B\x85": "m1"}}
    assert list(read(tmp_path, "c.jsonl", json.dumps(row, ensure_ascii=False))[0].cast) == ["A\u2028B\x85"]


def test_ids_are_brought_to_nfc(tmp_path: Path) -> None:
    row = {"id": unicodedata.normalize("NFD", "été"), "scripts": {"fr": "a.srt"}}
    assert read(tmp_path, "c.jsonl", json.dumps(row))[0].id == "été"


@pytest.mark.parametrize(
    ("path", "base", "found"),
    [
        ("a.srt", "/lists/c.yaml", "/lists/a.srt"),
        ("../a.srt", "/lists/c.yaml", "/a.srt"),
        ("/x/a.srt", "/lists/c.yaml", "/x/a.srt"),
        ("s3://b/a.srt", "/lists/c.yaml", "s3://b/a.srt"),
        ("a.srt", "s3://b/lists/c.yaml", "s3://b/lists/a.srt"),
        ("../a.srt", "s3://b/lists/c.yaml", "s3://b/a.srt"),
        ("fr/a.srt", "s3://b/c.yaml", "s3://b/fr/a.srt"),
        ("a.srt", "file:///lists/c.yaml", "file:///lists/a.srt"),
        ("a.srt", "memory://lists/c.yaml", "memory://lists/a.srt"),
    ],
)
def test_paths_are_taken_from_where_the_catalogue_is(path: str, base: str, found: str) -> None:
    assert resolve(path, base) == found


UNSAFE = "expected a name of 1 to 200 bytes without separators, control characters or spaces at its ends"
DEEP = "lists and objects too deep within each other"
NO = 'found the truth value false, expected text; YAML reads a bare no, yes, on and off so: write it in quotes, "no"'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.xlsx", "", "c.xlsx: found the ending '.xlsx', expected a .yaml, .yml, .jsonl, .csv or .parquet file"),
        ("c", "", "c: found the ending '', expected a .yaml, .yml, .jsonl, .csv or .parquet file"),
        ("c.yaml", "", "c.yaml: titles: found NoneType, expected a list"),
        ("c.yaml", "titles: 3", "c.yaml: titles: found int, expected a list"),
        ("c.yaml", "titles: []", "c.yaml: found no titles, expected at least one"),
        ("c.yaml", "titels: []", "c.yaml: found the keys titels, expected the key titles alone"),
        ("c.yaml", "titles: [", "c.yaml:1: found expected the node content, but found '<stream end>', expected YAML"),
        ("c.yaml", "- {scripts: {fr: a}}", "c.yaml: titles[0]: id: found nothing, expected this key"),
        ("c.yaml", "- {id: a}", "c.yaml: titles[0]: scripts: found nothing, expected this key"),
        (
            "c.yaml",
            "- {id: a, scripts: {}}",
            "c.yaml: titles[0]: scripts: found none, expected a script for at least one language",
        ),
        (
            "c.yaml",
            "- {id: a, scripts: {fr: x}, lang: fr}",
            "c.yaml: titles[0]: lang: found an unknown key, expected one of cast, id, languages, media, scripts",
        ),
        (
            "c.yaml",
            "- {id: a, scripts: {fr: {url: x, enc: y}}}",
            "c.yaml: titles[0]: scripts.fr.enc: found an unknown key, expected one of encoding, url",
        ),
        ("c.yaml", "- {id: a, scripts: {no: x}}", f"c.yaml: titles[0]: scripts.0.[key]: {NO}"),
        ("c.yaml", "- {id: a, scripts: {fr: x}, languages: [no]}", f"c.yaml: titles[0]: languages.0: {NO}"),
        ("c.yaml", "- {id: no, scripts: {fr: x}}", f"c.yaml: titles[0]: id: {NO}"),
        ("c.yaml", "- {id: ../x, scripts: {fr: x}}", f"c.yaml: titles[0]: id: found '../x', {UNSAFE}"),
        ("c.yaml", "- {id: a, scripts: {a/b: x}}", f"c.yaml: titles[0]: scripts.a/b.[key]: found 'a/b', {UNSAFE}"),
        (
            "c.yaml",
            "- {id: takes, scripts: {fr: x}}",
            "c.yaml: titles[0]: id: found 'takes', which is a name that the output folder keeps for itself",
        ),
        (
            "c.yaml",
            "- {id: a, scripts: {fr: x}}\n- {id: a, scripts: {fr: y}}",
            "c.yaml: titles[1]: id: found 'a', which c.yaml: titles[0] has as well, expected an id of its own",
        ),
        (
            "c.yaml",
            "- {id: \u00e9, scripts: {fr: x}}\n- {id: e\u0301, scripts: {fr: y}}",
            "c.yaml: titles[1]: id: found '\u00e9', which c.yaml: titles[0] has as well, expected an id of its own",
        ),
        (
            "c.jsonl",
            '{"id": "a", "scripts": {"fr": "x"}}\n{"id":\n',
            "c.jsonl:2: found Expecting value: line 1 column 7 (char 6), expected one JSON object a line",
        ),
        ("c.jsonl", "\n[1]\n", "c.jsonl:2: the entry: found [1], expected a valid dictionary or instance of Title"),
        (
            "c.jsonl",
            b'{"id": "\xff"}',
            "c.jsonl:1: found 'utf-8' codec can't decode byte 0xff in position 8: invalid start "
            "byte, expected one JSON object a line",
        ),
        ("c.jsonl", "[" * 100_000, f"c.jsonl:1: found {DEEP}, expected one JSON object a line"),
        ("c.jsonl", '{"id": "a\\u0007", "scripts": {"fr": "x"}}', f"c.jsonl:1: id: found 'a\\x07', {UNSAFE}"),
        ("c.jsonl", '{"id": "\\ud800", "scripts": {"fr": "x"}}', f"c.jsonl:1: id: found '\\ud800', {UNSAFE}"),
        ("c.jsonl", "", "c.jsonl: found no titles, expected at least one"),
        ("c.csv", "id,script.fr\n", "c.csv: found no titles, expected at least one"),
        ("c.csv", "id,script.fr\na,x\nb,y,z,z\n", "c.csv:3: found 2 more cells than the header has, expected as many"),
        ("c.csv", 'id,script.fr\na,x\nb,"y\n', "c.csv:3: found unexpected end of data, expected CSV"),
        ("c.csv", b"id,script.fr\n\xff,x\n", "c.csv: found a byte that is not UTF-8 at 13, expected CSV in UTF-8"),
        (
            "c.csv",
            "id,script.fr,cast\na,x,Anna\n",
            "c.csv:2: cast: found 'Anna' (Expecting value: line 1 column 1 (char 0)), expected JSON",
        ),
        (
            "c.csv",
            f"id,script.fr,cast\na,x,{'[' * 100_000}\n",
            f"c.csv:2: cast: found '{'[' * 60}' ({DEEP}), expected JSON",
        ),
        ("c.csv", 'id,script.fr,cast\na,x,"[1, 2]"\n', "c.csv:2: cast: found [1, 2], expected a valid dictionary"),
        ("c.csv", 'id,scripts,script.fr\na,"""x""",x\n', "c.csv:2: scripts: found 'x', expected a valid dictionary"),
        (
            "c.csv",
            "id,scripts.fr\na,x\n",
            "c.csv:2: scripts.fr: found an unknown key, expected one of cast, id, languages, media, scripts",
        ),
        ("c.csv", "id,script.fr\na,\n", "c.csv:2: scripts: found none, expected a script for at least one language"),
        ("c.parquet", b"PAR1", "c.parquet: found "),
        (
            "c.parquet",
            parquet(pa.table({"id": ["a/b"], "script.fr": ["x"]})),
            f"c.parquet: row 1: id: found 'a/b', {UNSAFE}",
        ),
    ],
)
def test_a_refusal_names_the_row_the_key_what_was_found_and_what_is_expected(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    found = refusal(tmp_path, name, content)
    if message.endswith("found "):  # the library's own words follow
        assert found.startswith(message)
        assert found.endswith(", expected Parquet")
    else:
        assert found == message


def test_a_missing_catalogue_is_named(tmp_path: Path) -> None:
    job = Job(name="test", catalogue=f"{tmp_path}/nope.csv", output="out")
    with pytest.raises(ConfigError) as caught:
        read_catalogue(job)
    assert str(caught.value) == f"{tmp_path}/nope.csv: found no such file, expected the catalogue"


@pytest.mark.parametrize("id", ["..", ".", "a/b", "a\\b", ".tmp", "jobs", "", "a\u0000"])
def test_no_id_leads_out_of_the_output_folder(tmp_path: Path, id: str) -> None:
    row: dict[str, Any] = {"id": id, "scripts": {"fr": "x"}}
    assert refusal(tmp_path, "c.jsonl", json.dumps(row)).startswith("c.jsonl:1: id: found ")
    row = {"id": "a", "scripts": {id: "x"}}
    assert refusal(tmp_path, "c.jsonl", json.dumps(row)).startswith(f"c.jsonl:1: scripts.{id}.[key]: found ")
