import { randomBytes, scryptSync } from 'node:crypto';
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js';
import { type DocumentKind, type Field, parseDocument } from '../image/document.ts';
import { quote } from '../image/quotation.ts';
import { decodeBase64 } from './base64.ts';

const kind: DocumentKind = { what: 'sealed key', code: 'bad-key', maxBytes: 64 << 10 };

/** What cosign uses since version 2, and OWASP asks of scrypt (RFC 7914): 64 MiB. */
const COST = { N: 65536, r: 8, p: 1 } as const;
/** A file that asks for more memory or time than this is broken, not careful. */
const MAX_MEMORY = 512 << 20;
const MAX_PASSES = 8;

const SECRETBOX_KEY_BYTES = 32;
const SECRETBOX_NONCE_BYTES = 24;
const LABEL = 'ENCRYPTED SIGSTORE PRIVATE KEY';

/** What sigstore's tools call a key under a passphrase, and called it before 2023. */
export const SEALED_KEY_LABELS: ReadonlySet<string> = new Set([
  LABEL,
  'ENCRYPTED COSIGN PRIVATE KEY',
]);

/**
 * Opens a secret key as cosign and skopeo keep theirs: PKCS #8 in NaCl's secretbox, under a key that
 * scrypt makes of the passphrase (sigstore/sigstore, pkg/cryptoutils; go-securesystemslib, encrypted).
 *
 * @param sealed the content of the PEM block: JSON.
 * @returns the PKCS #8 DER, for the caller to wipe; undefined where the passphrase is another one.
 * @throws GantryError `bad-key`, naming the field, its message the rest of a sentence about the file.
 */
export function openSealedKey(sealed: Uint8Array, passphrase: Uint8Array): Uint8Array | undefined {
  const root = parseDocument(sealed, kind);
  const kdf = root.member('kdf');
  requireName(kdf.member('name'), 'scrypt');
  const cipher = root.member('cipher');
  requireName(cipher.member('name'), 'nacl/secretbox');
  const nonce = base64(cipher.member('nonce'), SECRETBOX_NONCE_BYTES);
  const ciphertext = base64(root.member('ciphertext'));
  const key = derive(passphrase, base64(kdf.member('salt')), readCost(kdf.member('params')));
  try {
    return xsalsa20poly1305(key, nonce).decrypt(ciphertext);
  } catch {
    // The one thing it says is that the tag does not fit: another passphrase, or a changed file.
    return undefined;
  } finally {
    key.fill(0);
  }
}

/** Seals PKCS #8 DER under a passphrase; answers the PEM that `openSealedKey`, and cosign, open. */
export function sealKey(der: Uint8Array, passphrase: Uint8Array): string {
  const salt = randomBytes(32);
  const nonce = randomBytes(SECRETBOX_NONCE_BYTES);
  const key = derive(passphrase, salt, COST);
  const ciphertext = xsalsa20poly1305(key, nonce).encrypt(der);
  key.fill(0);
  const sealed = JSON.stringify({
    kdf: { name: 'scrypt', params: COST, salt: salt.toString('base64') },
    cipher: { name: 'nacl/secretbox', nonce: nonce.toString('base64') },
    ciphertext: Buffer.from(ciphertext).toString('base64'),
  });
  const lines =
    Buffer.from(sealed)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${LABEL}-----\n${lines.join('\n')}\n-----END ${LABEL}-----\n`;
}

interface Cost {
  readonly N: number;
  readonly r: number;
  readonly p: number;
}

function derive(passphrase: Uint8Array, salt: Uint8Array, cost: Cost): Buffer {
  return scryptSync(passphrase, salt, SECRETBOX_KEY_BYTES, {
    ...cost,
    maxmem: MAX_MEMORY + (1 << 20),
  });
}

/** RFC 7914 section 2: N is a power of two, and 128·N·r bytes are needed. */
function readCost(params: Field): Cost {
  const N = params.member('N').integer(2, 1 << 24);
  const r = params.member('r').integer(1, 64);
  const p = params.member('p').integer(1, MAX_PASSES);
  if ((N & (N - 1)) !== 0) throw params.member('N').refuse('is not a power of two');
  if (128 * N * r > MAX_MEMORY) throw params.refuse(`would take more than ${MAX_MEMORY >> 20} MiB`);
  return { N, r, p };
}

function requireName(field: Field, expected: string): void {
  const name = field.string();
  if (name !== expected) throw field.refuse(`${quote(name)} is not ${expected}`);
}

function base64(field: Field, length?: number): Uint8Array {
  const text = field.filledString();
  const bytes = decodeBase64(text);
  if (bytes === undefined) throw field.refuse('is not base64');
  if (length !== undefined && bytes.length !== length) {
    throw field.refuse(`holds ${bytes.length} bytes, not ${length}`);
  }
  return bytes;
}
