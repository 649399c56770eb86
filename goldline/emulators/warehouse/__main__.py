"""Command of the server: `python -m goldline.emulators.warehouse --host HOST --port P --grpc-port G --data-dir D`.

The flags are those of local-bigquery (`--help`). STORAGE_EMULATOR_HOST names the lake's server.
The server is ready when GET /bigquery/v2/projects answers.
"""

import os
import sys

from goldline.emulators.warehouse import upstream

PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def main() -> None:
    """Patch upstream and run it until it is stopped."""
    upstream.check_versions()
    # All servers are on this machine; with these variables DuckDB would read the lake through a proxy.
    for name in PROXIES:
        os.environ.pop(name, None)
        os.environ.pop(name.upper(), None)

    from local_bigquery import cli
    from local_bigquery.settings import settings

    from goldline.emulators.warehouse import (
        casts,
        extensions,
        external,
        external_ddl,
        lookups,
        objects,
        partitions,
        rebuilds,
        server,
        startup,
        storage,
        transactions,
    )
    from goldline.emulators.warehouse import duckdb_catalog as catalog
    from goldline.emulators.warehouse import table_schemas as schemas

    settings.bigquery_host = "127.0.0.1"  # upstream's default is all addresses
    settings.gcs_local_root = None  # else exports break the bucket's listing
    # The order counts where several replace one name: what is installed last is called first.
    modules = (
        extensions,
        objects,
        catalog,
        startup,
        storage,
        transactions,
        schemas,
        partitions,
        rebuilds,
        external,
        external_ddl,
        casts,
        lookups,
    )
    for module in (*modules, server):
        module.install()
    code = 0
    try:
        cli.main()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    server.leave(code)


if __name__ == "__main__":
    main()
