import type { Field } from '../image/document.ts';
import { quote } from '../image/quotation.ts';
import { dockerHub, parseRepository, type Repository } from '../image/repository.ts';
import { type Directories, inOrder } from './directories.ts';
import { type ConfigFile, Origins, readConfigFiles } from './file.ts';

/** Where a registry's content is to be had as well. */
export interface Mirror {
  /** `host[:port]`, as `URL.host` writes it. */
  readonly host: string;
  /** Stands where the prefix of the rule stood; empty where it is the host alone. */
  readonly path: string;
  readonly http: boolean;
}

/** Absolute paths of PEM files. */
export interface TlsFiles {
  /** The authorities of this host, in place of those for every host. */
  readonly ca?: string;
  /** What we show to the host, with its private key. */
  readonly certificate?: string;
  readonly key?: string;
}

/** What one `registries` file says of the repositories under its prefix. */
export interface RegistryRule {
  /** `host[:port]` or `host[:port]/path`. */
  readonly prefix: string;
  readonly location?: Omit<Mirror, 'http'>;
  readonly mirrors?: readonly Mirror[];
  readonly http?: boolean;
  readonly tls?: TlsFiles;
  /** https or file; where simple-signing signatures lie. */
  readonly lookaside?: URL;
  readonly signedIdentity?: 'tag' | 'repository';
}

/** One setting, and under which prefix it was made. */
export interface Setting<Value> {
  readonly prefix: string;
  readonly value: Value;
}

/** The rules of `registries.d`, asked by name. */
export class RegistryRules {
  readonly #rules: ReadonlyMap<string, RegistryRule>;

  constructor(rules: ReadonlyMap<string, RegistryRule>) {
    this.#rules = rules;
  }

  /** All rules, by prefix. */
  get all(): RegistryRule[] {
    return [...this.#rules.values()].sort((a, b) => (a.prefix < b.prefix ? -1 : 1));
  }

  /**
   * A setting for a repository's name (`host/path`) or a host: of the rules whose prefix is the name's
   * leading whole components the longest that makes the setting counts, so that the rule of a team need
   * not repeat what that of the host says.
   */
  find<Key extends Exclude<keyof RegistryRule, 'prefix'>>(
    name: string,
    key: Key,
  ): Setting<NonNullable<RegistryRule[Key]>> | undefined {
    const components = name.split('/');
    for (let length = components.length; length > 0; length--) {
      const prefix = components.slice(0, length).join('/');
      const value = this.#rules.get(prefix)?.[key];
      if (value !== undefined) return { prefix, value };
    }
    return undefined;
  }
}

/**
 * Reads `registries.d`; overridden prefix by prefix. The kind is Gantry's own.
 * @throws GantryError `config`
 */
export function loadRegistries(directories: Directories): RegistryRules {
  const rules = new Map<string, RegistryRule>();
  for (const directory of inOrder(directories)) {
    const origins = new Origins();
    for (const file of readConfigFiles(directory, 'registries.d', ['registries'])) {
      const rule = readRule(file);
      origins.claim(rule.prefix, `the prefix ${quote(rule.prefix)}`, file);
      rules.set(rule.prefix, rule);
    }
  }
  return new RegistryRules(rules);
}

function readRule({ root }: ConfigFile): RegistryRule {
  const { host, path } = readPlace(root.member('prefix'));
  const location = root.member('location').optional(readPlace);
  const mirrors = root.member('mirrors');
  const http = root.member('http').optional((field) => field.boolean());
  const tls = root.member('tls').optional(readTls);
  const lookaside = root.member('lookaside').optional(readLookaside);
  const signedIdentity = root.member('signedIdentity').optional(readSignedIdentity);
  return {
    prefix: path === '' ? host : `${host}/${path}`,
    ...(location === undefined ? {} : { location }),
    ...(mirrors.given ? { mirrors: mirrors.list().map(readMirror) } : {}),
    ...(http === undefined ? {} : { http }),
    ...(tls === undefined ? {} : { tls }),
    ...(lookaside === undefined ? {} : { lookaside }),
    ...(signedIdentity === undefined ? {} : { signedIdentity }),
  };
}

function readMirror(field: Field): Mirror {
  const http = field.member('http').optional((given) => given.boolean()) ?? false;
  return { ...readPlace(field.member('location')), http };
}

/** A host, or a host and the beginning of a repository. */
function readPlace(field: Field): Repository {
  const text = field.filledString();
  const [, name = '', path] = /^([^/]+)(?:\/(.*))?$/s.exec(text) ?? [];
  if (text.includes('://'))
    throw field.refuse(`must be HOST or HOST/PATH, without the scheme of ${quote(text)}`);
  const url = /[^-a-zA-Z0-9.:[\]]/.test(name) ? null : URL.parse(`https://${name}`);
  if (url === null) throw field.refuse(`${quote(text)} does not begin with a registry's host`);
  const host = url.host === 'index.docker.io' ? dockerHub : url.host;
  return { host, path: path === undefined ? '' : readPath(field, path) };
}

function readPath(field: Field, path: string): string {
  try {
    // Any host but Docker Hub's, which has a word of its own to say on short paths.
    return parseRepository(`localhost/${path}`).path;
  } catch {
    throw field.refuse(`${quote(path)} is not the beginning of a repository`);
  }
}

function readTls(field: Field): TlsFiles {
  const path = (name: string) => field.member(name).optional((given) => given.absolutePath());
  const [ca, certificate, key] = [path('ca'), path('certificate'), path('key')];
  if ((certificate === undefined) !== (key === undefined)) {
    throw field.refuse('must have certificate and key together');
  }
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(certificate === undefined ? {} : { certificate }),
    ...(key === undefined ? {} : { key }),
  };
}

function readLookaside(field: Field): URL {
  const text = field.filledString();
  const url = URL.parse(text);
  if (url === null || !/^(https:\/\/|file:\/\/\/)/i.test(text) || url.username !== '') {
    throw field.refuse(`must be an https:// or file:/// URL, not ${quote(text)}`);
  }
  return url;
}

function readSignedIdentity(field: Field): 'tag' | 'repository' {
  const text = field.string();
  if (text !== 'tag' && text !== 'repository') {
    throw field.refuse(`must be tag or repository, not ${quote(text)}`);
  }
  return text;
}
