import { GantryError } from '../error.ts';
import type { ImageRecord } from '../image/image-record.ts';
import type { Provenance, VerifiedProvenance } from '../image/provenance.ts';
import { digestOf } from '../store/digest-of.ts';
import type { ManifestSignature, SignedIdentityPolicy } from '../trust/manifest-signature.ts';
import type { FetchContext } from './context.ts';
import { type Certificate, candidatesOf, imageIdOf, type ResolvedImage } from './oci-intake.ts';
import type { OciSource } from './oci-source.ts';
import type { Getter } from './transport.ts';
import { reportVerdict } from './verdict-report.ts';

/** Where an image's signatures are looked for, and how they are read. */
export interface SignaturePlaces {
  readonly source: OciSource;
  /** How far a signature's own reference must be the one asked for (`registries.d`). */
  readonly signedIdentity: SignedIdentityPolicy;
  /** The signature store of simple signing (`registries.d`), where there is one. */
  readonly lookaside?: URL | undefined;
  /** How a store that is a web server is asked. */
  readonly getter?: Getter | undefined;
}

/**
 * Asks who vouches for an image under a name: every signature that lies beside its manifest or its
 * index, against every key trusted for the name.
 *
 * @param tag as asked for; undefined where the image was asked for by its digest alone
 * @throws GantryError `untrusted`, `bad-signature`
 */
export async function certify(
  image: ResolvedImage,
  places: SignaturePlaces,
  name: string,
  tag: string | undefined,
  context: FetchContext,
): Promise<Omit<Certificate, 'source'>> {
  const called = { name, version: tag };
  if (context.insecure.image) {
    return { ...called, provenance: unasked(image, name, tag, context) };
  }
  const unreachable: GantryError[] = [];
  const signatures = await findAll(image, places, name, context, unreachable);
  const { verifyManifest } = await import('../trust/manifest-verification.ts');
  const { provenance, signature } = await verifyManifest({
    directories: context.directories,
    name,
    ...(tag === undefined ? {} : { tag }),
    candidates: candidatesOf(image),
    signatures,
    identity: places.signedIdentity,
  }).catch((cause: unknown) => {
    // One signature that holds is enough, wherever the others lie; but none can be said to be missing.
    throw unreachable[0] === undefined ? cause : withCause(unreachable[0], cause);
  });
  reportVerdict(provenance, context);
  return { ...called, ...(await kept(provenance, signature)) };
}

/** Nobody is asked; but who vouched for this very image under this name has not taken it back. */
function unasked(
  image: ResolvedImage,
  name: string,
  tag: string | undefined,
  { store }: FetchContext,
): Provenance {
  const record = store.getImage(imageIdOf(image));
  const known =
    record === undefined
      ? undefined
      : namingsOf(record).find((naming) => naming.name === name && naming.labels['version'] === tag)
          ?.provenance;
  if (known !== undefined && known.kind !== 'unverified') return known;
  return { kind: 'unverified', reason: 'fetched with --insecure-options=image' };
}

function namingsOf(record: ImageRecord) {
  return [record, ...(record.aliases ?? [])];
}

async function findAll(
  image: ResolvedImage,
  { source, lookaside, getter }: SignaturePlaces,
  name: string,
  context: FetchContext,
  unreachable: GantryError[],
): Promise<ManifestSignature[]> {
  const { findSignatures } = await import('./signature-discovery.ts');
  context.report.debug(`image: looking for signatures of ${source.shown}`);
  return await findSignatures(source, name, candidatesOf(image), {
    lookaside,
    getter,
    debug: (line) => context.report.debug(line),
    unreachable: (failure) => {
      context.report.debug(`image: looking for signatures: ${failure.message}`);
      unreachable.push(failure);
    },
  });
}

function withCause({ code, message }: GantryError, cause: unknown): GantryError {
  return new GantryError(code, message, { cause });
}

/** The signature is kept among the blobs, for `image verify` to check again. */
async function kept(
  provenance: VerifiedProvenance,
  signature: ManifestSignature,
): Promise<Pick<Certificate, 'provenance' | 'signature'>> {
  const { encodeSignature } = await import('../trust/signature-encoding.ts');
  const bytes = encodeSignature(signature);
  const digest = digestOf(bytes);
  return {
    provenance: { ...provenance, signatureBlob: { ...digest, size: bytes.length } },
    signature: { digest, bytes },
  };
}
