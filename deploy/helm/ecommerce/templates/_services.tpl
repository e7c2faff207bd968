{{/* What services are made of. */}}

{{/*
All enabled services as JSON, by name: `defaults` with the service's own values over them, and what is fixed by the code.
`| default` would turn 0 and false into the default, so maps are merged, and a null takes the key away.
*/}}
{{- define "ecommerce.services" -}}
{{- $services := dict -}}
{{- range $name, $own := .Values.services -}}
{{- $own = $own | default dict -}}
{{- $all := mustMergeOverwrite (deepCopy $.Values.defaults) (deepCopy $own) -}}
{{- include "ecommerce.dropNulls" (dict "from" $all "by" $own) -}}
{{- if $all.enabled -}}
{{- $_ := set $services $name (merge $all (get (include "ecommerce.programs" $ | fromYaml) $name)) -}}
{{- end -}}
{{- end -}}
{{- toJson $services -}}
{{- end -}}

{{- define "ecommerce.dropNulls" -}}
{{- $from := .from -}}
{{- range $key, $value := .by -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $from $key -}}
{{- else if and (kindIs "map" $value) (kindIs "map" (get $from $key)) -}}
{{- include "ecommerce.dropNulls" (dict "from" (get $from $key) "by" $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What the programs are: the port that each listens on, the stream and the group that it consumes. */}}
{{- define "ecommerce.programs" -}}
order: {port: 8001, stream: inventory_stream, group: order-group}
inventory: {port: 8002, stream: orders_stream, group: inventory-group}
notification: {port: 8003, stream: inventory_stream, group: notification-group}
{{- end -}}

{{/* `http`, or `management` where probes and metrics have a port of their own. */}}
{{- define "ecommerce.probedPort" -}}
{{- ternary "management" "http" (not (empty .Values.managementPort)) -}}
{{- end -}}

{{/* Whether a service asks for tokens: empty when not. Takes the service. */}}
{{- define "ecommerce.asksForTokens" -}}
{{- if or (dig "settings" "AUTH_JWKS" "" .) (dig "secretSettings" "AUTH_JWKS" "" .) -}}yes{{- end -}}
{{- end -}}

{{/* The port of the address that a service gets the keys of tokens from, if it does. Takes the service. */}}
{{- define "ecommerce.keysPort" -}}
{{- $address := dig "settings" "AUTH_JWKS" "" . -}}
{{- if regexMatch "^https?://" $address -}}
{{- regexFind ":[0-9]+$" (urlParse $address).host | trimPrefix ":" | default (ternary "443" "80" (hasPrefix "https:" $address)) -}}
{{- end -}}
{{- end -}}

{{/*
The number of replicas: the value at installation, the live number afterwards, so that what `kubectl scale` has set
survives an upgrade, 0 too. Empty when the value is null or an autoscaler decides. Takes (list $ name service).
*/}}
{{- define "ecommerce.replicas" -}}
{{- $root := index . 0 -}}
{{- $service := index . 2 -}}
{{- if and (eq $service.autoscaling.mode "none") (hasKey $service "replicas") -}}
{{- $number := $service.replicas -}}
{{- if $root.Release.IsUpgrade -}}
{{- $name := printf "%s-%s" (include "ecommerce.fullname" $root) (index . 1) -}}
{{- $live := lookup "apps/v1" "Deployment" $root.Release.Namespace $name -}}
{{- if $live -}}
{{- $number = $live.spec.replicas -}}
{{- end -}}
{{- end -}}
{{- int64 $number -}}
{{- end -}}
{{- end -}}

{{/* Environment of a service. `$(VAR)` refers to earlier entries only. Takes (list $ name service). */}}
{{- define "ecommerce.env" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $service := index . 2 -}}
- name: POD_NAME # the consumer's name
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: POD_UID
  valueFrom: {fieldRef: {fieldPath: metadata.uid}}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
- name: PORT
  value: {{ include "ecommerce.text" $service.port | quote }}
{{- with $root.Values.managementPort }}
- name: MANAGEMENT_PORT
  value: {{ include "ecommerce.text" . | quote }}
{{- end }}
{{ include "ecommerce.redisEnv" (list $root $name) }}
{{- with $root.Values.keyPrefix }}
- name: KEY_PREFIX
  value: {{ . | quote }}
{{- end }}
- name: DRAIN_SECONDS
  value: {{ include "ecommerce.text" $service.drainSeconds | quote }}
{{- range $key, $value := $service.settings }}
- name: {{ $key }}
  value: {{ include "ecommerce.text" $value | quote }}
{{- end }}
{{- range $key, $from := $service.secretSettings }}
- name: {{ $key }}
  valueFrom: {secretKeyRef: {name: {{ $from.name | quote }}, key: {{ $from.key | quote }}}}
{{- end }}
- name: OTEL_SERVICE_NAME # else all services would have the same
  value: {{ $name }}-service
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ include "ecommerce.resourceAttributes" . | quote }}
{{- with $root.Values.otlp }}
{{- if .endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
- name: OTEL_EXPORTER_OTLP_PROTOCOL
  value: {{ .protocol }}
- name: OTEL_TRACES_SAMPLER
  value: parentbased_traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ include "ecommerce.text" .sampleRatio | quote }}
{{- end }}
{{- end }}
{{- with $service.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "ecommerce.resourceAttributes" -}}
{{- $root := index . 0 -}}
{{- $attributes := dict
  "service.namespace" (include "ecommerce.fullname" $root)
  "service.instance.id" "$(POD_NAME)"
  "service.version" ((index . 2).image.tag | default $root.Values.image.tag | default $root.Chart.AppVersion)
  "k8s.namespace.name" "$(POD_NAMESPACE)"
  "k8s.deployment.name" (printf "%s-%s" (include "ecommerce.fullname" $root) (index . 1))
  "k8s.pod.name" "$(POD_NAME)"
  "k8s.pod.uid" "$(POD_UID)"
  "k8s.node.name" "$(NODE_NAME)" -}}
{{- with $root.Values.otlp.environment -}}
{{- $_ := set $attributes "deployment.environment.name" . -}}
{{- end -}}
{{- $pairs := list -}}
{{- range $key, $value := mustMergeOverwrite $attributes ($root.Values.otlp.resourceAttributes | default dict) -}}
{{- $pairs = append $pairs (printf "%s=%s" $key $value) -}}
{{- end -}}
{{- join "," $pairs -}}
{{- end -}}

{{/* Security contexts that the policy `restricted` asks for, and a read-only root. */}}
{{- define "ecommerce.podSecurity" -}}
{{- $restricted := dict "runAsNonRoot" true "runAsUser" 10001 "runAsGroup" 10001 "fsGroup" 10001
  "fsGroupChangePolicy" "OnRootMismatch" "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- toYaml (mustMergeOverwrite $restricted (. | default dict)) -}}
{{- end -}}

{{- define "ecommerce.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}
