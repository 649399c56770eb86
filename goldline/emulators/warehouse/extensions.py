"""DuckDB without the internet: extensions come from the packages that pip installed."""

import importlib.util
from pathlib import Path
from typing import Any

import duckdb
from local_bigquery.settings import settings

from goldline.emulators.warehouse import objects
from goldline.emulators.warehouse.upstream import Connection, UpstreamChangedError, replace

NAMES = ("icu", "httpfs", "spatial", "ducklake")

_connect = duckdb.connect


def path(name: str) -> Path:
    """The extension's file, which must be of DuckDB's very version."""
    package = f"duckdb_extension_{name}"
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or []:
        file = Path(folder) / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        if file.exists():
            return file
    raise UpstreamChangedError(f"package {package} holds no extension for DuckDB {duckdb.__version__}")


def connect(database: str = ":memory:", config: dict[str, Any] | None = None) -> Connection:
    """As duckdb.connect; time zone last, as it is icu that knows time zones."""
    options = dict(config or {})
    zone = options.pop("TimeZone", None)
    con = _connect(database, config=options)
    con.execute("SET autoinstall_known_extensions = false; SET autoload_known_extensions = false")
    con.execute(f"SET extension_directory = '{settings.data_dir / 'extensions'}'")
    _link(con)
    # DuckDB would spill into the folder that the server was started in.
    con.execute(f"SET temp_directory = '{settings.data_dir / 'tmp'}'")
    # A file written again under its name must be read anew, also within the second that Last-Modified tells apart.
    con.execute("SET enable_external_file_cache = false")
    for name in NAMES:
        con.execute(f"LOAD {name}")
    if secret := objects.secret():
        con.execute(secret)
    if zone:
        con.execute(f"SET TimeZone = '{zone}'")
    return con


def _link(con: Connection) -> None:
    """Makes the extensions look installed: upstream's SQL says INSTALL spatial, which then downloads nothing."""
    [(platform,)] = con.execute("PRAGMA platform").fetchall()
    folder = settings.data_dir / "extensions" / f"v{duckdb.__version__}" / platform
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        source, link = path(name), folder / f"{name}.duckdb_extension"
        if not (link.is_symlink() and link.readlink() == source):  # another environment's may be gone
            link.unlink(missing_ok=True)
            link.symlink_to(source)


def install() -> None:
    """Replaces duckdb.connect: upstream gives it the time zone before icu is there, and lets it download."""
    replace(duckdb, "connect", connect)
