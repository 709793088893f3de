import { type Isolator, lastIsolator, setOf } from '../image/isolator.ts';
import type { CapabilityChoice } from './capabilities.ts';
import { LIMIT_ISOLATORS, type Limits, readLimits } from './limits.ts';
import { PROCESS_ISOLATORS, type ProcessChoice, readProcessChoice } from './process-limits.ts';
import type { CallChoice } from './system-calls.ts';

/** What an app's isolators ask for, and what of it is not enforced. */
export interface IsolatorSettings {
  readonly capabilities: CapabilityChoice;
  /** Absent where nothing is said of system calls. */
  readonly systemCalls?: CallChoice;
  readonly noNewPrivileges: boolean;
  readonly limits?: Limits;
  readonly process: ProcessChoice;
  /**
   * Isolators that are not enforced, by name: the operator must be told (appc spec/ace.md,
   * Isolators).
   */
  readonly ignored: readonly string[];
}

const RETAIN = 'os/linux/capabilities-retain-set';
const REMOVE = 'os/linux/capabilities-remove-set';
/** The remove set's name before appc 0.7. */
const REVOKE = 'os/linux/capabilities-revoke-set';
const NO_NEW_PRIVILEGES = 'os/linux/no-new-privileges';

const CALLS = {
  retain: 'os/linux/seccomp-retain-set',
  remove: 'os/linux/seccomp-remove-set',
} as const;

const ENFORCED: readonly string[] = [
  RETAIN,
  REMOVE,
  REVOKE,
  NO_NEW_PRIVILEGES,
  ...LIMIT_ISOLATORS,
  ...PROCESS_ISOLATORS,
  CALLS.retain,
  CALLS.remove,
];

/** The isolators that choose capabilities: one of them that the operator asks for replaces all of an image's. */
export const CAPABILITY_ISOLATORS: readonly string[] = [RETAIN, REMOVE, REVOKE];

/** Likewise those that choose system calls. */
export const SECCOMP_ISOLATORS: readonly string[] = [CALLS.retain, CALLS.remove];

/** The isolator of `--no-new-privileges`. */
export const NO_NEW_PRIVILEGES_ISOLATOR: Isolator = { name: NO_NEW_PRIVILEGES, value: true };

/** The isolator that keeps only `names` (`--caps-retain`). */
export function retainIsolator(names: readonly string[]): Isolator {
  return { name: RETAIN, value: { set: upperCase(names) } };
}

/** The isolator that takes `names` from the default set (`--caps-remove`). */
export function removeIsolator(names: readonly string[]): Isolator {
  return { name: REMOVE, value: { set: upperCase(names) } };
}

/** The isolator that a choice of system calls (`--seccomp`) stands for. */
export function callIsolator({ mode, set, errno }: CallChoice): Isolator {
  return {
    name: CALLS[mode],
    value: { set: [...set], ...(errno === undefined ? {} : { errno }) },
  };
}

/** Reads isolators (appc spec/ace.md, Isolators); of several with one name the last counts. */
export function readIsolators(isolators: readonly Isolator[]): IsolatorSettings {
  const retain = lastIsolator(isolators, RETAIN);
  const remove = lastIsolator(isolators, REMOVE) ?? lastIsolator(isolators, REVOKE);
  const systemCalls = callChoice(isolators);
  const ignored = isolators.map(({ name }) => name).filter((name) => !ENFORCED.includes(name));
  const limits = readLimits(isolators);
  return {
    ...(limits === undefined ? {} : { limits }),
    capabilities: {
      ...(retain === undefined ? {} : { retain: setOf(retain) }),
      ...(remove === undefined ? {} : { remove: setOf(remove) }),
    },
    ...(systemCalls === undefined ? {} : { systemCalls }),
    noNewPrivileges: lastIsolator(isolators, NO_NEW_PRIVILEGES)?.value === true,
    process: readProcessChoice(isolators),
    ignored: [...new Set(ignored)],
  };
}

/** Retain and remove exclude each other in any one list (image/isolator.ts). */
function callChoice(isolators: readonly Isolator[]): CallChoice | undefined {
  for (const mode of ['retain', 'remove'] as const) {
    const isolator = lastIsolator(isolators, CALLS[mode]);
    if (isolator === undefined) continue;
    const errno = errnoOf(isolator);
    return { mode, set: setOf(isolator), ...(errno === undefined ? {} : { errno }) };
  }
  return undefined;
}

function errnoOf({ value }: Isolator): string | undefined {
  const errno = typeof value === 'object' && value !== null && 'errno' in value && value.errno;
  return typeof errno === 'string' ? errno : undefined;
}

/** The operator may type them in lower case; manifests have them in upper. */
function upperCase(names: readonly string[]): string[] {
  return names.map((name) => name.toUpperCase());
}
