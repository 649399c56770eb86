"""Looks for what the simulated shop's documents tell of persons in what a run leaves behind."""

import io
from collections.abc import Iterable, Iterator
from hashlib import sha256

import pyarrow.parquet as pq

from components.sales.generate_sales.world import World
from goldline.clients import storage_client
from goldline.local.servers import PROJECT


def kinds(world: World) -> dict[str, set[str]]:
    """All personal values of a world, by kind. The application's hash of an e-mail address is one: it has no key."""
    people = world.customers
    return {
        "name": {c.name for c in people},
        "street": {home.street for c in people for home in c.homes},
        "phone": {c.phone for c in people},
        "e-mail": {c.email for c in people},
        "e-mail, hashed": {sha256(c.email.encode()).hexdigest() for c in people},
        "card": {c.card for c in people},
    }


def found(world: World, texts: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """The kinds of personal values that stand in texts, by the name of each text that holds any."""
    personal = kinds(world)
    hits = {
        where: {kind for kind, values in personal.items() if any(v in text for v in values)} for where, text in texts
    }
    return {where: of for where, of in hits.items() if of}


def lake_texts(bucket: str) -> Iterator[tuple[str, str]]:
    """All objects of a bucket, Parquet read as rows."""
    for blob in storage_client(PROJECT).list_blobs(bucket):
        content = blob.download_as_bytes()
        if blob.name.endswith(".parquet"):
            yield blob.name, str(pq.read_table(io.BytesIO(content)).to_pylist())
        else:
            yield blob.name, content.decode(errors="replace")
