# The source. Point-in-time recovery keeps the past for seven days, in place of an hour: an export that was interrupted goes
# on where it stopped, reading as of the same moment.
resource "google_firestore_database" "source" {
  count = var.manage_firestore ? 1 : 0

  name                              = var.firestore_database
  location_id                       = var.firestore_location == "" ? var.region : var.firestore_location
  type                              = "FIRESTORE_NATIVE"
  point_in_time_recovery_enablement = "POINT_IN_TIME_RECOVERY_ENABLED"
  delete_protection_state           = "DELETE_PROTECTION_ENABLED"
  deletion_policy                   = "ABANDON" # a `terraform destroy` forgets it and deletes nothing

  depends_on = [google_project_service.used["firestore.googleapis.com"]]
}
