import { createHash } from 'node:crypto';
import { loadRegistries } from '../config/registries.ts';
import { GantryError } from '../error.ts';
import { type Digest, formatDigest, sameDigest } from '../image/digest.ts';
import {
  type Descriptor,
  descriptorDocument,
  MEDIA_TYPES,
  maxManifestBytes,
  type OciManifest,
  parseOciManifest,
} from '../image/oci-manifest.ts';
import { quote } from '../image/quotation.ts';
import type { Repository } from '../image/repository.ts';
import { verified } from './blob-delivery.ts';
import type { TransportContext } from './context.ts';
import { headerOf, type ResponseHead } from './exchange.ts';
import { isTransientFailure } from './failure.ts';
import type { OciDestination } from './oci-source.ts';
import { delayBeforeRetry, isTransientStatus, pause } from './pace.ts';
import { registryFailure } from './registry-failure.ts';
import { placesOf } from './registry-place.ts';
import { RegistryReader } from './registry-reader.ts';
import { type RegistryRequest, RegistrySession } from './registry-session.ts';
import type { Transport } from './transport.ts';

const octets = { 'content-type': 'application/octet-stream' };
/** What is read of an answer for its explanation. */
const EXPLANATION_LIMIT = 64 * 1024;

/** An answer and as much of its body as explains it. */
interface Answer {
  readonly head: ResponseHead;
  readonly body: Buffer;
}

/**
 * Makes a repository ready to be written to; nothing is asked of it yet. Mirrors are for reading. The
 * transport stays the caller's to close.
 *
 * @throws GantryError `config`
 */
export async function openRegistryDestination(
  repository: Repository,
  context: TransportContext,
  transport: Transport,
): Promise<OciDestination> {
  const rules = loadRegistries(context.directories);
  const { own } = placesOf(repository, rules);
  const session = new RegistrySession(own, 'pull,push', rules, context, transport);
  return new RegistryDestination(session, new RegistryReader(session, context.report));
}

/** A repository that content is put into (distribution-spec, "Push"). */
class RegistryDestination implements OciDestination {
  readonly shown: string;
  readonly #session: RegistrySession;
  readonly #reader: RegistryReader;

  constructor(session: RegistrySession, reader: RegistryReader) {
    this.#session = session;
    this.#reader = reader;
    this.shown = session.place.shown;
  }

  async hasBlob(digest: Digest): Promise<boolean> {
    const url = this.#session.url(`blobs/${formatDigest(digest)}`);
    const { head, body } = await this.#ask({ method: 'HEAD', url });
    if (head.status === 200) return true;
    if (head.status === 404) return false;
    throw this.#failure(`the blob ${formatDigest(digest)}`, { head, body });
  }

  /** In one piece, as "Pushing a blob monolithically, POST then PUT" has it. */
  async putBlob(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    content: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const what = `the blob ${formatDigest(descriptor.digest)}`;
    const url = this.#session.url('blobs/uploads/');
    const begun = await this.#ask({
      method: 'POST',
      url,
      headers: { 'content-length': '0' },
      body: Buffer.alloc(0),
    });
    if (begun.head.status !== 202) throw this.#failure(what, begun);
    const place = uploadPlace(this.shown, begun.head);
    place.searchParams.set('digest', formatDigest(descriptor.digest));
    const finished = await this.#once({
      method: 'PUT',
      url: place,
      headers: { ...octets, 'content-length': String(descriptor.size) },
      // An empty stream would go out without a length.
      body: descriptor.size === 0 ? Buffer.alloc(0) : verified(content, descriptor),
    });
    if (finished.head.status !== 201) throw this.#failure(what, finished);
  }

  async putManifest(
    bytes: Uint8Array,
    mediaType: string,
    reference: string | Digest,
  ): Promise<void> {
    const written = typeof reference === 'string' ? reference : formatDigest(reference);
    const digest = digestOf(bytes, reference);
    if (typeof reference !== 'string' && !sameDigest(digest, reference)) {
      throw new GantryError('internal', `${this.shown}: ${written} is not the manifest's digest`);
    }
    const document = parseOciManifest(bytes, mediaType);
    const answer = await this.#ask({
      method: 'PUT',
      url: this.#session.manifestUrl(reference),
      headers: { 'content-type': document.mediaType, 'content-length': String(bytes.length) },
      body: bytes,
    });
    if (answer.head.status !== 201) throw this.#failure(`the manifest ${quote(written)}`, answer);
    if (document.kind !== 'manifest' || document.subject === undefined) return;
    // A registry that lists referrers itself says so here.
    if (headerOf(answer.head, 'oci-subject') !== undefined) return;
    await this.#tagReferrer(document, {
      digest,
      size: bytes.length,
      mediaType: document.mediaType,
    });
  }

  async finish(): Promise<void> {
    // Everything is visible as soon as it is there.
  }

  async abort(): Promise<void> {
    // Blobs that no manifest names are the registry's to collect.
  }

  /**
   * Adds a manifest to the list under the tag that stands for its subject (distribution-spec, "Referrers Tag
   * Schema"). Two who do so at once may lose one of theirs: the specification has nothing against it.
   */
  async #tagReferrer(manifest: OciManifest, own: Descriptor): Promise<void> {
    const subject = manifest.subject?.digest;
    if (subject === undefined) return;
    const tag = `${subject.algorithm}-${subject.hex.slice(0, 64)}`;
    const found = await this.#reader.manifest(tag);
    const listed = found === undefined ? undefined : parseOciManifest(found.bytes, found.mediaType);
    if (listed?.kind === 'manifest') {
      throw new GantryError('network', `${this.shown}: the referrers tag ${tag} is not an index`);
    }
    const known = listed?.manifests ?? [];
    if (known.some((entry) => sameDigest(entry.digest, own.digest))) return;
    const artifactType = manifest.artifactType ?? manifest.config.mediaType;
    const { annotations } = manifest;
    const entry = {
      ...own,
      artifactType,
      ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    };
    const index = {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.index,
      manifests: [...known, entry].map(descriptorDocument),
    };
    const bytes = Buffer.from(JSON.stringify(index));
    if (bytes.length > maxManifestBytes) {
      throw new GantryError(
        'network',
        `${this.shown}: the referrers tag ${tag} has grown too large`,
      );
    }
    await this.putManifest(bytes, MEDIA_TYPES.index, tag);
  }

  /** Asks again where a moment later may do; for what can be asked twice. */
  async #ask(request: RegistryRequest): Promise<Answer> {
    const { pace, signal } = this.#session;
    for (let failures = 1; ; failures++) {
      const last = failures >= pace.attempts;
      let retryAfter: string | undefined;
      try {
        const answer = await this.#once(request);
        if (last || !isTransientStatus(answer.head.status)) return answer;
        retryAfter = headerOf(answer.head, 'retry-after');
      } catch (error) {
        if (last || !isTransientFailure(error)) throw error;
      }
      await pause(delayBeforeRetry(pace, failures, retryAfter), signal);
    }
  }

  async #once(request: RegistryRequest): Promise<Answer> {
    const pieces: Buffer[] = [];
    let size = 0;
    const head = await this.#session.send(request, () => (piece) => {
      size += piece.length;
      if (size <= EXPLANATION_LIMIT) pieces.push(piece);
    });
    return { head, body: Buffer.concat(pieces) };
  }

  #failure(what: string, { head, body }: Answer): GantryError {
    const denied = head.status === 401 || head.status === 403;
    const advice = denied ? `: ${this.#session.advice}` : '';
    return registryFailure(`${this.shown}: ${what} cannot be put there`, head, body, advice);
  }
}

/** Where an upload goes on, which may be relative. */
function uploadPlace(shown: string, head: ResponseHead): URL {
  const location = headerOf(head, 'location');
  const url = location === undefined ? null : URL.parse(location, head.url);
  if (url !== null && url.protocol === head.url.protocol) return url;
  throw new GantryError('network', `${shown}: it does not say where the upload goes on`);
}

function digestOf(bytes: Uint8Array, reference: string | Digest): Digest {
  const algorithm = typeof reference === 'string' ? 'sha256' : reference.algorithm;
  return { algorithm, hex: createHash(algorithm).update(bytes).digest('hex') };
}
