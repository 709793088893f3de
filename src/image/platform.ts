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
