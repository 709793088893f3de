import { closeSync, constants, fstatSync, mkdirSync, openSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, GantryError } from '../error.ts';
import { LOCK, RENAME, system } from '../system/binding.ts';
import { dataMode } from '../system/ordinary-user.ts';
import { newUuid } from '../system/uuid.ts';
import { PHASES, type Phase, type PodState, stateOf } from './phase.ts';

/** A reader asks for the state with a shared lock, for microseconds; an owner waits it out. */
const LOCK_PATIENCE_MS = 200;

/** Nanoseconds since 1970. */
export type Timestamp = bigint;

/** The directory of all pods in one phase. */
export function phaseDirectory(dataDir: string, phase: Phase): string {
  return join(dataDir, 'pods', phase);
}

/** Makes an embryo, and on the first use of `dataDir` the directories of all phases. */
function makeDirectory(dataDir: string, uuid: string): void {
  const path = join(phaseDirectory(dataDir, 'embryo'), uuid);
  try {
    mkdirSync(path, dataMode());
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw cannotCreate(path, error);
    try {
      // The embryos' last: where it is, all are.
      for (const phase of [...PHASES].reverse()) {
        mkdirSync(phaseDirectory(dataDir, phase), { recursive: true, mode: dataMode() });
      }
      mkdirSync(path, dataMode());
    } catch (cause) {
      throw cannotCreate(path, cause);
    }
  }
}

function cannotCreate(path: string, cause: unknown): GantryError {
  const why = errnoOf(cause) === 'EACCES' ? 'permission denied: run it as root' : errnoOf(cause);
  return new GantryError('store', `cannot create pod directory ${path}: ${why}`, { cause });
}

/**
 * A pod: an open descriptor of its directory, and the phase the directory was last seen in. The
 * descriptor follows the directory through every rename, and it is what the flock is taken on.
 */
export class Pod {
  readonly dataDir: string;
  readonly uuid: string;
  readonly fd: number;
  #phase: Phase;
  #held = false;
  #closed = false;

  private constructor(dataDir: string, uuid: string, phase: Phase, fd: number) {
    this.dataDir = dataDir;
    this.uuid = uuid;
    this.#phase = phase;
    this.fd = fd;
  }

  /** Opens the pod in `phase`; undefined where it is not (or no longer) there. */
  static open(dataDir: string, uuid: string, phase: Phase): Pod | undefined {
    const path = join(phaseDirectory(dataDir, phase), uuid);
    try {
      const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
      return new Pod(dataDir, uuid, phase, fd);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw new GantryError('store', `cannot open pod ${JSON.stringify(uuid)} at ${path}`, {
        cause: error,
      });
    }
  }

  /**
   * A new pod in phase `prepare`, its lock held. It comes to be in `embryo`, where it is not locked
   * for a moment: should gc take it then, another one is made.
   */
  static create(dataDir: string): Pod {
    for (;;) {
      const uuid = newUuid();
      makeDirectory(dataDir, uuid);
      const pod = Pod.open(dataDir, uuid, 'embryo');
      if (pod === undefined) continue;
      try {
        if (pod.lock()) {
          pod.enter('prepare');
          return pod;
        }
      } catch (error) {
        if (errnoOf(error) !== 'ENOENT') throw error;
      }
      pod.close();
    }
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** The directory as of the last look. */
  get dir(): string {
    return join(phaseDirectory(this.dataDir, this.#phase), this.uuid);
  }

  /**
   * A path to a file of the pod that stays right when the directory is renamed meanwhile: through
   * the open descriptor.
   */
  file(name: string): string {
    return `/proc/self/fd/${this.fd}/${name}`;
  }

  /** Whether this object holds the pod's lock. */
  get held(): boolean {
    return this.#held;
  }

  /** The pod's state now: its directory is looked up again, and its lock is asked for. */
  state(): PodState {
    this.relocate();
    return stateOf(this.#phase, this.#held || this.lockedByAnother());
  }

  /**
   * Takes the exclusive lock, which this object keeps until it is closed; false when a process at
   * work on the pod holds it.
   */
  lock(): boolean {
    const deadline = Date.now() + LOCK_PATIENCE_MS;
    while (!this.tryLock()) {
      if (Date.now() >= deadline) return false;
      pause(2);
    }
    return true;
  }

  /** The same without waiting for anyone, a reader neither. */
  tryLock(): boolean {
    this.#held ||= system.flock(this.fd, LOCK.exclusive | LOCK.nonBlocking);
    return this.#held;
  }

  /** Moves the directory to another phase, atomically; the lock must be held. */
  enter(phase: Phase): void {
    if (!this.#held) throw new GantryError('internal', `pod ${this.uuid} is not locked`);
    const to = join(phaseDirectory(this.dataDir, phase), this.uuid);
    system.renameAt(-1, this.dir, -1, to, RENAME.noReplace);
    this.#phase = phase;
  }

  /**
   * Finds the phase the directory lies in now, by its inode: the path may meanwhile name nothing.
   * @returns false when the directory is gone
   */
  relocate(): boolean {
    const mine = fstatSync(this.fd, { bigint: true });
    const current = PHASES.indexOf(this.#phase);
    // A pod only ever moves forward, but it can do so while we look: look twice.
    for (const phase of [...PHASES.slice(current), ...PHASES.slice(current)]) {
      const path = join(phaseDirectory(this.dataDir, phase), this.uuid);
      const found = statSync(path, { bigint: true, throwIfNoEntry: false });
      if (found !== undefined && found.ino === mine.ino && found.dev === mine.dev) {
        this.#phase = phase;
        return true;
      }
    }
    return false;
  }

  /** Closes the directory and, with the last descriptor, gives the lock back. Harmless twice. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#held = false;
    closeSync(this.fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  private lockedByAnother(): boolean {
    // Nobody's state depends on the lock of these, and a reader's lock could get in a writer's way.
    if (this.#phase === 'embryo' || this.#phase === 'prepared') return false;
    if (!system.flock(this.fd, LOCK.shared | LOCK.nonBlocking)) return true;
    system.flock(this.fd, LOCK.unlock);
    return false;
  }
}

function pause(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
