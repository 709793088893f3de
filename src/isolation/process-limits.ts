import { GantryError } from '../error.ts';
import { type Isolator, lastIsolator } from '../image/isolator.ts';
import { formatLimit, parseRlimit, type Rlimit } from '../image/rlimit.ts';

/** What isolators say of an app's process, beside what it may do. */
export interface ProcessChoice {
  /** By name: `nofile`. */
  readonly rlimits?: ReadonlyMap<string, Rlimit>;
  /** -1000 to 1000: the higher, the sooner it goes when memory runs out. */
  readonly oomScore?: number;
  /** `user:role:type:level`. */
  readonly selinux?: string;
  /** The name of a profile. */
  readonly apparmor?: string;
}

export const RLIMITS = 'os/unix/rlimits';
export const OOM_SCORE = 'os/linux/oom-score-adj';
export const SELINUX = 'os/linux/selinux-context';
export const APPARMOR = 'os/linux/apparmor-profile';

export const PROCESS_ISOLATORS: readonly string[] = [RLIMITS, OOM_SCORE, SELINUX, APPARMOR];

/** Those of a pod are its apps', which may have their own. */
export function isLabel({ name }: Isolator): boolean {
  return name === SELINUX || name === APPARMOR;
}

/** Reads them; of several with one name the last counts. Their shape has been checked. */
export function readProcessChoice(isolators: readonly Isolator[]): ProcessChoice {
  const value = (name: string) => lastIsolator(isolators, name)?.value;
  const rlimits = Object.entries((value(RLIMITS) ?? {}) as Record<string, string>);
  const oomScore = value(OOM_SCORE) as number | undefined;
  const selinux = value(SELINUX) as Record<'user' | 'role' | 'type' | 'level', string> | undefined;
  const apparmor = value(APPARMOR) as { profile: string } | undefined;
  return {
    ...(rlimits.length === 0
      ? {}
      : { rlimits: new Map(rlimits.map(([name, text]) => [name, parseRlimit(text) as Rlimit])) }),
    ...(oomScore === undefined ? {} : { oomScore }),
    ...(selinux === undefined
      ? {}
      : { selinux: [selinux.user, selinux.role, selinux.type, selinux.level].join(':') }),
    ...(apparmor === undefined ? {} : { apparmor: apparmor.profile }),
  };
}

/** What the host lets a process become, which a pod's start cannot change. */
export interface ProcessHost {
  /** The pod starts at once, in this process: what it lacks is known. */
  readonly now: boolean;
  /** Hard limits may be raised, and the OOM score lowered. */
  readonly raises: boolean;
  /** The hard limits of this process; what is absent is unlimited. */
  readonly hardLimits: ReadonlyMap<string, bigint>;
  readonly oomScore: number;
  readonly selinux: boolean;
  /** Undefined: no AppArmor; else whether a profile is loaded. */
  readonly apparmor?: (profile: string) => boolean;
}

/** As launch plans have it. */
export interface ProcessSettings {
  readonly rlimits?: readonly RlimitSetting[];
  readonly oomScore?: number;
  readonly labels?: readonly LabelSetting[];
}

export type RlimitSetting = readonly [name: string, soft: string, hard: string];
export type LabelSetting = readonly [kind: 'selinux' | 'apparmor', text: string];

/** An app's process as it will be, and what the operator should hear about it. */
export interface SettledProcess {
  readonly settings: ProcessSettings;
  readonly warnings: readonly string[];
}

/**
 * Decides what of it the app gets. What the host does not let be raised is kept to what it does.
 * @param asked names of the isolators that the operator chose, not the image
 * @param where names the app, for messages
 * @throws GantryError `unsupported` for a label that the operator chose and the host has not, and for a
 *   profile that is not loaded
 */
export function settleProcess(
  choice: ProcessChoice,
  host: ProcessHost,
  asked: ReadonlySet<string>,
  where: string,
): SettledProcess {
  const warnings: string[] = [];
  const warn = (line: string) => warnings.push(`${where}: ${line}`);
  const rlimits = [...(choice.rlimits ?? [])].map(([name, limit]) =>
    settleRlimit(name, limit, host, warn),
  );
  const oomScore = settleOomScore(choice.oomScore, host, warn);
  const labels = settleLabels(choice, host, asked, where, warn);
  return {
    settings: {
      ...(rlimits.length === 0 ? {} : { rlimits }),
      ...(oomScore === undefined ? {} : { oomScore }),
      ...(labels.length === 0 ? {} : { labels }),
    },
    warnings,
  };
}

type Warn = (line: string) => void;

function settleRlimit(name: string, asked: Rlimit, host: ProcessHost, warn: Warn): RlimitSetting {
  const most = host.hardLimits.get(name);
  const above = most !== undefined && (asked.hard === undefined || asked.hard > most);
  if (!above || host.raises) return [name, formatLimit(asked.soft), formatLimit(asked.hard)];
  warn(
    `rlimit ${name}: a hard limit of ${formatLimit(asked.hard)} is more than this host allows: ${host.now ? 'it has' : 'started from here it will have'} ${most}`,
  );
  if (!host.now) return [name, formatLimit(asked.soft), formatLimit(asked.hard)];
  const soft = asked.soft === undefined || asked.soft > most ? most : asked.soft;
  return [name, formatLimit(soft), formatLimit(most)];
}

function settleOomScore(
  asked: number | undefined,
  { oomScore, raises, now }: ProcessHost,
  warn: Warn,
): number | undefined {
  if (asked === undefined || asked >= oomScore || raises) return asked;
  warn(
    `an OOM score of ${asked} is lower than this host allows: ${now ? 'it stays at' : 'started from here it will stay at'} ${oomScore}`,
  );
  return now ? undefined : asked;
}

function settleLabels(
  { selinux, apparmor }: ProcessChoice,
  host: ProcessHost,
  asked: ReadonlySet<string>,
  where: string,
  warn: Warn,
): LabelSetting[] {
  const labels: LabelSetting[] = [];
  const lacks = (isolator: string, option: string, what: string) => {
    if (asked.has(isolator)) {
      throw new GantryError(
        'unsupported',
        `${where}: ${option}: ${what} is not enabled where the pod runs: leave it out`,
      );
    }
    warn(`isolator ${isolator} is not enforced: ${what} is not enabled where the pod runs`);
  };
  if (selinux !== undefined) {
    if (host.selinux) labels.push(['selinux', selinux]);
    else lacks(SELINUX, '--selinux-context', 'SELinux');
  }
  if (apparmor !== undefined) {
    if (host.apparmor === undefined) lacks(APPARMOR, '--apparmor-profile', 'AppArmor');
    else labels.push(['apparmor', loadedProfile(apparmor, host.apparmor, where)]);
  }
  return labels;
}

function loadedProfile(
  profile: string,
  isLoaded: (profile: string) => boolean,
  where: string,
): string {
  if (isLoaded(profile)) return profile;
  throw new GantryError(
    'unsupported',
    `${where}: AppArmor profile ${JSON.stringify(profile)} is not loaded: load it with apparmor_parser, or choose another with --apparmor-profile`,
  );
}
