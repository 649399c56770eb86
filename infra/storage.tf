# The lake. Deleted and overwritten objects can be had back for a week.
resource "google_storage_bucket" "lake" {
  # checkov:skip=CKV_GCP_62:Cloud Audit Logs say who read and wrote, once data access logs are switched on for the project; usage logs would need a second bucket
  # checkov:skip=CKV_GCP_78:soft delete keeps what was deleted or overwritten for a week, for every object, without old versions that only a rule of their own ever ends
  name     = local.bucket
  location = local.location
  labels   = local.labels

  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false

  soft_delete_policy {
    retention_duration_seconds = 604800
  }

  # After ninety days bronze is read by a full refresh alone. Each read of it then costs $0.02 a GiB or so.
  lifecycle_rule {
    condition {
      age            = 90
      matches_prefix = ["bronze/"]
    }
    action {
      type          = "SetStorageClass"
      storage_class = "COLDLINE"
    }
  }

  dynamic "lifecycle_rule" {
    for_each = var.bronze_days == 0 ? [] : [var.bronze_days]
    content {
      condition {
        age            = lifecycle_rule.value
        matches_prefix = ["bronze/"]
      }
      action {
        type = "Delete"
      }
    }
  }

  # Uploads that a killed task left half done. Attempts whose files are whole but that were never committed lie beside
  # committed ones, and no rule of a bucket can tell them apart: finish_run deletes those (goldline/landing/sweep.py).
  lifecycle_rule {
    condition {
      age = 8
    }
    action {
      type = "AbortIncompleteMultipartUpload"
    }
  }

  depends_on = [google_project_service.used["storage.googleapis.com"]]
}
