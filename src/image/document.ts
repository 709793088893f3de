import { type ErrorCode, GantryError } from '../error.ts';
import { quote } from './quotation.ts';

/** Any JSON value, as it came; keys are whatever the document holds. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | JsonValue[]
  | { [key: string]: JsonValue };

/** What a document is, for its refusals, and how large it may be. */
export interface DocumentKind {
  /** Begins every message: `image manifest`, or the path of a file. */
  what: string;
  code: ErrorCode;
  maxBytes?: number;
  /** It may hold a secret, so no refusal quotes it: JSON.parse's own messages do. */
  confidential?: boolean;
}

const defaultMaxBytes = 4 * 1024 * 1024;
const maxDepth = 64;

/**
 * One value of a JSON document from outside, knowing the path that led to it. Every reading method
 * returns a typed value or throws a GantryError whose message names the field. A `null` counts as
 * absent and unknown fields are ignored, as appc's own schema has it.
 */
export class Field {
  readonly value: unknown;
  readonly path: string;
  readonly kind: DocumentKind;

  constructor(value: unknown, path: string, kind: DocumentKind) {
    this.value = value;
    this.path = path;
    this.kind = kind;
  }

  /** The refusal of this field. */
  refuse(why: string): GantryError {
    const where = this.path === '' ? '' : ` ${this.path}:`;
    return new GantryError(this.kind.code, `${this.kind.what}:${where} ${why}`);
  }

  /** A member of an object; absent or null where `given` is false. */
  member(name: string): Field {
    const value = Object.hasOwn(this.object(), name) ? this.object()[name] : undefined;
    const step = /^[\w-]+$/.test(name) ? `.${name}` : `[${quote(name)}]`;
    return new Field(value, this.path === '' ? name : this.path + step, this.kind);
  }

  get given(): boolean {
    return this.value !== undefined && this.value !== null;
  }

  /** This field read by `read`, or undefined where it is absent. */
  optional<T>(read: (field: Field) => T): T | undefined {
    return this.given ? read(this) : undefined;
  }

  object(): Record<string, unknown> {
    const value = this.required();
    if (typeof value !== 'object' || Array.isArray(value)) throw this.mistyped('an object');
    return value as Record<string, unknown>;
  }

  string(): string {
    const value = this.required();
    if (typeof value !== 'string') throw this.mistyped('a string');
    // Strings end up in system calls and NUL-terminated plan words; a lone surrogate has no UTF-8.
    if (value.includes('\0')) throw this.refuse('must not hold a NUL character');
    if (!value.isWellFormed()) throw this.refuse('is not valid Unicode');
    return value;
  }

  filledString(): string {
    const value = this.string();
    if (value === '') throw this.refuse('must not be empty');
    return value;
  }

  boolean(): boolean {
    const value = this.required();
    if (typeof value !== 'boolean') throw this.mistyped('true or false');
    return value;
  }

  integer(low: number, high: number): number {
    const value = this.required();
    if (typeof value !== 'number') throw this.mistyped('a number');
    if (!Number.isSafeInteger(value) || value < low || value > high) {
      throw this.refuse(`must be a whole number from ${low} to ${high}, not ${value}`);
    }
    return value;
  }

  /** An absolute path without `..`. */
  absolutePath(): string {
    const path = this.filledString();
    if (!path.startsWith('/')) {
      throw this.refuse(`must be an absolute path, not ${quote(path)}`);
    }
    if (path.split('/').includes('..')) throw this.refuse('must not hold ".."');
    return path;
  }

  /** The elements of a list; an absent list is empty. */
  list(): Field[] {
    if (!this.given) return [];
    if (!Array.isArray(this.value)) throw this.mistyped('a list');
    return this.value.map((item, index) => new Field(item, `${this.path}[${index}]`, this.kind));
  }

  strings(): string[] {
    return this.list().map((item) => item.string());
  }

  /** An object whose values are all strings; absent is empty. */
  stringMap(): Record<string, string> {
    if (!this.given) return {};
    const names = Object.keys(this.object());
    return Object.fromEntries(names.map((name) => [name, this.member(name).string()]));
  }

  private required(): unknown {
    if (!this.given) throw this.refuse('is required');
    return this.value;
  }

  private mistyped(expected: string): GantryError {
    const value = Array.isArray(this.value) ? 'a list' : `a ${typeof this.value}`;
    return this.refuse(`must be ${expected}, not ${value.replace('a object', 'an object')}`);
  }
}

/** Refuses a list in which two elements have the same key. */
export function refuseDuplicates(list: Field, keys: readonly string[]): void {
  const seen = new Set<string>();
  for (const [index, key] of keys.entries()) {
    if (seen.has(key)) {
      throw new Field(undefined, `${list.path}[${index}]`, list.kind).refuse(
        `a second entry is called ${quote(key)}`,
      );
    }
    seen.add(key);
  }
}

/**
 * Reads JSON that came from outside. Beyond what JSON.parse refuses, it refuses what two readers
 * could understand differently or choke on: invalid UTF-8, a name given twice in an object (RFC 8259
 * leaves its meaning open), `__proto__`, numbers no double holds, deep nesting, and size.
 */
export function parseDocument(bytes: Uint8Array, kind: DocumentKind): Field {
  const whole = new Field(undefined, '', kind);
  const limit = kind.maxBytes ?? defaultMaxBytes;
  if (bytes.byteLength > limit) throw whole.refuse(`is larger than ${limit} bytes`);
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(text);
  } catch (cause) {
    throw malformed(kind, cause);
  }
  refuseAmbiguity(text, whole);
  return new Field(value, '', kind);
}

function malformed(kind: DocumentKind, cause: unknown): GantryError {
  if (!(cause instanceof SyntaxError)) {
    return new GantryError(kind.code, `${kind.what}: not valid JSON: it is not UTF-8`, { cause });
  }
  if (kind.confidential) return new GantryError(kind.code, `${kind.what}: not valid JSON`);
  // V8 quotes the text around the fault, whatever it holds.
  const why = cause.message.replace(/\p{Cc}+/gu, ' ').slice(0, 200);
  return new GantryError(kind.code, `${kind.what}: not valid JSON: ${why}`, { cause });
}

const token = /"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|[{}[\]]|-?[0-9][-+.0-9eE]*/g;

/** One pass over the tokens of text that JSON.parse has already accepted. */
function refuseAmbiguity(text: string, whole: Field): void {
  const names: (Set<string> | undefined)[] = [];
  for (const [word, colon] of text.matchAll(token)) {
    if (word === '{' || word === '[') {
      names.push(word === '{' ? new Set() : undefined);
      if (names.length > maxDepth) throw whole.refuse(`is nested deeper than ${maxDepth} levels`);
    } else if (word === '}' || word === ']') {
      names.pop();
    } else if (colon !== undefined) {
      refuseName(word.slice(0, -colon.length), names.at(-1), whole);
    } else if (!word.startsWith('"') && !Number.isFinite(Number(word))) {
      throw whole.refuse('holds a number that is out of range');
    }
  }
}

function refuseName(quoted: string, names: Set<string> | undefined, whole: Field): void {
  const name: string = JSON.parse(quoted);
  if (name === '__proto__') throw whole.refuse('holds a field called "__proto__"');
  if (names?.has(name)) throw whole.refuse(`holds the field ${quote(name)} twice in one object`);
  names?.add(name);
}
