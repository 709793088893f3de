import { existsSync, fstatSync } from 'node:fs';
import { join } from 'node:path';
import { FilterCache } from '../isolation/filter-cache.ts';
import { sweepUsers } from '../isolation/user-ranges.ts';
import { podsIn } from './find.ts';
import { PHASES, type Phase } from './phase.ts';
import { Pod, phaseDirectory } from './pod.ts';
import { deletePod, moveToGarbage } from './remove.ts';

/** How thorough a gc is. */
export interface GcOptions {
  /** How long an exited pod stays in the garbage. */
  readonly graceSeconds: number;
  /** How long a prepared pod that nobody runs stays. */
  readonly expirePreparedSeconds: number;
  /** Mark what is garbage, delete nothing. */
  readonly markOnly: boolean;
  /** Gets a line, in rkt's words, for everything that happens. */
  readonly info?: (line: string) => void;
  /** Gets a line for what went wrong without keeping a pod from being removed. */
  readonly warn?: (line: string) => void;
}

/** What a gc did, by UUID. */
export interface GcSummary {
  /** Moved to the garbage now. */
  readonly marked: string[];
  readonly removed: string[];
  /** Exited pods still within the grace period. */
  readonly kept: string[];
  readonly failed: { readonly uuid: string; readonly error: unknown }[];
}

/**
 * Marks pods that have ended and deletes those marked long enough ago, besides what broken-off work
 * left, and compiled system call filters of long ago. A pod someone holds the lock of is passed over, so any number may run at once.
 */
export function gcPods(dataDir: string, options: GcOptions): GcSummary {
  const summary: GcSummary = { marked: [], removed: [], kept: [], failed: [] };
  const gc = new Collection(dataDir, options, summary);
  gc.mark('run', 0);
  gc.mark('prepare', 0);
  gc.mark('embryo', 0);
  if (options.markOnly) return summary;
  gc.mark('prepared', options.expirePreparedSeconds);
  gc.empty('exited-garbage', options.graceSeconds);
  gc.empty('garbage', 0);
  new FilterCache(dataDir).sweep();
  sweepUsers(dataDir, (uuid) => isThere(dataDir, uuid));
  return summary;
}

/** Pods move from phase to phase in this order, and may do so meanwhile. */
function isThere(dataDir: string, uuid: string): boolean {
  return [...PHASES, ...PHASES].some((phase) =>
    existsSync(join(phaseDirectory(dataDir, phase), uuid)),
  );
}

class Collection {
  readonly #dataDir: string;
  readonly #summary: GcSummary;
  readonly #info: (line: string) => void;
  readonly #warn: (line: string) => void;

  constructor(dataDir: string, options: GcOptions, summary: GcSummary) {
    this.#dataDir = dataDir;
    this.#summary = summary;
    this.#info = options.info ?? (() => {});
    this.#warn = options.warn ?? (() => {});
  }

  /** Moves the idle pods of a phase that are old enough to the garbage. */
  mark(phase: Phase, ageSeconds: number): void {
    this.#each(phase, (pod) => {
      if (age(pod) < ageSeconds) return;
      moveToGarbage(pod, this.#info);
      this.#summary.marked.push(pod.uuid);
    });
  }

  /** Deletes the idle pods of a garbage phase that have been there long enough. */
  empty(phase: Phase, graceSeconds: number): void {
    this.#each(phase, (pod) => {
      if (age(pod) < graceSeconds) {
        const grace = formatSeconds(graceSeconds);
        this.#info(`pod "${pod.uuid}" not removed: still within grace period (${grace})`);
        this.#summary.kept.push(pod.uuid);
        return;
      }
      this.#info(`Garbage collecting pod "${pod.uuid}"`);
      deletePod(pod, this.#warn);
      this.#summary.removed.push(pod.uuid);
    });
  }

  /** Runs `action` with each pod of the phase that nobody is at work on, locked. */
  #each(phase: Phase, action: (pod: Pod) => void): void {
    for (const uuid of podsIn(this.#dataDir, phase)) {
      try {
        using pod = Pod.open(this.#dataDir, uuid, phase);
        if (pod?.tryLock() && pod.relocate() && pod.phase === phase) action(pod);
      } catch (error) {
        this.#summary.failed.push({ uuid, error });
      }
    }
  }
}

/**
 * Seconds since the pod came into its phase: a rename sets the change time of what it moves. Never
 * negative, though the clock may have been set back.
 */
function age(pod: Pod): number {
  return Math.max(0, (Date.now() - fstatSync(pod.fd).ctimeMs) / 1000);
}

/** As Go writes a duration, which is what rkt prints: 30m0s. */
function formatSeconds(seconds: number): string {
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  const rest = `${seconds % 60}s`;
  if (hours > 0) return `${hours}h${minutes}m${rest}`;
  return minutes > 0 ? `${minutes}m${rest}` : rest;
}
