{{- /* A pod on CUDA asks for one GPU: one engine uses one. */ -}}
{{- define "avocado.resources" -}}
{{- $resources := deepCopy .Values.resources -}}
{{- if eq .Values.device "cuda" -}}
{{- $gpu := dict .Values.gpu.resource 1 -}}
{{- $_ := set $resources "limits" (merge $gpu (default (dict) $resources.limits)) -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{- define "avocado.volumes" -}}
{{- $v := .Values -}}
- name: settings
  configMap:
    name: {{ include "avocado.fullname" . }}
- name: temporary
  emptyDir:
    sizeLimit: {{ $v.temporary.sizeLimit }}
- name: cache
  {{- if eq $v.cache.type "claim" }}
  persistentVolumeClaim:
    claimName: {{ include "avocado.cacheClaim" . }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ $v.cache.sizeLimit }}
  {{- end }}
{{- if eq $v.model.source "claim" }}
- name: model
  persistentVolumeClaim:
    claimName: {{ include "avocado.modelClaim" . }}
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
