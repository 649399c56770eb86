"""Site of the simulated shop: pages, actions of visitors, traffic sources and devices.

Their JSON is prepared here once as text, and taken by number. Products and prices are those of generate_sales.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from components.simulation.products import PRODUCTS
from components.simulation.text import members

SITE = "shop.example"
QUANTITY_MAX = 3  # most pieces of a product that are added to the cart at once

Json = dict[str, Any]


@dataclass(frozen=True)
class Product:
    """Product of the shop; `price` is in cents."""

    name: str
    category: str
    price: int

    @property
    def sku(self) -> str:
        """Stock keeping unit."""
        return self.name.upper()[:3]

    @property
    def path(self) -> str:
        """Path of its page."""
        return f"/p/{self.name.lower()}"


@dataclass(frozen=True)
class Source:
    """Traffic source of a session: referrer and utm tags of its first event; `weight` is its relative frequency."""

    weight: int
    referrer: str | None
    source: str | None = None
    medium: str | None = None
    campaign: str | None = None

    @property
    def referrer_domain(self) -> str | None:
        """The referrer's host without `www.`, as the tracker derives it."""
        return self.referrer and self.referrer.split("/")[2].removeprefix("www.")

    @property
    def query(self) -> str:
        """Query string of the link, with its question mark; empty without tags."""
        tags = {"utm_source": self.source, "utm_medium": self.medium, "utm_campaign": self.campaign}
        found = "&".join(f"{name}={value}" for name, value in tags.items() if value)
        return f"?{found}" if found else ""


@dataclass(frozen=True)
class Device:
    """Device of a visitor; `weight` is its relative frequency."""

    weight: int
    type: str
    os: str
    browser: str
    user_agent: str

    @property
    def category(self) -> str:
        """Device category as the tracker derives it: mobile, tablet, desktop or other."""
        return CATEGORIES_OF_DEVICES.get(self.type, "other")


@dataclass(frozen=True)
class Deed:
    """Action of a visitor: the part of an event that depends neither on the visitor nor on the time.

    Attributes:
        path: path of its page.
        query: query string of the page's URL, with its question mark.
        weight: relative frequency in the middle of a session.
    """

    type: str
    path: str
    properties: Json
    weight: int = 0
    query: str = ""

    @property
    def text(self) -> str:
        """JSON members of its lines."""
        return members(event_type=self.type, page_url=url(self.path, self.query), page_path=self.path)


CATEGORIES_OF_DEVICES = {"smartphone": "mobile", "phablet": "mobile", "tablet": "tablet", "pc": "desktop"}
GOODS = [Product(name, category, round(price * 100)) for name, category, price in PRODUCTS]
COUNTRIES = {"PT": 30, "NO": 12, "AT": 14, "BE": 12, "FI": 9, "IT": 13, "CZ": 10}
TERMS = ["tent", "lamp", "kettle", "novel", "headset", "Zelt für zwei", "saco-cama", "čajník", "atlas of the world"]

SOURCES = (
    Source(30, None),
    Source(26, "https://www.google.com/"),
    Source(5, "https://www.bing.com/search"),
    Source(9, "https://www.google.com/", "google", "cpc", "autumn_sale"),
    Source(6, "https://www.google.com/", "google", "cpc", "brand"),
    Source(9, None, "newsletter", "email", "weekly"),
    Source(7, "https://m.facebook.com/", "facebook", "social", "autumn_sale"),
    Source(4, "https://www.instagram.com/", "instagram", "social", "creators"),
    Source(4, "https://camping-blog.example/best-tents"),
)
_WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
_APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1"
DEVICES = (
    Device(
        26, "smartphone", "Android", "Chrome", f"Mozilla/5.0 (Linux; Android 16) {_WEBKIT} Chrome/142 Mobile Safari"
    ),
    Device(24, "smartphone", "iOS", "Safari", f"Mozilla/5.0 (iPhone; CPU iPhone OS 26_1) {_APPLE} Mobile Safari"),
    Device(3, "phablet", "Android", "Samsung Internet", f"Mozilla/5.0 (Linux; Android 15) {_WEBKIT} SamsungBrowser/29"),
    Device(5, "tablet", "iPadOS", "Safari", f"Mozilla/5.0 (iPad; CPU OS 26_1) {_APPLE} Safari"),
    Device(22, "pc", "Windows", "Chrome", f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_WEBKIT} Chrome/142 Safari"),
    Device(7, "pc", "Windows", "Edge", f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_WEBKIT} Chrome/142 Edg/142"),
    Device(7, "pc", "macOS", "Safari", f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_APPLE} Safari"),
    Device(4, "pc", "Linux", "Firefox", "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"),
    Device(
        2, "television", "Tizen", "Samsung Internet", f"Mozilla/5.0 (SMART-TV; Tizen 9) {_WEBKIT} SamsungBrowser/29"
    ),
)


def url(path: str, query: str = "") -> str:
    """URL of a page."""
    return f"https://{SITE}{path}{query}"


def line_of(product: Product, quantity: int) -> Json:
    """Line of a cart; `unit_price` is in euros."""
    return {"sku": product.sku, "product": product.name, "quantity": quantity, "unit_price": product.price / 100}


def _viewed(product: Product) -> Json:
    return {"product": product.name, "sku": product.sku, "category": product.category}


def _added(product: Product, quantity: int) -> Json:
    return {**line_of(product, quantity), "value": product.price * quantity / 100, "currency": "EUR"}


VIEWS = [Deed("page_view", "/", {}, 900)]
VIEWS += [Deed("page_view", f"/c/{name}", {"category": name}, 500) for name in dict.fromkeys(g.category for g in GOODS)]
VIEWS += [Deed("page_view", good.path, _viewed(good), 400) for good in GOODS]
VIEWS += [Deed("page_view", path, {}, 120) for path in ("/cart", "/blog/packing-light", "/blog/better-sleep", "/help")]
SEARCHES = [
    Deed("search", "/search", {"search_text": term, "results": len(term) % 7}, 110, f"?q={quote(term)}")
    for term in TERMS
]
ADDITIONS = [
    Deed("add_to_cart", good.path, _added(good, quantity), weight)
    for good in GOODS
    for quantity, weight in zip(range(1, QUANTITY_MAX + 1), (90, 30, 10), strict=True)
]
# URLs that hold an e-mail address, as real ones do: it is put in when a line is made.
CONFIRMATION = Deed("page_view", "/newsletter/confirm", {}, 25)
SEARCH_FOR_MAIL = Deed("search", "/search", {}, 12)
LOGIN = Deed("login", "/account/login", {"method": "password"})
PURCHASE = Deed("purchase", "/checkout/thanks", {})  # each has properties of its own
# First events of sessions: each view, with the query string of each source.
LANDINGS = [Deed(view.type, view.path, view.properties, 0, source.query) for source in SOURCES for view in VIEWS]

MIDST = [*VIEWS, *SEARCHES, *ADDITIONS, CONFIRMATION, SEARCH_FOR_MAIL]
DEEDS = [*MIDST, LOGIN, PURCHASE, *LANDINGS]
FIRST_ADDITION = len(VIEWS) + len(SEARCHES)
CONFIRMATION_AT, SEARCH_FOR_MAIL_AT, LOGIN_AT, PURCHASE_AT = range(len(MIDST) - 2, len(MIDST) + 2)
FIRST_LANDING = PURCHASE_AT + 1
PATHS = list(dict.fromkeys(deed.path for deed in DEEDS))
