import { GantryError } from '../error.ts';
import { sameDigest } from '../image/digest.ts';
import type { ImageRecord } from '../image/image-record.ts';
import { ociPlatform } from '../image/platform.ts';
import type { RegistryReference } from '../image/reference.ts';
import { repositoryName } from '../image/repository.ts';
import { findByRegistry } from './cached.ts';
import { certify } from './certification.ts';
import type { FetchContext } from './context.ts';
import { lockFetch } from './fetch-lock.ts';
import {
  type Certificate,
  imageIdOf,
  type ResolvedImage,
  resolveManifest,
  takeIn,
} from './oci-intake.ts';
import { type OpenRegistry, openRegistry } from './registry-source.ts';
import { isTrusted } from './remote-image.ts';
import { Transport } from './transport.ts';

/**
 * Fetches an image from its registry, or answers the stored one while the registry still means it.
 * The manifest comes first, then who vouches for it, and only then anything larger: of an image
 * nobody vouches for no layer is ever asked for.
 *
 * @throws GantryError `not-found`, `untrusted`, `bad-signature`, `network`, `unsupported`, and what
 *   taking the image in throws
 */
export async function fetchRegistryImage(
  reference: RegistryReference,
  context: FetchContext,
): Promise<ImageRecord> {
  const location = `docker://${repositoryName(reference.repository)}`;
  context.report.debug(`image: remote fetching from URL ${JSON.stringify(location)}`);
  const lock = await lockFetch(location, context);
  const failing = new AbortController();
  const signals = [failing.signal, ...(context.signal === undefined ? [] : [context.signal])];
  const own = { ...context, signal: AbortSignal.any(signals) };
  const transport = new Transport(own);
  try {
    const registry = await openRegistry(reference.repository, own, transport);
    return await new RegistryFetch(reference, registry, own, failing).run();
  } finally {
    await transport.close();
    await lock.release();
  }
}

class RegistryFetch {
  readonly #reference: RegistryReference;
  readonly #registry: OpenRegistry;
  readonly #context: FetchContext;
  readonly #failing: AbortController;
  readonly #name: string;

  constructor(
    reference: RegistryReference,
    registry: OpenRegistry,
    context: FetchContext,
    failing: AbortController,
  ) {
    this.#reference = reference;
    this.#registry = registry;
    this.#context = context;
    this.#failing = failing;
    this.#name = repositoryName(reference.repository);
  }

  async run(): Promise<ImageRecord> {
    const { source } = this.#registry;
    const platform = this.#reference.platform ?? ociPlatform(new Map());
    const image = await resolveManifest(await this.#find(), source, platform);
    const stored = await this.#stored(image);
    if (stored !== undefined) return stored;
    const supply = { source, platform, stop: this.#failing };
    return await takeIn(image, () => this.#certify(image), supply, this.#context);
  }

  async #certify(image: ResolvedImage): Promise<Certificate> {
    const { tag } = this.#reference;
    const certificate = await certify(image, this.#registry, this.#name, tag, this.#context);
    return { ...certificate, source: { url: `docker://${this.#shown}` } };
  }

  get #shown(): string {
    const { tag, digest } = this.#reference;
    const suffix = digest === undefined ? '' : `@${digest.algorithm}:${digest.hex}`;
    return `${this.#name}${tag === undefined ? '' : `:${tag}`}${suffix}`;
  }

  async #find() {
    const { digest, tag = 'latest' } = this.#reference;
    const found = await this.#registry.source.manifest(digest ?? tag);
    if (found !== undefined) return found;
    throw new GantryError(
      'not-found',
      `${this.#shown}: the registry has no such image: check repository, tag and credentials`,
    );
  }

  /** The stored image, if it is what the registry has under this name and trust in it still holds. */
  async #stored(image: ResolvedImage): Promise<ImageRecord | undefined> {
    const record = findByRegistry(this.#context.store, this.#reference);
    if (record?.oci === undefined || record.id !== imageIdOf(image)) return undefined;
    const before = record.oci.index?.digest;
    const now = image.index?.descriptor.digest;
    const sameIndex =
      before === undefined || now === undefined ? before === now : sameDigest(before, now);
    if (!sameIndex || !(await isTrusted(record, this.#context))) return undefined;
    if (!(await this.#context.store.isWhole(record))) return undefined;
    this.#context.report.debug(`image: image for ${this.#shown} is unchanged, not fetching.`);
    return record;
  }
}
