import { GantryError } from '../error.ts';
import { type Digest, formatDigest } from '../image/digest.ts';
import { type Descriptor, type OciManifest, parseOciManifest } from '../image/oci-manifest.ts';
import type { ManifestSignature } from '../trust/manifest-signature.ts';
import { throughLanes } from './lanes.ts';
import { lookasideSignatures } from './lookaside.ts';
import type { FoundManifest, OciSource } from './oci-source.ts';
import { SIGNATURE_LIMIT } from './signature.ts';
import {
  COSIGN_PAYLOAD_TYPE,
  isBundleType,
  MAX_SIGNATURES,
  NOTATION_ARTIFACT_TYPE,
  readAnnotations,
  signatureTag,
} from './signature-form.ts';
import type { Getter } from './transport.ts';

/** Where else to look, and whom to tell what was passed over. */
export interface DiscoveryOptions {
  /** The signature store of simple signing, where there is one. */
  readonly lookaside?: URL | undefined;
  /** How a store that is a web server is asked. */
  readonly getter?: Getter | undefined;
  readonly debug?: ((line: string) => void) | undefined;
  /** Told of a place that did not answer; without it, that is thrown. */
  readonly unreachable?: ((failure: GantryError) => void) | undefined;
}

const envelopeTypes = ['application/jose+json', 'application/cose'] as const;

/** Of one place's at once: what says where a signature lies may itself have 4 MiB. */
const PARALLEL = 4;
/** An image's signatures together: one has a few kilobytes, and all are kept until the verdict. */
const MAX_BYTES = 16 << 20;

/**
 * Every signature that lies beside some manifests: under cosign's tag, among what refers to them, and in
 * the lookaside store. What is malformed or too large is passed over, for it vouches for nothing; what
 * cannot be asked for is an error, for it might have.
 *
 * @param repositoryName `host/path`, by which the lookaside store is ordered
 * @throws GantryError `network`, `invalid-archive`, `config`
 */
export async function findSignatures(
  source: OciSource,
  repositoryName: string,
  candidates: readonly { readonly digest: Digest }[],
  options: DiscoveryOptions = {},
): Promise<ManifestSignature[]> {
  const search = new SignatureSearch(source, repositoryName, options);
  const found = await Promise.all(candidates.map(({ digest }) => search.of(digest)));
  return found.flat();
}

class SignatureSearch {
  readonly #source: OciSource;
  readonly #path: string;
  readonly #options: DiscoveryOptions;
  #bytes = 0;

  constructor(source: OciSource, repositoryName: string, options: DiscoveryOptions) {
    this.#source = source;
    this.#path = repositoryName.slice(repositoryName.indexOf('/') + 1);
    this.#options = options;
  }

  /** The places do not depend on each other: the slowest says how long it takes. */
  async of(subject: Digest): Promise<ManifestSignature[]> {
    const found = await Promise.all([
      this.#unlessUnreachable(this.#cosign(subject)),
      this.#unlessUnreachable(this.#referring(subject)),
      this.#unlessUnreachable(this.#simpleSigning(subject)),
    ]);
    return found.flat();
  }

  async #unlessUnreachable(place: Promise<ManifestSignature[]>): Promise<ManifestSignature[]> {
    try {
      return await place;
    } catch (error) {
      const { unreachable } = this.#options;
      const isNetwork = error instanceof GantryError && error.code === 'network';
      if (unreachable === undefined || !isNetwork) throw error;
      unreachable(error);
      return [];
    }
  }

  /** sigstore/cosign, specs/SIGNATURE_SPEC.md: each layer of the tagged manifest is one. */
  async #cosign(subject: Digest): Promise<ManifestSignature[]> {
    const tag = signatureTag(subject);
    const origin = `${this.#source.shown}:${tag}`;
    const found = await this.#source.manifest(tag);
    const manifest = found === undefined ? undefined : this.#parsed(found, origin);
    const layers = (manifest?.layers ?? []).filter(
      ({ mediaType }) => mediaType === COSIGN_PAYLOAD_TYPE,
    );
    // cosign adds at the end, so the last ones are those that somebody has just made.
    return await inLanes(layers.slice(-MAX_SIGNATURES), async (layer) => {
      const signature = readAnnotations(layer.annotations);
      if (signature === undefined) return undefined;
      const payload = await this.#document(layer, origin);
      if (payload === undefined) return undefined;
      return { kind: 'cosign', ...signature, payload, subject, origin };
    });
  }

  async #referring(subject: Digest): Promise<ManifestSignature[]> {
    const referrers = (await this.#source.referrers(subject)).filter(mayBeSignature);
    return await inLanes(referrers.slice(0, MAX_SIGNATURES), (referrer) =>
      this.#referrer(referrer, subject),
    );
  }

  /** The first layer of a bundle's or Notary Project artifact's manifest is the thing itself. */
  async #referrer(referrer: Descriptor, subject: Digest): Promise<ManifestSignature | undefined> {
    const origin = `${this.#source.shown}@${formatDigest(referrer.digest)}`;
    const found = await this.#source.manifest(referrer.digest);
    const manifest = found === undefined ? undefined : this.#parsed(found, origin);
    const [layer] = manifest?.layers ?? [];
    if (manifest === undefined || layer === undefined) return undefined;
    const kind = manifest.artifactType ?? manifest.config.mediaType;
    if (kind === NOTATION_ARTIFACT_TYPE) {
      const mediaType = envelopeTypes.find((type) => type === layer.mediaType);
      const bytes = mediaType === undefined ? undefined : await this.#document(layer, origin);
      if (mediaType === undefined || bytes === undefined) return undefined;
      return { kind: 'notation', mediaType, bytes, subject, origin };
    }
    if (!isBundleType(kind) && !isBundleType(layer.mediaType)) return undefined;
    const bytes = await this.#document(layer, origin);
    return bytes === undefined ? undefined : { kind: 'bundle', bytes, subject, origin };
  }

  async #simpleSigning(subject: Digest): Promise<ManifestSignature[]> {
    const { lookaside, getter } = this.#options;
    if (lookaside === undefined) return [];
    const found = await lookasideSignatures(lookaside, this.#path, subject, MAX_SIGNATURES, getter);
    return found.map((signature) => ({ kind: 'simple-signing', ...signature, subject }));
  }

  #parsed(found: FoundManifest, origin: string): OciManifest | undefined {
    try {
      const document = parseOciManifest(found.bytes, found.mediaType);
      if (document.kind === 'manifest') return document;
      this.#passOver(origin, 'it is an index');
    } catch (error) {
      if (!(error instanceof GantryError)) throw error;
      this.#passOver(origin, error.message);
    }
    return undefined;
  }

  async #document(descriptor: Descriptor, origin: string): Promise<Uint8Array | undefined> {
    const { size } = descriptor;
    if (size > SIGNATURE_LIMIT) {
      this.#passOver(origin, `it has ${size} bytes`);
      return undefined;
    }
    if (this.#bytes + size > MAX_BYTES) {
      this.#passOver(origin, `those before it have ${MAX_BYTES} bytes together`);
      return undefined;
    }
    this.#bytes += size;
    return await this.#source.document(descriptor, SIGNATURE_LIMIT);
  }

  #passOver(origin: string, why: string): void {
    this.#options.debug?.(`image: passing over the signature ${origin}: ${why}`);
  }
}

/** What is found of each, in the order of the items. */
async function inLanes<Item>(
  items: readonly Item[],
  find: (item: Item) => Promise<ManifestSignature | undefined>,
): Promise<ManifestSignature[]> {
  const found: (ManifestSignature | undefined)[] = [];
  await throughLanes(items.entries(), PARALLEL, async ([at, item]) => {
    found[at] = await find(item);
  });
  return found.filter((signature) => signature !== undefined);
}

/** Lists made by hand need not say the type; then the manifest does. */
function mayBeSignature({ artifactType }: Descriptor): boolean {
  if (artifactType === undefined) return true;
  return artifactType === NOTATION_ARTIFACT_TYPE || isBundleType(artifactType);
}
