"""The obvious way to make the generators' records: a loop, Faker and json.dumps, one record at a time.

Fields and kinds of distributions are the same: lengths and actions of sessions, shares of late, repeated and broken
lines. Ids, addresses, agents, names and dates come from Faker.
"""

import datetime
import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faker import Faker

from components.clickstream.generate_clickstream import site, visits
from components.startups.generate_startups import startup_lines as startups
from components.startups.generate_startups import startup_register as register
from goldline.privacy.pseudonym import Key

Json = dict[str, Any]
DAY = datetime.datetime(2026, 11, 20, tzinfo=datetime.UTC)
SECOND = datetime.timedelta(seconds=1)


def clickstream(records: int, path: Path) -> None:
    """Write about so many events of a day as .jsonl.gz, at the generator's compression level."""
    Faker.seed(7)
    random.seed(7)
    fake = Faker()
    made: list[tuple[datetime.datetime, Json]] = []
    while len(made) < records:
        made.extend(_session(fake))
    made.sort(key=lambda event: event[0])
    with gzip.open(path, "wt", compresslevel=1, encoding="utf-8") as file:
        file.writelines(_sent(event for _, event in made))


def startups_load(records: int, path: Path) -> None:
    """Write so many startups as .jsonl."""
    Faker.seed(7)
    random.seed(7)
    fake = Faker()
    key = Key("1", bytes(32))
    with path.open("w", encoding="utf-8") as file:
        file.writelines(_sent(_startup(fake, key, number) for number in range(records)))


def _sent(records: Iterator[Json]) -> Iterator[str]:
    """Lines of the records; some come twice, some come broken off before."""
    for record in records:
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"
        if random.random() < visits.CUT:
            yield line[: random.randrange(20, len(line) - 2)] + "\n"
        yield line
        if random.random() < visits.REPEATED:
            yield line


def _session(fake: Faker) -> Iterator[tuple[datetime.datetime, Json]]:
    length = random.choices(range(1, visits.LENGTH_MAX + 1), visits.LENGTHS)[0]
    source = random.choices(site.SOURCES, [s.weight for s in site.SOURCES])[0]
    device = random.choices(site.DEVICES, [d.weight for d in site.DEVICES])[0]
    visitor, session = fake.uuid4(), fake.uuid4()
    address, country = fake.ipv4_private(), fake.country_code()
    customer = f"c{random.randrange(2000):05d}" if random.random() < 0.3 else None
    converts = length >= visits.CONVERSION_LENGTH and random.random() < visits.CONVERTS
    moment = DAY + SECOND * random.randrange(86_400)
    before, before_domain = source.referrer, source.referrer_domain
    for place in range(length):
        deed, query = _deed(fake, place, length, converts=converts, source=source)
        page = site.url(deed.path, query)
        arrival = moment + SECOND * random.random() * (300 if random.random() < visits.SLOW else 2)
        yield (
            arrival,
            {
                "event_id": fake.uuid4(),
                "event_timestamp": _iso(moment),
                "visitor_id": visitor,
                "session_id": session,
                "customer_id": customer,
                "event_type": deed.type,
                "page_url": page,
                "page_path": deed.path,
                "referrer_url": before,
                "referrer_domain": before_domain,
                "utm_source": source.source,
                "utm_medium": source.medium,
                "utm_campaign": source.campaign,
                "is_bounce": length == 1,
                "device": {
                    "type": device.type,
                    "os": device.os,
                    "browser": device.browser,
                    "user_agent": fake.user_agent(),
                },
                "device_type_category": device.category,
                "geo": {"country": country},
                "ip_address": address,
                "properties": _order(fake) if deed.type == "purchase" else deed.properties,
                "load_timestamp": _iso(arrival),
                "schema_version": 1,
            },
        )
        before, before_domain = site.url(deed.path), site.SITE
        moment += SECOND * min(max(random.lognormvariate(3, 1.4), 0.5), 1500)


def _deed(fake: Faker, place: int, length: int, *, converts: bool, source: site.Source) -> tuple[site.Deed, str]:
    if place == 0:
        return random.choices(site.VIEWS, [d.weight for d in site.VIEWS])[0], source.query
    if converts and place == length - 1:
        return site.PURCHASE, ""
    if converts and place == length - 2:
        return random.choices(site.ADDITIONS, [d.weight for d in site.ADDITIONS])[0], ""
    deed = random.choices(site.MIDST, [d.weight for d in site.MIDST])[0]
    return deed, f"?email={fake.email()}" if deed is site.CONFIRMATION else deed.query


def _order(fake: Faker) -> Json:
    lines = [
        site.line_of(random.choice(site.GOODS), random.randint(1, 4)) for _ in range(random.choice((1, 1, 1, 2, 3)))
    ]
    value = round(sum(line["quantity"] * line["unit_price"] for line in lines), 2)
    pieces = sum(line["quantity"] for line in lines)
    return {"order_id": fake.uuid4(), "value": value, "currency": "EUR", "quantity": pieces, "cart": lines}


def _startup(fake: Faker, key: Key, number: int) -> Json:
    stage = random.choices(range(len(register.STAGES)), range(len(register.STAGES), 0, -1))[0]
    funding = sum(int(raised * (1 + random.random())) for raised in register.RAISES[: stage + 1])
    valuation = int(funding * random.uniform(2.5, 6.5))
    bucket = [name for least, name in startups.BUCKETS.items() if valuation >= least][-1]
    founded = fake.date_between("-15y", "-3y")
    updated = fake.date_time_between("-3y", "now", tzinfo=datetime.UTC)
    loaded = DAY + datetime.timedelta(hours=25, seconds=random.random() * 3600)
    return {
        "startup_id": f"st{number:06d}",
        "name": fake.company(),
        "sector": random.choice(startups.SECTORS),
        "country": fake.country_code(),
        "city": fake.city(),
        "founded_on": founded.isoformat(),
        "funding_stage": register.STAGES[stage],
        "funding_stage_score": stage + 1,
        "valuation_usd": valuation,
        "valuation_bucket": bucket,
        "total_funding_usd": funding,
        "employees": 2 + funding // 400_000 + random.randrange(40),
        "contact_email_cleaned": key.pseudonym(fake.company_email().strip().lower()),
        "is_active": True,
        "change_type": "full",
        "effective_on": updated.date().isoformat(),
        "updated_at": _iso(updated),
        "source_url": f"https://register.example/startups/st{number:06d}",
        "load_timestamp": _iso(loaded),
        "schema_version": 1,
    }


def _iso(moment: datetime.datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
