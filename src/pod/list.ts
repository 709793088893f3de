import { podsIn } from './find.ts';
import { NAMED_PHASES, PHASES, type Phase } from './phase.ts';
import { Pod } from './pod.ts';
import { readRecord } from './record.ts';
import { type PodOverview, type PodSummary, podOverview, podSummary } from './status.ts';

/** What can be said of every pod without a look into its apps' files, oldest first. */
export function overviewPods(dataDir: string): PodOverview[] {
  return collectPods(dataDir, podOverview);
}

/** Every pod that can be named, with its apps' states, oldest first. */
export function listPods(dataDir: string): PodSummary[] {
  return collectPods(dataDir, podSummary);
}

function collectPods<T extends PodOverview>(dataDir: string, look: (pod: Pod) => T): T[] {
  const pods = new Map<string, T>();
  eachPod(dataDir, NAMED_PHASES, (pod) => pods.set(pod.uuid, look(pod)));
  return [...pods.values()].sort(byCreation);
}

/**
 * The images that pods are made of, in any phase, dependencies included, by id, and the trees of layers
 * their roots lie over, by name: image gc and `image rm` leave these alone. To be
 * asked while the store's images are locked: otherwise a pod may just be in the making.
 */
export function imagesInUse(dataDir: string): Set<string> {
  const inUse = new Set<string>();
  eachPod(dataDir, PHASES, (pod) => {
    const { images = [], trees = [] } = readRecord(pod) ?? {};
    for (const name of [...images, ...trees]) inUse.add(name);
  });
  return inUse;
}

/**
 * Phases are gone through in the order pods pass through them, so that one that moves on meanwhile
 * is met again rather than missed.
 */
function eachPod(dataDir: string, phases: readonly Phase[], visit: (pod: Pod) => void): void {
  for (const phase of phases) {
    for (const uuid of podsIn(dataDir, phase)) {
      using pod = Pod.open(dataDir, uuid, phase);
      if (pod !== undefined) visit(pod);
    }
  }
}

function byCreation(a: PodOverview, b: PodOverview): number {
  const [first, second] = [a.createdAt ?? 0n, b.createdAt ?? 0n];
  if (first === second) return a.uuid < b.uuid ? -1 : 1;
  return first < second ? -1 : 1;
}
