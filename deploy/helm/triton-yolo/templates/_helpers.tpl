{{- define "triton-yolo.name" -}}
{{- $name := ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) -}}
{{ $name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "triton-yolo.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "triton-yolo.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Of a pod: not root, no profile of system calls but the runtime's, no token of the cluster. */}}
{{- define "triton-yolo.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user }}
  runAsGroup: {{ .user }}
  fsGroup: {{ .user }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets: {{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "triton-yolo.container" -}}
imagePullPolicy: {{ .Values.images.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  privileged: false
  capabilities: { drop: [ALL] }
{{- end }}

{{/* Pods of one kind on different nodes, as far as there are some. */}}
{{- define "triton-yolo.apart" -}}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector: { matchLabels: {{ toJson . }} }
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector: { matchLabels: {{ toJson . }} }
{{- end }}

{{/* Folder of the cache for a type of GPU and a version of Triton, which has one of TensorRT. */}}
{{- define "triton-yolo.cacheKey" -}}
{{ printf "%s-%s" .name ((.image | splitList "@" | first) | splitList ":" | last) | replace "/" "-" }}
{{- end }}

{{/* Replicas that the cameras need: frames of its share of them, over what a server answers at the wanted utilisation. */}}
{{- define "triton-yolo.replicas" -}}
{{- $scaling := .root.Values.scaling -}}
{{- $frames := mulf $scaling.cameras $scaling.framesPerSecond .server.scaling.share -}}
{{ max 1 (divf $frames (mulf .server.scaling.framesPerSecond $scaling.utilisation) | ceil | int) }}
{{- end }}

{{/* Frames that one server has waiting when each waits queueSeconds (Little's law). */}}
{{- define "triton-yolo.pending" -}}
{{ max 1 (mulf .server.scaling.framesPerSecond .root.Values.scaling.queueSeconds | floor | int) }}
{{- end }}
