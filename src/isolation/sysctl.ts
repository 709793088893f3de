import { GantryError } from '../error.ts';
import { type Isolator, lastIsolator } from '../image/isolator.ts';
import { quote } from '../image/quotation.ts';

export const SYSCTL = 'os/unix/sysctl';

/** A kernel parameter, by its path below /proc/sys. */
export type SysctlSetting = readonly [path: string, value: string];

/** The namespaces of a pod that parameters are of. */
export interface OwnNamespaces {
  readonly net: boolean;
  readonly ipc: boolean;
}

/** Parameters of a namespace, by their paths; sysctl(2) and namespaces(7) say which. */
const NAMESPACED: readonly (readonly [RegExp, keyof OwnNamespaces])[] = [
  [/^net\/./, 'net'],
  [/^kernel\/(shm[a-z_]*|msg[a-z_]*|sem|sem_next_id)$/, 'ipc'],
  [/^fs\/mqueue\/./, 'ipc'],
];

/**
 * The kernel parameters that a pod's isolators set (`os/unix/sysctl`), by path.
 * @param source who sets them, for messages
 * @throws GantryError `usage` for one that is malformed, there twice, or not of the pod's namespaces
 */
export function readSysctl(isolators: readonly Isolator[], source = 'sysctl'): SysctlSetting[] {
  const value = (lastIsolator(isolators, SYSCTL)?.value ?? {}) as Record<string, string>;
  const settings = new Map<string, string>();
  for (const [key, text] of Object.entries(value)) {
    const refuse = (why: string) => new GantryError('usage', `${source} ${why}`);
    const path = parseKey(key, refuse);
    if (settings.has(path)) throw refuse(`${key}: is given twice, by another name`);
    settings.set(path, parseValue(key, text, refuse));
  }
  return [...settings];
}

type Refusal = (why: string) => GantryError;

/**
 * Refuses what would be set for the host, or another pod.
 * @throws GantryError `usage` naming the parameter
 */
export function requireOwn(settings: readonly SysctlSetting[], own: OwnNamespaces): void {
  for (const [path] of settings) {
    const namespace = namespaceOf(path);
    if (namespace !== undefined && own[namespace]) continue;
    const remedy = namespace === 'net' ? '--net=host' : '--ipc=parent';
    throw new GantryError(
      'usage',
      `sysctl ${dotted(path)}: is the host's in this pod: leave it out, or do without ${remedy}`,
    );
  }
}

/** sysctl(8): the first separator is the one that counts; in names the other stands for it. */
function parseKey(key: string, refuse: Refusal): string {
  const separator = /[./]/.exec(key)?.[0];
  const path = separator === '/' ? key : key.replace(/[./]/g, (mark) => (mark === '.' ? '/' : '.'));
  const bad = path.split('/').some((part) => part === '' || part === '.' || part === '..');
  if (separator === undefined || bad || !/^[\w./-]+$/.test(key)) {
    throw refuse(`${quote(key)}: is no parameter such as net.core.somaxconn`);
  }
  if (path === 'kernel/hostname' || path === 'kernel/domainname') {
    throw refuse(`${key}: names are set otherwise: use --hostname`);
  }
  if (namespaceOf(path) === undefined) {
    throw refuse(
      `${key}: is of the whole host: a pod has those below net and fs.mqueue, kernel.shm…, kernel.msg… and kernel.sem of its own`,
    );
  }
  return path;
}

function parseValue(key: string, value: string, refuse: Refusal): string {
  if (value !== '' && !/[\0\n]/.test(value)) return value;
  throw refuse(`${key}: ${quote(value)} is no value: it is one line of text`);
}

function namespaceOf(path: string): keyof OwnNamespaces | undefined {
  return NAMESPACED.find(([pattern]) => pattern.test(path))?.[1];
}

function dotted(path: string): string {
  return path.replace(/[./]/g, (mark) => (mark === '/' ? '.' : '/'));
}
