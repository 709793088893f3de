import type { Platform } from '../image/oci-manifest.ts';
import { archLabel, ociPlatform } from '../image/platform.ts';
import type { Reference } from '../image/reference.ts';
import { type CliOption, valued } from './command.ts';

/** Which of an image's platforms is meant; this machine's where none is given. */
export const PLATFORM_OPTIONS: readonly CliOption[] = platformOptions(
  ' (default: linux)',
  " (default: this machine's)",
);

/** The same for commands that take an index as a whole where none of them is given. */
export const PLATFORM_CHOICE_OPTIONS: readonly CliOption[] = platformOptions('', '');

function platformOptions(osDefault: string, archDefault: string): CliOption[] {
  return [
    valued('--os <OS>', `the operating system of the image${osDefault}`),
    valued('--arch <ARCH>', `the processor of the image, as OCI or appc name it${archDefault}`),
    valued('--variant <VARIANT>', 'the variant of the processor, such as v7 of arm'),
  ];
}

/** The reference with the platform that the options ask for, where they ask for one. */
export function withPlatform(reference: Reference, options: Record<string, unknown>): Reference {
  const wished = wishedLabels(options);
  if (wished.size === 0) return reference;
  if (reference.kind === 'name') {
    const { variant: _, ...labels } = Object.fromEntries(wished);
    return { ...reference, labels: new Map([...Object.entries(labels), ...reference.labels]) };
  }
  if (reference.kind !== 'registry' && reference.kind !== 'layout') return reference;
  return { ...reference, platform: ociPlatform(wished) };
}

/** The platform that the options ask for; undefined where they ask for none. */
export function platformOf(options: Record<string, unknown>): Platform | undefined {
  const wished = wishedLabels(options);
  return wished.size === 0 ? undefined : ociPlatform(wished);
}

function wishedLabels(options: Record<string, unknown>): Map<string, string> {
  const { os, arch, variant } = options as Record<string, string | undefined>;
  const label = arch === undefined ? undefined : appcArch(arch, variant);
  const asked = Object.entries({ os, arch: label, variant });
  return new Map(asked.filter((pair): pair is [string, string] => pair[1] !== undefined));
}

/** appc's word for a processor, from either's. */
function appcArch(arch: string, variant: string | undefined): string {
  return archLabel({
    os: 'linux',
    architecture: arch,
    ...(variant === undefined ? {} : { variant }),
  });
}
