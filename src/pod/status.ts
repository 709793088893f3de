import { readFileSync, statSync } from 'node:fs';
import type { ImageId } from '../image/digest.ts';
import type { Provenance } from '../image/provenance.ts';
import { type AppDescription, describePod, type MountStatus, NOTHING_SAID } from './description.ts';
import type { PodState } from './phase.ts';
import type { Pod, Timestamp } from './pod.ts';
import { type PodProcesses, runningProcesses } from './processes.ts';
import {
  creationTime,
  type PodRecord,
  type RecordedApp,
  type RecordedStage1,
  readRecord,
} from './record.ts';

/** What an app of a pod is. */
export interface AppOverview {
  readonly name: string;
  readonly imageId: ImageId;
  readonly imageName: string;
  /** Who vouched for the image when the pod was prepared. */
  readonly provenance?: Provenance;
}

/** And how it is. Times are nanoseconds since 1970. */
export interface AppStatus extends AppOverview {
  readonly state: 'created' | 'running' | 'exited';
  readonly createdAt?: Timestamp;
  readonly startedAt?: Timestamp;
  readonly finishedAt?: Timestamp;
  /** Absent too when the pod was killed before the app's end could be noted. */
  readonly exitCode?: number;
  readonly mounts: readonly MountStatus[];
  readonly userAnnotations: Readonly<Record<string, string>>;
  readonly userLabels: Readonly<Record<string, string>>;
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

/** What `list` shows of a pod. */
export interface PodOverview {
  readonly uuid: string;
  readonly state: PodState;
  readonly apps: readonly AppOverview[];
  readonly networks: readonly NetworkStatus[];
  /** What isolates it. */
  readonly stage1?: RecordedStage1;
  readonly createdAt?: Timestamp;
  readonly startedAt?: Timestamp;
}

/** The same with its apps' states, and what whoever started it said of it. */
export interface PodSummary extends PodOverview {
  readonly apps: readonly AppStatus[];
  readonly userAnnotations: Readonly<Record<string, string>>;
  readonly userLabels: Readonly<Record<string, string>>;
}

/** What `status` shows of a pod. */
export interface PodStatus extends PodSummary, PodProcesses {
  readonly exited: boolean;
  /** Every app has been started. */
  readonly ready: boolean;
  readonly exitCode?: number;
}

/** What is known about a pod, in whatever phase; the rest is absent. */
export function podOverview(pod: Pod): PodOverview {
  return overviewOf(pod, pod.state(), readRecord(pod));
}

/** The same with its apps' states and its manifest. */
export function podSummary(pod: Pod): PodSummary {
  const state = pod.state();
  const record = readRecord(pod);
  const { createdAt, ...overview } = overviewOf(pod, state, record);
  const { apps, userAnnotations, userLabels } = describePod(pod);
  const mutable = record?.settings.mutable !== undefined;
  return {
    ...overview,
    ...optional('createdAt', createdAt),
    apps: (record?.apps ?? []).map((app) => ({
      ...appStatus(pod, app, state, mutable ? addedAt(pod, app) : createdAt),
      ...(apps.get(app.name) ?? NOTHING_SAID),
    })),
    userAnnotations,
    userLabels,
  };
}

function overviewOf(pod: Pod, state: PodState, record: PodRecord | undefined): PodOverview {
  const startedAt = NOT_STARTED.has(state) ? undefined : parseTime(read(pod, 'started'));
  return {
    uuid: pod.uuid,
    state,
    apps: record?.apps ?? [],
    networks: [],
    ...optional('stage1', record?.stage1),
    ...optional('createdAt', creationTime(pod)),
    ...optional('startedAt', startedAt),
  };
}

/** In these no supervisor has written anything yet. */
const NOT_STARTED: ReadonlySet<PodState> = new Set(['preparing', 'aborted prepare', 'prepared']);

/** The same with its processes and exit code. */
export function podStatus(pod: Pod): PodStatus {
  const summary = podSummary(pod);
  const running = summary.state === 'running';
  return {
    ...summary,
    ...(running ? runningProcesses(pod, read(pod, 'pid')) : {}),
    exited: ['exited', 'exited garbage', 'exited deleting'].includes(summary.state),
    ready: read(pod, 'ready') !== undefined,
    ...optional('exitCode', parseCode(read(pod, 'exit'))),
  };
}

/** When an app came to a mutable pod: when its plan was written. */
function addedAt(pod: Pod, { name }: RecordedApp): Timestamp | undefined {
  const stats = statSync(pod.file(`apps/${name}/plan`), { bigint: true, throwIfNoEntry: false });
  return stats?.mtimeNs;
}

function appStatus(
  pod: Pod,
  app: RecordedApp,
  podState: PodState,
  createdAt: Timestamp | undefined,
): Omit<AppStatus, keyof AppDescription> {
  const fields = parseFields(read(pod, `apps/${app.name}/state`));
  const startedAt = parseTime(fields.get('started'));
  const exitCode = parseCode(fields.get('exit'));
  return {
    name: app.name,
    imageId: app.imageId,
    imageName: app.imageName,
    ...optional('provenance', app.provenance),
    state: appState(podState, startedAt !== undefined, exitCode !== undefined),
    ...optional('createdAt', createdAt),
    ...optional('startedAt', startedAt),
    ...optional('finishedAt', parseTime(fields.get('finished'))),
    ...optional('exitCode', exitCode),
  };
}

/** An app whose end was never noted has ended all the same when its pod has. */
function appState(pod: PodState, started: boolean, ended: boolean): AppStatus['state'] {
  if (ended) return 'exited';
  if (pod === 'running') return started ? 'running' : 'created';
  return pod.startsWith('exited') ? 'exited' : 'created';
}

/** A small file the supervisor wrote; undefined where there is none. */
function read(pod: Pod, name: string): string | undefined {
  try {
    return readFileSync(pod.file(name), 'utf8');
  } catch {
    return undefined;
  }
}

function parseFields(text: string | undefined): Map<string, string> {
  const pairs = (text ?? '').split('\n').map((line): [string, string] => {
    const [name = '', ...value] = line.split('=');
    return [name, value.join('=')];
  });
  return new Map(pairs);
}

/** `SECONDS.NANOSECONDS` since 1970. */
function parseTime(text: string | undefined): Timestamp | undefined {
  const match = /^(\d{1,12})\.(\d{1,9})\s*$/.exec(text ?? '');
  if (match === null) return undefined;
  const [, seconds = '', fraction = ''] = match;
  return BigInt(seconds) * 1_000_000_000n + BigInt(fraction.padEnd(9, '0'));
}

function parseCode(text: string | undefined): number | undefined {
  return /^\d{1,3}\s*$/.test(text ?? '') ? Number(text) : undefined;
}

function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]?: V });
}
