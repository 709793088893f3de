import type { Field, JsonValue } from './document.ts';
import { readIdentifier } from './label.ts';
import { parseQuantity } from './quantity.ts';
import { quote } from './quotation.ts';
import { parseRlimit, RLIMIT_NAMES } from './rlimit.ts';

/**
 * A limit on what an app or pod may do. The values of those appc knows have been checked for shape;
 * any other value is as it came, and the executor says what it ignores (appc spec/ace.md).
 */
export interface Isolator {
  name: string;
  value: JsonValue;
}

type Shape = (value: Field) => void;

const shapes = new Map<string, Shape>([
  ['os/linux/capabilities-retain-set', checkCapabilities],
  ['os/linux/capabilities-remove-set', checkCapabilities],
  ['os/linux/capabilities-revoke-set', checkCapabilities],
  ['os/linux/seccomp-retain-set', checkSeccomp],
  ['os/linux/seccomp-remove-set', checkSeccomp],
  ['os/linux/no-new-privileges', (value) => value.boolean()],
  ['os/linux/cpu-shares', (value) => value.integer(2, 262_144)],
  ['os/linux/io-weight', (value) => value.integer(1, 10_000)],
  ['os/linux/oom-score-adj', (value) => value.integer(-1000, 1000)],
  ['os/linux/selinux-context', checkSelinuxContext],
  ['os/linux/apparmor-profile', (value) => value.member('profile').filledString()],
  ['os/unix/sysctl', (value) => value.stringMap()],
  ['os/unix/rlimits', checkRlimits],
  ['resource/cpu', checkRequestedResource],
  ['resource/memory', checkRequestedResource],
  ['resource/pids', checkRequestedResource],
  ['resource/block-bandwidth', checkDefaultResource],
  ['resource/block-iops', checkDefaultResource],
  ['resource/network-bandwidth', checkDefaultResource],
]);

/** Of these a second one in the same list would contradict the first. */
const single = new Set([
  'os/linux/seccomp-retain-set',
  'os/linux/seccomp-remove-set',
  'os/linux/cpu-shares',
  'os/linux/io-weight',
  'os/linux/oom-score-adj',
  'os/linux/selinux-context',
  'os/linux/apparmor-profile',
  'os/unix/sysctl',
  'os/unix/rlimits',
]);

/** The isolators of an app or a pod (appc spec/ace.md, "Isolators"). */
export function readIsolators(list: Field): Isolator[] {
  const seen = new Set<string>();
  const isolators = list.list().map((item): Isolator => {
    const name = readIdentifier(item.member('name'));
    const value = item.member('value');
    if (value.value === undefined) throw value.refuse('is required');
    shapes.get(name)?.(value);
    if (single.has(name) && seen.has(name)) throw item.refuse(`only one ${name} is allowed`);
    seen.add(name);
    return { name, value: value.value as JsonValue };
  });
  if (seen.has('os/linux/seccomp-retain-set') && seen.has('os/linux/seccomp-remove-set')) {
    throw list.refuse('seccomp-retain-set and seccomp-remove-set exclude each other');
  }
  return isolators;
}

/** The last isolator of a name, which is the one that counts, as in rkt. */
export function lastIsolator(isolators: readonly Isolator[], name: string): Isolator | undefined {
  return isolators.findLast((isolator) => isolator.name === name);
}

/** The `set` of a capability or seccomp isolator; empty for any other. */
export function setOf(isolator: Isolator): string[] {
  const { value } = isolator;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [];
  const set = value['set'];
  return Array.isArray(set) ? set.filter((item) => typeof item === 'string') : [];
}

function checkSet(value: Field, pattern: RegExp, what: string): void {
  const set = value.member('set').list();
  if (set.length === 0) throw value.member('set').refuse('must not be empty');
  for (const item of set) {
    if (!pattern.test(item.string())) {
      throw item.refuse(`${quote(item.string())} is not ${what}`);
    }
  }
}

function checkCapabilities(value: Field): void {
  checkSet(value, /^CAP_[A-Z][A-Z_]*$/, 'the name of a capability (CAP_…)');
}

function checkSeccomp(value: Field): void {
  checkSet(value, /^(@[-a-z0-9._]+\/[-a-z0-9._]+|[a-z0-9_]+)$/, 'a system call or @scope/wildcard');
  const errno = value.member('errno').optional((field) => field.string()) ?? '';
  if (!/^(E[A-Z0-9]+)?$/.test(errno)) {
    throw value.member('errno').refuse(`${quote(errno)} is not the name of an errno (E…)`);
  }
}

function checkSelinuxContext(value: Field): void {
  for (const part of ['user', 'role', 'type', 'level']) {
    const field = value.member(part);
    // A level may hold colons (`s0:c1,c2`); in the others one would shift the context's fields.
    if (field.filledString().includes(':') && part !== 'level') {
      throw field.refuse('must not hold ":"');
    }
  }
}

function checkRlimits(value: Field): void {
  for (const [name, text] of Object.entries(value.stringMap())) {
    if (!RLIMIT_NAMES.includes(name)) {
      throw value.refuse(`${quote(name)} is no limit: known are ${RLIMIT_NAMES.join(', ')}`);
    }
    const limit = parseRlimit(text);
    if (typeof limit === 'string') throw value.member(name).refuse(`${quote(text)}: ${limit}`);
  }
}

function checkRequestedResource(value: Field): void {
  if (value.member('default').optional((field) => field.boolean())) {
    throw value.member('default').refuse('must be false for this resource');
  }
  checkQuantity(value.member('request'));
  checkQuantity(value.member('limit'));
}

function checkDefaultResource(value: Field): void {
  if (value.member('default').value !== true) throw value.member('default').refuse('must be true');
  if (value.member('request').given) {
    throw value.member('request').refuse('is not supported by this resource');
  }
  checkQuantity(value.member('limit'));
}

function checkQuantity(field: Field): void {
  if (!field.given) return;
  const text = typeof field.value === 'number' ? String(field.value) : field.string();
  if (parseQuantity(text) === undefined) {
    throw field.refuse(`${quote(text)} is not a quantity such as 250m, 1.5, 64Ki or 2G`);
  }
}
