import { readFileSync, statSync } from 'node:fs';
import type { ImageId } from '../image/digest.ts';
import type { Provenance } from '../image/provenance.ts';
import type { PodSettings } from '../stage1/settings.ts';
import type { Pod, Timestamp } from './pod.ts';

/** Gantry's own account of a pod, `record.json` in its directory; written once, but for a mutable pod. */
export interface PodRecord {
  readonly version: 1;
  readonly apps: readonly RecordedApp[];
  /** Every image the pod is made of, dependencies included. */
  readonly images: readonly ImageId[];
  /**
   * The trees below the store's `layers/` that the roots of its apps are made of. Absent in records of
   * before images had several.
   */
  readonly trees?: readonly string[];
  /** What isolates the pod. Absent in records of before there were several. */
  readonly stage1?: RecordedStage1;
  /** What the launch plan was compiled from. */
  readonly settings: PodSettings;
}

export interface RecordedApp {
  readonly name: string;
  readonly imageId: ImageId;
  /** With its version: `name:version`. */
  readonly imageName: string;
  /** Who vouched for the image when the pod was prepared. Absent in records of before this was kept. */
  readonly provenance?: Provenance;
  /** In a mutable pod: what of the pod's `images` and `trees` this app needs. */
  readonly images?: readonly ImageId[];
  readonly trees?: readonly string[];
}

export interface RecordedStage1 {
  /** As its manifest has it. */
  readonly name: string;
  /** Where it is an image: which, and who vouched for it when the pod was prepared. */
  readonly imageId?: ImageId;
  readonly imageName?: string;
  readonly provenance?: Provenance;
  /** In a mutable pod: what of the pod's `images` and `trees` it needs, whatever apps come and go. */
  readonly images?: readonly ImageId[];
  readonly trees?: readonly string[];
}

/** The record; undefined while the pod has none, or when a crash of the machine took it. */
export function readRecord(pod: Pod): PodRecord | undefined {
  try {
    const record: unknown = JSON.parse(readFileSync(pod.file('record.json'), 'utf8'));
    return isRecord(record) ? record : undefined;
  } catch {
    return undefined;
  }
}

/** When the pod was created, to the nanosecond: when its record was written. */
export function creationTime(pod: Pod): Timestamp | undefined {
  return statSync(pod.file('record.json'), { bigint: true, throwIfNoEntry: false })?.mtimeNs;
}

/** Written by us, whole or not at all: the version tells that it is what it seems. */
function isRecord(value: unknown): value is PodRecord {
  return typeof value === 'object' && value !== null && 'version' in value && value.version === 1;
}
