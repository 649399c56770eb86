# What an environment of goldline.yaml needs.
output "project" {
  value = var.project
}

output "region" {
  value = var.region
}

output "location" {
  description = "Of the datasets: the pipeline's parameter `location`."
  value       = local.location
}

output "bucket" {
  description = "The lake, without gs://: the pipeline's parameter `bucket`."
  value       = google_storage_bucket.lake.name
}

output "images" {
  description = "Where `make image` pushes to: IMAGE_REPOSITORY."
  value       = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.name}"
}

output "templates" {
  description = "Where compiled pipelines are registered."
  value       = "https://${var.region}-kfp.pkg.dev/${var.project}/${google_artifact_registry_repository.templates.name}"
}

output "pipeline_account" {
  description = "The account that runs act as."
  value       = google_service_account.pipeline.email
}

output "submitter_account" {
  description = "The account that submits runs and keeps schedules."
  value       = google_service_account.submitter.email
}

output "reader_account" {
  description = "The account that BI tools read gold as."
  value       = google_service_account.reader.email
}

output "pii_secret" {
  description = "The secret that holds the key for pseudonyms, as GOLDLINE_PII_SECRET takes it."
  value       = google_secret_manager_secret.pii_key.id
}
