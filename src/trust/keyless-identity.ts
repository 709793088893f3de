import { Script } from 'node:vm';
import { GantryError } from '../error.ts';
import { type DocumentKind, parseDocument } from '../image/document.ts';
import { quote } from '../image/quotation.ts';

/** A keyless signer that is trusted: who, and which provider must have said that it is them. */
export interface KeylessIdentity {
  /** The OpenID provider whose word the certificate authority took: an https URL, compared whole. */
  readonly issuer: string;
  readonly subject: IdentitySubject;
}

/** The subject alternative name a certificate must have. */
export type IdentitySubject =
  | { readonly match: 'exact'; readonly text: string }
  /** A regular expression from `^` to `$`. */
  | { readonly match: 'pattern'; readonly text: string };

const GANTRY_KIND = 'identity';
const VERSION = 'v1';
const kind: DocumentKind = {
  what: 'identity',
  code: 'bad-key',
  maxBytes: 16 << 10,
  // What was given for a public key may be a secret: a service account's JSON, a JWK.
  confidential: true,
};

/** Milliseconds; an honest pattern takes microseconds. */
const PATTERN_TIME = 500;

/** Nobody's name; keeps what a pattern is run over short. */
const MAX_SUBJECT_LENGTH = 2048;

/**
 * Reads the file of an identity:
 * `{"gantryKind":"identity","version":"v1","issuer":"https://…","subject":"…"}`, or with
 * `subjectPattern` in place of `subject`. A member that is unknown is refused: it may be a condition.
 *
 * @throws GantryError `bad-key`
 */
export function parseIdentityFile(bytes: Uint8Array): KeylessIdentity {
  const root = parseDocument(bytes, kind);
  requireWord(root.member('gantryKind').value, GANTRY_KIND, 'gantryKind');
  requireWord(root.member('version').value, VERSION, 'version');
  const known = ['gantryKind', 'version', 'issuer', 'subject', 'subjectPattern'];
  if (Object.keys(root.object()).some((name) => !known.includes(name))) {
    throw badIdentity(`it holds more than ${known.join(', ')}`);
  }
  const [subject, pattern] = [root.member('subject'), root.member('subjectPattern')];
  if (subject.given === pattern.given) throw badIdentity('give either subject or subjectPattern');
  return {
    issuer: parseIssuer(root.member('issuer').string()),
    subject: subject.given ? exactSubject(subject.string()) : patternSubject(pattern.string()),
  };
}

/** The one way an identity is written: its fingerprint is the SHA-256 of this. */
export function formatIdentityFile({ issuer, subject }: KeylessIdentity): string {
  const member = subject.match === 'exact' ? 'subject' : 'subjectPattern';
  const file = { gantryKind: GANTRY_KIND, version: VERSION, issuer, [member]: subject.text };
  return `${JSON.stringify(file)}\n`;
}

/**
 * An identity as the command line gives it: what begins with `^` is a regular expression, anything else
 * the very text the certificate must hold.
 *
 * @throws GantryError `bad-key`, saying how it is written.
 */
export function parseIdentity(subject: string, issuer: string): KeylessIdentity {
  return {
    issuer: parseIssuer(issuer),
    subject: subject.startsWith('^') ? patternSubject(subject) : exactSubject(subject),
  };
}

/**
 * Whether a certificate's subject alternative name is one that is meant: the whole of it, always.
 *
 * @throws GantryError `bad-signature` where a pattern does not come to an end over it.
 */
export function matchesSubject(subject: IdentitySubject, name: string): boolean {
  if (name === '' || name.length > MAX_SUBJECT_LENGTH) return false;
  if (subject.match === 'exact') return name === subject.text;
  const pattern = wholePattern(subject.text);
  return pattern !== undefined && holdsInTime(pattern, name);
}

/** What an operator should know of a pattern before trusting it, or undefined where there is nothing. */
export function patternWarning({ match, text }: IdentitySubject): string | undefined {
  // After a letter and before one, as in github.com: what is meant there is a dot.
  if (match === 'exact' || !/[a-z0-9]\.[a-z0-9]/i.test(text)) return undefined;
  return 'a dot in it stands for any character: write \\. for a dot';
}

function parseIssuer(text: string): string {
  const url = URL.parse(text);
  const bare = url?.username === '' && url.password === '' && url.search === '' && url.hash === '';
  if (url?.protocol !== 'https:' || !bare || /\s/.test(text)) {
    throw badIdentity(
      `the issuer ${quote(text)} is not an https:// URL, as https://accounts.google.com is`,
    );
  }
  return text;
}

function exactSubject(text: string): IdentitySubject {
  requireLength(text);
  if (text.includes('*') || text.endsWith('$')) {
    throw badIdentity(
      `${quote(text)} is neither a whole identity nor a regular expression, which is written from ^ to $: ^https://github\\.com/team/.*$`,
    );
  }
  return { match: 'exact', text };
}

function patternSubject(text: string): IdentitySubject {
  requireLength(text);
  const pattern = wholePattern(text);
  if (pattern === undefined) {
    throw badIdentity(`${quote(text)} is not a regular expression from ^ to $`);
  }
  if (pattern.test('') || pattern.test('\u{10FFFF} anybody at all')) {
    throw badIdentity(`${quote(text)} is everybody, which is nobody in particular`);
  }
  return { match: 'pattern', text };
}

function requireLength(text: string): void {
  if (text === '' || text.length > MAX_SUBJECT_LENGTH || /\p{Cc}/u.test(text)) {
    throw badIdentity(`${quote(text)} is not somebody's identity`);
  }
}

/**
 * The expression between `^` and `$`, which must be one by itself: put in parentheses it can then match
 * nothing but the whole, however many alternatives it has (`^a|b$` would match `axe`).
 */
function wholePattern(text: string): RegExp | undefined {
  const [, inner] = /^\^(.*)\$$/s.exec(text) ?? [];
  if (inner === undefined) return undefined;
  try {
    new RegExp(inner, 'u');
    return new RegExp(`^(?:${inner})$`, 'u');
  } catch {
    return undefined;
  }
}

/**
 * Anybody can write a name into a certificate, and this is asked before anything of that is verified: with
 * one made for it a pattern such as `^(a+)+$` would run for years. Only a script can be stopped amidst it.
 */
function holdsInTime({ source }: RegExp, name: string): boolean {
  const code = `new RegExp(${JSON.stringify(source)}, 'u').test(${JSON.stringify(name)})`;
  try {
    return new Script(code).runInThisContext({ timeout: PATTERN_TIME }) === true;
  } catch (cause) {
    throw new GantryError(
      'bad-signature',
      `the trusted pattern ${quote(source)} does not come to an end over the name in its certificate`,
      { cause },
    );
  }
}

function requireWord(value: unknown, expected: string, name: string): void {
  if (value !== expected) throw badIdentity(`its ${name} is not "${expected}"`);
}

function badIdentity(reason: string): GantryError {
  return new GantryError('bad-key', `not a usable identity: ${reason}`);
}
