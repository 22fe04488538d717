"""Where a checkpoint is: a folder, or a pinned revision of a model of the hub."""

import re
from pathlib import Path

from pipeline.engines.higgs.checkpoint import tensor_files
from pipeline.engines.options import wrong

LICENCE = (
    "Higgs Audio is not free software. v3 is under the Boson Higgs TTS 3 Research and Non-Commercial License: research "
    "and non-commercial use; a Creator Use Grant lets creators publish with attribution to Boson AI; cloning a voice "
    "without consent is prohibited. v2 is under the Boson Higgs Audio 2 Community License"
)
HUB = "https://huggingface.co"
PATIENCE = 10.0  # seconds for the hub's first answer
WANTED = ("*.json", "*.jinja", "*.safetensors", "LICENSE*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")


def locate(model: str, revision: str, option: str = "model") -> Path | None:
    """The folder of a model, or None where it is still to be fetched. ValueError names the wrong option.

    A model of the hub needs a revision that cannot move. Its folder is that of the local cache, where all of it is
    there; nothing is asked over the network.
    """
    folder = Path(model).expanduser()
    if model and folder.is_dir():
        return folder
    if not _ID.fullmatch(model):
        raise wrong(option, repr(model), "a checkpoint folder that is there, or a model of the hub such as owner/name")
    if not _COMMIT.fullmatch(revision):
        raise wrong(
            "revision", repr(revision) if revision else "nothing",
            f"the commit of {model} to use, 40 hexadecimal digits from {HUB}/{model}/commits/main "
            f"(there is no folder {model} here)",
        )  # fmt: skip
    return _cached(model, revision)


def fetch(model: str, revision: str, accepted: bool) -> Path:
    """Download a revision to the local cache, and show the licence.

    ValueError where the licence is not accepted; RuntimeError, within seconds, where the hub does not give the model.
    """
    if accepted is not True:
        raise wrong("accept_licence", repr(accepted), f"true, if you accept it, to have {model} downloaded. {LICENCE}")
    try:
        from huggingface_hub import HfApi, snapshot_download
    except ImportError:
        raise _not_fetched(model, revision, "huggingface_hub is not installed") from None
    print(f"{LICENCE}. Downloading {model} at {revision}", flush=True)
    try:
        HfApi().model_info(model, revision=revision, timeout=PATIENCE)  # asked once: a download asks for half a minute
        snapshot_download(model, revision=revision, allow_patterns=list(WANTED), etag_timeout=PATIENCE)
    except Exception as error:  # of the hub's client, of one of two HTTP libraries, or of the disk
        raise _not_fetched(model, revision, _reason(model, error)) from error
    if folder := _cached(model, revision):
        return folder
    raise _not_fetched(model, revision, "it has no config.json, tokenizer.json and safetensors")


def _cached(model: str, revision: str) -> Path | None:
    """The folder in the local cache; None where files are missing, as after a download that broke off."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    config = try_to_load_from_cache(model, "config.json", revision=revision)
    if not isinstance(config, str):  # not there, or known not to exist
        return None
    folder = Path(config).parent
    try:
        tensor_files(folder)
    except ValueError:
        return None
    return folder if (folder / "tokenizer.json").is_file() else None


def _reason(model: str, error: Exception) -> str:
    """Why the hub does not give a model, in a few words."""
    from huggingface_hub import errors

    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the hub has no such revision"
    refused = isinstance(error, errors.HfHubHTTPError) and error.response.status_code in (401, 403)
    if refused or isinstance(error, errors.RepositoryNotFoundError):  # it says 401 for a model that is not there, too
        return f"the hub does not show it; accept its terms at {HUB}/{model} and set a valid HF_TOKEN on the workers"
    return " ".join(str(error).split())[:200] or type(error).__name__


def _not_fetched(model: str, revision: str, reason: str) -> RuntimeError:
    return RuntimeError(
        f"{model} at {revision} cannot be downloaded: {reason}; get it where that works, by hf download {model} "
        f"--revision {revision} --local-dir FOLDER, and give FOLDER as engine.options.model"
    )
