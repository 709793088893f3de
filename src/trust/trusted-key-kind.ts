import { createHash, type KeyObject, type X509Certificate } from 'node:crypto';
import type { Key } from 'openpgp';
import { GantryError } from '../error.ts';
import { isBinary } from './armor.ts';
import { authorityFingerprint, parseAuthority } from './certificate-authority.ts';
import { MAX_KEY_FILE_BYTES } from './key-file.ts';
import { formatIdentityFile, type KeylessIdentity, parseIdentityFile } from './keyless-identity.ts';
import type { TrustedKey } from './keystore.ts';
import { isPem, isSecretLabel, type PemBlock, pemBlocks, pemLabels } from './pem.ts';
import { parseSigstoreKey, sigstoreFingerprint } from './sigstore-key.ts';

/** What a trusted key file can hold, by the names provenance has for them. */
export type TrustedKeyKind = 'openpgp' | 'sigstore-key' | 'sigstore-identity' | 'x509';

/** The content of a trusted key file, parsed. */
export type KeyMaterial =
  | { readonly kind: 'openpgp'; readonly key: Key }
  /** `algorithm` as people call it: `ECDSA P-256`, `RSA 3072`, `Ed25519`. */
  | { readonly kind: 'sigstore-key'; readonly key: KeyObject; readonly algorithm: string }
  | { readonly kind: 'sigstore-identity'; readonly identity: KeylessIdentity }
  | { readonly kind: 'x509'; readonly certificate: X509Certificate };

/** A trusted key file, read and parsed. */
export type LoadedTrustedKey = KeyMaterial & {
  readonly trusted: TrustedKey;
  readonly bytes: Uint8Array;
  /** SHA-256 of the file's bytes, hex: what the image record keeps. */
  readonly digest: string;
  /** What the file's stamp was before it was read. */
  readonly stamp: string;
};

/** A trusted key of one kind. */
export type KeyOf<Kind extends TrustedKeyKind> = Extract<LoadedTrustedKey, { kind: Kind }>;

/** One key of a file that was offered, and how it is written down where it is trusted. */
export interface OfferedKey {
  readonly material: KeyMaterial;
  /** Lower-case hex: the name of its file. */
  readonly fingerprint: string;
  /** The whole content of its file. */
  readonly file: string;
}

const MAX_BLOCKS = 64;

/** The keys of one kind among those trusted for a name. */
export function keysOfKind<Kind extends TrustedKeyKind>(
  keys: readonly LoadedTrustedKey[],
  kind: Kind,
): KeyOf<Kind>[] {
  return keys.filter((key): key is KeyOf<Kind> => key.kind === kind);
}

/**
 * Reads a file of keys of one kind or several, told by what is in it: OpenPGP packets or armor, PEM
 * blocks, or the JSON of an identity. Nothing secret may be in it: that is refused before anything is
 * parsed, and never printed.
 *
 * @returns the keys, in the file's order; at least one.
 * @throws GantryError `bad-key`, saying what the bytes are instead.
 */
export async function readKeys(bytes: Uint8Array): Promise<OfferedKey[]> {
  if (bytes.length > MAX_KEY_FILE_BYTES || isBinary(bytes)) return await openPgpKeys(bytes);
  const text = Buffer.from(bytes).toString('latin1');
  const labels = pemLabels(text);
  const isOpenPgp = (label: string) => label.startsWith('PGP ');
  if (labels.some((label) => !isOpenPgp(label) && isSecretLabel(label))) throw secretKey();
  if (labels.length > 0 && labels.some((label) => !isOpenPgp(label))) return pemKeys(text, labels);
  if (/^\s*\{/.test(text)) return [identityKey(parseIdentityFile(bytes))];
  return await openPgpKeys(bytes);
}

/** An identity as a key that can be trusted. */
function identityKey(identity: KeylessIdentity): OfferedKey {
  const file = formatIdentityFile(identity);
  return {
    material: { kind: 'sigstore-identity', identity },
    fingerprint: createHash('sha256').update(file).digest('hex'),
    file,
  };
}

/**
 * Reads a key file of the store. As with rkt the first key in it is the one that is trusted, and
 * the file must bear its fingerprint: a renamed file must not smuggle in another key.
 *
 * @throws GantryError `bad-key` or `permission`, naming the path.
 */
export async function loadTrustedKey(trusted: TrustedKey): Promise<LoadedTrustedKey> {
  const stamp = trusted.stamp();
  const bytes = trusted.bytes();
  const material = await parseTrustedKey(trusted, bytes);
  const digest = createHash('sha256').update(bytes).digest('hex');
  return { ...material, trusted, bytes, digest, stamp };
}

/** As `loadTrustedKey`, of bytes already read. */
export async function parseTrustedKey(
  trusted: TrustedKey,
  bytes: Uint8Array,
): Promise<KeyMaterial> {
  const { material, fingerprint } = await firstKey(trusted, bytes);
  if (fingerprint !== trusted.fingerprint) {
    throw new GantryError(
      'bad-key',
      `trusted key ${trusted.path}: the key inside has the fingerprint ${fingerprint}; remove the file, or rename it if you trust that key`,
    );
  }
  return material;
}

async function firstKey(trusted: TrustedKey, bytes: Uint8Array): Promise<OfferedKey> {
  try {
    const [key] = await readKeys(bytes);
    if (key === undefined) throw badKey('it holds no key');
    return key;
  } catch (error) {
    if (!(error instanceof GantryError)) throw error;
    throw new GantryError('bad-key', `trusted key ${trusted.path}: ${error.message}`, {
      cause: error,
    });
  }
}

async function openPgpKeys(bytes: Uint8Array): Promise<OfferedKey[]> {
  const { readPublicKeys } = await import('./public-key.ts');
  const keys = await readPublicKeys(bytes);
  return keys.map((key) => ({
    material: { kind: 'openpgp', key },
    fingerprint: key.getFingerprint(),
    file: key.armor(),
  }));
}

function pemKeys(text: string, labels: readonly string[]): OfferedKey[] {
  if (labels.some((label) => label.startsWith('PGP '))) {
    throw badKey('it mixes OpenPGP and PEM; give one file for each');
  }
  const blocks = isPem(text) ? pemBlocks(text) : 'its PEM block does not begin a line';
  if (typeof blocks === 'string') throw badKey(blocks);
  if (blocks.length > MAX_BLOCKS) throw badKey(`it holds more than ${MAX_BLOCKS} keys`);
  return blocks.map(pemKey);
}

function pemKey({ label, der }: PemBlock): OfferedKey {
  if (label === 'PUBLIC KEY') {
    const { key, algorithm } = parseSigstoreKey(der);
    return {
      material: { kind: 'sigstore-key', key, algorithm },
      fingerprint: sigstoreFingerprint(key),
      file: String(key.export({ format: 'pem', type: 'spki' })),
    };
  }
  if (label === 'CERTIFICATE') {
    const certificate = parseAuthority(der);
    return {
      material: { kind: 'x509', certificate },
      fingerprint: authorityFingerprint(certificate),
      file: certificate.toString(),
    };
  }
  throw badKey(
    `it holds a ${label}; what can be trusted in PEM is a PUBLIC KEY (openssl pkey -pubout) or an authority's CERTIFICATE`,
  );
}

function badKey(reason: string): GantryError {
  return new GantryError('bad-key', `not a usable public key: ${reason}`);
}

function secretKey(): GantryError {
  return badKey(
    'it holds a SECRET key, of which nothing was kept; give the public part instead (openssl pkey -pubout, cosign public-key)',
  );
}
