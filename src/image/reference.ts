import { GantryError } from '../error.ts';
import { type Digest, parseDigest } from './digest.ts';
import { identifierFault } from './identifier.ts';
import type { Platform } from './oci-manifest.ts';
import { quote } from './quotation.ts';
import { isTag, parseRepository, type Repository } from './repository.ts';

/** `name:version,label=value`: an image to be looked up by name and labels. */
export interface NameReference {
  kind: 'name';
  /** As the operator wrote it. */
  text: string;
  name: string;
  /** Includes `version` where one was asked for; in the order written. */
  labels: ReadonlyMap<string, string>;
}

/** `sha512-…`, `sha256-…`: an image in the store, by its ID or the beginning of it. */
export interface IdReference {
  kind: 'id';
  text: string;
  /** `sha512-` and 2 to 128, or `sha256-` and 2 to 64 lower-case hex digits. */
  prefix: string;
}

/** An image in a registry (distribution-spec). */
export interface RegistryReference {
  kind: 'registry';
  text: string;
  repository: Repository;
  /** Absent only where a digest is given. */
  tag?: string;
  /** The manifest, or the index, that it must be. */
  digest?: Digest;
  /** Of an index; this machine's where absent. */
  platform?: Platform;
}

/** An image in an OCI layout, or in an archive of one or of Docker's making. */
export interface LayoutReference {
  kind: 'layout';
  text: string;
  format: 'oci' | 'oci-archive' | 'docker-archive';
  /** As written. */
  path: string;
  /** Which image of several: a tag, a whole reference, or `@` and an index. */
  ref?: string;
  /** Of an index; this machine's where absent. */
  platform?: Platform;
}

/** An archive on a server. */
export interface UrlReference {
  kind: 'url';
  text: string;
  url: URL;
}

/** An archive on this machine. */
export interface PathReference {
  kind: 'path';
  text: string;
  /** As written: absolute, or relative to the working directory. */
  path: string;
}

/** What an operator can call an image. */
export type Reference =
  | NameReference
  | IdReference
  | UrlReference
  | PathReference
  | RegistryReference
  | LayoutReference;

const archiveExtension = '.aci';

/**
 * Reads an image reference as rkt 1.30 does. Names and relative paths look alike: a path begins with
 * `/`, `./` or `../`, holds `./`, or ends in `.aci`. That a file called like the name outranks it is for
 * the reader of the reference to see. A name whose host has a port, or that ends in a digest, can only
 * be a registry's; any other one must say `docker://`.
 * @throws GantryError `invalid-reference`; `unsupported` for a known kind that cannot be fetched
 */
export function parseReference(text: string): Reference {
  if (text === '') throw invalid(text, 'it must not be empty');
  if (/[^!-~]/.test(text) && /[ \p{Cc}]/u.test(text))
    throw invalid(text, 'it holds a space or a control character');
  if (isIdLike(text)) return parseIdReference(text);
  const layout = parseLayoutReference(text);
  if (layout !== undefined) return layout;
  const scheme = /^([a-zA-Z][-+.a-zA-Z0-9]*):(\/\/)?/.exec(text);
  const word = scheme?.[1]?.toLowerCase();
  if (word === 'http' || word === 'https') return parseUrlReference(text);
  if (word === 'file') return parseFileReference(text);
  if (word === 'docker' || (word === 'oci' && scheme?.[2] !== undefined)) {
    return parseRegistryReference(text.slice(scheme?.[0].length), text);
  }
  if (word === 'cimd' || scheme?.[2] !== undefined) {
    throw new GantryError(
      'unsupported',
      `image reference ${quote(text)}: ${word}: is not supported; use a name, docker://, oci:, oci-archive:, docker-archive:, an image ID, an https:// URL or a path`,
    );
  }
  if (isRegistryLike(text)) return parseRegistryReference(text, text);
  return isPath(text) ? pathReference(text, text) : parseNameReference(text);
}

/**
 * What follows `docker://`: `[host/]repository[:tag][@digest]`; without tag and digest, `latest`.
 * @throws GantryError `invalid-reference`
 */
export function parseRegistryReference(text: string, whole: string = text): RegistryReference {
  const at = text.indexOf('@');
  const named = at === -1 ? text : text.slice(0, at);
  const [, path = named, tag] = /^(.*):([^/]*)$/s.exec(named) ?? [];
  if (tag !== undefined && !isTag(tag)) throw invalid(whole, `${quote(tag)} is not a tag`);
  const digest = at === -1 ? undefined : parseDigestOf(text.slice(at + 1), whole);
  const shown = tag ?? (digest === undefined ? 'latest' : undefined);
  return {
    kind: 'registry',
    text: whole,
    repository: parseRepository(path, whole),
    ...(shown === undefined ? {} : { tag: shown }),
    ...(digest === undefined ? {} : { digest }),
  };
}

/** A name and labels written as `name:version,label=value`; undoes `parseReference`. */
export function formatName(name: string, labels: ReadonlyMap<string, string>): string {
  const version = labels.get('version');
  let text = version === undefined ? name : `${name}:${version}`;
  for (const [label, value] of labels) if (label !== 'version') text += `,${label}=${value}`;
  return text;
}

function isIdLike(text: string): boolean {
  // `sha512-` and one more dash is a name that happens to begin so, as in rkt.
  return /^(sha512-|sha256[-:])[^-]*$/s.test(text);
}

function parseIdReference(text: string): IdReference {
  const algorithm = text.slice(0, 'sha512'.length);
  const digits = text.slice('sha512-'.length);
  const most = algorithm === 'sha512' ? 128 : 64;
  if (digits.length < 2) {
    throw invalid(text, `image ID too short: give at least two digits after ${algorithm}-`);
  }
  if (digits.length > most) throw invalid(text, `image ID too long: it has ${most} hex digits`);
  if (!/^[0-9a-f]+$/.test(digits)) {
    throw invalid(text, `an image ID is ${algorithm}- and lower-case hex digits`);
  }
  return { kind: 'id', text, prefix: `${algorithm}-${digits}` };
}

/** `oci:DIR[:ref]`, `oci-archive:FILE[:ref]`, `docker-archive:FILE[:ref]`, as skopeo writes them. */
function parseLayoutReference(text: string): LayoutReference | undefined {
  const [, format, rest] = /^(oci|oci-archive|docker-archive):(?!\/\/)(.*)$/s.exec(text) ?? [];
  if (format === undefined || rest === undefined) return undefined;
  // The path ends at the first colon: one with a colon in it has to be linked to another name.
  const [, path = '', ref] = /^([^:]*)(?::(.*))?$/s.exec(rest) ?? [];
  if (path === '')
    throw invalid(
      text,
      `${format}: needs the path of a ${format === 'oci' ? 'directory' : 'file'}`,
    );
  return {
    kind: 'layout',
    text,
    format: format as LayoutReference['format'],
    path,
    ...(ref ? { ref } : {}),
  };
}

/** A port in the first component, or a digest at the end: no App Container name has either. */
function isRegistryLike(text: string): boolean {
  if (/^[./]/.test(text)) return false;
  return /^[^/:,@]+:\d+\//.test(text) || /^[^,@]+@sha(256|512):/.test(text);
}

function parseDigestOf(text: string, whole: string): Digest {
  try {
    if (text.includes(':')) return parseDigest(text);
  } catch {
    // Said below, with the reference.
  }
  throw invalid(whole, `${quote(text)} is not a digest: sha256: and 64 hex digits`);
}

function parseUrlReference(text: string): UrlReference {
  if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) {
    throw invalid(text, 'it is not a URL with a host');
  }
  const url = new URL(text);
  if (!url.pathname.endsWith(archiveExtension)) throw notAnArchive(text);
  return { kind: 'url', text, url };
}

function parseFileReference(text: string): PathReference {
  if (!URL.canParse(text)) throw invalid(text, 'it is not a file:// URL');
  const url = new URL(text);
  if (!/^file:\/\/\//i.test(text) || url.host !== '') {
    throw invalid(text, 'a file URL is file:// and an absolute path');
  }
  return pathReference(text, decodePath(text, url.pathname));
}

function decodePath(text: string, pathname: string): string {
  try {
    const path = decodeURIComponent(pathname);
    if (path.includes('\0')) throw invalid(text, 'the path holds a NUL');
    return path;
  } catch (cause) {
    if (cause instanceof GantryError) throw cause;
    throw new GantryError(
      'invalid-reference',
      `invalid image reference ${quote(text)}: its percent-encoding is broken`,
      { cause },
    );
  }
}

function pathReference(text: string, path: string): PathReference {
  if (!path.endsWith(archiveExtension)) throw notAnArchive(text);
  return { kind: 'path', text, path };
}

function isPath(text: string): boolean {
  if (/^\.{0,2}\//.test(text)) return true;
  // A colon separates a version; paths with one are rare, and `./` in front tells them apart.
  if (text.includes(':')) return false;
  return text.includes('./') || text.endsWith(archiveExtension);
}

function parseNameReference(text: string): NameReference {
  const [head = '', ...pairs] = text.split(',');
  const colon = head.indexOf(':');
  if (text.includes(':', colon === -1 ? head.length : colon + 1)) {
    throw invalid(text, 'a colon may stand only once, between name and version');
  }
  const name = colon === -1 ? head : head.slice(0, colon);
  const fault = identifierFault(name);
  if (fault !== undefined) throw invalid(text, `the name ${quote(name)} ${fault}`);
  const labels = new Map<string, string>();
  if (colon !== -1) addLabel(text, labels, 'version', head.slice(colon + 1));
  for (const pair of pairs) {
    const equals = pair.indexOf('=');
    if (equals === -1) throw invalid(text, `the label ${quote(pair)} has no value`);
    addLabel(text, labels, pair.slice(0, equals), pair.slice(equals + 1));
  }
  return { kind: 'name', text, name, labels };
}

function addLabel(text: string, labels: Map<string, string>, name: string, value: string): void {
  const fault = identifierFault(name);
  if (fault !== undefined) throw invalid(text, `the label name ${quote(name)} ${fault}`);
  if (name === 'name') throw invalid(text, 'a label cannot be called "name"');
  if (labels.has(name)) throw invalid(text, `the label ${quote(name)} is given twice`);
  // rkt takes `app:` for a version of no characters, which no image has; it is an unset variable.
  if (name === 'version' && value === '') throw invalid(text, 'its version is empty');
  labels.set(name, value);
}

function notAnArchive(text: string): GantryError {
  return invalid(text, `an image archive's name ends in ${archiveExtension}`);
}

function invalid(text: string, why: string): GantryError {
  return new GantryError('invalid-reference', `invalid image reference ${quote(text)}: ${why}`);
}
