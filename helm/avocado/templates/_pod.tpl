{{- /* A pod on CUDA asks for one GPU: one engine uses one. */ -}}
{{- define "avocado.resources" -}}
{{- $v := .root.Values -}}
{{- $own := ternary $v.jobs.workers.resources (dict) .worker -}}
{{- $resources := deepCopy (ternary $own $v.resources (not (empty $own))) -}}
{{- if eq $v.device "cuda" -}}
{{- $gpu := dict $v.gpu.resource 1 -}}
{{- $_ := set $resources "limits" (merge $gpu (default (dict) $resources.limits)) -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{- /* What a server or a worker needs of the database of jobs. Settings in variables win over those in the file. */ -}}
{{- define "avocado.jobsEnv" -}}
{{- with .Values.jobs.database -}}
{{- if .existingSecret -}}
{{ include "avocado.databaseEnv" (dict "name" .existingSecret "key" .key) }}
{{- end -}}
{{- end -}}
{{- with .Values.jobs.webhooks -}}
{{- if .existingSecret }}
- name: AVOCADO_WEBHOOK_SECRET
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret }}
      key: {{ .key }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "avocado.databaseEnv" -}}
- name: AVOCADO_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: {{ .key }}
{{- end -}}

{{- define "avocado.volumes" -}}
{{- $v := .root.Values -}}
- name: settings
  configMap:
    name: {{ include "avocado.fullname" .root }}{{ if .worker }}-worker{{ end }}
- name: temporary
  emptyDir:
    sizeLimit: {{ $v.temporary.sizeLimit }}
- name: cache
  {{- if eq $v.cache.type "claim" }}
  persistentVolumeClaim:
    claimName: {{ include "avocado.cacheClaim" .root }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ $v.cache.sizeLimit }}
  {{- end }}
{{- if eq $v.model.source "claim" }}
- name: model
  persistentVolumeClaim:
    claimName: {{ include "avocado.modelClaim" .root }}
{{- else if eq $v.model.source "image" }}
- name: model
  image:
    reference: {{ $v.model.image.reference }}
    pullPolicy: {{ $v.model.image.pullPolicy }}
{{- else if eq $v.model.source "emptyDir" }}
- name: model
  emptyDir:
    sizeLimit: {{ $v.model.emptyDir.sizeLimit }}
{{- end }}
{{- with $v.apiKeys.existingSecret }}
- name: keys
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    items:
      - key: {{ $v.apiKeys.key }}
        path: keys.txt
{{- end }}
{{- range $v.mediaRoots }}
- name: media-{{ .name }}
  persistentVolumeClaim:
    claimName: {{ .existingClaim }}
    readOnly: true
{{- end }}
{{- with $v.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* The pod of a server, or of a worker: {root, worker}. */ -}}
{{- define "avocado.podTemplate" -}}
{{- $root := .root -}}
{{- $v := $root.Values -}}
{{- $selector := ternary "avocado.workerSelector" "avocado.selector" .worker -}}
{{- $settings := include "avocado.settings" . -}}
metadata:
  labels:
    {{- include $selector $root | nindent 4 }}
    {{- with merge (dict) $v.podLabels $v.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # The server reads its settings at start: pods are replaced when they change.
    checksum/settings: {{ $settings | sha256sum }}
    kubectl.kubernetes.io/default-container: server
    {{- with $v.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "avocado.serviceAccount" $root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  # Requests that run when the pod ends: until proxies know, then the drain, then at most twenty seconds to close everything.
  terminationGracePeriodSeconds: {{ ternary (add $v.jobs.workers.drainSeconds 25) (add $v.preStopSeconds $v.drainSeconds 25) .worker }}
  {{- with $v.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with $v.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- if $v.model.init.enabled }}
  initContainers:
    - name: model
      image: {{ $v.model.init.image }}
      {{- with $v.model.init.command }}
      command:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $v.model.init.args }}
      args:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      env:
        - name: HOME
          value: /tmp
        {{- with $v.model.init.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $v.model.init.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $v.securityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - name: model
          mountPath: /model
        - name: temporary
          mountPath: /tmp
  {{- end }}
  containers:
    - name: server
      image: {{ include "avocado.image" $root }}
      imagePullPolicy: {{ $v.image.pullPolicy }}
      args: [serve, --config, /etc/avocado/settings.json]
      ports:
        - name: http
          containerPort: 8080
      env:
        - name: HOME
          value: /tmp
        {{- if not (hasKey ($settings | fromJson) "threads") }}
        # The container's CPU limit, or all CPUs of the node without one.
        - name: AVOCADO_THREADS
          valueFrom:
            resourceFieldRef:
              containerName: server
              resource: limits.cpu
        {{- end }}
        {{- with include "avocado.jobsEnv" $root }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with $v.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      resources:
        {{- include "avocado.resources" . | nindent 8 }}
      {{- with $v.securityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if not .worker }}
      lifecycle:
        preStop:
          exec:
            command: [sleep, {{ $v.preStopSeconds | toString | quote }}]
      {{- end }}
      # Has the model been loaded?
      startupProbe:
        httpGet:
          path: /readyz
          port: http
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: {{ div (add $v.probes.startup.seconds 4) 5 }}
      # Would a restart help?
      livenessProbe:
        httpGet:
          path: /healthz
          port: http
        periodSeconds: {{ $v.probes.liveness.periodSeconds }}
        timeoutSeconds: 5
        failureThreshold: {{ $v.probes.liveness.failureThreshold }}
      # Should requests come here?
      readinessProbe:
        httpGet:
          path: {{ $v.probes.readiness.path }}
          port: http
        periodSeconds: {{ $v.probes.readiness.periodSeconds }}
        timeoutSeconds: 5
        failureThreshold: 2
      volumeMounts:
        - name: settings
          mountPath: /etc/avocado
          readOnly: true
        - name: temporary
          mountPath: /tmp
        - name: cache
          mountPath: /cache
        {{- if ne $v.model.source "bundled" }}
        - name: model
          mountPath: /model
          readOnly: true
        {{- end }}
        {{- if $v.apiKeys.existingSecret }}
        - name: keys
          mountPath: /etc/avocado-keys
          readOnly: true
        {{- end }}
        {{- range $v.mediaRoots }}
        - name: media-{{ .name }}
          mountPath: /media/{{ .name }}
          readOnly: true
          {{- with .subPath }}
          subPath: {{ . }}
          {{- end }}
        {{- end }}
        {{- with $v.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    {{- include "avocado.volumes" . | nindent 4 }}
  {{- with $v.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with concat $v.tolerations (ternary $v.gpu.tolerations (list) (eq $v.device "cuda")) }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- range . }}
    {{- $own := dict "labelSelector" (dict "matchLabels" (include $selector $root | fromYaml)) }}
    - {{- merge (dict) . $own | toYaml | nindent 6 }}
    {{- end }}
  {{- end }}
{{- end -}}
