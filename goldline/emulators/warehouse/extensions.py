"""DuckDB's extensions from installed Python packages, without the internet."""

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
    """File of an extension, which must be made for the installed version of DuckDB.

    Raises:
        UpstreamChangedError: there is none.
    """
    package = f"duckdb_extension_{name}"
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or []:
        file = Path(folder) / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        if file.exists():
            return file
    raise UpstreamChangedError(f"package {package} holds no extension for DuckDB {duckdb.__version__}")


def connect(database: str = ":memory:", config: dict[str, Any] | None = None) -> Connection:
    """Connection like duckdb.connect's, with the time zone set last, after the extension icu that it needs."""
    options = dict(config or {})
    zone = options.pop("TimeZone", None)
    con = _connect(database, config=options)
    con.execute("SET autoinstall_known_extensions = false; SET autoload_known_extensions = false")
    con.execute(f"SET extension_directory = '{settings.data_dir / 'extensions'}'")
    _link(con)
    # By default DuckDB spills into the current folder.
    con.execute(f"SET temp_directory = '{settings.data_dir / 'tmp'}'")
    # An overwritten file must be read again, even within a second, which is as fine as Last-Modified is.
    con.execute("SET enable_external_file_cache = false")
    for name in NAMES:
        con.execute(f"LOAD {name}")
    if secret := objects.secret():
        con.execute(secret)
    if zone:
        con.execute(f"SET TimeZone = '{zone}'")
    return con


def _link(con: Connection) -> None:
    """Link the extensions to where DuckDB installs them, so that upstream's INSTALL spatial downloads nothing."""
    [(platform,)] = con.execute("PRAGMA platform").fetchall()
    folder = settings.data_dir / "extensions" / f"v{duckdb.__version__}" / platform
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        source, link = path(name), folder / f"{name}.duckdb_extension"
        if not (link.is_symlink() and link.readlink() == source):  # another environment's may be gone
            link.unlink(missing_ok=True)
            link.symlink_to(source)


def install() -> None:
    """Replace duckdb.connect: upstream sets the time zone before icu is loaded, and allows downloads."""
    replace(duckdb, "connect", connect)
