import { GantryError } from '../error.ts';
import { quote } from './quotation.ts';

// appc's regular expressions (spec/types.md) forbid separators side by side, but its own example
// `example.com/~user/app_v1` has them, and so do images. As in rkt only the characters and the edges
// count; beyond that no component may be empty, `.` or `..`, because identifiers become paths.
const identifier = /^[a-z0-9]([-._~/a-z0-9]*[a-z0-9])?$/;
const hollowComponent = /\/\.{0,2}\//;
const appName = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

/** App names become directory names: NAME_MAX. */
const maxAppNameLength = 255;
/** Identifiers become paths and URLs; longer ones are no honest names. */
const maxIdentifierLength = 1024;

/** Whether `text` is an AC Identifier: the type of image, label and isolator names. */
export function isIdentifier(text: string): boolean {
  return text.length <= maxIdentifierLength && identifier.test(text) && !hollowComponent.test(text);
}

/**
 * Why `text` names no image, or undefined where it does: an AC Identifier, or that of a registry's
 * repository, whose host may have a port (`localhost:5000/app`).
 */
export function imageNameFault(text: string): string | undefined {
  const [, host, rest] = /^([^/:]+):[1-9]\d{0,4}((?:\/.*)?)$/s.exec(text) ?? [];
  return identifierFault(host === undefined ? text : `${host}${rest ?? ''}`);
}

/**
 * The name of an image, or a prefix of names, given by the operator; `what` says what it is meant to
 * name.
 * @throws GantryError `invalid-reference`
 */
export function parseImageName(text: string, what = 'image name'): string {
  return accept(text, imageNameFault(text), what);
}

/** Whether `text` is an AC Name: the type of app, volume, mount point and port names. */
export function isAppName(text: string): boolean {
  return text.length <= maxAppNameLength && appName.test(text);
}

/** Why `text` is no AC Identifier, or undefined where it is one (appc spec/types.md). */
export function identifierFault(text: string): string | undefined {
  if (isIdentifier(text)) return undefined;
  if (text.length > maxIdentifierLength) return `is longer than ${maxIdentifierLength} characters`;
  if (text === '') return 'must not be empty';
  if (/[^-a-z0-9._~/]/.test(text)) {
    return 'must contain only lower case alphanumeric characters plus "-._~/"';
  }
  if (/^[-._~/]|[-._~/]$/.test(text)) {
    return 'must start and end with a lower case alphanumeric character';
  }
  return 'must not hold an empty component, "." or ".."';
}

/** Why `text` is no AC Name, or undefined where it is one (appc spec/types.md). */
export function appNameFault(text: string): string | undefined {
  if (isAppName(text)) return undefined;
  if (text.length > maxAppNameLength) return `is longer than ${maxAppNameLength} characters`;
  if (text === '') return 'must not be empty';
  if (/[^-a-z0-9]/.test(text)) {
    return 'must contain only lower case alphanumeric characters plus "-"';
  }
  return 'must start and end with a lower case alphanumeric character';
}

/**
 * An AC Identifier given by the operator; `what` says what it is meant to name.
 * @throws GantryError `invalid-reference`
 */
export function parseIdentifier(text: string, what = 'image name'): string {
  return accept(text, identifierFault(text), what);
}

/**
 * An AC Name given by the operator; `what` says what it is meant to name.
 * @throws GantryError `invalid-reference`
 */
export function parseAppName(text: string, what = 'app name'): string {
  return accept(text, appNameFault(text), what);
}

/**
 * The name an app gets when none is asked for: the last component of its image's name, with every
 * character an AC Name cannot hold made a dash.
 */
export function sanitizeAppName(imageName: string): string {
  const last = imageName.slice(imageName.lastIndexOf('/') + 1);
  const name = last
    .toLowerCase()
    .replace(/[^-a-z0-9]/g, '-')
    .replace(/^-+|-+$/g, '');
  return parseAppName(name, `app name made from image name ${quote(imageName)}`);
}

function accept(text: string, fault: string | undefined, what: string): string {
  if (fault === undefined) return text;
  throw new GantryError('invalid-reference', `invalid ${what} ${quote(text)}: ${fault}`);
}
