import { type Isolator, lastIsolator } from '../image/isolator.ts';
import { parseQuantity, type Quantity, wholeUnits } from '../image/quantity.ts';

/** What an app or a pod may use, in whole numbers that JSON holds exactly. Each is left out where nothing is asked. */
export interface Limits {
  /** Bytes. */
  readonly memory?: Amounts;
  /** Thousandths of a processor. */
  readonly cpu?: Amounts;
  /** 2 to 262144; 1024 is what anything has that asks for nothing. */
  readonly cpuShares?: number;
  /** Processes and threads. */
  readonly pids?: Amounts;
  /** 1 to 10000; 100 is what anything has that asks for nothing. */
  readonly ioWeight?: number;
}

/** As decimal numbers: more than a JSON number holds may be asked for. */
export interface Amounts {
  readonly limit?: string;
  /** What is kept for it when there is not enough for all. */
  readonly request?: string;
}

/** What the kernel takes (cpu.shares, io.weight). */
const LEAST_SHARES = 2;
const MOST_SHARES = 262_144;
const MOST_WEIGHT = 10_000;

const MEMORY = 'resource/memory';
const CPU = 'resource/cpu';
const PIDS = 'resource/pids';
const CPU_SHARES = 'os/linux/cpu-shares';
const IO_WEIGHT = 'os/linux/io-weight';

/** The controller (cgroups(7)) that enforces an isolator, by its name in v2. */
export const LIMIT_CONTROLLERS: Readonly<Record<string, string>> = {
  [MEMORY]: 'memory',
  [CPU]: 'cpu',
  [CPU_SHARES]: 'cpu',
  [PIDS]: 'pids',
  [IO_WEIGHT]: 'io',
};

/** The isolators that bound what an app or a pod may use. */
export const LIMIT_ISOLATORS: readonly string[] = Object.keys(LIMIT_CONTROLLERS);

/** An isolator whose limit and request are the same quantity, as rkt's options have it. */
export function memoryIsolator(quantity: string): Isolator {
  return { name: MEMORY, value: { request: quantity, limit: quantity } };
}

export function cpuIsolator(quantity: string): Isolator {
  return { name: CPU, value: { request: quantity, limit: quantity } };
}

export function pidsIsolator(quantity: string): Isolator {
  return { name: PIDS, value: { limit: quantity } };
}

export function cpuSharesIsolator(shares: number): Isolator {
  return { name: CPU_SHARES, value: shares };
}

export function ioWeightIsolator(weight: number): Isolator {
  return { name: IO_WEIGHT, value: weight };
}

/** What isolators (checked for shape) say of limits (appc spec/ace.md, "Resource Isolators"); undefined where nothing. */
export function readLimits(isolators: readonly Isolator[]): Limits | undefined {
  const amounts = (name: string, count: (quantity: Quantity) => bigint): Amounts | undefined => {
    const value = lastIsolator(isolators, name)?.value;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    const limit = amountOf(value['limit'], count);
    const request = amountOf(value['request'], count);
    return limit === undefined && request === undefined
      ? undefined
      : {
          ...(limit === undefined ? {} : { limit }),
          ...(request === undefined ? {} : { request }),
        };
  };
  const number = (name: string): number | undefined => {
    const value = lastIsolator(isolators, name)?.value;
    return typeof value === 'number' ? value : undefined;
  };
  const found = {
    memory: amounts(MEMORY, wholeUnits),
    cpu: amounts(CPU, ({ milli }) => milli),
    cpuShares: number(CPU_SHARES),
    pids: amounts(PIDS, wholeUnits),
    ioWeight: number(IO_WEIGHT),
  };
  const given = Object.entries(found).filter(([, value]) => value !== undefined);
  return given.length === 0 ? undefined : (Object.fromEntries(given) as Limits);
}

function amountOf(value: unknown, count: (quantity: Quantity) => bigint): string | undefined {
  if (typeof value !== 'string' && typeof value !== 'number') return undefined;
  const quantity = parseQuantity(String(value));
  return quantity === undefined ? undefined : String(count(quantity));
}

/**
 * What apps ask for as shares of something, added up: their pod gets that much of it, or a share would be one of the pod's
 * own only. Undefined where they ask for none.
 */
export function sumOfShares(apps: readonly (Limits | undefined)[]): Limits | undefined {
  const shares = sum(apps.map(sharesOf));
  const weights = sum(apps.map((app) => app?.ioWeight));
  const requests = apps.flatMap((app) => app?.memory?.request ?? []);
  const memory = requests.reduce((total, request) => total + BigInt(request), 0n);
  const sums: Limits = {
    ...(shares === undefined ? {} : { cpuShares: Math.min(shares, MOST_SHARES) }),
    ...(weights === undefined ? {} : { ioWeight: Math.min(weights, MOST_WEIGHT) }),
    ...(requests.length === 0 ? {} : { memory: { request: String(memory) } }),
  };
  return Object.keys(sums).length === 0 ? undefined : sums;
}

/** The limits of a pod, with shares where they say nothing of those. */
export function withShares(limits: Limits = {}, shares: Limits = {}): Limits {
  const ownShares = sharesOf(limits);
  return {
    ...shares,
    ...limits,
    ...(ownShares === undefined ? {} : { cpuShares: ownShares }),
    ...(limits.memory === undefined ? {} : { memory: { ...shares.memory, ...limits.memory } }),
  };
}

function sum(numbers: readonly (number | undefined)[]): number | undefined {
  const given = numbers.filter((number) => number !== undefined);
  return given.length === 0 ? undefined : given.reduce((total, number) => total + number, 0);
}

/** A request for processors is a share of them, as Kubernetes has it: 1024 a processor. */
function sharesOf(limits: Limits | undefined): number | undefined {
  if (limits?.cpuShares !== undefined) return limits.cpuShares;
  if (limits?.cpu?.request === undefined) return undefined;
  const shares = (BigInt(limits.cpu.request) * 1024n) / 1000n;
  return Math.min(MOST_SHARES, Math.max(LEAST_SHARES, Number(shares)));
}

/** What is written to a control file. */
export interface ControlSetting {
  readonly file: string;
  readonly value: string;
  /** A kernel may be built without: what it is for cannot happen there, or is told of beforehand. */
  readonly optional?: true;
}

/**
 * What is written to the control files of one controller's group, in this order
 * (Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst). Pure.
 * @param controller `memory`, `cpu`, `pids`, `io` or v1's `blkio`
 */
export function controlSettings(
  controller: string,
  version: 1 | 2,
  limits: Limits,
): ControlSetting[] {
  switch (controller) {
    case 'memory':
      return memorySettings(version, limits.memory ?? {});
    case 'cpu':
      return [...quotaSettings(version, limits.cpu?.limit), ...shareSettings(version, limits)];
    case 'pids':
      return limits.pids?.limit === undefined
        ? []
        : [{ file: 'pids.max', value: limits.pids.limit }];
    default:
      return weightSettings(version, limits.ioWeight);
  }
}

/**
 * The limit is one of RAM and swap together: an app that is at its limit is not to live on the disk of the
 * others instead. Kernels without swap have no such file.
 */
function memorySettings(version: 1 | 2, { limit, request }: Amounts): ControlSetting[] {
  if (version === 1) {
    return [
      ...(limit === undefined
        ? []
        : [
            { file: 'memory.limit_in_bytes', value: limit },
            { file: 'memory.memsw.limit_in_bytes', value: limit, optional: true as const },
          ]),
      ...(request === undefined ? [] : [{ file: 'memory.soft_limit_in_bytes', value: request }]),
    ];
  }
  return [
    ...(limit === undefined
      ? []
      : [
          { file: 'memory.max', value: limit },
          { file: 'memory.swap.max', value: '0', optional: true as const },
        ]),
    ...(request === undefined ? [] : [{ file: 'memory.low', value: request }]),
  ];
}

const PERIOD = 100_000;
/** The kernel takes no quota of less than a millisecond a period, and no period of more than a second. */
const LEAST_QUOTA = 1000n;
const LONGEST_PERIOD = 1_000_000;
/** No machine has as many processors: no limit, in a number that fits the kernel's. */
const MOST_CPUS = 100_000_000n;

function quotaSettings(version: 1 | 2, limit: string | undefined): ControlSetting[] {
  if (limit === undefined) return [];
  const milli = BigInt(limit) > MOST_CPUS ? MOST_CPUS : BigInt(limit);
  const period = (milli * BigInt(PERIOD)) / 1000n < LEAST_QUOTA ? LONGEST_PERIOD : PERIOD;
  const asked = (milli * BigInt(period)) / 1000n;
  const quota = String(asked < LEAST_QUOTA ? LEAST_QUOTA : asked);
  if (version === 2) return [{ file: 'cpu.max', value: `${quota} ${period}` }];
  return [
    { file: 'cpu.cfs_period_us', value: String(period) },
    { file: 'cpu.cfs_quota_us', value: quota },
  ];
}

function shareSettings(version: 1 | 2, limits: Limits): ControlSetting[] {
  const asked = sharesOf(limits);
  if (asked === undefined) return [];
  return version === 1
    ? [{ file: 'cpu.shares', value: String(asked) }]
    : [{ file: 'cpu.weight', value: String(cpuWeight(asked)) }];
}

/**
 * Shares as v2's weight: 2 is 1, 1024 is 100 (both are what a group has that asks for nothing), 262144 is 10000, and
 * what lies between on a curve through the three. As today's runtimes convert (opencontainers/cgroups 0.0.3).
 */
export function cpuWeight(shares: number): number {
  if (shares <= LEAST_SHARES) return 1;
  if (shares >= MOST_SHARES) return 10_000;
  const power = Math.log2(shares);
  return Math.ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34));
}

/** Which scheduler a disk has says which of the files counts; a kernel may have either. */
function weightSettings(version: 1 | 2, weight: number | undefined): ControlSetting[] {
  if (weight === undefined) return [];
  const bfq = { value: String(bfqWeight(weight)), optional: true } as const;
  if (version === 1) return [{ file: 'blkio.bfq.weight', ...bfq }];
  return [
    { file: 'io.weight', value: String(weight), optional: true },
    { file: 'io.bfq.weight', ...bfq },
  ];
}

/** BFQ's own weights end at 1000; 100 is in both what a group has that asks for nothing. */
function bfqWeight(weight: number): number {
  return weight <= 100 ? weight : 100 + Math.round(((weight - 100) * 900) / 9900);
}
