# The ground that goldline stands on. What changes with each release, the image, the template and the schedules, is not here:
# `make image`, `compile.py --env` and `goldline schedule` own them.

data "google_project" "this" {
  project_id = var.project

  depends_on = [google_project_service.used["cloudresourcemanager.googleapis.com"]]
}

locals {
  location = var.location == "" ? var.region : var.location
  bucket   = var.bucket == "" ? "${var.project}-goldline" : var.bucket
  labels   = { app = "goldline" }
}

resource "google_project_service" "used" {
  for_each = toset([
    "aiplatform.googleapis.com",
    "artifactregistry.googleapis.com",
    "bigquery.googleapis.com",
    "bigquerystorage.googleapis.com",
    "billingbudgets.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "firestore.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "secretmanager.googleapis.com",
    "storage.googleapis.com",
  ])

  service            = each.key
  disable_on_destroy = false # others in the project may use it too
}
