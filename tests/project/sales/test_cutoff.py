"""What comes after a cut-off changes no feature as of it: random worlds, on Google's reference executor."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from components.sales.train_churn.churn_model import HORIZON, TRAINING
from goldline.contracts.columns import Row
from goldline.emulators.googlesql import Executor
from goldline.local.sqltest.analysis import analyser_of
from goldline.spec.tables import contracts, select

CUTOFF = date(2026, 10, 21)
DAY = timedelta(days=1)
FEATURES = select("sales/agg_customer_features")
CHANNELS, CATEGORIES = ("web", "app", "store", "phone"), ("home", "books", "audio")
CUSTOMERS = [f"c{number}" for number in range(4)]
UNKNOWN = ("completed", "cancelled", "pending")  # of a late sale: a refund would say that the sale stood before
Sale = dict[str, Any]
Visit = dict[str, Any]


def sale(made: date, updated: date, status: str, details: Sequence[Any], is_deleted: bool = False) -> Sale:
    customer, channel, category, amount, discount = details
    return {
        "customer_id": customer,
        "channel": channel,
        "category": category,
        "quantity": 1,
        "total_amount": amount,
        "discount": discount,
        "status": status,
        "is_valid": status == "completed" and not is_deleted,
        "is_deleted": is_deleted,
        "sale_date": made,
        "sale_timestamp": datetime.combine(made, time(9), UTC),
        "updated_at": datetime.combine(updated, time(12), UTC),
        "_loaded_date": updated,
    }


details = st.tuples(
    st.sampled_from(CUSTOMERS),
    st.sampled_from(CHANNELS),
    st.sampled_from(CATEGORIES),
    st.integers(1, 300),
    st.sampled_from([0, "0.1", "0.25"]),
)
after = st.integers(1, 60).map(lambda days: CUTOFF + DAY * days)
before = st.integers(0, 120).map(lambda days: CUTOFF - DAY * days)


@st.composite
def known(draw: st.DrawFn) -> Sale:
    """A sale as the shop knew it at the cut-off."""
    made = draw(before)
    updated = made + DAY * draw(st.integers(0, (CUTOFF - made).days))
    status = draw(st.sampled_from(["completed", "completed", "cancelled", "refunded"]))
    return sale(made, updated, status, draw(details), is_deleted=draw(st.integers(0, 9)) == 0)


@st.composite
def unknown(draw: st.DrawFn) -> Sale:
    """A sale that the shop did not know at the cut-off: made after it, or made before it and brought late."""
    updated = draw(after)
    if draw(st.booleans()):
        return sale(draw(before), updated, draw(st.sampled_from(UNKNOWN)), draw(details))
    made = draw(after.filter(lambda day: day <= updated))
    status = draw(st.sampled_from([*UNKNOWN, "completed", "refunded"]))
    return sale(made, updated, status, draw(details), is_deleted=draw(st.booleans()))


@st.composite
def fates(draw: st.DrawFn, sales: Sequence[Sale]) -> list[Sale]:
    """The known sales as they are later: some are refunded, some deleted, as far as that can be told from before."""
    return [{**known_then, **draw(_fate(known_then))} for known_then in sales]


def _fate(then: Sale) -> st.SearchStrategy[Sale]:
    same: st.SearchStrategy[Sale] = st.just({})
    if then["is_deleted"] or then["status"] == "refunded":
        return same
    moment = after.map(lambda day: datetime.combine(day, time(12), UTC))
    deleted = st.builds(lambda at: {"is_deleted": True, "is_valid": False, "updated_at": at}, moment)
    refunded = st.builds(lambda at: {"status": "refunded", "is_valid": False, "updated_at": at}, moment)
    both = st.builds(lambda one, other: {**one, **other}, refunded, deleted)
    return st.one_of(same, deleted) if then["status"] == "cancelled" else st.one_of(same, deleted, refunded, both)


def visit(ended: date, customer: str, *, abandons: bool) -> Visit:
    """A visit that was over on that day: the columns that the features read as published."""
    moment = datetime.combine(ended, time(0), UTC)
    return {"customer_id": customer, "ended_at": moment, "cart_additions": int(abandons), "converted": False}


def visits(ended: st.SearchStrategy[date]) -> st.SearchStrategy[list[Visit]]:
    return st.lists(st.builds(visit, ended, st.sampled_from(CUSTOMERS), abandons=st.booleans()), max_size=4)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Sale], list[Sale], list[Visit], list[Visit]]:
    """Sales and visits as they were known at the cut-off, and as they are after all that came later.

    The visits of the day itself are not known yet: whoever builds the features does not wait for them.
    """
    then = draw(st.lists(known(), min_size=1, max_size=12))
    came = draw(visits(before.filter(lambda day: day < CUTOFF)))
    comes = draw(visits(after | st.just(CUTOFF)))
    return then, [*draw(fates(then)), *draw(st.lists(unknown(), max_size=8))], came, [*came, *comes]


@cache
def executor() -> Executor:
    return Executor(analyser_of(contracts().values()))


def features(sales: Sequence[Sale], sql: str = FEATURES, seen: Sequence[Visit] = ()) -> list[Row]:
    """By customer, in order; the label, if there is one, last."""
    rows = [{**s, "sale_id": f"s{i:02}"} for i, s in enumerate(sales)]
    found = executor().select(sql, {"gold.fct_sales": rows, "gold.fct_sessions": seen}, CUTOFF).rows
    return sorted(found, key=lambda row: str(row["customer_id"]))


# Worlds are small as they are: to shrink one that fails takes minutes.
@settings(max_examples=15, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(worlds())
def test_features_and_training_rows_know_nothing_of_what_comes_after(
    world: tuple[list[Sale], list[Sale], list[Visit], list[Visit]],
) -> None:
    then, later, seen_then, seen_later = world
    expected = features(then, seen=seen_then)
    # The SELECT of the training rows holds that of the features whole.
    training = features(later, TRAINING.format(select=FEATURES, sales="gold.fct_sales"), seen_later)
    labels = {row["customer_id"]: row["label"] for row in training}
    assert [{name: value for name, value in row.items() if name != "label"} for row in training] == expected
    # The label, however, is made of what comes after, and of nothing else.
    window = [s for s in later if CUTOFF < s["sale_date"] <= CUTOFF + HORIZON]
    buyers = {s["customer_id"] for s in window if s["is_valid"]}
    assert labels == {row["customer_id"]: row["customer_id"] not in buyers for row in expected}


def test_what_comes_before_is_seen() -> None:
    """The property above would hold of features that see nothing."""
    bought = sale(CUTOFF, CUTOFF, "completed", ("c0", "web", "home", 10, 0))
    [row] = features([bought])
    assert (row["customer_id"], row["purchases"], row["recency_days"], row["revenue"]) == ("c0", 1, 0, 10.0)
    assert features([{**bought, "sale_date": CUTOFF + DAY}]) == []
    [row] = features([bought], seen=[visit(CUTOFF - DAY, "c0", abandons=True), visit(CUTOFF, "c0", abandons=True)])
    assert (row["visits_30d"], row["abandoned_carts_30d"]) == (1, 1)
