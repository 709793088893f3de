import type { Field } from './document.ts';
import { readAppName } from './label.ts';
import { quote } from './quotation.ts';
import { readUserId } from './user-id.ts';

/** A directory or file of the host. */
export interface HostVolume {
  name: string;
  kind: 'host';
  /** Absolute, on the host. */
  source: string;
  readOnly: boolean;
  /** Whether mounts beneath the source come along; where absent, they do. */
  recursive?: boolean;
  /** Which mounts made below it later travel; `private` where absent. Not appc's. */
  propagation?: Propagation;
}

/**
 * Whether mounts travel between the host and an app (mount_namespaces(7)): not at all, from the host to
 * the app, or both ways.
 */
export type Propagation = 'private' | 'slave' | 'shared';
export const PROPAGATIONS: readonly Propagation[] = ['private', 'slave', 'shared'];

/** A directory that lives as long as the pod. */
export interface EmptyVolume {
  name: string;
  kind: 'empty';
  readOnly: boolean;
  /** Octal digits, such as `0755`. */
  mode: string;
  uid: number;
  gid: number;
}

/** What a pod mounts into its apps (appc spec/pods.md, `volumes`). */
export type Volume = HostVolume | EmptyVolume;

/** One element of `volumes`, or an app's own `appVolume`. */
export function readVolume(item: Field): Volume {
  const kind = item.member('kind').string();
  if (kind === 'host') return readHostVolume(item);
  if (kind === 'empty') return readEmptyVolume(item);
  throw item.member('kind').refuse(`must be host or empty, not ${quote(kind)}`);
}

function readHostVolume(item: Field): HostVolume {
  refuseMembers(item, 'host', ['mode', 'uid', 'gid']);
  const recursive = item.member('recursive').optional((field) => field.boolean());
  const propagation = item.member('propagation').optional(readPropagation);
  return {
    name: readAppName(item.member('name')),
    kind: 'host',
    source: item.member('source').absolutePath(),
    readOnly: readFlag(item.member('readOnly')),
    ...(recursive === undefined ? {} : { recursive }),
    ...(propagation === undefined ? {} : { propagation }),
  };
}

function readPropagation(field: Field): Propagation {
  const text = field.string();
  const known = PROPAGATIONS.find((propagation) => propagation === text);
  if (known !== undefined) return known;
  throw field.refuse(`must be ${PROPAGATIONS.join(', ')}, not ${quote(text)}`);
}

function readEmptyVolume(item: Field): EmptyVolume {
  if (item.member('source').value !== '') refuseMembers(item, 'empty', ['source']);
  const mode = item.member('mode').optional((field) => field.string()) ?? '0755';
  if (!/^[0-7]{3,4}$/.test(mode)) {
    throw item.member('mode').refuse(`must be three or four octal digits, not ${quote(mode)}`);
  }
  return {
    name: readAppName(item.member('name')),
    kind: 'empty',
    readOnly: readFlag(item.member('readOnly')),
    mode,
    uid: item.member('uid').optional(readUserId) ?? 0,
    gid: item.member('gid').optional(readUserId) ?? 0,
  };
}

function readFlag(field: Field): boolean {
  return field.optional((given) => given.boolean()) ?? false;
}

function refuseMembers(item: Field, kind: string, names: string[]): void {
  for (const name of names) {
    if (item.member(name).given) {
      throw item.member(name).refuse(`means nothing for a volume of kind ${kind}`);
    }
  }
}
