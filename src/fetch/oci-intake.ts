import { availableParallelism } from 'node:os';
import { GantryError } from '../error.ts';
import { type Digest, formatDigest, imageIdOfManifest } from '../image/digest.ts';
import type { ImageRecord, ImageSource } from '../image/image-record.ts';
import {
  appcManifest,
  maxConfigBytes,
  type OciConfig,
  parseOciConfig,
} from '../image/oci-config.ts';
import {
  type Descriptor,
  type OciManifest,
  type Platform,
  parseOciManifest,
  refuseOwnDigest,
  requireImage,
} from '../image/oci-manifest.ts';
import type { Provenance } from '../image/provenance.ts';
import type { UnpackLimits } from '../image/unpack-limits.ts';
import type { LayerOrder, OciFacts, OciIngest } from '../store/staged-oci-image.ts';
import type { SignatureCandidate } from '../trust/manifest-signature.ts';
import type { FetchContext } from './context.ts';
import { throughLanes } from './lanes.ts';
import { chooseManifest, requirePlatform } from './oci-platform.ts';
import type { FoundManifest, OciSource } from './oci-source.ts';

/** Layers on their way at once, each unpacked by a thread: more would only share the same cores. */
const PARALLEL_LAYERS = Math.min(3, Math.max(2, availableParallelism()));
/** An index may lead to an index, for example one for each release. */
const INDEX_DEPTH = 4;

/** Where an image's bytes come from. */
export interface Supply {
  readonly source: OciSource;
  readonly platform: Platform;
  /** Ends every transfer of the source that is under way, when one of them is refused. */
  readonly stop: AbortController;
}

/** An image's manifest, and the indexes that led to it. */
export interface ResolvedImage {
  readonly manifest: OciManifest;
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
  /** What was asked for, where it is an index. */
  readonly index?: { readonly descriptor: Descriptor; readonly bytes: Uint8Array } | undefined;
}

/** What an image is to be called in the store, and who says so. */
export interface Certificate {
  readonly name: string;
  /** The tag, where there is one. */
  readonly version: string | undefined;
  readonly source: ImageSource;
  readonly provenance: Provenance;
  /** The signature, as it is kept for checking it again. */
  readonly signature?: { readonly digest: Digest; readonly bytes: Uint8Array } | undefined;
}

/**
 * The manifest that an answer leads to: itself, or what an index has for the platform.
 * @throws GantryError `invalid-manifest`, `unsupported` where there is none for the platform
 */
export async function resolveManifest(
  found: FoundManifest,
  source: OciSource,
  platform: Platform,
): Promise<ResolvedImage> {
  let at = found;
  for (let depth = 0; depth <= INDEX_DEPTH; depth++) {
    const document = parseOciManifest(at.bytes, at.mediaType);
    const descriptor = descriptorOf(at, document.mediaType);
    if (document.kind === 'manifest') {
      requireImage(document);
      const index = at === found ? undefined : indexOf(found);
      return { manifest: document, descriptor, bytes: at.bytes, index };
    }
    refuseOwnDigest(document, at.digest);
    const chosen = chooseManifest(document, platform, source.shown);
    at = await requireManifest(source, chosen);
  }
  throw new GantryError(
    'invalid-manifest',
    `${source.shown}: its indexes lead to each other deeper than ${INDEX_DEPTH} levels`,
  );
}

/** What of an image may have been signed: the manifest, and the index where there is one. */
export function candidatesOf({ descriptor, bytes, index }: ResolvedImage): SignatureCandidate[] {
  const manifest: SignatureCandidate = {
    what: 'manifest',
    digest: descriptor.digest,
    mediaType: descriptor.mediaType,
    bytes,
  };
  if (index === undefined) return [manifest];
  const { digest, mediaType } = index.descriptor;
  return [{ what: 'index', digest, mediaType, bytes: index.bytes }, manifest];
}

/**
 * Brings an image into the store: configuration and layers, checked against the digests that its manifest
 * names, which is what is signed. While `certify` still asks who vouches for it, the configuration comes
 * and threads start; no layer is asked for before somebody does.
 *
 * @throws GantryError what `certify` throws; `invalid-archive`, `invalid-manifest`, `network`, `store`,
 *   `interrupted`
 */
export async function takeIn(
  image: ResolvedImage,
  certify: () => Promise<Certificate>,
  supply: Supply,
  context: Pick<FetchContext, 'store' | 'limits' | 'signal'>,
): Promise<ImageRecord> {
  refuseTooLarge(image.manifest, context.limits);
  let asked: Promise<Certificate> | undefined;
  const certifyOnce = () => {
    asked ??= certify();
    return asked;
  };
  try {
    return await ingestImage(image, certifyOnce, supply, context);
  } catch (error) {
    if (!(error instanceof GantryError) || error.code !== 'busy') throw error;
    // A stored layer it was to share was removed before it could be committed: bring that one, too.
    return await ingestImage(image, certifyOnce, supply, context);
  }
}

async function ingestImage(
  image: ResolvedImage,
  certify: () => Promise<Certificate>,
  supply: Supply,
  context: Pick<FetchContext, 'store' | 'limits' | 'signal'>,
): Promise<ImageRecord> {
  const ingest = await context.store.beginOciIngest(context.limits);
  try {
    ingest.makeReady(Math.min(PARALLEL_LAYERS, missingLayers(image.manifest, context.store)));
    const coming = fetchContent(image.manifest, supply);
    // That nobody vouches for the image says more than what is wrong with it.
    coming.catch(() => undefined);
    const certificate = await certify();
    const content = await coming;
    await fetchLayers(content.orders, ingest, supply, context);
    addDocuments(ingest, image, content, certificate);
    context.signal?.throwIfAborted();
    return await ingest.commit(factsOf(image, content, certificate));
  } finally {
    await ingest.abort();
  }
}

/** What an image holds beside its manifest. */
interface ImageContent {
  readonly config: OciConfig;
  readonly configBytes: Uint8Array;
  readonly orders: readonly LayerOrder[];
}

async function fetchContent(
  manifest: OciManifest,
  { source, platform }: Supply,
): Promise<ImageContent> {
  const configBytes = await source.document(manifest.config, maxConfigBytes);
  const config = parseOciConfig(configBytes);
  requirePlatform(config.platform, platform, source.shown);
  return { config, configBytes, orders: layerOrders(manifest, config) };
}

/** How many layers are to come; what else a layer needs of the store is seen to later. */
function missingLayers({ layers }: OciManifest, store: FetchContext['store']): number {
  return layers.filter(({ digest }) => !store.hasBlob(digest)).length;
}

function addDocuments(
  ingest: OciIngest,
  { descriptor, bytes, index, manifest }: ResolvedImage,
  { configBytes }: ImageContent,
  { signature }: Certificate,
): void {
  ingest.addDocument(descriptor, bytes);
  ingest.addDocument(manifest.config, configBytes);
  if (index !== undefined) ingest.addDocument(index.descriptor, index.bytes);
  if (signature === undefined) return;
  ingest.addDocument({ digest: signature.digest, size: signature.bytes.length }, signature.bytes);
}

function factsOf(
  { descriptor, index, manifest }: ResolvedImage,
  { config, orders }: ImageContent,
  { name, version, source, provenance }: Certificate,
): OciFacts {
  const appc = appcManifest(config, name, version);
  const labels = Object.fromEntries(appc.labels.map((label) => [label.name, label.value]));
  return {
    manifest: descriptor,
    index: index?.descriptor,
    config: manifest.config,
    layers: orders,
    appc,
    naming: { name, labels, source, provenance },
  };
}

/** The ID the image will have in the store. */
export function imageIdOf({ descriptor }: ResolvedImage): string {
  return imageIdOfManifest(descriptor.digest);
}

/** A manifest that an index names: there, and of the size it says. Throws `not-found`, `invalid-manifest`. */
export async function requireManifest(
  source: OciSource,
  chosen: Descriptor,
): Promise<FoundManifest> {
  const found = await source.manifest(chosen.digest);
  if (found === undefined) {
    throw new GantryError(
      'not-found',
      `${source.shown}: the manifest ${formatDigest(chosen.digest)}, which its index names, is not there`,
    );
  }
  if (found.bytes.length !== chosen.size) {
    throw new GantryError(
      'invalid-manifest',
      `${source.shown}: the manifest ${formatDigest(chosen.digest)} has ${found.bytes.length} bytes, not the ${chosen.size} its index says`,
    );
  }
  return { ...found, mediaType: chosen.mediaType };
}

function indexOf(found: FoundManifest): NonNullable<ResolvedImage['index']> {
  const { mediaType } = parseOciManifest(found.bytes, found.mediaType);
  return { descriptor: descriptorOf(found, mediaType), bytes: found.bytes };
}

function descriptorOf({ digest, bytes }: FoundManifest, mediaType: string): Descriptor {
  return { mediaType, digest, size: bytes.length };
}

/**
 * What unpacks to nothing (empty streams, one after the other) fills the disk all the same, layer by layer;
 * the manifest says beforehand how much will come.
 */
function refuseTooLarge({ layers }: OciManifest, { maxUnpackedBytes }: UnpackLimits): void {
  const sizes = new Map(layers.map(({ digest, size }) => [formatDigest(digest), size]));
  const total = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  if (total <= maxUnpackedBytes) return;
  throw new GantryError(
    'invalid-manifest',
    `image manifest: layers: have ${total} bytes together, more than ${maxUnpackedBytes}; if the image is trusted, raise maxUnpackedBytes in a "limits" configuration file`,
  );
}

/** Each layer with what it must unpack to; the configuration lists them in the manifest's order. */
function layerOrders({ layers }: OciManifest, { diffIds }: OciConfig): LayerOrder[] {
  if (layers.length !== diffIds.length) {
    throw new GantryError(
      'invalid-manifest',
      `image configuration: rootfs.diff_ids: names ${diffIds.length} layers, and the manifest has ${layers.length}`,
    );
  }
  if (layers.length === 0) {
    throw new GantryError(
      'invalid-manifest',
      'image manifest: layers: is empty: there is nothing to run',
    );
  }
  return layers.flatMap((descriptor, index) => {
    const diffId = diffIds[index];
    return diffId === undefined ? [] : [{ descriptor, diffId }];
  });
}

/** The largest first, so that none is left to be waited for alone; each one once. */
async function fetchLayers(
  orders: readonly LayerOrder[],
  ingest: OciIngest,
  supply: Supply,
  context: Pick<FetchContext, 'signal'>,
): Promise<void> {
  const distinct = new Map(orders.map((order) => [keyOf(order), order]));
  const missing = [...distinct.values()]
    .filter((order) => !ingest.hasLayer(order))
    .sort((a, b) => b.descriptor.size - a.descriptor.size);
  const work = (order: LayerOrder) => fetchLayer(order, ingest, supply, context);
  await throughLanes(missing, PARALLEL_LAYERS, work, (reason) => supply.stop.abort(reason));
}

function keyOf({ descriptor, diffId }: LayerOrder): string {
  return `${formatDigest(descriptor.digest)} ${formatDigest(diffId)}`;
}

async function fetchLayer(
  order: LayerOrder,
  ingest: OciIngest,
  { source, stop }: Supply,
  context: Pick<FetchContext, 'signal'>,
): Promise<void> {
  const intake = ingest.openLayer(order);
  // What is read from a disk would go on to its end.
  const write = (chunk: Buffer) => {
    context.signal?.throwIfAborted();
    stop.signal.throwIfAborted();
    return intake.write(chunk);
  };
  try {
    await source.blob(order.descriptor, { write, restart: () => intake.restart() });
    await intake.finish();
  } finally {
    await intake.abort();
  }
}
