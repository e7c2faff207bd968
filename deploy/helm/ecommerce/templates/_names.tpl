{{/* Names and labels. Every object's name starts with the release's, so that two releases share a namespace. */}}

{{- define "ecommerce.fullname" -}}
{{- $name := .Values.fullnameOverride | default .Release.Name | replace "." "-" -}}
{{- if gt (len $name) 36 -}}
{{- printf "%s-%s" ($name | trunc 29 | trimSuffix "-") (sha256sum $name | trunc 6) -}}
{{- else -}}
{{- $name -}}
{{- end -}}
{{- end -}}

{{/* Selectors are immutable, so these three and no more. Takes (list $ component). */}}
{{- define "ecommerce.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ include "ecommerce.fullname" $root }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of an object. Takes (list $ component). */}}
{{- define "ecommerce.labels" -}}
{{- $root := index . 0 -}}
{{ include "ecommerce.selector" . }}
app.kubernetes.io/part-of: {{ $root.Chart.Name }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of a pod: those of selectors, the user's, and the version. Takes (list $ component podLabels). */}}
{{- define "ecommerce.podLabels" -}}
{{- $root := index . 0 -}}
{{ include "ecommerce.selector" (list $root (index . 1)) }}
app.kubernetes.io/part-of: {{ $root.Chart.Name }}
{{- with merge (dict) (index . 2 | default dict) ($root.Values.commonLabels | default dict) }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The whole name of a service's image. Takes (list $ name service). */}}
{{- define "ecommerce.image" -}}
{{- $root := index . 0 -}}
{{- $image := (index . 2).image -}}
{{- $repository := $image.repository | default (printf "%s/%s" $root.Values.image.prefix (index . 1)) -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository ($image.tag | default $root.Values.image.tag | default $root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* The name of a service's ServiceAccount. Takes (list $ name service). */}}
{{- define "ecommerce.serviceAccount" -}}
{{- $own := printf "%s-%s" (include "ecommerce.fullname" (index . 0)) (index . 1) -}}
{{- (index . 2).serviceAccount.name | default (ternary $own "default" (index . 2).serviceAccount.create) -}}
{{- end -}}

{{/* Numbers as text: what YAML reads as a float would be written 1e+06. */}}
{{- define "ecommerce.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- int64 . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}
