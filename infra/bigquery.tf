locals {
  datasets = {
    bronze = "What arrived, as it came: external tables over the lake, and views of their newest commits."
    silver = "Typed and trusted, and the rows that were rejected, with their reasons."
    gold   = "Facts, dimensions, features and predictions, for readers."
    ops    = "What runs did: runs, tables, checks, models, commits; and stages, which end by themselves."
  }
}

resource "google_bigquery_dataset" "layer" {
  # checkov:skip=CKV_GCP_81:Google's own keys encrypt it; a key of one's own adds a way to lose all, which a project must choose for itself
  for_each = local.datasets

  dataset_id                 = each.key
  description                = each.value
  location                   = local.location
  labels                     = local.labels
  delete_contents_on_destroy = false
  max_time_travel_hours      = 168

  depends_on = [google_project_service.used["bigquery.googleapis.com"]]
}
