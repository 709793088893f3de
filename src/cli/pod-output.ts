import type { RecordedStage1 } from '../pod/record.ts';
import type { AppStatus, NetworkStatus, PodSummary } from '../pod/status.ts';
import { formatTime } from './format.ts';

/** A timestamp of a pod (nanoseconds since 1970) as a Date. */
export function dateOf(timestamp: bigint): Date {
  return new Date(Number(timestamp / 1_000_000n));
}

/** `default:ip4=172.16.28.7`, several separated by commas, as rkt prints them. */
export function formatNetworks(networks: readonly NetworkStatus[]): string {
  return networks.map(({ netName, ip }) => `${netName}:ip4=${ip}`).join(', ');
}

/** `created=` and the like, with the exact time. */
export function timeLine(name: string, timestamp: bigint | undefined): string[] {
  return timestamp === undefined ? [] : [`${name}=${formatTime(dateOf(timestamp))}`];
}

/** A pod in the JSON that rkt's `list` and `status` print. */
export function podJson(pod: PodSummary) {
  return {
    name: pod.uuid,
    state: pod.state,
    networks: pod.networks,
    app_names: pod.apps.map((app) => app.name),
    apps: pod.apps.map(appJson),
    created_at: pod.createdAt,
    started_at: pod.startedAt,
    stage1: pod.stage1 === undefined ? undefined : stage1Json(pod.stage1),
  };
}

function stage1Json({ name, imageId, imageName, provenance }: RecordedStage1) {
  return { name, image_id: imageId, image_name: imageName, provenance };
}

/** An app in that JSON. */
export function appJson(app: AppStatus) {
  return {
    name: app.name,
    state: app.state,
    created_at: app.createdAt,
    started_at: app.startedAt,
    finished_at: app.finishedAt,
    exit_code: app.exitCode,
    image_id: app.imageId,
    provenance: app.provenance,
  };
}
