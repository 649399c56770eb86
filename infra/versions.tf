terraform {
  required_version = ">= 1.5"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
  }

  # The bucket of the state is given at init, and is not the lake: terraform init -backend-config=bucket=NAME
  backend "gcs" {
    prefix = "goldline"
  }
}

provider "google" {
  project = var.project
  region  = var.region

  # The API of budgets wants to know whose quota it takes when a person's own credentials are used.
  billing_project       = var.project
  user_project_override = true
}
