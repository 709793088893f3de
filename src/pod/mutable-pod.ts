import { closeSync, existsSync, openSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { GantryError } from '../error.ts';
import { podManifestDocument } from '../image/manifest-document.ts';
import type { PodManifest } from '../image/pod-manifest.ts';
import { LOCK, system } from '../system/binding.ts';
import { readManifest } from './manifest.ts';
import type { Pod } from './pod.ts';
import { type PodRecord, readRecord } from './record.ts';

/** Adding an image to a pod takes seconds at most; whoever waits longer waits for something that hangs. */
const PATIENCE_MS = 60_000;
const STEP_MS = 10;

/**
 * What a mutable pod is made of now.
 * @param doing what it is for, in rkt's words: `cannot add application`
 * @throws GantryError `unsupported` for a pod whose apps are settled
 */
export function readMutable(pod: Pod, doing: string): PodRecord {
  const record = readRecord(pod);
  if (record?.settings.mutable !== undefined) return record;
  throw new GantryError(
    'unsupported',
    `${doing}: immutable pod: apps come to and go from those of gantry app sandbox only`,
  );
}

/**
 * Refuses a pod that does not run, or not yet.
 * @throws GantryError `wrong-phase`
 */
export function requireRunning(pod: Pod): void {
  const name = JSON.stringify(pod.uuid);
  const state = pod.state();
  if (state !== 'running') {
    throw new GantryError('wrong-phase', `pod ${name} isn't currently running: it is ${state}`);
  }
  if (existsSync(pod.file('ready'))) return;
  throw new GantryError(
    'wrong-phase',
    `supervisor for pod ${name} is not yet ready: try again, or wait with gantry status --wait-ready`,
  );
}

/**
 * Takes the lock on a mutable pod's apps, an flock on its directory `apps`: exclusively to change which
 * there are, shared to have them stay. The pod's own lock is the supervisor's as long as it runs.
 * @throws GantryError `busy`, `not-found` for a pod that is gone
 */
export async function lockApps(pod: Pod, how: 'exclusive' | 'shared'): Promise<Disposable> {
  let fd: number;
  try {
    fd = openSync(pod.file('apps'), 'r');
  } catch (cause) {
    throw new GantryError('not-found', `pod ${JSON.stringify(pod.uuid)} is gone`, { cause });
  }
  for (let waited = 0; !system.flock(fd, LOCK[how] | LOCK.nonBlocking); waited += STEP_MS) {
    if (waited >= PATIENCE_MS) {
      closeSync(fd);
      throw new GantryError(
        'busy',
        `pod ${JSON.stringify(pod.uuid)}: its apps are being changed by another gantry: try again`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, STEP_MS));
  }
  return { [Symbol.dispose]: () => closeSync(fd) };
}

/**
 * Puts a new record in the place of the old one; its time, which is the pod's creation, stays. The images
 * it names are kept from here on, those it names no longer are not.
 */
export function replaceRecord(pod: Pod, record: PodRecord): void {
  const { mtimeNs } = statSync(pod.file('record.json'), { bigint: true });
  replace(pod, 'record.json', record, () => {
    const [seconds, nanoseconds] = [mtimeNs / 1_000_000_000n, mtimeNs % 1_000_000_000n];
    system.setTimesAt(pod.fd, 'record.json.new', Number(seconds), Number(nanoseconds));
  });
}

/**
 * Puts a pod manifest in the place of the old one: what of that the record names, `change` made to it.
 */
export function keepManifest(
  pod: Pod,
  { apps, settings }: PodRecord,
  change: (manifest: PodManifest) => PodManifest = (manifest) => manifest,
): void {
  const manifest = readManifest(pod);
  const { volumes, hostVolumes = [] } = settings;
  const had = new Set([...volumes, ...hostVolumes.map(({ name }) => name)]);
  const kept = {
    ...manifest,
    apps: manifest.apps.filter((app) => apps.some(({ name }) => name === app.name)),
    volumes: manifest.volumes.filter(({ name }) => had.has(name)),
  };
  replace(pod, 'pod.json', podManifestDocument(change(kept)));
}

/** Beside its place and renamed: whoever reads, at any time, has the old one or the new one. */
function replace(pod: Pod, name: string, value: unknown, finish: () => void = () => {}): void {
  writeFileSync(pod.file(`${name}.new`), `${JSON.stringify(value)}\n`, { mode: 0o640 });
  finish();
  renameSync(pod.file(`${name}.new`), pod.file(name));
}
