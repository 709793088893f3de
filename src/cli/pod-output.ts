import type { MountStatus } from '../pod/description.ts';
import type { RecordedStage1 } from '../pod/record.ts';
import type { AppStatus, NetworkStatus, PodSummary } from '../pod/status.ts';
import { formatTime } from './format.ts';

/** `default:ip4=172.16.28.7`, several separated by commas, as rkt prints them. */
export function formatNetworks(networks: readonly NetworkStatus[]): string {
  return networks.map(({ netName, ip }) => `${netName}:ip4=${ip}`).join(', ');
}

/** `created=` and the like, with the exact time, to the millisecond or as many decimals. */
export function timeLine(name: string, timestamp: bigint | undefined, digits?: number): string[] {
  return timestamp === undefined ? [] : [`${name}=${formatTime(timestamp, digits)}`];
}

/** A pod in the JSON that rkt's `list` and `status` print (its api/v1): what is empty is left out, a pod's times are in seconds. */
export function podJson(pod: PodSummary) {
  return {
    name: pod.uuid,
    state: pod.state,
    networks: filled(pod.networks),
    app_names: filled(pod.apps.map((app) => app.name)),
    apps: filled(pod.apps.map(appJson)),
    created_at: seconds(pod.createdAt),
    started_at: seconds(pod.startedAt),
    user_annotations: filled(pod.userAnnotations),
    user_labels: filled(pod.userLabels),
    stage1: pod.stage1 === undefined ? undefined : stage1Json(pod.stage1),
  };
}

function stage1Json({ name, imageId, imageName, provenance }: RecordedStage1) {
  return { name, image_id: imageId, image_name: imageName, provenance };
}

/** An app in that JSON, its times in nanoseconds. */
export function appJson(app: AppStatus) {
  return {
    name: app.name,
    state: app.state,
    created_at: app.createdAt,
    started_at: app.startedAt,
    finished_at: app.finishedAt,
    exit_code: app.exitCode,
    image_id: app.imageId,
    mounts: filled(app.mounts.map(mountJson)),
    user_annotations: filled(app.userAnnotations),
    user_labels: filled(app.userLabels),
    provenance: app.provenance,
  };
}

function mountJson({ name, path, source, readOnly }: MountStatus) {
  return { name, container_path: path, host_path: source, read_only: readOnly };
}

function filled<T extends object>(members: T): T | undefined {
  return Object.keys(members).length === 0 ? undefined : members;
}

function seconds(timestamp: bigint | undefined): bigint | undefined {
  return timestamp === undefined ? undefined : timestamp / 1_000_000_000n;
}
