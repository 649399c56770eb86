variable "project" {
  description = "Id of the project that all of this stands in; an environment is a project."
  type        = string
}

variable "region" {
  description = "Where Vertex AI runs, images lie, and, by default, all data: Vertex AI's regions are the narrowest choice."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "A region such as europe-west1: Vertex AI has no multi-regions."
  }
}

variable "location" {
  description = "Where the datasets and the bucket lie, if not in the region: a multi-region such as EU or US. BigQuery reads external tables only from a bucket in its own location."
  type        = string
  default     = ""
}

variable "bucket" {
  description = "Name of the lake; empty: the project's id and \"-goldline\", which is the pipeline's default too."
  type        = string
  default     = ""
}

variable "bronze_days" {
  description = "Days that files of bronze are kept; 0: for ever. At least the time since the last weekly sweep, whose files hold every record."
  type        = number
  default     = 0

  validation {
    condition     = var.bronze_days == 0 || var.bronze_days >= 120
    error_message = "0, or at least 120 days: colder storage is billed for 90 days after the ninetieth, whenever a file is deleted."
  }
}

variable "firestore_location" {
  description = "Where the Firestore database is made: a region, or nam5 or eur3; empty: the region."
  type        = string
  default     = ""
}

variable "firestore_database" {
  description = "The database that the pipeline reads."
  type        = string
  default     = "(default)"
}

variable "manage_firestore" {
  description = "Whether the database is made and kept by Terraform. One that is there already is imported first, or kept by hand: docs/deploy.md."
  type        = bool
  default     = true
}

variable "simulated" {
  description = "Whether the pipeline may write into Firestore, which only its simulators do. Never where real documents lie."
  type        = bool
  default     = false
}

variable "submitters" {
  description = "Who may submit runs and keep schedules, as the account that does, such as user:ann@example.com or group:data@example.com."
  type        = set(string)
  default     = []
}

variable "readers" {
  description = "Who may read the gold tables, such as group:analysts@example.com; the account for BI tools may in any case."
  type        = set(string)
  default     = []
}

variable "alert_email" {
  description = "Where alerts and the budget's warnings go."
  type        = string
}

variable "pipeline_name" {
  description = "Name of the pipeline in its spec, which Vertex AI's log of events bears."
  type        = string
  default     = "goldline"
}

variable "billing_account" {
  description = "Id of the billing account, such as 012345-678901-ABCDEF, to set a budget on; empty: no budget. Needs roles/billing.costsManager there."
  type        = string
  default     = ""
}

variable "budget" {
  description = "What the project may cost a month, in the billing account's currency, before warnings are sent."
  type        = number
  default     = 50
}
