import { FEATURES, type Feature } from './features.ts';
import type { PlanKind } from './settings.ts';

/** A flavour that is part of every installation, below `dist/stage1/`. */
export interface ShippedFlavour {
  /** What pods are isolated by, in a few words. */
  readonly what: string;
  readonly plan: PlanKind;
  readonly features: readonly Feature[];
}

const ALL = Object.keys(FEATURES) as Feature[];

function allBut(...features: readonly Feature[]): Feature[] {
  return ALL.filter((feature) => !features.includes(feature));
}

/**
 * Which shipped flavour has which feature. Their manifests, the command line, the errors and the
 * documentation's tables come from here; test/conformance checks that it is true.
 */
export const SHIPPED = {
  native: {
    what: 'namespaces, without any other program',
    plan: 'native',
    features: allBut('own-kernel', 'machined'),
  },
  nspawn: {
    what: 'systemd-nspawn of the host',
    plan: 'nspawn',
    features: allBut('travelling-mounts', 'private-users', 'own-kernel'),
  },
  chroot: {
    what: "mounts of its own and nothing else: for privileged agents of the host (rkt's fly)",
    plan: 'chroot',
    features: allBut(
      'several-apps',
      'mutable',
      'log-lines',
      'private-processes',
      'private-ipc',
      'net-none',
      'hostname',
      'private-users',
      'masked-paths',
      'own-devices',
      'device-access',
      'own-kernel',
      'machined',
      'sysctl',
    ),
  },
  kvm: {
    what: 'a virtual machine under QEMU',
    plan: 'kvm',
    features: allBut(
      'net-host',
      'host-ipc',
      'mutable',
      'travelling-mounts',
      'private-users',
      'labels',
      'device-access',
      'machined',
    ),
  },
} as const satisfies Readonly<Record<string, ShippedFlavour>>;

export type ShippedName = keyof typeof SHIPPED;

/** Other names of shipped flavours: those scripts written for rkt use, with or without a version. */
const ALIASES: Readonly<Record<string, ShippedName>> = {
  fly: 'chroot',
  'coreos.com/rkt/stage1-fly': 'chroot',
  'coreos.com/rkt/stage1-kvm': 'kvm',
  'coreos.com/rkt/stage1-coreos': 'native',
  'coreos.com/rkt/stage1-host': 'native',
  'coreos.com/rkt/stage1-src': 'native',
};

/**
 * The shipped flavour that `name` means: `chroot`, `gantry/chroot`, `fly`; undefined where none. Of each
 * there is one version, so that one asked for (`coreos.com/rkt/stage1-fly:1.30.0`) makes no difference.
 */
export function shippedName(name: string): ShippedName | undefined {
  const [whole = ''] = name.split(':', 1);
  const plain = whole.startsWith('gantry/') ? whole.slice('gantry/'.length) : whole;
  if (Object.hasOwn(SHIPPED, plain)) return plain as ShippedName;
  return Object.hasOwn(ALIASES, whole) ? ALIASES[whole] : undefined;
}

/**
 * Whether `name` can only be meant for a shipped flavour, though there is none of it: a word alone, or one
 * that begins with `gantry/`, is the name of no image that could be fetched.
 */
export function isMisspelt(name: string): boolean {
  return name.startsWith('gantry/') || !/[./]/.test(name);
}

/** The content of a shipped flavour's `manifest.json` (specs/stage1-interface.md). */
export function shippedManifest(name: ShippedName): Record<string, unknown> {
  const { plan, features } = SHIPPED[name];
  const entries = ['run', 'enter', 'stop', 'gc'];
  const verbs = ['app-add', 'app-start', 'app-stop', 'app-rm'];
  const mutable = (features as readonly Feature[]).includes('mutable');
  return {
    name: `gantry/${name}`,
    interfaceVersion: 1,
    entrypoints: Object.fromEntries(
      [...entries, ...(mutable ? verbs : [])].map((entry) => [entry, entry]),
    ),
    plan,
    features,
  };
}
