import { GantryError } from '../error.ts';

/** Every capability of Linux 6.x, by number (capabilities(7)). */
const ALL: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_DAC_READ_SEARCH',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETPCAP',
  'CAP_LINUX_IMMUTABLE',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_BROADCAST',
  'CAP_NET_ADMIN',
  'CAP_NET_RAW',
  'CAP_IPC_LOCK',
  'CAP_IPC_OWNER',
  'CAP_SYS_MODULE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_CHROOT',
  'CAP_SYS_PTRACE',
  'CAP_SYS_PACCT',
  'CAP_SYS_ADMIN',
  'CAP_SYS_BOOT',
  'CAP_SYS_NICE',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_MKNOD',
  'CAP_LEASE',
  'CAP_AUDIT_WRITE',
  'CAP_AUDIT_CONTROL',
  'CAP_SETFCAP',
  'CAP_MAC_OVERRIDE',
  'CAP_MAC_ADMIN',
  'CAP_SYSLOG',
  'CAP_WAKE_ALARM',
  'CAP_BLOCK_SUSPEND',
  'CAP_AUDIT_READ',
  'CAP_PERFMON',
  'CAP_BPF',
  'CAP_CHECKPOINT_RESTORE',
];

/** What an app keeps when nothing else is said (appc spec/ace.md, os/linux/capabilities-remove-set). */
const DEFAULT: ReadonlySet<string> = new Set([
  'CAP_AUDIT_WRITE',
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_MKNOD',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_RAW',
  'CAP_SETFCAP',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_SETUID',
  'CAP_SYS_CHROOT',
]);

/** What an app's isolators or the command line say of capabilities; retain and remove exclude each other. */
export interface CapabilityChoice {
  readonly retain?: readonly string[];
  readonly remove?: readonly string[];
}

/**
 * The capabilities an app keeps, in the order of their numbers.
 * @param where names the app, for messages
 * @param privileged it keeps all that are not taken away, instead of the default set
 * @throws GantryError `unsupported` for an unknown name, or retain and remove together
 */
export function keptCapabilities(
  choice: CapabilityChoice,
  where: string,
  privileged = false,
): string[] {
  if (choice.retain !== undefined && choice.remove !== undefined) {
    throw new GantryError(
      'unsupported',
      `${where}: capabilities-retain-set and capabilities-remove-set exclude each other: use one`,
    );
  }
  if (choice.retain !== undefined) {
    const retained = new Set(choice.retain.map((name) => capabilityName(name, where)));
    return ALL.filter((name) => retained.has(name));
  }
  const removed = new Set((choice.remove ?? []).map((name) => capabilityName(name, where)));
  return ALL.filter((name) => (privileged || DEFAULT.has(name)) && !removed.has(name));
}

/** Every capability: `--insecure-options=capabilities`. */
export function allCapabilities(): string[] {
  return [...ALL];
}

/**
 * The name as manifests have it, whatever its case.
 * @param where begins the refusal
 * @throws GantryError `unsupported` for one nobody knows
 */
export function capabilityName(given: string, where: string): string {
  const name = given.toUpperCase();
  if (ALL.includes(name)) return name;
  throw new GantryError(
    'unsupported',
    `${where}: unknown capability ${JSON.stringify(given)} (capabilities(7) lists the names)`,
  );
}
