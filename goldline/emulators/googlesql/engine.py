"""Engine: ZetaSQL's WebAssembly module, compiled once, then loaded from a cache on disk in milliseconds.

The package's own client compiles the module at every start (10-20 s) and copies messages byte by byte. It has no hook
for either, so this is another client: wasmtime's public API around the package's module and its messages.
"""

import ctypes
import fcntl
import platform
import re
import tempfile
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import wasmtime
from google.protobuf.message import Message
from zetasql.wasi import get_wasm_path

# The module's interface has no version of its own: these are the exports that the calls below rely on.
EXPORTS = ("memory", "_initialize", "wasm_malloc", "wasm_free", "wasm_get_last_error", "wasm_get_last_error_size")
SIZE_BYTES = 4


class EngineError(RuntimeError):
    """ZetaSQL refused a call."""


class EngineCrashError(RuntimeError):
    """The module trapped, and its memory is in an undefined state: start another engine."""


def default_cache() -> Path:
    """Default folder of the compiled module: .goldline/cache in the current folder."""
    return Path(".goldline") / "cache"


class Engine:
    """One running instance of the module. It is not thread-safe; instances share the compiled code."""

    def __init__(self, cache_folder: Path) -> None:
        engine, module = _module(cache_folder)
        wasi = wasmtime.WasiConfig()
        wasi.preopen_dir(str(files("tzdata") / "zoneinfo"), "/usr/share/zoneinfo")
        self._store = wasmtime.Store(engine)
        self._store.set_wasi(wasi)
        linker = wasmtime.Linker(engine)
        linker.define_wasi()
        self._exports: Any = linker.instantiate(self._store, module).exports(self._store)
        if missing := [name for name in EXPORTS if name not in self._exports]:
            raise RuntimeError(
                f"zetasql {version('zetasql')}: the module no longer exports {', '.join(missing)}; "
                "goldline/emulators/googlesql/engine.py was written for 0.1.5"
            )
        self._memory: Any = self._exports["memory"]
        self._export("_initialize")

    def call[M: Message](self, method: str, request: Message, response: type[M]) -> M:
        """Call a method of ZetaSQL's local service.

        Raises:
            EngineError: the service refused the request.
            EngineCrashError: the module trapped and must not be used again.
        """
        try:
            return response.FromString(self._exchange(f"ZetaSqlLocalService_{method}", request.SerializeToString()))
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            raise EngineCrashError(_cause(str(error))) from error

    def _exchange(self, name: str, request: bytes) -> bytes:
        sent = self._export("wasm_malloc", len(request))
        size = self._export("wasm_malloc", SIZE_BYTES)
        ctypes.memmove(self._base() + sent, request, len(request))
        answer = self._export(name, sent, len(request), size)
        try:
            if not answer:
                raise _refusal(self._read(self._export("wasm_get_last_error"), self._last_error_size()).decode())
            received = self._read(answer, int.from_bytes(self._read(size, SIZE_BYTES), "little"))
            self._export("wasm_free", answer)
            return received
        finally:
            self._export("wasm_free", sent)
            self._export("wasm_free", size)

    def _export(self, name: str, *arguments: int) -> int:
        result: int | None = self._exports[name](self._store, *arguments)
        return (result or 0) & 0xFFFFFFFF  # addresses come as signed 32-bit integers

    def _last_error_size(self) -> int:
        return self._export("wasm_get_last_error_size")

    def _base(self) -> int:
        # Read each time: the memory may have grown and moved.
        return ctypes.addressof(self._memory.data_ptr().contents)

    def _read(self, address: int, size: int) -> bytes:
        return ctypes.string_at(self._base() + address, size)


def _cause(report: str) -> str:
    """Cause of a trap in its report, without the backtrace."""
    found = re.search(r"wasm trap: .*", report)
    return found[0] if found else report.splitlines()[0]


def _refusal(text: str) -> EngineError:
    found = re.fullmatch(r"Code: \d+, Message: (.*)", text, re.DOTALL)
    return EngineError(found[1] if found else text)


@cache
def _module(folder: Path) -> tuple[wasmtime.Engine, wasmtime.Module]:
    config = wasmtime.Config()
    config.shared_memory = True  # the module imports its memory as shared
    engine = wasmtime.Engine(config)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"zetasql-{version('zetasql')}-wasmtime-{version('wasmtime')}-{platform.system()}-{platform.machine()}"
    path = folder / f"{name}.cwasm"
    # A second process waits for the first one's compilation: it takes seconds of every core and 900 MB.
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            try:
                return engine, wasmtime.Module.deserialize_file(engine, str(path))
            except wasmtime.WasmtimeError:
                path.unlink()  # compiled for another kind of processor, or damaged
        module = wasmtime.Module.from_file(engine, get_wasm_path())
        _write_whole(path, bytes(module.serialize()))
    return engine, module


def _write_whole(path: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
        part.write(content)
    Path(part.name).replace(path)
