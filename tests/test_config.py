"""The job file: what is taken, what is refused, and what the refusal teaches."""

import unicodedata
from pathlib import Path

import pytest

from pipeline.config import Job, load_job, segment
from pipeline.parse import ConfigError

BASE = "name: test\ncatalogue: catalogue.yaml\noutput: out\n"


def load(folder: Path, text: str | bytes) -> Job:
    (folder / "job.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_job(str(folder / "job.yaml"))


def refusal(folder: Path, text: str | bytes) -> str:
    """The message, without the path of the file in front of each row."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    place = str(folder / "job.yaml")
    rows = str(caught.value).split("\n")
    assert all(row.startswith(place) for row in rows)
    return "\n".join(row.removeprefix(place).removeprefix(": ") for row in rows)


def test_a_job_needs_three_keys_and_has_defaults_for_the_rest(tmp_path: Path) -> None:
    job = load(tmp_path, BASE)
    assert (job.name, job.engine.name, job.default_voice, job.languages) == ("test", "espeak", "auto", None)
    assert (job.delivery.format, job.delivery.rate, job.delivery.bits, job.delivery.loudness) == (
        "flac",
        48000,
        24,
        -23.0,
    )
    assert (job.fit.guard, job.fit.max_rate, job.fit.max_stretch, job.speak.tries) == (0.05, 1.3, 1.3, 3)


def test_paths_are_taken_from_where_the_job_file_is(tmp_path: Path) -> None:
    job = load(tmp_path, "name: test\ncatalogue: ../lists/a.csv\noutput: s3://bucket/out\n")
    assert (job.catalogue, job.output) == (str(tmp_path.parent / "lists/a.csv"), "s3://bucket/out")


def test_an_engine_may_be_named_alone(tmp_path: Path) -> None:
    assert load(tmp_path, BASE + "engine: espeak").engine == load(tmp_path, BASE + "engine: {name: espeak}").engine


def test_a_byte_order_mark_is_no_part_of_the_job(tmp_path: Path) -> None:
    assert load(tmp_path, b"\xef\xbb\xbf" + BASE.encode()).name == "test"


def test_a_missing_job_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_job(str(tmp_path / "nope.yaml"))
    assert str(caught.value) == f"{tmp_path}/nope.yaml: found no such file, expected a job file"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found NoneType, expected a mapping with name, catalogue and output"),
        ("- a\n- b", "found list, expected a mapping with name, catalogue and output"),
        (b"name: \xff", "found a byte that is not UTF-8 at 6, expected UTF-8"),
        (BASE + "languages: [fr", ":4: found expected ',' or ']', but got '<stream end>', expected YAML"),
        (BASE + "languages: 2026-02-30", ":4: found '2026-02-30', which is no timestamp, expected YAML"),
        (
            BASE + "storage_options: &a {a: *a}",
            "storage_options: found what JSON cannot hold (Circular reference detected), expected text as keys and "
            "text, numbers, lists",
        ),
        ("name: test", "catalogue: found nothing, expected this key\noutput: found nothing, expected this key"),
        (
            BASE + "languages: [fr, no]",
            "languages.1: found the truth value false, expected text; YAML reads a bare no, yes, "
            'on and off so: write it in quotes, "no"',
        ),
        (BASE + "languages: fr", "languages: found 'fr', expected a valid list"),
        (
            BASE + "delivery: {format: ogg}",
            "delivery.format: found 'ogg', expected 'flac', 'wav', 'opus', 'mp3' or 'm4a'",
        ),
        (BASE + "delivery: {rate: 4000}", "delivery.rate: found 4000, expected greater than or equal to 8000"),
        (
            BASE + "delivery: {formt: wav}",
            "delivery.formt: found an unknown key, expected one of bitrate, bits, format, loudness, rate, true_peak",
        ),
        (BASE + "fit: {guard: -1}", "fit.guard: found -1, expected greater than or equal to 0"),
        (
            BASE + "fit: {guard: soon}",
            "fit.guard: found 'soon', expected a valid number, unable to parse string as a number",
        ),
        (BASE + "speak: {tries: 0}", "speak.tries: found 0, expected greater than or equal to 1"),
        (
            BASE + "default_voice: off",
            "default_voice: found the truth value false, expected text; YAML reads a bare no, yes, "
            'on and off so: write it in quotes, "no"',
        ),
        (
            "name: ../x\ncatalogue: c\noutput: o",
            "name: found '../x', expected a name of 1 to 200 bytes without "
            "separators, control characters or spaces at its ends",
        ),
    ],
)
def test_a_refusal_names_the_key_what_was_found_and_what_is_expected(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    assert refusal(tmp_path, text).removeprefix(":") == message.removeprefix(":")


def test_an_unknown_key_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    known = ", ".join(sorted(Job.model_fields))
    assert "consent, default_voice" in known
    assert refusal(tmp_path, BASE + "ouput: x") == f"ouput: found an unknown key, expected one of {known}"


def test_all_wrong_keys_are_told_at_once(tmp_path: Path) -> None:
    rows = refusal(tmp_path, BASE + "delivery: {bits: 8}\nfit: {max_rate: 9}\nspeed: 2").split("\n")
    assert [row.split(":")[0] for row in rows] == ["delivery.bits", "fit.max_rate", "speed"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "...",
        "../x",
        "a/b",
        "a\\b",
        "/a",
        "a\nb",
        "a\x00b",
        "a\x7f",
        "a\x85b",
        "\ud800",
        " a",
        "a ",
        "x" * 201,
    ],
)
def test_a_name_that_is_no_safe_part_of_a_path_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected a name of 1 to 200 bytes") as caught:
        segment(name)
    assert repr(unicodedata.normalize("NFC", name)) in str(caught.value)


@pytest.mark.parametrize("name", ["takes", "jobs", ".tmp", ".hidden"])
def test_the_output_folder_keeps_some_names_for_itself(name: str) -> None:
    with pytest.raises(ValueError, match="which is a name that the output folder keeps for itself"):
        segment(name)


@pytest.mark.parametrize("name", ["a", "Film 1", "été", "映画", "a.b", "a..b", "-", "x" * 200, "Takes", "what?"])
def test_other_names_are_left_as_they_are(name: str) -> None:
    assert segment(name) == name


def test_names_are_brought_to_nfc() -> None:
    assert segment("e\u0301te\u0301") == "été"


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("name: a\ncatalogue: c.yaml\noutput: o\nname: b\n")
    with pytest.raises(ConfigError, match=r"job.yaml:4: found the key 'name' for the second time, expected YAML"):
        load_job(str(path))


def test_a_name_is_measured_in_bytes_as_file_systems_do() -> None:
    assert segment("名" * 66) == "名" * 66
    with pytest.raises(ValueError, match="1 to 200 bytes"):
        segment("名" * 67)
