"""Flow sales: Firestore documents -> sales facts, customers, churn predictions."""

from kfp import dsl

from components.export_firestore import export_firestore
from components.sales.generate_sales.component import generate_sales
from components.sales.train_churn.component import train_churn
from components.tasks import evaluate_and_register, table
from goldline.spec.tables import contract_json, landed_source


@dsl.pipeline
def simulate_sales(size: str, run: str, collection: str, database: str) -> None:
    """Write sales of a simulated shop into Firestore, unless `size` is none."""
    with dsl.If(size != "none", "simulated"):
        generate_sales(run=run, collection=collection, database=database)


@dsl.pipeline
def churn(train: bool, run: str, collection: str, features: dsl.Input[dsl.Artifact]) -> None:
    """Train a churn model on past features and what came after them; evaluate it; register it if it is accepted."""
    with dsl.If(train == True, "train"):
        trained = train_churn(run=run, features=features)
        evaluate_and_register("churn", trained, run, "sales", oracle=collection)


@dsl.pipeline
def sales(run: str, train: bool, collection: str, database: str, export_mode: str) -> None:
    """Firestore documents -> sales facts, customers, churn predictions."""
    exported = export_firestore(
        run=run, contract=contract_json("sales/ext_sales"), collection=collection, database=database, mode=export_mode
    )
    raw = landed_source("sales/ext_sales", exported.outputs["files"])
    sold = table("sales/stg_sales", run, raw)
    table("sales/dim_customer", run, sold)
    facts = table("sales/fct_sales", run, sold)
    features = table("sales/agg_customer_features", run, facts)
    training = churn(train=train, run=run, collection=collection, features=features.artifact)
    table("sales/fct_churn_predictions", run, features, after=training)
