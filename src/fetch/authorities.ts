import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, GantryError } from '../error.ts';

/** Where distributions keep the bundle of authorities they trust: Debian, Fedora, SUSE, Alpine. */
const systemBundles = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

/**
 * The certificate authorities to believe, PEM: those of `SSL_CERT_FILE` and of every file in the
 * directories of `SSL_CERT_DIR` (separated by colons) where one of the two is set, else the system's
 * bundle. Undefined where there is none: Node's own are meant then.
 *
 * @throws GantryError `config` for a named file or directory that cannot be read or holds no certificate
 */
export function loadAuthorities(env: NodeJS.ProcessEnv): string[] | undefined {
  const file = env['SSL_CERT_FILE'];
  const directories = env['SSL_CERT_DIR'];
  if (!file && !directories) return systemAuthorities();
  const found = file ? [readNamed('SSL_CERT_FILE', file)] : [];
  for (const directory of directories ? directories.split(':') : []) {
    if (directory !== '') found.push(...readDirectory(directory));
  }
  if (found.length === 0) {
    throw new GantryError('config', `SSL_CERT_DIR: no certificate in ${directories}`);
  }
  return found;
}

function systemAuthorities(): string[] | undefined {
  for (const path of systemBundles) {
    const bundle = readOptional(path);
    if (bundle !== undefined && holdsCertificate(bundle)) return [bundle];
  }
  return undefined;
}

function readNamed(variable: string, path: string): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new GantryError('config', `${variable}: cannot read ${path}: ${errnoOf(cause)}`, {
      cause,
    });
  }
  if (holdsCertificate(text)) return text;
  throw new GantryError('config', `${variable}: ${path} holds no PEM certificate`);
}

function readDirectory(directory: string): string[] {
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch (cause) {
    throw new GantryError('config', `SSL_CERT_DIR: cannot read ${directory}: ${errnoOf(cause)}`, {
      cause,
    });
  }
  // A directory made by `c_rehash` holds other files too: keys' hashes, revocation lists, READMEs.
  const texts = names
    .map((name) => readOptional(join(directory, name)))
    .filter((text) => text !== undefined)
    .filter(holdsCertificate);
  // Each certificate lies there under its name and, as a link, under its hash.
  return [...new Set(texts)];
}

function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function holdsCertificate(text: string): boolean {
  return text.includes('-----BEGIN CERTIFICATE-----') || text.includes('-----BEGIN TRUSTED CERT');
}
