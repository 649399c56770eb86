# Three accounts, each with the least that it needs. None has a key: people and CI impersonate, Vertex AI acts as.

# runs: every task of every run acts as it.
resource "google_service_account" "pipeline" {
  account_id   = "goldline-runner"
  display_name = "goldline: runs the pipeline"

  depends_on = [google_project_service.used["iam.googleapis.com"]]
}

# submits: runs, schedules, templates and images.
resource "google_service_account" "submitter" {
  account_id   = "goldline-submitter"
  display_name = "goldline: submits runs and keeps schedules"

  depends_on = [google_project_service.used["iam.googleapis.com"]]
}

# reads: gold, for BI tools.
resource "google_service_account" "reader" {
  account_id   = "goldline-reader"
  display_name = "goldline: reads gold, for BI"

  depends_on = [google_project_service.used["iam.googleapis.com"]]
}

locals {
  pipeline  = google_service_account.pipeline.member
  submitter = google_service_account.submitter.member
  reader    = google_service_account.reader.member

  # What has no smaller resource to be granted on than the project.
  project_roles = {
    pipeline_vertex    = { member = local.pipeline, role = "roles/aiplatform.user" } # tasks, metadata, models: cloud.google.com/vertex-ai/docs/pipelines/configure-project
    pipeline_jobs      = { member = local.pipeline, role = "roles/bigquery.jobUser" }
    pipeline_reads     = { member = local.pipeline, role = "roles/bigquery.readSessionUser" } # training reads tables by the Storage Read API
    submitter_vertex   = { member = local.submitter, role = "roles/aiplatform.user" }
    submitter_jobs     = { member = local.submitter, role = "roles/bigquery.jobUser" }                  # backfill asks ops.runs what is done
    submitter_services = { member = local.submitter, role = "roles/serviceusage.serviceUsageConsumer" } # doctor asks which APIs are on
    reader_jobs        = { member = local.reader, role = "roles/bigquery.jobUser" }
    reader_reads       = { member = local.reader, role = "roles/bigquery.readSessionUser" }
  }
}

resource "google_project_iam_member" "project" {
  for_each = local.project_roles

  project = var.project
  role    = each.value.role
  member  = each.value.member
}

# Firestore has no smaller resource than the project, but a condition names the database.
resource "google_project_iam_member" "pipeline_firestore" {
  project = var.project
  role    = var.simulated ? "roles/datastore.user" : "roles/datastore.viewer"
  member  = local.pipeline

  condition {
    title      = "one database"
    expression = "resource.name == \"projects/${var.project}/databases/${var.firestore_database}\""
  }
}

# `goldline doctor` reads the database's settings (is point-in-time recovery on?). Every predefined role that may also reads
# documents or changes something, so this one holds that permission alone.
resource "google_project_iam_custom_role" "database_settings" {
  role_id     = "goldlineDatabaseSettings"
  title       = "goldline: read a Firestore database's settings"
  description = "Whether there is a database, of which type, and with point-in-time recovery; none of its documents."
  permissions = ["datastore.databases.getMetadata"]

  depends_on = [google_project_service.used["iam.googleapis.com"]]
}

resource "google_project_iam_member" "submitter_firestore" {
  project = var.project
  role    = google_project_iam_custom_role.database_settings.name
  member  = local.submitter

  condition {
    title      = "one database"
    expression = "resource.name == \"projects/${var.project}/databases/${var.firestore_database}\""
  }
}

resource "google_storage_bucket_iam_member" "pipeline" {
  # legacyBucketReader is the smallest role with storage.buckets.get, which the check that the lake is there needs.
  for_each = toset(["roles/storage.objectUser", "roles/storage.legacyBucketReader"])

  bucket = google_storage_bucket.lake.name
  role   = each.key
  member = local.pipeline
}

resource "google_storage_bucket_iam_member" "submitter" {
  # The SDK looks whether the bucket of pipeline_root is there; `goldline replay` and `--wait` read a run's records.
  for_each = toset(["roles/storage.objectViewer", "roles/storage.legacyBucketReader"])

  bucket = google_storage_bucket.lake.name
  role   = each.key
  member = local.submitter
}

resource "google_bigquery_dataset_iam_member" "pipeline" {
  for_each = google_bigquery_dataset.layer

  dataset_id = each.value.dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = local.pipeline
}

resource "google_bigquery_dataset_iam_member" "submitter" {
  # backfill asks ops.runs; replay brings the tables that a task read, of any layer; doctor looks where the datasets lie.
  for_each = google_bigquery_dataset.layer

  dataset_id = each.value.dataset_id
  role       = "roles/bigquery.dataViewer"
  member     = local.submitter
}

resource "google_bigquery_dataset_iam_member" "reader" {
  for_each = merge({ bi = local.reader }, { for who in var.readers : who => who })

  dataset_id = google_bigquery_dataset.layer["gold"].dataset_id
  role       = "roles/bigquery.dataViewer"
  member     = each.value
}

resource "google_secret_manager_secret_iam_member" "pipeline" {
  # Tasks take the newest enabled version: viewer, to list them, shows no value.
  for_each = toset(["roles/secretmanager.secretAccessor", "roles/secretmanager.viewer"])

  secret_id = google_secret_manager_secret.pii_key.id
  role      = each.key
  member    = local.pipeline
}

resource "google_secret_manager_secret_iam_member" "submitter" {
  # doctor looks whether there is an enabled version: viewer shows no value.
  secret_id = google_secret_manager_secret.pii_key.id
  role      = "roles/secretmanager.viewer"
  member    = local.submitter
}

resource "google_artifact_registry_repository_iam_member" "pipeline_images" {
  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.reader"
  member     = local.pipeline
}

resource "google_artifact_registry_repository_iam_member" "submitter" {
  for_each = {
    images    = google_artifact_registry_repository.images
    templates = google_artifact_registry_repository.templates
  }

  location   = each.value.location
  repository = each.value.name
  role       = "roles/artifactregistry.writer"
  member     = local.submitter
}

# Whoever submits a run must be allowed to act as the account that it runs as.
resource "google_service_account_iam_member" "submitter_acts_as_pipeline" {
  service_account_id = google_service_account.pipeline.name
  role               = "roles/iam.serviceAccountUser"
  member             = local.submitter
}

resource "google_service_account_iam_member" "impersonation" {
  for_each = var.submitters

  service_account_id = google_service_account.submitter.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = each.key
}
