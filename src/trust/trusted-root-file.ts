import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { installKeyFile } from './key-file.ts';
import type { TrustDirectories } from './keystore.ts';
import { trustMaterialOf } from './sigstore-material.ts';
import { TRUSTED_ROOTS } from './trusted-roots.ts';

/** Whose word a trusted root takes, for review. */
export interface TrustedRootSummary {
  /** Where it lies now. */
  readonly path: string;
  readonly authorities: number;
  readonly logs: readonly string[];
  readonly timestampAuthorities: number;
}

/**
 * Installs a sigstore deployment's trusted root in the machine's configuration, under the SHA-256 of its
 * bytes.
 *
 * @param origin what messages call the bytes.
 * @throws GantryError `bad-key` for what is no trusted root, `permission`.
 */
export function installTrustedRoot(
  directories: TrustDirectories,
  bytes: Uint8Array,
  origin: string,
): TrustedRootSummary {
  const material = trustMaterialOf(bytes, origin);
  const hex = createHash('sha256').update(bytes).digest('hex');
  const own = directories.own ?? directories.local;
  const path = join(own, TRUSTED_ROOTS, `${hex}.json`);
  installKeyFile(own, path, Buffer.from(bytes).toString('utf8'));
  return {
    path,
    authorities: material.certificateAuthorities.length,
    logs: material.tlogs.map(({ baseURL }) => baseURL),
    timestampAuthorities: material.timestampAuthorities.length,
  };
}
