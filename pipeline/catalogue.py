"""The catalogue: titles in YAML, JSONL, CSV or Parquet at any URL."""

import codecs
import csv
import io
import posixpath
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq

from pipeline.config import Job, Title
from pipeline.parse import ConfigError, check, parse_yaml
from pipeline.store import from_json, read_file, resolve

EXPECTED = "a .yaml, .yml, .jsonl, .csv or .parquet file"


def read_catalogue(job: Job) -> list[Title]:
    """The titles of a job, in the catalogue's order, script and media URLs made absolute.

    A table has the columns `id`, `media`, `cast`, `languages` (JSON, or `fr;de`) and one `script.<language>` a
    language. Raises ConfigError that names the row and the key.
    """
    url = job.catalogue
    try:
        data = read_file(url, job.storage_options)
    except FileNotFoundError:
        raise ConfigError(f"{url}: found no such file, expected the catalogue") from None
    rows = _rows(url, data)
    titles: list[Title] = []
    places: dict[str, str] = {}
    for place, row in rows:
        title = _title(row, place, url)
        if title.id in places:
            raise ConfigError(
                f"{place}: id: found {title.id!r}, which {places[title.id]} has as well, expected an id of its own"
            )
        places[title.id] = place
        titles.append(title)
    if not titles:
        raise ConfigError(f"{url}: found no titles, expected at least one")
    return titles


def _rows(url: str, data: bytes) -> list[tuple[str, Any]]:
    suffix = posixpath.splitext(url.rsplit("?", 1)[0])[1].lower()
    if suffix in (".yaml", ".yml"):
        raw = parse_yaml(url, data)
        entries = raw.get("titles") if isinstance(raw, dict) else raw
        if isinstance(raw, dict) and set(raw) != {"titles"}:
            raise ConfigError(f"{url}: found the keys {', '.join(map(str, raw))}, expected the key titles alone")
        if not isinstance(entries, list):
            raise ConfigError(f"{url}: titles: found {type(entries).__name__}, expected a list")
        return [(f"{url}: titles[{n}]", entry) for n, entry in enumerate(entries)]
    if suffix == ".jsonl":
        return list(_jsonl(url, data))
    if suffix == ".csv":
        return list(_csv(url, data))
    if suffix == ".parquet":
        try:
            table = pq.read_table(io.BytesIO(data)).to_pylist()
        except (OSError, ValueError) as error:
            raise ConfigError(f"{url}: found {error}, expected Parquet") from error
        return [(f"{url}: row {n + 1}", _cells(row, f"{url}: row {n + 1}")) for n, row in enumerate(table)]
    raise ConfigError(f"{url}: found the ending {suffix!r}, expected {EXPECTED}")


def _csv(url: str, data: bytes) -> Iterator[tuple[str, Any]]:
    try:
        file = io.StringIO(data.decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{url}: found a byte that is not UTF-8 at {error.start}, expected CSV in UTF-8") from error
    reader = csv.DictReader(file, strict=True)
    try:
        columns = list(reader.fieldnames or [])
        if len(set(columns)) < len(columns):
            raise ConfigError(f"{url}:1: found the columns {', '.join(columns)}, expected each of them once")
        for row in reader:
            yield f"{url}:{reader.line_num}", _cells(row, f"{url}:{reader.line_num}")
    except csv.Error as error:
        raise ConfigError(f"{url}:{reader.reader.line_num}: found {error}, expected CSV") from error


def _jsonl(url: str, data: bytes) -> Iterator[tuple[str, Any]]:
    for n, line in enumerate(data.removeprefix(codecs.BOM_UTF8).split(b"\n"), 1):
        if line.strip():
            try:
                yield f"{url}:{n}", from_json(line.decode())
            except ValueError as error:
                raise ConfigError(f"{url}:{n}: found {error}, expected one JSON object a line") from error


def _cells(row: dict[str, Any], place: str) -> dict[str, Any]:
    """A table's row as a title: `script.fr` columns gathered, empty cells left out."""
    title: dict[str, Any] = {}
    scripts: dict[str, Any] = {}
    for column, cell in row.items():
        if cell is None or cell == "":
            continue
        if column is None:
            raise ConfigError(f"{place}: found {len(cell)} more cells than the header has, expected as many")
        if column.startswith("script."):
            scripts[column.removeprefix("script.")] = cell
        elif column in ("cast", "scripts") and isinstance(cell, str):
            title[column] = _json(cell, f"{place}: {column}")
        elif column == "languages" and isinstance(cell, str):
            title[column] = [part.strip() for part in cell.split(";") if part.strip()]
        else:
            title[column] = cell
    for column in ("cast", "scripts"):  # Parquet gives a map as pairs, or a struct with empty fields
        if isinstance(title.get(column), list) and all(isinstance(pair, tuple) for pair in title[column]):
            title[column] = dict(title[column])
        if isinstance(title.get(column), dict):
            title[column] = {k: v for k, v in title[column].items() if v is not None}
    if isinstance(title.setdefault("scripts", {}), dict):
        title["scripts"] = {**title["scripts"], **scripts}
    return title


def _json(cell: str, place: str) -> Any:
    try:
        return from_json(cell)
    except ValueError as error:
        raise ConfigError(f"{place}: found {cell[:60]!r} ({error}), expected JSON") from error


def _title(raw: Any, place: str, url: str) -> Title:
    if isinstance(raw, dict) and isinstance(raw.get("scripts"), dict):
        raw = {
            **raw,
            "scripts": {k: {"url": v} if isinstance(v, str) else v for k, v in raw["scripts"].items()},
        }
    title: Title = check(Title, raw, place)
    if not title.scripts:
        raise ConfigError(f"{place}: scripts: found none, expected a script for at least one language")
    scripts = {k: s.model_copy(update={"url": resolve(s.url, url)}) for k, s in title.scripts.items()}
    media = resolve(title.media, url) if title.media else None
    return title.model_copy(update={"scripts": scripts, "media": media})
