"""`dub consent`: records of who allowed a voice to be cloned."""

import json
import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from pipeline.guard import guarded
from pipeline.inputs import change_file, day, file_bytes, file_hash, new_file, signing_key, trusted_key, write_new
from pipeline.parse import ConfigError
from pipeline.signing import SignatureError, SigningKey, parse
from pipeline.store import pretty
from pipeline.voices.consent import Consent, ConsentError, cover, phrase, read_consent, read_revocations
from pipeline.voices.consent import revoke as revoked

consent = typer.Typer(no_args_is_help=True, help="Record, sign, check and revoke consent to clone a voice.")

KeyFile = Annotated[str, typer.Option("--key", help="The issuer's signing key: a file that dub consent key made.")]


@consent.command()
@guarded
def key(file: Annotated[str, typer.Argument(metavar="FILE", help="Where to write it; must not exist.")]) -> int:
    """Make an issuer's signing key in a file that only you can read, and show the public key that jobs trust."""
    made = SigningKey.new()
    new_file(file, lambda: made.write(file))
    print(made.public)
    return 0


@consent.command()
@guarded
def new(
    draft: Annotated[str, typer.Argument(metavar="DRAFT", help="Where to write the draft; must not exist.")],
    voice: Annotated[str, typer.Option(help="The voice's name in job files.")],
    subject: Annotated[str, typer.Option(help="Whose voice it is.")],
    to: Annotated[str, typer.Option(help="Who may use it.")],
    clips: Annotated[list[str], typer.Option("--clip", help="A reference clip: a path or URL. Again for each.")],
    until: Annotated[str, typer.Option(help="The day it ends, such as 2027-11-24.")],
    since: Annotated[str, typer.Option(help="The day it begins; today without it.")] = "",
    granted_by: Annotated[str, typer.Option(help="Who signs for the subject; the subject without it.")] = "",
    purposes: Annotated[list[str] | None, typer.Option("--purpose", help="dubbing without it.")] = None,
    languages: Annotated[list[str] | None, typer.Option("--language", help="A language; all without it.")] = None,
    titles: Annotated[list[str] | None, typer.Option("--title", help="A title's id; all without it.")] = None,
) -> int:
    """Draft a consent and show the words that the person must speak into a recording."""
    words = phrase(subject, to)
    body = {
        "voice": voice, "subject": subject, "granted_by": granted_by or subject, "purposes": purposes or ["dubbing"],
        "languages": languages or ["*"], "titles": titles or ["*"],
        "not_before": day("--since", since or datetime.now(UTC).strftime("%Y-%m-%d")),
        "not_after": day("--until", until), "clips": [file_hash("--clip", clip) for clip in clips],
        "statement": "", "phrase": words,
    }  # fmt: skip
    write_new(draft, pretty(body))
    print(f"draft written to {draft}; record these words, then sign it with the recording:\n\n  {words}")
    return 0


@consent.command()
@guarded
def sign(
    draft: Annotated[str, typer.Argument(metavar="DRAFT", help="A draft that dub consent new made.")],
    record: Annotated[str, typer.Argument(metavar="RECORD", help="Where to write the record; must not exist.")],
    statement: Annotated[str, typer.Option(help="The recording of the words: a path or URL.")],
    key: KeyFile,
) -> int:
    """Sign a draft together with the recording of the spoken words."""
    try:
        body = parse(file_bytes("DRAFT", draft))
        made = Consent.parse({**body, "statement": file_hash("--statement", statement)})
    except (SignatureError, ConsentError) as error:
        raise ConfigError(f"{draft}: {error}") from error
    write_new(record, made.sign(signing_key(key)))
    print(f"consent {made.id} written to {record}")
    return 0


@consent.command()
@guarded
def verify(
    record: Annotated[str, typer.Argument(metavar="RECORD", help="The record: a path or URL.")],
    issuers: Annotated[list[str], typer.Option("--issuer", help="A public key that is trusted. Again for each.")],
    clips: Annotated[list[str] | None, typer.Option("--clip", help="A clip that it must name.")] = None,
    statement: Annotated[str, typer.Option(help="The recording that it must name.")] = "",
    purpose: Annotated[str, typer.Option(help="A purpose that it must allow.")] = "",
    language: Annotated[str, typer.Option(help="A language that it must allow.")] = "",
    title: Annotated[str, typer.Option(help="A title that it must allow.")] = "",
    revocations: Annotated[str, typer.Option(help="A list of revoked consents: a path or URL.")] = "",
) -> int:
    """Check a record: 0 it holds, 3 it does not, with the reason."""
    trusted = [trusted_key("--issuer", text) for text in issuers]
    try:
        found = read_consent(file_bytes("RECORD", record), trusted, time.time())
        if revocations and found.id in read_revocations(file_bytes("--revocations", revocations), trusted)[1]:
            raise ConsentError("revoked", f"found the consent {found.id}, which was revoked")
        if statement and file_hash("--statement", statement) != found.statement:
            raise ConsentError("clip", f"found a recording in {statement} that the consent does not name")
        cover(
            found, voice=found.voice, clips=[file_hash("--clip", clip) for clip in clips or []] or found.clips,
            purpose=purpose or found.purposes[0], language=language or found.languages[0],
            title=title or found.titles[0],
        )  # fmt: skip
    except ConsentError as error:
        print(f"refused ({error.reason}): {error}")
        return 3
    print(json.dumps({"id": found.id, **found.body()}, ensure_ascii=False, indent=1))
    return 0


@consent.command()
@guarded
def revoke(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Consents, as verify and manifests name them.")],
    revocations: Annotated[str, typer.Option(help="The list: a file on this machine, made where there is none.")],
    key: KeyFile,
    why: Annotated[str, typer.Option(help="The reason, for those who read the list.")] = "",
) -> int:
    """Put consents on a signed list of revocations. Jobs that run see it within a minute."""
    signer, now = signing_key(key), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        data = change_file(revocations, lambda old: revoked(old, signer, ids, why, now))
    except (ConsentError, OSError) as error:
        raise ConfigError(f"--revocations {revocations}: {error}") from error
    print(f"{revocations}: {len(json.loads(data)['body']['revoked'])} consents revoked")
    return 0
