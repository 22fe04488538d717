"""`dub voices`: the voices file, and the clips that voices are cloned from."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import soundfile
import typer
import yaml

from pipeline.config import load_voices, segment
from pipeline.consents import clips as clips_of
from pipeline.guard import guarded
from pipeline.inputs import change_file, file_bytes, file_hash, new_file, trusted_key
from pipeline.parse import ConfigError, parse_yaml
from pipeline.report import tables
from pipeline.safety.blocklist import built_in
from pipeline.voices.consent import ConsentError, cover, read_consent
from pipeline.voices.encoder import EMBEDDED, open_encoder, unity
from pipeline.voices.reference import RATE, Reference, read_reference

voices = typer.Typer(no_args_is_help=True, help="Check, add and list voices to clone.")

VoicesFile = Annotated[str, typer.Argument(metavar="VOICES", help="The voices file.")]


@voices.command("list")
@guarded
def list_command(file: VoicesFile) -> int:
    """List the voices of a voices file."""
    found = load_voices(file)
    made = tables.table(f"{len(found)} voices of {file}", "voice", "language", "clip", "consent")
    for name, entry in found.items():
        made.add_row(name, entry.get("language", ""), entry["clip"], entry.get("consent", "none"))
    tables.console().print(made)
    return 0


@voices.command()
@guarded
def check(
    file: VoicesFile,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these voices.")] = None,
    issuers: Annotated[list[str] | None, typer.Option("--issuer", help="Whose consents are trusted.")] = None,
) -> int:
    """Measure the clips of voices, and check their consents: 0 all can be cloned, 3 some cannot, with the reasons."""
    found = load_voices(file)
    for name in names or []:
        if name not in found:
            raise ConfigError(f"NAME: found {name!r}, expected one of {', '.join(found)}")
    trusted, bad = [trusted_key("--issuer", text) for text in issuers or []], False
    for name in names or found:
        for told in _wrong(name, found[name], trusted):
            print(f"{name}: {told}")
            bad = True
    if not bad:
        print(
            f"{len(names or found)} voices can be cloned" + ("" if trusted else "; consents were not checked: --issuer")
        )
    return 3 if bad else 0


@voices.command()
@guarded
def add(
    file: VoicesFile,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The voice's name, as casts will say it.")],
    recording: Annotated[str, typer.Option("--clip", help="A recording of the voice: a path or URL.")],
    text: Annotated[str, typer.Option(help="What is said in it, where it is ten seconds or less.")] = "",
    language: Annotated[str, typer.Option(help="The language that is spoken in it.")] = "",
) -> int:
    """Judge a recording, cut its best three to ten seconds into a clip beside the voices file, and enter the voice."""
    path = Path(file)
    try:
        segment(name)  # it becomes the name of a file
    except ValueError as error:
        raise ConfigError(f"NAME: {error}") from None
    if "@" in name:
        raise ConfigError(f"NAME: found {name!r}, expected a name without @")
    _vacant(path, name)
    try:
        found = read_reference(recording)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--clip: found {recording}, which cannot be read ({error}), expected a recording") from error
    if found.chosen and text:
        raise ConfigError(f"--text: found a text for all {found.recording:.0f} s of {recording}, expected none: of a "
                          "long recording the best seconds are chosen; write what they say into the file")  # fmt: skip
    wrong = [f"{told}, expected {limit}" for told, limit in found.faults().values()] + _two(found)
    if wrong:
        print("\n".join(f"refused: {recording}: found {told}" for told in wrong))
        return 3
    clip = path.with_name(f"{name}.wav")
    entry = {k: v for k, v in (("clip", clip.name), ("text", text), ("language", language)) if v}

    def enter(old: bytes | None) -> bytes:
        _vacant(path, name)  # another command may have entered it meanwhile
        entered = _entered(path, old, name, entry)
        new_file(str(clip), lambda: soundfile.write(_fresh(clip), found.samples, RATE, subtype="PCM_24", format="WAV"))
        return entered

    new_file(file, lambda: change_file(file, enter))
    print(f"{clip}: {found.seconds:.1f} s from {found.start:.1f} s on; {_measures(found)}")
    print(
        f"next: dub consent new {name}.json --voice {name} --clip {clip} ...; then its record under consent in {file}"
    )
    return 0


def _wrong(name: str, entry: dict[str, Any], trusted: list[str]) -> Iterator[str]:
    for path in clips_of(entry).values():
        try:
            found = read_reference(path)
        except (OSError, ValueError) as error:
            yield f"{path}: found {error}, expected audio"
            continue
        for fault, (told, limit) in found.faults().items():
            if fault not in entry.get("accept", ()):
                yield f"{path}: found {told}, expected {limit} ({fault})"
        yield from (f"{path}: found {told}" for told in _two(found))
    if trusted:
        yield from _consent(name, entry, trusted)


def _consent(name: str, entry: dict[str, Any], trusted: list[str]) -> Iterator[str]:
    try:
        if "consent" not in entry:
            raise ConsentError("missing", "found no consent, expected a record")
        record = read_consent(file_bytes("consent", entry["consent"]), trusted, time.time())
        cover(record, voice=name, clips=[file_hash("clip", path) for path in clips_of(entry).values()],
              purpose=record.purposes[0], language=record.languages[0], title=record.titles[0])  # fmt: skip
    except (ConsentError, ConfigError) as error:
        yield str(error)


def _two(found: Reference) -> list[str]:
    """Whether two people speak in a clip, by the embedded encoder and its calibration."""
    try:
        encoder = open_encoder(EMBEDDED)
    except ValueError:
        return []  # plan will say that it is missing, where it is needed
    try:
        alike = unity(encoder.pieces(found.samples, RATE))
    except ValueError as error:
        return [str(error).removeprefix("found ")]
    least = built_in().together
    return [f"parts that are alike by {alike:.2f}, expected one speaker, {least:.2f} or more"] if alike < least else []


def _measures(found: Reference) -> str:
    return (f"speech at {found.level:.0f} dBFS, {found.noise:.0f} dB above the noise, {found.silence:.0%} silence, "
            f"{found.clipped:.2%} clipped")  # fmt: skip


def _fresh(path: Path) -> Any:
    return open(path, "xb")


def _vacant(path: Path, name: str) -> None:
    if path.exists() and name in load_voices(str(path)):
        raise ConfigError(f"NAME: found {name!r}, which is in {path} already, expected a new name")


def _entered(path: Path, old: bytes | None, name: str, entry: dict[str, str]) -> bytes:
    """The file with a voice appended, as text, so that what a person wrote in it stays as it is."""
    made = yaml.safe_dump({name: entry}, allow_unicode=True, sort_keys=False)
    lines = "".join(f"  {line}\n" for line in made.splitlines())
    before = b"voices:\n" if old is None else old
    new = (before if before.endswith(b"\n") else before + b"\n") + lines.encode()
    with contextlib.suppress(ConfigError, TypeError, KeyError):
        if parse_yaml(str(path), new)["voices"][name] == entry:
            return new
    raise ConfigError(f"{path}: found a file that a voice cannot be added to, expected its voices by name, two spaces "
                      f"in; write it there yourself:\n{lines}")  # fmt: skip
