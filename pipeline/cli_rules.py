"""`dub rules`: hold a script against the rules, and override them as a reviewer."""

import hashlib
import json
from typing import Annotated

import typer

from pipeline.guard import guarded
from pipeline.inputs import day, file_bytes, signing_key, write_new
from pipeline.model import InputError
from pipeline.parse import ConfigError
from pipeline.plan import spoken_of
from pipeline.readers import read_script
from pipeline.safety.override import Override
from pipeline.safety.rules import Hit, pack
from pipeline.safety.rules import check as hits
from pipeline.text.join import join

rules = typer.Typer(no_args_is_help=True, help="Hold scripts against the rules, and override them.")

Script = Annotated[str, typer.Argument(metavar="SCRIPT", help="The script: a path or URL.")]
Language = Annotated[str, typer.Option(help="The language that it is in, such as de.")]


@rules.command()
@guarded
def check(
    script: Script,
    language: Language,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON for each rule.")] = False,
) -> int:
    """Show what of a script the rules refuse: 0 nothing, 3 some, with the lines."""
    found = _hits(script, language)
    for hit in found:
        if as_json:
            print(json.dumps({"rule": hit.rule, "severity": hit.severity, "lines": hit.places, "texts": hit.texts},
                             ensure_ascii=False))  # fmt: skip
            continue
        print(f"{hit.rule} ({hit.severity})")
        for place, text in zip(hit.places, hit.texts, strict=True):
            print(f"  {script}:{place}: {text}")
    if not found and not as_json:
        print(f"{script}: no rule is met{'' if pack(language) else f'; there are none of {language}'}")
    return 3 if any(hit.severity == "block" for hit in found) else 0


@rules.command()
@guarded
def override(
    script: Script,
    record: Annotated[str, typer.Argument(metavar="OVERRIDE", help="Where to write it; must not exist.")],
    language: Language,
    rule: Annotated[list[str], typer.Option(help="The id of a rule that shall not refuse it. Again for each.")],
    reviewer: Annotated[str, typer.Option(help="Who read the script.")],
    why: Annotated[str, typer.Option(help="Why it may be spoken.")],
    until: Annotated[str, typer.Option(help="The day it ends, such as 2027-11-24.")],
    key: Annotated[str, typer.Option("--key", help="The reviewer's signing key: a file that dub consent key made.")],
) -> int:
    """Sign that this very script may be spoken although these rules refuse it. Jobs name it under rules.overrides."""
    met = {hit.rule for hit in _hits(script, language) if hit.severity == "block"}
    if stranger := sorted(set(rule) - met):
        expected = (
            f"one that refuses the script: {', '.join(sorted(met))}" if met else "none: no rule refuses the script"
        )
        raise ConfigError(f"--rule: found {stranger[0]!r}, expected {expected}")
    if not reviewer.strip() or not why.strip():
        raise ConfigError(f"--{'why' if reviewer.strip() else 'reviewer'}: found nothing, expected words")
    made = Override(script=hashlib.sha256(file_bytes("SCRIPT", script)).hexdigest(), rules=tuple(sorted(set(rule))),
                    reviewer=reviewer, why=why, not_after=day("--until", until))  # fmt: skip
    write_new(record, made.sign(signing_key(key)))
    print(f"override {made.id} of {', '.join(made.rules)} written to {record}")
    return 0


def _hits(script: str, language: str) -> list[Hit]:
    """As a plan finds them: over whole sentences, in the packs of all languages."""
    try:
        lines = read_script(script, file_bytes("SCRIPT", script)).lines
    except InputError as error:
        raise ConfigError(str(error)) from error
    return hits([(said.place, said.text) for said in join(spoken_of(lines, set(), False), language)], language)
