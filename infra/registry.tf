resource "google_artifact_registry_repository" "images" {
  # checkov:skip=CKV_GCP_84:Google's own keys encrypt it; it holds code and no data
  repository_id = "goldline"
  description   = "The image of the tasks, tagged by its content."
  format        = "DOCKER"
  location      = var.region
  labels        = local.labels

  docker_config {
    immutable_tags = true # a tag is made of the content: it never stands for another image
  }

  depends_on = [google_project_service.used["artifactregistry.googleapis.com"]]
}

resource "google_artifact_registry_repository" "templates" {
  # checkov:skip=CKV_GCP_84:Google's own keys encrypt it; it holds compiled specs and no data
  repository_id = "goldline-templates"
  description   = "Compiled pipelines, for the console and for schedules."
  format        = "KFP"
  location      = var.region
  labels        = local.labels

  depends_on = [google_project_service.used["artifactregistry.googleapis.com"]]
}
