import type { Field } from '../image/document.ts';
import { quote } from '../image/quotation.ts';
import { type Directories, inOrder } from './directories.ts';
import { Origins, readConfigFiles } from './file.ts';

/** How the virtual processor of a machine is run; `auto`: by KVM where that works, else by QEMU's own translator. */
export const ACCELERATIONS = ['auto', 'kvm', 'tcg'] as const;
export type Acceleration = (typeof ACCELERATIONS)[number];

/** What a machine's files come by; `auto`: virtio-fs where host and kernel have it, else 9p. */
export const SHARES = ['auto', 'virtiofs', '9p'] as const;
export type Share = (typeof SHARES)[number];

/** The `kvm` configuration: the machine a pod of the kvm flavour gets. */
export interface KvmSettings {
  /** Absolute path of what QEMU boots; the host's own kernel where absent. */
  kernel?: string;
  /** Absolute directory of that kernel's modules, with its modules.dep; none are loaded where absent. */
  modules?: string;
  memoryMiB: number;
  cpus: number;
  acceleration: Acceleration;
  share: Share;
}

const DEFAULTS: Readonly<KvmSettings> = {
  memoryMiB: 256,
  cpus: 1,
  acceleration: 'auto',
  share: 'auto',
};

/**
 * Reads `kvm.d`; kernel and modules are overridden together, the rest each by itself.
 * @throws GantryError `config`
 */
export function loadKvm(directories: Directories): KvmSettings {
  let settings: KvmSettings = DEFAULTS;
  for (const directory of inOrder(directories)) {
    const origins = new Origins();
    for (const file of readConfigFiles(directory, 'kvm.d', ['kvm'])) {
      const made = readSettings(file.root);
      for (const [field, what] of Object.entries(MADE_ONCE)) {
        if (field in made) origins.claim(field, what, file);
      }
      settings = { ...(made.kernel === undefined ? settings : withoutKernel(settings)), ...made };
    }
  }
  return settings;
}

const MADE_ONCE = {
  kernel: 'the kernel',
  memoryMiB: 'the memory of a machine',
  cpus: 'the number of processors',
  acceleration: 'the acceleration',
  share: 'what the files come by',
};

function withoutKernel({ memoryMiB, cpus, acceleration, share }: KvmSettings): KvmSettings {
  return { memoryMiB, cpus, acceleration, share };
}

function readSettings(root: Field): Partial<KvmSettings> {
  const kernel = root.member('kernel');
  const modules = root.member('modules');
  const memory = root.member('memoryMiB');
  const cpus = root.member('cpus');
  const acceleration = root.member('acceleration');
  const share = root.member('share');
  if (modules.given && !kernel.given) throw kernel.refuse('is required beside modules');
  return {
    ...(kernel.given ? { kernel: kernel.absolutePath() } : {}),
    ...(modules.given ? { modules: modules.absolutePath() } : {}),
    ...(memory.given ? { memoryMiB: memory.integer(64, 1 << 20) } : {}),
    ...(cpus.given ? { cpus: cpus.integer(1, 64) } : {}),
    ...(acceleration.given ? { acceleration: oneOf(ACCELERATIONS, acceleration) } : {}),
    ...(share.given ? { share: oneOf(SHARES, share) } : {}),
  };
}

function oneOf<Word extends string>(words: readonly Word[], field: Field): Word {
  const word = field.string();
  const known = words.find((candidate) => candidate === word);
  if (known !== undefined) return known;
  throw field.refuse(`must be one of ${words.join(', ')}, not ${quote(word)}`);
}
