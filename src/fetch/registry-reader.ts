import { createHash } from 'node:crypto';
import { GantryError } from '../error.ts';
import { type Digest, formatDigest, parseDigest, sameDigest } from '../image/digest.ts';
import {
  type Descriptor,
  MEDIA_TYPES,
  manifestAccept,
  maxManifestBytes,
  parseOciManifest,
} from '../image/oci-manifest.ts';
import { quote } from '../image/quotation.ts';
import { fetchDocument } from './document.ts';
import { type DownloadTarget, download } from './download.ts';
import { headerOf, type ResponseHead } from './exchange.ts';
import type { FoundManifest } from './oci-source.ts';
import { registryFailure } from './registry-failure.ts';
import type { RegistrySession } from './registry-session.ts';
import type { Reporter } from './reporter.ts';

/** Nobody has that many signatures; a registry that says so goes on for ever. */
const maxPages = 32;
const maxReferrers = 2000;

/** Statuses of registries that know no referrers API; 404 is the specification's, others are in use. */
const withoutReferrers: ReadonlySet<number> = new Set([400, 404, 405, 406, 501]);

/** Reads one place's repository, by the distribution specification. */
export class RegistryReader {
  readonly #session: RegistrySession;
  readonly #report: Reporter;

  constructor(session: RegistrySession, report: Reporter) {
    this.#session = session;
    this.#report = report;
  }

  get shown(): string {
    return this.#session.place.shown;
  }

  /** distribution-spec, "Pulling manifests". */
  async manifest(reference: string | Digest): Promise<FoundManifest | undefined> {
    const written = typeof reference === 'string' ? reference : formatDigest(reference);
    const what = `${this.shown}: the manifest ${quote(written)}`;
    const { head, bytes } = await this.#fetch(
      this.#session.manifestUrl(reference),
      maxManifestBytes,
      {
        accept: manifestAccept.join(', '),
      },
    );
    if (head.status === 404) return undefined;
    if (head.status !== 200) throw this.#failure(what, head, bytes);
    const digest = digestOf(bytes, typeof reference === 'string' ? announced(head) : reference);
    if (typeof reference !== 'string' && !sameDigest(reference, digest)) {
      throw contradiction(`${what} was asked for`, digest);
    }
    const hint = announced(head);
    if (hint !== undefined && hint.algorithm === digest.algorithm && hint.hex !== digest.hex) {
      throw contradiction(`${what} was announced as ${formatDigest(hint)}`, digest);
    }
    return { digest, mediaType: mediaTypeOf(head), bytes };
  }

  /** distribution-spec, "Pulling blobs". */
  async blob({ digest, size }: Descriptor, target: DownloadTarget): Promise<void> {
    const url = this.#session.url(`blobs/${formatDigest(digest)}`);
    await download(this.#session, url, {}, target, this.#report, {
      label: `Downloading ${digest.algorithm}:${digest.hex.slice(0, 12)}`,
      size,
      immutable: true,
    });
  }

  /** A small blob whole, checked. */
  async document(descriptor: Descriptor): Promise<Uint8Array> {
    const written = formatDigest(descriptor.digest);
    const what = `${this.shown}: the blob ${written}`;
    const { head, bytes } = await this.#fetch(`blobs/${written}`, descriptor.size, {});
    if (head.status !== 200) throw this.#failure(what, head, bytes);
    if (bytes.length !== descriptor.size) {
      throw refused(`${what} has ${bytes.length} bytes, not ${descriptor.size}`);
    }
    const digest = digestOf(bytes, descriptor.digest);
    if (!sameDigest(digest, descriptor.digest)) throw contradiction(what, digest);
    return bytes;
  }

  /**
   * What is about a manifest: by the referrers API, or where there is none by the tag that stands for it
   * (distribution-spec, "Listing Referrers" and "Referrers Tag Schema").
   */
  async referrers(digest: Digest): Promise<Descriptor[]> {
    const found: Descriptor[] = [];
    let url: URL | undefined = this.#session.url(`referrers/${formatDigest(digest)}`);
    for (let page = 0; url !== undefined; page++) {
      const { head, bytes } = await this.#fetch(url, maxManifestBytes, {
        accept: MEDIA_TYPES.index,
      });
      if (page === 0 && withoutReferrers.has(head.status))
        return await this.#taggedReferrers(digest);
      const what = `${this.shown}: what refers to ${formatDigest(digest)}`;
      if (head.status !== 200) throw this.#failure(what, head, bytes);
      found.push(...readIndex(bytes, MEDIA_TYPES.index, what));
      url = nextPage(head, url);
      if (page === maxPages || found.length > maxReferrers) {
        throw refused(`${what} is more than ${maxReferrers} manifests`);
      }
    }
    return found;
  }

  async #taggedReferrers({ algorithm, hex }: Digest): Promise<Descriptor[]> {
    const tag = `${algorithm}-${hex.slice(0, 64)}`;
    const found = await this.manifest(tag);
    if (found === undefined) return [];
    return readIndex(found.bytes, found.mediaType, `${this.shown}: the referrers tag ${tag}`);
  }

  async #fetch(place: string | URL, limit: number, headers: Record<string, string>) {
    const url = typeof place === 'string' ? this.#session.url(place) : place;
    return await fetchDocument(this.#session, url, limit, {
      headers,
      explained: (status) => status >= 400,
    });
  }

  #failure(what: string, head: ResponseHead, body: Uint8Array): GantryError {
    const denied = head.status === 401 || head.status === 403;
    return registryFailure(what, head, body, denied ? `: ${this.#session.advice}` : '');
  }
}

/** What the bytes hash to, by the algorithm of another digest of them, sha256 by itself. */
function digestOf(bytes: Uint8Array, like: Digest | undefined): Digest {
  const algorithm = like?.algorithm ?? 'sha256';
  return { algorithm, hex: createHash(algorithm).update(bytes).digest('hex') };
}

/** Docker-Content-Digest; a registry need not send it, and it proves nothing. */
function announced(head: ResponseHead): Digest | undefined {
  const text = headerOf(head, 'docker-content-digest');
  if (text === undefined || !text.includes(':')) return undefined;
  try {
    return parseDigest(text.trim());
  } catch {
    return undefined;
  }
}

function mediaTypeOf(head: ResponseHead): string {
  const [type = ''] = (headerOf(head, 'content-type') ?? '').split(';', 1);
  return type.trim().toLowerCase();
}

function readIndex(bytes: Uint8Array, mediaType: string, what: string): Descriptor[] {
  const document = parseOciManifest(bytes, mediaType);
  if (document.kind === 'index') return document.manifests;
  throw refused(`${what} is not an index`);
}

/** The next page of a list (RFC 8288), which is the registry's own. */
function nextPage(head: ResponseHead, from: URL): URL | undefined {
  const link = headerOf(head, 'link');
  const [, target] = /<([^>]*)>\s*;[^,]*\brel="?next"?/.exec(link ?? '') ?? [];
  if (target === undefined) return undefined;
  const url = URL.parse(target, from);
  return url !== null && url.origin === from.origin ? url : undefined;
}

function contradiction(what: string, digest: Digest): GantryError {
  return refused(`${what}, but what came has the digest ${formatDigest(digest)}`);
}

function refused(why: string): GantryError {
  return new GantryError('invalid-archive', why);
}
