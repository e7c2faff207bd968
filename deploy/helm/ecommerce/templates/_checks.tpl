{{/* What values must not say. Each message names the value and what to do; nothing is installed then. */}}

{{- define "ecommerce.checks" -}}
{{- $services := include "ecommerce.services" . | fromJson -}}
{{- include "ecommerce.checkRelease" (list . $services) -}}
{{- include "ecommerce.checkRedis" . -}}
{{- include "ecommerce.checkAcl" . -}}
{{- include "ecommerce.checkRoutes" (list . $services) -}}
{{- include "ecommerce.checkKeeping" $services -}}
{{- range $name, $service := $services -}}
{{- include "ecommerce.checkService" (list $ $name $service) -}}
{{- end -}}
{{- end -}}

{{- define "ecommerce.checkRelease" -}}
{{- $root := index . 0 -}}
{{- if not (regexMatch "^[a-z]" (include "ecommerce.fullname" $root)) -}}
{{- fail (printf "the release's name %q starts with a digit, and a Service's name may not: choose another, or set fullnameOverride" $root.Release.Name) -}}
{{- end -}}
{{- if not (or (index . 1) $root.Values.redis.enabled) -}}
{{- fail "nothing is enabled: set services.<name>.enabled or redis.enabled to true" -}}
{{- end -}}
{{- end -}}

{{- define "ecommerce.checkRedis" -}}
{{- $external := .Values.externalRedis -}}
{{- $sentinel := $external.sentinel -}}
{{- if .Values.redis.enabled -}}
{{- if or $external.url $sentinel.addresses -}}
{{- fail "redis.enabled is true, so externalRedis would not be used: set redis.enabled=false, or leave externalRedis out" -}}
{{- end -}}
{{- if regexMatch ":latest$" .Values.redis.image -}}
{{- fail "redis.image ends with :latest, which names another image every day: name a version or a digest" -}}
{{- end -}}
{{- $limit := include "ecommerce.mebibytes" (dig "limits" "memory" "" (.Values.redis.resources | default dict)) | int64 -}}
{{- $data := include "ecommerce.mebibytes" .Values.redis.maxmemory | int64 -}}
{{- if and $limit (gt (mul 4 $data) (mul 3 $limit)) -}}
{{- fail (printf "redis.maxmemory (%s) is more than three quarters of redis.resources.limits.memory (%s): rewriting the append-only file needs the rest; lower the one or raise the other" .Values.redis.maxmemory .Values.redis.resources.limits.memory) -}}
{{- end -}}
{{- else -}}
{{- if not (or $external.url $sentinel.addresses) -}}
{{- fail "redis.enabled is false, so the services need to know another Redis: set externalRedis.url, or externalRedis.sentinel.addresses and .master" -}}
{{- end -}}
{{- if ne (empty $sentinel.addresses) (empty $sentinel.master) -}}
{{- fail "externalRedis.sentinel.addresses and externalRedis.sentinel.master go together: set both or neither" -}}
{{- end -}}
{{- if and $sentinel.existingSecret (not $sentinel.addresses) -}}
{{- fail "externalRedis.sentinel.existingSecret is set, but externalRedis.sentinel.addresses is empty, so nobody would be asked for it" -}}
{{- end -}}
{{- if regexMatch "^[a-z]+://[^/@]*:[^/@]*@" $external.url -}}
{{- fail "externalRedis.url holds a password, which would stand in the open: leave it out, and name a Secret in externalRedis.existingSecret" -}}
{{- end -}}
{{- if and $external.tls.caSecret (not (hasPrefix "rediss://" $external.url)) -}}
{{- fail "externalRedis.tls.caSecret is set, but externalRedis.url does not start with rediss://, so there would be no TLS" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "ecommerce.checkAcl" -}}
{{- $external := .Values.externalRedis -}}
{{- if $external.usersSecret -}}
{{- if .Values.redis.enabled -}}
{{- fail "redis.enabled is true, so externalRedis.usersSecret would not be used: set redis.acl.enabled instead" -}}
{{- end -}}
{{- if or $external.existingSecret (contains "@" $external.url) -}}
{{- fail "externalRedis.usersSecret gives each service a user of its own: leave externalRedis.existingSecret out, and the user in externalRedis.url" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.redis.enabled (include "ecommerce.redisAcl" .) -}}
{{- range $name, $service := include "ecommerce.services" . | fromJson -}}
{{- if hasKey ($service.settings | default dict) "DROP_GROUPS_IDLE_SECONDS" -}}
{{- fail (printf "services.%s.settings.DROP_GROUPS_IDLE_SECONDS needs the right to delete what is other groups', which users of redis.acl don't have: leave one of both out" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "ecommerce.checkRoutes" -}}
{{- $root := index . 0 -}}
{{- range $key := list "ingress" "httpRoute" -}}
{{- if (index $root.Values $key).enabled -}}
{{- $paths := list -}}
{{- range index $ 1 -}}
{{- $paths = concat $paths (.paths | default list) -}}
{{- end -}}
{{- if not $paths -}}
{{- fail (printf "%s.enabled is true, but no enabled service has paths: set services.<name>.paths" $key) -}}
{{- end -}}
{{- if and $root.Values.networkPolicy.enabled (not $root.Values.networkPolicy.httpFrom) -}}
{{- fail (printf "%s.enabled is true, but the NetworkPolicies would refuse its controller: name its namespace in networkPolicy.httpFrom" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $root.Values.ingress.enabled (not $root.Values.ingress.hosts) -}}
{{- fail "ingress.enabled is true, but ingress.hosts is empty: name a host" -}}
{{- end -}}
{{- if and $root.Values.httpRoute.enabled (not $root.Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.enabled is true, but httpRoute.parentRefs is empty: name a Gateway" -}}
{{- end -}}
{{- include "ecommerce.checkTokens" . -}}
{{- end -}}

{{/* Whoever reaches an API without tokens may read all orders, with mail addresses, and cancel them. */}}
{{- define "ecommerce.checkTokens" -}}
{{- $root := index . 0 -}}
{{- range $key := list "ingress" "httpRoute" -}}
{{- $route := index $root.Values $key -}}
{{- range $name, $service := index $ 1 -}}
{{- if and $route.enabled (not $route.withoutTokens) $service.paths (not (include "ecommerce.asksForTokens" $service)) -}}
{{- fail (printf "%s.enabled is true, but services.%s asks for no tokens: whoever gets through may use all of %s, which for orders means to read everybody's, mail addresses included, and to cancel them; set AUTH_JWKS, AUTH_ISSUER and AUTH_AUDIENCE in services.%s.settings, or, where something in front decides who may call, %s.withoutTokens=true" $key $name (join ", " $service.paths) $name $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* An order can be cancelled for as long as it is kept, and its stock be given back for as long as its reservation is. */}}
{{- define "ecommerce.checkKeeping" -}}
{{- if and (hasKey . "order") (hasKey . "inventory") -}}
{{- $orders := dig "settings" "STATE_KEEP_DAYS" 30 .order | float64 -}}
{{- $reservations := dig "settings" "STATE_KEEP_DAYS" 30 .inventory | float64 -}}
{{- if gt $orders $reservations -}}
{{- fail (printf "services.order.settings.STATE_KEEP_DAYS (%v) is more than services.inventory's (%v): the stock of orders that are cancelled late could not be given back; set both, or defaults.settings.STATE_KEEP_DAYS" $orders $reservations) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "ecommerce.checkService" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $service := index . 2 -}}
{{- if eq (int64 $root.Values.managementPort) (int64 $service.port) -}}
{{- fail (printf "managementPort (%v) is the port of services.%s: choose another, such as 9090" $service.port $name) -}}
{{- end -}}
{{- $scaling := $service.autoscaling -}}
{{- $needed := addf $service.preStopSleepSeconds $service.drainSeconds 5 -}}
{{- if lt ($service.terminationGracePeriodSeconds | float64) $needed -}}
{{- fail (printf "services.%s: terminationGracePeriodSeconds (%v) is too short: preStopSleepSeconds (%v) + drainSeconds (%v) + 5 to leave make %v" $name $service.terminationGracePeriodSeconds $service.preStopSleepSeconds $service.drainSeconds $needed) -}}
{{- end -}}
{{- if hasSuffix ":latest" (include "ecommerce.image" .) -}}
{{- fail (printf "services.%s: the image's tag is latest, which names another image every day: set image.tag to a version" $name) -}}
{{- end -}}
{{- if and (ne $scaling.mode "none") (gt ($scaling.minReplicas | float64) ($scaling.maxReplicas | float64)) -}}
{{- fail (printf "services.%s: autoscaling.minReplicas (%v) is more than autoscaling.maxReplicas (%v)" $name $scaling.minReplicas $scaling.maxReplicas) -}}
{{- end -}}
{{- if and (eq $scaling.mode "hpa") (not (dig "requests" "cpu" "" ($service.resources | default dict))) -}}
{{- fail (printf "services.%s: autoscaling.mode is hpa, which counts in percent of resources.requests.cpu: set that" $name) -}}
{{- end -}}
{{- if and (eq (toString $service.rollout.maxUnavailable) "0") (eq (toString $service.rollout.maxSurge) "0") -}}
{{- fail (printf "services.%s: rollout.maxUnavailable and rollout.maxSurge are both 0, so that no rollout could begin" $name) -}}
{{- end -}}
{{- $seen := dict -}}
{{- range include "ecommerce.env" . | fromYamlArray -}}
{{- if hasKey $seen .name -}}
{{- fail (printf "services.%s: the variable %s is set twice: take it out of settings, secretSettings or extraEnv" $name .name) -}}
{{- end -}}
{{- $_ := set $seen .name true -}}
{{- end -}}
{{- end -}}
