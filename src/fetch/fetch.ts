import { GantryError } from '../error.ts';
import type { ImageRecord } from '../image/image-record.ts';
import type {
  LayoutReference,
  Reference,
  RegistryReference,
  UrlReference,
} from '../image/reference.ts';
import { completeLabels, type Wish, wishOf, wishOfDependency } from '../image/wish.ts';
import { findByWish } from '../store/wish-lookup.ts';
import { findByRegistry, findByUrl, findCached, sameNamedFile } from './cached.ts';
import type { FetchContext } from './context.ts';
import type { Endpoint } from './discovery-template.ts';
import { fetchFileImage } from './file-image.ts';
import { shownUrl, signatureUrl } from './location.ts';
import { fetchRemoteImage, isTrusted } from './remote-image.ts';
import { parseSignatureLocation, type SignatureLocation } from './signature.ts';
import { Transport } from './transport.ts';

/** What may be said of one image besides its reference. */
export interface FetchOptions {
  /** `--signature`: a path or URL in place of the one beside the image. */
  readonly signature?: string;
}

/** Dependencies of dependencies, further down than any image goes that was made by hand. */
const DEPTH_LIMIT = 16;

/**
 * Brings an image and everything it depends on into the store, verified, and answers its record.
 * What fails leaves nothing behind that was not verified; `signal` ends it at any point.
 *
 * @throws GantryError whatever stage refuses: `discovery`, `network`, `untrusted`,
 *   `bad-signature`, `invalid-archive`, `invalid-manifest`, `store`, `not-found`, `interrupted`
 */
export async function fetchImage(
  reference: Reference,
  context: FetchContext,
  options: FetchOptions = {},
): Promise<ImageRecord> {
  const transport = new Transport(context);
  try {
    warnOfMissingChecks(context);
    return await new ImageFetch(context, transport).run(reference, options);
  } catch (error) {
    if (context.signal?.aborted && !(error instanceof GantryError)) throw interruption(error);
    throw error;
  } finally {
    await transport.close();
  }
}

class ImageFetch {
  readonly #context: FetchContext;
  readonly #transport: Transport;
  /** Ids of images whose dependencies are all there: two branches may meet in one. */
  readonly #complete = new Set<string>();

  constructor(context: FetchContext, transport: Transport) {
    this.#context = context;
    this.#transport = transport;
  }

  async run(reference: Reference, options: FetchOptions): Promise<ImageRecord> {
    const signature =
      options.signature === undefined ? undefined : parseSignatureLocation(options.signature);
    const record = await this.#fetchOne(reference, signature).catch((error: unknown) => {
      throw suggestingRegistry(reference, namingImage(reference.text, error));
    });
    await this.#fetchDependencies(record, []);
    this.#context.store.touch(record);
    return record;
  }

  #fetchOne(reference: Reference, signature: SignatureLocation | undefined): Promise<ImageRecord> {
    const meant = sameNamedFile(reference) ?? reference;
    switch (meant.kind) {
      case 'id':
        return this.#findById(meant);
      case 'path':
        return fetchFileImage(meant.path, signature, this.#context, this.#transport);
      case 'url':
        return this.#fetchByUrl(meant, signature);
      case 'name':
        return this.#fetchByName(wishOf(meant), signature);
      case 'registry':
        return this.#fetchFromRegistry(meant, signature);
      case 'layout':
        return this.#fetchFromLayout(meant, signature);
    }
  }

  async #fetchFromRegistry(
    reference: RegistryReference,
    signature: SignatureLocation | undefined,
  ): Promise<ImageRecord> {
    if (signature !== undefined) throw noSuchSignature(reference.text);
    const find = () => findByRegistry(this.#context.store, reference);
    const stored = await this.#fromStore(find, `image name ${reference.text}`);
    if (stored !== undefined) return stored;
    const { fetchRegistryImage } = await import('./registry-image.ts');
    return await fetchRegistryImage(reference, this.#context);
  }

  async #fetchFromLayout(
    reference: LayoutReference,
    signature: SignatureLocation | undefined,
  ): Promise<ImageRecord> {
    if (signature !== undefined && reference.format === 'oci')
      throw noSuchSignature(reference.text);
    const { fetchLayoutImage } = await import('./layout-image.ts');
    return await fetchLayoutImage(reference, signature, this.#context, this.#transport);
  }

  async #findById(reference: Reference): Promise<ImageRecord> {
    const record = findCached(reference, this.#context);
    if (record !== undefined) return record;
    throw new GantryError('not-found', `no image in the store has the ID ${reference.text}`);
  }

  async #fetchByUrl(
    { url }: UrlReference,
    signature: SignatureLocation | undefined,
  ): Promise<ImageRecord> {
    const shown = shownUrl(url);
    const stored = await this.#fromStore(() => findByUrl(this.#context.store, url), `url ${shown}`);
    if (stored !== undefined) return stored;
    const remote = { image: url, signature: signature ?? { url: signatureUrl(url) } };
    return await fetchRemoteImage(remote, this.#context, this.#transport);
  }

  async #fetchByName(wish: Wish, signature?: SignatureLocation): Promise<ImageRecord> {
    const { store, report } = this.#context;
    const stored = await this.#fromStore(() => findByWish(store, wish), `image name ${wish.text}`);
    if (stored !== undefined) return stored;
    report.debug(`image: searching for app image ${wish.name}`);
    const endpoints = await this.#discover(wish);
    return await this.#fetchFromFirst(endpoints, wish, signature);
  }

  async #discover(wish: Wish): Promise<Endpoint[]> {
    const { Discovery } = await import('./discovery.ts');
    const discovery = new Discovery(this.#context, this.#transport);
    const endpoints = await discovery.findEndpoints(wish.name, completeLabels(wish));
    if (!this.#context.insecure.image) {
      const { introduceKeys } = await import('./key-introduction.ts');
      await introduceKeys(wish.name, this.#context);
    }
    return endpoints;
  }

  /** The next endpoint is for one that cannot be reached; a refusal is a refusal. */
  async #fetchFromFirst(
    endpoints: readonly Endpoint[],
    wish: Wish,
    override: SignatureLocation | undefined,
  ): Promise<ImageRecord> {
    let failure: unknown;
    for (const { image, signature } of endpoints) {
      try {
        const remote = { image, signature: override ?? { url: signature }, wish };
        return await fetchRemoteImage(remote, this.#context, this.#transport);
      } catch (error) {
        if (!(error instanceof GantryError) || error.code !== 'network') throw error;
        if (endpoints.length > 1) this.#context.report.warn(error.message);
        failure ??= error;
      }
    }
    throw failure;
  }

  /** The store's answer, where the policy asks it first; with `never` it is the only one. */
  async #fromStore(
    find: () => ImageRecord | undefined,
    what: string,
  ): Promise<ImageRecord | undefined> {
    const { pullPolicy, report } = this.#context;
    if (pullPolicy === 'update') return undefined;
    const record = find();
    if (
      record !== undefined &&
      (pullPolicy === 'never' || (await isTrusted(record, this.#context)))
    ) {
      report.debug(`image: using image from local store for ${what}`);
      return record;
    }
    if (pullPolicy === 'new') return undefined;
    throw new GantryError(
      'not-found',
      `unable to fetch image from ${what}: it is not in the store, and the network is not to be asked: bring it with gantry fetch`,
    );
  }

  /** @param trail the ids that led here: an image among its own dependencies has no bottom layer */
  async #fetchDependencies(record: ImageRecord, trail: readonly string[]): Promise<void> {
    if (this.#complete.has(record.id)) return;
    if (trail.includes(record.id)) {
      throw new GantryError('invalid-manifest', `${record.name}: it depends on itself`);
    }
    if (trail.length >= DEPTH_LIMIT) {
      throw new GantryError(
        'invalid-manifest',
        `${record.name}: dependencies go deeper than ${DEPTH_LIMIT} images`,
      );
    }
    for (const dependency of record.manifest.dependencies) {
      const wish = wishOfDependency(dependency);
      const fetched = await this.#fetchByName(wish).catch((error: unknown) => {
        throw namingDependent(record.name, namingImage(wish.text, error));
      });
      await this.#fetchDependencies(fetched, [...trail, record.id]);
    }
    this.#complete.add(record.id);
  }
}

/** What is wrong with an archive or its manifest is told by who reads it, who knows no name for it. */
function namingImage(image: string, error: unknown): unknown {
  const unnamed =
    error instanceof GantryError &&
    (error.code === 'invalid-archive' || error.code === 'invalid-manifest');
  return unnamed ? prefixed(image, error) : error;
}

/** Who comes from docker or podman writes an image in a registry as other images are written here. */
function suggestingRegistry({ kind, text }: Reference, error: unknown): unknown {
  const looksSo = kind === 'name' && /^[^/:,]+\.[^/:,]+\/[^,]+$/.test(text);
  if (!looksSo || !(error instanceof GantryError) || error.code !== 'discovery') return error;
  const { code, message, cause } = error;
  const advice = `if it is an image in a registry, say docker://${text}`;
  return new GantryError(code, `${message}; ${advice}`, { cause });
}

/** The operator never wrote a dependency's name. */
function namingDependent(dependent: string, error: unknown): unknown {
  const refusal = error instanceof GantryError && error.code !== 'interrupted';
  return refusal ? prefixed(`a dependency of ${dependent}`, error) : error;
}

function prefixed(what: string, error: GantryError): GantryError {
  return new GantryError(error.code, `${what}: ${error.message}`, { cause: error.cause });
}

function noSuchSignature(image: string): GantryError {
  return new GantryError(
    'usage',
    `${image}: --signature is for archives: an image's signatures lie beside it in its registry or layout`,
  );
}

function warnOfMissingChecks({ insecure, report }: FetchContext): void {
  if (insecure.tls) report.warn('TLS verification has been disabled');
  if (insecure.image) report.warn('image signature verification has been disabled');
}

function interruption(cause: unknown): GantryError {
  return new GantryError('interrupted', 'interrupted: nothing was kept', { cause });
}
