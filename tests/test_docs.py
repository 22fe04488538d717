"""The documents name every command, option and key, and what the README shows runs."""

import re
import subprocess
import sys
from pathlib import Path
from types import UnionType
from typing import Union, get_args, get_origin

import pytest
import typer
from pydantic import BaseModel

from pipeline.cli import app
from pipeline.config import Job, ScriptSource, Title
from pipeline.report.track import figures

ROOT = Path(__file__).parent.parent
DUB = str(Path(sys.executable).with_name("dub"))


def read(name: str) -> str:
    return (ROOT / name).read_text()


def keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if get_origin(inner) in (Union, UnionType):  # Model | None
            inner = get_args(inner)[0]
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found += keys(inner, f"{prefix}{name}.")
        else:
            found.append(f"{prefix}{name}")
    return found


def test_every_command_and_option_is_documented() -> None:
    text = read("docs/commands.md")
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        assert f"`dub {name}" in text
        assert not hasattr(command, "commands") or all(f"`dub {name} {inner}" in text for inner in command.commands)
        for parameter in [p for part in (command, *getattr(command, "commands", {}).values()) for p in part.params]:
            for option in parameter.opts:
                assert not option.startswith("--") or f"`{option}`" in text, f"dub {name} {option}"


@pytest.mark.parametrize("key", keys(Job) + keys(Title) + keys(ScriptSource, "scripts.*."))
def test_every_key_is_documented(key: str) -> None:
    assert f"`{key}`" in read("docs/job-file.md")


def test_every_documented_key_exists() -> None:
    rows = re.findall(r"^\| `([a-z_.*]+)` \|", read("docs/job-file.md"), re.MULTILINE)
    assert set(rows) - {"engine", "watermark", "consent", "blocklist", "disclosure", "rules"} == set(
        keys(Job) + keys(Title) + keys(ScriptSource, "scripts.*.")
    )


def test_every_figure_is_documented() -> None:
    level = {"loudness": -23.0, "true_peak": -3.0, "gain": 0.0, "limited": False, "watermark_p": None}
    from pipeline.plan import TrackPlan

    report = figures(TrackPlan(title="a", language="fr"), [], level, 48000, 0)
    text = read("docs/output.md")
    for name in set(report["figures"]) - {"seconds", "utterances", "spoken_seconds", "gain_db"}:
        assert f"`{name}`" in text


def test_links_lead_somewhere() -> None:
    for path in [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("cluster/*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
            assert link.startswith("http") or (path.parent / link).exists(), f"{path.name}: {link}"


def test_the_readme_runs(tmp_path: Path) -> None:
    text = read("README.md")
    for name, body in re.findall(r"```yaml\n# (\S+)\n(.*?)```", text, re.DOTALL):
        (tmp_path / name).write_text(body)
    for language in ("fr", "ar"):
        script = (ROOT / f"configs/demo/lighthouse.{language}.vtt").read_text()
        (tmp_path / f"lighthouse.{language}.vtt").write_text(script)
    commands = re.search(r"```bash\n(dub .*?)```", text, re.DOTALL)
    assert commands
    for line in commands.group(1).splitlines():
        words = line.partition("#")[0].split()
        done = subprocess.run([DUB, *words[1:]], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, line + done.stderr
    assert sorted(path.name for path in (tmp_path / "dubs/lighthouse/fr").iterdir()) == [
        "dub.flac", "dub.srt", "manifest.json", "report.json",
    ]  # fmt: skip
