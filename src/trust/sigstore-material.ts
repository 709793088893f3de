import { TrustedRoot } from '@sigstore/protobuf-specs';
import { type TrustMaterial, toTrustMaterial } from '@sigstore/verify';
import { GantryError } from '../error.ts';
import { parseDocument } from '../image/document.ts';
import { quote } from '../image/quotation.ts';
import { MAX_KEY_FILE_BYTES } from './key-file.ts';
import type { TrustDirectories } from './keystore.ts';
import { printableReason } from './printable.ts';
import { rootName, trustedRootFiles } from './trusted-roots.ts';

/** What one sigstore deployment is believed by: its authorities and its logs. */
export interface SigstoreRoot {
  /** The file it was read from. */
  readonly path: string;
  readonly material: TrustMaterial;
}

/** sigstore/protobuf-specs, sigstore_trustroot.proto, `TrustedRoot.media_type`. */
const MEDIA_TYPES: ReadonlySet<string> = new Set(
  ['0.1', '0.2'].flatMap((version) => [
    `application/vnd.dev.sigstore.trustedroot+json;version=${version}`,
    `application/vnd.dev.sigstore.trustedroot.v${version}+json`,
  ]),
);

/**
 * The sigstore deployments the operator trusts, by `trustedRootFiles`. They stay apart: a log of one deployment says nothing about a certificate of another.
 *
 * @throws GantryError `permission` or `bad-key` for a file that has no business there: as with keys,
 *   nothing is believed beside it.
 */
export function loadTrustedRoots(directories: TrustDirectories): SigstoreRoot[] {
  return trustedRootFiles(directories).map(({ path, bytes }) => ({
    path,
    material: trustMaterialOf(bytes, path),
  }));
}

/**
 * Reads a `trusted_root.json` as sigstore's TUF repositories and `cosign trusted-root create` have it.
 *
 * @throws GantryError `bad-key`, naming the path.
 */
export function trustMaterialOf(bytes: Uint8Array, path: string): TrustMaterial {
  const what = rootName(path);
  const root = parseDocument(bytes, { what, code: 'bad-key', maxBytes: MAX_KEY_FILE_BYTES });
  const mediaType = root.member('mediaType');
  if (!MEDIA_TYPES.has(mediaType.string())) {
    throw mediaType.refuse(`${quote(mediaType.string())} is not that of a sigstore trusted root`);
  }
  if (root.member('certificateAuthorities').list().length === 0) {
    throw root.member('certificateAuthorities').refuse('must name an authority');
  }
  for (const log of [...root.member('tlogs').list(), ...root.member('ctlogs').list()]) {
    // protobuf-specs demands it; the library would take its absence for since ever.
    log.member('publicKey').member('validFor').member('start').filledString();
  }
  try {
    // No keys beside the root: what is signed with a bare key is no matter of identities.
    return toTrustMaterial(TrustedRoot.fromJSON(root.value), {});
  } catch (cause) {
    throw unusable(path, `cannot be read (${printableReason(cause)})`, cause);
  }
}

function unusable(path: string, why: string, cause?: unknown): GantryError {
  return new GantryError('bad-key', `${rootName(path)} ${why}`, { cause });
}
