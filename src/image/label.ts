import { type Field, refuseDuplicates } from './document.ts';
import { appNameFault, identifierFault, imageNameFault } from './identifier.ts';
import { quote } from './quotation.ts';

/** What tells images of one name apart: version, os, arch, and whatever the packer adds. */
export interface Label {
  name: string;
  value: string;
}

/** Metadata that does not tell images apart. */
export interface Annotation {
  name: string;
  value: string;
}

/** The combinations an image may claim to run on (appc schema, `ValidOSArch`). */
const architectures = new Map([
  ['darwin', ['x86_64', 'i386']],
  ['freebsd', ['amd64', 'i386', 'arm']],
  [
    'linux',
    [
      'amd64',
      'i386',
      'aarch64',
      'aarch64_be',
      'armv6l',
      'armv7l',
      'armv7b',
      'ppc64',
      'ppc64le',
      's390x',
    ],
  ],
]);

/** An AC Identifier (appc spec/types.md). */
export function readIdentifier(field: Field): string {
  return readNamed(field, identifierFault);
}

/** The name of an image: an AC Identifier, or a registry's repository. */
export function readImageName(field: Field): string {
  return readNamed(field, imageNameFault);
}

/** An AC Name (appc spec/types.md). */
export function readAppName(field: Field): string {
  return readNamed(field, appNameFault);
}

function readNamed(field: Field, faultOf: (text: string) => string | undefined): string {
  const text = field.string();
  const fault = faultOf(text);
  if (fault !== undefined) throw field.refuse(text === '' ? fault : `${quote(text)} ${fault}`);
  return text;
}

function readPairs(list: Field): { name: string; value: string }[] {
  const pairs = list.list().map((item) => ({
    name: readIdentifier(item.member('name')),
    value: item.member('value').string(),
  }));
  refuseDuplicates(
    list,
    pairs.map((pair) => pair.name),
  );
  return pairs;
}

/** Labels (appc spec/aci.md): unique, none called "name", os and arch a known combination. */
export function readLabels(list: Field): Label[] {
  const labels = readPairs(list);
  if (labels.some((label) => label.name === 'name')) {
    throw list.refuse('a label must not be called "name"');
  }
  refusePlatform(list, labels);
  return labels;
}

function refusePlatform(list: Field, labels: Label[]): void {
  const os = labels.find((label) => label.name === 'os')?.value;
  if (os === undefined) return; // an arch means nothing by itself
  const known = architectures.get(os);
  if (known === undefined) {
    const systems = [...architectures.keys()].join(', ');
    throw list.refuse(`bad os ${quote(os)} (must be one of: ${systems})`);
  }
  const arch = labels.find((label) => label.name === 'arch')?.value;
  if (arch !== undefined && !known.includes(arch)) {
    throw list.refuse(`bad arch ${quote(arch)} for ${os} (must be one of: ${known.join(', ')})`);
  }
}

/** Annotations (appc spec/aci.md): unique; the recognized ones in their form. */
export function readAnnotations(list: Field): Annotation[] {
  const annotations = readPairs(list);
  for (const { name, value } of annotations) {
    if (name === 'created' && !isTimestamp(value)) {
      throw list.refuse(`created: ${quote(value)} is not an RFC 3339 time`);
    }
    if ((name === 'homepage' || name === 'documentation') && !isWebUrl(value)) {
      throw list.refuse(`${name}: ${quote(value)} is not an http or https URL`);
    }
  }
  return annotations;
}

const timestamp =
  /^(\d{4})-(\d\d)-(\d\d)T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?(Z|[-+]([01]\d|2[0-3]):[0-5]\d)$/;

function isTimestamp(text: string): boolean {
  const [, year, month, day] = timestamp.exec(text) ?? [];
  if (year === undefined) return false;
  // Date rolls a 31 February over into March; a date that exists stays what it was.
  const date = new Date(`${year}-${month}-${day}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.getUTCDate() === Number(day);
}

function isWebUrl(text: string): boolean {
  return /^https?:\/\//i.test(text) && URL.canParse(text);
}
