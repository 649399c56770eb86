# The key for pseudonyms. Its value never comes here: a version made by Terraform would stand in the state. `goldline
# rotate-key` makes the first version and each later one (docs/personal-data.md).
resource "google_secret_manager_secret" "pii_key" {
  secret_id = "goldline-pii-key"
  labels    = local.labels

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }

  lifecycle {
    prevent_destroy = true # without it no new pseudonym matches an old one
  }

  depends_on = [google_project_service.used["secretmanager.googleapis.com"]]
}
