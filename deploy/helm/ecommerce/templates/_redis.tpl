{{/* Where Redis is and how to get in. */}}

{{/* The Secret with the password; empty when there is none. */}}
{{- define "ecommerce.redisSecret" -}}
{{- if not .Values.redis.enabled -}}
{{- .Values.externalRedis.usersSecret | default .Values.externalRedis.existingSecret -}}
{{- else if .Values.redis.auth.enabled -}}
{{- .Values.redis.auth.existingSecret | default (printf "%s-redis" (include "ecommerce.fullname" .)) -}}
{{- end -}}
{{- end -}}

{{/* The Secret with the password of the Sentinels; empty when there is none. */}}
{{- define "ecommerce.sentinelSecret" -}}
{{- if not .Values.redis.enabled -}}
{{- .Values.externalRedis.sentinel.existingSecret -}}
{{- end -}}
{{- end -}}

{{/* "true" where each service is a Redis user of its own. */}}
{{- define "ecommerce.redisAcl" -}}
{{- if ternary (and .Values.redis.auth.enabled .Values.redis.acl.enabled) (not (empty .Values.externalRedis.usersSecret)) .Values.redis.enabled -}}true{{- end -}}
{{- end -}}

{{/* The Secret with the password of each Redis user, by the user's name. */}}
{{- define "ecommerce.redisUsersSecret" -}}
{{- if .Values.redis.enabled -}}
{{- .Values.redis.acl.existingSecret | default (printf "%s-redis-users" (include "ecommerce.fullname" .)) -}}
{{- else -}}
{{- .Values.externalRedis.usersSecret -}}
{{- end -}}
{{- end -}}

{{/* The rules of all Redis users as JSON, by name: those of files/redis-users.json, for this prefix and durability. */}}
{{- define "ecommerce.redisUsers" -}}
{{- $order := get (include "ecommerce.services" . | fromJson) "order" | default dict -}}
{{- $durability := dig "settings" "ORDER_DURABILITY" "memory" $order | toString | lower -}}
{{- $prefix := regexReplaceAll "([*?\\[\\]\\\\])" .Values.keyPrefix "\\${1}" | replace "(" "?" | replace ")" "?" -}}
{{- $all := .Files.Get "files/redis-users.json" | fromJson -}}
{{- $users := get $all $durability | default $all.memory -}}
{{- range $name, $rules := $users -}}
{{- $_ := set $users $name (replace "@KEY_PREFIX@" $prefix $rules) -}}
{{- end -}}
{{- toJson $users -}}
{{- end -}}

{{/* The passwords for the Secret that the chart makes, as JSON; they come, and stay, as `ecommerce.redisPassword` does. */}}
{{- define "ecommerce.redisUserPasswords" -}}
{{- $known := dig "data" dict (lookup "v1" "Secret" .Release.Namespace (include "ecommerce.redisUsersSecret" .)) -}}
{{- $passwords := dict -}}
{{- range $name, $_ := include "ecommerce.redisUsers" . | fromJson -}}
{{- if get $known $name -}}
{{- $_ := set $passwords $name (get $known $name | b64dec) -}}
{{- else if lookup "apps/v1" "Deployment" $.Release.Namespace "" -}}
{{- $_ := set $passwords $name (randAlphaNum 32) -}}
{{- end -}}
{{- end -}}
{{- toJson $passwords -}}
{{- end -}}

{{- define "ecommerce.redisSecretKey" -}}
{{- ternary .Values.redis.auth.secretKey .Values.externalRedis.secretKey .Values.redis.enabled -}}
{{- end -}}

{{/*
The password for the Secret that the chart makes: the value, or the one that is there already, or a new one. Empty without
a cluster (`helm template`): a made-up one would differ each time, and one derived from names could be guessed.
*/}}
{{- define "ecommerce.redisPassword" -}}
{{- $secret := lookup "v1" "Secret" .Release.Namespace (printf "%s-redis" (include "ecommerce.fullname" .)) -}}
{{- $known := dig "data" .Values.redis.auth.secretKey "" $secret -}}
{{- if .Values.redis.auth.password -}}
{{- .Values.redis.auth.password -}}
{{- else if $known -}}
{{- b64dec $known -}}
{{- else if lookup "apps/v1" "Deployment" .Release.Namespace "" -}}
{{- randAlphaNum 32 -}}
{{- end -}}
{{- end -}}

{{/* Changes when pods must start anew to see another password. It stands in the open, so it is too short to tell one. */}}
{{- define "ecommerce.redisAuthChecksum" -}}
{{- $password := ternary .Values.redis.auth.password "" .Values.redis.enabled -}}
{{- $secrets := list (include "ecommerce.redisSecret" .) (include "ecommerce.redisSecretKey" .) -}}
{{- with include "ecommerce.sentinelSecret" . -}}
{{- $secrets = concat $secrets (list . $.Values.externalRedis.sentinel.secretKey) -}}
{{- end -}}
{{- if include "ecommerce.redisAcl" . -}}
{{- $secrets = append $secrets (include "ecommerce.redisUsersSecret" .) -}}
{{- end -}}
{{- concat (list .Release.Namespace .Release.Name) $secrets (list $password) | toJson | sha256sum | trunc 8 -}}
{{- end -}}

{{- define "ecommerce.redisUrl" -}}
{{- $external := .Values.externalRedis -}}
{{- if .Values.redis.enabled -}}
{{- printf "redis://%s-redis:%d/0" (include "ecommerce.fullname" .) (int64 .Values.redis.port) -}}
{{- else -}}
{{- $external.url | default (printf "redis://%s:6379/0" $external.sentinel.master) -}}
{{- end -}}
{{- end -}}

{{/* Takes (list $ service). */}}
{{- define "ecommerce.redisEnv" -}}
{{- $user := printf "://%s-service@" (index . 1) -}}
{{- with index . 0 -}}
{{- $url := include "ecommerce.redisUrl" . -}}
- name: REDIS_URL
  value: {{ ternary (replace "://" $user $url) $url (eq (include "ecommerce.redisAcl" .) "true") | quote }}
{{- if include "ecommerce.redisSecret" . }}
- name: REDIS_PASSWORD_FILE
  value: /run/secrets/redis/password
{{- end }}
{{- if not .Values.redis.enabled }}
{{- with .Values.externalRedis.tls.caSecret }}
- name: REDIS_CA_FILE
  value: /run/secrets/redis-ca/ca.crt
{{- end }}
{{- with .Values.externalRedis.sentinel }}
{{- if .addresses }}
- name: REDIS_SENTINELS
  value: {{ join "," .addresses | quote }}
- name: REDIS_SENTINEL_MASTER
  value: {{ .master | quote }}
{{- if .existingSecret }}
- name: REDIS_SENTINEL_PASSWORD_FILE
  value: /run/secrets/redis-sentinel/password
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Where the password is mounted; in Redis's own pod too. */}}
{{- define "ecommerce.redisVolumeMounts" -}}
{{- if include "ecommerce.redisSecret" . -}}
- name: redis-password
  mountPath: /run/secrets/redis
  readOnly: true
{{- end }}
{{- if include "ecommerce.sentinelSecret" . }}
- name: sentinel-password
  mountPath: /run/secrets/redis-sentinel
  readOnly: true
{{- end }}
{{- if and (not .Values.redis.enabled) .Values.externalRedis.tls.caSecret }}
- name: redis-ca
  mountPath: /run/secrets/redis-ca
  readOnly: true
{{- end }}
{{- end -}}

{{/* Takes (list $ service): each service's own password where it has one. Redis's own pod is no service. */}}
{{- define "ecommerce.redisVolumes" -}}
{{- $service := index . 1 -}}
{{- $root := index . 0 -}}
{{- with $root -}}
{{- $own := and $service (include "ecommerce.redisAcl" .) -}}
{{- with ternary (include "ecommerce.redisUsersSecret" .) (include "ecommerce.redisSecret" .) (not (empty $own)) -}}
- name: redis-password
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    items:
      - key: {{ ternary (printf "%s-service" $service) (include "ecommerce.redisSecretKey" $root) (not (empty $own)) }}
        path: password
{{- end }}
{{- with include "ecommerce.sentinelSecret" . }}
- name: sentinel-password
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    items:
      - key: {{ $root.Values.externalRedis.sentinel.secretKey }}
        path: password
{{- end }}
{{- if and (not .Values.redis.enabled) .Values.externalRedis.tls.caSecret }}
- name: redis-ca
  secret:
    secretName: {{ .Values.externalRedis.tls.caSecret }}
    defaultMode: 0444
    items:
      - key: {{ .Values.externalRedis.tls.caKey }}
        path: ca.crt
{{- end }}
{{- end }}
{{- end -}}

{{/* A quantity of memory (512Mi, 2Gi, 1G, 512mb) in MiB; 0 when it is written in another way. */}}
{{- define "ecommerce.mebibytes" -}}
{{- $units := dict "Ki" 0.0009765625 "Mi" 1 "Gi" 1024 "Ti" 1048576 "M" 0.95367431640625 "G" 953.67431640625 "mb" 1 "gb" 1024 -}}
{{- $text := toString . -}}
{{- $unit := regexReplaceAll "^[0-9]+" $text "" -}}
{{- if and (regexMatch "^[0-9]+[A-Za-z]+$" $text) (hasKey $units $unit) -}}
{{- mulf (trimSuffix $unit $text | float64) (get $units $unit) | floor | int64 -}}
{{- else -}}
0
{{- end -}}
{{- end -}}
