import type { ImageId } from '../image/digest.ts';
import type { PodState } from './phase.ts';
import type { Pod, Timestamp } from './pod.ts';

export interface AppStatus {
  readonly name: string;
  readonly imageId: ImageId;
  readonly imageName: string;
  readonly state: 'created' | 'running' | 'exited';
  readonly createdAt?: Timestamp;
  readonly startedAt?: Timestamp;
  readonly finishedAt?: Timestamp;
  readonly exitCode?: number;
}
/** A network a pod is on; `--net=none` and `--net=host` have none. */
export interface NetworkStatus {
  readonly netName: string;
  readonly netConf: string;
  readonly pluginPath: string;
  readonly ifName: string;
  readonly ip: string;
  readonly args: string;
  readonly mask: string;
}
export interface PodSummary {
  readonly uuid: string;
  readonly state: PodState;
  readonly apps: readonly AppStatus[];
  readonly networks: readonly NetworkStatus[];
  readonly createdAt?: Timestamp;
  readonly startedAt?: Timestamp;
}
export interface PodStatus extends PodSummary {
  /** Process id, on the host, of the pod's init; only while it is verified to be the pod's. */
  readonly pid?: number;
  /** The process that runs the pod, verified likewise. */
  readonly supervisor?: number;
  readonly exited: boolean;
  readonly ready: boolean;
  readonly finishedAt?: Timestamp;
  readonly exitCode?: number;
}
/** Everything known about one pod; never throws for a pod in any phase. */
export declare function podStatus(pod: Pod): PodStatus;
