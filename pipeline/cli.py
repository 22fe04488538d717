"""The `dub` command."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.audit import Trail
from pipeline.catalogue import read_catalogue
from pipeline.cli_blocklist import blocklist
from pipeline.cli_consent import consent
from pipeline.cli_rules import rules
from pipeline.cli_voices import voices
from pipeline.config import Job, load_job
from pipeline.engines import open_engine
from pipeline.guard import guarded
from pipeline.lock import read_lock
from pipeline.parse import ConfigError
from pipeline.plan import notes as engine_notes
from pipeline.report import tables
from pipeline.report.progress import Reporter
from pipeline.store import Store, from_json
from pipeline.survey import Track, survey, unique_takes
from pipeline.watermark.keys import VARIABLE, Key, read_keys, write_key

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)

keys = typer.Typer(no_args_is_help=True, help="Make watermark keys.")
app.add_typer(keys, name="keys")
app.add_typer(rules, name="rules")
app.add_typer(voices, name="voices")
app.add_typer(consent, name="consent")
app.add_typer(blocklist, name="blocklist")

audit = typer.Typer(no_args_is_help=True, help="Read and check the audit trail of a job.")
app.add_typer(audit, name="audit")

JobFile = Annotated[str, typer.Argument(metavar="JOB", help="The job file: a path or URL.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for machines instead of tables.")]
Address = Annotated[str | None, typer.Option(help="A Ray cluster to run on; a local one is started without it.")]


@app.callback()
def main() -> None:
    """Dub a catalogue: scripts in, timed dubbed tracks out."""


@app.command()
@guarded
def plan(job: JobFile, as_json: AsJson = False) -> int:
    """Show what a job would do: titles, lines, takes, hours, duplicates, refusals. Nothing is spoken or written."""
    loaded = load_job(job)
    store = Store(loaded.output, loaded.storage_options)
    with tempfile.TemporaryDirectory(prefix="dub-plan-") as folder:
        rows = Path(folder) / "plan.parquet"
        tracks = list(survey(loaded, read_catalogue(loaded), store, rows))
        takes, shared = unique_takes(rows)
    failed = _problems(tracks)
    if as_json:
        found = [{k: v for k, v in asdict(track).items() if k != "manifest"} for track in tracks]
        notes = engine_notes(loaded)
        print(json.dumps({"job": loaded.name, "takes": takes, "duplicates": shared, "notes": notes, "tracks": found}))
        return 3 if failed else 0
    console = tables.console()
    tables.show_plan(console, tracks, takes, shared, loaded.name)
    notes = [*engine_notes(loaded), *(note for track in tracks for note in track.notes[:3])]
    for note in dict.fromkeys(notes):
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    tables.show_failed(console, failed)
    return 3 if failed else 0


@app.command()
@guarded
def run(job: JobFile, as_json: AsJson = False, address: Address = None) -> int:
    """Bring a job's tracks up to date. Run it again after any interruption: what is finished is kept."""
    from pipeline.run import run as run_job  # Ray takes seconds to import, and only this command needs it

    loaded = load_job(job)
    console = tables.console()
    with Reporter(console, as_json=as_json) as reporter:
        summary = run_job(loaded, address=address, watch=reporter)
    if as_json:
        print(json.dumps({"event": "summary", **asdict(summary)}))
    else:
        tables.show_summary(console, summary, loaded.output)
        tables.show_failed(console, summary.failed)
    return summary.exit_code


@app.command()
@guarded
def status(job: JobFile, as_json: AsJson = False) -> int:
    """Show how far a job is: which tracks are delivered, how many takes exist, who runs it now."""
    loaded = load_job(job)
    store = Store(loaded.output, loaded.storage_options)
    tracks = list(survey(loaded, read_catalogue(loaded), store))
    done = sum(track.state == "delivered" for track in tracks)
    lock = read_lock(store, loaded.name)
    facts: dict[str, Any] = {
        "job": loaded.name,
        "tracks": len(tracks),
        "delivered": done,
        "refused": sum(track.state == "refused" for track in tracks),
        "takes": len(store.sizes("takes")),
        "running": f"{lock['host']}, process {lock['pid']}" if lock else None,
        "todo": [track.name for track in tracks if track.state == "todo"],
    }
    if as_json:
        print(json.dumps(facts))
        return 0
    running = f"run by {facts['running']}" if lock else "not running"
    counts = (
        f"{done} of {len(tracks)} tracks delivered, {facts['refused']} refused, {facts['takes']} takes in the store"
    )
    print(f"{loaded.name}: {counts}; {running}")
    for name in facts["todo"][: tables.ROWS]:
        print(f"  to do: {name}")
    return 0


@app.command()
@guarded
def failed(job: JobFile, as_json: AsJson = False) -> int:
    """List what the last run could not do, each with its place in the source."""
    loaded = load_job(job)
    rows = _read_failed(loaded)
    if as_json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
    elif rows:
        tables.show_failed(tables.console(), rows)
    else:
        print(f"{loaded.name}: nothing failed in the last run, or it was never run")
    return 3 if rows else 0


@app.command()
@guarded
def languages(
    engine: Annotated[str, typer.Option(help="The engine, as in a job file.")] = "espeak",
    as_json: AsJson = False,
) -> int:
    """List the languages that an engine speaks, and voices for speakers that no cast names."""
    try:
        speaker = open_engine(engine, {})
    except ValueError as error:
        raise ConfigError(str(error)) from error
    offered = dict(speaker.languages())
    if as_json:
        print(json.dumps({"engine": engine, "languages": offered, "voices": list(speaker.own_voices())}))
        return 0
    made = tables.table(f"{len(offered)} languages of {engine}", "tag", "language")
    for tag, name in offered.items():
        made.add_row(tag, name)
    tables.console().print(made)
    print(f"\nvoices: {', '.join(speaker.own_voices())}")
    return 0


@keys.command()
@guarded
def new(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to write it; must not exist.")],
) -> int:
    """Make a watermark key: 32 random bytes in a file that only you can read. Only its public name is shown."""
    key = Key.new()
    try:
        write_key(file, key)
    except FileExistsError:
        raise ConfigError(f"{file}: found a file there, expected none: a key is never overwritten") from None
    except OSError as error:
        raise ConfigError(f"{file}: found {error.strerror}, expected a folder to write to") from None
    print(f"key {key.name} written to {file}; keep it secret, and keep it: without it no mark is found")
    return 0


@app.command()
@guarded
def detect(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Audio or video: paths or URLs.")],
    keys: Annotated[str | None, typer.Option(help=f"A file of keys; without it {VARIABLE} is read.")] = None,
    search: Annotated[str, typer.Option(help="fast, or forensic: also at another pace or pitch.")] = "fast",
    threshold: Annotated[float, typer.Option(help="The p-value under which a file counts as marked.")] = 1e-9,
    output: Annotated[str | None, typer.Option(help="An output folder whose manifests name the tracks.")] = None,
    as_json: AsJson = False,
) -> int:
    """Look for watermarks: 0 all marked, 4 some are not, 3 some could not be read."""
    from pipeline.evidence import examine, look_up
    from pipeline.report import marks
    from pipeline.watermark.detect import SEARCHES

    if search not in SEARCHES:
        raise ConfigError(f"--search: found {search!r}, expected one of {', '.join(SEARCHES)}")
    if not 0 < threshold < 1:
        raise ConfigError(f"--threshold: found {threshold}, expected a p-value between 0 and 1, such as 1e-9")
    known = _detecting_keys(keys)
    evidence, unmarked = [], 0
    for file in files:
        found = examine(file, known, search=search, threshold=threshold)
        evidence += found
        unmarked += not any(stream.marked for stream in found)
        if as_json:
            for stream in found:
                print(json.dumps(stream.as_dict()), flush=True)
    if not as_json:
        tracks = {e.findings[0].payload.hex()[4:] for e in evidence if e.marked and e.findings[0].payload}
        titles = look_up(Store(output), tracks) if output and tracks else {}
        marks.show(tables.console(), evidence, titles)
        for track in sorted(tracks - titles.keys()) if output else []:
            print(f"{output}: no manifest of track {track} there")
    return 3 if any(e.error for e in evidence) else 4 if unmarked else 0


def _detecting_keys(source: str | None) -> list[Key]:
    try:
        found = read_keys(source)
    except (FileNotFoundError, IsADirectoryError):
        raise ConfigError(f"--keys: found no file {source}, expected one that dub keys new made") from None
    except (ValueError, OSError) as error:
        raise ConfigError(f"--keys: {error}") from None
    if not found:
        raise ConfigError(f"found no key, expected --keys FILE or keys in the environment variable {VARIABLE}")
    return found


@audit.command()
@guarded
def show(job: JobFile, as_json: AsJson = False) -> int:
    """List who did what to a job's output, when, and why."""
    loaded = load_job(job)
    entries = list(Trail(Store(loaded.output, loaded.storage_options), loaded.name).entries())
    if as_json:
        for entry in entries:
            print(json.dumps(entry, ensure_ascii=False))
        return 0
    made = tables.table(f"{len(entries)} entries of {loaded.name}", "when", "who", "what", "about", "hash")
    for entry in entries:
        cells = entry["when"], entry["who"], entry["what"], tables.about(entry["about"]), entry["hash"][:16]
        made.add_row(*map(tables.visible, cells))
    tables.console().print(made)
    return 0


@audit.command()
@guarded
def verify(
    job: JobFile,
    head: Annotated[str | None, typer.Option(help="The head that verify gave earlier: it must be there still.")] = None,
) -> int:
    """Check that no entry was altered, taken out or put in: 0 the chain holds, 3 it does not."""
    loaded = load_job(job)
    trail = Trail(Store(loaded.output, loaded.storage_options), loaded.name)
    if head and (len(head) < 16 or not set(head) <= set("0123456789abcdef")):
        raise ConfigError(f"--head: found {head!r}, expected at least 16 hexadecimal digits")
    for fault in (faults := trail.faults(head)):
        print(fault)
    if not faults:
        print(f"{loaded.name}: the chain holds; head {trail.head() or 'none, as nothing was written'}")
    return 3 if faults else 0


def _problems(tracks: list[Track]) -> list[dict[str, Any]]:
    where = [({"stage": "plan", "title": t.title, "language": t.language}, t.problems) for t in tracks]
    return [{**place, **problem} for place, problems in where for problem in problems]


def _read_failed(job: Job) -> list[dict[str, Any]]:
    store, name = Store(job.output, job.storage_options), f"jobs/{job.name}/failed.jsonl"
    try:
        lines = store.read(name).splitlines()  # as bytes: a text may hold a line separator of Unicode
    except FileNotFoundError:
        return []
    rows = []
    for n, line in enumerate(lines, 1):
        place = f"{store.show(name)}:{n}"
        try:
            row = from_json(line)
        except ValueError as error:
            raise ConfigError(f"{place}: found {error}, expected a line that dub run wrote") from error
        if not isinstance(row, dict) or not set(tables.FAILED) <= set(row):
            raise ConfigError(
                f"{place}: found a line without {', '.join(tables.FAILED)}, expected one that dub run wrote"
            )
        rows.append(row)
    return rows
