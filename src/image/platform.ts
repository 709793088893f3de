import type { Platform } from './oci-manifest.ts';

/** Processor names as appc labels have them (schema, `ValidOSArch`), by Node's. */
const architectures: Readonly<Record<string, string>> = {
  arm64: 'aarch64',
  ia32: 'i386',
  ppc64: 'ppc64le',
  s390x: 's390x',
  x64: 'amd64',
};

/** The labels asked for where a reference leaves them out: what this machine can run. */
export function platformLabels(arch: string = process.arch): ReadonlyMap<string, string> {
  return new Map([
    ['os', 'linux'],
    ['arch', architectures[arch] ?? arch],
  ]);
}

/** Architectures as OCI (and Go) name them, with their variant, by appc's label. */
const ociArchitectures: Readonly<
  Record<string, readonly [architecture: string, variant?: string]>
> = {
  amd64: ['amd64'],
  i386: ['386'],
  aarch64: ['arm64', 'v8'],
  armv7l: ['arm', 'v7'],
  armv6l: ['arm', 'v6'],
  ppc64: ['ppc64'],
  ppc64le: ['ppc64le'],
  s390x: ['s390x'],
};

/** The platform, in OCI's words, that appc labels ask for; what is absent is this machine's. */
export function ociPlatform(labels: ReadonlyMap<string, string>): Platform {
  const own = platformLabels();
  const os = labels.get('os') ?? own.get('os') ?? 'linux';
  const arch = labels.get('arch') ?? own.get('arch') ?? '';
  const [architecture = arch, variant] = ociArchitectures[arch] ?? [];
  const chosen = labels.get('variant') ?? variant;
  return { os, architecture, ...(chosen === undefined ? {} : { variant: chosen }) };
}

/** appc's `arch` label for an OCI platform (image-spec config.md, `architecture` and `variant`). */
export function archLabel({ architecture, variant }: Platform): string {
  if (architecture === 'arm') return variant === 'v6' ? 'armv6l' : 'armv7l';
  for (const [label, [known]] of Object.entries(ociArchitectures)) {
    if (known === architecture) return label;
  }
  return architecture;
}
