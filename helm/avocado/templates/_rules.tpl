{{- /*
The recording rules and alerts. All are grouped by namespace and job, so that each release alerts for itself.
Every alert has a page in runbooks/.
*/ -}}
{{- define "avocado.rules" -}}
{{- $r := .Values.metrics.prometheusRule -}}
{{- $worker := ternary "(-worker)?" "" .Values.jobs.workers.enabled -}}
{{- $s := printf "namespace=%q,job=~%q" .Release.Namespace (printf "(.+/)?%s%s" (include "avocado.fullname" .) $worker) -}}
{{- $read := printf "%s,class!=\"unread\"" $s -}}
{{- /* Errors of status 500 and above, and a deadline that passed in the server. */ -}}
{{- $faults := "internal|engine_.+|storage_full|database_unavailable|deadline_exceeded|ffmpeg_missing|directory_unwritable|checkpoint_.+|tensor_.+|precision_unsupported|export_.+|runtime_unavailable|device_unavailable" -}}
{{- $windows := list "5m" "30m" "1h" "6h" -}}
{{- $pairs := list (dict "name" "Fast" "long" "1h" "short" "5m" "times" 14.4 "for" "2m" "severity" "critical")
  (dict "name" "Slow" "long" "6h" "short" "30m" "times" 6.0 "for" "15m" "severity" "warning") -}}
{{- $le := printf "%v" $r.firstTokenSeconds | replace "." "[.]" -}}
{{- /* Prometheus 3 writes whole bounds with .0 */ -}}
{{- if eq (float64 $r.firstTokenSeconds) (floor $r.firstTokenSeconds) -}}
{{- $le = printf "%s([.]0)?" $le -}}
{{- end -}}
- name: {{ include "avocado.fullname" . }}-records
  rules:
    {{- range $windows }}
    # The share of requests that failed by the server's fault: those of a bad file and of a bad body do not count.
    - record: avocado:request_errors:ratio_rate{{ . }}
      expr: |
        sum by (namespace, job) (rate(avocado_requests_total{ {{- $read }},outcome="error",code=~{{ $faults | quote }}}[{{ . }}]))
          / (sum by (namespace, job) (rate(avocado_requests_total{ {{- $read }},outcome=~"ok|error"}[{{ . }}])) > 0)
    # The share of captions whose first token came late.
    - record: avocado:first_token_late:ratio_rate{{ . }}
      expr: |
        1 - sum by (namespace, job) (rate(avocado_time_to_first_token_seconds_bucket{ {{- $s }},le=~{{ $le | quote }}}[{{ . }}]))
          / (sum by (namespace, job) (rate(avocado_time_to_first_token_seconds_count{ {{- $s -}} }[{{ . }}])) > 0)
    {{- end }}
- name: {{ include "avocado.fullname" . }}-alerts
  rules:
    {{- range $pairs }}
    {{- $budget := subf 1 $r.successTarget | mulf .times }}
    - alert: AvocadoErrors{{ .name }}
      expr: |
        avocado:request_errors:ratio_rate{{ .long }}{ {{- $s -}} } > {{ $budget }}
          and avocado:request_errors:ratio_rate{{ .short }}{ {{- $s -}} } > {{ $budget }}
      for: {{ .for }}
      {{- include "avocado.alert" (dict "root" $ "name" (printf "AvocadoErrors%s" .name) "severity" .severity "summary" "Captions fail by the server's fault faster than the target allows.") | nindent 6 }}
    {{- end }}
    {{- range $pairs }}
    {{- $budget := minf 0.9 (subf 1 $r.firstTokenTarget | mulf .times) }}
    - alert: AvocadoFirstToken{{ .name }}
      expr: |
        avocado:first_token_late:ratio_rate{{ .long }}{ {{- $s -}} } > {{ $budget }}
          and avocado:first_token_late:ratio_rate{{ .short }}{ {{- $s -}} } > {{ $budget }}
      for: {{ .for }}
      {{- include "avocado.alert" (dict "root" $ "name" (printf "AvocadoFirstToken%s" .name) "severity" .severity "summary" (printf "Too many first tokens take longer than %v s." $r.firstTokenSeconds)) | nindent 6 }}
    {{- end }}
    - alert: AvocadoDown
      expr: up{ {{- $s -}} } == 0
      for: 5m
      {{- include "avocado.alert" (dict "root" $ "name" "AvocadoDown" "severity" "critical" "summary" "Prometheus cannot scrape a server.") | nindent 6 }}
    - alert: AvocadoEngineDown
      expr: min without (engine, device) (avocado_engine_ready{ {{- $s -}} }) == 0
      for: 15m
      {{- include "avocado.alert" (dict "root" $ "name" "AvocadoEngineDown" "severity" "critical" "summary" "An engine has not been ready for 15 minutes.") | nindent 6 }}
    - alert: AvocadoEngineRestarting
      expr: increase(avocado_engine_restarts_total{ {{- $s -}} }[30m]) >= 2
      {{- include "avocado.alert" (dict "root" $ "name" "AvocadoEngineRestarting" "severity" "critical" "summary" "An engine was started again at least twice in 30 minutes.") | nindent 6 }}
    - alert: AvocadoNoProgress
      expr: |
        sum without (stage) (avocado_requests_running{ {{- $s }},stage=~"prefill|generate"}) > 0
          and changes(avocado_engine_steps_total{ {{- $s -}} }[5m]) == 0
      for: 2m
      {{- include "avocado.alert" (dict "root" $ "name" "AvocadoNoProgress" "severity" "critical" "summary" "An engine holds requests and makes no step.") | nindent 6 }}
    - alert: AvocadoQueueGrowing
      expr: |
        avocado_queue_work_seconds{ {{- $s -}} } > {{ $r.queueSeconds }}
          and deriv(avocado_queue_work_seconds{ {{- $s -}} }[15m]) > 0
      for: 10m
      {{- include "avocado.alert" (dict "root" $ "name" "AvocadoQueueGrowing" "severity" "warning" "summary" "A queue is long and grows.") | nindent 6 }}
    - alert: AvocadoRefusals
      expr: |
        sum by (namespace, job) (rate(avocado_requests_rejected_total{ {{- $s }},reason=~"queue_count|queue_work|receiving"}[10m]))
          > 0.05 * (sum by (namespace, job) (rate(avocado_requests_total{ {{- $s -}} }[10m])))
      for: 10m
      {{- include "avocado.alert" (dict "root" $ "name" "AvocadoRefusals" "severity" "warning" "summary" "More than one request in twenty is refused for lack of room.") | nindent 6 }}
    - alert: AvocadoTemporarySpace
      expr: avocado_temporary_bytes{ {{- $s -}} } / avocado_temporary_bytes_limit{ {{- $s -}} } > 0.85
      for: 5m
      {{- include "avocado.alert" (dict "root" $ "name" "AvocadoTemporarySpace" "severity" "warning" "summary" "The disk space for uploads and downloads is nearly used up.") | nindent 6 }}
    - alert: AvocadoMediaErrors
      expr: |
        sum by (namespace, job, reason) (rate(avocado_media_errors_total{ {{- $s -}} }[15m]))
          > ignoring (reason) group_left
            0.2 * sum by (namespace, job) (rate(avocado_requests_total{ {{- $s }},outcome=~"ok|error"}[15m]))
      for: 15m
      {{- include "avocado.alert" (dict "root" $ "name" "AvocadoMediaErrors" "severity" "warning" "summary" "More than one request in five fails by its file, for one reason.") | nindent 6 }}
    - alert: AvocadoKvCacheFull
      expr: avocado_kv_cache_usage_ratio{ {{- $s -}} } > 0.95
      for: 15m
      {{- include "avocado.alert" (dict "root" $ "name" "AvocadoKvCacheFull" "severity" "warning" "summary" "The KV cache has been full for 15 minutes.") | nindent 6 }}
    - alert: AvocadoJobsStalled
      expr: |
        max by (namespace) (avocado_jobs_oldest_ready_seconds{ {{- $s -}} }) > 1800
          and sum by (namespace) (increase(avocado_job_items_committed_total{ {{- $s -}} }[30m])) == 0
      for: 5m
      {{- include "avocado.alert" (dict "root" $ "name" "AvocadoJobsStalled" "severity" "warning" "summary" "Jobs have items to run, and none was finished for 30 minutes.") | nindent 6 }}
    - alert: AvocadoStepsNotRecorded
      expr: min without (size) (avocado_engine_step_recorded{ {{- $s -}} }) == 0
      for: 15m
      {{- include "avocado.alert" (dict "root" $ "name" "AvocadoStepsNotRecorded" "severity" "warning" "summary" "A GPU could not record decode steps as CUDA graphs, and is slower.") | nindent 6 }}
    - alert: AvocadoEventLoopBlocked
      expr: avocado_event_loop_delay_max_seconds{ {{- $s -}} } > 1
      for: 10m
      {{- include "avocado.alert" (dict "root" $ "name" "AvocadoEventLoopBlocked" "severity" "warning" "summary" "A server process is too busy to answer at once.") | nindent 6 }}
{{- end -}}

{{- define "avocado.alert" -}}
{{- $r := .root.Values.metrics.prometheusRule -}}
labels:
  severity: {{ .severity }}
  {{- with $r.alertLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  summary: {{ .summary | quote }}
  {{- if $r.runbookUrl }}
  runbook_url: {{ printf "%s/%s.md" (trimSuffix "/" $r.runbookUrl) .name | quote }}
  {{- else }}
  runbook: {{ printf "runbooks/%s.md of the chart" .name | quote }}
  {{- end }}
{{- end -}}
