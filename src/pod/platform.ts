import { GantryError } from '../error.ts';
import { type ImageManifest, labelOf } from '../image/image-manifest.ts';
import { quote } from '../image/quotation.ts';

/** The `arch` labels (appc's, which OCI's platforms are turned into) whose programs this machine's kernel runs, by Node's name of the machine. */
const RUNNABLE: Readonly<Record<string, readonly string[]>> = {
  x64: ['amd64', 'i386'],
  ia32: ['i386'],
  arm64: ['aarch64', 'armv7l', 'armv6l'],
  arm: ['armv7l', 'armv6l'],
  loong64: ['loong64'],
  ppc64: ['ppc64le'],
  riscv64: ['riscv64'],
  s390x: ['s390x'],
};

/**
 * Refuses an image made for another system than this one (appc spec/aci.md, `os` and `arch`), in
 * rkt's words.
 * @throws GantryError `unsupported`
 */
export function requirePlatform(manifest: ImageManifest, machine: string = process.arch): void {
  const os = labelOf(manifest, 'os');
  const arch = labelOf(manifest, 'arch');
  const refuse = (why: string) => new GantryError('unsupported', `image ${manifest.name}: ${why}`);
  if (os === undefined) throw refuse('missing os label in the image manifest');
  if (arch === undefined) throw refuse('missing arch label in the image manifest');
  if (os !== 'linux') throw refuse(`bad os ${quote(os)} (must be one of: [linux])`);
  const runnable = RUNNABLE[machine] ?? [];
  if (!runnable.includes(arch)) {
    throw refuse(`bad arch ${quote(arch)} for linux (must be one of: [${runnable.join(' ')}])`);
  }
}
