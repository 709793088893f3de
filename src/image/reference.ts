import { GantryError } from '../error.ts';
import { imageIdPrefix } from './digest.ts';
import { identifierFault } from './identifier.ts';
import { quote } from './quotation.ts';

/** `name:version,label=value`: an image to be looked up by name and labels. */
export interface NameReference {
  kind: 'name';
  /** As the operator wrote it. */
  text: string;
  name: string;
  /** Includes `version` where one was asked for; in the order written. */
  labels: ReadonlyMap<string, string>;
}

/** `sha512-…`: an image in the store, by its ID or the beginning of it. */
export interface IdReference {
  kind: 'id';
  text: string;
  /** `sha512-` and 2 to 128 lower-case hex digits. */
  prefix: string;
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
export type Reference = NameReference | IdReference | UrlReference | PathReference;

const archiveExtension = '.aci';

/**
 * Reads an image reference as rkt 1.30 does. Names and relative paths look alike: a path begins with
 * `/`, `./` or `../`, holds `./`, or ends in `.aci`. That a file called like the name outranks it is for
 * the reader of the reference to see.
 * @throws GantryError `invalid-reference`; `unsupported` for a known kind that cannot be fetched yet
 */
export function parseReference(text: string): Reference {
  if (text === '') throw invalid(text, 'it must not be empty');
  if (/[ \p{Cc}]/u.test(text)) throw invalid(text, 'it holds a space or a control character');
  if (isIdLike(text)) return parseIdReference(text);
  const scheme = /^([a-zA-Z][-+.a-zA-Z0-9]*):(\/\/)?/.exec(text);
  const word = scheme?.[1]?.toLowerCase();
  if (word === 'http' || word === 'https') return parseUrlReference(text);
  if (word === 'file') return parseFileReference(text);
  if (word === 'docker' || word === 'cimd' || scheme?.[2] !== undefined) {
    throw new GantryError(
      'unsupported',
      `image reference ${quote(text)}: ${word}: is not supported; use a name, an image ID, an https:// URL or a path`,
    );
  }
  return isPath(text) ? pathReference(text, text) : parseNameReference(text);
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
  return text.startsWith(imageIdPrefix) && !text.includes('-', imageIdPrefix.length);
}

function parseIdReference(text: string): IdReference {
  const digits = text.slice(imageIdPrefix.length);
  if (digits.length < 2) {
    throw invalid(text, 'image ID too short: give at least two digits after sha512-');
  }
  if (digits.length > 128) throw invalid(text, 'image ID too long: it has 128 hex digits');
  if (!/^[0-9a-f]+$/.test(digits)) {
    throw invalid(text, 'an image ID is sha512- and lower-case hex digits');
  }
  return { kind: 'id', text, prefix: text };
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
