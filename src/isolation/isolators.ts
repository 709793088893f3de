import { type Isolator, lastIsolator, setOf } from '../image/isolator.ts';
import type { CapabilityChoice } from './capabilities.ts';

/** What an app's isolators ask for, and what of it is not enforced. */
export interface IsolatorSettings {
  readonly capabilities: CapabilityChoice;
  readonly noNewPrivileges: boolean;
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

const ENFORCED: readonly string[] = [RETAIN, REMOVE, REVOKE, NO_NEW_PRIVILEGES];

/** The isolators that choose capabilities: `--caps-retain` and `--caps-remove` take their place. */
export const CAPABILITY_ISOLATORS: readonly string[] = [RETAIN, REMOVE, REVOKE];

/** The isolator that keeps only `names` (`--caps-retain`). */
export function retainIsolator(names: readonly string[]): Isolator {
  return { name: RETAIN, value: { set: upperCase(names) } };
}

/** The isolator that takes `names` from the default set (`--caps-remove`). */
export function removeIsolator(names: readonly string[]): Isolator {
  return { name: REMOVE, value: { set: upperCase(names) } };
}

/** Reads isolators (appc spec/ace.md, Isolators); of several with one name the last counts. */
export function readIsolators(isolators: readonly Isolator[]): IsolatorSettings {
  const retain = lastIsolator(isolators, RETAIN);
  const remove = lastIsolator(isolators, REMOVE) ?? lastIsolator(isolators, REVOKE);
  const ignored = isolators.map(({ name }) => name).filter((name) => !ENFORCED.includes(name));
  return {
    capabilities: {
      ...(retain === undefined ? {} : { retain: setOf(retain) }),
      ...(remove === undefined ? {} : { remove: setOf(remove) }),
    },
    noNewPrivileges: lastIsolator(isolators, NO_NEW_PRIVILEGES)?.value === true,
    ignored: [...new Set(ignored)],
  };
}

/** The operator may type them in lower case; manifests have them in upper. */
function upperCase(names: readonly string[]): string[] {
  return names.map((name) => name.toUpperCase());
}
