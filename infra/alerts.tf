# Vertex AI's own metrics of pipelines tell durations and counts, not how a run ended (cloud.google.com/monitoring/api/metrics_gcp,
# aiplatform: pipelinejob/duration, pipelinejob/task_completed_count, executing_vertexai_pipeline_jobs). Its log of events does:
# log pipeline_job_events, resource PipelineJob, jsonPayload.state (cloud.google.com/vertex-ai/docs/pipelines/logging).
locals {
  events = <<-EOT
    resource.type="aiplatform.googleapis.com/PipelineJob"
    log_id("aiplatform.googleapis.com/pipeline_job_events")
    jsonPayload.pipelineName="${var.pipeline_name}"
  EOT
}

resource "google_monitoring_notification_channel" "email" {
  display_name = "goldline"
  type         = "email"
  labels       = { email_address = var.alert_email }

  depends_on = [google_project_service.used["monitoring.googleapis.com"]]
}

resource "google_monitoring_alert_policy" "run_failed" {
  display_name          = "goldline: a run failed"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = [google_monitoring_notification_channel.email.id]
  user_labels           = local.labels

  conditions {
    display_name = "Vertex AI says that a run failed"

    condition_matched_log {
      filter           = "${local.events}jsonPayload.state=\"PIPELINE_STATE_FAILED\""
      label_extractors = { run = "EXTRACT(resource.labels.pipeline_job_id)" }
    }
  }

  alert_strategy {
    auto_close = "86400s"

    notification_rate_limit {
      period = "300s"
    }
  }

  documentation {
    subject   = "goldline: the run $${log.extracted_label.run} failed"
    mime_type = "text/markdown"
    content   = <<-EOT
      [The run](https://console.cloud.google.com/vertex-ai/locations/${var.region}/pipelines/runs/$${log.extracted_label.run}?project=${var.project}),
      and what its failed tasks said: `select error from ops.runs where run_id = '$${log.extracted_label.run}'`.
      Dates may be run again in any order: the next night catches up with what is missing.
    EOT
  }
}

resource "google_logging_metric" "run_succeeded" {
  name        = "goldline/run_succeeded"
  description = "Runs of the pipeline that succeeded."
  filter      = "${local.events}jsonPayload.state=\"PIPELINE_STATE_SUCCEEDED\""

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"
  }

  depends_on = [google_project_service.used["logging.googleapis.com"]]
}

# In PromQL, since a condition of absence looks back 23.5 hours at most, and this one a night and two hours.
resource "google_monitoring_alert_policy" "no_run_succeeded" {
  display_name          = "goldline: no run succeeded in 26 hours"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = [google_monitoring_notification_channel.email.id]
  user_labels           = local.labels

  conditions {
    display_name = "No success in 26 hours"

    condition_prometheus_query_language {
      query                     = "(sum(increase(${local.succeeded}{monitored_resource=\"aiplatform.googleapis.com/PipelineJob\"}[26h])) or vector(0)) < 0.5"
      duration                  = "0s"
      evaluation_interval       = "300s"
      disable_metric_validation = true # the first success makes the metric
    }
  }

  alert_strategy {
    auto_close = "86400s"
  }

  documentation {
    subject   = "goldline: no run succeeded in 26 hours"
    mime_type = "text/markdown"
    content   = <<-EOT
      The schedule is paused or gone (`goldline schedule list`), the runs fail (there is an alert for each), or one hangs
      and keeps the next from starting: one run at a time, and no queue.
    EOT
  }
}

locals {
  # cloud.google.com/monitoring/promql/promql-mapping: the first slash becomes a colon, other characters underscores.
  succeeded = "logging_googleapis_com:user_${replace(google_logging_metric.run_succeeded.name, "/", "_")}"
}
