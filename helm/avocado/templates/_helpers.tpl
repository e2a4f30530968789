{{- define "avocado.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "avocado.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "avocado.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "avocado.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* Never changes during the life of a release: a Deployment's selector cannot. */ -}}
{{- define "avocado.selector" -}}
app.kubernetes.io/name: {{ include "avocado.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- /* Pods that only run jobs: the Service does not find them. */ -}}
{{- define "avocado.workerSelector" -}}
app.kubernetes.io/name: {{ include "avocado.name" . }}-worker
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "avocado.labels" -}}
{{ include "avocado.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "avocado.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "avocado.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "avocado.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default (printf "%s-%s" $.Chart.AppVersion $.Values.device) .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "avocado.modelClaim" -}}
{{- default (printf "%s-model" (include "avocado.fullname" .)) .Values.model.claim.existing -}}
{{- end -}}

{{- define "avocado.cacheClaim" -}}
{{- default (printf "%s-cache" (include "avocado.fullname" .)) .Values.cache.claim.existing -}}
{{- end -}}

{{- define "avocado.autoscaled" -}}
{{- if or .Values.autoscaling.hpa.enabled .Values.autoscaling.keda.enabled -}}true{{- end -}}
{{- end -}}

{{- /*
The server's config file: what the user gives, and what the chart knows. `merge` takes 0 and false for nothing, so
values are set one by one.
*/ -}}
{{- define "avocado.settings" -}}
{{- $v := .root.Values -}}
{{- $settings := deepCopy $v.settings -}}
{{- if .worker -}}
{{- /* For servers beside workers. */ -}}
{{- $settings = omit $settings "job_slots" -}}
{{- range $name, $value := $v.jobs.workers.settings -}}{{- $_ := set $settings $name $value -}}{{- end -}}
{{- $_ := set $settings "jobs_only" true -}}
{{- else if and $v.jobs.workers.enabled (not (hasKey $settings "job_slots")) -}}
{{- $_ := set $settings "job_slots" 0 -}}
{{- end -}}
{{- $drain := ternary $v.jobs.workers.drainSeconds $v.drainSeconds .worker -}}
{{- range $name, $value := dict "host" "0.0.0.0" "port" 8080 "cache_dir" "/cache" "device" $v.device "drain_seconds" $drain -}}
{{- $_ := set $settings $name $value -}}
{{- end -}}
{{- if ne $v.model.source "bundled" -}}
{{- $_ := set $settings "model" (printf "/model/%s" $v.model.path | trimSuffix "/") -}}
{{- end -}}
{{- if $v.apiKeys.existingSecret -}}
{{- $_ := set $settings "api_keys" "/etc/avocado-keys/keys.txt" -}}
{{- end -}}
{{- with $v.mediaRoots -}}
{{- $roots := list -}}
{{- range . -}}{{- $roots = append $roots (printf "%s=/media/%s" .name .name) -}}{{- end -}}
{{- $_ := set $settings "media_root" $roots -}}
{{- end -}}
{{- $settings | toPrettyJson -}}
{{- end -}}

{{- /* Combinations that no schema can refuse. */ -}}
{{- define "avocado.check" -}}
{{- $v := .Values -}}
{{- if and $v.autoscaling.hpa.enabled $v.autoscaling.keda.enabled -}}
{{- fail "autoscaling.hpa and autoscaling.keda are both enabled: KEDA makes an HPA of its own. Enable one." -}}
{{- end -}}
{{- range $name := list "hpa" "keda" -}}
{{- with index $v.autoscaling $name -}}
{{- if and .enabled (lt (int .maxReplicas) (int .minReplicas)) -}}
{{- fail (printf "autoscaling.%s.maxReplicas must not be less than minReplicas." $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $v.metrics.serviceMonitor.enabled $v.metrics.podMonitor.enabled -}}
{{- fail "metrics.serviceMonitor and metrics.podMonitor are both enabled: every pod would be scraped twice. Enable one." -}}
{{- end -}}
{{- if and (or $v.ingress.enabled $v.httpRoute.enabled) (not $v.apiKeys.existingSecret) (not $v.apiKeys.allowAnonymous) -}}
{{- fail "An Ingress or HTTPRoute opens the server to clients from outside, and it needs no key. Set apiKeys.existingSecret, or apiKeys.allowAnonymous=true if everybody may caption." -}}
{{- end -}}
{{- if and $v.jobs.workers.enabled (not $v.jobs.database.existingSecret) -}}
{{- fail "jobs.workers.enabled needs jobs.database.existingSecret: workers take their work from a PostgreSQL." -}}
{{- end -}}
{{- if and $v.jobs.workers.keda.enabled (not $v.jobs.workers.enabled) -}}
{{- fail "jobs.workers.keda scales workers: set jobs.workers.enabled=true." -}}
{{- end -}}
{{- with $v.jobs.workers.keda -}}
{{- if and .enabled (lt (int .maxReplicas) (int .minReplicas)) -}}
{{- fail "jobs.workers.keda.maxReplicas must not be less than minReplicas." -}}
{{- end -}}
{{- end -}}
{{- if and $v.jobs.database.existingSecret (hasKey $v.settings "jobs_dir") -}}
{{- fail "settings.jobs_dir and jobs.database exclude each other: jobs are kept in one place." -}}
{{- end -}}
{{- if and $v.ingress.enabled (not $v.ingress.hosts) -}}
{{- fail "ingress.enabled needs ingress.hosts." -}}
{{- end -}}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) -}}
{{- fail "httpRoute.enabled needs httpRoute.parentRefs." -}}
{{- end -}}
{{- if and (eq $v.model.source "image") (not $v.model.image.reference) -}}
{{- fail "model.source=image needs model.image.reference." -}}
{{- end -}}
{{- if and (eq $v.model.source "emptyDir") (not $v.model.init.enabled) -}}
{{- fail "model.source=emptyDir begins empty: enable model.init, which fills it." -}}
{{- end -}}
{{- if $v.model.init.enabled -}}
{{- if not (has $v.model.source (list "claim" "emptyDir")) -}}
{{- fail "model.init fills the sources claim and emptyDir; model.source is neither." -}}
{{- end -}}
{{- if not $v.model.init.image -}}
{{- fail "model.init.enabled needs model.init.image." -}}
{{- end -}}
{{- end -}}
{{- end -}}
